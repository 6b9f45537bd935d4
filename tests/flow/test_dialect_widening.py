"""Columns of dates, JSON and the like take texts and numbers alike, as SQLite's do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from cutover.errors import StatementError
from cutover.model.statement import Statement, Step
from cutover.model.values import SqlValue
from tests.flow.dialect_world import World, world

SCHEMA = """
CREATE TABLE t (id INTEGER PRIMARY KEY, at DATETIME, made DATETIME DEFAULT CURRENT_TIMESTAMP, meta JSON, b DATE);
CREATE INDEX t_at ON t (at)"""
NOW = 1700000000123


@pytest_asyncio.fixture
async def dates(postgres_url: str) -> AsyncIterator[World]:
    """A table without rows, whose columns say by their names alone what they hold."""
    async with world(postgres_url, SCHEMA, store=True) as made:
        yield made


async def kind_of(one: World, column: str, table: str = "t") -> str:
    """The column's type on Postgres."""
    sql = "SELECT format_type(atttypid, -1) FROM pg_attribute WHERE attrelid = $1::text::regclass AND attname = $2"
    return str(await one.pool.fetchval(sql, table, column))


async def test_the_first_number_makes_an_empty_column_one_of_integers(dates: World) -> None:
    await dates.same("INSERT INTO t (at) VALUES (NULL)")
    for value in (NOW, float(NOW), NOW + 1):
        await dates.same("INSERT INTO t (at) VALUES (?) RETURNING id, at, typeof(at)", value)
    await dates.same("UPDATE t SET b = 17 WHERE id = 2")
    assert [await kind_of(dates, name) for name in ("at", "b", "made")] == ["bigint", "bigint", "text"]
    await dates.same("SELECT id, at, b, typeof(b) FROM t WHERE at >= ? ORDER BY at DESC, id", float(NOW))


async def test_then_it_takes_whatever_else_comes(dates: World) -> None:
    for value in (NOW, "2024-05-06 07:08:09", 0.5, None, "12", "1e3", "x", b"\x00", 3.0):
        await dates.same("INSERT INTO t (at, made) VALUES (?, '2020-01-01') RETURNING at, typeof(at)", value)
    assert await kind_of(dates, "at") == "cutover.value"
    for sql in (
        "SELECT id, at, typeof(at) FROM t ORDER BY at, id",
        "SELECT id FROM t WHERE at > 12 ORDER BY id",
        "SELECT id FROM t WHERE at = '12' ORDER BY id",
        "SELECT id FROM t WHERE at BETWEEN '2024-01-01' AND '2024-12-31' ORDER BY id",
        "SELECT id, date(at), strftime('%Y', at) FROM t WHERE typeof(at) = 'text' ORDER BY id",
        "SELECT max(at), min(at), count(at) FROM t",
        "SELECT at, count(*) FROM t GROUP BY at ORDER BY at",
        "UPDATE t SET at = at WHERE id > 1",
        "UPDATE t SET at = substr('2024', 1, 3) || '5' WHERE id = 2",
        "UPDATE t SET at = id * 1.0 WHERE id = 3",
        "SELECT id, at, typeof(at) FROM t ORDER BY id",
        "DELETE FROM t WHERE at = 2025",
    ):
        await dates.same(sql)


@pytest.mark.parametrize("then", ["'text'", "1.5", "'1.5'", "'7'", "x'00'", "2.5 * 2", "NULL"])
async def test_then_it_takes_whatever_is_written_in_the_text(dates: World, then: str) -> None:
    for sql in (
        "INSERT INTO t (at, made) VALUES (NULL, 'x'), (NULL, 'x')",
        "UPDATE t SET at = 5 WHERE id = 2",
        f"UPDATE t SET at = {then} WHERE id = 1",
        f"INSERT INTO t (at, made) VALUES ({then}, 'x')",
        "SELECT id, at, typeof(at) FROM t ORDER BY id",
    ):
        await dates.same(sql)


