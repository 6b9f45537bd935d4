"""Statements of one text that come while one is under way: sent together, and each is what it would be alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from cutover.dialect import groups
from cutover.dialect.members import Member
from cutover.errors import Fenced, StatementError
from cutover.model.statement import BatchOutcome, BatchResult, Statement, StatementResult, Step
from tests.flow.dialect_world import World, typed_rows, world

SCHEMA = """
CREATE TABLE items (id TEXT PRIMARY KEY, n INTEGER, part REAL);
CREATE TABLE notes (id INTEGER PRIMARY KEY, body TEXT UNIQUE);
"""
DATA = ("INSERT INTO items VALUES ('a', 1, 0.5), ('b', 1, NULL), ('c', 2, 3)",)
BY_N = "SELECT id, part, n * 2 FROM items WHERE n = ? ORDER BY id"
INSERT = "INSERT INTO notes (body) VALUES (?)"
BODIES = "SELECT body FROM notes ORDER BY body"


@pytest.fixture
async def both(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """Where no statement counts as slow, however late its answer is read."""
    for name in ("_SECONDS", "_SECONDS_WRITING", "_APART"):
        monkeypatch.setattr(groups, name, 60.0)
    async with world(postgres_url, SCHEMA, data=DATA) as made:
        yield made


@asynccontextmanager
async def held(both: World, table: str) -> AsyncIterator[None]:
    """Nobody reads or writes the table meanwhile."""
    async with both.pool.acquire() as native, native.transaction():
        await native.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
        yield


async def waiting(both: World, number: int) -> list[int]:
    """The servers' processes that wait for a lock, as soon as there are so many."""
    async with asyncio.timeout(60), both.pool.acquire() as native:
        while True:
            rows = await native.fetch(
                "SELECT pid FROM pg_locks JOIN pg_stat_activity USING (pid) "
                "WHERE NOT granted AND datname = current_database()"
            )
            if len(rows) >= number:
                return [row[0] for row in rows]
            await asyncio.sleep(0.005)


async def known(both: World, sql: str, *args: str | int) -> None:
    """Have it prepared on all of four connections: two for what is under way, two for those who wait."""
    steps = (Step(Statement(sql, args)),)
    async with held(both, "items"), held(both, "notes"):
        first = [asyncio.ensure_future(both.executor.run(steps)) for _ in range(4)]
        await waiting(both, 4)
    await asyncio.gather(*first)


def read(both: World, sql: str, *args: str | int) -> asyncio.Future[list[BatchOutcome]]:
    begun = both.executor.begin_read(Statement(sql, args))
    assert begun is not None
    return begun


def write(both: World, sql: str, *args: str | int) -> asyncio.Future[list[BatchOutcome]]:
    return both.executor.submit(((Step(Statement(sql, args)),),))


async def prepared(both: World) -> None:
    """As `known`, for the insert: there are three rows then, and the sequence of the key is settled."""
    await known(both, BY_N, 1)
    await asyncio.gather(*(write(both, INSERT, body) for body in "wx"))
    await write(both, INSERT, "y")


def told(outcomes: list[BatchOutcome]) -> StatementResult | StatementError | None:
    assert isinstance(outcomes[0], BatchResult)
    return outcomes[0].errors[0] or outcomes[0].results[0]


async def rows(both: World, sql: str) -> list[object]:
    return [row[0] for row in (await both.on_postgres(sql)).rows]


async def test_each_read_of_a_group_has_its_own_rows(both: World) -> None:
    await known(both, BY_N, 1)
    async with held(both, "items"):
        first = read(both, BY_N, 1)
        group = [read(both, BY_N, n) for n in (2, 1, 7, 1)]
        assert all(isinstance(each, Member) for each in group)
        await waiting(both, 2)
    found = [told(await each) for each in (first, *group)]
    for n, one in zip((1, 2, 1, 7, 1), found, strict=True):
        expected = both.on_sqlite(BY_N, n)
        assert isinstance(one, StatementResult)
        assert typed_rows(one, True) == typed_rows(expected, True)
        assert [column.name for column in one.columns] == [column.name for column in expected.columns]


async def test_writes_of_a_group_share_a_transaction_and_have_their_own_counts(both: World) -> None:
    update = "UPDATE items SET part = n + 0.25 WHERE n = ?"
    await known(both, update, 9)
    async with held(both, "items"):
        group = [write(both, update, n) for n in (9, 1, 2, 7)]
        await waiting(both, 2)
    found = [told(await each) for each in group]
    assert [one.affected for one in found if isinstance(one, StatementResult)] == [0, 2, 1, 0]
    sizes = both.executor._metrics.write_group_size
    assert [sample.value for sample in next(iter(sizes.collect())).samples if sample.name.endswith("_sum")] == [8]
    async with both.pool.acquire() as native:
        assert await native.fetchval("SELECT count(DISTINCT xmin::text) FROM items") == 1
    assert await rows(both, "SELECT part FROM items ORDER BY id") == [1.25, 1.25, 2.25]


async def test_automatic_keys_of_a_group_are_told(both: World) -> None:
    await prepared(both)
    text = INSERT
    async with held(both, "notes"):
        group = [write(both, text, body) for body in "abc"]
        await waiting(both, 2)
    for body, each in zip("abc", group, strict=True):
        found = told(await each)
        assert isinstance(found, StatementResult)
        assert (found.affected, found.rows) == (1, [])
        key = (await both.on_postgres("SELECT id FROM notes WHERE body = ?", body)).rows[0][0]
        assert found.last_insert_rowid == key


