"""Integers, reals, text and bytes: the types whose values are SQLite's own."""

from __future__ import annotations

import math
import struct
from dataclasses import replace
from typing import Any

from cutover.errors import Unrepresentable
from cutover.schema.codecs.base import (
    Codec,
    Foreign,
    binary,
    canonical_any,
    meaning,
    same,
    text_form,
    wrong_class,
)

LIMITS = {"smallint": 2**15, "integer": 2**31, "bigint": 2**63}
WHOLE_AFFINITIES = ("INTEGER", "NUMERIC")
"""They turn a real without a fraction into an integer."""

_INTEGER = "'i' || {0}::text"
_REAL = "'r' || encode(float8send({0}), 'hex')"
_WHOLE_OR_REAL = (
    "CASE WHEN {0} = trunc({0}) AND abs({0}) < 9223372036854775808 AND float8send({0}) <> '\\x8000000000000000' "
    f"THEN 'i' || {{0}}::bigint::text ELSE {_REAL} END"
)
_BLOB = "'b' || encode({0}, 'hex')"
_TEXT = text_form("{0}")


def integer(name: str) -> Codec:
    """smallint, integer, bigint."""
    low, high = -LIMITS[name], LIMITS[name] - 1

    def convert(value: Any) -> int:  # noqa: ANN401  # any storage class
        if type(value) is not int:
            raise wrong_class(value, name)
        if not low <= value <= high:
            raise Unrepresentable(f"integer {value} is out of range of {name}")
        return value

    return binary(convert, name, _INTEGER)


# -- reals -------------------------------------------------------------------------------------------------------------


def double(affinity: str) -> Codec:
    """double precision. In a column that makes integers of whole reals, they are integers here as well."""
    if affinity not in WHOLE_AFFINITIES:
        return binary(_double, "double precision", _REAL)
    digest = _WHOLE_OR_REAL.format("{0}")
    return binary(_number, "double precision", digest, as_number)


def _double(value: Any) -> float:  # noqa: ANN401  # any storage class
    if type(value) is not float:
        raise wrong_class(value, "double precision")
    if math.isnan(value):
        raise Unrepresentable("NaN is NULL on SQLite")
    return value


def _number(value: Any) -> float:  # noqa: ANN401  # any storage class
    if type(value) is Foreign:
        return float(value)
    if type(value) is int:
        if int(float(value)) != value or abs(value) == 2**63:  # the least of all would stay a real
            raise Unrepresentable(f"integer {value} has more digits than double precision holds")
        return float(value)
    return _double(value)


def as_number(value: float) -> int | float | Foreign:
    """A real as a column of INTEGER or NUMERIC affinity holds it."""
    if math.isnan(value):
        return Foreign("NaN", "NaN is NULL on SQLite")
    if value == 0 and math.copysign(1, value) < 0:
        return Foreign("-0", "SQLite would store -0.0 as the integer 0")
    return int(value) if value.is_integer() and abs(value) < 2**63 else value


def single(affinity: str) -> Codec:
    """real, of 32 bits. It gives back the shortest decimal that names it, as its own users see it: 0.1 is 0.1.

    A real that was widened from 32 bits (0.10000000149011612) is the same number, and accepted.
    """
    whole = affinity in WHOLE_AFFINITIES

    def convert(value: Any) -> float:  # noqa: ANN401  # any storage class
        return _single(_number(value) if whole else _double(value))

    def back(value: float) -> Any:  # noqa: ANN401  # any storage class
        if math.isnan(value):
            return Foreign("NaN", "NaN is NULL on SQLite")
        short = shortest(value)
        return as_number(short) if whole else short

    def canonical(value: Any) -> bytes:  # noqa: ANN401  # any storage class
        return b"f" + struct.pack(">f", convert(value)).hex().encode()

    short = "{0}::text::float8"
    digest = _WHOLE_OR_REAL.format(short) if whole else _REAL.format(short)
    no_key = "several reals on SQLite can be one real of 32 bits"
    shown = ("number", "{0}::text::numeric") if whole else ("real", short)
    return Codec(convert, back, meaning(canonical), digest, "real", "real", no_key, shown=shown)


