"""One connection with a thread of its own, and the two rules of every write: one hop, and no outcome left unknown."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import sqlite3
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

import aiosqlite

from cutover.errors import StoreError, StoreUnavailable
from cutover.stores.sqlite import past
from cutover.stores.sqlite.authorizer import guard

T = TypeVar("T")

_AWAY = {"SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_CANTOPEN", "SQLITE_FULL", "SQLITE_IOERR", "SQLITE_INTERRUPT"}
_ADVICE = {
    "SQLITE_BUSY": "Another process holds the write lock; the call can be repeated.",
    "SQLITE_FULL": "The disk is full; free space and the service goes on by itself.",
    "SQLITE_CANTOPEN": "Check that the file and its directory exist and may be written by this user.",
    "SQLITE_CORRUPT": "Stop writing and restore the last backup.",
    "SQLITE_NOTADB": "sqlite.path names a file that is not a SQLite database.",
    "SQLITE_READONLY": "The service must be able to write the file and its directory.",
}


class Connection(aiosqlite.Connection):
    """An aiosqlite connection that runs a whole function on its thread, so that many statements cost one hop."""

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` with the plain connection on its thread. A cancelled caller does not stop `work`."""
        box: list[T] = await self._execute(_boxed, work, self._conn)  # type: ignore[no-untyped-call]  # aiosqlite has none
        return box.pop()

    def start(self, work: Callable[[sqlite3.Connection], T]) -> asyncio.Future[T]:
        """As `run`, for one who is never cancelled: without a task, and the turns of the event loop that one takes."""
        if not self._running:
            raise ValueError("Connection closed")
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._tx.put_nowait((done, partial(work, self._conn)))
        return done

    def cut_off(self) -> None:
        """Interrupt the statement that runs now; safe from any thread. For reads only."""
        if self._connection is not None:
            self._connection.interrupt()

    async def ended(self) -> None:
        """Wait for the thread of a connection that could not be made; it still has an answer to give to this loop."""
        await asyncio.to_thread(self._thread.join)


def _boxed(work: Callable[[sqlite3.Connection], T], db: sqlite3.Connection) -> list[T]:
    """The result, to be taken out: the thread remembers what it returned last, for as long as it has nothing to do."""
    return [work(db)]


async def settled(work: Awaitable[T], stop: Callable[[], object] | None = None) -> T:
    """Await `work`, and if the caller is cancelled, let `work` come to its end before the cancellation goes on.

    What was begun on a connection's thread cannot be taken back; so nobody else may use the connection, and no lock
    may be let go, before its outcome is known. `stop` is called on cancellation to shorten work that may be cut off.
    """
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        if stop is not None and not task.done():
            stop()
        while not task.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait({task})
        if not task.cancelled():
            task.exception()  # retrieved: the cancellation is what the caller sees
        raise


async def open_connection(path: str, *, busy_timeout: float, readonly: bool = False) -> Connection:
    """Connect and configure. Raises `sqlite3.Error`.

    `readonly` connections still take part in the WAL's locks; they only refuse to write.
    """

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(path, timeout=busy_timeout, isolation_level=None, cached_statements=256)
        try:
            _configure(connection, readonly=readonly)
        except BaseException:
            connection.close()
            raise
        return connection

    connection = Connection(connect, iter_chunk_size=1000)
    try:
        await connection
    except BaseException:
        await settled(connection.ended())
        raise
    return connection


def _configure(connection: sqlite3.Connection, *, readonly: bool) -> None:
    mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        raise sqlite3.OperationalError(f"the database stays in journal mode {mode} and cannot be used in WAL mode")
    connection.execute("SELECT 1 FROM sqlite_temp_master")  # makes the temporary schema, which EXPLAIN only looks for
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    if not readonly:
        past.prepare(connection)
    guard(connection)
    if readonly:
        connection.execute("PRAGMA query_only = ON")
        connection.create_function("cutover_real", 1, _real_hex, deterministic=True)


def _real_hex(value: float) -> str:
    """Big-endian IEEE bits in hex, the canonical form of a real."""
    return struct.pack(">d", value).hex()


_never_seen = itertools.count()


def compiled_anew(sql: str) -> str:
    """Text of an EXPLAIN that no statement has which the connection keeps for the next time.

    SQLite prints names of tables and columns out of a kept EXPLAIN without looking whether the schema is still the one
    that it was compiled for. Once another process changed it, that memory is freed, and the process crashes.
    """
    return f"/* {next(_never_seen)} */ {sql}"


def lenient_text(data: bytes) -> str:
    """Text that may not be valid UTF-8: what is invalid becomes lone surrogates, which no codec lets pass."""
    return data.decode("utf-8", "surrogateescape")


def leniently(connection: sqlite3.Connection, work: Callable[[], T]) -> T:
    """Run `work`, which only reads; if it meets text that is not valid UTF-8, again with `lenient_text`."""
    try:
        return work()
    except sqlite3.OperationalError as error:
        if "Could not decode" not in str(error):
            raise
    connection.text_factory = lenient_text
    try:
        return work()
    finally:
        connection.text_factory = str


_LARGE = 1 << 16
"""Bytes. Of rows whose values are no larger, a thousand may be held at one time."""


def sparingly(connection: sqlite3.Connection, work: Callable[[bool], T]) -> T:
    """Run `work(False)`, which may fetch many rows at one time; if it meets a large value, `work(True)` instead.

    That has to take one row at a time. SQLite itself keeps watch, so that it costs nothing where values are small.
    """
    before = connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LARGE)
    try:
        return work(False)
    except sqlite3.DataError as error:
        if error.sqlite_errorname != "SQLITE_TOOBIG":
            raise
    finally:
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, before)
    return work(True)


def fetch(connection: sqlite3.Connection, sql: str, parameters: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
    """All rows of a query, read leniently."""
    return leniently(connection, lambda: connection.execute(sql, parameters).fetchall())


def in_transaction(connection: sqlite3.Connection, work: Callable[[sqlite3.Connection], T]) -> T:
    """Run `work` in one BEGIN IMMEDIATE ... COMMIT; roll back on any exception."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        result = work(connection)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return result


def explain(error: sqlite3.Error, doing: str) -> StoreError:
    """The one gate through which SQLite's errors become the store's. `doing` completes "while ..."."""
    code = getattr(error, "sqlite_errorname", "") or ""
    primary = "_".join(code.split("_")[:2])
    kind = StoreUnavailable if primary in _AWAY else StoreError
    return kind(f"SQLite failed while {doing}: {error}.", hint=_ADVICE.get(primary, ""))


@contextlib.asynccontextmanager
async def speaking(doing: str) -> AsyncIterator[None]:
    """Turn `sqlite3.Error` raised inside into `StoreError`; a closed connection into `StoreUnavailable`."""
    try:
        yield
    except sqlite3.Error as error:
        raise explain(error, doing) from error
    except ValueError as error:
        if str(error) in ("Connection closed", "no active connection"):
            raise StoreUnavailable(f"The SQLite store is closed; it was {doing}.") from error
        raise
