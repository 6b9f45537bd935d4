"""`x IN (SELECT ...)`, compared as SQLite compares."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sqlglot import exp

from cutover.dialect import comparing
from cutover.dialect.collations import collated, collation
from cutover.dialect.scope import Scope
from cutover.dialect.trees import unparen
from cutover.dialect.typed import NUMBERS, Kind, Refused, Typed, helper, identifier, null, paren
from cutover.dialect.whole import equal_alike

if TYPE_CHECKING:
    from cutover.dialect.queries import Queries

Pair = tuple[Typed, Typed]


def in_query(queries: Queries, node: exp.Expr, scope: Scope) -> exp.Expr:
    """`x IN (SELECT ...)` and `x IN table` as a boolean.

    Whether a row that is not found is unknown SQLite asks by the collations on the left alone. It is, too, where it
    is found by those.
    """
    found, pairs = _in_query(queries, node, scope)
    if not any(_unknown_by_others(at, pairs) for at in range(len(pairs))):
        return found
    unknown, _ = _in_query(queries, node, scope, by_left=True)
    answers = ((found, exp.true()), (unknown, exp.false()))
    return exp.Case(ifs=[exp.If(this=exp.Is(this=paren(test), expression=to), true=to.copy()) for test, to in answers])


def _unknown_by_others(at: int, pairs: Sequence[Pair]) -> bool:
    """Whether the right side gives that value its collation, where others may be NULL or the left has one, too."""
    if len(pairs) == 1 or collation(pairs[at][0]) == collation(*pairs[at]):
        return False
    others = [typed for place, pair in enumerate(pairs) if place != at for typed in pair]
    return collation(pairs[at][0]) != "BINARY" or not all(typed.not_null for typed in others)


def _in_query(
    queries: Queries, node: exp.Expr, scope: Scope, *, by_left: bool = False
) -> tuple[exp.Expr, Sequence[Pair]]:
    """It, and what is compared. `by_left`: whatever collations the query's columns have."""
    subject = unparen(node.this)
    written = subject.expressions if isinstance(subject, exp.Tuple) else [node.this]
    subjects = [queries.expressions.typed(part, scope) for part in written]
    # What equals one of several values that are equal equals all of them, unless it is their texts that count.
    equal = all(typed.affinity != "TEXT" and typed.kind is not Kind.TEXT for typed in subjects)
    source = _source(node)
    query = queries.query(source, Scope(scope, any_equal=equal, reading=queries.listed(source)))
    if len(subjects) != len(query.columns):
        raise Refused("IN with another number of columns than the query has")
    names = [f"c{at}" for at in range(len(subjects))]
    pairs = [
        (one, typed.but(node=exp.Column(this=identifier(name)), slot=None, constant=None, collation=by))
        for one, name, (_, typed), by in zip(subjects, names, query.columns, query.collations(1), strict=True)
    ]
    if by_left:
        pairs = [(one, inner.but(collation=None, explicit=False)) for one, inner in pairs]
    members = [_member(*pair) for pair in pairs]
    lefts, rights = [left for left, _ in members], [right for _, right in members]
    if any(not isinstance(right, exp.Column) for right in rights):
        alias = exp.TableAlias(this=identifier("member"), columns=[identifier(name) for name in names])
        query.node = exp.Select(expressions=rights, from_=exp.From(this=exp.Subquery(this=query.node, alias=alias)))
    left = exp.Tuple(expressions=lefts) if len(lefts) > 1 else paren(lefts[0])
    return exp.In(this=left, query=exp.Subquery(this=query.node)), pairs


def _source(node: exp.Expr) -> exp.Expr:
    field = node.args.get("field")
    if field is None:
        query: exp.Expr = node.args["query"]
        return query
    return exp.Select(expressions=[exp.Star()], from_=exp.From(this=exp.Table(this=field.this.copy())))


def _member(subject: Typed, inner: Typed) -> tuple[exp.Expr, exp.Expr]:
    """Both sides of IN so that Postgres compares them as SQLite does."""
    if equal_alike(subject, inner):
        return subject.node, inner.node
    left, right = comparing.align(subject, inner)
    if left.kind is Kind.NULL:
        return null(right.kind), right.node
    if right.kind is Kind.NULL:
        return left.node, null(left.kind)
    if left.kind is right.kind is Kind.TEXT:
        name = collation(subject, inner)
        return collated(left, name), collated(right, name)
    if Kind.DYNAMIC in (left.kind, right.kind) and (name := collation(subject, inner)) != "BINARY":
        one, two = (helper("folded", comparing.dynamic(side), exp.Literal.string(name)) for side in (left, right))
        return one, two
    if left.kind is right.kind or (left.kind in NUMBERS and right.kind in NUMBERS):
        left, right = comparing.level(left, right)
        return left.node, right.node
    if comparing.shared_affinity(subject, inner) == "NUMERIC":
        left, right = (
            Typed(helper("as_numeric", comparing.dynamic(side)), Kind.DYNAMIC) if side.kind is Kind.TEXT else side
            for side in (left, right)
        )
    return comparing.dynamic(left), comparing.dynamic(right)
