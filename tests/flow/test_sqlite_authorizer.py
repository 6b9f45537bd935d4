"""Two walls around cutover's own tables and the file's settings: what the text tells, and what SQLite finds."""

import asyncio
import contextlib
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cutover.errors import StatementError
from cutover.model.statement import BatchOutcome, BatchResult, Statement, Step
from cutover.schema.pragmas import ALWAYS_OFF
from cutover.schema.sqltext import inspect, refusal
from cutover.stores.sqlite import connection as connecting
from cutover.stores.sqlite.authorizer import begin_application, end_application, guard
from cutover.stores.sqlite.declared import DeclaredTypes
from cutover.stores.sqlite.group import run_group
from cutover.stores.sqlite.limit import Limit
from cutover.stores.sqlite.running import _run, run_statement
from cutover.stores.sqlite.schemacopy import SchemaCopies
from tests.support.sqlite_world import PRIMARY, direct, make, served, take

SCHEMA = (
    "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT)",
    "CREATE TABLE kept (id INTEGER PRIMARY KEY, a TEXT)",
    "CREATE INDEX kept_a ON kept(a)",
    "CREATE VIRTUAL TABLE words USING fts5(a)",
    # What another process may have made, where no wall of ours is in its way:
    "CREATE TABLE bait (id INTEGER PRIMARY KEY)",
    "CREATE VIEW door AS SELECT 1 AS a",
)
LATER = (
    "CREATE TRIGGER bite AFTER INSERT ON bait BEGIN DELETE FROM _cutover_log; END",
    "CREATE TRIGGER bite_more AFTER UPDATE ON bait BEGIN INSERT INTO door VALUES (1); END",
    "CREATE TRIGGER way INSTEAD OF INSERT ON door BEGIN UPDATE _cutover_control SET rowid = rowid; END",
)


@pytest.fixture(scope="module")
def db(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sqlite3.Connection]:
    """A connection as applications' statements meet it, to a file that cutover is installed in."""
    path = str(tmp_path_factory.mktemp("authorizer") / "app.db")
    make(path, *SCHEMA)

    async def install() -> None:
        async with served(path, PRIMARY):
            pass

    asyncio.run(install())
    make(path, *LATER)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connecting._configure(connection, readonly=False)
        found = connection.execute("SELECT name FROM sqlite_master WHERE name LIKE '!_cutover!_capture!_%' ESCAPE '!'")
        TRIGGERS.extend(name for (name,) in found)
        yield connection


def state(db: sqlite3.Connection) -> list[Any]:
    """All that no application may change."""
    schema = db.execute("SELECT * FROM sqlite_master ORDER BY name").fetchall()
    own = [name for kind, name, *_ in schema if kind == "table" and name.startswith("_cutover_")]
    assert len(own) > 5
    return [
        schema,
        db.execute("SELECT * FROM sqlite_temp_master").fetchall(),
        db.execute("PRAGMA database_list").fetchall(),
        *(db.execute(f"PRAGMA {name}").fetchall() for name in SETTINGS),
        *(db.execute(f"SELECT rowid, * FROM {name} ORDER BY 1").fetchall() for name in own),
    ]


SETTINGS = (
    *("journal_mode", "synchronous", "writable_schema", "query_only", "locking_mode", "recursive_triggers"),
    *("temp_store", "secure_delete", "trusted_schema", "ignore_check_constraints", "wal_autocheckpoint", "mmap_size"),
    *("cell_size_check", "max_page_count", "legacy_alter_table", "reverse_unordered_selects", "cache_size"),
)
VALUES = ("0", "1", "off", "ON", "'delete'", "truncate", "+1", "-9", "NORMAL", "exclusive")
TRIGGERS = ["_cutover_witness"]
DIRECTORY = "/nonexistent-directory"

