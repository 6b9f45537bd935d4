"""Reads of no transaction: many small ones share a hop to a reader's thread, and a long one keeps nobody waiting."""

from __future__ import annotations

import asyncio
import sqlite3
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Protocol, TypeVar

from cutover.model.statement import BatchResult, Step
from cutover.stores.sqlite.declared import DeclaredTypes
from cutover.stores.sqlite.limit import Limit
from cutover.stores.sqlite.running import run_closed

_LARGEST_GROUP = 16
_QUICK_HOPS = 2  # at one time; more would only fight for the interpreter
_SLOW = 20_000  # instructions of SQLite's machine, about a millisecond

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]

_Asked = tuple[Work[Any], "asyncio.Future[Any]"]


class Reader(Protocol):
    """Runs a function on a reading connection's thread; waits while all of them are in use."""

    def __call__(self, work: Callable[[sqlite3.Connection], None]) -> Awaitable[None]:
        """Run `work`."""
        ...


class Reads:
    """The queue of reads. A hop takes what waits; one that turns out slow hands the rest back at once."""

    def __init__(self, read: Reader, types: DeclaredTypes, limit: Limit) -> None:
        self._read = read
        self._types = types
        self.limit = limit
        self._queue: deque[_Asked] = deque()
        self._quick = 0
        self._hops: set[asyncio.Task[None]] = set()

    async def run(self, steps: Sequence[Step]) -> BatchResult:
        """Run a self-contained batch that only reads."""
        return await self.ask(partial(run_closed, steps=steps, types=self._types))

    async def ask(self, work: Work[T]) -> T:
        """Run something that only reads, and is quick as a rule."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._queue.append((work, future))
        if self._quick < _QUICK_HOPS:
            self._start()
        return await future

    async def close(self) -> None:
        """Wait for the hops under way."""
        while self._hops:
            await asyncio.wait(set(self._hops))

    def _start(self) -> None:
        self._quick += 1
        task = asyncio.create_task(self._serve())
        self._hops.add(task)
        task.add_done_callback(self._hops.discard)

    async def _serve(self) -> None:
        """Hop until nobody waits, or until this hop was slow and another one took its place."""
        while self._queue:
            hop = _Hop(self, [self._queue.popleft() for _ in range(min(len(self._queue), _LARGEST_GROUP))])
            try:
                await self._read(hop.work)
            except Exception as error:  # noqa: BLE001  # every waiter gets an answer
                hop.fail(error)
            hop.settle()
            if hop.slow:
                return
        self._quick -= 1

    def turned_slow(self, hop: _Hop, rest: list[_Asked]) -> None:
        """A hop is busy with one long read: answer what it finished, and let another hop have the rest."""
        hop.settle()
        self._queue.extendleft(reversed(rest))
        self._quick -= 1
        if self._queue:
            self._start()


class _Hop:
    """Some reads on their way through a reader's thread."""

    def __init__(self, reads: Reads, group: list[_Asked]) -> None:
        self._reads = reads
        self._group = group
        self._loop = asyncio.get_running_loop()
        self._at = 0
        self._done: deque[tuple[asyncio.Future[Any], Any]] = deque()
        self.slow = False

    def work(self, db: sqlite3.Connection) -> None:
        """On the thread: run the reads one after the other."""
        self._reads.limit.bound(db)
        db.set_progress_handler(self._tick, _SLOW)
        try:
            while self._at < len(self._group):
                work, future = self._group[self._at]
                if not future.cancelled():
                    self._reads.limit.apply()
                    try:
                        self._done.append((future, work(db)))
                    except Exception as error:  # noqa: BLE001  # of this read alone
                        self._done.append((future, error))
                self._at += 1
        finally:
            db.set_progress_handler(None, 0)

    def _tick(self) -> bool:
        if not self.slow:
            self.slow = True
            rest = self._group[self._at + 1 :]
            del self._group[self._at + 1 :]
            self._loop.call_soon_threadsafe(self._reads.turned_slow, self, rest)
        return self._reads.limit.passed() or self._group[self._at][1].cancelled()  # nobody waits for it any more

    def settle(self) -> None:
        """On the event loop: answer what is finished so far."""
        while self._done:
            future, outcome = self._done.popleft()
            if future.done():
                continue
            if isinstance(outcome, Exception):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)

    def fail(self, error: Exception) -> None:
        """The hop did not come to its end: everybody in it who has no answer yet gets this one."""
        self._done.extend((future, error) for _, future in self._group[self._at :])
