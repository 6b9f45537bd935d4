"""The frame of a window: how many rows, groups or units it reaches before and behind the current row."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlglot import exp

from cutover.dialect import numbers
from cutover.dialect.comparing import value
from cutover.dialect.scope import Scope
from cutover.dialect.typed import Kind, Refused, Typed, helper, null

if TYPE_CHECKING:
    from cutover.dialect.expressions import Expressions

_ENDS = (("start", "starting"), ("end", "ending"))
_NUMBERS = (Kind.INT, Kind.REAL, Kind.NUM)


def frame(expressions: Expressions, spec: exp.WindowSpec | None, order: list[Typed], scope: Scope) -> exp.Expr | None:
    """ROWS, GROUPS or RANGE with its two ends; an offset may be an argument or any constant expression."""
    if spec is None:
        return None
    made = spec.copy()
    for side, word in _ENDS:
        bound = spec.args.get(side)
        if isinstance(bound, exp.Expr):
            typed = value(expressions.typed(bound, scope))
            expressions.context.hint(typed.slot, Kind.INT)
            by_value = str(spec.args.get("kind")).upper() == "RANGE"
            made.set(side, _distance(typed, order, word) if by_value else _count(typed, word))
    return made


def _count(offset: Typed, word: str) -> exp.Expr:
    """A number of rows or groups."""
    counted = offset if offset.kind in _NUMBERS else _as_number(offset)
    return helper("frame_offset", numbers.converted(counted, Kind.NUM), exp.Literal.string(word))


def _as_number(offset: Typed) -> Typed:
    if offset.kind in (Kind.TEXT, Kind.DYNAMIC):
        return Typed(helper("aff", offset.node), Kind.NUM)
    return Typed(null(Kind.NUM), Kind.NUM)


def _distance(offset: Typed, order: list[Typed], word: str) -> exp.Expr:
    """How far the only term of ORDER BY may be away, in that term's own type."""
    if len(order) != 1 or order[0].kind not in _NUMBERS:
        raise Refused("RANGE with an offset over what is no number", "Order by a number, as julianday() of a text.")
    if offset.kind not in _NUMBERS or (order[0].kind is Kind.INT and offset.kind is not Kind.INT):
        raise Refused(f"RANGE with an offset of another type, {offset.kind},")
    distance = numbers.real(offset).node if order[0].kind is Kind.REAL else numbers.converted(offset, order[0].kind)
    return helper("frame_distance", distance, exp.Literal.string(word))
