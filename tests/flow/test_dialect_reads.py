"""A query that stands alone takes the short way once it is prepared, and is what it would be by the long one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from cutover.model.statement import BatchResult, Statement, StatementResult, Step
from tests.flow.dialect_world import World, typed_rows, world

SCHEMA = "CREATE TABLE items (id TEXT PRIMARY KEY, n INTEGER, part REAL, body BLOB);"
DATA = ("INSERT INTO items VALUES ('a', 1, 0.5, x'00ff'), ('b', -9223372036854775808, NULL, NULL)",)
QUERY = Statement("SELECT * FROM items WHERE id = ?", ("a",))


@pytest.fixture
async def both(postgres_url: str) -> AsyncIterator[World]:
    async with world(postgres_url, SCHEMA, data=DATA) as made:
        yield made


async def long_way(both: World, statement: Statement) -> StatementResult:
    found = await both.executor.run((Step(statement),))
    if found.errors[0] is not None:
        raise found.errors[0]
    return found.results[0] or StatementResult()


async def begun(both: World, statement: Statement) -> BatchResult:
    """What the short way gives of a statement that some connection has prepared."""
    await long_way(both, statement)
    reading = both.executor.begin_read(statement)
    assert reading is not None
    outcome = (await reading)[0]
    assert isinstance(outcome, BatchResult)
    return outcome


@pytest.mark.parametrize("key", ["a", "b", "c", 7, None])
async def test_the_short_way_gives_what_sqlite_gives(both: World, key: str | int | None) -> None:
    expected = both.on_sqlite(QUERY.sql, key)
    found = (await begun(both, Statement(QUERY.sql, (key,)))).results[0]
    assert found is not None
    assert typed_rows(found, True) == typed_rows(expected, True)
    assert [column.name for column in found.columns] == [column.name for column in expected.columns]


async def test_an_error_is_told_by_the_short_way(both: World) -> None:
    query = Statement("SELECT abs(n) FROM items WHERE id = ?", ("a",))
    await long_way(both, query)
    reading = both.executor.begin_read(Statement(query.sql, ("b",)))
    assert reading is not None
    outcome = (await reading)[0]
    assert isinstance(outcome, BatchResult)
    assert outcome.errors[0] is not None
    assert (outcome.errors[0].message, outcome.errors[0].code) == ("integer overflow", "SQLITE_UNKNOWN")


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM items WHERE n = 1 -- never seen",
        "INSERT INTO items (id) VALUES ('c')",
        "PRAGMA table_info(items)",
        "SELECT * FROM nowhere",
    ],
)
async def test_what_is_not_at_hand_goes_the_long_way(both: World, sql: str) -> None:
    await long_way(both, QUERY)
    assert both.executor.begin_read(Statement(sql)) is None
    assert (await begun(both, QUERY)).errors == [None]


async def test_a_changed_table_is_read_the_long_way(both: World) -> None:
    await long_way(both, QUERY)
    async with both.pool.acquire() as native:
        await native.execute("ALTER TABLE items ALTER COLUMN part TYPE real")
    reading = both.executor.begin_read(QUERY)
    assert reading is not None
    assert await reading == []
    assert (await long_way(both, QUERY)).rows[0][0] == "a"


async def test_a_broken_connection_is_read_the_long_way_and_lent_no_more(both: World) -> None:
    await long_way(both, QUERY)
    async with both.pool.acquire() as native, native.transaction():
        await native.execute("LOCK TABLE items IN ACCESS EXCLUSIVE MODE")
        reading = both.executor.begin_read(QUERY)
        assert reading is not None
        ended = await native.fetch(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> "
            "pg_backend_pid() AND query LIKE '%items%' AND state = 'active'"
        )
        while not ended:  # its message may not have come yet
            ended = await native.fetch(
                "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE NOT granted AND pid <> pg_backend_pid()"
            )
        async with asyncio.timeout(10):
            assert await reading == []
    assert (await long_way(both, QUERY)).rows[0][:2] == ("a", 1)


async def test_a_caller_that_goes_cancels_its_query(both: World) -> None:
    await long_way(both, QUERY)
    async with both.pool.acquire() as native, native.transaction():
        await native.execute("LOCK TABLE items IN ACCESS EXCLUSIVE MODE")
        reading = both.executor.begin_read(QUERY)
        assert reading is not None
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
    for _ in range(3):
        assert (await long_way(both, QUERY)).rows[0][:2] == ("a", 1)


async def test_an_answer_that_is_too_large_is_refused(both: World) -> None:
    both.executor.dialect.max_response_bytes = 10
    await both.executor.run((Step(QUERY),))
    reading = both.executor.begin_read(QUERY)
    assert reading is not None
    outcome = (await reading)[0]
    assert isinstance(outcome, BatchResult)
    assert outcome.errors[0] is not None
    assert outcome.errors[0].code == "RESPONSE_TOO_LARGE"