WRITING = (
    "INSERT INTO {own} DEFAULT VALUES",
    "INSERT OR REPLACE INTO {own} SELECT * FROM {own}",
    "REPLACE INTO {own} SELECT * FROM {own}",
    "INSERT INTO {own} SELECT * FROM {own} WHERE 1 ON CONFLICT DO NOTHING",
    "INSERT INTO {own} AS x SELECT * FROM {own} WHERE 1 ON CONFLICT DO UPDATE SET rowid = 1",
    "UPDATE {own} SET rowid = rowid",
    "UPDATE OR IGNORE {own} SET rowid = 7 WHERE 1 = 0",
    "UPDATE {own} SET rowid = 7 FROM t RETURNING *",
    "DELETE FROM {own}",
    "DELETE FROM {own} WHERE 0 RETURNING rowid",
    "WITH x AS (SELECT 1) DELETE FROM {own}",
    "WITH RECURSIVE x(a) AS (SELECT 1 UNION ALL SELECT a + 1 FROM x LIMIT 3) UPDATE {own} SET rowid = 9",
    "WITH x AS MATERIALIZED (SELECT * FROM {own}) INSERT INTO {own} SELECT * FROM x",
    "DROP TABLE {own}",
    "DROP TABLE IF EXISTS {own}",
    "ALTER TABLE {own} RENAME TO harmless",
    "ALTER TABLE {own} ADD COLUMN harmless",
    "CREATE INDEX harmless ON {bare}(rowid)",
    "CREATE TRIGGER harmless AFTER INSERT ON {bare} BEGIN SELECT 1; END",
    "CREATE TRIGGER {new} AFTER INSERT ON kept BEGIN DELETE FROM kept; END",
    "CREATE TABLE {new} (a)",
    "CREATE TABLE IF NOT EXISTS {new} AS SELECT * FROM t",
    "CREATE VIEW {new} AS SELECT 1",
    "CREATE VIRTUAL TABLE {new} USING fts5(a)",
    "DROP TRIGGER {trigger}",
    "DROP TRIGGER IF EXISTS {trigger}",
    "SAVEPOINT {new}",
)
FIRST_WALL_ONLY = (
    "ALTER TABLE kept RENAME TO {new}",
    "CREATE VIEW harmless AS SELECT * FROM {own}",
    "CREATE TRIGGER harmless AFTER INSERT ON t BEGIN DELETE FROM {bare}; END",
    "CREATE TRIGGER harmless INSTEAD OF INSERT ON door BEGIN DELETE FROM {bare}; END",
    "CREATE TABLE harmless (a REFERENCES {bare} ON DELETE CASCADE)",
)
"""Harmless as such. What the triggers would do is refused to whoever sets them off, by the second wall."""
FILES = (
    "ATTACH ':memory:' AS x",
    "ATTACH DATABASE 'file:x?mode=memory' AS x",
    "ATTACH ('' || ':memory:') AS main2",
    "DETACH main",
    "DETACH DATABASE temp",
    "VACUUM",
    "VACUUM main",
    f"VACUUM INTO '{DIRECTORY}/copy'",
    f"VACUUM main INTO ('{DIRECTORY}' || '/copy')",
    "SELECT load_extension('x')",
    "SELECT LOAD_EXTENSION('x', 'y') FROM kept",
    "SELECT max(1, (SELECT \"load_extension\"('x')))",
    "INSERT INTO kept SELECT 1, load_extension('x')",
    "CREATE TEMP TABLE x (a)",
    "CREATE TEMPORARY VIEW x AS SELECT 1",
    "CREATE TEMP TRIGGER x AFTER INSERT ON kept BEGIN SELECT 1; END",
    "CREATE TABLE temp.x (a)",
    'CREATE TABLE "temp".x AS SELECT 1',
    "CREATE VIEW [temp].x AS SELECT 1",
    "CREATE TRIGGER `temp`.x AFTER INSERT ON kept BEGIN SELECT 1; END",
    "INSERT INTO bait DEFAULT VALUES",
    "INSERT INTO door VALUES (1)",
    "WITH x AS (SELECT 1) INSERT INTO door SELECT * FROM x",
)
HARMLESS = (
    "EXPLAIN DELETE FROM {own}",
    "EXPLAIN QUERY PLAN UPDATE {own} SET rowid = rowid",
    "SELECT count(*) FROM {own}",
    "SELECT * FROM pragma_journal_mode",
    "SELECT * FROM pragma_table_info('{bare}'), pragma_database_list",
    "SELECT * FROM t, pragma_index_list(t.a)",
    "PRAGMA journal_mode",
    "PRAGMA main.table_info({bare})",
)
"""May run, or may not; nothing is changed by it."""

