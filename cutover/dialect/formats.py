"""printf() and format() with a format that is written out, and quote()."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlglot import exp

from cutover.dialect import numbers
from cutover.dialect.comparing import text, value
from cutover.dialect.mathematics import Function
from cutover.dialect.typed import Kind, Refused, Typed, call, cast, helper, literal, null, paren

if TYPE_CHECKING:
    from cutover.dialect.expressions import Expressions

_PIECE = re.compile(
    r"(?P<plain>[^%]+)|%%|%(?P<flags>[-+ #!0,]*)(?P<width>\*|[1-9]\d{0,6})?(?:\.(?P<places>\*|\d{0,3}))?"
    r"l{0,2}(?P<how>[diuxXoscqQwfeEgG])"
)

_MOST_GIVEN = 999


@dataclass(frozen=True, slots=True)
class _Conversion:
    how: str
    flags: str
    places: int | None
    width: exp.Expr | None
    """Negative if blanks go to the right."""

    @property
    def prefix(self) -> str:
        """What stands before a number that is not negative: of two flags the last counts."""
        return next((flag for flag in reversed(self.flags) if flag in "+ "), "")


def _printf(_: Expressions, arguments: list[Typed]) -> Typed:
    if not arguments or arguments[0].kind is Kind.NULL:
        return Typed(exp.Null(), Kind.NULL)
    written = arguments[0].constant
    if not isinstance(written, str):
        raise Refused("printf() with a format that is not written out", "Write the format as a literal.")
    given = iter(arguments[1:])
    parts: list[exp.Expr] = []
    at = 0
    while at < len(written):
        piece = _PIECE.match(written, at)
        if piece is None:
            raise Refused(f"printf() with {written[at : at + 8]!r} in its format")
        at = piece.end()
        if piece["how"] is None:
            parts.append(exp.Literal.string(piece["plain"] or "%"))
        else:
            parts.append(_converted(_conversion(piece, given), next(given, literal(None))))
    if not parts:
        return literal(None)
    whole = parts[0]
    for part in parts[1:]:
        whole = exp.DPipe(this=whole, expression=paren(part), safe=False)
    return Typed(exp.Paren(this=whole), Kind.TEXT, not_null=True)


def _conversion(piece: re.Match[str], given: object) -> _Conversion:
    width: exp.Expr | None = None
    if piece["width"] == "*":
        width = _or_zero(numbers.integer(next(given, literal(0))), "BIGINT")  # type: ignore[call-overload]  # an iterator
        width = exp.Neg(this=call("abs", width)) if "-" in piece["flags"] else width
    elif piece["width"]:
        width = literal(-int(piece["width"]) if "-" in piece["flags"] else int(piece["width"])).node
    places = _places(piece, given)
    return _Conversion(piece["how"], piece["flags"], places, width)


def _places(piece: re.Match[str], given: object) -> int | None:
    if piece["places"] != "*":
        return int(piece["places"] or 0) if piece["places"] is not None else None
    number = next(given, literal(0)).constant  # type: ignore[call-overload]  # an iterator
    if not isinstance(number, int) or abs(number) > _MOST_GIVEN:
        raise Refused("printf() with a computed precision", "Write the precision as a number.")
    return abs(number)


def _converted(conversion: _Conversion, argument: Typed) -> exp.Expr:
    match conversion.how:
        case "d" | "i" | "u" | "x" | "X" | "o":
            made = _integer(conversion, argument)
        case "f" | "e" | "E" | "g" | "G":
            made = _real(conversion, argument)
        case _:
            made = _text(conversion, argument)
    if conversion.width is None:
        return made
    chars = "!" in conversion.flags or conversion.how == "c"
    return helper("padded", made, cast(conversion.width, "BIGINT"), exp.Boolean(this=chars))


def _or_zero(typed: Typed, sql_type: str) -> exp.Expr:
    return exp.Coalesce(this=typed.node, expressions=[cast(exp.Literal.number(0), sql_type)])


def _integer(conversion: _Conversion, argument: Typed) -> exp.Expr:
    how, flags = ("d" if conversion.how == "i" else conversion.how), conversion.flags
    number = _or_zero(numbers.integer(argument), "BIGINT")
    digits: exp.Expr = helper("digits_of", number, exp.Literal.string(how))
    sign = _sign(number, conversion.prefix) if how == "d" else None
    if "0" in flags and conversion.width is not None:
        if "," in flags or conversion.places is not None:
            raise Refused("printf() with leading zeros beside other digits to add")
        room: exp.Expr = call("abs", cast(conversion.width, "BIGINT"))
        room = exp.Sub(this=room, expression=call("length", sign)) if sign is not None else room
        digits = _zeros(digits, cast(room, "INTEGER"))
    elif conversion.places is not None:
        digits = _zeros(digits, exp.Literal.number(conversion.places))
    if "," in flags and how in "du":
        digits = helper("thousands", digits)
    if "#" in flags and how in "xXo":
        mark = exp.Literal.string({"x": "0x", "X": "0X", "o": "0"}[how])
        is_zero = exp.EQ(this=number.copy(), expression=exp.Literal.number(0))
        sign = exp.Paren(this=exp.Case(ifs=[exp.If(this=is_zero, true=exp.Literal.string(""))], default=mark))
    if sign is None:
        return digits
    return exp.Paren(this=exp.DPipe(this=sign.copy(), expression=digits, safe=False))


def _sign(number: exp.Expr, prefix: str) -> exp.Expr:
    negative = exp.LT(this=number.copy(), expression=exp.Literal.number(0))
    case = exp.Case(ifs=[exp.If(this=negative, true=exp.Literal.string("-"))], default=exp.Literal.string(prefix))
    return exp.Paren(this=case)


def _zeros(digits: exp.Expr, size: exp.Expr) -> exp.Expr:
    """lpad() would cut what is longer."""
    most = call("GREATEST", size, call("length", digits.copy()))
    return call("lpad", digits, most, exp.Literal.string("0"))


def _real(conversion: _Conversion, argument: Typed) -> exp.Expr:
    flags, how = conversion.flags, conversion.how.lower()
    places = 6 if conversion.places is None else conversion.places
    places -= how == "g" and places > 0
    rounder = float(f"5e-{places % 10 + 1}")
    for _ in range(places // 10):  # as SQLite does it, with the errors of each step
        rounder *= 1e-10
    made = helper(
        "real_format",
        _or_zero(numbers.real(argument), "DOUBLE PRECISION"),
        exp.Literal.string(how),
        cast(exp.Literal.number(places), "INTEGER"),
        literal(rounder).node,
        exp.Boolean(this="#" in flags),
        exp.Boolean(this="!" in flags),
        exp.Literal.string(conversion.prefix),
        cast(conversion.width.copy() if conversion.width is not None else exp.Literal.number(0), "BIGINT"),
        exp.Boolean(this="0" in flags),
    )
    if conversion.how in "EG":  # but Inf stays as it is
        return call("replace", made, exp.Literal.string("e"), exp.Literal.string("E"))
    return made


def _text(conversion: _Conversion, argument: Typed) -> exp.Expr:
    node = text(argument).node
    node = null(Kind.TEXT) if argument.kind is Kind.NULL else node
    if conversion.how in "Qqw" and conversion.places is not None:
        node = _cut(cast(node, "TEXT"), conversion)
    match conversion.how:
        case "c":
            first = helper("first_of", node)
            return call("repeat", first, exp.Literal.number(max(conversion.places or 1, 1)))
        case "s":
            said: exp.Expr = exp.Coalesce(this=node, expressions=[exp.Literal.string("")])
            return said if conversion.places is None else _cut(said, conversion)
        case "Q":
            return exp.Coalesce(this=helper("quote", cast(node, "TEXT")), expressions=[_absent("NULL", conversion)])
        case how:
            mark = "'" if how == "q" else '"'
            doubled = call("replace", node, exp.Literal.string(mark), exp.Literal.string(mark * 2))
            return exp.Coalesce(this=doubled, expressions=[_absent("(NULL)", conversion)])


def _cut(node: exp.Expr, conversion: _Conversion) -> exp.Expr:
    """So many bytes of a text, or with `!` characters."""
    size = exp.Literal.number(conversion.places)
    return call("left", node, size) if "!" in conversion.flags else helper("bytes_of", node, cast(size, "BIGINT"))


def _absent(word: str, conversion: _Conversion) -> exp.Expr:
    return exp.Literal.string(word[: conversion.places])


def _quote(_: Expressions, arguments: list[Typed]) -> Typed:
    inner = value(arguments[0])
    if inner.kind is Kind.NULL:
        return literal("NULL")
    node = inner.node
    if inner.kind in (Kind.INT, Kind.TEXT) and not isinstance(node, exp.Cast):
        node = cast(node, "BIGINT" if inner.kind is Kind.INT else "TEXT")
    quoted = exp.Coalesce(this=helper("quote", node), expressions=[exp.Literal.string("NULL")])
    return Typed(quoted, Kind.TEXT, not_null=True)


def _soundex(_: Expressions, arguments: list[Typed]) -> Typed:
    inner = text(arguments[0])
    node = null(Kind.TEXT) if inner.kind is Kind.NULL else inner.node
    return Typed(helper("soundex", node), Kind.TEXT, not_null=True)


FUNCTIONS: dict[str, Function] = {"printf": _printf, "format": _printf, "quote": _quote, "soundex": _soundex}
