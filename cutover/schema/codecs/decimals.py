"""numeric: exact on Postgres; on SQLite an integer, a real or a text, as the column's affinity has it."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from cutover.errors import Unrepresentable
from cutover.model.values import SqlValue
from cutover.schema.codecs.base import ABOVE, Codec, Foreign, Ladder, meaning, text_form, wrong_class
from cutover.schema.codecs.plain import as_number

NUMERIC_WHOLE = 131_072
NUMERIC_FRACTION = 16_383
"""Decimal digits before and after the point that `numeric` has room for."""

_NUMBER = re.compile(r"(-?)(\d+)(?:\.(\d*))?(?:[eE]([+-]?\d+))?", re.ASCII)
_PLAIN = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_SURE_KEY = 18
"""Digits that an integer of SQLite always has."""

Number = tuple[str, str, int]
"""(sign, digits without zeros around them, power of ten of the last digit)."""


def significand(text: str) -> Number:
    """A decimal number as JSON, Python and Postgres write it, taken apart exactly."""
    found = _NUMBER.fullmatch(text)
    assert found is not None
    sign, whole, fraction, power = found[1], found[2], found[3] or "", int(found[4] or 0)
    digits = (whole + fraction).lstrip("0")
    short = digits.rstrip("0")
    if not short:
        return "", "0", 0
    return sign, short, power - len(fraction) + len(digits) - len(short)


def too_large(number: Number) -> bool:
    """Whether `numeric` has no room for it."""
    _, digits, last = number
    return last < -NUMERIC_FRACTION or last + len(digits) > NUMERIC_WHOLE


def numeric(affinity: str, precision: int | None, scale: int) -> Codec:
    """numeric(p, s), or numeric without limits (`precision` None)."""
    name = "numeric" if precision is None else f"numeric({precision},{scale})"

    def parse(value: SqlValue) -> Number:
        number = _number_of(value, affinity, name)
        _, digits, last = number
        if too_large(number):
            raise Unrepresentable(f"a number too large or too small for {name}")
        if precision is not None and digits != "0":
            if last < -scale:
                raise Unrepresentable(f"a number with more than {scale} decimals in a column of type {name}")
            if last + len(digits) > precision - scale:
                raise Unrepresentable(f"a number out of range of {name}")
        return number

    def convert(value: Any) -> str:  # noqa: ANN401  # any storage class
        if type(value) is Foreign:
            return str(value)
        parse(value)
        return value if isinstance(value, str) else repr(value)

    def canonical(value: SqlValue) -> bytes:
        return b"d%b%be%d" % _encoded(_number_of(value, affinity, name))

    if affinity == "TEXT":
        return Codec(
            convert,
            _text_back,
            meaning(canonical),
            _TEXT_DIGEST,
            "text",
            "numeric",
            _TEXT_KEY,
            shown=("text", "{0}::text"),
        )
    back = _real_back if affinity == "REAL" else _number_back
    made = Codec(
        convert,
        back,
        meaning(canonical),
        _digest(affinity),
        "text",
        "numeric",
        _KEY.format(name),
        shown=_SHOWN[affinity == "REAL"],
    )
    if precision is not None and scale == 0 and precision <= _SURE_KEY and affinity != "REAL":
        most = 10**precision - 1
        return replace(made, key="", ladder=Ladder(-most, most, int))
    return made


_SHOWN = (("number", "(CASE WHEN {0} = trunc({0}) THEN trunc({0}) ELSE {0} END)"), ("real", "{0}::float8"))
_TEXT_DIGEST = f"CASE WHEN right({{0}}::text, 1) IN ('N', 'y') THEN 'x' ELSE {text_form('{0}::text')} END"
_TEXT_KEY = "SQLite sorts numbers in a text column as text"
_KEY = "SQLite does not hold every {} exactly; numeric(18,0) and bigint it does"


def _encoded(number: Number) -> tuple[bytes, bytes, int]:
    return number[0].encode(), number[1].encode(), number[2]


def _number_of(value: SqlValue, affinity: str, name: str) -> Number:
    if type(value) is int:
        return significand(str(value))
    if type(value) is float:
        text = repr(value)
        if not _NUMBER.fullmatch(text):
            raise Unrepresentable(f"real {text} in a column of type {name}")
        if text == "-0.0":
            raise Unrepresentable(f"negative zero in a column of type {name}")
        return significand(text)
    if isinstance(value, str) and affinity == "TEXT":
        if not _PLAIN.fullmatch(value):
            raise Unrepresentable(f"text that is no number in a column of type {name}")
        unsigned = value.removeprefix("+")
        minus = "-" if unsigned.startswith("-") else ""
        digits = unsigned.removeprefix("-")
        try:
            return significand(minus + ("0" + digits if digits.startswith(".") else digits))
        except ValueError:  # an exponent that even Python finds too long
            raise Unrepresentable(f"a number too large or too small for {name}") from None
    raise wrong_class(value, name)


# -- back --------------------------------------------------------------------------------------------------------------


def _text_back(text: str) -> SqlValue:
    if text[-1] in "Ny":
        return Foreign(text, f"SQLite has no number {text}")
    return text


def _real_back(text: str) -> SqlValue:
    if text[-1] in "Ny":
        return Foreign(text, f"SQLite has no number {text}", _infinite(text))
    value = float(text)
    if abs(value) == float("inf") or significand(repr(value)) != significand(text):
        return Foreign(text, "a number with more digits than a real of SQLite holds", value)
    return value


def _number_back(text: str) -> SqlValue:
    """An integer where it is one and SQLite has room for it, otherwise a real."""
    if text[-1] in "Ny":
        return Foreign(text, f"SQLite has no number {text}", _infinite(text))
    _, digits, last = number = significand(text)
    if last >= 0 and last + len(digits) < 20 and -(2**63) <= (whole := int(text.partition(".")[0])) < 2**63:
        return whole
    value = float(text)
    if abs(value) == float("inf") or significand(repr(value)) != number or type(held := as_number(value)) is not float:
        return Foreign(text, "a number with more digits than a real of SQLite holds", value)
    return held


def _infinite(text: str) -> SqlValue:
    return float("-inf") if text.startswith("-") else ABOVE


def _digest(affinity: str) -> str:
    """Numbers with a plain real are recognised without leaving numeric for long; all others look like nothing."""
    # A conversion to float8 raises an error out of its range.
    other = "'x' || {0}::text"
    in_range = "abs({0}) BETWEEN 1e-300 AND 1e300"
    real = (
        f"CASE WHEN {in_range} THEN CASE WHEN {{0}}::float8::text::numeric = {{0}} "
        f"THEN 'r' || encode(float8send({{0}}::float8), 'hex') ELSE {other} END ELSE {other} END"
    )
    if affinity == "REAL":
        return f"CASE WHEN {{0}} = 0 THEN 'r0000000000000000' ELSE {real} END"
    whole = "{0} BETWEEN -9223372036854775808 AND 9223372036854775807 AND {0} = trunc({0})"
    return f"CASE WHEN {whole} THEN 'i' || trunc({{0}})::text ELSE {real} END"
