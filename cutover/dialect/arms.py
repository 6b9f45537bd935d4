"""How SQLite reads for each SELECT of a compound."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import takewhile
from typing import TYPE_CHECKING

from sqlglot import exp

from cutover.dialect import windows
from cutover.dialect.reading import Reading
from cutover.dialect.scope import Scope
from cutover.dialect.trees import leftmost, operations
from cutover.dialect.typed import Refused

if TYPE_CHECKING:
    from cutover.dialect.queries import Queries
    from cutover.dialect.query import Query


def reading_of_arm(
    node: exp.SetOperation, scope: Scope, written: list[exp.Expr], at: int, *, needed: bool
) -> Reading | None:
    """How SQLite reads the rows of an arm. Raises `Refused` where that is not known, and is needed."""
    arms: tuple[Reading, ...] = ()
    reading = scope.reading or scope.beneath
    if reading is not None:
        arms = reading.arms if node.args.get("order") is None else reading.merged
    if len(arms) != len(written) or arms[at].scans is None or (node.args.get("order") and not arms[at].sorts):
        if needed:
            raise Refused(f"{type(node).__name__.upper()} of rows that are equal without being the same")
        return None
    return arms[at]


def readings_for(
    queries: Queries, written: list[exp.Expr], scope: Scope, *, unordered: bool, all_rows: bool
) -> tuple[Reading | None, ...]:
    """How SQLite reads each SELECT of a compound, where that matters and is known."""
    if unordered and all_rows:
        return readings_of(scope.reading, len(written))
    if scope.turning and len(written) == 2:
        return queries.ordering.begun(scope.turning), None
    if scope.reading is not None and queries.context.gathers:
        return of_gathering(written, scope.reading.arms if unordered else scope.reading.merged)
    if scope.interleaved and queries.context.gathers:
        return of_gathering(written, scope.interleaved)
    return (None,) * len(written)


def of_gathering(written: list[exp.Expr], arms: tuple[Reading | None, ...]) -> tuple[Reading | None, ...]:
    """How SQLite reads for the SELECTs where it sorts what they give, since the order in which rows come matters to
    functions in them or within."""
    if len(arms) != len(written):
        return (None,) * len(written)
    pairs = zip(arms, written, strict=True)
    return tuple(_bare(arm, one) if arm is not None and isinstance(one, exp.Select) else None for arm, one in pairs)


def _bare(arm: Reading, node: exp.Select) -> Reading:
    """Without the query that SQLite makes of a SELECT with windows to sort what it gives."""
    return arm.inside if arm.inside is not None and "ORDER BY" in arm.sorts and windows.has_own(node) else arm


def readings_of(reading: Reading | None, count: int) -> tuple[Reading | None, ...]:
    """How SQLite reads each of the last SELECTs of a compound, and what stands before them."""
    arms = reading.arms if reading is not None else ()
    if reading is None or len(arms) < count:
        return (None,) * count
    ahead = len(arms) - count + 1
    return (arms[0] if ahead == 1 else replace(reading, arms=arms[:ahead]), *arms[ahead:])


def of_sorted(reading: Reading | None, count: int) -> tuple[Reading, ...]:
    """How SQLite reads so many SELECTs of UNION ALL with ORDER BY, the first of which may be a compound; or nothing.

    It merges them, each sorted; beside COLLATE it sorts what they all give.
    """
    if reading is None:
        return ()
    whole = reading if reading.merged or reading.inside is None else reading.inside
    parts = whole.merged or whole.arms
    if len(parts) < count:
        return ()
    ahead = len(parts) - count + 1
    first = replace(whole, merged=whole.merged[:ahead], arms=whole.arms[:ahead]) if ahead > 1 else parts[0]
    return (first, *parts[ahead:])


def by_places(node: exp.SetOperation) -> bool:
    """Have its ORDER BY tell columns by their numbers, where it does so by names of any of its SELECTs. Returns whether
    it does."""
    order = node.args.get("order")
    selects = [leftmost(node), *(one.expression for one in operations(node))]
    for term in order.expressions if order is not None else ():
        named = term.this.this if isinstance(term.this, exp.Collate) else term.this
        if isinstance(named, exp.Literal):
            continue
        told = takewhile(lambda one: isinstance(one, exp.Select) and not one.is_star, selects)
        at = next((at for one in told if (at := _place(named, one)) is not None), None)
        if at is None:
            return False
        named.replace(exp.Literal.number(at + 1))
    return True


def _place(term: exp.Expr, select: exp.Expr) -> int | None:
    """The column of a SELECT that has this name: by AS, else its own."""
    named = term.name.lower() if isinstance(term, exp.Column) and not term.table else None
    found = [
        (at, one) for at, one in enumerate(select.expressions) if named is not None and one.output_name.lower() == named
    ]
    given = [at for at, one in found if isinstance(one, exp.Alias)]
    return next(iter([*given, *(at for at, _ in found)]), None)


def sorted_alike(written: exp.Expr, order: exp.Order, places: list[int]) -> exp.Expr:
    """What stands before UNION ALL, sorted by these columns as the whole is."""
    terms = [term.copy() for term in order.expressions]
    for term, place in zip(terms, places, strict=True):
        (term.this.this if isinstance(term.this, exp.Collate) else term.this).replace(exp.Literal.number(place + 1))
    made = written.copy()
    made.set("order", exp.Order(expressions=terms))
    return made


def chained(written: Sequence[exp.SetOperation], arms: list[Query]) -> exp.Expr:
    """The arms with the operations between them, from left to right as SQLite reads."""
    result: exp.Expr = arms[0].node
    for operation, arm in zip(written, arms[1:], strict=True):
        distinct = operation.args.get("distinct", True)
        if isinstance(operation, exp.Intersect) and isinstance(result, exp.SetOperation):
            result = exp.Subquery(this=result)  # to Postgres INTERSECT binds more tightly
        result = type(operation)(this=result, expression=arm.node, distinct=distinct)
    return result


def turns_of(arms: list[Query]) -> list[tuple[exp.Expr, exp.Expr]]:
    """What numbers the rows of a recursion, if its last part tells it: the others have the first round."""
    numbered: list[tuple[exp.Expr, exp.Expr]] = []
    for at, arm in enumerate(arms[:-1]):
        first = exp.Literal.number(at << 24)
        numbered.append((arm.node, exp.Add(this=exp.Window(this=exp.RowNumber()), expression=first)))
    if any(arm.node.args.get("distinct") for arm in arms):
        return []
    return [*numbered, *arms[-1].turns] if arms[-1].turns else []
