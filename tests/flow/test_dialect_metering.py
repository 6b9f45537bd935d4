"""An answer that is far too large is cancelled while it comes; nothing else is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from cutover.dialect.metering import Meter, meter_of
from cutover.errors import StatementError
from cutover.model.statement import BatchResult, Statement, Step
from tests.flow.dialect_world import World, world

SCHEMA = "CREATE TABLE items (id INTEGER PRIMARY KEY, body); CREATE TABLE notes (id INTEGER PRIMARY KEY)"
LIMIT = 200_000
ROWS = 3_000_000
MANY = (
    f"WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < {ROWS}) "
    "SELECT n, 'a text of some forty characters, or so, yes' FROM c"
)
ALL_BYTES = ROWS * 60


@pytest.fixture
async def both(postgres_url: str) -> AsyncIterator[World]:
    async with world(postgres_url, SCHEMA) as made:
        made.executor.dialect.max_response_bytes = LIMIT
        yield made


@pytest.fixture
def meters(monkeypatch: pytest.MonkeyPatch) -> list[Meter]:
    """Every meter that was asked to stop, with what it had received by then."""
    found: list[Meter] = []
    settled = Meter.settled

    async def watched(meter: Meter) -> None:
        if meter.cancelled is not None:
            found.append(meter)
        await settled(meter)

    monkeypatch.setattr(Meter, "settled", watched)
    return found


async def test_three_million_rows_are_refused_long_before_they_have_come(both: World, meters: list[Meter]) -> None:
    found = (await both.executor.run((Step(Statement(MANY)),))).errors[0]
    assert found is not None
    assert found.code == "RESPONSE_TOO_LARGE"
    assert LIMIT < meters[0].received < ALL_BYTES / 2
    await both.same("SELECT count(*) FROM items")


async def test_so_they_are_by_the_short_way(both: World, meters: list[Meter]) -> None:
    sql = MANY.replace(str(ROWS), "?")
    await both.executor.run((Step(Statement(sql, (1,))),))
    reading = both.executor.begin_read(Statement(sql, (ROWS,)))
    assert reading is not None
    outcome = (await reading)[0]
    assert isinstance(outcome, BatchResult)
    assert outcome.errors[0] is not None
    assert outcome.errors[0].code == "RESPONSE_TOO_LARGE"
    assert LIMIT < meters[0].received < ALL_BYTES / 2
    for _ in range(3):
        assert (await both.executor.run((Step(Statement(sql, (1,))),))).errors == [None]


async def test_the_transaction_goes_on(both: World, meters: list[Meter]) -> None:
    await both.session.sequence("BEGIN; INSERT INTO notes VALUES (1)")
    with pytest.raises(StatementError) as refused:
        await both.session.execute(Statement(MANY))
    assert refused.value.code == "RESPONSE_TOO_LARGE"
    assert len(meters) == 1
    await both.session.sequence("INSERT INTO notes VALUES (2); COMMIT")
    assert (await both.on_postgres("SELECT * FROM notes")).rows == [(1,), (2,)]


async def test_what_comes_larger_than_it_is_told_is_not_refused(both: World) -> None:
    blob = bytes(range(256)) * (LIMIT // 256 - 10)
    await both.same("INSERT INTO items (body) VALUES (?)", blob)
    await both.same("SELECT id, body FROM items WHERE id = ?", 1)


async def test_rows_that_nobody_wants_are_not_counted(both: World, meters: list[Meter]) -> None:
    sql = MANY.replace(str(ROWS), "30000")
    found = await both.executor.run((Step(Statement(sql, want_rows=False)),))
    assert found.errors == [None]
    assert meters == []


async def test_an_interrupt_is_told_as_one(both: World) -> None:
    async with both.pool.acquire() as native, native.transaction():
        await native.execute("LOCK TABLE notes IN ACCESS EXCLUSIVE MODE")
        running = asyncio.ensure_future(both.executor.run((Step(Statement("SELECT * FROM notes")),)))
        async with asyncio.timeout(60):
            while not await native.fetch(
                "SELECT pg_cancel_backend(pid) FROM pg_locks JOIN pg_stat_activity USING (pid) "
                "WHERE NOT granted AND datname = current_database()"
            ):
                await asyncio.sleep(0.01)
            found = (await running).errors[0]
    assert found is not None
    assert found.code == "SQLITE_INTERRUPT"


async def test_a_connection_that_is_gone_has_a_meter_that_meters_nothing(both: World) -> None:
    connection = await both.executor._connections.acquire()
    connection.terminate()
    while not connection.is_closed():
        await asyncio.sleep(0)
    meter_of(connection).begin(1)
    await both.executor._connections.release(connection)
    await both.same("SELECT count(*) FROM items")
