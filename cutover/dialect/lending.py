"""Connections kept for applications' statements: taken from the store's pool once, and handed from one to the next.

A pool's own lending costs several turns of the event loop and two timers for each statement, as much as many
statements do.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

import asyncpg

from cutover.dialect.metering import install

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    from cutover.stores.postgres.store import Pool, PostgresStore

    Proxy = PoolConnectionProxy[asyncpg.Record]
    Connection = asyncpg.Connection[asyncpg.Record]

_UNUSED = 30.0
"""Seconds after which a connection that nobody needed goes back to the pool, which closes it in its own time."""

_SPARE = 0.5
"""Seconds that one waits for the pool who holds a connection of it."""


class Lending:
    """Who asks first is served first."""

    def __init__(self, store: PostgresStore, patience: float) -> None:
        """`patience`: seconds that one may wait for a connection."""
        self._store = store
        self._patience = patience
        self._pool: Pool | None = None
        self._idle: list[Connection] = []
        """The one used last is taken first, so the others show how many are not needed."""
        self._unneeded = 0
        """The fewest that were idle at once since the last look."""
        self._origin: dict[Connection, tuple[Pool, Proxy]] = {}
        self._made = 0
        """Connections of the pool that are here, lent or being made."""
        self._waiting: deque[asyncio.Future[Connection | None]] = deque()
        self._look: asyncio.TimerHandle | None = None
        self._returning: asyncio.Future[None] | None = None
        self._closed = False

    async def take(self) -> Connection:
        """A connection outside of any transaction. Raises what the driver raises, or `TimeoutError`."""
        self._closed = False
        if self._pool is not self._store.pool:
            await self._change_pools()
        while True:
            while self._idle:
                connection = self._idle.pop()
                self._unneeded = min(self._unneeded, len(self._idle))
                if not connection.is_closed():
                    return connection
                await self._return(connection)
            if self._pool is not None and self._made < self._pool.get_max_size():
                return await self._make(self._pool, self._patience)
            given = await self._wait()
            if given is not None:
                return given

    def take_idle(self) -> Connection | None:
        """As `take`, if a connection is idle and nobody waits for it."""
        if self._pool is self._store.pool and self._idle and not self._idle[-1].is_closed():
            self._unneeded = min(self._unneeded, len(self._idle) - 1)
            return self._idle.pop()
        return None

    async def take_spare(self) -> Connection | None:
        """As `take`, for one who does not wait until somebody gives a connection back."""
        if (connection := self.take_idle()) is not None:
            return connection
        room = self._pool is not None and self._pool is self._store.pool and self._made < self._pool.get_max_size()
        return await self._make(self._pool, _SPARE) if room and self._pool is not None else None

    async def give(self, connection: Connection) -> None:
        """Give back what was taken; a connection that is not fit to be lent again is thrown away."""
        if not self.keep(connection):
            if connection.is_closed() or connection.is_in_transaction():
                connection.terminate()
            await self._return(connection)

    def keep(self, connection: Connection) -> bool:
        """Give back what was taken, if it is fit to be lent again; False if it has to be given by `give`."""
        if connection.is_closed() or connection.is_in_transaction() or _unsettled(connection):
            return False
        if self._closed or self._origin[connection][0] is not self._store.pool:
            return False
        if not self._hand_over(connection):
            self._idle.append(connection)
            if self._look is None:
                self._unneeded = len(self._idle)
                self._look = asyncio.get_running_loop().call_later(_UNUSED, self._look_through)
        return True

    async def close(self) -> None:
        """Let the pool have what is idle, and what is lent as soon as it comes back."""
        self._closed = True
        if self._look is not None:
            self._look.cancel()
            self._look = None
        while self._idle:
            await self._return(self._idle.pop())

    async def _make(self, pool: Pool, patience: float) -> Connection:
        self._made += 1
        try:
            proxy = await pool.acquire(timeout=patience)
        except BaseException:
            if pool is self._pool:
                self._made -= 1
                self._hand_over(None)
            raise
        # Without the pool's wrapper, which costs something at each call.
        connection: Connection = cast("Any", proxy)._con  # noqa: SLF001  # no public one
        install(connection)
        self._origin[connection] = (pool, proxy)
        return connection

    async def _wait(self) -> Connection | None:
        """A connection that somebody gave back; None if there is room to make one."""
        waiter: asyncio.Future[Connection | None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        try:
            async with asyncio.timeout(self._patience):
                return await waiter
        except BaseException:
            if waiter in self._waiting:
                self._waiting.remove(waiter)
            elif not waiter.cancelled():  # it came in the moment in which nobody waited any more
                given = waiter.result()
                if given is None:
                    self._hand_over(None)
                else:
                    await self.give(given)
            raise

    def _hand_over(self, connection: Connection | None) -> bool:
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(connection)
                return True
        return False

    async def _return(self, connection: Connection) -> None:
        pool, proxy = self._origin.pop(connection)
        if pool is self._pool:
            self._made -= 1
            self._hand_over(None)
        with suppress(asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError):
            await pool.release(proxy)  # of one that is dead the pool makes another

    async def _change_pools(self) -> None:
        """The store was opened anew."""
        old, self._idle = self._idle, []
        self._pool, self._made = self._store.pool, 0
        await self._return_all(old)

    async def _return_all(self, connections: Sequence[Connection]) -> None:
        for connection in connections:
            await self._return(connection)

    def _look_through(self) -> None:
        self._look = None
        unneeded, self._idle = self._idle[: self._unneeded], self._idle[self._unneeded :]
        if unneeded:
            self._returning = asyncio.ensure_future(self._return_all(unneeded))
        if self._idle:
            self._unneeded = len(self._idle)
            self._look = asyncio.get_running_loop().call_later(_UNUSED, self._look_through)


def _unsettled(connection: Connection) -> bool:
    """Whether something was cancelled and may still come to its end: a BEGIN on its way has begun nothing yet, as far
    as anybody can tell. The pool waits for it, and brings the connection back to its beginning."""
    return bool(cast("Any", connection)._protocol._is_cancelling())  # noqa: SLF001  # no public one
