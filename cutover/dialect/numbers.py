"""Numbers as SQLite computes with them, casts, and one kind for values that come out of one place."""

from __future__ import annotations

import math
from collections.abc import Sequence

from sqlglot import exp

from cutover.dialect.comparing import dynamic, octets, text, value
from cutover.dialect.context import Context
from cutover.dialect.typed import (
    NUMBERS,
    Kind,
    Refused,
    Typed,
    call,
    cast,
    helper,
    literal,
    null,
    paren,
)


def number(typed: Typed) -> Typed:
    """As arithmetic takes it: integers are 64 bits wide, text gives its numeric prefix, NULL stays NULL."""
    typed = value(typed)
    match typed.kind:
        case Kind.INT:
            narrow = typed.is_constant or (typed.column is not None and typed.column.target_type != "bigint")
            return typed.but(node=cast(typed.node, "BIGINT")) if narrow else typed
        case Kind.REAL | Kind.NUM:
            return typed
        case Kind.NULL:
            return typed.but(node=null(Kind.INT), kind=Kind.INT, slot=None)
        case Kind.TEXT | Kind.DYNAMIC | Kind.BLOB:
            return Typed(helper("tonum", typed.node), Kind.NUM, not_null=typed.not_null)
        case _:
            raise Refused(f"Arithmetic on a {typed.kind}")


def integer(typed: Typed) -> Typed:
    """As CAST(x AS INTEGER): truncated, or the integer prefix of a text."""
    typed = value(typed)
    if typed.kind in (Kind.TEXT, Kind.DYNAMIC, Kind.BLOB):
        return Typed(helper("toint", typed.node), Kind.INT, not_null=typed.not_null)
    typed = number(typed)
    if typed.kind is Kind.INT:
        return typed
    return Typed(helper("toint", typed.node), Kind.INT, not_null=typed.not_null)


def real(typed: Typed) -> Typed:
    """As a double."""
    typed = value(typed)
    if typed.kind is Kind.TEXT:
        return Typed(helper("toreal", typed.node), Kind.REAL, not_null=typed.not_null)
    typed = number(typed)
    if typed.kind is Kind.NUM and typed.column is None:
        return Typed(helper("real", typed.node), Kind.REAL)
    return typed if typed.kind is Kind.REAL else Typed(cast(typed.node, "DOUBLE PRECISION"), Kind.REAL)


_OF_EITHER = {exp.Add: "add", exp.Sub: "sub", exp.Mul: "mul", exp.Div: "div"}
"""Operators on what may be integers or reals: which, is known only when it is computed."""


def arithmetic(op: type[exp.Binary], left: Typed, right: Typed, context: Context) -> Typed:
    """`left op right`: division by zero is NULL, % is of integers."""
    if op is exp.Mod:
        return _remainder(left, right)
    beyond = _beyond(op, left, right)
    if beyond is not None:
        return beyond
    left, right = number(left), number(right)
    kinds = {left.kind, right.kind}
    kind = Kind.INT if kinds == {Kind.INT} else (Kind.REAL if Kind.REAL in kinds else Kind.NUM)
    if kind is not Kind.NUM:
        context.may_widen = True
        if context.wide or (kind is Kind.REAL and _is_infinite(left, right)):  # whose NaN is NULL
            return _wide(op, left, right, kind)
    if kind is Kind.NUM:
        return Typed(helper(_OF_EITHER[op], left.node, right.node), kind)
    if op is exp.Div:
        divisor = call("NULLIF", right.node, exp.Literal.number(0))
        return Typed(exp.Paren(this=exp.Div(this=paren(left.node), expression=divisor, typed=True)), kind)
    not_null = left.not_null and right.not_null
    if kind is Kind.REAL:
        left, right = real(left), real(right)
    first = paren(left.node)
    if isinstance(first, exp.Paren) and type(first.this) is op and left.kind is kind:
        first = first.this  # a + b + c: no parentheses within parentheses, a thousand deep
    return Typed(exp.Paren(this=op(this=first, expression=paren(right.node))), kind, not_null=not_null)


def _is_infinite(*sides: Typed) -> bool:
    """Whether one is written out, such as 9e999."""
    return any(isinstance(side.constant, float) and math.isinf(side.constant) for side in sides)


