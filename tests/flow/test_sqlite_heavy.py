"""Statements that are heavy in one step, where SQLite looks neither at the clock nor at who waits."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from functools import partial

import pytest

from cutover.metrics import Metrics
from cutover.model.statement import BatchResult, Statement, Step
from cutover.stores.sqlite.declared import DeclaredTypes
from cutover.stores.sqlite.executor import SqliteExecutor
from cutover.stores.sqlite.limit import Limit
from cutover.stores.sqlite.reading import Reads
from cutover.stores.sqlite.schemacopy import SchemaCopies
from cutover.stores.sqlite.store import SqliteStore
from tests.support.memory import keeping_little


@pytest.fixture
async def store(sqlite_path: str) -> AsyncIterator[SqliteStore]:
    setup = sqlite3.connect(sqlite_path)
    setup.executescript("CREATE TABLE t (id INTEGER PRIMARY KEY, n INT); INSERT INTO t VALUES (1, 0)")
    setup.close()
    store = SqliteStore(sqlite_path, busy_timeout=0.3, readers=2)
    await store.open()
    yield store
    await store.close()


@pytest.fixture
async def executor(store: SqliteStore) -> AsyncIterator[SqliteExecutor]:
    executor = SqliteExecutor(store, Metrics("test"), transaction_timeout=1, max_response_bytes=10_000_000)
    yield executor
    await executor.close()


def one(sql: str) -> list[Step]:
    return [Step(Statement(sql))]


def codes(result: BatchResult) -> list[str | None]:
    return [None if error is None else error.code for error in result.errors]


HUGE = "length(zeroblob(300000000))"


async def test_a_read_makes_no_value_that_no_answer_could_hold(executor: SqliteExecutor) -> None:
    assert codes(await executor.run(one(f"SELECT {HUGE}"))) == ["SQLITE_TOOBIG"]
    found = await executor.read_pieces(one(f"SELECT {HUGE}"))
    assert isinstance(found, BatchResult)
    assert codes(found) == ["SQLITE_TOOBIG"]
    assert codes(await executor.run(one("SELECT length(zeroblob(250000000))"))) == [None]


async def test_writes_and_transactions_may_have_values_of_any_size(executor: SqliteExecutor) -> None:
    assert codes(await executor.run(one(f"UPDATE t SET n = {HUGE}"))) == [None]
    session = executor.session()
    result = await session.batch([*one("BEGIN"), *one(f"SELECT {HUGE} = n FROM t"), *one("COMMIT")])
    await session.close()
    assert result.results[1] is not None
    assert result.results[1].rows == [(1,)]


async def test_larger_answers_may_be_read_where_they_are_allowed(store: SqliteStore) -> None:
    executor = SqliteExecutor(store, Metrics("test"), transaction_timeout=1, max_response_bytes=200_000_000)
    assert codes(await executor.run(one(f"SELECT {HUGE}"))) == [None]
    await executor.close()


ONE_STEP = "SELECT instr(hex(zeroblob(250000)), hex(zeroblob(75000)) || '1')"
"""Some seconds in a single function, in which nobody can stop SQLite."""


async def test_reads_beside_one_that_cannot_be_stopped_are_answered(executor: SqliteExecutor) -> None:
    heavy = asyncio.ensure_future(executor.run(one(ONE_STEP)))
    quick = await asyncio.gather(*(executor.run(one(f"SELECT {at}")) for at in range(40)))
    assert not heavy.done()
    assert [result.results[0].rows for result in quick] == [[(at,)] for at in range(40)]  # type: ignore[union-attr]
    assert (await heavy).results[0].rows == [(0,)]  # type: ignore[union-attr]


@pytest.fixture
async def reads(store: SqliteStore) -> AsyncIterator[Reads]:
    reads = Reads(store.read, DeclaredTypes(SchemaCopies()), Limit(30))
    yield reads
    await reads.close()


def note(seen: list[int], number: int, _db: sqlite3.Connection) -> int:
    seen.append(number)
    return number


async def test_each_read_of_a_hop_that_is_taken_apart_runs_once_and_in_order(reads: Reads) -> None:
    go, seen = threading.Event(), list[int]()
    stuck = asyncio.ensure_future(reads.ask(lambda _: go.wait(20)))
    answers = await asyncio.gather(*(reads.ask(partial(note, seen, number)) for number in range(50)))
    assert not stuck.done()
    go.set()
    assert await stuck
    assert answers == list(range(50))
    assert sorted(seen) == list(range(50))


async def test_once_every_reader_is_stuck_reads_wait_for_the_first_that_comes_free(reads: Reads) -> None:
    holds = [threading.Event() for _ in range(2)]  # as many as there are readers
    begun = threading.Semaphore(0)

    def hold(go: threading.Event, _db: sqlite3.Connection) -> bool:
        begun.release()
        return go.wait(20)

    stuck = [asyncio.ensure_future(reads.ask(partial(hold, go))) for go in holds]
    for _ in holds:
        await asyncio.to_thread(begun.acquire, timeout=60)
    waiting = [asyncio.ensure_future(reads.ask(partial(note, [], number))) for number in range(40)]
    done, _ = await asyncio.wait(waiting, timeout=0.2)
    assert not done
    holds[0].set()
    assert await asyncio.gather(*waiting) == list(range(40))
    assert not stuck[1].done()
    holds[1].set()
    assert await asyncio.gather(*stuck) == [True, True]


async def test_one_that_is_stuck_takes_no_place_from_the_quick(reads: Reads) -> None:
    """And reads asked for while it is stuck do not wait at all."""
    go = threading.Event()
    stuck = asyncio.ensure_future(reads.ask(lambda _: go.wait(20)))
    for round_ in range(3):
        answers = await asyncio.gather(*(reads.ask(partial(note, [], number)) for number in range(20)))
        assert answers == list(range(20)), round_
    assert not stuck.done()
    stuck.cancel()
    go.set()


async def test_answers_are_not_kept_by_the_connections_that_read_them(executor: SqliteExecutor) -> None:
    large = one("SELECT hex(zeroblob(2000000))")
    session = executor.session()
    try:
        with keeping_little(2_000_000):
            await asyncio.gather(*(executor.run(large) for _ in range(4)))
            await session.batch([*one("BEGIN"), *large])
            await asyncio.sleep(0)  # the event loop itself holds what it answered last
    finally:
        await session.close()
