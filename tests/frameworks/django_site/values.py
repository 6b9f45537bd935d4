"""Values at the edges of every type, as Django hands them to its fields."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

_LONG_JSON = {"list": [{"n": number, "t": "ü" * (number % 7)} for number in range(300)], "": {"": None}}

EDGES: dict[str, list[Any]] = {
    "big": [0, -1, 2**63 - 1, -(2**63)],
    "binary": [b"", b"\0\1\xff", bytes(range(256)) * 20],
    "flag": [True, False],
    "perhaps": [True, False],
    "char": ["", "x" * 40, "Zoë 🐘", "'; --", "trailing  ", "null", "a\nb\tc\\d"],
    "comma": ["", "1,2,3"],
    "day": [date(1, 1, 1), date(9999, 12, 31), date(1970, 1, 1), date(2024, 2, 29)],
    "moment": [
        datetime(1, 1, 1, tzinfo=UTC),
        datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
        datetime(2024, 2, 29, 12, 0, 0, 1, tzinfo=UTC),
        datetime(2024, 3, 31, 1, 30, 0, 120000, tzinfo=UTC),
        datetime(1969, 12, 31, 23, 59, 59, 500000, tzinfo=UTC),
    ],
    "price": [Decimal(0), Decimal("-0.01"), Decimal("9999999999.99"), Decimal(10), Decimal("19.90")],
    "fine": [Decimal("0.0000000001"), Decimal("-12345.6789012345"), Decimal(1)],
    "lasts": [
        timedelta(0),
        timedelta(microseconds=-1),
        timedelta(days=400, hours=25, microseconds=7),
        timedelta(days=-3, seconds=5),
    ],
    "email": ["", "someone@example.org"],
    "file": ["", "files/ä.pdf"],
    "path": ["/etc/hosts"],
    "number": [0.0, -0.0, 1e-300, 5e-324, 1.7976931348623157e308, 0.1, -2.5, 3.0, 1e22],
    "address": ["127.0.0.1", "2001:db8::1", "::1"],
    "four": ["10.0.0.255", "0.0.0.0"],
    "integer": [0, 2**30 - 1, -(2**30), 7],  # Postgres doubles them as integers of 32 bits
    "json": [{}, [], "text", 1, 1.5, True, {"b": 1, "a": [None, "\u2028ü"], "big": 2**60}, _LONG_JSON],
    "positive_big": [0, 2**63 - 1],
    "positive": [0, 2**31 - 1],
    "positive_small": [0, 32767],
    "slug": ["", "a-slug_1"],
    "small": [-32768, 32767],
    "text": ["", "line\nline", "x" * 5000, "日本語 עברית"],
    "time": [time(0, 0), time(23, 59, 59, 999999), time(12, 0, 0, 10)],
    "url": ["", "https://example.org/?q=ü"],
    "uid": [uuid.UUID(int=0), uuid.UUID(int=2**128 - 1), uuid.UUID("6f1c1e0a-5f4b-4b1c-9a53-0d7f6c1d2e3f")],
}


def rows() -> Iterator[dict[str, Any]]:
    """One row that holds nothing, and rows in which every edge of every type occurs."""
    yield {}
    for number in range(max(map(len, EDGES.values()))):
        yield {name: values[number % len(values)] for name, values in EDGES.items()}


def some(turn: int) -> dict[str, Any]:
    """Another row for each turn."""
    return {name: values[turn % len(values)] for name, values in EDGES.items()}
