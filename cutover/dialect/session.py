"""One application stream on Postgres: transactions as SQLite has them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from cutover.dialect.connections import ATTEMPTS, Connections, pause
from cutover.dialect.failures import Conflict, Lost, busy, unknown_outcome
from cutover.dialect.running import Memory
from cutover.dialect.tokens import prepare
from cutover.dialect.transaction import Transaction
from cutover.errors import Fenced, StatementError
from cutover.model.statement import BatchResult, Description, Ok, ResultColumn, Statement, StatementResult, Step, holds
from cutover.schema.sqltext import Shape, StatementKind, inspect, refusal, split
from cutover.schema.sqltokens import tokens
from cutover.stores.sqlite.connection import settled

_BEGINS = (StatementKind.BEGIN, StatementKind.BEGIN_READ, StatementKind.BEGIN_WRITE)


class PostgresSession:
    """Implements `stores.base.Session`. Calls are served one after the other.

    A transaction that Postgres, an expulsion or a timeout has ended is *doomed*: it holds nothing, and answers
    SQLITE_BUSY until the application says ROLLBACK or BEGIN. Otherwise the statements that a careless client sends
    after the error would each commit on its own.
    """

    def __init__(
        self, connections: Connections, *, transaction_timeout: float, read_only: bool = False, queues: bool = True
    ) -> None:
        """`queues`: transactions that write wait for each other from their beginning, as SQLite's do; otherwise they
        may meet, and one of them is to be repeated."""
        self._connections = connections
        self._queues = queues
        self._has_turn = False
        self._opening = False
        """BEGIN was said, and nothing since: the transaction takes a connection, and maybe the turn, when it must."""
        self._read_only = read_only
        self._timeout = transaction_timeout
        self._lock = asyncio.Lock()
        self._transaction: Transaction | None = None
        self._doomed: StatementError | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self._expulsion: asyncio.Task[None] | None = None
        self._memory = Memory()
        self._foreign_keys = True
        self._first = ""
        """The statement that the open transaction began with."""
        self.conflicted = False
        """Whether a transaction was ended by a conflict with another one."""

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open, or waits for its ROLLBACK."""
        return self._opening or self._transaction is not None or self._doomed is not None

    @property
    def expelled(self) -> bool:
        """Whether a transaction was rolled back and its client does not know yet."""
        return self._doomed is not None

    @property
    def writing(self) -> bool:
        """Whether an open transaction has written or said that it will."""
        return self._transaction is not None and self._transaction.writing

    async def execute(self, statement: Statement) -> StatementResult:
        """Run one statement. Raises `StatementError`; the session stays usable."""
        result = await self.batch((Step(statement),))
        error = result.errors[0]
        if error is not None:
            raise error
        return result.results[0] or StatementResult()

    async def sequence(self, sql: str) -> None:
        """Run every statement of a script until one fails (`StatementError`)."""
        texts = split(sql)
        steps = [Step(Statement(text, want_rows=False), Ok(at - 1) if at else None) for at, text in enumerate(texts)]
        result = await self.batch(steps)
        for error in result.errors:
            if error is not None:
                raise error

    async def batch(self, steps: Sequence[Step]) -> BatchResult:
        """Run steps as their conditions say; statement errors are in the result.

        A cancelled caller gets no answer, but what was begun comes to its end first.
        """
        async with self._lock:
            return await settled(self._batch(steps, fence_raises=False))

    async def closed_batch(self, steps: Sequence[Step]) -> BatchResult:
        """As `batch`, for one that leaves no transaction open. Raises `Fenced` if nothing of it was executed."""
        async with self._lock:
            return await self._batch(steps, fence_raises=True)

    async def describe(self, sql: str) -> Description:
        """Prepare only, on the copy of the schema. Raises `StatementError`."""
        if self._transaction is not None:
            return self._transaction.dialect.check(sql).description
        dialect = self._connections.dialect
        if not dialect.is_current:
            async with self._connections.lend():
                pass
        return dialect.check(sql).description

    async def expel(self) -> None:
        """Roll back an open transaction on the store's behalf; what follows gets SQLITE_BUSY."""
        await self._expel(busy("the transaction was rolled back so that another store can take over; repeat it."))

    async def close(self) -> None:
        """Roll back what is open and let go; idempotent."""
        async with self._lock:
            self._doomed = None
            await settled(self._end())

    async def _expel(self, error: StatementError) -> None:
        async with self._lock:
            if self._transaction is not None:
                self._doomed = error  # before anything is awaited: meanwhile its stream may ask whether one is open
                await settled(self._end())

    async def _batch(self, steps: Sequence[Step], *, fence_raises: bool) -> BatchResult:
        result = BatchResult()
        committed = False
        for step in steps:
            outcome: StatementResult | None = None
            error: StatementError | None = None
            if holds(step.condition, result, autocommit=not self.in_transaction):
                try:
                    outcome = await self._statement(step.statement)
                    kind = inspect(step.statement.sql).kind
                    committed = committed or (not self.in_transaction and kind is not StatementKind.READ)
                except StatementError as failure:
                    error = failure.alone()
                except Fenced as fenced:
                    if fence_raises and not committed:
                        await self._end()
                        raise
                    error = busy(fenced.message)
            result.results.append(outcome)
            result.errors.append(error)
        return result

    async def _statement(self, statement: Statement) -> StatementResult:
        shape = inspect(statement.sql)
        refused = refusal(shape)
        if refused:
            raise refused
        if self._doomed is not None:
            if shape.kind not in (StatementKind.ROLLBACK, *_BEGINS):
                raise self._doomed
            self._doomed = None
            if shape.kind is StatementKind.ROLLBACK:
                return StatementResult()
        answered = self._state(shape)
        if answered is not None:
            return answered
        try:
            return await self._in_its_place(statement, shape)
        except Conflict:
            self.conflicted = True
            self._connections.met(self._first)
            await self._doom(busy("the transaction met another one and was rolled back; repeat it."))
        except Lost:
            await self._doom(busy("the connection to PostgreSQL broke and the transaction was rolled back; repeat it."))
        except Fenced as fenced:
            if self._transaction is not None:
                await self._doom(busy(fenced.message), raising=False)
            raise
        raise AssertionError  # _doom raises

    async def _in_its_place(self, statement: Statement, shape: Shape) -> StatementResult:
        if self._opening and shape.kind in (StatementKind.COMMIT, StatementKind.ROLLBACK):
            self._opening = False
            return StatementResult()
        if self._opening and shape.kind not in _BEGINS:
            await self._open(shape, statement.sql)
        return await self._opened(statement, shape)

    async def _opened(self, statement: Statement, shape: Shape) -> StatementResult:
        transaction = self._transaction
        if shape.kind in _BEGINS:
            await self._begin(shape, statement.sql)
        elif shape.kind is StatementKind.COMMIT:
            await self._commit()
        elif shape.kind is StatementKind.ROLLBACK:
            self._required("rollback")
            await self._end()
        elif shape.kind is StatementKind.SAVEPOINT:
            await self._savepoint(_savepoint_name(statement.sql))
        elif shape.kind is StatementKind.RELEASE:
            if await self._named(_savepoint_name(statement.sql)).release(_savepoint_name(statement.sql)):
                await self._commit()
        elif shape.kind is StatementKind.ROLLBACK_TO:
            await self._named(_savepoint_name(statement.sql)).rollback_to(_savepoint_name(statement.sql))
        elif transaction is not None:
            return await self._within(transaction, statement)
        elif not self._foreign_keys or await self._connections.changes(statement.sql):
            return await self._one(statement)
        else:
            return await self._connections.alone(statement, self._memory)
        return StatementResult()

    async def _one(self, statement: Statement) -> StatementResult:
        """A statement that needs a transaction around it, repeated while it meets others."""
        for attempt in range(ATTEMPTS):
            await pause(attempt)
            try:
                async with self._connections.place(attempt, writes=True):
                    return await self._tried(statement)
            except Conflict:
                continue
        raise busy("the statement met others each time it was tried.")

    async def _tried(self, statement: Statement) -> StatementResult:
        transaction = await Transaction.begin(
            self._connections, read_only=self._read_only, foreign_keys=self._foreign_keys
        )
        try:
            result = await transaction.run(statement, self._memory)
        except BaseException:
            await transaction.abandon()
            raise
        try:
            await transaction.commit()
        except Lost:
            raise unknown_outcome() from None
        return result

    async def _within(self, transaction: Transaction, statement: Statement) -> StatementResult:
        try:
            result = await transaction.run(statement, self._memory)
        except StatementError as error:
            if error.code == "SQLITE_CONSTRAINT" and prepare(statement.sql, frozenset()).conflict == "ROLLBACK":
                await self._end()
            raise
        self._watch()
        return result

    def _state(self, shape: Shape) -> StatementResult | None:
        """PRAGMA foreign_keys, which belongs to the stream; within a transaction setting it does nothing."""
        if shape.pragma != "foreign_keys":
            return None
        if shape.kind is StatementKind.READ:
            return StatementResult([ResultColumn("foreign_keys")], [(int(self._foreign_keys),)])
        if not self.in_transaction:
            self._foreign_keys = shape.default
        return StatementResult()

    async def _begin(self, shape: Shape, sql: str) -> None:
        if self._opening or self._transaction is not None:
            raise StatementError("cannot start a transaction within a transaction", "SQLITE_UNKNOWN")
        if self._queues and shape.kind is not StatementKind.BEGIN_WRITE:
            self._opening = True
        else:
            await self._open(shape, sql)

    async def _open(self, shape: Shape, sql: str) -> None:
        """Begin: for a statement that writes, when whoever writes before has ended, to see what that did."""
        self._opening = False
        self._first = sql
        writes = shape.kind in (StatementKind.BEGIN_WRITE, StatementKind.WRITE, StatementKind.DDL)
        if writes or (not self._read_only and self._connections.meets(sql)):
            await self._take_turn()
        try:
            self._transaction = await Transaction.begin(
                self._connections, read_only=self._read_only, foreign_keys=self._foreign_keys
            )
        finally:
            if self._transaction is None:
                self._give_turn()
        self._transaction.writing = shape.kind is StatementKind.BEGIN_WRITE
        self._watch()

    async def _take_turn(self) -> None:
        if self._queues and not self._has_turn:
            await self._connections.take_turn()
            self._has_turn = True

    def _give_turn(self) -> None:
        if self._has_turn:
            self._has_turn = False
            self._connections.give_turn()

    async def _savepoint(self, name: str) -> None:
        if self._transaction is None:
            self._first = ""
            self._transaction = await Transaction.begin(
                self._connections, by_savepoint=True, read_only=self._read_only, foreign_keys=self._foreign_keys
            )
        await self._transaction.savepoint(name)

    async def _commit(self) -> None:
        transaction = self._required("commit")
        wrote = transaction.writing
        self._quiet()
        try:
            await transaction.commit()
        except StatementError:
            if not transaction.is_open:
                await self._doom(None)
            self._watch()
            raise
        except Lost:
            await self._end()
            if wrote:
                raise unknown_outcome() from None
            return
        self._transaction = None
        self._give_turn()

    async def _doom(self, error: StatementError | None, *, raising: bool = True) -> None:
        self._doomed = error
        await self._end()
        if raising and error is not None:
            raise error

    async def _end(self) -> None:
        self._quiet()
        self._opening = False
        transaction, self._transaction = self._transaction, None
        try:
            if transaction is not None:
                await transaction.abandon()
        finally:
            self._give_turn()

    def _required(self, verb: str) -> Transaction:
        if self._transaction is None:
            raise StatementError(f"cannot {verb} - no transaction is active", "SQLITE_UNKNOWN")
        return self._transaction

    def _named(self, name: str) -> Transaction:
        if self._transaction is None:
            raise StatementError(f"no such savepoint: {name}", "SQLITE_UNKNOWN")
        return self._transaction

    # -- the time limit of writing transactions ----------------------------------------------------------------------

    def _watch(self) -> None:
        if self._alarm is None and (self.writing or self._has_turn) and self._timeout > 0:
            self._alarm = asyncio.get_running_loop().call_later(self._timeout, self._overdue)

    def _quiet(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def _overdue(self) -> None:
        text = "The transaction was rolled back: it was open longer than front.transaction_timeout."
        self._expulsion = asyncio.ensure_future(self._expel(StatementError(text, "TRANSACTION_TIMEOUT", retry=True)))


def _savepoint_name(sql: str) -> str:
    """The last word of SAVEPOINT x, RELEASE x, ROLLBACK TO x; names know no case."""
    run = [token for token in tokens(sql) if token.type != "semi"]
    return run[-1].text.strip("\"'`[]").lower()