def _single(value: float) -> float:
    try:
        narrow: float = struct.unpack("f", struct.pack("f", value))[0]
    except OverflowError:
        raise Unrepresentable(f"real {value!r} is out of range of real") from None
    if value not in (narrow, shortest(narrow)):
        raise Unrepresentable(f"real {value!r} has more digits than real holds")
    return narrow


def shortest(narrow: float) -> float:
    """The real of 64 bits with the shortest decimal that still names this one of 32 bits."""
    if math.isfinite(narrow):
        wanted = struct.pack("f", narrow)
        for digits in range(9):
            candidate = float(f"{narrow:.{digits}e}")
            if abs(candidate) < 3.5e38 and _packed(candidate) == wanted:
                return candidate
    return narrow


def _packed(value: float) -> bytes:
    try:
        return struct.pack("f", value)
    except OverflowError:
        return b""


# -- text and bytes ----------------------------------------------------------------------------------------------------


def plain_text(value: Any, name: str = "text") -> str:  # noqa: ANN401  # any storage class
    """Text that Postgres can hold. Raises `Unrepresentable`."""
    if type(value) is not str:
        raise wrong_class(value, name)
    if "\x00" in value:
        raise Unrepresentable("text with a NUL character")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise Unrepresentable("text that is not valid Unicode") from None
    return value


def varchar(limit: int) -> Codec:
    """character varying(n)."""

    def convert(value: Any) -> str:  # noqa: ANN401  # any storage class
        text = plain_text(value)
        if len(text) > limit:
            raise Unrepresentable(f"text of {len(text)} characters in varchar({limit})")
        return text

    return binary(convert, "text", _TEXT)


def char(limit: int | None) -> Codec:
    """character(n): Postgres fills it up with blanks, which mean nothing there and are not on SQLite."""

    def convert(value: Any) -> str:  # noqa: ANN401  # any storage class
        text = plain_text(value, "character")
        if limit is not None and len(text) > limit:
            raise Unrepresentable(f"text of {len(text)} characters in character({limit})")
        if text.endswith(" "):
            raise Unrepresentable("text that ends in a blank, which character(n) does not keep")
        return text

    made = binary(convert, "bpchar", text_form("rtrim({0}::text, ' ')"), _unfilled)
    return replace(made, shown=("text", "rtrim({0}::text, ' ')"))


def _unfilled(value: str) -> str:
    return value.rstrip(" ")


def other_text(native: str, name: str, largest: int | None = None, *, key: str = "") -> Codec:
    """A type of text with an input of its own, such as citext or name."""

    def convert(value: Any) -> str:  # noqa: ANN401  # any storage class
        text = plain_text(value, name)
        if largest is not None and len(text.encode()) > largest:
            raise Unrepresentable(f"text of more than {largest} bytes in a column of type {name}")
        return text

    return Codec(convert, same, canonical_any, text_form("{0}::text"), "text", native, key, shown=("text", "{0}::text"))


def enumeration(native: str, labels: tuple[str, ...]) -> Codec:
    """An enum: text that is one of its labels."""
    known = frozenset(labels)

    def convert(value: Any) -> str:  # noqa: ANN401  # any storage class
        if type(value) is not str:
            raise wrong_class(value, native)
        if value not in known:
            raise Unrepresentable(f"text that is none of the labels of {native}")
        return value

    return Codec(convert, same, canonical_any, text_form("{0}::text"), "text", native, shown=("text", "{0}::text"))


def _blob(value: Any) -> bytes:  # noqa: ANN401  # any storage class
    if type(value) is not bytes:
        raise wrong_class(value, "bytea")
    return value


def text_codec() -> Codec:
    """text, and character varying without a limit."""
    return binary(plain_text, "text", _TEXT)


def bytes_codec() -> Codec:
    """bytea."""
    return binary(_blob, "bytea", _BLOB, bytes)
