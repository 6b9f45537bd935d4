"""Reads of no transaction: many small ones share a hop to a reader's thread, and a long one keeps nobody waiting."""

from __future__ import annotations

import asyncio
import sqlite3
import traceback
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Protocol, TypeVar

from cutover.errors import StatementError
from cutover.model.statement import BatchResult, Step
from cutover.stores.sqlite.declared import DeclaredTypes
from cutover.stores.sqlite.limit import Limit
from cutover.stores.sqlite.running import run_closed

_LARGEST_GROUP = 16
_QUICK_HOPS = 2  # at one time; more would only fight for the interpreter
_SLOW = 20_000  # instructions of SQLite's machine, about a millisecond
_LOOK = 0.02  # seconds between two looks at the hops under way

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]

_Asked = tuple[Work[Any], "asyncio.Future[Any]"]


class Reader(Protocol):
    """Runs a function on a reading connection's thread; waits while all of them are in use."""

    def __call__(self, work: Callable[[sqlite3.Connection], None]) -> Awaitable[None]:
        """Run `work`."""
        ...


class Reads:
    """The queue of reads. A hop takes what waits; one that turns out slow gives the rest back at once.

    SQLite tells of a slow read itself, between two steps of its machine. A single step can take long as well, a
    function over a huge text: so the hops are looked at from here, too.
    """

    def __init__(self, read: Reader, types: DeclaredTypes, limit: Limit) -> None:
        self._read = read
        self._types = types
        self.limit = limit
        self._queue: deque[_Asked] = deque()
        self._quick = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._under_way: set[_Hop] = set()  # without those that turned out slow
        self._next_look: asyncio.TimerHandle | None = None

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
        while self._tasks:
            await asyncio.wait(set(self._tasks))

    def _start(self) -> None:
        self._quick += 1
        task = asyncio.create_task(self._serve())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self) -> None:
        """Hop until nobody waits, or until this hop was slow and another one took its place."""
        while self._queue:
            hop = _Hop(self, [self._queue.popleft() for _ in range(min(len(self._queue), _LARGEST_GROUP))])
            self._under_way.add(hop)
            if self._next_look is None:
                self._look()
            try:
                await self._read(hop.work)
            except Exception as error:  # noqa: BLE001  # every waiter gets an answer
                hop.fail(error)
            self._under_way.discard(hop)
            hop.settle()
            if hop.slow:
                return
        self._quick -= 1

    def _look(self) -> None:
        """Find the hops that are in the same read as at the last look, and look again as long as there are hops."""
        for hop in [hop for hop in self._under_way if hop.stands_still()]:
            self.turned_slow(hop)
        looking = asyncio.get_running_loop().call_later(_LOOK, self._look) if self._under_way else None
        self._next_look = looking

    def turned_slow(self, hop: _Hop) -> None:
        """A hop is busy with one long read: answer what it finished, and let another hop have the rest."""
        if hop not in self._under_way:
            return
        self._under_way.discard(hop)
        hop.slow = True
        hop.settle()
        self._queue.extendleft(reversed(hop.take_back()))
        self._quick -= 1
        if self._queue:
            self._start()


class _Hop:
    """Some reads on their way through a reader's thread.

    The thread takes them one by one from the same end as the event loop takes back what is left; `popleft` gives each
    to one of the two.
    """

    def __init__(self, reads: Reads, group: Sequence[_Asked]) -> None:
        self._reads = reads
        self._left = deque(group)
        self._loop = asyncio.get_running_loop()
        self._running: _Asked | None = None
        self._done: deque[tuple[asyncio.Future[Any], Any]] = deque()
        self._told = False
        self._left_before: int | None = None
        self.slow = False

    def work(self, db: sqlite3.Connection) -> None:
        """On the thread: run the reads one after the other."""
        self._reads.limit.bound(db)
        db.set_progress_handler(self._tick, _SLOW)
        try:
            while self._take():
                self._run_one(db)
        finally:
            db.set_progress_handler(None, 0)

    def _take(self) -> bool:
        try:
            self._running = self._left.popleft()
        except IndexError:
            self._running = None  # the connection remembers this hop for a while: it must not hold what was read
        return self._running is not None

    def _run_one(self, db: sqlite3.Connection) -> None:
        assert self._running is not None
        work, future = self._running
        if not future.cancelled():
            self._reads.limit.apply()
            try:
                self._done.append((future, work(db)))
            except StatementError as error:
                self._done.append((future, error.alone()))
            except Exception as error:  # noqa: BLE001  # of this read alone
                traceback.clear_frames(error.__traceback__)  # they may hold rows
                self._done.append((future, error))

    def _tick(self) -> bool:
        if not self._told:
            self._told = True
            self._loop.call_soon_threadsafe(self._reads.turned_slow, self)
        nobody_waits = self._running is not None and self._running[1].cancelled()
        return nobody_waits or self._reads.limit.passed()

    def stands_still(self) -> bool:
        """On the event loop: whether it is in the same read as when this was asked before."""
        if self._running is None:  # it still waits for a reader, or is about to end
            return False
        before, self._left_before = self._left_before, len(self._left)
        return before == self._left_before

    def take_back(self) -> list[_Asked]:
        """On the event loop: the reads that the thread has not taken, which it gets no more."""
        rest: list[_Asked] = []
        while self._left:
            try:
                rest.append(self._left.popleft())
            except IndexError:  # the thread was quicker
                break
        return rest

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
        unanswered = [self._running] if self._running is not None else []
        self._running = None
        self._done.extend((future, error) for _, future in [*unanswered, *self.take_back()])