async def test_what_is_computed_decides_as_well(dates: World) -> None:
    for sql in (
        "INSERT INTO t (at) VALUES (strftime('%s', '2024-01-01'))",
        "SELECT at, typeof(at) FROM t",
        "INSERT INTO t (at) SELECT at + 1 FROM t",
    ):
        await dates.same(sql)
    assert await kind_of(dates, "at") == "bigint"
    for sql in (
        "UPDATE t SET at = datetime(at, 'unixepoch'), meta = '1' || id WHERE id = 2",
        "UPDATE t SET at = id * 1.5 WHERE id = 1",
        "BEGIN",
        "INSERT INTO t (b) VALUES (strftime('%Y', '2024-01-01')), (upper('x'))",
        "UPDATE t SET b = b || '1'",
        "SELECT id, b, typeof(b) FROM t ORDER BY id",
        "COMMIT",
        "SELECT id, at, typeof(at), meta, b, typeof(b) FROM t ORDER BY id",
    ):
        await dates.same(sql)
    await dates.same("CREATE TABLE whole (id INTEGER PRIMARY KEY, n INTEGER, at DATETIME)")
    with pytest.raises(StatementError, match="a text in a column of integers"):
        await dates.on_postgres("INSERT INTO whole (n, at) VALUES (upper('x'), strftime('%s', 'now'))")


async def test_a_name_that_promises_nothing_holds_whatever_comes(dates: World) -> None:
    for sql in (
        "CREATE TABLE odd (id INTEGER PRIMARY KEY, list ARRAY, hash BINARY(16), price MONEY)",
        "CREATE TABLE hashed (hash BINARY(16) PRIMARY KEY, n INTEGER)",
        "CREATE INDEX lists ON odd (list)",
        "INSERT INTO odd (list, hash, price) VALUES ('[1]', x'0102', 1.5), (2.0, 'text', 2), ('3', 7, NULL)",
        "INSERT INTO hashed VALUES (x'0102', 1), (x'0001', 2)",
        "SELECT list, typeof(list), hash, typeof(hash), price FROM odd ORDER BY list, hash",
        "SELECT id FROM odd WHERE list = '[1]' OR hash = 7 ORDER BY id",
        "SELECT * FROM hashed JOIN odd USING (hash) ORDER BY hash",
        "SELECT * FROM hashed ORDER BY hash",
    ):
        await dates.same(sql)


async def test_a_default_that_is_a_text_stays(dates: World) -> None:
    await dates.same("INSERT INTO t (made) VALUES (?)", NOW)
    await dates.on_postgres("INSERT INTO t (id) VALUES (7)")
    found = await dates.on_postgres("SELECT made LIKE '20__-__-__ __:__:__', typeof(made) FROM t WHERE id = 7")
    assert found.rows == [(1, "text")]
    await dates.same("SELECT made, typeof(made) FROM t WHERE id = 1")


async def test_json_that_is_a_number_is_one(dates: World) -> None:
    for value in ('{"a": 1}', "5", "1.50", "true", "null", '"x"'):
        await dates.same("INSERT INTO t (meta, made) VALUES (?, NULL)", value)
    await dates.same("SELECT meta, typeof(meta), json_type(meta) FROM t ORDER BY id")
    await dates.same("SELECT json_extract(meta, '$.a'), meta ->> '$.a' FROM t ORDER BY id")


async def test_within_a_transaction_it_is_undone_with_it(dates: World) -> None:
    for sql in (
        "BEGIN",
        "INSERT INTO t (at) VALUES (5)",
        "SELECT at, typeof(at) FROM t",
        "SAVEPOINT s",
        "UPDATE t SET b = 5",
        "ROLLBACK TO s",
        "UPDATE t SET b = 'x'",
        "ROLLBACK",
    ):
        await dates.same(sql)
    assert [await kind_of(dates, name) for name in ("at", "b")] == ["text", "text"]
    for sql in ("INSERT INTO t (at, made) VALUES ('2020-01-01', 1)", "SELECT at, made, typeof(made) FROM t"):
        await dates.same(sql)


async def test_rows_of_a_query_decide_as_well(dates: World) -> None:
    await dates.same("INSERT INTO t (at, made) VALUES (1, 'x'), (2, 'y')")
    for sql in (
        "CREATE TABLE n (id INTEGER PRIMARY KEY, at DATETIME, made DATETIME)",
        "INSERT INTO n SELECT id, at, made FROM t",
        "SELECT * FROM n ORDER BY id",
    ):
        await dates.same(sql)
    assert [await kind_of(dates, name, "n") for name in ("at", "made")] == ["bigint", "text"]


async def test_a_long_text_decides_as_well(dates: World) -> None:
    rows = ", ".join(f"({number}, {NOW + number}, 'x')" for number in range(1, 60))
    await dates.same(f"INSERT INTO t (id, at, made) VALUES {rows}")
    await dates.same("SELECT id, at, typeof(at) FROM t ORDER BY at")
    assert await kind_of(dates, "at") == "bigint"


