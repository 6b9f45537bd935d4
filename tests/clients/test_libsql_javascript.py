"""`@libsql/client`, over HTTP and over WebSocket. What it was told is what the file holds."""

from __future__ import annotations

import pytest

from tests.clients.door import Door

KINDS = pytest.mark.parametrize("kind", ["http"])


@KINDS
def test_values(door: Door, kind: str) -> None:
    told = door.node("libsql_values", kind)
    kept = told.kept("SELECT i FROM {}values WHERE id < 100 ORDER BY id")
    assert [str(value) for (value,) in kept] == told["integers"]
    assert [text for (text,) in told.kept("SELECT t FROM {}values WHERE id BETWEEN 100 AND 199 ORDER BY id")] == told[
        "texts"
    ]
    assert told.kept("SELECT length(b), typeof(b) FROM {}values WHERE id = 203") == [[told["blob"], "blob"]]
    assert told.kept("SELECT id, a, n FROM {}affected ORDER BY id") == told["affected"]


@KINDS
def test_writes(door: Door, kind: str) -> None:
    told = door.node("libsql_writes", kind)
    assert [n for (n,) in told.kept("SELECT n FROM {}counter ORDER BY id")] == told["counters"]
    assert told.kept("SELECT id, name, age FROM {}people ORDER BY id") == told["people"]
