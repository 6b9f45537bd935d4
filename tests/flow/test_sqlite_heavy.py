"""Statements that are heavy in one step, where SQLite looks neither at the clock nor at who waits."""

import sqlite3
from collections.abc import AsyncIterator

import pytest

from cutover.metrics import Metrics
from cutover.model.statement import BatchResult, Statement, Step
from cutover.stores.sqlite.executor import SqliteExecutor
from cutover.stores.sqlite.store import SqliteStore


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