async def test_a_rehearsal_tells_which_column_gets_another_type(dates: World) -> None:
    await dates.executor.rehearsal.ready()
    found = await dates.executor.rehearsal.rehearse("INSERT INTO t (at) VALUES (5)")
    assert (found.status, found.reason) == ("ready", "With the first such value t.at gets a type that holds it.")
    assert await kind_of(dates, "at") == "text"


async def test_a_column_of_the_applications_own_stays_as_it_is(postgres_url: str) -> None:
    own = "CREATE TABLE t (id bigint PRIMARY KEY, at text)"
    async with world(postgres_url, "CREATE TABLE t (id INTEGER PRIMARY KEY, at DATETIME)", target=own) as both:
        await both.refused("INSERT INTO t VALUES (1, 5)", "An integer for column at, which holds text")
        with pytest.raises(StatementError, match="A number for column at"):
            await both.on_postgres("INSERT INTO t VALUES (1, ?)", "5")
        assert await kind_of(both, "at") == "text"
        assert (await both.executor.rehearsal.rehearse("INSERT INTO t VALUES (1, 5)")).status == "refused"


async def test_a_first_value_that_comes_from_another_client_meanwhile_stays(dates: World) -> None:
    await dates.same("CREATE TABLE u (a INTEGER)")
    early, other = dates.executor.session(), dates.executor.session()
    try:
        await early.sequence("BEGIN; SELECT a FROM u")  # which fixes what it sees
        await other.execute(Statement("INSERT INTO t (id, at) VALUES (1, '2024-05-06')"))
        with pytest.raises(StatementError) as told:
            await early.execute(Statement("INSERT INTO t (id, at) VALUES (2, 5)"))
        assert told.value.code == "SQLITE_BUSY"
        await early.execute(Statement("ROLLBACK"))
        await early.execute(Statement("INSERT INTO t (id, at) VALUES (2, 5)"))
        found = await other.execute(Statement("SELECT id, at, typeof(at) FROM t ORDER BY id"))
        assert found.rows == [(1, "2024-05-06", "text"), (2, 5, "integer")]
    finally:
        await early.close()
        await other.close()


async def test_clients_that_bring_the_first_values_together_lose_none(dates: World) -> None:
    values: list[SqlValue] = ["2024-05-06", 5, 1.5, '{"a": 1}', "7", 2**40]

    async def put(client: int) -> None:
        for at, value in enumerate(values[client:] + values[:client]):
            sql, row = "INSERT INTO t (id, at, meta, b) VALUES (?, ?, ?, ?)", client * 100 + at
            done = await dates.executor.run([Step(Statement(sql, (row, value, value, value)))])
            assert done.errors == [None]
            dates.on_sqlite(sql, row, value, value, value)

    await asyncio.gather(*map(put, range(4)))
    for column in ("at", "meta", "b"):
        await dates.same(f"SELECT id, {column}, typeof({column}) FROM t ORDER BY id")


async def test_a_transaction_from_before_does_not_find_the_table_empty(dates: World) -> None:
    await dates.same("CREATE TABLE u (a INTEGER)")
    await dates.same("INSERT INTO t (id, at, made) VALUES (1, '2024-05-06', 'x')")
    early = dates.executor.session()
    try:
        await early.sequence("BEGIN; SELECT a FROM u")
        await dates.on_postgres("INSERT INTO t (id, at) VALUES (2, 5)")  # Postgres writes the table anew for it
        with pytest.raises(StatementError) as told:
            await early.execute(Statement("SELECT count(*) FROM t"))
        assert told.value.code == "SQLITE_BUSY"
    finally:
        await early.close()


async def test_a_schema_that_is_read_again_meanwhile_does_not_bring_the_old_type_back(dates: World) -> None:
    one = dates.executor.session()
    try:
        await one.sequence("BEGIN; INSERT INTO t (id, at, made) VALUES (1, 1.5, 'x')")
        dates.executor.dialect.forget()
        await dates.on_postgres("SELECT 1")
        await one.execute(Statement("COMMIT"))
        dates.on_sqlite("INSERT INTO t (id, at, made) VALUES (1, 1.5, 'x')")
        for sql in (
            "SELECT id, at, typeof(at) FROM t ORDER BY id",
            "INSERT INTO t (id, at, made) VALUES (2, '2024-05-06', 'x')",
            "SELECT id, at, typeof(at) FROM t ORDER BY id",
        ):
            await dates.same(sql)
    finally:
        await one.close()


