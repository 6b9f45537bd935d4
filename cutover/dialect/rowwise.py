"""Comparisons of rows: `(a, b) < (c, d)` and `(a, b) = (SELECT ...)`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sqlglot import exp

from cutover.dialect import below, comparing
from cutover.dialect.calls import gathers
from cutover.dialect.collations import bytewise, collation
from cutover.dialect.scope import Scope
from cutover.dialect.typed import NUMBERS, Kind, Refused, Typed, identifier, paren

if TYPE_CHECKING:
    from cutover.dialect.predicates import Predicates

Pair = tuple[Typed, Typed]
_EQUAL = (exp.EQ, exp.NEQ, exp.NullSafeEQ, exp.NullSafeNEQ)


def compared(predicates: Predicates, op: type[exp.Binary], left: exp.Tuple, right: exp.Tuple, scope: Scope) -> exp.Expr:
    """`(a, b) = (c, d)`."""
    if len(left.expressions) != len(right.expressions):
        raise Refused("A comparison of rows of different lengths")
    given = [
        (predicates.typed(one, scope), predicates.typed(two, scope))
        for one, two in zip(left.expressions, right.expressions, strict=True)
    ]
    pairs = [comparing.level(*comparing.align(one, two)) for one, two in given]
    if _by_bound(op, given) or not all(_alike(one, two) for one, two in pairs):
        return exp.Paren(this=_by_element(predicates, op, given))
    rows = [exp.Tuple(expressions=[pair[side].node for pair in pairs]) for side in (0, 1)]
    return op(this=rows[0], expression=rows[1])


def with_query(
    predicates: Predicates, op: type[exp.Binary], left: exp.Tuple, right: exp.Expr, scope: Scope
) -> exp.Expr:
    """`(a, b) = (SELECT ...)`: the first row of the query, NULLs without one."""
    query = predicates.queries.query(right, Scope(scope))
    lefts = [predicates.typed(part, scope) for part in left.expressions]
    if len(lefts) != len(query.columns):
        raise Refused("A comparison of rows of different lengths")
    if not query.one_row and query.node.args.get("limit") is None:
        query.node.set("limit", exp.Limit(expression=exp.Literal.number(1)))
    found = exp.Subquery(this=query.node)
    plain = op not in (exp.NullSafeEQ, exp.NullSafeNEQ)
    plain = plain and not _by_bound(op, [(one, two) for one, (_, two) in zip(lefts, query.columns, strict=True)])
    if plain and all(_is_plain(one, two) for one, (_, two) in zip(lefts, query.columns, strict=True)):
        return op(this=exp.Tuple(expressions=[one.node for one in lefts]), expression=found)
    if any(map(gathers, left.expressions)):
        raise Refused("A comparison of a row of aggregates with a query of other types", "CAST one side.")
    names = [f"c{at}" for at in range(len(lefts))]
    rights = [
        typed.but(
            node=exp.Column(this=identifier(name), table=identifier(_ROW)), slot=None, constant=None, collation=by
        )
        for name, (_, typed), by in zip(names, query.columns, query.collations(1), strict=True)
    ]
    found.set("alias", exp.TableAlias(this=identifier(_ROW), columns=[identifier(name) for name in names]))
    answer = exp.Select(
        expressions=[_by_element(predicates, op, list(zip(lefts, rights, strict=True)))],
        from_=exp.From(this=exp.Subquery(this=_one_row(), alias=exp.TableAlias(this=identifier("always")))),
        joins=[exp.Join(this=found, side="LEFT", on=exp.true())],
    )
    return exp.Subquery(this=answer)


_ROW = "compared"


def _one_row() -> exp.Select:
    return exp.Select(expressions=[exp.Literal.number(1)])


def _by_bound(op: type[exp.Binary], pairs: Sequence[Pair]) -> bool:
    """Whether one of the elements is compared in another way than as a text (`below`)."""
    return op not in _EQUAL and any(below.is_bound(*pair) or below.is_bound(*pair[::-1]) for pair in pairs)


def _is_plain(one: Typed, two: Typed) -> bool:
    """Whether nothing has to be done to either before Postgres compares them as SQLite does."""
    aligned = comparing.align(one, two)
    return aligned == (one, two) and comparing.level(*aligned) == aligned and _alike(one, two)


def _alike(one: Typed, two: Typed) -> bool:
    """Whether Postgres compares the elements of two rows as SQLite does."""
    if one.kind is Kind.TEXT and two.kind is Kind.TEXT:
        by_number = comparing.is_by_number(one, two)
        return not by_number and collation(one, two) == "BINARY" and (bytewise(one) or bytewise(two))
    return (one.kind in NUMBERS and two.kind in NUMBERS) or one.kind is two.kind is Kind.BLOB


def _by_element(predicates: Predicates, op: type[exp.Binary], pairs: Sequence[Pair]) -> exp.Expr:
    """A comparison of rows, spelled out where Postgres would compare elements in another way."""

    def element(test: type[exp.Binary], at: int) -> exp.Expr:
        one, two = (typed.but(node=typed.node.copy()) for typed in pairs[at])
        return paren(predicates.compared(test, one, two, loose=False))

    places = range(len(pairs))
    if op in (exp.EQ, exp.NullSafeEQ):
        return exp.and_(*[element(op, at) for at in places])
    if op in (exp.NEQ, exp.NullSafeNEQ):
        return exp.or_(*[element(op, at) for at in places])
    strict = exp.LT if op in (exp.LT, exp.LTE) else exp.GT
    result = element(op, len(pairs) - 1)
    for at in reversed(places[:-1]):
        result = exp.or_(element(strict, at), exp.and_(element(exp.EQ, at), paren(result)))
    return result
