"""Applications that are in the way of a switch: each holds a lock for as long as its context lasts."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing, suppress

import asyncpg

Hindrance = Callable[[str, str], AbstractAsyncContextManager[None]]
"""(SQLite's path, Postgres's URL) → its context."""

_PREPARED = "SELECT count(*) FROM {} WHERE outcome = 'prepared'"


@asynccontextmanager
async def postgres_written(_sqlite: str, postgres: str) -> AsyncIterator[None]:
    """A writer that does not come to an end. It hinders no other writer, and no applier."""
    native = await _writing(postgres)
    try:
        yield
    finally:
        native.terminate()


async def _writing(postgres: str) -> asyncpg.Connection:
    native = await asyncpg.connect(postgres)
    await native.transaction().start()
    await native.execute("LOCK TABLE items IN ROW EXCLUSIVE MODE")  # what an INSERT takes, if there is no fence
    return native


@asynccontextmanager
async def postgres_locked(_sqlite: str, postgres: str) -> AsyncIterator[None]:
    """Nobody writes to Postgres any more once a switch is prepared there. Before that, the gates would see it."""

    async def lock(native: asyncpg.Connection) -> None:
        await _prepared_on_postgres(native)
        await native.transaction().start()
        await native.execute("LOCK TABLE items, accounts, pairs IN EXCLUSIVE MODE")

    native = await asyncpg.connect(postgres)
    try:
        async with _meanwhile(lock(native)):
            yield
    finally:
        native.terminate()


@asynccontextmanager
async def sqlite_locked(sqlite: str, postgres: str) -> AsyncIterator[None]:
    """Nobody writes to SQLite any more once a switch is prepared on Postgres."""
    lock = _SqliteLock(sqlite)

    async def wait() -> None:
        native = await asyncpg.connect(postgres)
        try:
            await _prepared_on_postgres(native)
        finally:
            native.terminate()
        await lock.taken()

    try:
        async with _meanwhile(wait()):
            yield
    finally:
        await lock.released()


@asynccontextmanager
async def sqlite_locked_late(sqlite: str, postgres: str) -> AsyncIterator[None]:
    """Nobody writes to SQLite any more once a switch is prepared there. Until that is so, a writer holds Postgres's
    fence up."""
    lock, native = _SqliteLock(sqlite), await _writing(postgres)

    async def wait() -> None:
        with closing(sqlite3.connect(sqlite, timeout=60, isolation_level=None)) as direct:
            while not direct.execute(_PREPARED.format("_cutover_switches")).fetchone()[0]:
                await asyncio.sleep(0.002)
        await lock.taken()
        native.terminate()

    try:
        async with _meanwhile(wait()):
            yield
    finally:
        native.terminate()
        await lock.released()


async def _prepared_on_postgres(native: asyncpg.Connection) -> None:
    while not await native.fetchval(_PREPARED.format("cutover.switches")):
        await asyncio.sleep(0)


@asynccontextmanager
async def _meanwhile(doing: Coroutine[None, None, None]) -> AsyncIterator[None]:
    task = asyncio.create_task(doing)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


class _SqliteLock:
    """The file's write lock, held in a thread, because that is where its connection must stay."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._taken, self._release = threading.Event(), threading.Event()
        self._holding: asyncio.Future[None] | None = None

    async def taken(self) -> None:
        self._holding = asyncio.ensure_future(asyncio.to_thread(self._hold))
        await asyncio.to_thread(self._taken.wait, 30)

    def _hold(self) -> None:
        with closing(sqlite3.connect(self._path, timeout=20, isolation_level=None)) as direct:
            direct.execute("BEGIN IMMEDIATE")
            self._taken.set()
            self._release.wait()

    async def released(self) -> None:
        self._release.set()
        if self._holding is not None:
            await self._holding
