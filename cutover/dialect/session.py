"""One application stream on Postgres: what its statements do, each by its kind, as SQLite would."""

from __future__ import annotations

from collections.abc import Sequence

from cutover import clock
from cutover.dialect import patience
from cutover.dialect.alone import ATTEMPTS, pause, run_alone
from cutover.dialect.connections import Connections
from cutover.dialect.failures import Conflict, Lost, busy
from cutover.dialect.holding import Holding
from cutover.dialect.own_clauses import rolls_back
from cutover.dialect.patience import Blocked
from cutover.dialect.preparing import Memory
from cutover.dialect.tokens import prepare
from cutover.dialect.transaction import Transaction
from cutover.dialect.widening import Unheld
from cutover.errors import Fenced, StatementError
from cutover.model.statement import BatchResult, Description, ResultColumn, Statement, StatementResult, Step, holds
from cutover.model.table import Table
from cutover.schema.sqltext import Shape, StatementKind, inspect, refusal
from cutover.schema.sqltokens import tokens
from cutover.schema.temporary import gone
from cutover.stores.batched import Batched
from cutover.stores.sqlite.connection import settled

_BEGINS = (StatementKind.BEGIN, StatementKind.BEGIN_READ, StatementKind.BEGIN_WRITE)
_ENDS = (StatementKind.COMMIT, StatementKind.ROLLBACK)
_MARKS = (*_ENDS, StatementKind.SAVEPOINT, StatementKind.RELEASE, StatementKind.ROLLBACK_TO)


