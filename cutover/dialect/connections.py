"""Connections for applications' statements, lent from the store's pool, and statements that stand alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import asyncpg

from cutover.dialect.aside import Aside
from cutover.dialect.dialect import Dialect
from cutover.dialect.failures import (
    Lost,
    busy,
    translate_failure,
)
from cutover.dialect.lending import Lending
from cutover.dialect.standing import Standing
from cutover.dialect.turns import Turns
from cutover.errors import CutoverError, StatementError
from cutover.model.table import Table
from cutover.schema.sqltext import StatementKind, inspect
from cutover.stores.postgres.locks import ATTEMPT
from cutover.stores.postgres.names import target

if TYPE_CHECKING:
    from cutover.dialect.direct import Connection
    from cutover.stores.postgres.store import PostgresStore

BEGIN = "BEGIN ISOLATION LEVEL SERIALIZABLE"
_ACQUIRE = 5.0
_LOCKED = 5.0
"""Seconds that it waits for that; then SQLITE_BUSY, as for a lock of SQLite's."""
DRIVER_ERRORS = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, ValueError)


class Connections:
    """Lends connections, and runs single statements on them."""

    def __init__(self, store: PostgresStore, dialect: Dialect) -> None:
        self.dialect = dialect
        self.on_schema_change: Callable[[], None] = lambda: None
        """Told when a statement of an application changed the schema, and that is committed."""
        self.look_again: Callable[[], Awaitable[None]] = _nobody_looks
        """Have the schema looked at, because a statement may have met a change of it that nobody told of."""
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

    @asynccontextmanager
    async def beside(self) -> AsyncIterator[Connection | None]:
        """A connection for who holds one already, and so must not wait for another; None if there is none at once."""
        try:
            connection = await self._lending.take_spare()
        except (*DRIVER_ERRORS, TimeoutError):
            connection = None
        try:
            yield connection
        finally:
            if connection is not None:
                await self._lending.give(connection)

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
    def serializable(self) -> bool:
        """Whether connections of those that were lent are SERIALIZABLE by themselves, without being told to."""
        return self._serializable is not None and self._serializable[1]

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
        return (await self.current()).checks.changes(sql)

    async def ends_deferring(self, sql: str) -> bool:
        """Whether SQLite has PRAGMA defer_foreign_keys end with this statement, outside of a transaction."""
        return (await self.current()).copy.ends_deferring(sql)

    async def current(self) -> Dialect:
        """The dialect for the schema as it is now. Raises `StatementError`."""
        if not self.dialect.is_current:
            async with self.lend():
                pass
        return self.dialect


async def _nobody_looks() -> None:
    """Where no service follows the schema."""


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
