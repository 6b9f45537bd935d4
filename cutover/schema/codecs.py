"""How one value crosses between SQLite and a Postgres column, and the one form in which both sides are compared.

A codec belongs to a Postgres type. It never changes a value silently: what the column cannot hold, or would not give
back the same, raises `Unrepresentable` and the row goes to quarantine.
"""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from cutover.errors import SchemaError, Unrepresentable
from cutover.model.table import Column, Table
from cutover.model.values import SqlValue

Digestible = Literal["integer", "real", "text", "blob"]


@dataclass(frozen=True)
class Codec:
    """One Postgres type. Functions take and give single values; None (NULL) never reaches them."""

    to_target: Callable[[Any], Any]
    """SQLite's value → what asyncpg is given. Raises `Unrepresentable`."""
    to_source: Callable[[Any], SqlValue]
    """What asyncpg gave → SQLite's value."""
    canonical: Callable[[Any], bytes]
    """SQLite's value, from whichever side → comparable bytes. Never raises."""
    digestible: Digestible | None
    """The storage class whose canonical form both databases can compute in SQL, or None: compute here."""
    sql_type: str
    """Type for casts and arrays of parameters, such as `bigint`."""


def canonical_any(value: SqlValue) -> bytes:
    """The canonical form of a value by its own storage class; a letter for the class, then the value.

    integer `i42`; real `r` + big-endian IEEE bits in hex; text `t` + bytes + `:` + UTF-8; blob `b` + hex; NULL `n`.
    Digests concatenate the columns' forms, each followed by `;`.
    """
    if value is None:
        return b"n"
    if isinstance(value, str):
        encoded = value.encode("utf-8", "surrogatepass")
        return b"t%d:%b" % (len(encoded), encoded)
    if isinstance(value, int):
        return b"i%d" % value
    if isinstance(value, float):
        return b"r" + struct.pack(">d", value).hex().encode()
    return b"b" + value.hex().encode()


def _integer(low: int, high: int, name: str) -> Callable[[Any], int]:
    def convert(value: Any) -> int:  # noqa: ANN401  # any storage class
        if type(value) is not int:
            raise Unrepresentable(f"{_class(value)} in a column of type {name}")
        if not low <= value <= high:
            raise Unrepresentable(f"integer {value} is out of range of {name}")
        return value

    return convert


def _real(value: Any) -> float:  # noqa: ANN401  # any storage class
    if type(value) is not float:
        raise Unrepresentable(f"{_class(value)} in a column of type double precision")
    if math.isnan(value):
        raise Unrepresentable("NaN is NULL on SQLite")
    return value


def _text(value: Any) -> str:  # noqa: ANN401  # any storage class
    if type(value) is not str:
        raise Unrepresentable(f"{_class(value)} in a column of type text")
    if "\x00" in value:
        raise Unrepresentable("text with a NUL character")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise Unrepresentable("text that is not valid Unicode") from None
    return value


def _varchar(limit: int) -> Callable[[Any], str]:
    def convert(value: Any) -> str:  # noqa: ANN401  # any storage class
        text = _text(value)
        if len(text) > limit:
            raise Unrepresentable(f"text of {len(text)} characters in varchar({limit})")
        return text

    return convert


def _blob(value: Any) -> bytes:  # noqa: ANN401  # any storage class
    if type(value) is not bytes:
        raise Unrepresentable(f"{_class(value)} in a column of type bytea")
    return value


def _json(value: Any) -> str:  # noqa: ANN401  # any storage class
    """The `json` type keeps the text as it is, so it only has to be JSON."""
    text = _text(value)
    try:
        json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise Unrepresentable("text that is not JSON in a column of type json") from None
    return text


def _jsonb(value: Any) -> str:  # noqa: ANN401  # any storage class
    """`jsonb` keeps what the text means, and has no room for some of it."""
    text = _text(value)
    try:
        parsed = json.loads(
            text, parse_constant=_no_constant, parse_float=_numeric, parse_int=_numeric, object_pairs_hook=_distinct
        )
        if "\\u" in text:
            plain = json.dumps(parsed, ensure_ascii=False)
            plain.encode()
            if "\\u0000" in plain.replace("\\\\", ""):
                raise Unrepresentable("JSON with a NUL character in a column of type jsonb")
    except UnicodeEncodeError:
        raise Unrepresentable("JSON that is not valid Unicode in a column of type jsonb") from None
    except (ValueError, RecursionError):
        raise Unrepresentable("text that is not JSON in a column of type jsonb") from None
    return text


