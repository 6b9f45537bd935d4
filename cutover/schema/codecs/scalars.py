"""`cutover.value`: any of SQLite's values in one column, for columns without a declared type.

A domain over jsonb. A number with a point is a real, one without an integer; a blob is {"x": its bytes in hex}.
"""

from __future__ import annotations

import json
import math
from decimal import Decimal
from typing import Any

from cutover.errors import Unrepresentable
from cutover.model.values import SqlValue
from cutover.schema.codecs.base import Codec, Foreign, canonical_any
from cutover.schema.codecs.plain import plain_text

NAME = "cutover.value"
CREATE = (
    "DO $$ BEGIN CREATE SCHEMA IF NOT EXISTS cutover; "
    "IF to_regtype('cutover.value') IS NULL THEN CREATE DOMAIN cutover.value AS jsonb; END IF; END $$"
)
"""Made with the first table that needs it."""


def scalar_codec() -> Codec:
    """The codec of such a column."""
    return Codec(to_json, from_json, canonical_any, None, "text", NAME, "its order on Postgres is not SQLite's")


def to_json(value: Any) -> str:  # noqa: ANN401  # any storage class
    """A value as JSON. Raises `Unrepresentable` for infinities, -0.0, and text that Postgres cannot hold."""
    match value:
        case int():
            return str(value)
        case float():
            return _real(value)
        case bytes():
            return json.dumps({"x": value.hex()})
        case _:
            return json.dumps(plain_text(value), ensure_ascii=False)


def _real(value: float) -> str:
    if not math.isfinite(value) or (value == 0 and math.copysign(1, value) < 0):
        raise Unrepresentable(f"{value} in a column of type {NAME}")
    written = format(Decimal(repr(value)), "f")
    return written if "." in written else written + ".0"


_DECIMALS = 340
"""Of the zero that stands for -0.0 where a statement computed it (`cutover.shortest`): more than any real has."""


def _number(text: str) -> float:
    return float(text) or (-0.0 if len(text) > _DECIMALS else 0.0)


def from_json(text: str) -> SqlValue:
    """The value, or `Foreign` where somebody else wrote what no value of SQLite's is spelled as."""
    try:
        found = json.loads(text, parse_float=_number, parse_int=int)
    except ValueError:
        return Foreign(text, "no JSON")
    match found:
        case bool() | list():
            return Foreign(text, "JSON that stands for no value of SQLite's")
        case int() if not -(2**63) <= found < 2**63:
            return Foreign(text, "an integer beyond 64 bits")
        case {"x": str(digits)} if len(found) == 1:
            return _blob(digits, text)
        case dict():
            return Foreign(text, "JSON that stands for no value of SQLite's")
    return found  # type: ignore[no-any-return]  # from JSON


def _blob(digits: str, text: str) -> SqlValue:
    try:
        return bytes.fromhex(digits)
    except ValueError:
        return Foreign(text, "a blob that is not written in hexadecimal digits")
