"""What the plan finds in real data: every finding, its count, its example keys."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any

import asyncpg
import pytest

from cutover.schema import profile
from cutover.schema.plan import Plan, make_plan, map_with_data
from cutover.schema.postgres_schema import PostgresSchema, read_postgres_schema
from cutover.schema.sqlite_schema import read_sqlite_schema
from cutover.settings import Settings


@pytest.fixture
def sqlite(sqlite_path: str) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(sqlite_path, isolation_level=None)
    yield connection
    connection.close()


def _plan(connection: sqlite3.Connection, target: PostgresSchema | None = None, **tables: Any) -> Plan:
    return make_plan(connection, target, Settings.model_validate({"tables": tables}))


def _found(plan: Plan, severity: str = "blocks") -> list[tuple[str, str, str, int | None, tuple[object, ...]]]:
    return [
        (f.table, f.column, f.code, f.count, tuple(key[0] if len(key) == 1 else key for key in f.examples))
        for f in plan.findings
        if f.severity == severity
    ]


async def _target(postgres_url: str, script: str) -> PostgresSchema:
    connection = await asyncpg.connect(postgres_url)
    try:
        await connection.execute(script)
        return await read_postgres_schema(connection, "public")
    finally:
        await connection.close()


def test_clean_data_has_no_findings(sqlite: sqlite3.Connection) -> None:
    sqlite.executescript(
        "CREATE TABLE t (k TEXT PRIMARY KEY NOT NULL, a INT, b REAL, c TEXT, d BLOB) WITHOUT ROWID;"
        "INSERT INTO t VALUES ('é', 1, 1, 'ä😀', x'00'), ('b', NULL, NULL, NULL, NULL)"
    )
    plan = _plan(sqlite)
    assert plan.findings == ()
    assert not plan.blocks
    assert plan.rows == {"t": 2}


def test_values_of_another_class_are_counted_with_their_keys(sqlite: sqlite3.Connection) -> None:
    sqlite.executescript(
        "CREATE TABLE t (k INTEGER PRIMARY KEY, a INT, r REAL, t TEXT, b BLOB);"
        "INSERT INTO t VALUES (1, 'x', 1.0, 'x', x'00'), (2, 1.5, 'x', x'01', 'x'), (3, x'02', x'03', 'x', x'04'),"
        " (4, 'y', 1.0, 'x', x'05'), (5, 9223372036854775807, 1.0, 'x', x'06')"
    )
    plan = _plan(sqlite, t={"columns": {"b": {"type": "bytea"}}})
    assert _found(plan) == [
        ("t", "a", "wrong_storage_class", 1, (3,)),
        ("t", "a", "wrong_storage_class", 1, (2,)),
        ("t", "a", "wrong_storage_class", 2, (1, 4)),
        ("t", "b", "wrong_storage_class", 1, (2,)),
        ("t", "r", "wrong_storage_class", 1, (3,)),
        ("t", "r", "wrong_storage_class", 1, (2,)),
        ("t", "t", "wrong_storage_class", 1, (2,)),
    ]
    assert plan.blocks


def test_text_that_postgres_refuses(sqlite: sqlite3.Connection) -> None:
    sqlite.executescript(
        "CREATE TABLE t (k INTEGER PRIMARY KEY, a TEXT);"
        "INSERT INTO t VALUES (1, 'a' || char(0)), (2, CAST(x'ff41' AS TEXT)), (3, CAST(x'61e9' AS TEXT)),"
        " (4, 'é'), (5, CAST(x'eda080' AS TEXT)), (6, CAST(x'80' AS TEXT)), (7, printf('%.999c', 'é')),"
        " (8, CAST(CAST(printf('%.999c', 'x') AS BLOB) || x'c3' AS TEXT))"
    )
    assert _found(_plan(sqlite)) == [
        ("t", "a", "text_not_unicode", 5, (2, 3, 5, 6, 8)),
        ("t", "a", "text_with_nul", 1, (1,)),
    ]


async def test_what_native_types_refuse(sqlite: sqlite3.Connection, postgres_url: str) -> None:
    target = await _target(
        postgres_url,
        "CREATE TABLE t (k smallint PRIMARY KEY, i integer, b boolean, v varchar(2), j jsonb, n text NOT NULL)",
    )
    sqlite.executescript(
        "CREATE TABLE t (k INTEGER PRIMARY KEY, i INT, b BOOLEAN, v TEXT, j TEXT, n TEXT);"
        "INSERT INTO t VALUES (1, 2147483648, 2, 'abc', '{', NULL), (40000, 1, 0, 'äb', '{\"a\":1}', 'n'),"
        " (3, 1, 1, 'a', '{\"a\":1,\"a\":2}', 'n'), (4, 1, 1, 'a', '', 'n')"
    )
    assert _found(_plan(sqlite, target)) == [
        ("t", "b", "not_boolean", 1, (1,)),
        ("t", "i", "out_of_range", 1, (1,)),
        ("t", "j", "not_json", 3, (1, 3, 4)),
        ("t", "k", "out_of_range", 1, (40000,)),
        ("t", "n", "null_in_not_null", 1, (1,)),
        ("t", "v", "text_too_long", 1, (1,)),
    ]


def test_null_in_a_key(sqlite: sqlite3.Connection) -> None:
    sqlite.executescript(
        "CREATE TABLE t (a TEXT, b INT, PRIMARY KEY (a, b)); INSERT INTO t VALUES ('x', 1), (NULL, 2), ('y', NULL)"
    )
    assert _found(_plan(sqlite)) == [
        ("t", "a", "null_in_key", 1, ((None, 2),)),
        ("t", "b", "null_in_key", 1, (("y", None),)),
    ]


async def test_orphans_of_declared_and_of_target_foreign_keys(sqlite: sqlite3.Connection, postgres_url: str) -> None:
    target = await _target(
        postgres_url,
        "CREATE TABLE users (uid text PRIMARY KEY, handle text UNIQUE);"
        "CREATE TABLE posts (id text PRIMARY KEY, author text REFERENCES users, up text,"
        " by_handle text REFERENCES users (handle))",
    )
    sqlite.executescript(
        "CREATE TABLE users (id TEXT PRIMARY KEY NOT NULL, handle TEXT);"
        "CREATE TABLE posts (id TEXT PRIMARY KEY NOT NULL, author TEXT, by_handle TEXT, up TEXT REFERENCES posts);"
        "INSERT INTO users VALUES ('u', 'h'), ('v', NULL);"
        "INSERT INTO posts VALUES ('a', 'u', 'h', NULL), ('b', 'gone', 'h', 'a'), ('c', NULL, 'none', 'z')"
    )
    plan = _plan(sqlite, target, users={"columns": {"id": {"target": "uid"}}})
    assert _found(plan) == [
        ("posts", "author", "orphan", 1, ("b",)),
        ("posts", "by_handle", "orphan", 1, ("c",)),
        ("posts", "up", "orphan", 1, ("c",)),
    ]


async def test_duplicates_that_only_the_target_forbids(sqlite: sqlite3.Connection, postgres_url: str) -> None:
    target = await _target(
        postgres_url, "CREATE TABLE t (k bigint PRIMARY KEY, a text UNIQUE, b text, c bigint, UNIQUE (b, c))"
    )
    sqlite.executescript(
        "CREATE TABLE t (k INTEGER PRIMARY KEY, a TEXT COLLATE NOCASE, b TEXT, c INT);"
        "INSERT INTO t VALUES (1, 'x', 'p', 1), (2, 'X', 'p', 2), (3, 'x', 'p', 2), (4, NULL, 'p', NULL),"
        " (5, NULL, 'p', NULL)"
    )
    assert _found(_plan(sqlite, target)) == [
        ("t", "a", "duplicate", 2, (1, 3)),
        ("t", "b", "duplicate", 2, (2, 3)),
    ]


def test_soft_columns_are_decided_by_what_they_hold(sqlite: sqlite3.Connection) -> None:
    sqlite.executescript(
        "CREATE TABLE t (k INTEGER PRIMARY KEY, a, n DECIMAL(9, 2), d DATETIME, o BLOB, m NUMERIC);"
        "INSERT INTO t VALUES (1, 'x', 1.5, 1700000000, 'text', 1), (2, NULL, 2.5, NULL, NULL, 'few')"
    )
    plan = _plan(sqlite)
    assert [f[:3] for f in _found(plan)] == [("t", "m", "type_undecided")]
    sqlite.execute("UPDATE t SET m = 2")
    plan = _plan(sqlite)
    assert not plan.blocks
    (table,) = plan.mapping.tables
    assert [column.target_type for column in table.columns[1:]] == [
        "text", "numeric", "bigint", "text", "numeric",
    ]  # fmt: skip
    source = read_sqlite_schema(sqlite)
    assert map_with_data(sqlite, source, None, Settings()).tables == plan.mapping.tables


def test_infinity_and_long_values_do_not_block(sqlite: sqlite3.Connection) -> None:
    sqlite.execute("CREATE TABLE t (k INTEGER PRIMARY KEY, r REAL, s TEXT UNIQUE, free TEXT)")
    sqlite.execute("INSERT INTO t VALUES (1, 9e999, ?, ?), (2, -9e999, 's', 'f')", ("x" * 3000, "x" * 3000))
    plan = _plan(sqlite)
    assert not plan.blocks
    assert _found(plan, "informs") == [("t", "r", "infinity", 2, (1, 2))]
    assert _found(plan, "warns") == [("t", "s", "long_indexed_value", 1, (1,))]


def test_objects_that_are_not_moved(sqlite: sqlite3.Connection) -> None:
    sqlite.executescript(
        "CREATE TABLE t (k INTEGER PRIMARY KEY AUTOINCREMENT, a TEXT UNIQUE ON CONFLICT IGNORE, g AS (k + 1));"
        "CREATE UNIQUE INDEX i ON t (lower(a)) WHERE a <> '';"
        "CREATE VIEW v AS SELECT 1; CREATE VIRTUAL TABLE f USING fts5(x);"
        "CREATE TRIGGER r AFTER INSERT ON t BEGIN SELECT 1; END"
    )
    plan = _plan(sqlite, t={"columns": {"g": {"ignore": True}}})
    codes = {
        (severity, table, code) for severity in ("warns", "informs") for table, _, code, *_ in _found(plan, severity)
    }
    assert codes >= {
        ("warns", "f", "virtual_table"),
        ("warns", "v", "view"),
        ("warns", "t", "trigger"),
        ("warns", "t", "constraint_conflict"),
        ("informs", "t", "autoincrement"),
        ("informs", "t", "expression_index"),
        ("informs", "t", "partial_index"),
        ("informs", "t", "generated_column"),
    }
    assert [table.name for table in plan.mapping.tables] == ["t"]


def test_a_file_that_is_not_wal_or_not_utf8() -> None:
    connection = sqlite3.connect(":memory:")
    connection.execute("PRAGMA encoding = 'UTF-16'")
    connection.execute("CREATE TABLE t (k INTEGER PRIMARY KEY)")
    plan = _plan(connection)
    connection.close()
    assert [f[2] for f in _found(plan)] == ["encoding"]
    assert [f[2] for f in _found(plan, "warns")] == ["not_wal"]


@pytest.mark.parametrize(
    "definition",
    [
        "k INTEGER PRIMARY KEY, a INT",
        "a INT, k TEXT PRIMARY KEY NOT NULL",
        "rowid TEXT, k TEXT PRIMARY KEY NOT NULL, a INT",
        "k TEXT, a INT, PRIMARY KEY (a, k)) WITHOUT ROWID",
        "rowid TEXT, _rowid_ TEXT, oid TEXT, k TEXT PRIMARY KEY NOT NULL, a INT",
    ],
)
def test_slices_cover_every_row_once(
    sqlite: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch, definition: str
) -> None:
    monkeypatch.setattr(profile, "_SLICE", 7)
    sqlite.execute(f"CREATE TABLE t ({definition}" + ("" if "WITHOUT" in definition else ")"))
    sqlite.executemany("INSERT INTO t (k, a) VALUES (?, ?)", [(str(n * 3), n % 5) for n in range(100)])
    (table,) = read_sqlite_schema(sqlite).tables
    seen: list[int] = []
    rows, counts = profile.count_conditions(
        sqlite, table, ["s.a = 0", "s.a < 3", "s.k IS NULL"], lambda _, count: seen.append(count)
    )
    assert (rows, counts) == (100, [20, 60, 0])
    assert seen[-1] == 100
    assert seen == sorted(seen)
    assert profile.count_conditions(sqlite, table, []) == (100, [])


def test_a_live_writer_is_not_held_up(
    sqlite: sqlite3.Connection, sqlite_path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two slices no snapshot is open: a checkpoint can take in everything."""
    monkeypatch.setattr(profile, "_SLICE", 10)
    sqlite.execute("CREATE TABLE t (k INTEGER PRIMARY KEY, a TEXT)")
    sqlite.executemany("INSERT INTO t (a) VALUES (?)", [("x",)] * 50)
    writer = sqlite3.connect(sqlite_path, isolation_level=None)
    busy: list[int] = []

    def between(_table: str, _rows: int) -> None:
        writer.execute("INSERT INTO t (a) VALUES ('y')")
        busy.append(writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0])
        if len(busy) > 20:
            writer.execute("DELETE FROM t WHERE k > 50")

    make_plan(sqlite, None, Settings(), between)
    writer.close()
    assert len(busy) >= 5
    assert not any(busy)


