"""A text argument beside texts of a column that makes numbers of some (DATETIME): numbers are below them all."""

from __future__ import annotations

from dataclasses import dataclass

from sqlglot import exp

from cutover.dialect.collations import collation
from cutover.dialect.comparing import SWAPPED, number_of, value
from cutover.dialect.context import Context
from cutover.dialect.typed import NUMERIC_AFFINITIES, Kind, Typed


def bounded(context: Context, op: type[exp.Binary], one: Typed, two: Typed) -> tuple[type[exp.Binary], Typed, Typed]:
    """`one op two` with such an argument as the bound that says the same; anything else as it is. `op` is an order."""
    if is_bound(two, one):
        op, one, two = SWAPPED[op], two, one
    if not is_bound(one, two):
        return op, one, two
    assert two.slot is not None
    first = _FirstText(op in (exp.GT, exp.LTE), collation(one, two) == "RTRIM")
    bound = two.but(node=context.use(two.slot, "TEXT", first))
    return exp.GTE if op in (exp.GT, exp.GTE) else exp.LT, one, bound


def is_bound(one: Typed, two: Typed) -> bool:
    """Whether `two` is a text argument beside texts of a column that makes numbers of some, such as DATETIME."""
    if two.slot is None or two.kind is not Kind.TEXT or one.affinity not in NUMERIC_AFFINITIES:
        return False
    return value(one).kind is Kind.TEXT


@dataclass(frozen=True)
class _FirstText:
    """Encodes the first text that is not before another one (`after`: that is after it): of a number, the first of all.

    Texts have no NUL on Postgres, so nothing is between a text and the same with the next character behind it.
    """

    after: bool
    trimmed: bool

    def __call__(self, given: str) -> str:
        if number_of(given) is not None:
            return ""
        if not self.after:
            return given
        return (given.rstrip(" ") if self.trimmed else given) + "\x01"
