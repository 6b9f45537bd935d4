"""What stands alone takes the short way once it is prepared, and is what it would be by the long one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from cutover.dialect.direct import Driven
from cutover.errors import Fenced, StatementError
from cutover.model.statement import BatchOutcome, BatchResult, Statement, StatementResult, Step
from tests.flow.dialect_world import World, typed_rows, world

SCHEMA = """
CREATE TABLE items (id TEXT PRIMARY KEY, n INTEGER, part REAL, body BLOB);
CREATE TABLE notes (id INTEGER PRIMARY KEY, body TEXT UNIQUE);
"""
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


@asynccontextmanager
async def locked(both: World, table: str) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """Nobody reads or writes the table meanwhile; what is given ends the connection of whoever waits to."""
    async with both.pool.acquire() as native, native.transaction():
        await native.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")

        async def end() -> None:
            async with asyncio.timeout(60):
                while not await native.fetch(
                    "SELECT pg_terminate_backend(pid) FROM pg_locks JOIN pg_stat_activity USING (pid) "
                    "WHERE NOT granted AND datname = current_database()"
                ):
                    await asyncio.sleep(0.01)

        yield end


async def test_a_broken_connection_is_read_the_long_way_and_lent_no_more(both: World) -> None:
    await long_way(both, QUERY)
    async with locked(both, "items") as end:
        reading = both.executor.begin_read(QUERY)
        assert reading is not None
        await end()
        async with asyncio.timeout(60):
            assert await reading == []
    assert (await long_way(both, QUERY)).rows[0][:2] == ("a", 1)


async def test_a_caller_that_goes_cancels_its_query(both: World) -> None:
    await long_way(both, QUERY)
    async with locked(both, "items"):
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


INSERT = Statement("INSERT INTO notes (body) VALUES (?)", ("x",))


def write(both: World, *args: str | int) -> Driven:
    """An insert by the short way; some connection has it prepared."""
    begun = both.executor.submit(((Step(Statement(INSERT.sql, args)),),))
    assert isinstance(begun, Driven)
    return begun


def told(outcomes: list[BatchOutcome]) -> StatementResult | StatementError | None:
    assert isinstance(outcomes[0], BatchResult)
    return outcomes[0].errors[0] or outcomes[0].results[0]


async def test_a_write_by_the_short_way_counts_and_gives_its_key(both: World) -> None:
    await long_way(both, INSERT)
    found = told(await write(both, "y"))
    assert isinstance(found, StatementResult)
    assert (found.affected, found.last_insert_rowid, found.rows) == (1, 2, [])
    assert (await long_way(both, Statement("SELECT * FROM notes"))).rows == [(1, "x"), (2, "y")]


async def test_a_write_that_a_constraint_refuses_is_told_as_sqlite_tells_it(both: World) -> None:
    await long_way(both, INSERT)
    both.on_sqlite(INSERT.sql, "x")
    with pytest.raises(StatementError) as expected:
        both.on_sqlite(INSERT.sql, "x")
    found = told(await write(both, "x"))
    assert isinstance(found, StatementError)
    assert (found.message, found.code) == (expected.value.message, expected.value.code)


async def test_an_automatic_key_that_meets_a_native_row_is_another_one(both: World) -> None:
    await long_way(both, INSERT)
    async with both.pool.acquire() as native:
        await native.execute("INSERT INTO notes OVERRIDING SYSTEM VALUE VALUES (2, 'native')")
    found = told(await write(both, "y"))
    assert isinstance(found, StatementResult)
    assert found.last_insert_rowid == 3


async def test_writes_that_meet_come_to_their_end_by_the_long_way(both: World) -> None:
    count = Statement("UPDATE items SET n = n + 1 WHERE id = 'a'")
    await long_way(both, count)
    async with asyncio.timeout(60):
        found = await asyncio.gather(*(both.executor.submit(((Step(count),),)) for _ in range(24)))
    assert all(isinstance(told(each), StatementResult) for each in found)
    assert (await long_way(both, QUERY)).rows[0][1] == 26


async def test_a_write_whose_answer_is_lost_is_unknown(both: World) -> None:
    await long_way(both, INSERT)
    async with locked(both, "notes") as end:
        writing = write(both, "y")
        await end()
        async with asyncio.timeout(60):
            found = told(await writing)
    assert isinstance(found, StatementError)
    assert found.code == "OUTCOME_UNKNOWN"


async def test_a_write_whose_caller_goes_comes_to_its_end_first(both: World) -> None:
    await long_way(both, INSERT)
    async with locked(both, "notes"):
        writing = write(both, "y")
        writing.cancel()
        await asyncio.sleep(0)
        assert not writing.done()
    with pytest.raises(asyncio.CancelledError):
        await writing
    assert (await long_way(both, Statement("SELECT count(*) FROM notes"))).rows == [(2,)]


async def test_a_write_that_is_fenced_says_so(both: World) -> None:
    await long_way(both, INSERT)
    async with both.pool.acquire() as native:
        await native.execute(
            """
            CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN RAISE EXCEPTION 'fenced' USING ERRCODE = '25006'; END $$;
            CREATE TRIGGER fence BEFORE INSERT ON notes FOR EACH ROW EXECUTE FUNCTION refuse();
            """
        )
    assert isinstance((await write(both, "y"))[0], Fenced)


async def test_a_write_does_not_pass_an_interactive_transaction_that_writes(both: World) -> None:
    await long_way(both, INSERT)
    await both.session.execute(Statement("BEGIN IMMEDIATE"))
    waiting = both.executor.submit(((Step(Statement(INSERT.sql, ("y",))),),))
    assert not isinstance(waiting, Driven)
    await both.session.execute(Statement("COMMIT"))
    assert isinstance(told(await waiting), StatementResult)
