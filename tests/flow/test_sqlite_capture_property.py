"""Whatever is done to whatever table: replaying the log gives the table, and the application notices nothing of it."""

from __future__ import annotations

import contextlib
import re
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cutover.model.table import Table, Tables
from cutover.model.values import Row
from cutover.schema.sqlite_schema import quoted
from cutover.stores.sqlite.capture import LogToken, install_capture
from cutover.stores.sqlite.control import create_own_tables
from cutover.stores.sqlite.keys import typed
from cutover.stores.sqlite.snapshot import ChangedRows, column_list
from tests.support.sqlite_tables import mapped

VALUES = st.sampled_from([1, 2, -1, "a", "A", "b", None, 1.0, 0.0, -0.0, "1", "anon", 7, 1.5, b"a"])
COLUMNS = ["k", "l", "h", "n", "x", "p"]
KEYS = {
    "text": "k TEXT NOT NULL PRIMARY KEY, l INTEGER",
    "nocase": "k TEXT COLLATE NOCASE NOT NULL PRIMARY KEY, l INTEGER",
    "default": "k TEXT NOT NULL DEFAULT 'a' PRIMARY KEY, l INTEGER",
    "alias": "k INTEGER PRIMARY KEY, l INTEGER",
    "counted": "k INTEGER PRIMARY KEY AUTOINCREMENT, l INTEGER",
    "int": "k INT NOT NULL PRIMARY KEY, l INTEGER",
    "untyped": "k NOT NULL PRIMARY KEY, l INTEGER",
    "composite": "k TEXT NOT NULL, l INTEGER NOT NULL DEFAULT 1",
}
INDEXES = [
    "CREATE UNIQUE INDEX u_h ON t (h)",
    "CREATE UNIQUE INDEX u_lower ON t (lower(h))",
    "CREATE UNIQUE INDEX u_nocase ON t (p COLLATE NOCASE)",
    "CREATE UNIQUE INDEX u_partial ON t (n) WHERE p IS NOT NULL",
    "CREATE UNIQUE INDEX u_two ON t (n, x)",
    "CREATE UNIQUE INDEX u_default ON t (coalesce(p, 'none'), n + 1)",
    "CREATE UNIQUE INDEX u_left_out ON t (generated)",
]
TRIGGERS = [
    "CREATE TRIGGER app_after AFTER INSERT ON t WHEN NEW.n = 2 BEGIN UPDATE t SET x = 'seen' WHERE h = 'b'; END",
    "CREATE TRIGGER app_delete AFTER DELETE ON t BEGIN UPDATE OR REPLACE t SET p = OLD.p WHERE n = 1; END",
    "CREATE TRIGGER app_before BEFORE INSERT ON t WHEN NEW.x = 'a' BEGIN DELETE FROM t WHERE h = 'anon'; END",
]


@dataclass
class Twins:
    """One database with capture and one without, and a copy kept by replaying the log."""

    captured: sqlite3.Connection
    plain: sqlite3.Connection
    tables: Tables
    copies: dict[str, dict[object, Row]] = field(default_factory=dict)
    parted: bool = False
    """What the rows are depends on the order in which SQLite walked through them, which a trigger may change."""

    def run(self, sql: str, parameters: tuple[object, ...] = ()) -> None:
        """Both must do the same."""
        self.parted = self.parted or (sql.startswith("UPDATE") and "WHERE k" not in sql)
        if self.parted:
            attempt(self.captured, sql, parameters)
            return
        outcomes = [attempt(connection, sql, parameters) for connection in (self.captured, self.plain)]
        assert outcomes[0] == outcomes[1], sql

    def trim(self) -> None:
        """Bring the copies up to date, state-based, and compare."""
        for table in self.tables:
            copy = self.copies.setdefault(table.name, {})
            changed = ChangedRows(table, LogToken(0))
            while found := changed.next(self.captured, 3):
                for key, row in found:
                    copy.pop(typed(key), None)
                    if row is not None:
                        copy[typed(key)] = row
            assert sorted(map(repr, copy.values())) == sorted(map(repr, rows(self.captured, table)))
            if not self.parted:
                assert sorted(map(repr, rows(self.plain, table))) == sorted(map(repr, rows(self.captured, table)))
        self.captured.execute("DELETE FROM _cutover_log")


def rows(connection: sqlite3.Connection, table: Table) -> list[Row]:
    return connection.execute(f"SELECT {column_list(table)} FROM {quoted(table.name)}").fetchall()