def _wide(op: type[exp.Binary], left: Typed, right: Typed, kind: Kind) -> Typed:
    """Integers become a real where 64 bits do not hold the result, reals become infinite."""
    if kind is Kind.REAL:
        return Typed(helper(f"wide_{_OF_EITHER[op]}", real(left).node, real(right).node), kind)
    one, two = (cast(each.node, "NUMERIC") for each in (left, right))
    return Typed(
        helper(_OF_EITHER[op], one, two), Kind.NUM, not_null=left.not_null and right.not_null and op is not exp.Div
    )


def _beyond(op: type[exp.Binary], left: Typed, right: Typed) -> Typed | None:
    """Two literal integers whose result is beyond 64 bits: SQLite computes it as a real."""
    one, two = left.constant, right.constant
    if not isinstance(one, int) or not isinstance(two, int):
        return None
    exact = {exp.Add: one + two, exp.Sub: one - two, exp.Mul: one * two, exp.Div: -one if two == -1 else 0}[op]
    if -(1 << 63) <= exact < 1 << 63:
        return None
    near, by = float(one), float(two)
    result = {exp.Add: near + by, exp.Sub: near - by, exp.Mul: near * by, exp.Div: -near}[op]
    return literal(result).but(constant=None)


def _remainder(left: Typed, right: Typed) -> Typed:
    """Of integers, which a text begins with; a real if one of the two numbers is."""
    one, two = integer(left).node, integer(right).node
    kinds = {number(left).kind, number(right).kind}
    if Kind.REAL not in kinds and Kind.NUM in kinds:
        return Typed(helper("mod", number(left).node, number(right).node, one, two), Kind.NUM)
    divisor = call("NULLIF", two, exp.Literal.number(0))
    result = exp.Paren(this=exp.Mod(this=paren(one), expression=divisor))
    return Typed(result, Kind.INT) if kinds == {Kind.INT} else Typed(cast(result, "DOUBLE PRECISION"), Kind.REAL)


def unify(branches: Sequence[Typed]) -> tuple[Kind, list[exp.Expr]]:
    """One kind for values that come out of one place (CASE, COALESCE, UNION), and the values in it."""
    kinds = {branch.kind for branch in branches} - {Kind.NULL}
    if not kinds:
        return Kind.NULL, [branch.node for branch in branches]
    if len(kinds) == 1:
        kind = kinds.pop()
    elif kinds <= NUMBERS:
        kind = Kind.NUM
    else:
        kind = Kind.DYNAMIC
    return kind, [converted(branch, kind) for branch in branches]


def converted(branch: Typed, kind: Kind) -> exp.Expr:
    """The value in a wider kind, telling what it was."""
    if branch.kind is Kind.NULL:
        return null(kind)
    if branch.kind is kind:
        return cast(branch.node, "BIGINT") if kind is Kind.INT and branch.is_constant else branch.node
    if kind is Kind.NUM:
        return helper("num", cast(branch.node, "BIGINT") if branch.kind is Kind.INT else branch.node)
    return dynamic(branch)


def cast_to(affinity: str, inner: Typed) -> Typed:
    """CAST(inner AS a type of that affinity). It keeps the collation, by which texts in a compound go."""
    return _cast_to(affinity, inner).but(collation=inner.collation, explicit=inner.explicit)


def _cast_to(affinity: str, inner: Typed) -> Typed:
    if inner.kind is Kind.NULL:
        kind = {"INTEGER": Kind.INT, "TEXT": Kind.TEXT, "BLOB": Kind.BLOB, "REAL": Kind.REAL}.get(affinity, Kind.NUM)
        return Typed(null(kind), kind, affinity=affinity)
    match affinity:
        case "INTEGER":
            return integer(inner).but(affinity=affinity, column=None, constant=None)
        case "REAL":
            return real(inner).but(affinity=affinity, column=None, constant=None)
        case "TEXT":
            return text(inner).but(affinity=affinity, column=None)
        case "NUMERIC":
            cast_number = number(inner)
            if inner.kind in (Kind.TEXT, Kind.BLOB, Kind.DYNAMIC):
                cast_number.node = helper("whole", inner.node if inner.kind is Kind.DYNAMIC else cast_number.node)
            return cast_number.but(affinity=affinity, column=None, constant=None)
        case _:
            if inner.kind is Kind.BLOB:
                return inner.but(affinity=affinity)
            return Typed(octets(inner), Kind.BLOB, affinity=affinity)
