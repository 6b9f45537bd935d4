"""The one transaction that a stream may have open: how it begins, its turn to write, its time and its end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from cutover.dialect.failures import Halfway, Lost, unknown_outcome
from cutover.dialect.opening import Opening
from cutover.dialect.transaction import Transaction
from cutover.errors import StatementError
from cutover.model.statement import Statement, StatementResult
from cutover.schema.sqltext import Shape, StatementKind
from cutover.stores.sqlite.connection import settled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cutover.dialect.aside import Kept
    from cutover.dialect.connections import Connections
    from cutover.dialect.preparing import Memory
    from cutover.model.table import Table


class Holding:
    """What a session holds. Its calls come one after the other, under `lock`; only `expel` may come at any time.

    A transaction that Postgres, an expulsion or a timeout has ended is *doomed*: it holds nothing, and answers
    SQLITE_BUSY until the application says ROLLBACK or BEGIN. Otherwise the statements that a careless client sends
    after the error would each commit on its own.
    """

    def __init__(
        self,
        connections: Connections,
        *,
        transaction_timeout: float,
        read_only: bool,
        queues: bool,
        locking: Sequence[Table] = (),
    ) -> None:
        """`queues`: those that write wait for each other from their beginning; see `PostgresSession`. `locking`: tables
        that a transaction keeps other writers from, from its beginning."""
        self.lock = asyncio.Lock()
        self.transaction: Transaction | None = None
        self.doomed: StatementError | None = None
        self.opening: Opening | None = None
        """Begun, and nothing was asked since: the transaction takes a connection, and maybe the turn, when it must."""
        self.foreign_keys = True
        self.deferring = False
        """PRAGMA defer_foreign_keys, which holds until the next COMMIT or ROLLBACK."""
        self.kept: Kept | None = None
        """The stream's temporary tables, between its transactions."""
        self.first = ""
        """The statement that the open transaction began with."""
        self._connections = connections
        self._read_only = read_only
        self._queues = queues
        self._locking = locking
        self._has_turn = False
        self._timeout = transaction_timeout
        self._alarm: asyncio.TimerHandle | None = None
        self._expulsion: asyncio.Task[None] | None = None

    @property
    def is_open(self) -> bool:
        """Whether a transaction is open, or waits for its ROLLBACK."""
        return self.opening is not None or self.transaction is not None or self.doomed is not None

    @property
    def writing(self) -> bool:
        """Whether an open transaction has written or said that it will."""
        return self.transaction is not None and self.transaction.writing

    async def begin(self, shape: Shape, sql: str) -> None:
        """BEGIN. Raises `StatementError`."""
        if self.opening is not None or self.transaction is not None:
            raise StatementError("cannot start a transaction within a transaction", "SQLITE_UNKNOWN")
        if self._queues and shape.kind is not StatementKind.BEGIN_WRITE:
            self.opening = Opening(by_savepoint=False)
        else:
            await self.open(shape, sql)

    def mark(self, shape: Shape, name: str) -> bool:
        """Whether this statement leaves the transaction one that has not needed Postgres, or ends it. Raises
        `StatementError`."""
        opening, kind = self.opening, shape.kind
        if opening is None and (kind is not StatementKind.SAVEPOINT or self.transaction is not None):
            return False
        if opening is None:
            opening = self.opening = Opening(by_savepoint=True)
        over = kind in (StatementKind.COMMIT, StatementKind.ROLLBACK)
        if kind is StatementKind.SAVEPOINT:
            opening.savepoint(name)
        elif kind is StatementKind.ROLLBACK_TO:
            opening.rollback_to(name)
        elif kind is StatementKind.RELEASE:
            over = opening.release(name)
        elif not over:
            return False
        if over:
            self.opening, self.deferring = None, False
        return True

    async def open(self, shape: Shape, sql: str) -> None:
        """Begin: for a statement that writes, when whoever writes before has ended, to see what that did."""
        begun, self.opening = self.opening, None
        self.first = sql
        writes = shape.kind in (StatementKind.BEGIN_WRITE, StatementKind.WRITE, StatementKind.DDL)
        if writes or (not self._read_only and self._connections.turns.meets(sql)):
            await self._take_turn()
        try:
            self.transaction = await Transaction.begin(
                self._connections,
                by_savepoint=begun is not None and begun.by_savepoint,
                read_only=self._read_only,
                foreign_keys=self.foreign_keys,
                deferring=self.deferring,
                lasting=self._queues,
                locking=self._locking,
            )
            await self._fetch(self.transaction)
            self._connections.standing.note(self)
        except BaseException:
            if self.transaction is not None:
                transaction, self.transaction = self.transaction, None
                await transaction.abandon()
            raise
        finally:
            if self.transaction is None:
                self.opening = begun  # only this statement has failed
                self._give_turn()
        self.transaction.writing = shape.kind is StatementKind.BEGIN_WRITE
        self.watch()
        for name in begun.savepoints if begun is not None else ():
            await self.transaction.savepoint(name)

    async def before(self, transaction: Transaction, shape: Shape, sql: str) -> Transaction:
        """The transaction for its next statement: one that began without the turn takes it with its first write, if
        nobody has written since it read, as on SQLite; one that has not read begins anew for it, so as not to wait
        with a connection in hand. Raises `Conflict`."""
        if self._has_turn or not self._queues or self._read_only:
            return transaction
        writes = shape.kind in (StatementKind.WRITE, StatementKind.DDL)
        if transaction.seen is not None:
            if writes:
                await self._connections.turns.take_behind(transaction.seen)
                self._has_turn = True
        elif writes or self._connections.turns.meets(sql):
            transaction.demand_as_before()
            self.transaction, self.opening = None, transaction.unopened()
            self._connections.standing.note(self)
            await transaction.abandon()
            await self.open(shape, sql)
        return self.transaction or transaction

    async def _take_turn(self) -> None:
        if self._queues and not self._has_turn:
            await self._connections.turns.take()
            self._has_turn = True

    def _give_turn(self) -> None:
        if self._has_turn:
            self._has_turn = False
            self._connections.turns.give()

    async def defer(self, *, on: bool) -> None:
        """PRAGMA defer_foreign_keys. Raises `StatementError`."""
        if self.transaction is not None:
            await (self.transaction.defer() if on else self.transaction.check_again())
        self.deferring = on

    async def commit(self) -> None:
        """COMMIT. Raises `StatementError` (OUTCOME_UNKNOWN if the answer to a write was lost) or `Conflict`."""
        transaction = self.required("commit")
        wrote = transaction.writing
        self._quiet()
        try:
            await transaction.commit()
        except StatementError:
            if not transaction.is_open:
                await self.doom(None)
            self.watch()
            raise
        except Lost:
            self._connections.turns.committed += transaction.changed
            await self.end()
            if wrote:
                raise unknown_outcome() from None
            return
        self._connections.turns.committed += transaction.changed
        self.transaction = None
        await self._keep(transaction.keeps)
        self._connections.standing.note(self)
        self.deferring = False
        self._give_turn()

    async def doom(self, error: StatementError | None, *, raising: bool = True) -> None:
        """It is over, and its client does not know yet: it will be told `error`, now and until it says ROLLBACK."""
        self.doomed = error
        await self.end()
        if raising and error is not None:
            raise error

    async def end(self) -> None:
        """Roll back what is open, and give connection and turn to others."""
        self._quiet()
        self.opening, self.deferring = None, False
        transaction, self.transaction = self.transaction, None
        self._connections.standing.note(self)
        try:
            if transaction is not None:
                await transaction.abandon()
        finally:
            self._give_turn()

    async def drop(self) -> None:
        """The stream's temporary tables are no longer needed."""
        await self._keep(None)

    async def _fetch(self, transaction: Transaction) -> None:
        if self.kept is not None:
            await transaction.fetch(self.kept)

    async def _keep(self, kept: Kept | None) -> None:
        before, self.kept = self.kept, kept
        if before is not None and kept is None:
            await self._connections.aside.empty(self._connections, before.place)

    def required(self, verb: str) -> Transaction:
        """The open transaction, for COMMIT or ROLLBACK. Raises `StatementError`."""
        if self.transaction is None:
            self.deferring = False
            raise StatementError(f"cannot {verb} - no transaction is active", "SQLITE_UNKNOWN")
        return self.transaction

    def named(self, name: str) -> Transaction:
        """The open transaction, which should have a savepoint of this name. Raises `StatementError`."""
        if self.transaction is None:
            self.deferring = False
            raise StatementError(f"no such savepoint: {name}", "SQLITE_UNKNOWN")
        return self.transaction

    def watch(self) -> None:
        """Begin to count the time of a transaction that keeps others from writing."""
        if self._alarm is None and (self.writing or self._has_turn) and self._timeout > 0:
            self._alarm = asyncio.get_running_loop().call_later(self._timeout, self._overdue)

    def _quiet(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def _overdue(self) -> None:
        text = "The transaction was rolled back: it was open longer than front.transaction_timeout."
        self._expulsion = asyncio.ensure_future(self.expel(StatementError(text, "TRANSACTION_TIMEOUT", retry=True)))

    async def expel(self, error: StatementError) -> None:
        """Roll back an open transaction, whose client is told `error` when it comes back."""
        async with self.lock:
            if self.transaction is not None:
                self.doomed = error  # before anything is awaited: meanwhile its stream may ask whether one is open
                await settled(self.end())

    async def alone(self, statement: Statement, memory: Memory, *, lasting: bool) -> StatementResult:
        """A statement in a transaction of its own, which nobody else sees open. Raises `Conflict` if it met others.
        `lasting`: it waits for tables in use as long as it may."""
        transaction = await Transaction.begin(
            self._connections, read_only=self._read_only, foreign_keys=self.foreign_keys, lasting=lasting
        )
        try:
            await self._fetch(transaction)
            result = await transaction.run(statement, memory)
        except Halfway:  # OR FAIL: the rows before the one that failed stay
            await self._finish(transaction)
            raise
        except BaseException:
            await transaction.abandon()
            raise
        if self.kept is not None and not transaction.writing:
            await transaction.abandon()  # which puts the tables aside as well, and waits for no disk
        else:
            await self._finish(transaction)
        return result

    async def _finish(self, transaction: Transaction) -> None:
        try:
            await transaction.commit()
        except Lost:
            raise unknown_outcome() from None
        except StatementError:  # behind which a transaction of an application's would be open still
            await transaction.abandon()
            raise
        self._connections.turns.committed += transaction.changed
        await self._keep(transaction.keeps)
