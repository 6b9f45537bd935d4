"""Applications' statements on SQLite: reads at once on many connections, writes in groups on one."""

from __future__ import annotations

import asyncio
import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar
from weakref import WeakSet

from cutover import clock
from cutover.metrics import Metrics
from cutover.model.statement import BatchOutcome, BatchResult, Statement, Step
from cutover.schema.batches import Route, route
from cutover.schema.sqltext import inspect, only_statement
from cutover.stores.executing import Pieces
from cutover.stores.sqlite.connection import Connection
from cutover.stores.sqlite.declared import DeclaredTypes
from cutover.stores.sqlite.describe import Describer
from cutover.stores.sqlite.gathering import Gathering
from cutover.stores.sqlite.group import run_group
from cutover.stores.sqlite.limit import Limit
from cutover.stores.sqlite.pieces import Patience, SqlitePieces, read_if_small
from cutover.stores.sqlite.reading import Reads
from cutover.stores.sqlite.schemacopy import SchemaCopies
from cutover.stores.sqlite.session import SqliteSession
from cutover.stores.sqlite.store import SqliteStore
from cutover.stores.sqlite.turns import Turns

T = TypeVar("T")
_LARGEST_GROUP = 256
_IDLE_CONNECTIONS = 8
_LAST_SECONDS = 5.0
"""What a statement may take in all when the executor is closed: the service must come to its end."""


class _Waiting(asyncio.Future[list[BatchOutcome]]):
    """A client's batches in the queue. Once they are under way, nobody is told of an end before it has come."""

    def __init__(self, batches: Sequence[Sequence[Step]]) -> None:
        super().__init__()
        self.batches = batches
        self.begun = False

    def cancel(self, msg: str | None = None) -> bool:
        """Take them back, if that is still possible."""
        return not self.begun and super().cancel(msg)


class SqliteExecutor:
    """Implements `stores.base.Executor`."""

    def __init__(
        self,
        store: SqliteStore,
        metrics: Metrics,
        *,
        transaction_timeout: float,
        statement_timeout: float = 30.0,
        max_response_bytes: int = 0,
    ) -> None:
        """`transaction_timeout`: seconds after which an interactive write transaction gives way to one that waits.

        `statement_timeout`: seconds after which a statement is ended with SQLITE_INTERRUPT; 0: never.

        `max_response_bytes`: that the rows of one answer may take, about; 0: no limit.
        """
        copies = SchemaCopies()
        self.types = DeclaredTypes(copies)
        self.describer = Describer(copies)
        self.limit = Limit(statement_timeout, max_response_bytes)
        self.turns = Turns(store.writer_turn, transaction_timeout)
        self.courtesy = store.courtesy
        self._store = store
        self._metrics = metrics
        self._reads = Reads(store.read, self.types, self.limit)
        self._queue: deque[_Waiting] = deque()
        self._gathering = Gathering(self._queue)
        self._worker: asyncio.Task[None] | None = None
        self._idle: list[Connection] = []
        self._closed = False
        self._pieces: WeakSet[SqlitePieces] = WeakSet()
        self.patience = Patience()

    def session(self, *, read_only: bool = False) -> SqliteSession:
        """A new session; it borrows a connection when first used."""
        return SqliteSession(self, read_only=read_only)

    async def run(self, steps: Sequence[Step]) -> BatchResult:
        """Run a batch of no stream. Returns when it is durable.

        Raises `Fenced` if the store's fence refused it, `StatementError` if no write lock was to be had; nothing was
        executed then. A cancelled caller that still waits is forgotten; one whose group began ends with it.
        """
        way = route(steps)
        if way is Route.READ:
            return await self._reads.run(steps)
        if way is Route.SESSION:
            return await self._run_in_session(steps)
        outcome = (await self.submit((steps,)))[0]
        if isinstance(outcome, BatchResult):
            return outcome
        raise outcome

    def submit(self, batches: Sequence[Sequence[Step]]) -> asyncio.Future[list[BatchOutcome]]:
        """Self-contained batches that may write: they share the next commit with whoever waits, and each other."""
        waiting = _Waiting(batches)
        self._queue.append(waiting)
        if self._worker is None:
            self._worker = asyncio.create_task(self._work())
        else:
            self._gathering.arrived()
        return waiting

    def begin_read(self, statement: Statement) -> asyncio.Future[list[BatchOutcome]] | None:  # noqa: ARG002  # the protocol's
        """Never: a reader is another thread in any case."""
        return None

    async def read_pieces(self, steps: Sequence[Step]) -> BatchResult | Pieces:
        """A batch that only reads: its result if that is small. If not, it is run again, in pieces."""
        result = await self._reads.ask(partial(read_if_small, steps=steps, types=self.types))
        if result is not None:
            return result
        pieces = SqlitePieces(steps, self.types, self.limit, self._store.reader, self.patience)
        self._pieces.add(pieces)
        return pieces

    def hurry(self) -> None:
        """Statements that take any time end with SQLITE_INTERRUPT, those that run and those to come."""
        self.limit.seconds = 0.0

    async def plan(self, sql: str) -> list[str]:
        """What EXPLAIN QUERY PLAN tells on a reading connection; SQLite writes `?` for values itself."""
        values = (None,) * len(inspect(sql).params)
        found = await self.run((Step(Statement(f"EXPLAIN QUERY PLAN {only_statement(sql)}", values)),))
        if found.errors[0] is not None:
            raise found.errors[0]
        return [str(row[3]) for row in found.results[0].rows] if found.results[0] else []

    async def close(self) -> None:
        """Finish the writes that wait, and close the connections of past sessions."""
        self._closed = True
        for pieces in list(self._pieces):
            await pieces.close()
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
        """Serve the queue until it is empty. What arrives before the turn has come, or while a group is written, makes
        the next one."""
        try:
            while self._queue:
                await self._gathering.wait()
                with self.turns.waiting():
                    await self._store.writer_turn.acquire()
                try:
                    if group := self._take():
                        await self._commit(group)
                finally:
                    self._store.writer_turn.release()
        finally:
            self._worker = None

    def _take(self) -> list[_Waiting]:
        group: list[_Waiting] = []
        size = 0
        while self._queue and size < _LARGEST_GROUP:
            waiting = self._queue.popleft()
            if not waiting.done():
                waiting.begun = True
                size += len(waiting.batches)
                group.append(waiting)
        return group

    async def _commit(self, group: list[_Waiting]) -> None:
        began = clock.monotonic()
        try:
            clients = [waiting.batches for waiting in group]
            outcomes = await self._store.write_in_turn(
                partial(run_group, clients=clients, limit=self.limit, types=self.types)
            )
        except Exception as error:  # noqa: BLE001  # every waiter gets an answer
            for waiting in group:
                waiting.set_exception(error)
            return
        took = clock.monotonic() - began
        self._gathering.ended(len(group), took)
        self._metrics.write_commit_seconds.observe(took)
        self._metrics.write_group_size.observe(len(group))
        for waiting, found in zip(group, outcomes, strict=True):
            waiting.set_result(found)
