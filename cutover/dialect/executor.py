"""Runs applications' statements, written in SQLite's SQL, on Postgres."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from cutover import clock
from cutover.dialect import patience
from cutover.dialect.alone import ATTEMPTS, FIRST_ALONE, pause, run_alone
from cutover.dialect.at_once import begin_read, begin_write
from cutover.dialect.connections import Connections
from cutover.dialect.dialect import Dialect
from cutover.dialect.failures import busy
from cutover.dialect.groups import Groups
from cutover.dialect.pieces import PostgresPieces
from cutover.dialect.plans import plan_of
from cutover.dialect.preparing import Memory
from cutover.dialect.rehearsal import Rehearsal
from cutover.dialect.session import PostgresSession
from cutover.dialect.spelling import Learned, differing, unknown
from cutover.dialect.widening import Unheld
from cutover.errors import Fenced, StatementError, StoreUnavailable
from cutover.metrics import Metrics
from cutover.model.statement import BatchOutcome, BatchResult, Statement, StatementResult, Step, holds
from cutover.model.table import Table, Tables
from cutover.schema.batches import Route, route, writes
from cutover.schema.sqltext import StatementKind, inspect
from cutover.settings import Settings
from cutover.stores.executing import Pieces
from cutover.stores.sqlite.connection import settled

if TYPE_CHECKING:
    from cutover.stores.postgres.store import PostgresStore


class PostgresExecutor:
    """Implements `stores.base.Executor`.

    Every transaction is SERIALIZABLE, as SQLite's are. Self-contained ones are repeated when they meet others;
    interactive ones get SQLITE_BUSY.
    """

    def __init__(
        self,
        store: PostgresStore,
        tables: Callable[[], Tables],
        ddl: Callable[[], Sequence[str]],
        metrics: Metrics,
        *,
        transaction_timeout: float,
        max_response_bytes: int = 0,
        settings: Settings | None = None,
    ) -> None:
        """`tables` and `ddl` (the SQLite schema's CREATE statements) are asked again when `tables` gives another tuple.

        `transaction_timeout`: seconds that an interactive transaction may stay open once it writes; 0: no limit.
        `settings` say how tables are mapped that applications make; without them schema changes are refused.
        `max_response_bytes`: that a query may answer, about; 0: no limit.
        """
        self._tables = tables
        self.dialect = Dialect(tables, ddl, settings=settings)
        self.dialect.max_response_bytes = max_response_bytes or sys.maxsize
        store.on_received = self.dialect.keys_moved
        store.keys_given = self.dialect.keys_given
        self._connections = Connections(store, self.dialect)
        self._groups = Groups(self._connections, self._committed)
        self.rehearsal = Rehearsal(self._connections)
        self._metrics = metrics
        self._timeout = transaction_timeout
        self._hurrying: asyncio.Future[None] | None = None

    def tell(self, on_schema_change: Callable[[], None], look_again: Callable[[], Awaitable[None]]) -> None:
        """Have the first called whenever a statement of an application has changed the schema, and the second awaited
        when one seems to have met a change that others made: it returns when that is known."""
        self._connections.on_schema_change, self._connections.look_again = on_schema_change, look_again

    def learned(self) -> Learned:
        """What statements have said of the formats of columns, and the mapping does not know."""
        return unknown(self.dialect.learned, self._tables())

    @property
    def learned_otherwise(self) -> bool:
        """Whether some of it is not what the mapping takes for it."""
        return differing(self.dialect.learned, self._tables())

    def session(self, *, read_only: bool = False) -> PostgresSession:
        """A new session; it borrows a connection when it needs one."""
        return PostgresSession(self._connections, transaction_timeout=self._timeout, read_only=read_only)

    async def run(self, steps: Sequence[Step]) -> BatchResult:
        """Run a batch of no stream. Returns when it is durable.

        Raises `Fenced` if the fence refused it and nothing of it was executed. A cancelled caller gets no answer, but
        a write that began comes to its end.
        """
        way = route(steps)
        if way is Route.READ:
            begun = begin_read(self._groups, steps[0].statement) if len(steps) == 1 else None
            found = None if begun is None else await begun
            return found[0] if found and isinstance(found[0], BatchResult) else await self._run(steps)
        began = clock.monotonic()
        result = await settled(self._run(steps) if way is Route.WRITE else self._in_session(steps))
        self._committed(clock.monotonic() - began, 1)
        return result

    def _committed(self, seconds: float, writes: int) -> None:
        self._metrics.write_commit_seconds.observe(seconds)
        self._metrics.write_group_size.observe(writes)

    def begin_read(self, statement: Statement) -> asyncio.Future[list[BatchOutcome]] | None:
        """A read that stands alone, if nothing is in its way."""
        return begin_read(self._groups, statement)

    async def read_pieces(self, steps: Sequence[Step]) -> BatchResult | Pieces:
        """A batch that only reads: its result if that is small, or else its pieces, fetched as they are taken."""
        pieces = PostgresPieces(self._connections, steps)
        try:
            return await pieces.if_small() or pieces
        except BaseException:
            await pieces.close()
            raise

    def submit(self, batches: Sequence[Sequence[Step]]) -> asyncio.Future[list[BatchOutcome]]:
        """Self-contained batches that may write, one transaction after the other."""

        def long_way() -> asyncio.Future[list[BatchOutcome]]:
            return asyncio.ensure_future(self._in_order(batches))

        begun = None
        if len(batches) == 1 and len(batches[0]) == 1 and batches[0][0].condition is None:
            begun = begin_write(self._groups, batches[0][0].statement, long_way)
        return begun or long_way()

    async def _in_order(self, batches: Sequence[Sequence[Step]]) -> list[BatchOutcome]:
        outcomes: list[BatchOutcome] = []
        for steps in batches:
            outcome: BatchOutcome
            if outcomes and isinstance(outcomes[-1], Fenced):
                outcome = outcomes[-1]
            else:
                try:
                    outcome = await self.run(steps)
                except (StatementError, Fenced, StoreUnavailable) as failure:
                    outcome = failure
            outcomes.append(outcome)
        return outcomes

    def hurry(self) -> None:
        """Have the server end the statements that run."""
        self._hurrying = asyncio.ensure_future(self._connections.interrupt())

    async def plan(self, sql: str) -> list[str]:
        """What EXPLAIN tells of the translation."""
        return await plan_of(self._connections, sql)

    async def close(self) -> None:
        """Give back the connections that are kept; the store closes its pool after this."""
        await self._connections.close()

    async def _run(self, steps: Sequence[Step]) -> BatchResult:
        if inspect(steps[0].statement.sql).kind in _BEGINS:
            return await self._transaction(steps)
        result = BatchResult()
        memory = Memory()
        memory.recall(steps[0].statement.past)
        wrote = False
        for step in steps:
            outcome: StatementResult | None = None
            error: StatementError | None = None
            if holds(step.condition, result, autocommit=True):
                try:
                    outcome = await self._alone(step.statement, memory)
                    wrote = wrote or inspect(step.statement.sql).kind is not StatementKind.READ
                except StatementError as failure:
                    error = failure.alone()
                    if inspect(step.statement.sql).kind is StatementKind.WRITE:
                        memory.failed(error)
                except Fenced as fenced:
                    if not wrote:
                        raise
                    error = busy(fenced.message)
            result.results.append(outcome)
            result.errors.append(error)
        return result

    async def _alone(self, statement: Statement, memory: Memory) -> StatementResult:
        if not await self._connections.changes(statement.sql):
            with suppress(Unheld):  # which takes a transaction
                return await run_alone(self._connections, statement, memory)
        session = self.session()
        try:
            return await session.execute(statement)
        finally:
            await session.close()

    async def _transaction(self, steps: Sequence[Step]) -> BatchResult:
        """A whole transaction, repeated while it meets others: nothing of it is left behind when it does."""
        changes = any(inspect(step.statement.sql).kind is StatementKind.DDL for step in steps)
        attempt, until = 0, clock.monotonic() + patience.LASTING
        tables: Sequence[Table] = ()
        while True:
            await pause(attempt)
            locking = tables if attempt >= FIRST_ALONE else ()
            session = PostgresSession(
                self._connections, transaction_timeout=self._timeout, queues=False, locking=locking
            )
            async with self._connections.turns.place(attempt, writes=writes(steps), alone=changes):
                try:
                    result = await session.closed_batch(steps)
                finally:
                    await session.close()
            attempt, tables = attempt + (not session.blocked), session.written or tables
            changes = changes or session.blocked  # it has the turn then: two of them would wait for each other
            if not session.conflicted or attempt == ATTEMPTS or clock.monotonic() >= until:
                return result

    async def _in_session(self, steps: Sequence[Step]) -> BatchResult:
        session = self.session()
        try:
            return await session.batch(steps)
        finally:
            await session.close()


_BEGINS = (StatementKind.BEGIN, StatementKind.BEGIN_READ, StatementKind.BEGIN_WRITE)