def attempt(connection: sqlite3.Connection, sql: str, parameters: tuple[object, ...]) -> object:
    """What the application would see: rows changed, and the new rowid; or the error."""
    control = sql in ("BEGIN", "COMMIT", "ROLLBACK")
    if not control:
        connection.execute("SAVEPOINT statement")
    try:
        cursor = connection.execute(sql, parameters)
    except (sqlite3.IntegrityError, sqlite3.OperationalError) as error:
        # SQLite without any trigger fails to undo the rows before the one with the wrong type; with one it does.
        if connection.in_transaction and not control:
            if str(error) == "datatype mismatch":
                connection.execute("ROLLBACK TO statement")
            connection.execute("RELEASE statement")
        return str(error)
    if not control:
        connection.execute("RELEASE statement")
    return cursor.rowcount, connection.execute("SELECT last_insert_rowid()").fetchone()


@contextlib.contextmanager
def twins(statements: list[str]) -> Iterator[Twins]:
    connections = [sqlite3.connect(":memory:", isolation_level=None) for _ in range(2)]
    try:
        for connection in connections:
            for statement in statements:
                connection.execute(statement)
        tables = mapped(connections[0])
        create_own_tables(connections[0], tables)
        install_capture(connections[0], tables)
        # The application may well run with these.
        connections[0].execute("PRAGMA trusted_schema = OFF")
        for connection in connections:  # one last_insert_rowid to begin with
            connection.execute("CREATE TEMP TABLE beginning (id INTEGER PRIMARY KEY)")
            connection.execute("INSERT INTO beginning VALUES (1)")
        yield Twins(connections[0], connections[1], tables, parted=any("UPDATE OR" in text for text in statements))
    finally:
        for connection in connections:
            connection.close()


@st.composite
def schemas(draw: st.DrawFn) -> list[str]:
    kind = draw(st.sampled_from(sorted(KEYS)))
    columns = [
        KEYS[kind],
        "h TEXT NOT NULL DEFAULT 'anon'",
        "n REAL" if draw(st.booleans()) else "n INTEGER NOT NULL DEFAULT 7",
        "x",
        draw(
            st.sampled_from(["p TEXT", "p TEXT UNIQUE ON CONFLICT REPLACE", "p NUMERIC NOT NULL DEFAULT anon UNIQUE"])
        ),
        "generated AS (h || coalesce(x, '')) STORED" if draw(st.booleans()) else "generated AS (h || n)",
    ]
    if kind == "composite":
        columns.append("PRIMARY KEY (k, l)")
    without = " WITHOUT ROWID" if kind not in ("alias", "counted") and draw(st.booleans()) else ""
    indexes = draw(st.lists(st.sampled_from(INDEXES), unique=True, max_size=3))
    triggers = draw(st.lists(st.sampled_from(TRIGGERS), unique=True, max_size=1))
    child = "CREATE TABLE child (id INTEGER PRIMARY KEY, t {0} REFERENCES t (k) ON DELETE CASCADE ON UPDATE CASCADE)"
    extra = (
        [child.format("TEXT")] if kind in ("text", "default") else ["CREATE TABLE child (id INTEGER PRIMARY KEY, t)"]
    )
    return [f"CREATE TABLE t ({', '.join(columns)}){without}", *indexes, *triggers, *extra]


BEGINNING = (
    "INSERT OR IGNORE INTO t (k, l, h, n, x, p) VALUES "
    "(1, 1, 'a', 1, NULL, 'a'), (2, 2, 'b', 2, 'b', 'b'), (3, 1, 'anon', 7, 0.0, 'anon')"
)
OR = st.sampled_from(["", " OR REPLACE", " OR REPLACE", " OR IGNORE", " OR FAIL"])


