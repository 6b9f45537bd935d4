"""An integer compared with a real: exact values count to SQLite, and beyond 2^53 doubles stand between integers.

What is an argument or a literal becomes the nearest value of the other side's own type, so that an index serves it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from sqlglot import exp

from cutover.dialect.comparing import SWAPPED, align
from cutover.dialect.context import Context
from cutover.dialect.typed import Kind, Typed, binary, cast, literal, paren

_LOW, _HIGH = -(1 << 63), (1 << 63) - 1
_SURE = 1 << 53
"""Up to here every integer is a real."""
_SIDES = {exp.EQ: 0, exp.LT: -1, exp.LTE: -1, exp.GT: 1, exp.GTE: 1}
_SAFE = {exp.NullSafeEQ: exp.EQ, exp.NullSafeNEQ: exp.NEQ}


def compared(context: Context, op: type[exp.Binary], one: Typed, two: Typed, *, loose: bool) -> exp.Expr | None:
    """`one op two` where one is an integer and the other a real that is an argument or a literal, or the other way
    round; None for anything else. `loose`: NULL may stand for false.
    """
    left, right = align(one, two)
    if not (_is_given(left) or _is_given(right)) or {left.kind, right.kind} != {Kind.INT, Kind.REAL}:
        return None
    if not _is_given(right) or (left.slot is not None and right.is_constant):
        op, left, right = SWAPPED.get(op, op), right, left
    plain = _SAFE.get(op, op)
    test = exp.EQ if plain is exp.NEQ else plain
    if left.kind is Kind.REAL:
        found = _with_integer(context, test, left, right)
    elif loose and plain is op and plain is not exp.NEQ:
        found = _with_real(context, test, left, right)
    else:
        found = _within(context, test, left, right)
    if found is not None and plain is not op:
        found = exp.Coalesce(this=exp.Paren(this=found), expressions=[exp.Boolean(this=False)])
    return found if found is None or plain is not exp.NEQ else exp.Not(this=exp.Paren(this=found))


def equal_argument(context: Context, subject: Typed, item: Typed) -> Typed:
    """An integer that is an argument, as a real that equals the same reals: it may stand in a list of such."""
    if subject.kind is not Kind.REAL or item.slot is None or item.kind is not Kind.INT:
        return item
    return item.but(node=context.use(item.slot, "DOUBLE PRECISION", _Nearest(0)), kind=Kind.REAL)


def _is_given(typed: Typed) -> bool:
    return typed.slot is not None or typed.is_constant


def _with_integer(context: Context, op: type[exp.Binary], real: Typed, integer: Typed) -> exp.Expr | None:
    """A real beside a given integer, which becomes the real that the comparison is the same with."""
    nearest = _Nearest(-1 if op in (exp.GT, exp.LTE) else 1 if op in (exp.LT, exp.GTE) else 0)
    if integer.slot is not None:
        return binary(op, real.node, context.use(integer.slot, "DOUBLE PRECISION", nearest))
    value = integer.constant
    assert isinstance(value, int)
    return None if abs(value) <= _SURE else binary(op, real.node, literal(nearest(value)).node)


def _with_real(context: Context, op: type[exp.Binary], integer: Typed, real: Typed) -> exp.Expr:
    """An integer beside a given real, by one bound; NULL where no integer is meant."""
    upper = op in (exp.LT, exp.LTE)
    bound = _bound(context, op, real, upper=upper, needed=True)
    return binary(exp.EQ if op is exp.EQ else exp.LTE if upper else exp.GTE, integer.node, bound)


def _within(context: Context, op: type[exp.Binary], integer: Typed, real: Typed) -> exp.Expr:
    """The same by the first and the last integer: no integer lies between 1 and 0."""
    low, high = (_bound(context, op, real, upper=upper, needed=False) for upper in (False, True))
    return exp.Paren(
        this=exp.And(
            this=binary(exp.GTE, integer.node, low),
            expression=binary(exp.LTE, integer.node.copy(), high),
        )
    )


def _bound(context: Context, op: type[exp.Binary], real: Typed, *, upper: bool, needed: bool) -> exp.Expr:
    bound = _Bound(_SIDES[op], strict=op in (exp.LT, exp.GT), upper=upper, needed=needed)
    if real.slot is not None:
        return context.use(real.slot, "BIGINT", bound)
    assert isinstance(real.constant, float)
    found = bound(real.constant)
    return cast(exp.Null(), "BIGINT") if found is None else paren(literal(found).node)


@dataclass(frozen=True)
class _Bound:
    """Encodes the first or the last integer that stands in a relation to a real."""

    side: int
    """-1: integers below it are meant, 1: above it, 0: equal to it."""
    strict: bool
    upper: bool
    needed: bool
    """There is no other bound: where no integer is meant it is NULL."""

    def __call__(self, value: float) -> int | None:
        if math.isnan(value):  # NULL to SQLite
            return None
        down, up = _around(value)
        low = _LOW if self.side < 0 else max(down + 1 if self.strict else up, _LOW)
        high = _HIGH if self.side > 0 else min(up - 1 if self.strict else down, _HIGH)
        if low > high:
            return None if self.needed else int(not self.upper)
        return high if self.upper else low


def _around(value: float) -> tuple[int, int]:
    """The integers next to it, below and above, or itself twice."""
    if math.isinf(value):
        value = math.copysign(2.0**64, value)
    return math.floor(value), math.ceil(value)


@dataclass(frozen=True)
class _Nearest:
    """Encodes the real next to an integer: below it, above it, or the same; which is no number if there is none."""

    side: int

    def __call__(self, value: int) -> float:
        near = float(value)
        if int(near) == value:
            return near
        if self.side == 0:
            return math.nan
        beyond = int(near) > value
        return near if beyond == (self.side > 0) else math.nextafter(near, math.inf * self.side)