blanks = st.sampled_from((" ", "\t", "\n", "\r\n", "/**/", "/* ' */ ", "-- x\n", " \f"))
tables = st.sampled_from(("_cutover_control", "_cutover_log", "_cutover_schema", "_cutover_quarantine"))
triggers = st.deferred(lambda: st.sampled_from(TRIGGERS))


@st.composite
def spelled(draw: st.DrawFn, name: str) -> str:
    """A name in capitals here and there, in any of SQLite's quotes."""
    upper = draw(st.lists(st.booleans(), min_size=len(name), max_size=len(name)))
    name = "".join(letter.upper() if up else letter for letter, up in zip(name, upper, strict=True))
    return draw(st.sampled_from(("{}", '"{}"', "[{}]", "`{}`", "'{}'"))).format(name)


@st.composite
def filled(draw: st.DrawFn, templates: tuple[str, ...]) -> str:
    bare = draw(tables.flatmap(spelled))
    schema = draw(st.sampled_from(("", "main.", '"main".', "[MAIN] . ", "main/**/.")))
    text = draw(st.sampled_from(templates)).format(
        own=schema + bare,
        bare=bare,
        new=draw(spelled("_cutover_new")),
        trigger=schema + draw(triggers.flatmap(spelled)),
    )
    words = text.split(" ")
    joined = words[0] + "".join(draw(blanks) + word for word in words[1:])
    return draw(st.sampled_from(("", " ", "/* */", "\ufeff"))) + joined + draw(st.sampled_from(("", ";", " ; -- x")))


@st.composite
def pragmas(draw: st.DrawFn) -> str:
    name = draw(spelled(draw(st.sampled_from((*SETTINGS, "wal_checkpoint", "incremental_vacuum", "schema_version")))))
    values = ("1", "ON", "+1", "9") if name.strip("\"[]`'").lower() in ALWAYS_OFF else VALUES
    value = draw(st.sampled_from(values))
    schema = draw(st.sampled_from(("", "main.", '"main" . ', "temp.", "[main]/* */.")))
    return draw(st.sampled_from(("PRAGMA {0}{1}={2}", "pragma {0}{1} ( {2} )", "PRAGMA/**/{0}{1} = {2};"))).format(
        schema, name, value
    )


def refused(db: sqlite3.Connection, sql: str) -> str:
    with pytest.raises(StatementError) as caught:
        run_statement(db, Statement(sql))
    return caught.value.code


def refused_by_sqlite(db: sqlite3.Connection, sql: str) -> str:
    """Without the first wall."""
    with pytest.raises(StatementError) as caught:
        _run(db, sql, inspect(sql), (), True, None)
    return caught.value.code


@settings(max_examples=250)
@given(sql=filled(WRITING + FIRST_WALL_ONLY + FILES) | pragmas())
def test_nothing_gets_past_both_walls(db: sqlite3.Connection, sql: str) -> None:
    before = state(db)
    refused(db, sql)
    assert not db.in_transaction
    assert state(db) == before


@settings(max_examples=250)
@given(sql=filled(WRITING + FILES) | pragmas())
def test_the_second_wall_stands_alone(db: sqlite3.Connection, sql: str) -> None:
    before = state(db)
    refused_by_sqlite(db, sql)
    assert state(db) == before


@settings(max_examples=100)
@given(sql=filled(HARMLESS))
def test_what_only_looks_changes_nothing(db: sqlite3.Connection, sql: str) -> None:
    before = state(db)
    with contextlib.suppress(StatementError):
        run_statement(db, Statement(sql))
    assert state(db) == before


def test_what_is_so_in_any_case_may_be_set(db: sqlite3.Connection) -> None:
    before = state(db)
    for sql in (
        *(f"PRAGMA {name} = OFF" for name in ALWAYS_OFF),
        "PRAGMA main.read_uncommitted(0)",
        "PRAGMA read_uncommitted = 1",
    ):
        assert run_statement(db, Statement(sql)).rows == [], sql
    assert run_statement(db, Statement("PRAGMA journal_mode = wal")).rows == [("wal",)]
    assert db.execute("PRAGMA read_uncommitted").fetchone() == (0,)  # a stream remembers it, others have the connection
    assert state(db) == before


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        ("INSERT INTO bait DEFAULT VALUES", "_cutover_log cannot be written by applications."),
        ("INSERT INTO door VALUES (1)", "_cutover_control cannot be written by applications."),
        ("SELECT load_extension('x')", "load_extension() is not available through cutover."),
        ("ATTACH 'x' AS x", "ATTACH is not available through cutover."),
        ("VACUUM INTO 'x'", "VACUUM is not available through cutover."),
        ("PRAGMA journal_mode = DELETE", "PRAGMA journal_mode cannot be set through cutover."),
        ("PRAGMA writable_schema = 1", "PRAGMA writable_schema cannot be set through cutover."),
    ],
)
def test_a_refusal_says_why(db: sqlite3.Connection, sql: str, reason: str) -> None:
    with pytest.raises(StatementError) as caught:
        run_statement(db, Statement(sql))
    assert (caught.value.code, caught.value.message) == ("SQLITE_AUTH", reason)
    assert run_statement(db, Statement("SELECT 1")).rows == [(1,)]


