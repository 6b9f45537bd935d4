"""Expressions of SQLite schemas, row by row against both databases, on columns of tightened types as well."""

from __future__ import annotations

import json
import random
import sqlite3
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from typing import Any

import asyncpg
import pytest

from cutover.model.table import Column
from cutover.schema.codecs import codec_for
from cutover.schema.counterparts import bare
from cutover.schema.mapping import map_tables
from cutover.schema.parts import Untranslatable
from cutover.schema.sqlite_schema import read_sqlite_schema
from cutover.schema.translate import translate
from cutover.settings import Settings

_TABLE = """CREATE TABLE t (k INTEGER PRIMARY KEY, a INT, b TEXT, r REAL, f BOOLEAN, g BOOLEAN, d DECIMAL(8, 2),
    day DATE, til DATE, j JSON, n TEXT COLLATE NOCASE, u CHAR(36), z DATETIME)"""
_TYPES = {
    "f": "boolean",
    "g": "boolean",
    "d": "numeric(8,2)",
    "day": "date",
    "til": "date",
    "j": "jsonb",
    "n": "text",
    "u": "uuid",
    "z": "timestamptz",
}
_SAME = [
    "a IN (1, 2) AND b <> ''",
    "f IN (0, 1)",
    "f = 1",
    "f",
    "NOT f",
    "f <> g",
    "f = 0 OR a IS NOT NULL",
    "f IS TRUE",
    "f IS NOT TRUE",
    "f IS g",
    "f + g <= 1",
    "f = a",
    "f IN (0, 1, 2)",
    "coalesce(f, 0) = 1",
    "d >= 0",
    "d > 1.25",
    "d BETWEEN -2 AND 1.5",
    "d",
    "day > '2024-02-29'",
    "day <= til",
    "day IS NULL OR til IS NULL OR til >= day",
    "json_valid(j) IS TRUE",
    "json_valid(j) OR j IS NULL",
    '(JSON_VALID("j") OR "j" IS NULL)',
    "u IS NOT NULL AND z IS NULL",
    "(a IS NULL) <> (b IS NULL)",
    "(a IS NOT NULL) + (b IS NOT NULL) + (f IS NOT NULL) = 1",
    "n = 'ABC'",
    "n <> ''",
    "n IN ('abc', 'É')",
    "n >= 'b'",
    "b LIKE 'a%'",
    "b LIKE 'A_c'",
    "b NOT LIKE '%\\%'",
    "b LIKE '%!%%' ESCAPE '!'",
    "b LIKE '%É%'",
    "b GLOB 'a*'",
    "b GLOB '[a-z][^A-Z]?'",
    "b NOT GLOB '*[^0-9]*'",
    "b GLOB '*.*'",
    "typeof(a) = 'integer'",
    "typeof(b) IN ('text', 'null')",
    "typeof(r) = 'real'",
    "typeof(f) <> 'text'",
    "length(trim(b)) > 0",
    "trim(b) = b AND ltrim(b) = rtrim(b)",
    "substr(b, 1, 2) = 'ab'",
    "instr(b, 'c') > 0",
    "a % 2 = 0",
    "a / 2 = -1",
    "abs(a) < 3",
    "abs(r) < 1.5",
    "nullif(b, '') IS NULL",
    "nullif(a, 1) = 2",
    "a IS NOT 1",
    "a IS 1",
    "a NOT BETWEEN 0 AND 2",
    "a == 1 OR a ISNULL",
    "CASE WHEN a = 1 THEN b IS NOT NULL ELSE 1 END",
    "CASE WHEN f THEN b ELSE n || '' END IS NOT NULL",
    "length(b) BETWEEN 1 AND 3",
    "b > 5",
    "12 = b",
    "b <> 1.50",
    "b <= -0.5",
    "b IN (12, 'abc', -1)",
    "b NOT BETWEEN 1 AND 2",
    "n <> 1",
    "b IS NOT 012",
    "lower(a) = '1' OR length(a) > 1",
    "a || b = '1abc'",
    "a LIKE '%3' OR a GLOB '[12]'",
    "substr(a, 1, 1) = '-'",
    "f || upper(g) = '10'",
    "(a = 1) || '' = '1'",
]
_REFUSED = [
    "lower(r) = '1.0'",
    "lower(d) = '1'",
    "length(99999999999999999999) = 7",
    "a / b = 1",
    "a % a = 0",
    "a / 0 = 1",
    "b REGEXP 'x'",
    "5 IN (b)",
    "5 BETWEEN b AND 12",
    "b = 0.0001",
    "b = 1234567890123456",
    "d * 2 > 1",
    "d = r",
    "day = '2024-1-1'",
    "day > 'x'",
    "day < CURRENT_DATE",
    "json_valid(b)",
    "json_extract(j, '$.a') = 1",
    "u = 'x'",
    "z > '2024'",
    "z = z",
    "n = b",
    "substr(b, -2) = 'x'",
    "typeof(u) = 'text'",
    "b GLOB '[[]*'",
    "b LIKE a",
    "missing = 1",
    "date(b) = b",
    "random() > 0",
    "hex(randomblob(4)) <> b",
]


