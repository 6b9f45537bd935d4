"""Connections for applications' statements, lent from the store's pool, and statements that stand alone."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING

import asyncpg

from cutover.dialect.ahead import translate_ahead
from cutover.dialect.aside import Aside
from cutover.dialect.dialect import Dialect
from cutover.dialect.direct import OUTDATED
from cutover.dialect.failures import (
    Conflict,
    Halfway,
    Lost,
    Unreadable,
    busy,
    is_overflow,
    overtaken,
    translate_failure,
    unknown_outcome,
    unread_outcome,
)
from cutover.dialect.giving import Giving
from cutover.dialect.lending import Lending
from cutover.dialect.running import Memory, Prepared, keys_met, prepare, run
from cutover.dialect.settling import Uneven
from cutover.dialect.standing import Standing
from cutover.dialect.translation import Translation
from cutover.dialect.turns import Turns
from cutover.dialect.widening import Unheld, misfit
from cutover.errors import CutoverError, StatementError
from cutover.model.statement import Statement, StatementResult
from cutover.model.table import Table
from cutover.schema.sqltext import StatementKind, inspect
from cutover.stores.postgres.locks import ATTEMPT
from cutover.stores.postgres.names import target

if TYPE_CHECKING:
    from cutover.dialect.running import Connection
    from cutover.stores.postgres.store import PostgresStore

BEGIN = "BEGIN ISOLATION LEVEL SERIALIZABLE"
ATTEMPTS = 12
"""How often a transaction of ours is tried when it meets others; the last pause is about half a second."""
_OUTGROWN = 3
"""How often a statement is tried that may have met a change of the schema."""
_ACQUIRE = 5.0
FIRST_ALONE = 2
"""The attempt from which on a write locks its table before its snapshot: whoever writes there natively, one transaction
behind the other, has the row again whenever it is waited for, and each wait in a snapshot ends in a conflict."""
_LOCKED = 5.0
"""Seconds that it waits for that; then SQLITE_BUSY, as for a lock of SQLite's."""
REPEATABLE = (
    asyncpg.UniqueViolationError,
    asyncpg.CheckViolationError,
    asyncpg.NotNullViolationError,
    asyncpg.CardinalityViolationError,
    asyncpg.NumericValueOutOfRangeError,
    asyncpg.InvalidTextRepresentationError,
    Uneven,
)
"""Errors behind which the statement may be run in another way."""
DRIVER_ERRORS = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, ValueError)


class Outgrown(Exception):
    """Postgres says something to a statement that it would say if the schema had changed since it was translated."""

    def __init__(self, told: StatementError) -> None:
        super().__init__(told.message)
        self.told = told


