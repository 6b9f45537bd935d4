"""Direct connections for the store's own work: kept for the next use, never hanging on a server that went silent."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import parse_qs, urlsplit

import asyncpg

from cutover.errors import ConfigurationError, StoreError, StoreUnavailable
from cutover.stores.postgres.arrays import know_arrays
from cutover.stores.postgres.errors import DRIVER_ERRORS, gate

if TYPE_CHECKING:
    Raw = asyncpg.Connection[asyncpg.Record]
    Pool = asyncpg.Pool[asyncpg.Record]
    Cursor = asyncpg.cursor.Cursor[asyncpg.Record]

T = TypeVar("T")

_KEEP_IDLE = 4
_SAY_GOODBYE = 2.0

KEEPALIVE = {
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "20000",
}
"""The server notices that we are gone within half a minute, and lets go of our locks."""

SPELLING = {
    "DateStyle": "ISO, YMD",
    "TimeZone": "UTC",
    "IntervalStyle": "iso_8601",
    "extra_float_digits": "1",
    "bytea_output": "hex",
}
"""Values that cross as text are printed and read in one way only, whatever the server or the role has set."""

PLANNING = {
    # Estimates of tables without statistics set it off, and it takes longer than most statements.
    "jit": "off",
    # Its workers give the rows of UNION ALL's arms as they come; SQLite gives one arm after the other.
    "enable_parallel_append": "off",
}
"""How Postgres goes about statements, where it has a choice that is not its own here."""

_SESSION = {
    **KEEPALIVE,
    # An asynchronous commit could be lost after the other store's change log was trimmed for it.
    "synchronous_commit": "on",
    "default_transaction_isolation": "read committed",
    "default_transaction_read_only": "off",
    "statement_timeout": "0",
    "lock_timeout": "5s",
    "idle_in_transaction_session_timeout": "60s",
    **PLANNING,
    **SPELLING,
}


class Link:
    """One direct connection. Its errors are `StoreError`s; a statement may run long, but not on a dead server."""

    def __init__(self, raw: Raw, alive: Callable[[], Awaitable[None]], interval: float) -> None:
        self.raw = raw
        self.alive = alive
        self.interval = interval

    async def fetch(self, sql: str, *args: object) -> list[asyncpg.Record]:
        """All rows."""
        return await self.guard(self.raw.fetch(sql, *args))

    async def row(self, sql: str, *args: object) -> asyncpg.Record | None:
        """The first row, or None."""
        return await self.guard(self.raw.fetchrow(sql, *args))

    async def value(self, sql: str, *args: object) -> Any:  # noqa: ANN401  # whatever was asked
        """The first column of the first row, or None."""
        return await self.guard(self.raw.fetchval(sql, *args))

    async def execute(self, sql: str, *args: object) -> int:
        """Run a statement (without arguments: any number of them, in one call). Returns the rows it touched."""
        status = await self.guard(self.raw.execute(sql, *args))
        number = status.rpartition(" ")[2]
        return int(number) if number.isdigit() else 0

    async def copy(self, schema: str, table: str, columns: Sequence[str], lines: AsyncIterable[bytes]) -> None:
        """COPY lines of its text form in."""
        await self.guard(
            self.raw.copy_to_table(table, schema_name=schema, columns=list(columns), source=lines, format="text")
        )

    async def cursor(self, sql: str, *args: object) -> Cursor:
        """A cursor, inside a transaction."""

        async def declare() -> Cursor:
            return await self.raw.cursor(sql, *args)

        return await self.guard(declare())

    async def more(self, cursor: Cursor, count: int) -> list[asyncpg.Record]:
        """The next rows of a cursor. Of a connection that is gone the driver says so before there is work to guard."""

        async def ask() -> list[asyncpg.Record]:
            return list(await cursor.fetch(count))

        return await self.guard(ask())

    @asynccontextmanager
    async def transaction(self, begin: str = "BEGIN", end: str = "COMMIT") -> AsyncIterator[None]:
        """A transaction: leaving the block ends it with `end`, an exception rolls back. They do not nest."""
        await self.execute(begin)
        try:
            yield
        except BaseException:
            if not self.raw.is_closed():
                with suppress(StoreUnavailable):
                    await self.execute("ROLLBACK")
            raise
        # The server answers ROLLBACK, and no error, where a failed statement was overlooked.
        if await self.guard(self.raw.execute(end)) != end:
            raise StoreError("A transaction on PostgreSQL was rolled back instead of committed.")

    async def guard(self, work: Coroutine[Any, Any, T]) -> T:
        """Wait for `work` for as long as the server lives. Raises `StoreUnavailable` if it does not."""
        task = asyncio.ensure_future(work)
        try:
            with gate():
                while True:
                    done, _ = await asyncio.wait({task}, timeout=self.interval)
                    if done:
                        return task.result()
                    await self.alive()
        finally:
            if not task.done():
                # The driver asks the server to cancel; the connection is not used again (see Connections.use).
                task.cancel()
                await asyncio.wait({task}, timeout=_SAY_GOODBYE)
                self.raw.terminate()


class Connections:
    """Makes direct connections and keeps a few of them idle, sorted by their application name."""

    def __init__(self, url: str, *, connect_timeout: float, ssl_mode: str) -> None:
        self.url = url
        self.connect_timeout = connect_timeout
        self.ssl = None if "sslmode" in parse_qs(urlsplit(url).query) else ssl_mode
        self._idle: defaultdict[str, list[Raw]] = defaultdict(list)
        self._closed = False
        self._shapes = 0
        """How many times tables changed: a connection of before may hold statements that no longer fit."""

    @asynccontextmanager
    async def use(self, name: str = "cutover") -> AsyncIterator[Link]:
        """Lend a connection with this application name. It is kept if it comes back outside a transaction."""
        raw, shapes = await self._take(name), self._shapes
        clean = False
        try:
            yield Link(raw, self.ping, max(self.connect_timeout, 0.2))
            clean = not raw.is_in_transaction()
        except StoreUnavailable:
            # Its siblings are probably as dead, and each would cost a failed call to find out.
            self.forget()
            raise
        finally:
            wanted = not self._closed and shapes == self._shapes and len(self._idle[name]) < _KEEP_IDLE
            if clean and wanted and not raw.is_closed():
                self._idle[name].append(raw)
            else:
                await self._discard(raw)

    @asynccontextmanager
    async def plain(self) -> AsyncIterator[Link]:
        """A connection with the settings that any application of this role gets."""
        raw = await self._connect("cutover probe", {})
        try:
            yield Link(raw, self.ping, max(self.connect_timeout, 0.2))
        finally:
            await self._discard(raw)

    async def ping(self) -> None:
        """Raise `StoreUnavailable` unless the server answers a new connection within the connect timeout."""
        try:
            raw = await self._connect("cutover ping")
        except StoreUnavailable as error:
            if getattr(error, "sqlstate", "").startswith("53"):
                return  # alive, and busy enough to have no connection left
            raise
        await self._discard(raw)

    async def pool(self, size: int, statement_timeout: float) -> Pool:
        """A pool for applications' statements, each of which may take `statement_timeout` seconds; 0: no limit.

        Connects when first used.
        """
        with gate(), _readable_url():
            pool: Pool = await asyncpg.create_pool(  # type: ignore[call-overload]  # stubs want `loop` where `init` is
                self.url,
                min_size=0,
                max_size=size,
                statement_cache_size=500,
                max_cached_statement_lifetime=0,
                timeout=self.connect_timeout,
                # The server ends a slow statement; this is for a server that went silent.
                command_timeout=statement_timeout + self.connect_timeout if statement_timeout else None,
                ssl=self.ssl,
                init=know_arrays,
                reset=_nothing_to_reset,
                server_settings={
                    **KEEPALIVE,
                    "application_name": "cutover",
                    "synchronous_commit": "on",
                    # A single statement then needs no BEGIN of its own to be as isolated as SQLite makes it.
                    "default_transaction_isolation": "serializable",
                    "statement_timeout": str(int(statement_timeout * 1000)),
                    **PLANNING,
                    **SPELLING,
                },
            )
            return pool

    def forget(self) -> None:
        """Drop what is idle: the server may have restarted."""
        for raws in self._idle.values():
            for raw in raws:
                raw.terminate()
        self._idle.clear()

    def tables_changed(self) -> None:
        """Keep no connection of before: inside a transaction an outdated statement could not be prepared again."""
        self._shapes += 1
        self.forget()

    def close(self) -> None:
        """Drop what is idle, and what is lent out as soon as it comes back."""
        self._closed = True
        self.forget()

    def reopen(self) -> None:
        """Undo `close`."""
        self._closed = False

    async def _take(self, name: str) -> Raw:
        if self._closed:
            raise StoreUnavailable("The PostgreSQL store is closed.")
        idle = self._idle[name]
        while idle:
            raw = idle.pop()
            if not raw.is_closed():
                return raw
        return await self._connect(name)

    async def _connect(self, name: str, settings: Mapping[str, str] = _SESSION) -> Raw:
        with gate(), _readable_url():
            raw = await asyncpg.connect(
                self.url,
                timeout=self.connect_timeout,
                ssl=self.ssl,  # type: ignore[arg-type]  # checked by driver
                server_settings={**settings, "application_name": name},
            )
        await know_arrays(raw)
        return raw

    async def _discard(self, raw: Raw) -> None:
        if raw.is_closed():
            return
        if raw.is_in_transaction():
            raw.terminate()
        with suppress(*DRIVER_ERRORS, asyncio.CancelledError):
            await raw.close(timeout=_SAY_GOODBYE)


@contextmanager
def _readable_url() -> Iterator[None]:
    """The driver's own complaint would repeat the URL, password and all."""
    try:
        yield
    except ValueError:
        raise ConfigurationError(
            "postgres.url cannot be used.", hint="Its form is postgresql://role@host/database."
        ) from None


async def _nothing_to_reset(connection: Raw) -> None:
    """Translated statements leave no session state; a round trip at every return would be paid for nothing."""
