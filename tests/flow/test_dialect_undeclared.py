"""Columns without a declared type hold whatever is put there, as SQLite's do."""

from __future__ import annotations

import math

import pytest

from cutover.errors import StatementError
from tests.flow.dialect_world import world

SCHEMA = "CREATE TABLE t (id INTEGER PRIMARY KEY, a, b, price DECIMAL(10, 2))"
VALUES = (None, 0, 1, -1, 2**53 + 1, 2**63 - 1, -(2**63), 0.5, 1.0, 1e20, 1e300, 5e-324)
TEXTS = ("", "x", "1", "1.0", "É 'x' \"y\" \\ \n", '{"blob": "00"}', "true", "null", b"", b"\x00\xff")


async def test_every_value_comes_back(postgres_url: str) -> None:
    async with world(postgres_url, SCHEMA) as both:
        for at, value in enumerate((*VALUES, *TEXTS)):
            await both.same("INSERT INTO t (id, a) VALUES (?, ?)", at, value)
            await both.same("UPDATE t SET b = a WHERE id = ?", at)
        for value in ("1", "1.0", "'x'", "x'00ff'", "NULL", "1 + 1", "'a' || 'b'", "1.5 * 2", "1 = 1"):
            await both.same(f"INSERT INTO t (a) VALUES ({value})")
        await both.same("SELECT a, b, typeof(a) FROM t ORDER BY id")
        await both.same("SELECT id FROM t WHERE a = 1 ORDER BY id")
        await both.same("SELECT id FROM t WHERE a = '1' ORDER BY id")
        await both.same("SELECT id FROM t WHERE a IS NULL ORDER BY id")
        await both.same("SELECT count(a), count(*) FROM t")
        await both.same("SELECT id FROM t WHERE a < 1 ORDER BY a, id")
        await both.same("SELECT id, a FROM t ORDER BY a DESC, id")
        await both.same("SELECT min(a), max(a) FROM t")
        await both.same("SELECT a, count(*) FROM t GROUP BY a ORDER BY a")
        for value in (math.inf, -0.0):
            with pytest.raises(StatementError, match="in a column of type"):
                await both.on_postgres("INSERT INTO t (a) VALUES (?)", value)
