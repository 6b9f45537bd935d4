"""The DDL that cutover writes, executed on a real server and compared with what SQLite does."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from cutover.schema.mapping import Mapping, map_tables
from cutover.schema.postgres_schema import read_postgres_schema
from cutover.schema.sqlite_schema import read_sqlite_schema
from cutover.schema.types import Histogram
from cutover.settings import Settings


@pytest.fixture
async def postgres(postgres_url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(postgres_url)
    yield connection
    await connection.close()


@pytest.fixture
def sqlite() -> Any:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.execute("PRAGMA foreign_keys = ON")
    yield connection
    connection.close()


async def _create(postgres: asyncpg.Connection, sqlite: sqlite3.Connection, script: str) -> Mapping:
    sqlite.executescript(script)
    mapping = map_tables(read_sqlite_schema(sqlite), None, Settings())
    assert not mapping.blocking
    for statement in mapping.create:
        await postgres.execute(statement)
    return mapping


_SCHEMA = """
CREATE TABLE "Order" (id INTEGER PRIMARY KEY AUTOINCREMENT, "select" TEXT DEFAULT 'it''s', at DATETIME DEFAULT
    CURRENT_TIMESTAMP, "a""b" BLOB DEFAULT x'00ff', total REAL DEFAULT 1, n INT DEFAULT -5, flag BOOLEAN DEFAULT true,
    t TEXT DEFAULT 12, u TEXT DEFAULT "double", e TEXT DEFAULT '', nil TEXT DEFAULT NULL,
    twice INT AS (n * 2) STORED, both TEXT AS ("select" || '!' || u) STORED);
CREATE TABLE line (order_id INTEGER NOT NULL REFERENCES "Order" ON DELETE CASCADE, no INT NOT NULL, sku TEXT NOT NULL
    COLLATE NOCASE UNIQUE, PRIMARY KEY (order_id, no)) WITHOUT ROWID;
