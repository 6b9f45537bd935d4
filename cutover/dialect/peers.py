"""Windows whose values go by the order of rows that are in ties, of which only SQLite knows which comes first.

Whether that matters, the rows tell: beside the window an aggregate looks at all rows of the partition, and it is an
error if two that are equal by all that is certain of the order differ in a column that the SELECT names.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sqlglot import exp

from cutover.dialect import cutting, windows
from cutover.dialect.lifting import joins_sorted
from cutover.dialect.scope import Scope
from cutover.dialect.typed import call, cast
from cutover.dialect.unasked import once
from cutover.dialect.used import columns_named

if TYPE_CHECKING:
    from cutover.dialect.expressions import Expressions

CAVEAT = "Fails if a window goes by the order of rows that its ORDER BY does not tell apart."
_WHOLE = {"kind": "ROWS", "start": "UNBOUNDED", "start_side": "PRECEDING"}


def untold(
    expressions: Expressions, scope: Scope, asked: list[exp.Expr], terms: list[exp.Expr], window: exp.Window
) -> list[exp.Expr] | None:
    """What is certain of the order of a window's rows, where it leaves some in ties. `terms`: what they are sorted by,
    of which `asked` is written. None: all of it is certain."""
    if scope.grouping is not None or not scope.sources or expressions.context.catalog.any_of_ties:
        return None
    behind = windows.behind(window, scope.steps, scope.named, again=id(window) in scope.again)
    sure = len(once([*asked, *expressions.queries.ordering.unasked.by_windows(behind, scope)]))
    views = expressions.context.catalog.views
    # A join of which no plan is told, or that SQLite may sort by what one of its queries is sorted by.
    sorts = scope.select is not None and joins_sorted(scope.select, views)
    if len(scope.sources) > 1 and (scope.reading is None or sorts):
        terms = terms[:sure]
    known = cutting.certain(scope, terms, sure)
    if known is None:
        return None
    expressions.context.caveats[CAVEAT] = None
    return terms[:known]


def guarded(found: exp.Expr, partition: Sequence[exp.Expr], certain: list[exp.Expr], scope: Scope) -> exp.Expr:
    """A window, or one beside another that has its rows in order, which fails where rows in ties differ."""
    assert scope.select is not None
    seen = [source.typed(column).node for source in scope.sources for column in columns_named(scope.select, source)]
    if not seen:
        return found
    told = call("jsonb_build_array", *(term.this.copy() for term in certain))
    looks = exp.Window(
        this=call("cutover.told", told, cast(call("ROW", *(node.copy() for node in seen)), "TEXT")),
        partition_by=[part.copy() for part in partition],
        order=exp.Order(expressions=[term.copy() for term in certain]) if certain else None,
        spec=exp.WindowSpec(**_WHOLE, end="UNBOUNDED", end_side="FOLLOWING"),
        over="OVER",
    )
    test: exp.Expr = exp.Not(this=exp.Is(this=looks, expression=exp.Null()))
    if isinstance(found, exp.Case):
        beside = found.args["ifs"][0]
        beside.set("this", exp.and_(test, beside.this))
        return found
    return exp.Case(ifs=[exp.If(this=test, true=found)])
