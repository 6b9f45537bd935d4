"""What only Postgres demands, CHECKs and uniqueness in its own terms, asked of SQLite's rows and judged by Postgres."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any

import asyncpg
import pytest

from cutover.model.table import Column
from cutover.schema.backwards import ask
from cutover.schema.findings import Finding
from cutover.schema.parts import Untranslatable
from cutover.schema.plan import make_plan
from cutover.schema.postgres_schema import read_postgres_schema
from cutover.settings import Settings


@pytest.fixture
async def postgres(postgres_url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(postgres_url)
    yield connection
    await connection.close()


@pytest.fixture
def sqlite() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    yield connection
    connection.close()


async def _findings(postgres: asyncpg.Connection, sqlite: sqlite3.Connection, code: str) -> list[Finding]:
    target = await read_postgres_schema(postgres, "public")
    return [finding for finding in make_plan(sqlite, target, Settings()).findings if finding.code == code]


_CHECKS = [
    "a > 5",
    "a BETWEEN 1 AND 3",
    "a IN (1, 2, 6)",
    "a NOT IN (1, 2)",
    "a % 2 = 0",
    "a * 2 - 1 > 3 OR b IS NULL",
    "b IN ('x', 'yy')",
    "b <> ALL (ARRAY['x', 'yy'])",
    "v IN ('x', 'X')",
    "v <> ''",
    "length(b) <= 1",
    "char_length(v) = 1 AND octet_length(v) = 1",
    "b LIKE 'x%'",
    "b NOT LIKE '_'",
    "b LIKE '%\\%%'",
    "b ~ '^[a-z]+$'",
    "b !~ '^x|y$'",
    "lower(b) = b OR b > '~'",
    "upper(b) = 'X' OR b > '~'",
    "btrim(b) <> ''",
    "(a IS NULL) <> (b IS NULL)",
    "num_nonnulls(a, b) = 1",
    "a IS DISTINCT FROM 2",
    "coalesce(a, 6) = 6",
    "flag",
    "NOT flag OR a > 0",
    "flag IS TRUE",
    "flag IS NOT TRUE",
    "n > 0.5",
    "n >= '-1'::integer AND n < a",
    "mood = 'sad'",
    "a > 1 AND n > a",
]
_ROWS = [
    (a, b, n, flag, mood)
    for a in (None, 0, 1, 2, 6, -3)
    for b in (None, "", "x", "X", "yy", "é", "É", "a%b", " ", "x\n")
    for n, flag, mood in ((None, None, None), (0.5, 0, "sad"), (1, 1, "glad"))
]


async def test_checks_on_postgres_are_broken_by_the_rows_that_the_plan_counts(
    postgres: asyncpg.Connection, sqlite: sqlite3.Connection
) -> None:
    checks = ", ".join(f"CONSTRAINT c{number:02} CHECK ({check})" for number, check in enumerate(_CHECKS))
    columns = 'k bigint PRIMARY KEY, a bigint, b text COLLATE "C", v varchar(9), n numeric, flag boolean, mood mood'
    await postgres.execute(f"CREATE TYPE mood AS ENUM ('sad', 'glad'); CREATE TABLE t ({columns}, {checks})")
    sqlite.execute(
        "CREATE TABLE t (k INTEGER PRIMARY KEY, a INT, b TEXT COLLATE NOCASE, v TEXT, n NUMERIC, flag BOOL, mood TEXT)"
    )
    rows = [(k, a, b, b, n, flag, mood) for k, (a, b, n, flag, mood) in enumerate(_ROWS)]
    sqlite.executemany("INSERT INTO t VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
    asked = await _findings(postgres, sqlite, "target_check")
    assert [finding.message for finding in asked] == [], "all of these can be asked"
    found = {each.message.split()[2]: each for each in await _findings(postgres, sqlite, "target_check_broken")}
    await postgres.execute(f"CREATE TABLE free ({columns})")
    await postgres.executemany(
        "INSERT INTO free VALUES ($1, $2, $3, $4, $5::float8::numeric, $6::int::boolean, $7::text::mood)", rows
    )
    for number, check in enumerate(_CHECKS):
        broken = [row["k"] for row in await postgres.fetch(f"SELECT k FROM free WHERE NOT ({check}) ORDER BY k")]
        told = found.get(f"c{number:02}")
        assert (told.count if told else 0) == len(broken), check
        assert {key[0] for key in told.examples} <= set(broken) if told else not broken, check


@pytest.mark.parametrize(
    "check",
    [
        "b ~* 'x'",
        "b ~ '[[:alpha:]]'",
        "a / 2 > 1",
        "r > 0.1",
        "day > '2024-01-01'",
        "j ? 'a'",
        "length(b) > random()",
    ],
)
async def test_checks_that_might_mean_something_else_are_not_asked_but_told(
    postgres: asyncpg.Connection, sqlite: sqlite3.Connection, check: str
) -> None:
    await postgres.execute(
        f"CREATE TABLE t (k bigint PRIMARY KEY, a bigint, b text, r real, day date, j jsonb, CHECK ({check}))"
    )
    sqlite.execute("CREATE TABLE t (k INTEGER PRIMARY KEY, a INT, b TEXT, r REAL, day TEXT, j TEXT)")
    (finding,) = await _findings(postgres, sqlite, "target_check")
    assert finding.severity == "informs"


@pytest.mark.parametrize(
    ("target", "source", "values", "severity", "keys"),
    [
        ("v text, UNIQUE NULLS NOT DISTINCT (v)", "v TEXT", [None, "a", None, "b"], "blocks", [0, 2]),
        ("v text, UNIQUE NULLS NOT DISTINCT (v)", "v TEXT UNIQUE", [None, "a", None], "blocks", [0, 2]),
        ("v timestamptz UNIQUE", "v TEXT UNIQUE", ["2024-01-01T00:00:00Z", "2024-01-01T01:00:00+01:00"], "blocks",
         [0, 1]),
        ("v uuid UNIQUE", "v TEXT UNIQUE", ["3f2b8c1a-0000-4000-8000-00000000000a",
         "3F2B8C1A-0000-4000-8000-00000000000A"], "blocks", [0, 1]),
        ("v numeric UNIQUE", "v NUMERIC UNIQUE", [1, 1.5, 2], "", []),
        ("v text UNIQUE", "v TEXT UNIQUE COLLATE NOCASE", ["a", "b"], "", []),
    ],
)  # fmt: skip
async def test_unique_in_the_targets_sense(
    postgres: asyncpg.Connection,
    sqlite: sqlite3.Connection,
    target: str,
    source: str,
    values: list[Any],
    severity: str,
    keys: list[int],
) -> None:
    await postgres.execute(f"CREATE TABLE t (k bigint PRIMARY KEY, {target})")
    sqlite.execute(f"CREATE TABLE t (k INTEGER PRIMARY KEY, {source})")
    sqlite.executemany("INSERT INTO t VALUES (?, ?)", enumerate(values))
    found = await _findings(postgres, sqlite, "duplicate")
    assert [(f.severity, [key[0] for key in f.examples]) for f in found] == ([(severity, keys)] if keys else [])


@pytest.mark.parametrize(
    ("index", "keys"),
    [
        ("(lower(v))", [0, 1, 4]),
        ("(lower(v)) WHERE n > 0", [1, 4]),
        ("(v) WHERE n IS NOT NULL", [0, 4]),
        ("(n, lower(v))", [1, 4]),
        ("(n) WHERE v IS NULL", []),
    ],
)
async def test_unique_indexes_over_expressions_and_parts(
    postgres: asyncpg.Connection, sqlite: sqlite3.Connection, index: str, keys: list[int]
) -> None:
    await postgres.execute("CREATE TABLE t (k bigint PRIMARY KEY, v varchar(20), n bigint)")
    await postgres.execute(f"CREATE UNIQUE INDEX i ON t {index}")
    sqlite.execute("CREATE TABLE t (k INTEGER PRIMARY KEY, v TEXT, n INT)")
    rows = [(0, "Ann", 0), (1, "ann", 1), (2, None, 1), (3, "bob", 2), (4, "Ann", 1)]
    sqlite.executemany("INSERT INTO t VALUES (?, ?, ?)", rows)
    found = await _findings(postgres, sqlite, "duplicate")
    assert [key[0] for finding in found for key in finding.examples] == keys


@pytest.mark.parametrize(
    ("column", "severity"),
    [
        ({"type": "citext", "base_type": "citext"}, "blocks"),
        ({"collation": "loose", "deterministic": False}, "warns"),
    ],
)
async def test_types_and_collations_that_fold_texts(
    postgres: asyncpg.Connection, sqlite: sqlite3.Connection, column: dict[str, Any], severity: str
) -> None:
    """Neither is in every build of the server, so that its answer is changed to say them."""
    await postgres.execute("CREATE TABLE t (k bigint PRIMARY KEY, v text UNIQUE)")
    sqlite.execute("CREATE TABLE t (k INTEGER PRIMARY KEY, v TEXT UNIQUE)")
    sqlite.executemany("INSERT INTO t VALUES (?, ?)", [(0, "É"), (1, "é"), (2, "x")])
    schema = await read_postgres_schema(postgres, "public")
    (table,) = schema.tables
    changed = replace(table, columns=(table.columns[0], replace(table.columns[1], **column)))
    plan = make_plan(sqlite, replace(schema, tables=(changed,)), Settings())
    (finding,) = (finding for finding in plan.findings if finding.code == "duplicate")
    assert (finding.severity, finding.examples) == (severity, ((0,), (1,)))


def test_an_order_other_than_that_of_bytes_is_not_asked() -> None:
    columns = {"b": Column("b", "TEXT", "TEXT", "b", "text", target_collation="en_US")}
    assert ask("b = 'x'::text", columns, condition=True) == "(s.\"b\" COLLATE BINARY = 'x' COLLATE BINARY)"
    with pytest.raises(Untranslatable):
        ask("b < 'x'::text", columns, condition=True)


async def test_an_index_that_cannot_be_asked_is_told(postgres: asyncpg.Connection, sqlite: sqlite3.Connection) -> None:
    await postgres.execute("CREATE TABLE t (k bigint PRIMARY KEY, v text); CREATE UNIQUE INDEX i ON t (md5(v))")
    sqlite.execute("CREATE TABLE t (k INTEGER PRIMARY KEY, v TEXT)")
    (finding,) = await _findings(postgres, sqlite, "unique_not_evaluated")
    assert "md5(v)" in finding.message
