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


def by_number(order: list[Typed], spec: exp.WindowSpec | None) -> Typed | None:
    """The only term of ORDER BY as a double, where RANGE with an offset goes by one that may be anything, or by an
    integer to which a real is added."""
    if spec is None or str(spec.args.get("kind")).upper() != "RANGE" or len(order) != 1:
        return None
    ends = [end for side, _ in _ENDS if isinstance(end := spec.args.get(side), exp.Expr)]
    reals = any(isinstance(end, exp.Literal) and not end.is_string and not end.is_int for end in ends)
    if not ends or not (order[0].kind is Kind.DYNAMIC or (order[0].kind is Kind.INT and reals)):
        return None
    return Typed(helper("ranged", order[0].node), Kind.REAL)


def as_number(offset: Typed) -> exp.Expr:
    """What counts something, as a number; NULL for what is none."""
    return numbers.converted(offset if offset.kind in _NUMBERS else _as_number(offset), Kind.NUM)


def _count(offset: Typed, word: str) -> exp.Expr:
    """A number of rows or groups."""
    return helper("frame_offset", as_number(offset), exp.Literal.string(word))


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