class Connections:
    """Lends connections, and runs single statements on them."""

    def __init__(self, store: PostgresStore, dialect: Dialect) -> None:
        self.dialect = dialect
        self.on_schema_change: Callable[[], None] = lambda: None
        """Told when a statement of an application changed the schema, and that is committed."""
        self.aside = Aside()
        self._store = store
        self._lending = Lending(store, _ACQUIRE)
        self._serializable: tuple[object, bool] | None = None
        self._lent: set[Connection] = set()
        self._giving: set[asyncio.Future[None]] = set()
        self.turns = Turns()
        self.standing = Standing()

    @asynccontextmanager
    async def lend(self) -> AsyncIterator[Connection]:
        """A connection outside of any transaction. Raises `StatementError` (SQLITE_BUSY) if there is none to be had."""
        connection = await self.acquire()
        try:
            yield connection
        finally:
            await self.release(connection)

    async def acquire(self) -> Connection:
        """As `lend`, to be given back by `release`."""
        pool = self._store.pool
        try:
            connection = await self._lending.take()
        except (*DRIVER_ERRORS, TimeoutError):
            raise busy("PostgreSQL cannot be reached, or all its connections are in use.") from None
        try:
            if self._serializable is None or self._serializable[0] is not pool:
                if self._serializable is not None:
                    self.dialect.reopened()
                level = await connection.fetchval("SHOW default_transaction_isolation")
                self._serializable = (pool, level == "serializable")
                await self.aside.sweep(connection)
            if not self.dialect.is_current:
                await self.dialect.renew(connection)
        except DRIVER_ERRORS as error:
            await self.release(connection)
            raise as_statement_error(translate_failure(error, self.dialect.catalog)) from None
        except BaseException:  # also if the caller is cancelled, or it would be lent to nobody for ever
            await self.release(connection)
            raise
        self._lent.add(connection)
        return connection

    @property
    def isolates(self) -> bool:
        """Whether a statement can be sent as it is: the schema is known, and a connection is SERIALIZABLE by itself."""
        known = self._serializable
        return known is not None and known[1] and known[0] is self._store.pool and self.dialect.is_current

    def idle(self) -> Connection | None:
        """As `acquire`, if a connection is at hand; to be given back by `put_back`, or `release`."""
        connection = self._lending.take_idle()
        if connection is not None:
            self._lent.add(connection)
        return connection

    def put_back(self, connection: Connection) -> None:
        """As `release`, for one who cannot wait for it."""
        self._lent.discard(connection)
        if not self._lending.keep(connection):
            giving = asyncio.ensure_future(self._lending.give(connection))
            self._giving.add(giving)
            giving.add_done_callback(self._giving.discard)

    async def put_back_after(self, settled: Awaitable[None], connection: Connection) -> None:
        """The connection is lent to nobody while a cancellation is on its way to it."""
        try:
            await settled
        finally:
            self.put_back(connection)

    async def interrupt(self) -> None:
        """Have what runs on lent connections end with SQLITE_INTERRUPT. Nothing if no connection is left to ask by."""
        with suppress(StatementError, *DRIVER_ERRORS):
            running = [connection.get_server_pid() for connection in self._lent]
            async with self.lend() as asking:
                await asking.execute("SELECT pg_cancel_backend(pid) FROM unnest($1::int[]) AS running(pid)", running)

    async def release(self, connection: Connection) -> None:
        """Give back, outside of any transaction; a connection that is not is thrown away."""
        self._lent.discard(connection)
        await self._lending.give(connection)

    async def close(self) -> None:
        """Let the store's pool have the connections that are kept here."""
        await self._lending.close()

    async def changes(self, sql: str) -> bool:
        """Whether a statement changes the schema as it is now."""
        if inspect(sql).kind not in (StatementKind.DDL, StatementKind.WRITE):
            return False
        return (await self._current()).changes(sql)

    async def ends_deferring(self, sql: str) -> bool:
        """Whether SQLite has PRAGMA defer_foreign_keys end with this statement, outside of a transaction."""
        return (await self._current()).copy.ends_deferring(sql)

    async def _current(self) -> Dialect:
        if not self.dialect.is_current:
            async with self.lend():
                pass
        return self.dialect

    async def alone(self, statement: Statement, memory: Memory) -> StatementResult:
        """One statement as its own transaction, repeated when it meets others.

        Raises `StatementError`, or `Fenced`; OUTCOME_UNKNOWN only if a write was sent and the answer was lost.
        """
        outgrown = 0
        for attempt in range(ATTEMPTS):
            prepared, generation = await self._prepared(statement, memory)
            if prepared.answered is not None or prepared.translation is None:
                return prepared.answered or StatementResult()
            try:
                result = await self._in_place(attempt, prepared, statement, memory, generation)
                if result is not None and (prepared.translation.writes or self.dialect.unchanged(generation)):
                    return result
            except Conflict:
                continue
            except Outgrown as error:
                outgrown += self.dialect.unchanged(generation)  # else a change is known, and its end may take a while
                if outgrown == _OUTGROWN:
                    raise error.told from None
            except StatementError:
                if prepared.translation.writes or self.dialect.unchanged(generation):
                    raise
            except Lost:
                if prepared.translation.writes:
                    raise unknown_outcome() from None
        raise busy("the statement met others each time it was tried.")

    async def _prepared(self, statement: Statement, memory: Memory) -> tuple[Prepared, int]:
        """The statement, and the generation of the schema that it is translated for."""
        if not self.dialect.is_current:
            async with self.lend():
                pass
        await translate_ahead(self.dialect, statement)
        return prepare(self.dialect, statement, memory), self.dialect.generation

    async def _in_place(
        self, attempt: int, prepared: Prepared, statement: Statement, memory: Memory, generation: int
    ) -> StatementResult | None:
        """One attempt, when its turn has come; None for a write that is none any more, or if the schema goes on
        changing then."""
        assert prepared.translation is not None
        writes = prepared.translation.writes
        if not attempt and not writes:
            return await self._attempt(prepared, memory)
        await pause(attempt)
        async with self.turns.place(attempt, writes=writes):
            if writes and not self.dialect.unchanged(generation):
                # Others changed the schema while it waited. Nobody does so here while it has its place, so that it is
                # translated now: behind the next turn the schema might be another one again, and so for ever.
                prepared, generation = await self._prepared(statement, memory)
                if prepared.translation is None or not prepared.translation.writes:
                    return None
                if not self.dialect.unchanged(generation):
                    return None
            result = await self._attempt(prepared, memory, locking=writes and attempt >= FIRST_ALONE)
            self.turns.committed += writes and result.affected > 0
            return result

    async def _attempt(self, prepared: Prepared, memory: Memory, *, locking: bool = False) -> StatementResult:
        connection = await self.acquire()
        try:
            return await self._run_alone(connection, prepared, memory, locking=locking)
        finally:
            await self.release(connection)

    async def _run_alone(
        self, connection: Connection, prepared: Prepared, memory: Memory, *, locking: bool
    ) -> StatementResult:
        assert prepared.translation is not None
        assert self._serializable is not None
        bare = self._serializable[1] and not prepared.several and not prepared.may_be_undone and not locking
        lock = locking_text(filter(None, [prepared.translation.table])) if locking else ""
        try:
            try:
                return await self._in(connection, prepared, memory, bare=bare, lock=lock)
            except REPEATABLE as error:
                await abandon(connection)
                other = await self.instead(connection, prepared, error)
                with meeting_none(other):
                    return await self._in(connection, other, memory, bare=bare and not other.several, lock=lock)
        except Unheld:
            raise
        except Exception as error:  # noqa: BLE001  # also a defect of ours
            failure = failure_of(error, connection, self.dialect) or translate_failure(error, self.dialect.catalog)
            await abandon(connection)
            if isinstance(error, OUTDATED) and isinstance(failure, StatementError):
                raise Outgrown(failure) from None
            if isinstance(failure, Unreadable) and prepared.translation.writes and bare:  # committed, very probably
                failure = unread_outcome()
            raise failure from None

    async def _in(
        self, connection: Connection, prepared: Prepared, memory: Memory, *, bare: bool, lock: str
    ) -> StatementResult:
        giving = Giving()
        with giving.transaction():
            if bare:
                return await run(connection, prepared, self.dialect, memory, giving, within=False)
            await connection.execute(f"{BEGIN}{lock}")
            try:
                result = await run(connection, prepared, self.dialect, memory, giving)
            except Halfway:
                await connection.execute("COMMIT")
                raise
            await connection.execute("COMMIT")
            return result

    async def instead(self, connection: Connection, prepared: Prepared, error: Exception) -> Prepared:
        """What to run after this error, which undid the statement. Raises what is to be told if there is nothing."""
        assert prepared.translation is not None
        if isinstance(error, asyncpg.NumericValueOutOfRangeError):
            return wider(prepared, error)
        if isinstance(error, asyncpg.InvalidTextRepresentationError):
            told = misfit(prepared.translation.unsure, error)
            if told is None:
                raise error
            raise told from error
        if isinstance(error, Uneven) and prepared.keyed is not None:
            return prepared.keyed(error.wanted)
        if isinstance(error, (asyncpg.CardinalityViolationError, Uneven)):
            if prepared.again is None:
                raise error
            return prepared.again()
        if isinstance(error, (asyncpg.CheckViolationError, asyncpg.NotNullViolationError)):
            if prepared.again is None or not prepared.translation.refusing:
                raise error
            return prepared.again()
        if isinstance(error, asyncpg.UniqueViolationError) and not await self.caught_up(
            connection, prepared.translation, error
        ):
            why = why_not_unique(error, prepared)
            raise (await keys_met(connection, prepared, self.dialect) or why) if why is error else why
        return prepared

    async def caught_up(self, connection: Connection, translation: Translation, error: Exception) -> bool:
        """Whether an automatic key met a row that came without the sequence, and the sequence is past it now."""
        table, sequence = translation.table, translation.automatic
        if table is None or sequence is None or not is_of_key(error, table):
            return False
        key = next(column.target for column in table.columns if column.name == table.rowid_alias)
        quoted = [part.replace('"', '""') for part in (key, table.target_schema, table.target)]
        await connection.execute(
            # Not the key at the sequence's very end: what is to be passed is below it.
            'SELECT cutover.advance($1, (SELECT max("{0}") FROM "{1}"."{2}" WHERE "{0}" <= seqmax - seqincrement)) '
            "FROM pg_sequence WHERE seqrelid = $1::text::regclass AND seqincrement > 0".format(*quoted),
            sequence,
        )
        return True