@st.composite
def statements(draw: st.DrawFn) -> tuple[str, tuple[object, ...]]:
    kind = draw(
        st.sampled_from(["insert"] * 4 + ["update"] * 3 + ["upsert", "delete", "rewrite", "rowid", "child", "trim"])
    )
    where, value = f" WHERE {draw(st.sampled_from(COLUMNS))} IS ?", draw(VALUES)
    if kind in ("insert", "upsert"):
        names = draw(st.lists(st.sampled_from(COLUMNS), unique=True, min_size=1))
        count = draw(st.integers(1, 3))
        marks = ", ".join(["(" + ", ".join("?" * len(names)) + ")"] * count)
        given_values = tuple(draw(VALUES) for _ in range(count * len(names)))
        if kind == "insert":
            return f"INSERT{draw(OR)} INTO t ({', '.join(names)}) VALUES {marks}", given_values
        column = draw(st.sampled_from(COLUMNS))
        sql = f"INSERT INTO t ({', '.join(names)}) VALUES {marks} ON CONFLICT DO UPDATE SET {column} = ?"
        return sql, (*given_values, value)
    if kind == "update":
        column, other = draw(st.sampled_from(COLUMNS)), draw(st.sampled_from(COLUMNS))
        expression = draw(st.sampled_from(["?", f"coalesce(?, {other})", f"coalesce({other}, ?)"]))
        limited, values = (where, (draw(VALUES), value)) if draw(st.booleans()) else ("", (draw(VALUES),))
        return f"UPDATE{draw(OR)} t SET {column} = {expression}{limited}", values
    if kind == "delete":
        return "DELETE FROM t" + where, (value,)
    if kind == "rewrite":
        names = ", ".join(COLUMNS)
        return f"INSERT OR REPLACE INTO t ({names}) SELECT {names} FROM t", ()
    if kind == "rowid":
        sql = draw(
            st.sampled_from(
                ["INSERT OR REPLACE INTO t (rowid, k) VALUES (?, ?)", "UPDATE OR REPLACE t SET rowid = ? WHERE k = ?"]
            )
        )
        return sql, (draw(st.sampled_from([1, 2, 3, -1])), value)
    if kind == "child":
        return "INSERT INTO child (t) SELECT k FROM t", ()
    return "trim", ()


CONTROL = st.sampled_from([("BEGIN", ()), ("ROLLBACK", ()), ("COMMIT", ())])


