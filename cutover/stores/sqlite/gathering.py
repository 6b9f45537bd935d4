"""When a group begins. Who was just answered mostly writes again at once: a moment's patience, and they share a commit.

Without it a crowd falls apart into groups that follow each other: each pays a sync of its own, and runs while the
event loop is busy with the others' requests, so that the two fight for the interpreter at every statement (a group of
16 took 5.5 ms instead of 1.8). Databases know this as a commit delay. Here nobody waits who is not in a crowd.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sized

from cutover import clock

_CROWD = 4
_SHORTEST, _LONGEST = 0.0001, 0.001


class Gathering:
    """Knows who wrote lately. It belongs to the event loop's thread."""

    def __init__(self, queue: Sized) -> None:
        """`queue`: who waits for the next group."""
        self._queue = queue
        self._expected = 0
        self._gap = 0.0
        self._end = 0.0
        self._came = 0.0
        self._waiter: asyncio.Future[None] | None = None

    def ended(self, size: int, took: float) -> None:
        """A group of so many was committed, in `took` seconds. Those and who waits by now are the crowd."""
        now = clock.monotonic()
        self._expected = size + len(self._queue)
        self._gap = min(max(took / 4, _SHORTEST), _LONGEST)
        self._end = now + took
        self._came = now

    def arrived(self) -> None:
        """Somebody joined the queue."""
        waiter = self._waiter
        if waiter is not None:
            self._came = clock.monotonic()
            if len(self._queue) >= self._expected and not waiter.done():
                waiter.set_result(None)

    async def wait(self) -> None:
        """Return when the crowd is there, or nobody came for a while, or as much time has passed as a group takes."""
        if self._expected < _CROWD or len(self._queue) >= self._expected or clock.monotonic() >= self._end:
            return
        loop = asyncio.get_running_loop()
        self._waiter = loop.create_future()
        timer = loop.call_later(self._gap, self._look)
        try:
            await self._waiter
        finally:
            self._waiter = None
            timer.cancel()

    def _look(self) -> None:
        waiter, now = self._waiter, clock.monotonic()
        if waiter is None or waiter.done():
            return
        if now >= self._end or now - self._came >= self._gap:
            waiter.set_result(None)
        else:
            asyncio.get_running_loop().call_later(self._gap, self._look)
