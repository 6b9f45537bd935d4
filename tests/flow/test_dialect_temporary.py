"""Temporary tables with Postgres as primary: what SQLite answers, on one stream, and nothing left of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from cutover.dialect.aside import MOST, Aside
from cutover.errors import StatementError
from cutover.model.statement import Not, Ok, Statement, Step
from tests.flow.dialect_world import World, world
from tests.flow.test_sqlite_temporary import CHANGE_COLUMN, STATEMENT_BY_STATEMENT

ASIDE = r"""
SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname LIKE 'cutover\_temporary\_%'"""
SCHEMA = """
CREATE TABLE products(id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, price INTEGER);
CREATE TABLE names(name TEXT PRIMARY KEY NOT NULL, price REAL);
"""


@pytest_asyncio.fixture
async def both(postgres_url: str) -> AsyncIterator[World]:
    rows = ["INSERT INTO products VALUES (1, 10), (7, 20)", "INSERT INTO names VALUES ('a', 1.5), ('b', 2)"]
    async with world(postgres_url, SCHEMA, data=rows, store=True) as made:
        yield made


async def tables(both: World) -> set[str]:
    async with both.pool.acquire() as connection:
        rows = await connection.fetch(
            "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
        )
    return {row[0] for row in rows}


async def wanted(both: World) -> list[str]:
    async with both.pool.acquire() as connection:
        if await connection.fetchval("SELECT to_regclass('cutover.wanted') IS NULL"):
            return []
        return [row[0] for row in await connection.fetch("SELECT name FROM cutover.wanted")]


async def test_a_table_is_made_anew_through_a_temporary_one(both: World) -> None:
    for sql in CHANGE_COLUMN:
        await both.same(sql)
    await both.same("SELECT id, price, typeof(price) FROM products ORDER BY id")
    await both.same("INSERT INTO products(price) VALUES (3) RETURNING id")
    assert await tables(both) == {"products", "names"}
    assert await wanted(both) == ["products"]


async def test_what_is_done_to_them_is_as_on_sqlite(both: World) -> None:
    for sql in (
        "BEGIN",
        "CREATE TEMP TABLE t(a INTEGER PRIMARY KEY, b TEXT COLLATE NOCASE UNIQUE, c REAL DEFAULT 2 CHECK (c > 1))",
        "INSERT INTO temp.t(b) VALUES ('x'), ('Y')",
        "INSERT INTO t(b) VALUES ('X') ON CONFLICT(b) DO UPDATE SET c = 9 RETURNING a, b, c",
        "UPDATE temp.t SET c = c + 1 WHERE b = 'y'",
        "SELECT p.id, t.* FROM products AS p JOIN temp.t AS t ON t.a = p.id OR t.b = 'y' ORDER BY p.id, t.a",
        "SELECT name FROM sqlite_master ORDER BY name",
        "SELECT type, name, tbl_name, sql FROM sqlite_temp_master",
        "PRAGMA table_info(t)",
        "PRAGMA temp.table_info(t)",
        "PRAGMA index_list(t)",
        "CREATE INDEX t_c ON t(c)",
        "CREATE INDEX temp.t_ca ON t(c, a)",
        "DROP INDEX t_c",
        "ALTER TABLE t ADD COLUMN d INTEGER NOT NULL DEFAULT 4",
        "ALTER TABLE temp.t RENAME COLUMN d TO e",
        "ALTER TABLE t RENAME TO u",
        "SELECT * FROM u ORDER BY a",
        "SELECT temp.u.e FROM temp.u",
        "CREATE TEMPORARY TABLE IF NOT EXISTS u (z)",
        "CREATE TABLE temp.v AS SELECT a, b || e AS f FROM u",
        "SELECT f, a FROM v ORDER BY a",
        "CREATE TEMP TABLE w AS SELECT f || '!' AS f, a FROM v WHERE a > 1",
        "SELECT f, a FROM w ORDER BY a",
        "CREATE TEMPORARY TABLE IF NOT EXISTS w2 AS WITH x(n) AS (VALUES (1), (2)) SELECT n FROM x",
        "SELECT n, typeof(n) FROM w2 ORDER BY n",
        "DROP TABLE w",
        "DROP TABLE w2",
        "INSERT INTO names SELECT f, a FROM v",
        "DELETE FROM temp.v WHERE a = 1",
        "SELECT count(*) FROM v",
        "CREATE TEMP TABLE loose (a, b DATETIME)",
        "INSERT INTO loose VALUES (1, 'x'), ('y', 2), (x'00', 2.5), (NULL, NULL)",
        "SELECT rowid, a, typeof(a), b, typeof(b) FROM loose ORDER BY rowid",
        "SELECT name FROM sqlite_temp_master WHERE type = 'table' ORDER BY name",
        "DROP TABLE loose",
        "DROP TABLE IF EXISTS temp.u",
        "DROP TABLE IF EXISTS temp.gone",
        "DROP TABLE IF EXISTS v",
        "SELECT count(*) FROM sqlite_temp_master",
        "COMMIT",
        "SELECT * FROM names ORDER BY name",
    ):
        await both.same(sql)
    assert await tables(both) == {"products", "names"}
    assert await wanted(both) == []


async def test_what_fails_fails_alike(both: World) -> None:
    await both.same("BEGIN")
    await both.same("CREATE TEMP TABLE t(a INTEGER PRIMARY KEY, b TEXT NOT NULL UNIQUE CHECK (b <> 'z'))")
    await both.same("INSERT INTO t VALUES (1, 'x')")
    for sql in (
        "INSERT INTO t VALUES (1, 'y')",
        "INSERT INTO t VALUES (2, 'x')",
        "INSERT INTO t VALUES (3, NULL)",
        "CREATE TEMP TABLE t(a)",
        "CREATE TABLE temp.T(a)",
        "CREATE TEMP TABLE main.x(a)",
        "SELECT * FROM main.t",
        "SELECT c FROM t",
        "DROP TABLE main.t",
        "DROP TABLE temp.products",
        "INSERT INTO temp.products VALUES (1, 2)",
    ):
        await both.same_error(sql)
    await both.same("SELECT * FROM t")
    await both.same("ROLLBACK")
    await both.same_error("SELECT * FROM t")


@pytest.mark.parametrize("undone", ["ROLLBACK", "ROLLBACK TO s"])
async def test_they_are_undone_with_what_made_them(both: World, undone: str) -> None:
    for sql in ("BEGIN", "SAVEPOINT s", "CREATE TEMP TABLE t(a)", "INSERT INTO t VALUES (1)", undone):
        await both.same(sql)
    await both.same_error("SELECT * FROM t")
    if both.db.in_transaction:
        await both.same("COMMIT")
    assert await tables(both) == {"products", "names"}


async def test_a_table_is_made_anew_statement_by_statement(both: World) -> None:
    for sql in STATEMENT_BY_STATEMENT:
        await both.same(sql)
    await both.same("SELECT id, price, typeof(price) FROM products ORDER BY id")
    await both.same("INSERT INTO products(price) VALUES (3) RETURNING id")
    assert await tables(both) == {"products", "names"}
    assert not both.session.keeping


async def test_they_last_as_long_as_their_stream(both: World) -> None:
    other = both.executor.session()
    for sql in (
        "CREATE TEMP TABLE t(a INTEGER PRIMARY KEY, b TEXT COLLATE NOCASE UNIQUE, c)",
        "INSERT INTO t(b) VALUES ('x'), ('Y')",
        "CREATE INDEX t_c ON t(c)",
        "INSERT INTO t(b, c) SELECT name, price FROM names",
        "SELECT a, b, c, typeof(c) FROM t ORDER BY a",
        "UPDATE temp.t SET c = 'z' || b WHERE a < 3",
        "SELECT t.a, t.c, p.id FROM t JOIN products AS p ON p.id = t.a ORDER BY t.a",
        "INSERT INTO t(b) VALUES ('X') ON CONFLICT(b) DO UPDATE SET c = 9 RETURNING a, b, c",
        "BEGIN",
        "DELETE FROM t WHERE a = 1",
        "CREATE TEMP TABLE u AS SELECT * FROM t",
        "ROLLBACK",
        "SELECT a, b, c FROM t ORDER BY a",
        "BEGIN",
        "CREATE TEMP TABLE u AS SELECT a, b FROM t WHERE a > 1",
        "INSERT INTO products(price) SELECT a FROM u",
        "COMMIT",
        "SELECT name FROM sqlite_temp_master WHERE type = 'table' ORDER BY name",
        "CREATE TABLE beside(a INTEGER PRIMARY KEY, b)",
        "INSERT INTO beside SELECT * FROM u",
        "SELECT * FROM beside ORDER BY a",
        "DROP TABLE t",
        "ALTER TABLE u ADD COLUMN d DEFAULT 4",
        "SELECT rowid, * FROM u ORDER BY rowid",
        "DROP TABLE IF EXISTS u",
        "DROP TABLE IF EXISTS u",
        "SELECT id, price FROM products ORDER BY id",
    ):
        await both.same(sql)
        with pytest.raises(StatementError, match="no such table"):
            await other.execute(Statement("SELECT * FROM t, u"))
        assert not {"t", "u"} & await tables(both)
    assert not both.session.keeping
    await other.close()


async def test_two_streams_have_one_of_the_same_name(both: World) -> None:
    other = both.executor.session()
    for session, value in ((both.session, 1), (other, 2)):
        await session.execute(Statement("CREATE TEMP TABLE t(a INTEGER PRIMARY KEY)"))
        await session.execute(Statement(f"INSERT INTO t VALUES ({value})"))
    assert (await both.on_postgres("SELECT a FROM t")).rows == [(1,)]
    assert (await other.execute(Statement("SELECT a FROM t"))).rows == [(2,)]
    await other.execute(Statement("CREATE TABLE made(a)"))
    assert (await both.on_postgres("SELECT count(*) FROM made, t")).rows == [(0,)]
    await other.close()
    await both.session.close()
    async with both.pool.acquire() as connection:
        assert await connection.fetchval(ASIDE) == 0


async def test_streams_with_tables_and_indexes_of_the_same_names_do_not_wait_for_each_other(both: World) -> None:
    other = both.executor.session()
    for session in (both.session, other):
        await session.execute(Statement("BEGIN"))
        await session.execute(Statement("CREATE TEMP TABLE t(a INTEGER PRIMARY KEY, b)"))
        await session.execute(Statement("CREATE INDEX i ON t(b)"))
        await session.execute(Statement("COMMIT"))
    third = both.executor.session()
    await third.execute(Statement("CREATE TABLE t_pkey(a)"))
    await both.on_postgres("BEGIN")
    assert (await both.on_postgres("SELECT count(*) FROM t")).rows == [(0,)]
    async with asyncio.timeout(60):
        assert (await other.execute(Statement("INSERT INTO t VALUES (1, 2) RETURNING a"))).rows == [(1,)]
        await third.execute(Statement("CREATE TEMP TABLE t(a)"))
    await both.on_postgres("COMMIT")
    await third.execute(Statement("CREATE INDEX i ON products(price)"))
    with pytest.raises(StatementError, match="cannot have the name of another"):  # nor mean the other stream's
        await other.execute(Statement("DROP INDEX i"))
    await third.execute(Statement("DROP INDEX i"))
    await other.execute(Statement("DROP INDEX i"))
    await third.close()
    await other.close()


@pytest.mark.parametrize("text", ["BEGIN", "SELECT 1"])
async def test_one_takes_no_table_of_its_name_on_postgres(both: World, text: str) -> None:
    async with both.pool.acquire() as connection:
        await connection.execute("CREATE TABLE t(a bigint PRIMARY KEY, b text); INSERT INTO t VALUES (5, 'theirs')")
        await connection.execute("CREATE VIEW v AS SELECT 1 AS a")
    for sql in (text, "CREATE TEMP TABLE t(a INTEGER PRIMARY KEY, b TEXT)", "CREATE TEMP TABLE V(a)"):
        await both.on_postgres(sql)
    await both.on_postgres("ALTER TABLE v RENAME TO t2")
    await both.on_postgres("ALTER TABLE t RENAME TO v")
    await both.on_postgres("ALTER TABLE v RENAME TO t")
    assert (await both.on_postgres("SELECT * FROM t, t2")).rows == []
    await both.on_postgres("INSERT INTO t VALUES (9, 'own')")
    if text == "BEGIN":
        await both.on_postgres("COMMIT")
    assert (await both.on_postgres("SELECT * FROM t")).rows == [(9, "own")]
    await both.session.close()
    async with both.pool.acquire() as connection:
        assert await connection.fetch("SELECT * FROM public.t") == [(5, "theirs")]
        assert await connection.fetchval("SELECT a FROM v") == 1


async def test_reading_one_ends_the_pragma_as_reading_any_table(both: World) -> None:
    for sql in ("CREATE TABLE child(a INTEGER REFERENCES products(id))", "CREATE TEMP TABLE t(a)"):
        await both.same(sql)
    for sql, ends in (("SELECT 1", False), ("SELECT * FROM t", True), ("SELECT * FROM names ORDER BY name", True)):
        for each in ("PRAGMA defer_foreign_keys = ON", sql, "BEGIN"):
            await both.same(each)
        await (both.same_error if ends else both.same)("INSERT INTO child VALUES (99)")
        await both.same("ROLLBACK")


async def test_places_are_given_back(both: World) -> None:
    streams = [both.executor.session() for _ in range(MOST)]
    for stream in streams:
        for sql in ("BEGIN", "CREATE TEMP TABLE t(a)", "ROLLBACK", "SAVEPOINT s", "CREATE TEMP TABLE t(a)"):
            await stream.execute(Statement(sql))
        for sql in ("ROLLBACK TO s", "CREATE TEMP TABLE t(b)", "RELEASE s"):
            await stream.execute(Statement(sql))
    with pytest.raises(StatementError, match=f"{MOST} streams have temporary tables"):
        await both.on_postgres("CREATE TEMP TABLE t(a)")
    await streams[0].execute(Statement("DROP TABLE t"))
    await both.on_postgres("CREATE TEMP TABLE t(c)")
    assert (await both.on_postgres("SELECT c FROM t")).rows == []
    for stream in streams:
        await stream.close()


async def test_a_stream_is_told_that_a_switch_has_taken_them(both: World) -> None:
    await both.on_postgres("CREATE TEMP TABLE t(a)")
    await both.session.expel()
    with pytest.raises(StatementError, match="went with a switch") as told:
        await both.on_postgres("SELECT 1")
    assert told.value.code == "SQLITE_BUSY"
    with pytest.raises(StatementError, match="no such table: t"):
        await both.on_postgres("SELECT * FROM t")
    async with both.pool.acquire() as connection:
        assert await connection.fetchval(ASIDE) == 0


async def test_what_a_process_has_left_is_dropped_by_the_next_one(both: World) -> None:
    async with both.pool.acquire() as connection:
        await connection.execute("CREATE SCHEMA IF NOT EXISTS cutover_temporary_7")
        await connection.execute("CREATE TABLE cutover_temporary_7.t()")
        assert await connection.fetchval(ASIDE) == 1
        await Aside().sweep(connection)
        assert await connection.fetchval(ASIDE) == 0


async def test_a_whole_transaction_in_one_batch(both: World) -> None:
    steps = [Step(Statement(sql), Ok(at - 1) if at else None) for at, sql in enumerate(CHANGE_COLUMN)]
    found = await both.executor.run([*steps, Step(Statement("ROLLBACK"), Not(Ok(len(steps) - 1)))])
    assert [error for error in found.errors if error is not None] == []
    assert (await both.on_postgres("SELECT typeof(price) FROM products")).rows == [("real",), ("real",)]


async def test_what_would_not_be_the_same_is_refused(both: World) -> None:
    await both.on_postgres("BEGIN")
    with pytest.raises(StatementError, match="cannot have the name of another"):
        await both.on_postgres("CREATE TEMP TABLE Products(a)")
    await both.on_postgres("CREATE TEMP TABLE t(a INTEGER PRIMARY KEY AUTOINCREMENT)")
    with pytest.raises(StatementError, match="cannot have the name of another"):
        await both.on_postgres("CREATE TABLE T(b)")
    with pytest.raises(StatementError, match="cannot have the name of another"):
        await both.on_postgres("ALTER TABLE products RENAME TO t")
    await both.refused("CREATE TEMP TABLE u(a REFERENCES products(id))", "temporary table")
    await both.refused("CREATE TABLE u(a REFERENCES t(a))", "temporary table")
    await both.on_postgres("DROP TABLE t")
    await both.refused("SELECT * FROM sqlite_sequence", "AUTOINCREMENT")
    await both.on_postgres("ROLLBACK")
    await both.same("SELECT * FROM sqlite_sequence")


async def test_the_next_transaction_has_another_one_of_the_same_name(both: World) -> None:
    for columns, one in (("a INTEGER, b", "1"), ("a TEXT, b, c REAL", "'x'"), ("a REAL", "2.5"), ("a", "x'00'")):
        await both.same("BEGIN")
        await both.same(f"CREATE TEMP TABLE t({columns})")
        await both.same(f"INSERT INTO t(a) VALUES ({one}), (NULL)")
        await both.same("INSERT INTO t(a) SELECT a FROM t")
        await both.same("SELECT * FROM t ORDER BY rowid")
        await both.same("SELECT a, typeof(a) FROM t WHERE a IS NOT NULL")
        await both.same("UPDATE t SET a = a RETURNING a")
        await both.same("DROP TABLE t")
        await both.same("COMMIT")


async def test_they_go_with_a_transaction_that_is_taken_away_or_ends_itself(both: World) -> None:
    await both.on_postgres("BEGIN")
    await both.on_postgres("CREATE TEMP TABLE t(a UNIQUE)")
    await both.session.expel()
    with pytest.raises(StatementError) as told:
        await both.on_postgres("SELECT * FROM t")
    assert told.value.code == "SQLITE_BUSY"
    await both.on_postgres("ROLLBACK")
    for sql in ("BEGIN", "CREATE TEMP TABLE t(a UNIQUE)", "INSERT INTO t VALUES (1)"):
        await both.same(sql)
    await both.same_error("INSERT OR ROLLBACK INTO t VALUES (1)")
    assert not both.session.in_transaction
    await both.same_error("SELECT * FROM t")
    assert await tables(both) == {"products", "names"}


async def test_automatic_keys_go_on_where_those_of_sqlite_do(both: World) -> None:
    failing = "INSERT INTO a (n) VALUES ('fresh'), ('a')"
    for sql in (
        "CREATE TEMP TABLE a (id INTEGER PRIMARY KEY AUTOINCREMENT, n TEXT UNIQUE)",
        "INSERT INTO a (n) VALUES ('a'), ('b')",
        failing,
        "INSERT INTO a (n) VALUES ('c')",
        "BEGIN",
        "INSERT INTO a (n) VALUES ('q'), ('w')",
        "SAVEPOINT s",
        "INSERT INTO a (n) VALUES ('r')",
        "ROLLBACK TO s",
        "INSERT INTO a (n) VALUES ('t')",
        "ROLLBACK",
        "INSERT INTO a (n) VALUES ('e')",
        "DELETE FROM a WHERE n = 'e'",
        "INSERT INTO a (n) VALUES ('f')",
        "DROP TABLE a",
        "CREATE TEMP TABLE a (id INTEGER PRIMARY KEY AUTOINCREMENT, n TEXT UNIQUE)",
        "INSERT INTO a (n) VALUES ('a') RETURNING id",
        failing,
        "INSERT INTO a (n) VALUES ('g')",
        "SELECT * FROM a",
    ):
        if sql is failing:
            await both.same_error(sql)
        else:
            await both.same(sql)
