"""Functions of numbers: abs, round, sign, and SQLite's mathematical functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from sqlglot import exp

from cutover.dialect import numbers
from cutover.dialect.comparing import value
from cutover.dialect.typed import Kind, Typed, call, cast, helper, literal, null

if TYPE_CHECKING:
    from cutover.dialect.expressions import Expressions

Function: TypeAlias = "Callable[[Expressions, list[Typed]], Typed]"

_PI = 3.141592653589793


def measured(typed: Typed) -> Typed:
    """As mathematical functions take it: a number, or a text that is one; anything else is NULL."""
    typed = value(typed)
    match typed.kind:
        case Kind.TEXT | Kind.DYNAMIC:
            return Typed(helper("aff", typed.node), Kind.NUM)
        case Kind.BLOB | Kind.NULL:
            return Typed(null(Kind.REAL), Kind.REAL)
        case _:
            return numbers.number(typed)


def _double(typed: Typed) -> exp.Expr:
    return numbers.real(measured(typed)).node


def _native(name: str) -> Function:
    def build(_: Expressions, arguments: list[Typed]) -> Typed:
        return Typed(call(name, *map(_double, arguments)), Kind.REAL)

    return build


def _own(name: str) -> Function:
    def build(_: Expressions, arguments: list[Typed]) -> Typed:
        return Typed(helper(name, *map(_double, arguments)), Kind.REAL)

    return build


def _times(factor: float) -> Function:
    def build(_: Expressions, arguments: list[Typed]) -> Typed:
        return Typed(exp.Paren(this=exp.Mul(this=_double(arguments[0]), expression=literal(factor).node)), Kind.REAL)

    return build


def _whole(name: str) -> Function:
    """ceil, floor, trunc: integers stay what they are."""

    def build(_: Expressions, arguments: list[Typed]) -> Typed:
        inner = measured(arguments[0])
        if inner.kind is Kind.INT:
            return inner.but(affinity=None, column=None, constant=None, slot=None)
        return Typed((helper if inner.kind is Kind.NUM else call)(name, inner.node), inner.kind)

    return build


def _pi(_: Expressions, _arguments: list[Typed]) -> Typed:
    return literal(_PI)


def _log(_: Expressions, arguments: list[Typed]) -> Typed:
    # The second argument is only read as a number, so a text counts with its prefix.
    given = [_double(arguments[0]), *(numbers.real(argument).node for argument in arguments[1:])]
    return Typed(helper("log", *given), Kind.REAL)


def _sign(_: Expressions, arguments: list[Typed]) -> Typed:
    return Typed(helper("sign", measured(arguments[0]).node), Kind.INT)


def _abs(_: Expressions, arguments: list[Typed]) -> Typed:
    inner = value(arguments[0])
    match inner.kind:
        case Kind.TEXT | Kind.BLOB:
            return Typed(helper("abs", numbers.real(inner).node), Kind.REAL, not_null=inner.not_null)
        case Kind.NUM | Kind.DYNAMIC:
            return Typed(helper("abs", inner.node), Kind.NUM, not_null=inner.not_null)
        case _:
            inner = numbers.number(inner)
            whole = inner.kind is Kind.INT
            # A literal in a subquery is a column of four bytes to Postgres, which no helper takes for sure.
            stored = inner.column is not None
            node = helper("abs", cast(inner.node, "BIGINT") if whole else inner.node)
            node = call("abs", inner.node) if stored and not whole else node  # no column has -0.0
            return Typed(node, inner.kind, not_null=inner.not_null)


def _round(_: Expressions, arguments: list[Typed]) -> Typed:
    digits = numbers.integer(arguments[1]).node if len(arguments) > 1 else cast(exp.Literal.number(0), "BIGINT")
    return Typed(helper("round", numbers.real(arguments[0]).node, digits), Kind.REAL)


FUNCTIONS: dict[str, Function] = {
    **{name: _native(name) for name in ("atan", "atan2", "cos", "sin", "tan", "cosh", "sinh", "tanh", "asinh")},
    **{name: _own(name) for name in ("acos", "asin", "acosh", "atanh", "exp", "ln", "log2", "sqrt", "pow")},
    "power": _own("pow"),
    "mod": _own("fmod"),
    "log": _log,
    "log10": _log,
    "ceil": _whole("ceil"),
    "ceiling": _whole("ceil"),
    "floor": _whole("floor"),
    "trunc": _whole("trunc"),
    "radians": _times(_PI / 180.0),
    "degrees": _times(180.0 / _PI),
    "pi": _pi,
    "sign": _sign,
    "abs": _abs,
    "round": _round,
}