def locking_text(tables: Iterable[Table]) -> str:
    """What keeps other writers from the tables, before there is a snapshot that could miss what they did. Who holds one
    and waits for another must not do so for as long as Postgres waits before it looks for a deadlock."""
    names = sorted(target(table) for table in tables)
    if not names:
        return ""
    patience = _LOCKED if len(names) == 1 else ATTEMPT
    return (
        f"; SET LOCAL lock_timeout = {int(patience * 1000)}; "
        f"LOCK TABLE {', '.join(names)} IN SHARE ROW EXCLUSIVE MODE; SET LOCAL lock_timeout TO DEFAULT"
    )


def may_widen(prepared: Prepared, error: BaseException) -> bool:
    """Whether a number met an end at which SQLite goes on."""
    if not isinstance(error, asyncpg.NumericValueOutOfRangeError) or prepared.translation is None:
        return False
    return prepared.translation.wider is not None and not is_overflow(error)


def wider(prepared: Prepared, error: Exception) -> Prepared:
    """The statement with numbers that go on where this one met their end. Raises `error` where nothing is gained."""
    if prepared.wider is None or not may_widen(prepared, error):
        raise error
    try:
        return prepared.wider()
    except StatementError:  # what it is made of then has no translation
        raise error from None


def why_not_unique(error: asyncpg.UniqueViolationError, prepared: Prepared) -> Exception:
    """The error itself; `Conflict` for a REPLACE, which had deleted whoever had its keys, in its own snapshot."""
    assert prepared.translation is not None
    if prepared.translation.clears and overtaken(error, prepared.translation.table):
        return Conflict("The keys that REPLACE had cleared were taken again.")
    return error