def _rows() -> list[tuple[Any, ...]]:
    chosen = random.Random(4)
    pools: list[list[Any]] = [
        [None, 0, 1, 2, -3],
        [None, "", "abc", "ABC", "a%b", "x.y", "É", "é", "12", " a", "a\\", "Zbx"],
        [None, 0.0, 1.5, -1.0],
        [None, 0, 1],
        [None, 0, 1],
        [None, 0, 1.25, 1.5, -2, 12.5],
        [None, "2024-02-29", "2024-03-01"],
        [None, "2024-02-29", "1999-12-31"],
        [None, "{}", "[1]"],
        [None, "", "abc", "ABC", "É", "é", "bcd"],
        [None, "5a1b3c4d-0000-4000-8000-000000000000"],
        [None, "2024-02-29 10:00:00"],
    ]
    return [(number, *(chosen.choice(pool) for pool in pools)) for number in range(1, 121)]


@pytest.fixture
def sqlite() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    yield connection
    connection.close()


@pytest.fixture
async def postgres(postgres_url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(postgres_url)
    yield connection
    await connection.close()


def _settings(types: dict[str, str], table: str = "t") -> Settings:
    return Settings.model_validate({"tables": {table: {"columns": {c: {"type": t} for c, t in types.items()}}}})


def _columns(sqlite: sqlite3.Connection) -> dict[str, Column]:
    (table,) = map_tables(read_sqlite_schema(sqlite), None, _settings(_TYPES)).tables
    return {column.name.lower(): column for column in table.columns}


async def test_what_is_translated_means_the_same(sqlite: sqlite3.Connection, postgres: asyncpg.Connection) -> None:
    rows = _rows()
    sqlite.execute(_TABLE)
    sqlite.executemany(f"INSERT INTO t VALUES ({', '.join('?' * 13)})", rows)
    mapping = map_tables(read_sqlite_schema(sqlite), None, _settings(_TYPES))
    for statement in mapping.create:
        await postgres.execute(statement)
    codecs = [codec_for(column) for column in mapping.tables[0].columns]
    values = ", ".join(codec.write(f"${at}::{codec.sql_type}") for at, codec in enumerate(codecs, 1))
    await postgres.executemany(
        f"INSERT INTO t VALUES ({values})",
        [tuple(None if v is None else c.to_target(v) for c, v in zip(codecs, row, strict=True)) for row in rows],
    )
    columns = _columns(sqlite)
    for text in _SAME:
        here = sqlite.execute(f"SELECT CASE WHEN ({text}) THEN 1 WHEN NOT ({text}) THEN 0 END FROM t ORDER BY k")
        there = await postgres.fetch(f"SELECT ({translate(text, columns, condition=True)})::int AS v FROM t ORDER BY k")
        assert [row["v"] for row in there] == [row[0] for row in here], text


async def test_what_postgres_prints_of_a_condition_is_known_again(
    sqlite: sqlite3.Connection, postgres: asyncpg.Connection
) -> None:
    """By this a CHECK that is gone on SQLite is found on Postgres."""
    sqlite.execute(_TABLE)
    columns = _columns(sqlite)
    await postgres.execute(f"CREATE TABLE t ({', '.join(_definition(column) for column in columns.values())})")
    checks = [f"CHECK ({translate(text, columns, condition=True)})" for text in _SAME]
    added = ", ".join(f"ADD CONSTRAINT c{number:03} {check}" for number, check in enumerate(checks))
    await postgres.execute(f"ALTER TABLE t {added}")
    printed = await postgres.fetch(
        "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 't'::regclass ORDER BY conname"
    )
    assert [bare(row[0]) for row in printed] == [bare(check) for check in checks]
    assert len({bare(check) for check in checks}) == len(set(checks))


def _definition(column: Column) -> str:
    collation = ' COLLATE "C"' if column.target_type == "text" else ""
    return f'"{column.target}" {column.target_type}{collation}'


async def test_patterns_match_the_same_texts(sqlite: sqlite3.Connection, postgres: asyncpg.Connection) -> None:
    """Many random patterns over the letters that mean something to either side, in one statement each."""
    chosen = random.Random(11)
    letters = "aAbZ09éÉ .*?[]^$+(){}|\\%_-\n'ß"
    texts = ["", *("".join(chosen.choices(letters, k=chosen.randint(1, 4))) for _ in range(150))]
    parts = [*letters, "!", "!%", "!_", *"*?%_" * 4, "[a-z]", "[^0-9]", "[A-Z]", "[ab]", "[^é]"]
    patterns = ["".join(chosen.choices(parts, k=chosen.randint(1, 5))) for _ in range(150)]
    sqlite.execute(_TABLE)
    sqlite.executemany("INSERT INTO t (k, b) VALUES (?, ?)", enumerate(texts))
    columns = _columns(sqlite)
    carried = 0
    for written in ("b GLOB {}", "b LIKE {}", "b NOT LIKE {} ESCAPE '!'"):
        pairs = []
        for pattern in patterns:
            text = written.format("'" + pattern.replace("'", "''") + "'")
            try:
                pairs.append((text, translate(text, columns, condition=True)))
            except Untranslatable:
                continue
        carried += len(pairs)
        here = sqlite.execute(f"SELECT {', '.join(text for text, _ in pairs)} FROM t ORDER BY k").fetchall()
        there = await postgres.fetch(
            f"SELECT {', '.join(f'{sql}::int' for _, sql in pairs)} FROM unnest($1::text[])"
            " WITH ORDINALITY AS t(b, k) ORDER BY k",
            texts,
        )
        for text, mine, theirs in zip(texts, here, there, strict=True):
            wrong = [pair for pair, one, other in zip(pairs, mine, theirs, strict=True) if one != other]
            assert not wrong, (text, wrong)
    assert carried > 400


def test_what_might_mean_something_else_is_refused(sqlite: sqlite3.Connection) -> None:
    sqlite.execute(_TABLE)
    columns = _columns(sqlite)
    for text in _REFUSED:
        with pytest.raises(Untranslatable):
            translate(text, columns, condition=True)


_DEFAULTS = {
    "f1 BOOLEAN DEFAULT 0": "boolean",
    "f2 BOOLEAN DEFAULT '1'": "boolean",
    "f3 BOOLEAN DEFAULT true": "boolean",
    "n1 DECIMAL(8,2) DEFAULT 1.5": "numeric(8,2)",
    "n2 DECIMAL(8,2) DEFAULT '-2'": "numeric(8,2)",
    "d1 DATE DEFAULT '2024-02-29'": "date",
    "t1 DATETIME DEFAULT '2024-02-29 10:11:12'": "timestamp",
    "t2 DATETIME DEFAULT '2024-02-29T10:11:12.125Z'": "timestamptz",
    "t3 INTEGER DEFAULT 1700000000": "timestamptz",
    "u1 TEXT DEFAULT '5a1b3c4d-0000-4000-8000-000000000000'": "uuid",
    "j1 TEXT DEFAULT '{}'": "jsonb",
    "j2 JSON DEFAULT '[]'": "json",
    "v1 VARCHAR(20) DEFAULT 'it''s'": "varchar(20)",
    "i1 INT DEFAULT 7": "integer",
}


async def test_constants_are_defaults_of_tightened_columns(
    sqlite: sqlite3.Connection, postgres: asyncpg.Connection
) -> None:
    sqlite.execute(f"CREATE TABLE s (k INTEGER PRIMARY KEY, {', '.join(_DEFAULTS)})")
    mapping = map_tables(
        read_sqlite_schema(sqlite),
        None,
        _settings({line.split(maxsplit=1)[0]: kind for line, kind in _DEFAULTS.items()}, "s"),
    )
    assert {found.code for found in mapping.findings} <= {"rowid_carried"}
    for statement in mapping.create:
        await postgres.execute(statement)
    sqlite.execute("INSERT INTO s (k) VALUES (1)")
    await postgres.execute("INSERT INTO s (k) VALUES (1)")
    table = next(table for table in mapping.tables if table.name == "s")
    codecs = [codec_for(column) for column in table.columns]
    listed = ", ".join(codec.read(f'"{column.target}"') for codec, column in zip(codecs, table.columns, strict=True))
    there = tuple((await postgres.fetchrow(f"SELECT {listed} FROM s")) or ())
    here = sqlite.execute("SELECT * FROM s").fetchone()
    for column, codec, mine, theirs in zip(table.columns, codecs, here, there, strict=True):
        assert codec.canonical(codec.to_source(theirs)) == codec.canonical(mine), column.name


_MOMENTS = {
    "a DATETIME DEFAULT CURRENT_TIMESTAMP": "timestamptz",
    "b DATETIME DEFAULT (datetime('now'))": "timestamp",
    "c DATETIME DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))": "timestamptz",
    "d DATE DEFAULT (CURRENT_DATE)": "date",
    "e INTEGER DEFAULT (unixepoch())": "timestamptz",
    "f INTEGER DEFAULT (unixepoch())": "bigint",
    "g INTEGER DEFAULT (cast((julianday('now') - 2440587.5)*86400000 as integer))": "bigint",
    "h TEXT DEFAULT (strftime('%Y-%m-%d %H:%M:%f', 'now'))": "text",
    "i INTEGER DEFAULT (strftime('%s', 'now') * 1000)": "bigint",
}


async def test_the_moment_is_a_default_of_tightened_columns(
    sqlite: sqlite3.Connection, postgres: asyncpg.Connection
) -> None:
    """What Postgres fills in comes back as what SQLite could have filled in within the same seconds."""
    sqlite.execute(f"CREATE TABLE s (k INTEGER PRIMARY KEY, {', '.join(_MOMENTS)})")
    types = {line.split(maxsplit=1)[0]: kind for line, kind in _MOMENTS.items()}
    mapping = map_tables(read_sqlite_schema(sqlite), None, _settings(types, "s"))
    assert {found.code for found in mapping.findings} <= {"rowid_carried"}
    for statement in mapping.create:
        await postgres.execute(statement)
    await postgres.execute("SET TimeZone = 'Asia/Kathmandu'")
    table = next(table for table in mapping.tables if table.name == "s")
    codecs = [codec_for(column) for column in table.columns]
    listed = ", ".join(codec.read(f'"{column.target}"') for codec, column in zip(codecs, table.columns, strict=True))
    sqlite.execute("INSERT INTO s (k) VALUES (1)")
    await postgres.execute("INSERT INTO s (k) VALUES (1)")
    await postgres.execute("SET TimeZone = 'UTC'")
    there = tuple((await postgres.fetchrow(f"SELECT {listed} FROM s")) or ())
    sqlite.execute("INSERT INTO s (k) VALUES (2)")
    before, after = sqlite.execute("SELECT * FROM s ORDER BY k").fetchall()
    for column, codec, low, high, value in list(zip(table.columns, codecs, before, after, there, strict=True))[1:]:
        codec.to_target(low)  # SQLite's own default is one that the column takes
        came = codec.to_source(value)
        assert type(came) is type(low), column.name
        assert str(low)[:10] <= str(came)[:10] <= str(high)[:10], column.name
        if column.target_type == "text":
            assert len(str(came)) == len(low)


async def test_random_keys_are_defaults(sqlite: sqlite3.Connection, postgres: asyncpg.Connection) -> None:
    version_four = (
        "lower(hex(randomblob(4))) || '-' || lower(hex(randomblob(2))) || '-4' || substr(lower(hex(randomblob(2))),2)"
        " || '-' || substr('89ab',abs(random()) % 4 + 1, 1) || substr(lower(hex(randomblob(2))),2)"
        " || '-' || lower(hex(randomblob(6)))"
    )
    sqlite.execute(
        f"CREATE TABLE s (u TEXT PRIMARY KEY NOT NULL DEFAULT ({version_four}), v TEXT DEFAULT ({version_four}),"
        " p TEXT DEFAULT ('r'||lower(hex(randomblob(7)))), h TEXT DEFAULT (hex(randomblob(16))))"
    )
    mapping = map_tables(read_sqlite_schema(sqlite), None, _settings({"u": "uuid"}, "s"))
    assert {found.code for found in mapping.findings} <= {"rowid_carried"}
    for statement in mapping.create:
        await postgres.execute(statement)
    for _ in range(20):
        await postgres.execute("INSERT INTO s DEFAULT VALUES")
    rows = await postgres.fetch("SELECT u::text, v, p, h FROM s")
    assert len({row[at] for row in rows for at in range(4)}) == 80
    assert all(len(row["p"]) == 15 and row["p"][0] == "r" and len(row["h"]) == 32 for row in rows)
    assert all(row["h"] == row["h"].upper() and row["v"][14] == "4" and row["v"][19] in "89ab" for row in rows)


async def test_indexes_and_checks_of_tightened_columns_are_created(
    sqlite: sqlite3.Connection, postgres: asyncpg.Connection
) -> None:
    sqlite.executescript(
        """CREATE TABLE s (k INTEGER PRIMARY KEY, active BOOLEAN NOT NULL DEFAULT 1 CHECK (active IN (0, 1)),
            price DECIMAL(10, 2) CHECK (price >= 0), born DATE, gone DATETIME, meta TEXT CHECK (json_valid(meta)),
            CONSTRAINT later CHECK (born IS NULL OR born > '1900-01-01'));
        CREATE INDEX s_active ON s (born DESC) WHERE active = 1 AND gone IS NULL;
        CREATE UNIQUE INDEX s_price ON s (price, active) WHERE active;
        CREATE INDEX s_sum ON s (coalesce(active, 0));"""
    )
    types = {"active": "boolean", "price": "numeric(10,2)", "born": "date", "gone": "timestamptz", "meta": "jsonb"}
    mapping = map_tables(read_sqlite_schema(sqlite), None, _settings(types, "s"))
    assert {found.code for found in mapping.findings} <= {"rowid_carried"}
    for statement in mapping.create:
        await postgres.execute(statement)
    row = await postgres.fetchrow(
        "INSERT INTO s (k, price, born, meta) VALUES (1, 1.5, '2000-01-01', '{}') RETURNING *"
    )
    assert row is not None
    assert (row["active"], row["price"], json.loads(row["meta"])) == (True, Decimal("1.50"), {})
    for broken in ("price = -1", "born = '1800-01-01'"):
        with pytest.raises(asyncpg.CheckViolationError):
            await postgres.execute(f"UPDATE s SET {broken}")
    with pytest.raises(asyncpg.UniqueViolationError):
        await postgres.execute("INSERT INTO s (k, price) VALUES (2, 1.5)")
