"""Who may write when: interactive transactions one after the other, self-contained work side by side between them."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from contextvars import ContextVar

from cutover import clock
from cutover.dialect.failures import Conflict

_REMEMBERED = 10.0
"""Seconds for which it is known with what a transaction began that met another one."""
_TEXTS = 256
_PLACED: ContextVar[bool] = ContextVar("placed", default=False)
"""Whether what runs is counted among the writers already."""


class Turns:
    """In this process; what others write on Postgres is met there."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        """Held by the one interactive transaction that may write, as SQLite has only one."""
        self._writers = 0
        """Self-contained work under way that may write."""
        self._written = asyncio.Event()
        self._waiting = 0
        """How many wait to have the turn."""
        self.committed = 0
        """How often something was written and committed: who has read before would write by what is no longer so."""
        self._again = asyncio.Lock()
        self._met: OrderedDict[str, float] = OrderedDict()

    @asynccontextmanager
    async def place(self, attempt: int, *, writes: bool, alone: bool = False) -> AsyncIterator[None]:
        """When self-contained work may be tried: not amid an interactive transaction that writes, which would have to
        begin again; and what met others before, one after the other, so that each comes to its end. `alone`: it changes
        the schema, so that what writes beside it was translated for another one; it has the turn."""
        if _PLACED.get():  # a statement of a transaction that has its place, where BEGIN failed
            yield
            return
        async with self._again if attempt else nullcontext():
            if not writes:
                yield
                return
            if alone:
                await self.take()
            else:
                while self._turn.locked():
                    async with self._turn:
                        pass
                self._writers += 1
            placed = _PLACED.set(True)
            try:
                yield
            finally:
                _PLACED.reset(placed)
                if alone:
                    self.give()
                else:
                    self.leave()

    def enter(self) -> bool:
        """As `place` of a first attempt, if nobody has the turn; to be ended by `leave`."""
        if self._turn.locked():
            return False
        self._writers += 1
        return True

    def leave(self) -> None:
        """The work that entered has ended."""
        self._writers -= 1
        self._written.set()

    async def take(self) -> None:
        """Become the one interactive transaction that writes; self-contained work that began before ends first, so that
        what it did is seen."""
        self._waiting += 1
        try:
            await self._turn.acquire()
        finally:
            self._waiting -= 1
        try:
            while self._writers:
                self._written.clear()
                await self._written.wait()
        except BaseException:
            self._turn.release()
            raise

    async def take_behind(self, seen: int) -> None:
        """As `take`, for one who read when `committed` was `seen`. Raises `Conflict` where others have written since,
        or are about to: whoever waited for them, with a connection in hand, would mostly wait in vain."""
        if self.committed != seen or self._writers or self._waiting or self._turn.locked():
            raise Conflict("Others have written since the transaction read first.")
        await self._turn.acquire()

    def give(self) -> None:
        """Let the next one write."""
        self._turn.release()

    def met(self, first: str) -> None:
        """An interactive transaction that began with this statement met another one. It will be repeated, and others
        like it will come: see `meets`."""
        if first:
            self._met[first] = clock.monotonic() + _REMEMBERED
            self._met.move_to_end(first)
            if len(self._met) > _TEXTS:
                self._met.popitem(last=False)

    def meets(self, first: str) -> bool:
        """Whether a transaction that begins with this statement has met another one of late, so that it should have the
        turn from there on: those that are repeated at once would meet each other for ever."""
        until = self._met.get(first)
        return until is not None and until > clock.monotonic()
