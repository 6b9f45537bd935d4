"""Writes of cutover's own and transactions of applications that have read: nobody is refused for our sake."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator

import pytest

from cutover.errors import StatementError
from cutover.metrics import Metrics
from cutover.model.control import Control
from cutover.model.statement import Statement
from cutover.stores.sqlite.courtesy import Courtesy
from cutover.stores.sqlite.executor import SqliteExecutor
from cutover.stores.sqlite.session import SqliteSession
from cutover.stores.sqlite.store import SqliteStore

OURS = ("CREATE TABLE ours (id INTEGER PRIMARY KEY)",)


@pytest.fixture
async def store(sqlite_path: str) -> AsyncIterator[SqliteStore]:
    db = sqlite3.connect(sqlite_path)
    db.executescript("CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT)")
    db.close()
    store = SqliteStore(sqlite_path, busy_timeout=60)
    store.courtesy = Courtesy(patience=60)
    await store.open()
    yield store
    await store.close()


@pytest.fixture
async def session(store: SqliteStore) -> AsyncIterator[SqliteSession]:
    executor = SqliteExecutor(store, Metrics("test"), transaction_timeout=60)
    session = executor.session()
    yield session
    await session.close()
    await executor.close()


async def run(session: SqliteSession, *statements: str) -> None:
    for sql in statements:
        await session.execute(Statement(sql))


async def turns(times: int = 20) -> None:
    """Let everybody on the loop go as far as they can; threads of connections answer meanwhile."""
    for _ in range(times):
        await asyncio.sleep(0.002)


async def test_a_transaction_that_has_read_can_write(store: SqliteStore, session: SqliteSession) -> None:
    await run(session, "BEGIN", "SELECT * FROM t")
    ours = asyncio.create_task(store.alter(OURS))
    await turns()
    assert not ours.done()
    await run(session, "INSERT INTO t(a) VALUES ('x')", "COMMIT")
    await ours
    await run(session, "INSERT INTO ours VALUES (1)")


async def test_one_that_was_rolled_back_or_closed_is_not_waited_for(store: SqliteStore, session: SqliteSession) -> None:
    await run(session, "BEGIN", "SELECT * FROM t", "ROLLBACK")
    await asyncio.wait_for(store.alter(OURS), 60)
    await run(session, "BEGIN", "SELECT * FROM t")
    with pytest.raises(StatementError):
        await run(session, "SELECT nought")
    ours = asyncio.create_task(store.alter(("DROP TABLE ours",)))
    await session.close()
    await asyncio.wait_for(ours, 60)


async def test_one_that_does_not_end_is_waited_for_a_while(store: SqliteStore, session: SqliteSession) -> None:
    store.courtesy = session._lender.courtesy = Courtesy(patience=0.05)
    await run(session, "BEGIN", "SELECT * FROM t")
    await asyncio.wait_for(store.alter(OURS), 60)
    with pytest.raises(StatementError, match="locked"):
        await run(session, "INSERT INTO t(a) VALUES ('x')")
    await run(session, "ROLLBACK", "INSERT INTO t(a) VALUES ('x')")


async def test_who_begins_while_we_write_reads_what_we_wrote(store: SqliteStore, session: SqliteSession) -> None:
    async with store.courtesy.write(store.writer_turn):
        reading = asyncio.create_task(
            run(session, "BEGIN", "SELECT * FROM t", "INSERT INTO t(a) VALUES ('x')", "COMMIT")
        )
        await turns()
        other = sqlite3.connect(store.path)
        other.executescript(OURS[0])
        other.close()
    await reading


async def test_the_anchor_of_the_audit_log_is_as_polite(
    store: SqliteStore, session: SqliteSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cutover.stores.sqlite.store._ANCHOR_PATIENCE", 60)
    await store.initialise(Control("pair", "sqlite", 1, generation=1))
    await run(session, "BEGIN", "SELECT * FROM t")
    ours = asyncio.create_task(store.anchor(1, "digest"))
    await turns()
    assert not ours.done()
    await run(session, "INSERT INTO t(a) VALUES ('x')", "COMMIT")
    await ours
    control = await store.control()
    assert control is not None
    assert (control.audit_sequence, control.audit_hash) == (1, "digest")
