"""Scripts of transactions and small writes are the same on both stores, and in a crowd each stream gets its turn."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cutover.errors import StatementError
from cutover.model.statement import Statement
from cutover.stores.sqlite.running import run_statement
from tests.flow.dialect_world import World, world

SCHEMA = "CREATE TABLE counters (name TEXT PRIMARY KEY, n INTEGER NOT NULL CHECK (n < 7));"
DATA = ("INSERT INTO counters VALUES ('a', 0)",)
SCRIPT = st.lists(
    st.sampled_from(
        (
            *("BEGIN", "BEGIN IMMEDIATE", "COMMIT", "ROLLBACK"),
            *("SAVEPOINT s", "SAVEPOINT t", "RELEASE s", "ROLLBACK TO s", "RELEASE t"),
            "UPDATE counters SET n = n + 1",
            "UPDATE counters SET n = n + 4",
            "INSERT INTO counters VALUES ('b', 1)",
            "DELETE FROM counters WHERE name = 'b'",
            "SELECT name, n, changes() FROM counters ORDER BY name",
        )
    ),
    max_size=14,
)
SETTLED = "UPDATE counters SET n = 0"
"""First, so that `changes()` tells of the stream's own statements on both."""
CROWD = 32


@pytest.fixture
async def both(postgres_url: str) -> AsyncIterator[World]:
    async with world(postgres_url, SCHEMA, data=DATA) as made:
        yield made


def on_sqlite(script: Sequence[str]) -> list[object]:
    db = sqlite3.connect(":memory:", isolation_level=None)
    for text in (SCHEMA, *DATA):
        db.execute(text)
    found: list[object] = []
    for text in script:
        try:
            found.append(run_statement(db, Statement(text)).rows)
        except StatementError as error:
            found.append(error.code)
    db.close()
    return found


async def on_postgres(both: World, script: Sequence[str]) -> list[object]:
    session = both.executor.session()
    found: list[object] = []
    for text in script:
        try:
            found.append((await session.execute(Statement(text))).rows)
        except StatementError as error:
            found.append(error.code)
    await session.close()
    return found


async def test_a_script_of_one_stream_is_the_same_on_both(both: World) -> None:
    loop = asyncio.get_running_loop()

    @settings(max_examples=40, suppress_health_check=list(HealthCheck))
    @given(SCRIPT)
    def check(script: list[str]) -> None:
        async def run() -> list[object]:
            for text in ("DELETE FROM counters", *DATA):
                await both.executor.session().execute(Statement(text))
            return await on_postgres(both, script)

        script = [SETTLED, *script]
        assert asyncio.run_coroutine_threadsafe(run(), loop).result(60) == on_sqlite(script)

    await asyncio.to_thread(check)


async def test_no_stream_of_a_crowd_starves(both: World) -> None:
    await both.executor.session().execute(Statement("CREATE TABLE tally (id INTEGER PRIMARY KEY, n INTEGER)"))
    await both.executor.session().execute(Statement("INSERT INTO tally VALUES (1, 0)"))

    async def one(number: int) -> None:
        session = both.executor.session()
        begin = "BEGIN" if number % 2 else "BEGIN IMMEDIATE"
        for text in (begin, "UPDATE tally SET n = n + 1 WHERE id = 1", "SELECT n FROM tally", "COMMIT"):
            await session.execute(Statement(text))  # none is refused: each waits for those before it
        await session.close()

    async with asyncio.timeout(60):
        await asyncio.gather(*(one(number) for number in range(CROWD)))
    rows = (await both.executor.session().execute(Statement("SELECT n FROM tally"))).rows
    assert rows == [(CROWD,)]


@pytest.mark.parametrize("fresh", [False, True])
async def test_transactions_that_read_first_and_are_repeated_at_once_all_come_to_their_end(
    both: World, fresh: bool
) -> None:
    """Each of a crowd meets others at most a few times, whether it is repeated on its stream or on another one."""
    refused = 0
    session = both.executor.session()
    await session.sequence("CREATE TABLE tally (id INTEGER PRIMARY KEY, n INTEGER); INSERT INTO tally VALUES (1, 0)")
    await session.close()

    async def one() -> None:
        nonlocal refused
        session = both.executor.session()
        while True:
            try:
                await session.execute(Statement("BEGIN"))
                n = (await session.execute(Statement("SELECT n FROM tally WHERE id = 1"))).rows[0][0]
                assert isinstance(n, int)
                await session.execute(Statement("UPDATE tally SET n = ? WHERE id = 1", (n + 1,)))
                await session.execute(Statement("COMMIT"))
                break
            except StatementError as error:
                if error.code != "SQLITE_BUSY":
                    raise
                refused += 1
                if fresh:
                    await session.close()
                    session = both.executor.session()
        await session.close()

    async with asyncio.timeout(60):
        await asyncio.gather(*(one() for _ in range(CROWD)))
    assert (await both.executor.session().execute(Statement("SELECT n FROM tally"))).rows == [(CROWD,)]
    assert refused < 2 * CROWD


async def test_a_transaction_that_writes_is_not_refused_for_writes_that_stand_alone(both: World) -> None:
    """It begins when those before it have ended, and those after it wait, as on SQLite."""
    made = both.executor.session()
    await made.execute(Statement("CREATE TABLE tally (id INTEGER PRIMARY KEY, n INTEGER)"))
    await made.execute(Statement("INSERT INTO tally VALUES (1, 0)"))
    await made.close()

    async def alone() -> None:
        session = both.executor.session()
        for _ in range(20):
            await session.execute(Statement("UPDATE tally SET n = n + 1 WHERE id = 1"))
        await session.close()

    async def together() -> None:
        session = both.executor.session()
        for _ in range(20):
            await session.execute(Statement("BEGIN IMMEDIATE"))
            n = (await session.execute(Statement("SELECT n FROM tally WHERE id = 1"))).rows[0][0]
            assert isinstance(n, int)
            await session.execute(Statement("UPDATE tally SET n = ? WHERE id = 1", (n + 1,)))
            await session.execute(Statement("COMMIT"))
        await session.close()

    async with asyncio.timeout(60):
        await asyncio.gather(*(work() for work in (*[alone] * 6, *[together] * 2)))
    rows = (await both.executor.session().execute(Statement("SELECT n FROM tally"))).rows
    assert rows == [(160,)]
