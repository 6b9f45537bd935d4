"""Connections for reading, lent one at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from cutover.errors import StoreUnavailable
from cutover.stores.sqlite.connection import Connection

_IDLE = 4


class Readers:
    """A pool that grows when needed, to `limit` connections (None: no limit), and keeps a few idle ones."""

    def __init__(self, connect: Callable[[], Awaitable[Connection]], limit: int | None) -> None:
        self._connect = connect
        self._limit = asyncio.Semaphore(limit) if limit is not None else None
        self._keep = limit or _IDLE
        self._idle: list[Connection] = []
        self._closed = True

    def open(self) -> None:
        """Lend from now on."""
        self._closed = False

    @asynccontextmanager
    async def one(self) -> AsyncIterator[Connection]:
        """Borrow a connection. Raises `StoreUnavailable` before `open`, `sqlite3.Error` if none can be made."""
        async with AsyncExitStack() as stack:
            if self._limit is not None:
                await stack.enter_async_context(self._limit)
            if self._closed:
                raise StoreUnavailable("The SQLite store is not open.")
            connection = self._idle.pop() if self._idle else await self._connect()
            try:
                yield connection
            finally:
                if self._closed or len(self._idle) >= self._keep:
                    await connection.close()
                else:
                    self._idle.append(connection)

    async def close(self) -> None:
        """Close idle connections now, and lent ones when they come back."""
        self._closed = True
        while self._idle:
            await self._idle.pop().close()