BLOBS = (
    "CREATE TABLE b (i INTEGER, o BLOB, p BLOB DEFAULT x'00', k BLOB UNIQUE, c BLOB CHECK (length(c) > 1))",
    "INSERT INTO b VALUES (1, x'0102', x'', NULL, x'6161')",
    "INSERT INTO b (i, o, k) VALUES (2, 5.0, '5.0')",
    "INSERT INTO b (o) VALUES (x'61'), ('61'), (NULL), ('a'), (7)",
    "SELECT o, typeof(o), hex(o), p, k, c FROM b ORDER BY o, i",
    "SELECT i FROM b WHERE o = 5 OR o > 'a' OR k = '5.0' ORDER BY i",
    "UPDATE b SET p = i || 'x' WHERE i = 1",
    "UPDATE b SET k = upper(NULL)",
    "SELECT p, typeof(p), k FROM b ORDER BY rowid",
    "ALTER TABLE b ADD COLUMN z BLOB",
    "UPDATE b SET z = rowid",
    "INSERT INTO b (z) SELECT o FROM b WHERE i = 1",
    "SELECT z, p FROM b",
)


async def test_a_column_of_blobs_takes_whatever_comes(dates: World) -> None:
    for sql in BLOBS:
        await dates.same(sql)
    assert [await kind_of(dates, name, "b") for name in ("i", "o", "p", "k", "c")] == [
        "bigint", "cutover.value", "cutover.value", "cutover.value", "bytea"
    ]  # fmt: skip
    await dates.same("INSERT INTO b (o) VALUES (?), (?) RETURNING typeof(o)", b"\x00", "x")
    await dates.same_error("INSERT INTO b (k) VALUES (5), (5)")
    await dates.refused("INSERT INTO b (c) VALUES ('ab')", "A text for column c of type bytea")


async def test_a_column_of_bytes_of_the_applications_own_stays_one(postgres_url: str) -> None:
    own = "CREATE TABLE t (id bigint PRIMARY KEY, o bytea)"
    async with world(postgres_url, "CREATE TABLE t (id INTEGER PRIMARY KEY, o BLOB)", target=own) as both:
        await both.refused("INSERT INTO t VALUES (1, 'x')", "A text for column o of type bytea")
        with pytest.raises(StatementError, match="in a column of blobs"):
            await both.on_postgres("INSERT INTO t VALUES (1, upper('x'))")
        assert await kind_of(both, "o") == "bytea"


STAMPED = """CREATE TABLE stamped (id INTEGER PRIMARY KEY, at INTEGER NOT NULL DEFAULT (current_timestamp),
    day INT DEFAULT 'none', seconds INTEGER DEFAULT (strftime('%s', 'now')), n INTEGER DEFAULT '7')"""


@pytest.mark.parametrize("behind", [True, False], ids=["made behind the door", "copied"])
async def test_an_integer_whose_default_is_a_text_holds_both(postgres_url: str, behind: bool) -> None:
    async with world(postgres_url, "CREATE TABLE u (a)" if behind else STAMPED, store=True) as both:
        if behind:
            await both.same(STAMPED)
        kinds = [await kind_of(both, name, "stamped") for name in ("at", "day", "seconds", "n")]
        assert kinds == ["cutover.value", "cutover.value", "bigint", "bigint"]
        await both.same("INSERT INTO stamped (id) VALUES (NULL) RETURNING id, typeof(at), day, typeof(seconds), n")
        for at in (NOW, "2024-05-06 07:08:09", "12", 3.0, 0.5):
            await both.same("INSERT INTO stamped (at, day) VALUES (?, 4) RETURNING id, at, typeof(at), day", at)
        for sql in (
            "SELECT id, at, typeof(at) FROM stamped WHERE id > 1 ORDER BY at, id",
            "SELECT id FROM stamped WHERE at > 12 ORDER BY id",
            "SELECT id FROM stamped WHERE at = '12' ORDER BY id",
            "SELECT id, date(at), at + 1 FROM stamped WHERE id = 3",
            "SELECT sum(day), max(day), count(DISTINCT day) FROM stamped",
            "UPDATE stamped SET at = at + 1, day = day || 'x' WHERE id IN (2, 4)",
            "SELECT id, at, day FROM stamped WHERE id > 1 ORDER BY id",
        ):
            await both.same(sql)