CASES = {
    "replace through another unique index": (
        ["CREATE TABLE t (k TEXT PRIMARY KEY NOT NULL, h TEXT UNIQUE)"],
        ["INSERT INTO t VALUES ('a', 'x')", "trim", "INSERT OR REPLACE INTO t VALUES ('b', 'x')"],
    ),
    "replace of the row with key -1, where the new key is SQLite's to find": (
        ["CREATE TABLE t (k INTEGER PRIMARY KEY, h TEXT UNIQUE)", "CREATE TABLE c (k, h TEXT UNIQUE)"],
        [
            "INSERT INTO t VALUES (-1, 'x'), (-2, 'y')",
            "INSERT INTO c (rowid, k, h) VALUES (-1, 1, 'x'), (-2, 1, 'y')",
            "trim",
            "INSERT OR REPLACE INTO t (h) VALUES ('x'), ('y')",
            "INSERT OR REPLACE INTO c (k, h) VALUES (2, 'x'), (2, 'y')",
        ],
    ),
    "replace through expressions over a key that is SQLite's to find": (
        [
            "CREATE TABLE t (k INTEGER PRIMARY KEY, n, g AS (k % 10 || n))",
            "CREATE UNIQUE INDEX u ON t (length(k) || n)",
            "CREATE TABLE c (k INTEGER PRIMARY KEY AUTOINCREMENT, n, g AS (k % 10 || n))",
            "CREATE UNIQUE INDEX v ON c (g, n)",
        ],
        [
            "INSERT INTO t VALUES (-9, 'w'), (3, 'x'), (8, 'y')",
            "INSERT INTO c VALUES (20, 'x'), (21, 'y'), (-1, 'z'), (129, 'q')",
            "DELETE FROM c WHERE k = 129",
            "trim",
            "REPLACE INTO t (n) VALUES ('x'), ('y'), ('w')",
            "REPLACE INTO c (n) VALUES ('x'), ('y'), ('z')",
            "trim",
            "DELETE FROM t WHERE k > 0",
            "REPLACE INTO t (n) VALUES ('w'), ('w')",
            "REPLACE INTO c VALUES (-1, 'z'), (NULL, 'y')",
        ],
    ),
    "replace of the row with key -1 by itself, and of others by it": (
        ["CREATE TABLE t (k INTEGER PRIMARY KEY AUTOINCREMENT, h TEXT UNIQUE, n)"],
        [
            "INSERT INTO t VALUES (-1, 'x', 1), (5, 'y', 1)",
            "trim",
            "REPLACE INTO t VALUES (-1, 'x', 2)",
            "trim",
            "REPLACE INTO t VALUES (-1, 'y', 3)",
            "trim",
            "REPLACE INTO t VALUES (NULL, 'y', 4)",
        ],
    ),
    "replace with a default in place of NULL": (
        ["CREATE TABLE t (k TEXT PRIMARY KEY NOT NULL, h TEXT NOT NULL DEFAULT 'anon' UNIQUE)"],
        ["INSERT INTO t VALUES ('a', 'anon')", "trim", "INSERT OR REPLACE INTO t VALUES ('b', NULL)"],
    ),
    "update or replace with a default in place of NULL": (
        ["CREATE TABLE t (k TEXT PRIMARY KEY NOT NULL, h TEXT NOT NULL DEFAULT 'anon' UNIQUE)"],
        ["INSERT INTO t VALUES ('a', 'anon'), ('b', 'x')", "trim", "UPDATE OR REPLACE t SET h = NULL WHERE k = 'b'"],
    ),
    "replace through an expression index": (
        ["CREATE TABLE t (k TEXT PRIMARY KEY NOT NULL, h TEXT)", "CREATE UNIQUE INDEX u ON t (lower(h))"],
        ["INSERT INTO t VALUES ('a', 'X')", "trim", "INSERT OR REPLACE INTO t VALUES ('b', 'x')"],
    ),
    "replace through an index with a collation of its own": (
        ["CREATE TABLE t (k TEXT PRIMARY KEY NOT NULL, h TEXT)", "CREATE UNIQUE INDEX u ON t (h COLLATE NOCASE)"],
        ["INSERT INTO t VALUES ('a', 'X')", "trim", "INSERT OR REPLACE INTO t VALUES ('b', 'x')"],
    ),
    "update or replace through an index with a collation of its own": (
        ["CREATE TABLE t (k TEXT PRIMARY KEY NOT NULL, h TEXT)", "CREATE UNIQUE INDEX u ON t (h COLLATE NOCASE)"],
        ["INSERT INTO t VALUES ('a', 'X'), ('b', 'y')", "trim", "UPDATE OR REPLACE t SET h = 'x' WHERE k = 'b'"],
    ),
    "replace through a generated column that hangs on a default": (
        [
            "CREATE TABLE t (k INTEGER PRIMARY KEY, h TEXT NOT NULL DEFAULT 'anon', g AS (lower(h)), g2 AS (g || '!'))",
            "CREATE UNIQUE INDEX u ON t (g2)",
        ],
        ["INSERT INTO t VALUES (1, 'ANON')", "trim", "INSERT OR REPLACE INTO t VALUES (2, NULL)"],
    ),
    "entering a partial index": (
        ["CREATE TABLE t (k TEXT PRIMARY KEY NOT NULL, h, gone)", "CREATE UNIQUE INDEX u ON t (h) WHERE gone IS NULL"],
        [
            "INSERT INTO t VALUES ('a', 1, NULL), ('b', 1, 1)",
            "trim",
            "UPDATE OR REPLACE t SET gone = NULL WHERE k = 'b'",
        ],
    ),
    "a key of a NOCASE column changes its case": (
        ["CREATE TABLE t (k TEXT PRIMARY KEY NOT NULL COLLATE NOCASE, h)"],
        [
            "INSERT INTO t VALUES ('abc', 1)",
            "trim",
            "UPDATE t SET k = 'ABC'",
            "trim",
            "REPLACE INTO t VALUES ('abC', 1)",
        ],
    ),
    "a value of a NOCASE column changes its case": (
        ["CREATE TABLE t (k TEXT PRIMARY KEY NOT NULL, h TEXT COLLATE NOCASE)"],
        ["INSERT INTO t VALUES ('a', 'x')", "trim", "UPDATE t SET h = 'X'", "trim", "REPLACE INTO t VALUES ('a', 'x')"],
    ),
    "a value changes its type alone": (
        ["CREATE TABLE t (k TEXT PRIMARY KEY NOT NULL, h)"],
        ["INSERT INTO t VALUES ('a', 1)", "trim", "UPDATE t SET h = 1.0", "trim", "REPLACE INTO t VALUES ('a', 1)"],
    ),
    "a cascade of deletes and of key changes": (
        [
            "CREATE TABLE t (k TEXT PRIMARY KEY NOT NULL)",
            "CREATE TABLE u (k TEXT PRIMARY KEY NOT NULL REFERENCES t (k) ON UPDATE CASCADE ON DELETE CASCADE)",
            "CREATE TABLE v (k TEXT PRIMARY KEY NOT NULL REFERENCES u (k) ON UPDATE CASCADE ON DELETE CASCADE)",
            "PRAGMA foreign_keys = ON",
        ],
        [
            *(f"INSERT INTO {table} VALUES ('a'), ('b')" for table in "tuv"),
            "trim",
            "UPDATE t SET k = 'c' WHERE k = 'a'",
            "trim",
            "REPLACE INTO t VALUES ('b')",
            "DELETE FROM t",
        ],
    ),
    "an explicit rowid that is taken": (
        ["CREATE TABLE t (k TEXT PRIMARY KEY NOT NULL)"],
        ["INSERT INTO t VALUES ('a')", "trim", "INSERT OR REPLACE INTO t (rowid, k) VALUES (1, 'b')"],
    ),
    "DELETE without WHERE": (
        ["CREATE TABLE t (k INTEGER PRIMARY KEY, h)"],
        ["INSERT INTO t (h) VALUES (1), (2)", "trim", "DELETE FROM t"],
    ),
    "default written as a bare and as a double-quoted word": (
        ['CREATE TABLE t (k TEXT PRIMARY KEY NOT NULL, h NOT NULL DEFAULT anon UNIQUE, n NOT NULL DEFAULT "it\'s")'],
        ["INSERT INTO t VALUES ('a', 'anon', 1)", "trim", "INSERT OR REPLACE INTO t VALUES ('b', NULL, NULL)"],
    ),
    "names that must be quoted": (
        [
            'CREATE TABLE "or der" ("se""lect" TEXT PRIMARY KEY NOT NULL, "new" TEXT UNIQUE, "old")',
            'CREATE UNIQUE INDEX "u u" ON "or der" (lower("old"))',
        ],
        [
            "INSERT INTO \"or der\" VALUES ('a', 'x', 'Y')",
            "trim",
            "REPLACE INTO \"or der\" VALUES ('b', 'z', 'y')",
            'UPDATE "or der" SET "se""lect" = \'c\'',
        ],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_known_traps(case: str) -> None:
    schema, steps = CASES[case]
    with twins(schema) as both:
        for sql in steps:
            if sql == "trim":
                both.trim()
            else:
                both.run(sql)
        both.trim()


def test_rewriting_everything_logs_what_differs() -> None:
    with twins(["CREATE TABLE t (k TEXT PRIMARY KEY NOT NULL, h TEXT UNIQUE, n INTEGER, r REAL)"]) as both:
        both.run("INSERT INTO t VALUES ('a', 'x', 1, 0), ('b', 'y', NULL, 1.5), ('c', NULL, 2, NULL)")
        both.trim()
        both.run("INSERT OR REPLACE INTO t SELECT * FROM t")
        both.run("INSERT INTO t SELECT * FROM t WHERE 1 ON CONFLICT (k) DO UPDATE SET n = excluded.n")
        both.run("UPDATE t SET h = h")
        assert both.captured.execute("SELECT count(*) FROM _cutover_log").fetchone() == (0,)
        both.run("INSERT OR REPLACE INTO t SELECT k, h, coalesce(n, 3), r FROM t")
        assert both.captured.execute("SELECT k1 FROM _cutover_log").fetchall() == [("b",)]


def test_triggers_parse_with_a_strict_application() -> None:
    """better-sqlite3 and libSQL switch double-quoted strings off; nothing here may need them, nor trusted schema."""
    schema = ['CREATE TABLE t (k TEXT PRIMARY KEY NOT NULL, h TEXT DEFAULT "x" NOT NULL UNIQUE)']
    with twins(schema) as both:
        texts = [sql for (sql,) in both.captured.execute("SELECT sql FROM sqlite_master WHERE type = 'trigger'")]
        identifiers = {"k", "h", "t", "BINARY"}
        assert texts
        for text in texts:
            assert set(re.findall(r'"([^"]*)"', text)) <= identifiers
            assert set(re.findall(r"\b([a-z]+)\(", text)) <= {"typeof", "julianday", "coalesce"}


@settings(max_examples=200, deadline=None)
@given(
    schemas(),
    st.lists(st.one_of([statements()] * 12 + [CONTROL]), min_size=5, max_size=25),
    st.booleans(),
    st.booleans(),
)
def test_replaying_the_log_gives_the_table(
    schema: list[str], steps: list[tuple[str, tuple[object, ...]]], recursive: bool, foreign_keys: bool
) -> None:
    with twins(schema) as both:
        for connection in (both.captured, both.plain):
            # With a delete trigger, recursive triggers and a partial index SQLite finds conflicts that are none.
            partial = any("u_partial" in sql for sql in schema)
            connection.execute(f"PRAGMA recursive_triggers = {int(recursive and not partial)}")
            connection.execute(f"PRAGMA foreign_keys = {int(foreign_keys)}")
        both.run(BEGINNING)
        both.trim()
        for sql, parameters in steps:
            if sql != "trim":
                both.run(sql, parameters)
            elif not both.captured.in_transaction:
                both.trim()
        if both.captured.in_transaction:
            both.run("COMMIT")
        both.trim()