def _distinct(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        # SQLite's functions read the first of them, Postgres keeps the last.
        raise Unrepresentable("JSON with a key that occurs twice in a column of type jsonb")
    return found


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


_NUMBER = re.compile(r"(-?)(\d+)(?:\.(\d*))?(?:[eE]([+-]?\d+))?")


def _significand(text: str) -> tuple[str, str, int]:
    """(sign, digits without zeros around them, power of ten of the last digit) of a JSON number, exactly."""
    found = _NUMBER.fullmatch(text)
    assert found is not None
    sign, whole, fraction, power = found[1], found[2], found[3] or "", int(found[4] or 0)
    digits = (whole + fraction).lstrip("0")
    short = digits.rstrip("0")
    if not short:
        return "", "0", 0
    return sign, short, power - len(fraction) + len(digits) - len(short)


def _numeric(text: str) -> int:
    """Refuses a number beyond Postgres's numeric, which jsonb keeps numbers in."""
    _, digits, last = _significand(text)
    if last < -_NUMERIC_FRACTION or last + len(digits) > _NUMERIC_WHOLE:
        raise Unrepresentable("JSON with a number too large or too small for a column of type jsonb")
    return 0


_NUMERIC_WHOLE = 131_072
_NUMERIC_FRACTION = 16_383
"""Decimal digits before and after the point that `numeric` has room for."""


_JSON_SPACING = re.compile(r'("(?:[^"\\]|\\.)*")|([,:]) ')


def _json_compact(value: Any) -> SqlValue:  # noqa: ANN401  # text from the driver
    """Postgres prints jsonb with a space after commas and colons; applications write none. Numbers stay as printed."""
    return _JSON_SPACING.sub(lambda found: found[1] or found[2], value)


def _tagged_number(text: str) -> dict[str, str]:
    """One spelling a number: 1, 1.0 and 1e0 are the same. Tagged, so that no string and no object equals it."""
    sign, digits, power = _significand(text)
    return {"number": f"{sign}{digits}e{power}"}


def _marked_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Tells an object's own keys from the tag above."""
    return {"=" + key: value for key, value in pairs}


def _json_canonical(value: SqlValue) -> bytes:
    """Equal for texts that are equal as JSON: key order, white space and number spelling do not count."""
    if not isinstance(value, str):
        return canonical_any(value)
    try:
        parsed = json.loads(
            value,
            parse_constant=_no_constant,
            parse_float=_tagged_number,
            parse_int=_tagged_number,
            object_pairs_hook=_marked_keys,
        )
        return b"j" + json.dumps(parsed, sort_keys=True, ensure_ascii=True, separators=(",", ":")).encode()
    except (ValueError, RecursionError):
        return canonical_any(value)


def _boolean(value: Any) -> bool:  # noqa: ANN401  # any storage class
    if type(value) is not int or value not in (0, 1):
        raise Unrepresentable(f"{_class(value)} other than 0 and 1 in a column of type boolean")
    return bool(value)


def _class(value: object) -> str:
    return {int: "an integer", float: "a real", str: "text", bytes: "a blob"}.get(type(value), "a value")


def _same(value: Any) -> Any:  # noqa: ANN401  # identity
    return value


def _codec(
    to_target: Callable[[Any], Any],
    digestible: Digestible | None,
    sql_type: str,
    to_source: Callable[[Any], Any] = _same,
) -> Codec:
    return Codec(to_target, to_source, canonical_any, digestible, sql_type)


_CODECS: dict[str, Codec] = {
    "smallint": _codec(_integer(-(2**15), 2**15 - 1, "smallint"), "integer", "smallint"),
    "integer": _codec(_integer(-(2**31), 2**31 - 1, "integer"), "integer", "integer"),
    "bigint": _codec(_integer(-(2**63), 2**63 - 1, "bigint"), "integer", "bigint"),
    "double precision": _codec(_real, "real", "double precision"),
    "text": _codec(_text, "text", "text"),
    "character varying": _codec(_text, "text", "text"),
    "bytea": _codec(_blob, "blob", "bytea", bytes),
    "boolean": _codec(_boolean, None, "boolean", int),
    "json": _codec(_json, None, "json"),
    "jsonb": Codec(_jsonb, _json_compact, _json_canonical, None, "jsonb"),
}


def codec_for(column: Column) -> Codec:
    """The codec of a mapped column. Raises `SchemaError` for a Postgres type that has none."""
    name, _, rest = column.target_type.partition("(")
    if name == "character varying" and rest:
        return _codec(_varchar(int(rest.rstrip(")"))), "text", "text")
    try:
        return _CODECS[name]
    except KeyError:
        raise SchemaError(
            f"Column {column.name}: the Postgres type {column.target_type} cannot be mirrored.",
            hint=f"Supported are {', '.join(_CODECS)}; or set ignore = true for the column.",
        ) from None


def codecs_for(table: Table) -> tuple[Codec, ...]:
    """One codec a column, in the order of `table.columns`."""
    return tuple(codec_for(column) for column in table.columns)


def digestible(table: Table) -> bool:
    """Whether both databases can digest this table's rows in SQL (else rows are fetched and digested here)."""
    return all(codec.digestible is not None for codec in codecs_for(table))