@contextmanager
def meeting_none(prepared: Prepared) -> Iterator[None]:
    """A statement that is run in another way. `Conflict` if an automatic key meets a row that came meanwhile, which
    the transaction does not see."""
    try:
        yield
    except asyncpg.UniqueViolationError as error:
        translation = prepared.translation
        if translation is not None and translation.automatic is not None and is_of_key(error, translation.table):
            raise Conflict("An automatic key met a row that the transaction does not see.") from None
        raise


def is_of_key(error: Exception, table: Table | None) -> bool:
    """Whether it is the automatic key that somebody has already."""
    if table is None or table.rowid_alias is None:
        return False
    key = next(column.target for column in table.columns if column.name == table.rowid_alias)
    return f"Key ({key})=" in str(getattr(error, "detail", "")).replace('"', "")


def discard(connection: Connection) -> None:
    """Drop a connection that broke or went silent, so that nobody waits for it again."""
    with suppress(*DRIVER_ERRORS):
        connection.terminate()


def failure_of(error: BaseException, connection: Connection, dialect: Dialect) -> CutoverError | None:
    """What an error on a connection means, which is dropped if it broke; None for one that is not the driver's."""
    if not isinstance(error, (StatementError, *DRIVER_ERRORS, TimeoutError)):
        return None
    failure = translate_failure(error, dialect.catalog)
    if isinstance(failure, Lost):
        discard(connection)
    return failure


async def abandon(connection: Connection) -> None:
    """ROLLBACK if a transaction is open and that is still possible."""
    try:
        if not connection.is_closed() and connection.is_in_transaction():
            await connection.execute("ROLLBACK")
    except (*DRIVER_ERRORS, TimeoutError):  # dead: `release` sees to it
        return


def as_statement_error(error: CutoverError) -> StatementError:
    """What a client is told of an error after which nothing was executed."""
    if isinstance(error, StatementError):
        return error
    return busy(error.message)


async def pause(attempt: int) -> None:
    """Before a repetition: longer each time, and not in step with others."""
    if attempt:
        await asyncio.sleep(random.uniform(0.5, 1) * min(0.002 * 2**attempt, 0.5))  # noqa: S311  # no secret
