"""Whose turn it is to write. One interactive transaction at a time; one that is too old gives way when others wait."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager


class Turns:
    """The store's write turn with a memory of who holds it and who waits."""

    def __init__(self, lock: asyncio.Lock, limit: float) -> None:
        """`limit`: seconds after which a holder may be expelled for a waiter."""
        self._lock = lock
        self._limit = limit
        self._waiting = 0
        self._expel: Callable[[], Awaitable[None]] | None = None
        self._overdue = False
        self._timer: asyncio.TimerHandle | None = None
        self._evictions: set[asyncio.Future[None]] = set()

    async def take(self) -> None:
        """Wait for the turn."""
        with self.waiting():
            await self._lock.acquire()

    def keep(self, expel: Callable[[], Awaitable[None]]) -> None:
        """The holder keeps the turn beyond this call, for a transaction; `expel` takes it away."""
        if self._expel is None:
            self._expel = expel
            self._timer = asyncio.get_running_loop().call_later(self._limit, self._now_overdue)

    def give(self) -> None:
        """Let the next one write."""
        if self._timer is not None:
            self._timer.cancel()
        self._expel, self._timer, self._overdue = None, None, False
        self._lock.release()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Mark the caller as one who waits for the turn."""
        self._waiting += 1
        try:
            if self._overdue:
                self._evict()
            yield
        finally:
            self._waiting -= 1

    def _now_overdue(self) -> None:
        self._overdue = True
        if self._waiting:
            self._evict()

    def _evict(self) -> None:
        if self._expel is None:
            return
        self._overdue = False
        task = asyncio.ensure_future(self._expel())
        self._evictions.add(task)
        task.add_done_callback(self._evictions.discard)
