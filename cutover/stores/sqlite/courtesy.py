"""Writes of cutover's own keep out of the way of transactions that have read and may go on to write.

Such a transaction sees the moment of its first read, and SQLite refuses its write (SQLITE_BUSY) once anybody else has
committed. Among the writes of applications that is theirs to deal with, as it always was. But an application that is
alone with its database never met it, and does not reckon with ours: capture for the tables that it has just made.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from cutover import clock


class Courtesy:
    """Who is in a transaction that has only read, and whether a write of ours is under way."""

    def __init__(self, patience: float = 1.0) -> None:
        """`patience`: seconds that a write of ours waits for such transactions; there may always be one."""
        self._patience = patience
        self._open = 0
        self._nobody = asyncio.Event()
        self._nobody.set()
        self._quiet = asyncio.Event()
        self._quiet.set()

    async def begin(self) -> None:
        """A transaction is about to read; waits for a write of ours that has begun."""
        while not self._quiet.is_set():
            await self._quiet.wait()
        self._open += 1
        self._nobody.clear()

    def end(self) -> None:
        """It has ended, or writes itself."""
        self._open -= 1
        if not self._open:
            self._nobody.set()

    @asynccontextmanager
    async def write(self, turn: asyncio.Lock, patience: float | None = None) -> AsyncIterator[None]:
        """The turn for a write of ours, when nobody minds or patience (seconds) has ended. Nobody waits meanwhile."""
        deadline = clock.monotonic() + (self._patience if patience is None else patience)
        while True:
            left = deadline - clock.monotonic()
            if left > 0 and self._open:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._nobody.wait(), left)
            await turn.acquire()
            if not self._open or clock.monotonic() >= deadline:
                break
            turn.release()
        self._quiet.clear()
        try:
            yield
        finally:
            self._quiet.set()
            turn.release()

    @asynccontextmanager
    async def at_once(self, turn: asyncio.Lock) -> AsyncIterator[bool]:
        """The turn for a write of ours that waits for nobody; False if somebody has it, or would mind."""
        if turn.locked() or self._open:
            yield False
            return
        await turn.acquire()
        self._quiet.clear()
        try:
            yield True
        finally:
            self._quiet.set()
            turn.release()
