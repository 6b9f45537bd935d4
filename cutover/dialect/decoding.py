"""How a column of Postgres's answer is read as SQLite's value."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from cutover.dialect.typed import NUMERIC_AFFINITIES, Kind, Refused, Typed
from cutover.model.values import SqlValue
from cutover.schema.codecs import Foreign, base_of, codec_for, scalars

Decoder = Callable[[Any], SqlValue]


def _real(value: float) -> SqlValue:
    return None if math.isnan(value) else value


@dataclass(frozen=True, slots=True)
class _Nearest:
    """Reads a numeric as an expression over it would be: where SQLite has no such number, as the real next to it."""

    to_source: Decoder

    def __call__(self, value: str) -> SqlValue:
        held = self.to_source(value)
        return _real(float(value)) if type(held) is Foreign else held


_BELOW = -340
"""The exponent of the zero that stands for -0.0 (`cutover.shortest`)."""


def _numeric(value: Decimal) -> SqlValue:
    if value.is_nan():
        return None
    exponent = value.as_tuple().exponent
    whole = isinstance(exponent, int) and exponent >= 0 and -(1 << 63) <= value < 1 << 63
    return int(value) if whole else float(value) or (-0.0 if exponent == _BELOW else 0.0)


def _dynamic(value: str) -> SqlValue:
    return int(value == "true") if value in ("true", "false") else scalars.from_json(value)


_DECODERS: dict[Kind, Decoder] = {
    Kind.REAL: _real,
    Kind.NUM: _numeric,
    Kind.BLOB: bytes,
    Kind.BOOL: int,
    Kind.DYNAMIC: _dynamic,
}


def decoder_of(typed: Typed) -> Decoder | None:
    """None where the value is read as it comes. Raises `Refused`."""
    if typed.kind in (Kind.JSON, Kind.WHOLE) and typed.column is not None:
        codec = codec_for(typed.column)
        is_number = base_of(typed.column) == "numeric" and typed.column.affinity in NUMERIC_AFFINITIES
        return _Nearest(codec.to_source) if is_number else codec.to_source
    if typed.kind is Kind.JSON:
        return _json_text
    if typed.kind is Kind.WHOLE:
        raise Refused("A value of a type that only its column could tell")
    return _DECODERS.get(typed.kind)


def _json_text(value: str) -> SqlValue:
    return json.dumps(json.loads(value), ensure_ascii=False, separators=(",", ":"))
