"""Applications' statements on SQLite: reads at once on many connections, writes in groups on one."""

from __future__ import annotations

import asyncio
import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from cutover import clock
from cutover.metrics import Metrics
from cutover.model.statement import BatchResult, Step
from cutover.schema.batches import Route, route
from cutover.stores.sqlite.connection import Connection
from cutover.stores.sqlite.declared import DeclaredTypes
from cutover.stores.sqlite.describe import Describer
from cutover.stores.sqlite.group import Outcome, run_group
from cutover.stores.sqlite.limit import Limit
from cutover.stores.sqlite.reading import Reads
from cutover.stores.sqlite.session import SqliteSession
from cutover.stores.sqlite.store import SqliteStore
from cutover.stores.sqlite.turns import Turns

T = TypeVar("T")
_LARGEST_GROUP = 256
_IDLE_CONNECTIONS = 8
_LAST_SECONDS = 5.0
"""What a statement may take in all when the executor is closed: the service must come to its end."""

_Waiting = tuple[Sequence[Step], "asyncio.Future[BatchResult]"]


class SqliteExecutor:
    """Implements `stores.base.Executor`."""

    def __init__(
        self, store: SqliteStore, metrics: Metrics, *, transaction_timeout: float, statement_timeout: float = 30.0
    ) -> None:
        """`transaction_timeout`: seconds after which an interactive write transaction gives way to one that waits.

        `statement_timeout`: seconds after which a statement is ended with SQLITE_INTERRUPT; 0: never.
        """
        self.types = DeclaredTypes()
        self.describer = Describer()
        self.limit = Limit(statement_timeout)
        self.turns = Turns(store.writer_turn, transaction_timeout)
        self._store = store
        self._metrics = metrics
        self._reads = Reads(store.read, self.types, self.limit)
        self._queue: deque[_Waiting] = deque()
        self._worker: asyncio.Task[None] | None = None
        self._idle: list[Connection] = []
        self._closed = False

    def session(self) -> SqliteSession:
        """A new session; it borrows a connection when first used."""
        return SqliteSession(self)

    async def run(self, steps: Sequence[Step]) -> BatchResult:
        """Run a batch of no stream. Returns when it is durable.

        Raises `Fenced` if the store's fence refused it, `StatementError` if no write lock was to be had; nothing was
        executed then. A cancelled caller that still waits is forgotten; one whose group began is not waited for, and
        its batch comes to its end.
        """
        way = route(steps)
        if way is Route.READ:
            return await self._reads.run(steps)
        if way is Route.SESSION:
            return await self._run_in_session(steps)
        future: asyncio.Future[BatchResult] = asyncio.get_running_loop().create_future()
        self._queue.append((steps, future))
        if self._worker is None:
            self._worker = asyncio.create_task(self._work())
        return await future

    async def close(self) -> None:
        """Finish the writes that wait, and close the connections of past sessions."""
        self._closed = True
        self.limit.seconds = min(self.limit.seconds, _LAST_SECONDS)
        await self._reads.close()
        if self._worker is not None:
            await asyncio.wait({self._worker})
        while self._idle:
            await self._idle.pop().close()

    async def lend(self) -> Connection:
        """A connection for a session."""
        return self._idle.pop() if self._idle else await self._store.connect()

    async def take_back(self, connection: Connection) -> None:
        """Keep a few connections: opening one costs a thread and a schema."""
        if self._closed or len(self._idle) >= _IDLE_CONNECTIONS:
            await connection.close()
        else:
            self._idle.append(connection)

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run on a reader."""
        return await self._store.read(work)

    async def _run_in_session(self, steps: Sequence[Step]) -> BatchResult:
        session = self.session()
        try:
            return await session.batch(steps)
        finally:
            await session.close()

    async def _work(self) -> None:
        """Serve the queue until it is empty. What arrives while a group is written makes the next one."""
        try:
            while self._queue:
                group = self._take()
                if group:
                    await self._commit(group)
        finally:
            self._worker = None

    def _take(self) -> list[_Waiting]:
        group: list[_Waiting] = []
        while self._queue and len(group) < _LARGEST_GROUP:
            waiting = self._queue.popleft()
            if not waiting[1].done():
                group.append(waiting)
        return group

    async def _commit(self, group: list[_Waiting]) -> None:
        began = clock.monotonic()
        try:
            with self.turns.waiting():
                outcomes = await self._store.write(
                    partial(run_group, batches=[steps for steps, _ in group], limit=self.limit)
                )
        except Exception as error:  # noqa: BLE001  # every waiter gets an answer
            for _, future in group:
                if not future.done():
                    future.set_exception(error)
            return
        self._metrics.write_commit_seconds.observe(clock.monotonic() - began)
        self._metrics.write_group_size.observe(len(group))
        for (_, future), outcome in zip(group, outcomes, strict=True):
            _settle(future, outcome)


def _settle(future: asyncio.Future[BatchResult], outcome: Outcome) -> None:
    if future.done():
        return
    if isinstance(outcome, BatchResult):
        future.set_result(outcome)
    else:
        future.set_exception(outcome)