CREATE TABLE tree (k TEXT PRIMARY KEY NOT NULL, up TEXT REFERENCES tree DEFERRABLE INITIALLY DEFERRED);
CREATE INDEX by_at ON "Order" (at DESC, n);
CREATE UNIQUE INDEX by_lower ON "Order" (lower("select"), flag) WHERE n > 0 AND "select" <> 'x';
"""


async def test_what_is_created_is_adopted_with_the_same_mapping(
    postgres: asyncpg.Connection, sqlite: sqlite3.Connection
) -> None:
    created = await _create(postgres, sqlite, _SCHEMA)
    target = await read_postgres_schema(postgres, "public")
    adopted = map_tables(read_sqlite_schema(sqlite), target, Settings())
    assert adopted.create == ()
    assert not [finding for finding in adopted.findings if finding.severity != "informs"]
    assert adopted.tables == created.tables


async def test_defaults_and_generated_columns_give_what_sqlite_gives(
    postgres: asyncpg.Connection, sqlite: sqlite3.Connection
) -> None:
    await _create(postgres, sqlite, _SCHEMA)
    columns = '"select", "a""b", total, n, flag, t, u, e, nil, twice, "both"'
    sqlite.execute('INSERT INTO "Order" (id) VALUES (7)')
    await postgres.execute('INSERT INTO "Order" (id) VALUES (7)')
    here = sqlite.execute(f'SELECT {columns} FROM "Order"').fetchone()
    there = tuple(await postgres.fetchrow(f'SELECT {columns} FROM "Order"'))
    assert there == here
    assert [type(value) for value in there] == [type(value) for value in here]
    (at_here,) = sqlite.execute('SELECT at FROM "Order"').fetchone()
    at_there = await postgres.fetchval('SELECT at FROM "Order"')
    assert len(at_there) == len(at_here)
    assert at_there[:13] >= at_here[:13]  # the hour, or the next one


async def test_keys_constraints_and_actions_hold(postgres: asyncpg.Connection, sqlite: sqlite3.Connection) -> None:
    await _create(postgres, sqlite, _SCHEMA)
    await postgres.execute('INSERT INTO "Order" (id) VALUES (1)')
    await postgres.execute("INSERT INTO line VALUES (1, 1, 'abc')")
    with pytest.raises(asyncpg.UniqueViolationError):
        await postgres.execute("INSERT INTO line VALUES (1, 2, 'ABC')")
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        await postgres.execute("INSERT INTO line VALUES (9, 1, 'x')")
    await postgres.execute('DELETE FROM "Order"')
    assert await postgres.fetchval("SELECT count(*) FROM line") == 0
    async with postgres.transaction():
        await postgres.execute("INSERT INTO tree VALUES ('b', 'a')")
        await postgres.execute("INSERT INTO tree VALUES ('a', NULL)")


async def test_text_is_ordered_as_in_sqlite(postgres: asyncpg.Connection, sqlite: sqlite3.Connection) -> None:
    await _create(postgres, sqlite, "CREATE TABLE t (k TEXT PRIMARY KEY NOT NULL, n INT); CREATE INDEX i ON t (n)")
    words = [("_", 1), ("B", None), ("a", 2), ("é", None), ("z", 3), ("\U0001f600", 0), ("\uffff", 0)]
    sqlite.executemany("INSERT INTO t VALUES (?, ?)", words)
    await postgres.executemany("INSERT INTO t VALUES ($1, $2)", words)
    here = [row[0] for row in sqlite.execute("SELECT k FROM t ORDER BY k")]
    assert [row["k"] for row in await postgres.fetch("SELECT k FROM t ORDER BY k")] == here


_CHECKS = [
    "a > 5",
    "a BETWEEN 1 AND 3",
    "NOT a = 2",
    "a IS NOT NULL OR b IS NULL",
    "a IN (1, 2, 3)",
    "a NOT IN (1, 2)",
    "b IN ('x', 'y')",
    'b IN ("x", "yy")',
    "length(b) < 2",
    "length(b) >= 2 AND a <> 1",
    "lower(b) = 'x'",
    "upper(b) <> b",
    "b <> '' AND b >= 'X'",
    "a",
    "a AND b = 'x'",
    "NOT a",
    "a + 1 > a * 2",
    "-a < 0",
    "r > 1.5",
    "r = a",
    "coalesce(a, 7) = 7",
    "b || 'z' = 'xz'",
    "a IS NULL = 1",
    "TRUE",
    "a = FALSE",
    "(a > 1) = (r > 1)",
]
_ROWS = [
    (a, b, r)
    for a in (None, 0, 1, 2, 6, -3)
    for b in (None, "", "x", "X", "yy", "é", "É")
    for r in (None, 0.0, 1.0, 1.6)
]


async def test_checks_accept_and_refuse_the_same_rows(postgres: asyncpg.Connection, sqlite: sqlite3.Connection) -> None:
    carried = 0
    for number, check in enumerate(_CHECKS):
        name = f"t{number}"
        definition = f"CREATE TABLE {name} (a INT, b TEXT, r REAL, k INTEGER PRIMARY KEY, CHECK ({check}))"
        sqlite.execute(definition)
        mapping = map_tables(read_sqlite_schema(sqlite), None, Settings())
        if any(finding.table == name for finding in mapping.findings):
            continue
        carried += 1
        for statement in mapping.create:
            if f'."{name}" ' in statement:
                await postgres.execute(statement)
        kept = _kept_by_sqlite(sqlite, name)
        columns = list(zip(*_ROWS, strict=True))
        # A row at a time inside one statement: DO blocks catch what the constraint refuses.
        await postgres.execute(
            f"""CREATE FUNCTION try_{name}(a bigint, b text, r float8, k bigint) RETURNS boolean LANGUAGE plpgsql AS
            $$ BEGIN INSERT INTO {name} VALUES (a, b, r, k); RETURN true;
               EXCEPTION WHEN check_violation THEN RETURN false; END $$"""
        )
        taken = await postgres.fetch(
            f"""SELECT k FROM unnest($1::bigint[], $2::text[], $3::float8[]) WITH ORDINALITY AS v(a, b, r, k)
            WHERE try_{name}(a, b, r, k) ORDER BY k""",
            *columns,
        )
        assert [row["k"] for row in taken] == kept, check
    assert carried >= 20


def _kept_by_sqlite(sqlite: sqlite3.Connection, name: str) -> list[int]:
    kept = []
    for k, row in enumerate(_ROWS, 1):
        try:
            sqlite.execute(f"INSERT INTO {name} VALUES (?, ?, ?, ?)", (*row, k))
            kept.append(k)
        except sqlite3.IntegrityError:
            continue
    return kept


@pytest.mark.parametrize(
    ("script", "code"),
    [
        ("CREATE TABLE t (k INTEGER PRIMARY KEY, b TEXT CHECK (b <> hex(b)))", "check_constraint_not_carried_over"),
        ("CREATE TABLE t (k INTEGER PRIMARY KEY, b TEXT CHECK (b > k))", "check_constraint_not_carried_over"),
        (
            "CREATE TABLE t (k INTEGER PRIMARY KEY, b TEXT COLLATE RTRIM CHECK (b = 'x'))",
            "check_constraint_not_carried_over",
        ),
        ("CREATE TABLE t (k INTEGER PRIMARY KEY, b TEXT); CREATE INDEX i ON t (date(b))", "index_not_carried_over"),
        (
            "CREATE TABLE t (k INTEGER PRIMARY KEY, b TEXT); CREATE UNIQUE INDEX i ON t (b) WHERE b LIKE k",
            "unique_index_not_carried_over",
        ),
        ("CREATE TABLE t (k INTEGER PRIMARY KEY, b TEXT DEFAULT (hex(randomblob(80))))", "default_not_carried_over"),
        ("CREATE TABLE t (k INTEGER PRIMARY KEY, b REAL DEFAULT 'none')", "default_not_carried_over"),
        ("CREATE TABLE t (k INTEGER PRIMARY KEY, b INT AS (2 / k))", "generated_column_not_carried_over"),
        (
            "CREATE TABLE p (k INTEGER PRIMARY KEY, b TEXT);"
            "CREATE TABLE t (k INTEGER PRIMARY KEY, p TEXT REFERENCES p (b))",
            "foreign_key_not_carried_over",
        ),
        (
            "CREATE TABLE p (k INTEGER PRIMARY KEY); CREATE TABLE t (k INTEGER PRIMARY KEY, p TEXT REFERENCES p)",
            "foreign_key_not_carried_over",
        ),
    ],
)
async def test_what_has_no_sure_equivalent_is_left_out_and_said(
    postgres: asyncpg.Connection, sqlite: sqlite3.Connection, script: str, code: str
) -> None:
    mapping = await _create(postgres, sqlite, script)
    assert [(f.severity, f.table, f.code) for f in mapping.findings] == [("warns", "t", code)]


async def test_names_of_indexes_stay_apart(postgres: asyncpg.Connection, sqlite: sqlite3.Connection) -> None:
    long = "i" * 70
    await _create(
        postgres,
        sqlite,
        f"CREATE TABLE t (k INTEGER PRIMARY KEY, a INT UNIQUE, b INT); CREATE INDEX t_a_key ON t (b);"
        f"CREATE INDEX {long}1 ON t (a); CREATE INDEX {long}2 ON t (b)",
    )
    schema = await read_postgres_schema(postgres, "public")
    (table,) = schema.tables
    assert len(table.indexes) == 5
    assert all(len(index.name) <= 63 for index in table.indexes)


async def test_types_that_the_data_decided_are_created(
    postgres: asyncpg.Connection, sqlite: sqlite3.Connection
) -> None:
    sqlite.execute("CREATE TABLE t (k INTEGER PRIMARY KEY, a, b, c, d)")
    histograms = {
        ("t", "a"): Histogram(integer=1), ("t", "b"): Histogram(real=1), ("t", "c"): Histogram(text=1),
        ("t", "d"): Histogram(blob=1),
    }  # fmt: skip
    for statement in map_tables(read_sqlite_schema(sqlite), None, Settings(), histograms).create:
        await postgres.execute(statement)
    (table,) = (await read_postgres_schema(postgres, "public")).tables
    assert [column.type for column in table.columns] == ["bigint", "bigint", "double precision", "text", "bytea"]