async def test_one_that_is_refused_does_not_hurt_the_others(both: World) -> None:
    await prepared(both)
    async with held(both, "notes"):
        group = [write(both, INSERT, body) for body in "abxc"]
        await waiting(both, 2)
    found = [told(await each) for each in group]
    assert [type(one) for one in found] == [StatementResult, StatementResult, StatementError, StatementResult]
    assert str(found[2]) == "UNIQUE constraint failed: notes.body"
    assert await rows(both, BODIES) == ["a", "b", "c", "w", "x", "y"]


async def test_after_a_group_was_undone_they_go_alone_for_a_while(both: World) -> None:
    await test_one_that_is_refused_does_not_hurt_the_others(both)
    async with held(both, "notes"):
        again = [write(both, INSERT, body) for body in "de"]
        assert not any(isinstance(each, Member) for each in again)
    await asyncio.gather(*again)


async def test_who_goes_while_waiting_is_not_executed(both: World) -> None:
    await prepared(both)
    async with held(both, "notes"):
        first, second, third = (write(both, INSERT, body) for body in "abc")
        assert isinstance(second, Member)
        assert second.cancel()
        await waiting(both, 2)
    await asyncio.gather(first, third)
    assert second.cancelled()
    assert await rows(both, BODIES) == ["a", "c", "w", "x", "y"]
    await both.session.execute(Statement("BEGIN IMMEDIATE"))  # nobody is counted among the writers any more
    await both.session.execute(Statement("COMMIT"))


async def test_who_goes_after_it_was_sent_is_executed(both: World) -> None:
    await prepared(both)
    async with held(both, "notes"):
        first, second, third = (write(both, INSERT, body) for body in "abc")
        await waiting(both, 2)
        assert second.cancel()
        await asyncio.sleep(0)
        assert not second.done()
    await asyncio.gather(first, third)
    with pytest.raises(asyncio.CancelledError):
        await second
    assert await rows(both, BODIES) == ["a", "b", "c", "w", "x", "y"]


async def lost(both: World) -> None:
    """Whoever waits for a lock loses its connection."""
    pids = await waiting(both, 2)
    async with both.pool.acquire() as native:
        await native.execute("SELECT pg_terminate_backend(pid) FROM unnest($1::int[]) AS lost(pid)", pids)


async def test_reads_of_a_group_whose_answer_is_lost_go_the_long_way(both: World) -> None:
    await known(both, BY_N, 1)
    async with held(both, "items"):
        reads = [read(both, BY_N, n) for n in (1, 2, 1)]
        await lost(both)
        async with asyncio.timeout(60):
            assert [await each for each in reads] == [[], [], []]


async def test_nobody_knows_of_writes_whose_answer_is_lost(both: World) -> None:
    await prepared(both)
    async with held(both, "notes"):
        writes = [write(both, INSERT, body) for body in "abc"]
        await lost(both)
        async with asyncio.timeout(60):
            found = [told(await each) for each in writes]
    assert [one.code for one in found if isinstance(one, StatementError)] == ["OUTCOME_UNKNOWN"] * 3
    assert await rows(both, BODIES) == ["w", "x", "y"]


async def test_a_stop_interrupts_a_group(both: World) -> None:
    await prepared(both)
    async with held(both, "notes"):
        writes = [write(both, INSERT, body) for body in "abc"]
        await waiting(both, 2)
        both.executor.hurry()
        async with asyncio.timeout(60):
            found = [told(await each) for each in writes]
    assert [one.code for one in found if isinstance(one, StatementError)] == ["SQLITE_INTERRUPT"] * 3
    assert await rows(both, BODIES) == ["w", "x", "y"]


async def test_a_fence_is_told_to_each(both: World) -> None:
    await prepared(both)
    async with both.pool.acquire() as native:
        await native.execute(
            """
            CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN RAISE EXCEPTION 'fenced' USING ERRCODE = '25006'; END $$;
            CREATE TRIGGER fence BEFORE INSERT ON notes FOR EACH ROW EXECUTE FUNCTION refuse();
            """
        )
    async with held(both, "notes"):
        writes = [write(both, INSERT, body) for body in "abc"]
        await waiting(both, 2)
    assert [type((await each)[0]) for each in writes] == [Fenced] * 3


async def test_slow_statements_run_side_by_side(both: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups, "_SECONDS", 0.02)
    slow = "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < ?) SELECT count(*) FROM c"
    await known(both, BY_N, 1)
    for _ in range(2):
        await asyncio.gather(*(both.executor.run((Step(Statement(slow, (400_000,))),)) for _ in range(2)))
    told(await read(both, slow, 400_000))
    side_by_side = [read(both, slow, 400_000) for _ in range(2)]
    assert not any(isinstance(each, Member) for each in side_by_side)
    assert [told(await each).rows for each in side_by_side] == [[(400_000,)]] * 2  # type: ignore[union-attr]


async def test_reads_that_are_too_large_together_are_answered_alone(both: World) -> None:
    await known(both, BY_N, 1)
    both.executor.dialect.max_response_bytes = 200_000
    long = "SELECT hex(zeroblob(?)) FROM items WHERE n = 2"
    await asyncio.gather(*(both.executor.run((Step(Statement(long, (10,))),)) for _ in range(2)))
    async with held(both, "items"):
        reads = [read(both, long, size) for size in (10, *[80_000] * 12)]
        await waiting(both, 2)
    found = [await each for each in reads]
    assert told(found[0]) is not None
    assert found[1:] == [[]] * 12
