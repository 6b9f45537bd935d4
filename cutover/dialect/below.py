"""A text that is given or computed beside texts of a column that makes numbers of some (DATETIME): these are below."""

from __future__ import annotations

from dataclasses import dataclass

from sqlglot import exp

from cutover.dialect.collations import collation
from cutover.dialect.comparing import SWAPPED, number_of, value
from cutover.dialect.context import Context
from cutover.dialect.trees import unparen
from cutover.dialect.typed import NUMERIC_AFFINITIES, Kind, Typed, helper


def bounded(context: Context, op: type[exp.Binary], one: Typed, two: Typed) -> tuple[type[exp.Binary], Typed, Typed]:
    """`one op two` with such a text as the bound that says the same; anything else as it is. `op` is an order."""
    if is_bound(two, one):
        op, one, two = SWAPPED[op], two, one
    if not is_bound(one, two):
        return op, one, two
    after, trimmed = op in (exp.GT, exp.LTE), collation(one, two) == "RTRIM"
    if two.slot is None:
        bound = two.but(node=helper("first_text", two.node, exp.Boolean(this=after), exp.Boolean(this=trimmed)))
    else:
        bound = two.but(node=context.use(two.slot, "TEXT", _FirstText(after, trimmed)))
    return exp.GTE if op in (exp.GT, exp.GTE) else exp.LT, one, bound


def is_bound(one: Typed, two: Typed) -> bool:
    """Whether `two` is an argument, or is computed, beside texts of a column that makes numbers of some (DATETIME)."""
    if two.kind is not Kind.TEXT or one.affinity not in NUMERIC_AFFINITIES:
        return False
    if two.slot is None and (two.is_constant or one.lent or two.lent or _is_settled(two)):
        return False
    return value(one).kind is Kind.TEXT


def _is_settled(typed: Typed) -> bool:
    """Whether the comparison sees to it by its affinity, or nothing that looks like a number can come of it."""
    node = unparen(typed.node)
    dated = isinstance(node, exp.Anonymous) and str(node.this) in _DATES
    return dated or typed.affinity == "TEXT" or typed.affinity in NUMERIC_AFFINITIES


_DATES = frozenset(f"cutover.{name}" for name in ("date", "datetime", "time"))


@dataclass(frozen=True)
class _FirstText:
    """Encodes the first text that is not before another one (`after`: that is after it): of a number, the first of all.

    Texts have no NUL on Postgres, so nothing is between a text and the same with the next character behind it.
    `cutover.first_text` does it there.
    """

    after: bool
    trimmed: bool

    def __call__(self, given: str) -> str:
        if number_of(given) is not None:
            return ""
        if not self.after:
            return given
        return (given.rstrip(" ") if self.trimmed else given) + "\x01"
