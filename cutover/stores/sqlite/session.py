"""One application stream on SQLite, while it needs a connection of its own: a transaction, or its own PRAGMAs."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol, TypeVar

from cutover.errors import StatementError
from cutover.model.statement import BatchResult, Description, Step
from cutover.schema.batches import writes
from cutover.schema.sqltext import StatementKind, inspect
from cutover.schema.temporary import gone
from cutover.stores.batched import Batched
from cutover.stores.sqlite.connection import Connection, settled
from cutover.stores.sqlite.courtesy import Courtesy
from cutover.stores.sqlite.declared import DeclaredTypes
from cutover.stores.sqlite.deferring import Deferring
from cutover.stores.sqlite.describe import Describer
from cutover.stores.sqlite.limit import Limit
from cutover.stores.sqlite.running import run_steps
from cutover.stores.sqlite.schemacopy import SchemaCopies
from cutover.stores.sqlite.temporary import Temporaries
from cutover.stores.sqlite.turns import Turns
from cutover.stores.sqlite.undisturbed import asked

T = TypeVar("T")


class Lender(Protocol):
    """Lends connections to sessions, and takes them back in their ordinary state."""

    turns: Turns
    courtesy: Courtesy
    types: DeclaredTypes
    limit: Limit
    describer: Describer

    async def lend(self) -> Connection:
        """A connection outside of any transaction, with foreign keys on."""
        ...

    async def take_back(self, connection: Connection) -> None:
        """The session needs it no longer; it is outside of any transaction, with foreign keys on."""
        ...

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run on any reading connection."""
        ...


