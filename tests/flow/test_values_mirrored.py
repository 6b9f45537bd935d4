"""A table with a column of every type, and keys that are UUIDs, days and times, between both stores and back."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass

import asyncpg
import pytest

from cutover.model.table import Table, Tables
from cutover.model.values import Key, Row
from cutover.schema.codecs import codecs_for
from cutover.schema.mapping import map_tables
from cutover.schema.postgres_schema import read_postgres_schema
from cutover.schema.sqlite_schema import read_sqlite_schema
from cutover.settings import Settings
from cutover.stores.postgres.store import PostgresStore
from cutover.stores.sqlite.store import SqliteStore
from tests.support import postgres as there
from tests.support import sqlite_world as here

SQLITE = (
    "CREATE TABLE kinds (id char(36) PRIMARY KEY, flag bool, price decimal(10,2), ratio REAL, small REAL, born date,"
    " made datetime, seen INTEGER, token BLOB, mood varchar(9), addr char(39), code char(4), total TEXT, yes TEXT)",
    "CREATE TABLE days (day date, at TEXT, n INTEGER, PRIMARY KEY (day, at))",
)
POSTGRES = (
    "CREATE TYPE mood AS ENUM ('sad', 'ok')",
    "CREATE DOMAIN positive AS numeric(12,3) CHECK (VALUE > 0)",
    "CREATE TABLE kinds (id uuid PRIMARY KEY, flag boolean, price numeric(10,2), ratio double precision, small real,"
    " born date, made timestamptz, seen timestamp(3), token uuid, mood mood, addr inet, code char(4), total positive,"
    " yes boolean)",
    "CREATE TABLE days (day date, at timestamptz(3), n numeric(18,0), PRIMARY KEY (day, at))",
)
SETTINGS = Settings.model_validate(
    {
        "tables": {
            "kinds": {"columns": {"seen": {"format": "epoch_milliseconds"}, "yes": {"format": "f|t"}}},
            "days": {"columns": {"at": {"format": "YYYY-MM-DDTHH:MM:SS.fffZ"}}},
        }
    }
)
U = [f"{n:08x}-0000-4000-8000-000000000000" for n in (0, 5, 10, 0xAFFE, 0xFFFFFFFF)]
ROWS: list[Row] = [
    (U[0], 1, 10, 0.1, 0.1, "2024-02-29", "2024-02-29 10:00:00.120000", 1_700_000_000_123, b"\x00" * 16, "ok",
     "10.0.0.1", "ab", "10.000", "t"),
    (U[1], 0, 10.25, -0.5, 16777216.0, "0001-01-01", "2024-02-29 10:00:00", -1, bytes(range(16)), "sad", "::1", "",
     "0.125", "f"),
    (U[2], *[None] * 13),
]  # fmt: skip
SPELLED: Row = (
    U[3], 1, 7, 1.5, 0.10000000149011612, "2024-02-29T00:00:00Z", "2024-02-29T12:00:00+02:00", 0, None, None,
    "10.0.0.1/32", None, "7", "true",
)  # fmt: skip
"""Means what it says in other spellings than the columns have."""
DAYS: list[Row] = [
    ("2024-02-28", "2024-02-28T00:00:00.000Z", 1),
    ("2024-02-29", "1969-12-31T23:59:59.999Z", 10**17),
    ("2024-02-29", "2024-02-29T00:00:00.001Z", -1),
]


@dataclass
class Both:
    path: str
    url: str
    sqlite: SqliteStore
    postgres: PostgresStore
    kinds: Table
    days: Table


@pytest.fixture
def tables_made(sqlite_path: str) -> str:
    here.make(sqlite_path, *SQLITE)
    return sqlite_path


async def mapped(path: str, url: str) -> Tables:
    connection = await asyncpg.connect(url)
    try:
        target = await read_postgres_schema(connection, "public")
    finally:
        await connection.close()
    with closing(sqlite3.connect(path)) as file:
        mapping = map_tables(read_sqlite_schema(file), target, SETTINGS)
    assert mapping.blocking == ()
    return mapping.tables


@asynccontextmanager
async def both(path: str, url: str, *, primary: str, before: Sequence[Row] = ()) -> AsyncIterator[Both]:
    """Both stores with everything installed, one of them primary. Kinds `before` are there before."""
    insert(path, "kinds", *before)
    await there.run(url, *POSTGRES)
    tables = await mapped(path, url)
    store = SqliteStore(path)
    control = there.SHADOW if primary == "sqlite" else there.PRIMARY
    async with there.ready(url, control, ddl=(), tables=tables) as postgres:
        await store.open()
        try:
            store.serve_tables(tables)
            await store.initialise(here.PRIMARY if primary == "sqlite" else here.SHADOW)
            await store.install_capture()
            days, kinds = tables
            yield Both(path, url, store, postgres, kinds, days)
        finally:
            await store.close()


def insert(path: str, table: str, *rows: Row) -> None:
    with here.direct(path) as application:
        for row in rows:
            application.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row)


async def same_digests(world: Both, table: Table, uppers: list[Key]) -> bool:
    async with world.sqlite.snapshot() as mine, world.postgres.snapshot() as theirs:
        one = await mine.digests(table, None, uppers, tail=True)
        other = await theirs.digests(table, None, uppers, tail=True)
        assert [part.rows for part in one] == [part.rows for part in other]
        assert await mine.scan(table, None, 2, 9) == await theirs.scan(table, None, 2, 9) or one != other
        return one == other


async def rows_of(store: SqliteStore | PostgresStore, table: Table) -> list[Row]:
    async with store.snapshot() as snapshot:
        return await snapshot.range(table, None, 100)


async def test_rows_of_every_type_reach_postgres_and_are_equal_there(tables_made: str, postgres_url: str) -> None:
    async with both(tables_made, postgres_url, primary="sqlite") as world:
        insert(world.path, "kinds", *ROWS)
        insert(world.path, "days", *DAYS)
        assert await world.postgres.check_capture() == []
        for table, rows in ((world.kinds, ROWS), (world.days, DAYS)):
            assert await rows_of(world.sqlite, table) == rows
            async with world.postgres.applier(1, 1, None) as applier:
                assert (await applier.replace_range(table, None, None, rows)).upserted == 3
            assert await rows_of(world.postgres, table) == rows
            keys = [table.key_of(row) for row in rows]
            assert await same_digests(world, table, keys[:2])
            async with world.postgres.snapshot() as snapshot:
                assert await snapshot.rows(table, keys) == dict(zip(keys, rows, strict=True))
                assert await snapshot.between(table, keys[0], keys[1]) == rows[1:2]
            async with world.postgres.applier(1, 1, None) as applier:
                assert (await applier.apply(table, rows, [])).unchanged == 3
        insert(world.path, "kinds", SPELLED)
        async with world.postgres.applier(1, 1, None) as applier:
            assert (await applier.apply(world.kinds, [SPELLED], [])).upserted == 1
        back = (await rows_of(world.postgres, world.kinds))[-1]
        assert back != SPELLED
        forms = [codec.canonical for codec in codecs_for(world.kinds)]
        assert [form(value) for form, value in zip(forms, back, strict=True) if value is not None] == [
            form(value) for form, value in zip(forms, SPELLED, strict=True) if value is not None
        ]
        assert not await same_digests(world, world.kinds, [])


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        (0, "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "dashed"), (0, "no id", "UUID"), (1, 2, "boolean"),
        (2, 1.005, "2 decimals"), (4, 0.123456789012, "more digits"), (5, "2024-02-30", "day"),
        (6, "2024-02-29 10:00:00.123456789", "six decimals"), (7, "2024-02-29 10:00:00.0001", "has no room"),
        (9, "glad", "labels"), (11, "abcde", "5 characters"), (12, "-1", "positive"), (13, "perhaps", "boolean"),
    ],
)  # fmt: skip
async def test_what_postgres_cannot_hold_is_held_back_with_its_reason(
    tables_made: str, postgres_url: str, column: int, value: str | float, reason: str
) -> None:
    async with both(tables_made, postgres_url, primary="sqlite") as world:
        bad = (*ROWS[0][:column], value, *ROWS[0][column + 1 :])
        async with world.postgres.applier(1, 1, None) as applier:
            assert (await applier.replace_range(world.kinds, None, None, [bad, ROWS[1]])).quarantined == 1
        assert await rows_of(world.postgres, world.kinds) == [ROWS[1]]
        (held,) = await world.postgres.quarantined()
        assert held.key == (bad[0],)
        assert reason in held.reason


async def test_rows_of_every_type_come_back_from_postgres(tables_made: str, postgres_url: str) -> None:
    async with both(tables_made, postgres_url, primary="postgres", before=[SPELLED]) as world:
        async with there.native(world.url) as app:
            await app.execute(
                "INSERT INTO kinds VALUES ($1::text::uuid, true, 10, 0.1, 0.1, '2024-02-29',"
                " '2024-02-29 12:00:00.12+02', '2023-11-14 22:13:20.123', $2::text::uuid, 'ok', '10.0.0.1', 'ab', 10,"
                " true), ($3::text::uuid, true, 8, 1.5, 0.1, '2024-02-29', '2024-02-29 10:00+00', 'epoch', NULL, NULL,"
                " '10.0.0.1', NULL, 7, true), ($4::text::uuid, true, 8, 1.5, 0.1, 'infinity', NULL, NULL, NULL, NULL,"
                " NULL, NULL, NULL, NULL)",
                *(U[0], "0" * 32, U[3], U[4]),
            )
            await app.execute("INSERT INTO days VALUES ('2024-02-28', '2024-02-28', 1), ('infinity', '2024-01-01', 2)")
        for table in (world.kinds, world.days):
            async with world.postgres.snapshot() as snapshot:
                assert (await snapshot.pending()).count
                found = [entry async for page in snapshot.changed(table, 10) for entry in page]
                keys = {key for key, _ in found}
                assert await snapshot.pending_keys(table, list(keys)) == keys
            async with world.sqlite.applier(0, 1, None) as applier:
                applied = await applier.apply(table, [row for _, row in found if row is not None], [])
            assert applied.quarantined == 1
        (first, second) = await rows_of(world.sqlite, world.kinds)
        assert first == ROWS[0]
        # What the application wrote on SQLite stays as it wrote it, where it still means the same.
        assert second == (*SPELLED[:2], 8, *SPELLED[3:])
        assert await rows_of(world.sqlite, world.days) == DAYS[:1]
        held = {entry.table: entry for entry in await world.sqlite.quarantined()}
        assert "infinity" in held["kinds"].reason
        assert held["days"].key == ("infinity", "2024-01-01T00:00:00.000Z")
        # The range in which the key stands that SQLite cannot hold is known from both sides of it.
        async with world.sqlite.applier(0, 1, None) as applier:
            await applier.replace_range(world.days, ("2024-03-01", "x"), None, [])
        assert [entry.table for entry in await world.sqlite.quarantined()] == ["kinds"]
        assert await rows_of(world.sqlite, world.days) == DAYS[:1]