def test_the_state_of_autoincrement_is_told(sqlite: sqlite3.Connection) -> None:
    sqlite.executescript(
        "CREATE TABLE t (k INTEGER PRIMARY KEY AUTOINCREMENT); INSERT INTO t VALUES (7), (12);"
        "DELETE FROM t WHERE k > 7;"
        "CREATE TABLE u (k INTEGER PRIMARY KEY AUTOINCREMENT); CREATE TABLE w (k INTEGER PRIMARY KEY AUTOINCREMENT);"
        "INSERT INTO w VALUES (3); UPDATE sqlite_sequence SET seq = 'x' WHERE name = 'w'"
    )
    found = [finding for finding in _plan(sqlite).findings if finding.code == "autoincrement"]
    told = [(f.severity, f.table, f.message.partition(";")[2]) for f in found]
    assert told == [
        ("warns", "w", " but sqlite_sequence holds no number for it, so that the count begins after the highest key."),
        ("informs", "t", " the highest number given is 12, the highest in use 7."),
        ("informs", "u", " the highest number given is 0, the highest in use 0."),
    ]


def test_names_and_numbers_of_columns_that_postgres_does_not_take(sqlite: sqlite3.Connection) -> None:
    sqlite.execute("CREATE TABLE t (k INTEGER PRIMARY KEY, xmin INT)")
    sqlite.execute(f"CREATE TABLE wide (k INTEGER PRIMARY KEY, {', '.join(f'c{n} INT' for n in range(1600))})")
    names = [f"p{n}" for n in range(33)]
    sqlite.execute(
        f"CREATE TABLE keyed ({', '.join(f'{name} INT NOT NULL' for name in names)}, PRIMARY KEY ({', '.join(names)}))"
    )
    assert [f[:3] for f in _found(_plan(sqlite))] == [
        ("keyed", "", "key_too_wide"),
        ("t", "xmin", "name_reserved"),
        ("wide", "", "too_many_columns"),
    ]
    chosen = {"t": {"columns": {"xmin": {"target": "x_min"}}}, "wide": {"ignore": True}, "keyed": {"ignore": True}}
    assert not _plan(sqlite, **chosen).blocks