class SqliteSession(Batched):
    """Implements `stores.base.Session`. Calls are served one after the other."""

    def __init__(self, lender: Lender, *, read_only: bool = False) -> None:
        self._lender = lender
        self._read_only = read_only
        self._connection: Connection | None = None
        self._lock = asyncio.Lock()
        self._in_transaction = False
        self._has_turn = False
        self._looking = False
        self._stateful = False
        self._deferring = Deferring()
        self._temporaries = Temporaries()
        self._ddl = False
        self._own_types: DeclaredTypes | None = None
        self._expelling: StatementError | None = None
        self._expelled: StatementError | None = None
        self._running = False
        self._interrupted = False

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open."""
        return self._in_transaction

    @property
    def expelled(self) -> bool:
        """Whether a transaction was rolled back and its client does not know yet."""
        return self._expelled is not None

    @property
    def writing(self) -> bool:
        """Whether an open transaction has written or holds the write lock."""
        return self._in_transaction and self._has_turn

    @property
    def keeping(self) -> bool:
        """Whether there are temporary tables."""
        return self._temporaries.kept

    @property
    def deferring(self) -> bool:
        """Whether PRAGMA defer_foreign_keys is on."""
        return self._deferring.on

    async def batch(self, steps: Sequence[Step]) -> BatchResult:
        """Run steps as their conditions say; statement errors are in the result.

        Raises `StatementError` (once) if the session's transaction was taken away since the last call.
        """
        async with self._lock:
            self._raise_expelled()
            connection = self._connection or await self._borrow()
            may_write = writes(steps)
            if may_write and not self._has_turn:
                await self._lender.turns.take()
                self._has_turn = True
                if self._expelling is not None:  # meanwhile its client has gone: nothing is begun for nobody
                    self._give_turn()
                    raise self._expelling
            await self._look()
            self._running = True
            types = self._types(steps)
            try:
                result, self._in_transaction, foreign_keys = await settled(
                    connection.run(partial(self._work, steps, types))
                )
            finally:
                self._running = False
                if self._has_turn and not self._in_transaction:
                    self._give_turn()
                if not self._in_transaction:
                    self._look_away()
            self._note(steps, result.errors, foreign_keys)
            if self._expelling is not None and self._interrupted:
                result.errors = [_blame(error, self._expelling) for error in result.errors]
            await self._tidy()
            return result

    async def describe(self, sql: str) -> Description:
        """Prepare only. Raises `StatementError`."""
        async with self._lock:
            self._raise_expelled()
            own = self._ddl or self.keeping
            work = partial(self._lender.describer.describe, sql=sql, committed=not own)
            if own and self._connection is not None:
                return await self._connection.run(work)
            # Not on the session's own connection: a deferred transaction would from then on see this moment.
            return await self._lender.read(work)

    async def expel(self) -> None:
        """Roll back an open transaction on the store's behalf; the stream's next statement gets SQLITE_BUSY."""
        text = "The transaction was rolled back so that another store can take over; repeat it."
        if self.keeping:
            text = gone().message if not self._in_transaction else f"{text} Temporary tables of the stream are gone."
        await self._expel("SQLITE_BUSY", text, drop=True)

    async def _expel_overdue(self) -> None:
        await self._expel(
            "TRANSACTION_TIMEOUT", "The transaction was rolled back: it was open too long while others waited to write."
        )

    async def _expel(self, code: str, text: str, *, drop: bool = False) -> None:
        """`drop`: temporary tables as well."""
        self._interrupted = False
        reason = self._expelling = StatementError(text, code, retry=True)
        try:
            await self._lock_soon()
        finally:
            self._expelling = None
        try:
            if self._in_transaction or self._interrupted or (drop and self.keeping):
                self._expelled = reason  # before anything is awaited: meanwhile its stream may ask
                await self._end(drop=drop)
        finally:
            self._lock.release()

    async def _lock_soon(self) -> None:
        """Take the lock; a statement that runs meanwhile is cut off."""
        taking = asyncio.ensure_future(self._lock.acquire())
        try:
            while not taking.done():
                # Again and again: an interrupt that comes before the statement is lost.
                if self._running and self._connection is not None:
                    await self._connection.interrupt()
                await asyncio.wait({taking}, timeout=0.01)
        except asyncio.CancelledError:
            if not taking.cancel():
                self._lock.release()
            raise

    async def close(self) -> None:
        """Roll back what is open and let go, also for a caller that is cancelled meanwhile; idempotent."""
        if self._connection is not None or self._lock.locked():
            await settled(self._close())

    async def _close(self) -> None:
        async with self._lock:
            self._stateful = False
            await self._end(drop=True)

    async def _end(self, *, drop: bool) -> None:
        """Leave the transaction, give the turn, and return the connection unless it has state to keep."""
        if self._connection is None:
            return
        try:
            await self._connection.run(partial(self._reset, keep=self._stateful, drop=drop))
        finally:
            self._in_transaction = self._ddl = self._deferring.on = False
            self._look_away()
            if self._has_turn:
                self._give_turn()
        await self._tidy()

    async def _borrow(self) -> Connection:
        self._connection = await self._lender.lend()
        return self._connection

    async def _tidy(self) -> None:
        if self._connection is not None and not (self._in_transaction or self._stateful or self.keeping):
            connection, self._connection = self._connection, None
            if self._temporaries.used:
                self._temporaries = Temporaries()
                await connection.close()
            else:
                await self._lender.take_back(connection)

    def _note(self, steps: Sequence[Step], errors: Sequence[StatementError | None], foreign_keys: bool) -> None:
        self._stateful = not foreign_keys
        self._interrupted = any(error is not None and error.code == "SQLITE_INTERRUPT" for error in errors)
        if not self._in_transaction:
            self._ddl = False
            return
        self._ddl = self._ddl or _has(steps, StatementKind.DDL)
        if self._has_turn:
            self._lender.turns.keep(self._expel_overdue)

    def _work(
        self, steps: Sequence[Step], types: DeclaredTypes, db: sqlite3.Connection
    ) -> tuple[BatchResult, bool, bool]:
        """On the connection's thread."""
        if self._read_only:
            db.execute("PRAGMA query_only = ON")
        try:
            with self._lender.limit.on(db):
                result = run_steps(db, steps, types, deferring=self._deferring, temporaries=self._temporaries)
        finally:
            self._temporaries.look(db)
            if self._read_only:  # the connection is lent to others afterwards
                db.execute("PRAGMA query_only = OFF")
        foreign_keys = bool(asked(db, "PRAGMA foreign_keys")[0])
        return result, db.in_transaction, foreign_keys

    def _reset(self, db: sqlite3.Connection, *, keep: bool, drop: bool) -> None:
        if db.in_transaction:
            db.execute("ROLLBACK")
        if drop:
            self._temporaries.drop(db)
        self._temporaries.look(db)
        if not keep:
            db.execute("PRAGMA foreign_keys = ON")

    def _types(self, steps: Sequence[Step]) -> DeclaredTypes:
        """Everybody's, or while there is uncommitted DDL ones of this session: others may come to the same version of
        the schema with another schema, and so may this one once it went back to a savepoint."""
        altering = _has(steps, StatementKind.DDL)
        if not (altering or self._ddl or self.keeping):
            return self._lender.types
        if self._own_types is None or altering or _has(steps, StatementKind.ROLLBACK_TO):
            self._own_types = DeclaredTypes(SchemaCopies())
        return self._own_types

    async def _look(self) -> None:
        """A transaction without the turn reads; one that has it need not fear anybody's write."""
        if self._has_turn:
            self._look_away()
        elif not self._looking:
            await self._lender.courtesy.begin()
            self._looking = True

    def _look_away(self) -> None:
        if self._looking:
            self._looking = False
            self._lender.courtesy.end()

    def _give_turn(self) -> None:
        self._has_turn = False
        self._lender.turns.give()

    def _raise_expelled(self) -> None:
        error, self._expelled = self._expelled, None
        if error is not None:
            raise error


def _has(steps: Sequence[Step], kind: StatementKind) -> bool:
    return any(inspect(step.statement.sql).kind is kind for step in steps)


def _blame(error: StatementError | None, reason: StatementError) -> StatementError | None:
    """What the statement is told that was cut off: not that it ran too long, if it did not."""
    return reason if error is not None and error.code == "SQLITE_INTERRUPT" else error