def group(db: sqlite3.Connection, texts: tuple[str, ...]) -> list[list[BatchOutcome]]:
    clients = [[[Step(Statement(sql))]] for sql in texts]
    return run_group(db, clients, Limit(0), DeclaredTypes(SchemaCopies()))


def test_what_applications_do_all_day_is_not_in_the_way(tmp_path: Path) -> None:
    path = str(tmp_path / "app.db")
    make(path, *SCHEMA)

    async def day() -> None:
        async with served(path, PRIMARY) as (store, _):
            outcomes = await store.write(partial(group, texts=DAY))
            errors = [outcome.errors[0] if isinstance(outcome, BatchResult) else outcome for [outcome] in outcomes]
            assert errors == [None] * len(DAY)
            assert (await store.lag())[0] == 2

    asyncio.run(day())
    with direct(path) as db:
        assert db.execute("SELECT a FROM t").fetchall() == [("y",)]
        assert db.execute("SELECT count(*) FROM sqlite_master WHERE name = 'kept'").fetchone() == (0,)
        assert db.execute("SELECT a FROM words WHERE words MATCH 'one'").fetchall() == [("one two",)]


DAY = (
    "INSERT INTO t VALUES (1, 'x') RETURNING id",
    "INSERT INTO t VALUES (1, 'z') ON CONFLICT DO UPDATE SET a = 'y'",
    "INSERT INTO words VALUES ('one two')",
    "INSERT INTO words(words) VALUES ('optimize')",
    "ALTER TABLE t ADD COLUMN more DEFAULT 5",
    "ALTER TABLE t RENAME COLUMN more TO most",
    "ALTER TABLE t DROP COLUMN most",
    "DROP TABLE kept",  # with the capture triggers on it
    "CREATE TABLE again (id INTEGER PRIMARY KEY)",
    "ALTER TABLE again RENAME TO anew",
    "CREATE INDEX t_a ON t(a)",
    "REINDEX t",
    "REINDEX",
    "ANALYZE",
    "PRAGMA user_version = 7",
)


async def test_no_text_of_cutovers_own_is_a_way_through(sqlite_path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A text that a connection keeps prepared is not asked about again: the first wall has to know all of those."""
    make(sqlite_path, *SCHEMA)
    texts: set[str] = set()
    plain = sqlite3.connect

    class Recording(sqlite3.Connection):
        def execute(self, sql: str, *args: Any) -> sqlite3.Cursor:
            texts.add(sql)
            return super().execute(sql, *args)

    monkeypatch.setattr(sqlite3, "connect", lambda *args, **kwargs: plain(*args, **kwargs, factory=Recording))
    async with served(sqlite_path, PRIMARY) as (store, found):
        await store.write(partial(group, texts=DAY[:1]))
        await take(store, found["t"], 1)
        await store.anchor(1, "x")
        await store.take_over(2)
        control = await store.control()
        assert control is not None
        await store.fence(control.but(epoch=1), 1.0)
        await store.release(control)
        await store.validate()
        await store.probe()
    monkeypatch.undo()
    with closing(plain(sqlite_path, isolation_level=None)) as db:
        guard(db)
        beyond = []
        for sql in texts:
            begin_application()
            try:
                db.execute(f"EXPLAIN {sql}", (None,) * len(inspect(sql).params))
            except sqlite3.Error as error:
                if "not authorized" in str(error):
                    beyond.append(sql)
            finally:
                end_application()
    assert len(beyond) > 10
    assert [sql for sql in beyond if refusal(inspect(sql)) is None] == []
