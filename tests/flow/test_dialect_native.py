"""Columns of native types that the application's own migrations made, as its statements see them: SQLite's answers."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.flow.dialect_world import World, world

SCHEMA = """
CREATE TABLE visits (id INTEGER PRIMARY KEY, at DATETIME, day DATE, token CHAR(36), mood TEXT, seen INTEGER);
"""
TARGET = """
CREATE TYPE mood AS ENUM ('sad', 'ok');
CREATE TABLE visits (id bigint PRIMARY KEY, at timestamp, day date, token uuid, mood mood, seen timestamptz);
"""
TOKEN = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"
DATA = (
    f"INSERT INTO visits VALUES (1, '2024-01-02 03:04:05', '2024-01-02', '{TOKEN}', 'ok', 1700000000),"
    " (2, NULL, NULL, NULL, NULL, NULL),"
    f" (3, '2023-12-31 23:59:59.500000', '2023-12-31', 'b{TOKEN[1:]}', 'sad', 1600000000)",
)


@pytest.fixture
async def both(postgres_url: str) -> AsyncIterator[World]:
    async with world(postgres_url, SCHEMA, target=TARGET, data=DATA) as made:
        yield made


async def test_what_is_no_value_of_the_column_is_unequal_to_all_of_them(both: World) -> None:
    for column, given in (
        ("at", ("2024-01-02 03:04:05", "2024-01-02", "2024-01-02T03:04:05", "", 5, None)),
        ("day", ("2024-01-02", "2024", "2024-01-02 00:00:00", None)),
        ("token", (TOKEN, TOKEN.upper(), TOKEN.replace("-", ""), 5, None)),
        ("mood", ("ok", "OK", "none", None)),
        ("seen", (1700000000, "1700000000", 1.5, "x", None)),
    ):
        for value in given:
            await both.same(f"SELECT id, {column} = ?, {column} <> ?1, {column} IN (?1) FROM visits ORDER BY id", value)
            await both.same(f"SELECT id FROM visits WHERE NOT {column} = ? ORDER BY id", value)
            await both.same(f"SELECT id FROM visits WHERE {column} NOT IN (?, ?) ORDER BY id", value, given[0])
            await both.same(f"SELECT id FROM visits WHERE {column} IN (?, ?) OR id = 2 ORDER BY id", value, given[1])
            await both.same(f"SELECT sum({column} = ?), count(*) FILTER (WHERE {column} = ?1) FROM visits", value)
    for written in ("'2024-01-02'", "5", "NULL", "'2024-01-02 03:04:05'"):
        await both.same(f"SELECT id, at = {written}, NOT at = {written}, at NOT IN ({written}) FROM visits ORDER BY id")
