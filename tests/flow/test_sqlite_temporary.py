"""Temporary tables with SQLite as primary: they are one stream's, and leave nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import aiosqlite
import pytest
import pytest_asyncio

from cutover.errors import StatementError
from cutover.metrics import Metrics
from cutover.model.statement import Not, Ok, Statement, Step
from cutover.stores.sqlite.executor import SqliteExecutor
from cutover.stores.sqlite.session import SqliteSession
from cutover.stores.sqlite.store import SqliteStore

CHANGE_COLUMN = (
    "BEGIN IMMEDIATE",
    'CREATE TEMPORARY TABLE "aproducts" ("id" integer PRIMARY KEY AUTOINCREMENT NOT NULL, "price" integer)',
    'INSERT INTO "aproducts" ("id","price") SELECT "id","price" FROM "products"',
    'DROP TABLE "products"',
    'CREATE TABLE "products" ("id" integer PRIMARY KEY AUTOINCREMENT NOT NULL, "price" real)',
    'INSERT INTO "products" ("id","price") SELECT "id","price" FROM "aproducts"',
    'DROP TABLE "aproducts"',
    "COMMIT",
)
"""What ActiveRecord sends for change_column."""


@pytest_asyncio.fixture
async def executor(tmp_path: Path) -> AsyncIterator[SqliteExecutor]:
    path = str(tmp_path / "app.db")
    async with aiosqlite.connect(path) as db:
        await db.executescript("""
            CREATE TABLE products(id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, price INTEGER);
            INSERT INTO products VALUES (1, 10), (7, 20);
        """)
    store = SqliteStore(path, owner_lock=tmp_path / "owner.lock")
    await store.open()
    made = SqliteExecutor(store, Metrics("test"), transaction_timeout=60)
    yield made
    await made.close()
    await store.close()


@pytest_asyncio.fixture
async def session(executor: SqliteExecutor) -> AsyncIterator[SqliteSession]:
    made = executor.session()
    yield made
    await made.close()


async def rows(session: SqliteSession, sql: str) -> list[tuple[object, ...]]:
    return list((await session.execute(Statement(sql))).rows)


async def run(session: SqliteSession, *statements: str) -> None:
    for sql in statements:
        await session.execute(Statement(sql))


async def test_a_table_is_made_anew_through_a_temporary_one(session: SqliteSession) -> None:
    await run(session, *CHANGE_COLUMN)
    assert await rows(session, "SELECT * FROM products ORDER BY id") == [(1, 10.0), (7, 20.0)]
    # The list of keys that SQLite keeps for temporary tables would hide the file's.
    assert await rows(session, "SELECT * FROM sqlite_sequence") == [("products", 7)]


async def test_what_is_done_to_them_is_seen_by_their_transaction_alone(
    executor: SqliteExecutor, session: SqliteSession
) -> None:
    await run(
        session, "BEGIN", "CREATE TEMP TABLE t(a INTEGER, b TEXT)", "INSERT INTO temp.t VALUES (1, 'x'), (2, 'y')"
    )
    found = await session.execute(Statement("SELECT b FROM t WHERE a = 2"))
    assert (found.rows, found.columns[0].decltype) == ([("y",)], "TEXT")
    assert (await session.describe("SELECT a FROM t")).columns[0].decltype == "INTEGER"
    await run(session, "CREATE INDEX t_a ON t(a)", "ALTER TABLE t ADD COLUMN c", "ALTER TABLE t RENAME TO u")
    assert await rows(session, "SELECT name FROM sqlite_master WHERE name IN ('t', 'u', 't_a')") == []
    assert await rows(session, "SELECT name FROM sqlite_temp_master WHERE name IN ('t', 'u')") == [("u",)]
    assert await rows(session, "SELECT name FROM pragma_table_info('u')") == [("a",), ("b",), ("c",)]
    other = executor.session()
    with pytest.raises(StatementError, match="no such table: u"):
        await rows(other, "SELECT * FROM u")
    await other.close()
    await run(session, "CREATE TEMPORARY TABLE v AS SELECT a * 2 AS d FROM u", "DROP TABLE temp.u")
    assert await rows(session, "SELECT d FROM v") == [(2,), (4,)]
    await run(session, "DROP TABLE v", "COMMIT")


@pytest.mark.parametrize("undone", ["ROLLBACK", "ROLLBACK TO s"])
async def test_they_are_undone_with_what_made_them(session: SqliteSession, undone: str) -> None:
    await run(session, "BEGIN", "SAVEPOINT s", "CREATE TEMP TABLE t(a)", "INSERT INTO t VALUES (1)", undone)
    with pytest.raises(StatementError, match="no such table: t"):
        await rows(session, "SELECT * FROM t")
    if session.in_transaction:
        await run(session, "COMMIT")


async def test_nobody_meets_one_of_a_stream_that_went(executor: SqliteExecutor) -> None:
    gone = executor.session()
    await run(gone, "BEGIN", "CREATE TEMP TABLE t(a)")
    await gone.close()
    for _ in range(3):
        session = executor.session()
        await run(session, "BEGIN")
        with pytest.raises(StatementError, match="no such table: t"):
            await rows(session, "SELECT * FROM t")
        await session.close()


STATEMENT_BY_STATEMENT = (
    "CREATE TEMPORARY TABLE __temp__products AS SELECT id, price FROM products",
    "DROP TABLE products",
    "CREATE TABLE products (id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, price REAL)",
    "INSERT INTO products (id, price) SELECT id, price FROM __temp__products",
    "DROP TABLE __temp__products",
)
"""What Doctrine sends to change a column, each outside of a transaction."""


async def test_they_last_as_long_as_their_stream(executor: SqliteExecutor, session: SqliteSession) -> None:
    await run(session, *STATEMENT_BY_STATEMENT[:2])
    assert session.keeping
    other = executor.session()
    with pytest.raises(StatementError, match="no such table: __temp__products"):
        await rows(other, "SELECT * FROM __temp__products")
    await run(other, "CREATE TABLE beside(a)", "INSERT INTO beside VALUES (1)")
    await other.close()
    await run(session, *STATEMENT_BY_STATEMENT[2:])
    assert not session.keeping
    assert await rows(session, "SELECT id, price, typeof(price) FROM products ORDER BY id") == [
        (1, 10.0, "real"),
        (7, 20.0, "real"),
    ]
    assert await rows(session, "SELECT * FROM sqlite_sequence WHERE name = 'products'") == [("products", 7)]


async def test_what_is_done_to_them_outside_of_a_transaction(session: SqliteSession) -> None:
    await run(session, "CREATE TEMP TABLE t(a INTEGER PRIMARY KEY, b TEXT)", "INSERT INTO t(b) VALUES ('x'), ('y')")
    await run(session, "UPDATE t SET b = b || a", "DELETE FROM temp.t WHERE a = 1", "CREATE INDEX t_b ON t(b)")
    found = await session.execute(Statement("SELECT t.b, p.id FROM t, products AS p ORDER BY p.id"))
    assert (found.rows, found.columns[0].decltype) == ([("y2", 1), ("y2", 7)], "TEXT")
    assert (await session.describe("SELECT a FROM t")).columns[0].decltype == "INTEGER"
    await run(session, "BEGIN", "INSERT INTO t(b) VALUES ('z')", "ROLLBACK")
    assert await rows(session, "SELECT count(*) FROM t") == [(1,)]
    await run(session, "BEGIN", "CREATE TEMP TABLE u(a)", "COMMIT")
    assert await rows(session, "SELECT count(*) FROM u") == [(0,)]
    for sql in ("CREATE TABLE T(b)", "ALTER TABLE products RENAME TO t", "CREATE TEMP TABLE Products(a)"):
        with pytest.raises(StatementError, match="cannot have the name of another"):
            await run(session, sql)
    assert not session.in_transaction
    assert await rows(session, "SELECT count(*) FROM main.products") == [(2,)]


async def test_a_deferred_key_that_fails_undoes_the_drop_beside_them(session: SqliteSession) -> None:
    await run(session, "CREATE TABLE child(a REFERENCES products(id) DEFERRABLE INITIALLY DEFERRED)")
    await run(session, "INSERT INTO child VALUES (1)", "CREATE TEMP TABLE t(a)")
    with pytest.raises(StatementError) as failed:
        await run(session, "DROP TABLE products")
    assert (failed.value.code, session.in_transaction) == ("SQLITE_CONSTRAINT", False)
    assert await rows(session, "SELECT count(*) FROM products") == [(2,)]


async def test_a_switch_takes_them_away_and_says_so_once(session: SqliteSession) -> None:
    await run(session, "PRAGMA foreign_keys = OFF", "CREATE TEMP TABLE t(a)")
    await session.expel()
    assert not session.keeping
    with pytest.raises(StatementError, match="temporary tables went with a switch") as told:
        await rows(session, "SELECT 1")
    assert told.value.code == "SQLITE_BUSY"
    with pytest.raises(StatementError, match="no such table: t"):
        await rows(session, "SELECT * FROM t")
    assert await rows(session, "PRAGMA foreign_keys") == [(0,)]


async def test_a_whole_transaction_in_one_batch(executor: SqliteExecutor) -> None:
    steps = [Step(Statement(sql), Ok(at - 1) if at else None) for at, sql in enumerate(CHANGE_COLUMN)]
    found = await executor.run([*steps, Step(Statement("ROLLBACK"), Not(Ok(len(steps) - 1)))])
    assert [error for error in found.errors if error is not None] == []
    found = await executor.run([Step(Statement("SELECT typeof(price) FROM products"))])
    assert found.results[0] is not None
    assert found.results[0].rows == [("real",), ("real",)]


@pytest.mark.parametrize(
    "statements",
    [
        ("CREATE TEMP TABLE Products(a)",),
        ("CREATE TEMP TABLE t(a)", "CREATE TABLE T(b)"),
        ("CREATE TEMP TABLE t(a)", "ALTER TABLE products RENAME TO t"),
    ],
)
async def test_a_name_stands_for_one_table(session: SqliteSession, statements: tuple[str, ...]) -> None:
    await run(session, "BEGIN", *statements[:-1])
    with pytest.raises(StatementError, match="cannot have the name of another"):
        await run(session, statements[-1])
    assert await rows(session, "SELECT price FROM main.products ORDER BY id") == [(10,), (20,)]
    await run(session, "ROLLBACK")


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TEMP VIEW v AS SELECT 1",
        "CREATE VIEW temp.v AS SELECT 1",
        "CREATE TEMP TRIGGER r AFTER INSERT ON products BEGIN SELECT 1; END",
        "CREATE TEMP TABLE _cutover_t(a)",
        "DROP TABLE temp._cutover_past",
    ],
)
async def test_what_is_not_an_application_s_table_stays_refused(session: SqliteSession, sql: str) -> None:
    await run(session, "BEGIN", "CREATE TEMP TABLE t(a)")
    with pytest.raises(StatementError) as refused:
        await run(session, sql)
    assert refused.value.code == "SQLITE_AUTH"


async def test_statements_about_them_can_be_described(session: SqliteSession) -> None:
    await session.describe("CREATE TEMP TABLE t(a)")  # drivers prepare what they run
    await run(session, "BEGIN", "CREATE TEMP TABLE t(a)")
    for sql in ("CREATE TABLE temp.u(a)", "CREATE INDEX i ON t(a)", "ALTER TABLE t ADD COLUMN b", "DROP TABLE t"):
        assert not (await session.describe(sql)).is_readonly
    assert await rows(session, "SELECT * FROM t") == []
    with pytest.raises(StatementError) as refused:
        await session.describe("CREATE TEMP VIEW v AS SELECT 1")
    assert refused.value.code == "SQLITE_AUTH"


async def test_counters_of_cutover_s_own_tables_are_kept_behind_the_temporary_list(
    executor: SqliteExecutor, session: SqliteSession
) -> None:
    counters = "SELECT name, seq FROM main.sqlite_sequence WHERE name = '_cutover_test'"
    await executor._store.write(
        lambda db: db.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('_cutover_test', 7)")
    )
    await run(session, "BEGIN", "CREATE TEMP TABLE t(a INTEGER PRIMARY KEY AUTOINCREMENT)", "INSERT INTO t VALUES (9)")
    await run(session, "DELETE FROM main.sqlite_sequence", "DROP TABLE t", "COMMIT")
    assert await executor._store.read(lambda db: db.execute(counters).fetchall()) == [("_cutover_test", 7)]


async def test_they_go_with_a_transaction_that_is_taken_away_or_ends_itself(session: SqliteSession) -> None:
    await run(session, "BEGIN", "CREATE TEMP TABLE t(a)", "INSERT INTO products(price) VALUES (5)")
    await session.expel()
    with pytest.raises(StatementError) as told:
        await rows(session, "SELECT * FROM t")
    assert told.value.code == "SQLITE_BUSY"
    await run(
        session, "PRAGMA foreign_keys = OFF", "BEGIN", "CREATE TEMP TABLE t(a UNIQUE)", "INSERT INTO t VALUES (1)"
    )
    with pytest.raises(StatementError, match="UNIQUE"):
        await run(session, "INSERT OR ROLLBACK INTO t VALUES (1)")
    with pytest.raises(StatementError, match="no such table: t"):
        await rows(session, "SELECT * FROM t")
    await run(session, *CHANGE_COLUMN)
    assert await rows(session, "SELECT price FROM products ORDER BY id") == [(10.0,), (20.0,)]