class PostgresSession(Batched):
    """Implements `stores.base.Session`. Calls are served one after the other. What is open is `Holding`'s."""

    def __init__(
        self,
        connections: Connections,
        *,
        transaction_timeout: float,
        read_only: bool = False,
        queues: bool = True,
        locking: Sequence[Table] = (),
    ) -> None:
        """`queues`: transactions that write wait for each other from their beginning, as SQLite's do; otherwise they
        may meet, and one of them is to be repeated. `locking`: tables that nobody else writes to meanwhile."""
        self._connections = connections
        self._holding = Holding(
            connections, transaction_timeout=transaction_timeout, read_only=read_only, queues=queues, locking=locking
        )
        self._memory = Memory()
        self._queues = queues
        self._gone: StatementError | None = None
        """A switch has taken the stream's temporary tables, and it does not know yet."""
        self.conflicted = False
        """Whether a transaction was ended by a conflict with another one."""
        self.written: Sequence[Table] = ()
        """The tables that such a transaction had written to."""
        self.blocked = False
        """Whether that was one which would give a column another type, and had to wait for the table."""

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open, or waits for its ROLLBACK."""
        return self._holding.is_open

    @property
    def expelled(self) -> bool:
        """Whether a transaction was rolled back and its client does not know yet."""
        return self._holding.doomed is not None or self._gone is not None

    @property
    def writing(self) -> bool:
        """Whether an open transaction has written or said that it will."""
        return self._holding.writing

    @property
    def keeping(self) -> bool:
        """Whether there are temporary tables, aside or in the open transaction."""
        holding = self._holding
        return holding.kept is not None or (
            holding.transaction is not None and bool(holding.transaction.dialect.temporary)
        )

    @property
    def deferring(self) -> bool:
        """Whether PRAGMA defer_foreign_keys is on."""
        return self._holding.deferring

    async def batch(self, steps: Sequence[Step]) -> BatchResult:
        """Run steps as their conditions say; statement errors are in the result.

        A cancelled caller gets no answer, but what was begun comes to its end first.
        """
        async with self._holding.lock:
            return await settled(self._batch(steps, fence_raises=False))

    async def closed_batch(self, steps: Sequence[Step]) -> BatchResult:
        """As `batch`, for one that leaves no transaction open. Raises `Fenced` if nothing of it was executed."""
        async with self._holding.lock:
            return await self._batch(steps, fence_raises=True)

    async def describe(self, sql: str) -> Description:
        """Prepare only, on the copy of the schema. Raises `StatementError`."""
        if self._holding.transaction is not None:
            return self._holding.transaction.dialect.checks.check(sql).description
        if self._holding.kept is not None:
            return self._holding.kept.dialect.checks.check(sql).description
        dialect = self._connections.dialect
        if not dialect.is_current:
            async with self._connections.lend():
                pass
        return dialect.checks.check(sql).description

    async def expel(self) -> None:
        """Roll back an open transaction on the store's behalf; what follows gets SQLITE_BUSY."""
        await self._holding.expel(
            busy("the transaction was rolled back so that another store can take over; repeat it.")
        )
        async with self._holding.lock:
            if self._holding.kept is not None:
                await settled(self._holding.drop())
                self._gone = gone()

    async def close(self) -> None:
        """Roll back what is open and let go; idempotent."""
        async with self._holding.lock:
            self._holding.doomed = None
            await settled(self._end())

    async def _end(self) -> None:
        try:
            await self._holding.end()
        finally:
            await self._holding.drop()

    async def _batch(self, steps: Sequence[Step], *, fence_raises: bool) -> BatchResult:
        told, self._gone = self._gone, None
        if told is not None:
            raise told
        result = BatchResult()
        committed = False
        self._memory.recall(steps[0].statement.past if steps else None)
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
                        await self._holding.end()
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
        holding = self._holding
        if holding.doomed is not None:
            if shape.kind not in (StatementKind.ROLLBACK, *_BEGINS):
                raise holding.doomed
            holding.doomed = None
            if shape.kind is StatementKind.ROLLBACK:
                return StatementResult()
        answered = await self._state(shape, want_rows=statement.want_rows)
        if answered is not None:
            return answered
        try:
            return await self._in_its_place(statement, shape)
        except Conflict:
            self.conflicted = True
            self.written = tuple(holding.transaction.written.values()) if holding.transaction is not None else ()
            self._connections.turns.met(holding.first)
            await holding.doom(busy("the transaction met another one and was rolled back; repeat it."))
        except Lost:
            await holding.doom(
                busy("the connection to PostgreSQL broke and the transaction was rolled back; repeat it.")
            )
        except Fenced as fenced:
            if holding.transaction is not None:
                await holding.doom(busy(fenced.message), raising=False)
            raise
        except StatementError as error:
            if shape.kind is StatementKind.WRITE:
                self._memory.failed(error)
            raise
        raise AssertionError  # `doom` raises

    async def _in_its_place(self, statement: Statement, shape: Shape) -> StatementResult:
        holding = self._holding
        if shape.kind in _MARKS and holding.mark(shape, _savepoint_name(statement.sql)):
            return StatementResult()
        if holding.opening is not None and shape.kind not in _BEGINS:
            await holding.open(shape, statement.sql)
        return await self._opened(statement, shape)

    async def _opened(self, statement: Statement, shape: Shape) -> StatementResult:
        holding = self._holding
        transaction = holding.transaction
        if shape.kind in _BEGINS:
            await holding.begin(shape, statement.sql)
        elif shape.kind is StatementKind.COMMIT:
            await holding.commit()
        elif shape.kind is StatementKind.ROLLBACK:
            holding.required("rollback")
            await holding.end()
        elif shape.kind is StatementKind.SAVEPOINT:
            name = _savepoint_name(statement.sql)
            await holding.named(name).savepoint(name)
        elif shape.kind is StatementKind.RELEASE:
            if await holding.named(_savepoint_name(statement.sql)).release(_savepoint_name(statement.sql)):
                await holding.commit()
        elif shape.kind is StatementKind.ROLLBACK_TO:
            name = _savepoint_name(statement.sql)
            await holding.named(name).rollback_to(name, deferring=holding.deferring)
        elif transaction is not None:
            return await self._within(transaction, statement, shape)
        else:
            return await self._alone(statement)
        return StatementResult()

    async def _alone(self, statement: Statement) -> StatementResult:
        """A statement outside of a transaction."""
        self._memory.deferring = False
        if self._holding.deferring:
            kept = self._holding.kept
            of_own = kept is not None and kept.dialect.copy.ends_deferring(statement.sql)
            self._holding.deferring = not (of_own or await self._connections.ends_deferring(statement.sql))
        changes = await self._connections.changes(statement.sql)
        if not self._holding.foreign_keys or changes or self._holding.kept is not None:
            return await self._one(statement, changes=changes)
        try:
            return await run_alone(self._connections, statement, self._memory)
        except Unheld:
            return await self._wider(statement)

    async def _wider(self, statement: Statement) -> StatementResult:
        """A write for which a column gets another type. It is an ordinary one, so it comes again while others read the
        table, and lets them write meanwhile."""
        until = clock.monotonic() + patience.LASTING
        while True:
            try:
                return await self._one(statement, changes=True, lasting=False)
            except Blocked:
                if clock.monotonic() >= until:
                    raise

    async def _one(self, statement: Statement, *, changes: bool, lasting: bool = True) -> StatementResult:
        """A statement that needs a transaction around it, repeated while it meets others. `changes`: the schema."""
        for attempt in range(ATTEMPTS):
            await pause(attempt)
            try:
                async with self._connections.turns.place(attempt, writes=True, alone=changes):
                    return await self._holding.alone(statement, self._memory, lasting=lasting)
            except Conflict:
                continue
        raise busy("the statement met others each time it was tried.")

    async def _within(self, transaction: Transaction, statement: Statement, shape: Shape) -> StatementResult:
        transaction = await self._holding.before(transaction, shape, statement.sql)
        self._memory.deferring = self._holding.deferring
        try:
            result = await transaction.run(statement, self._memory)
        except Blocked:
            if self._queues:
                raise
            self.blocked = True
            raise Conflict("The table was in use for too long.") from None
        except StatementError as error:
            if error.code == "SQLITE_CONSTRAINT":
                word = prepare(statement.sql, frozenset()).conflict
                if rolls_back(word, error.message, transaction.dialect.tables):
                    await self._holding.end()
            raise
        self._holding.watch()
        return result

    async def _state(self, shape: Shape, *, want_rows: bool) -> StatementResult | None:
        """PRAGMA foreign_keys, which does nothing within a transaction, and defer_foreign_keys: the stream's own."""
        holding = self._holding
        if shape.pragma not in ("foreign_keys", "defer_foreign_keys"):
            return None
        if shape.kind is StatementKind.READ:
            if not want_rows:
                return StatementResult([ResultColumn(shape.pragma)])
            on = holding.foreign_keys if shape.pragma == "foreign_keys" else holding.deferring
            return StatementResult([ResultColumn(shape.pragma)], [(int(on),)])
        if shape.pragma == "defer_foreign_keys":
            await holding.defer(on=shape.on)
        elif not self.in_transaction:
            holding.foreign_keys = shape.on
        return StatementResult()


def _savepoint_name(sql: str) -> str:
    """The last word of SAVEPOINT x, RELEASE x, ROLLBACK TO x."""
    run = [token for token in tokens(sql) if token.type != "semi"]
    return run[-1].text.strip("\"'`[]")
