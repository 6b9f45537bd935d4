"""Where writes wait during a switch, and how a switch knows that none is under way."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol, TypeVar

from cutover import clock
from cutover.metrics import Metrics
from cutover.write_through.errors import HeldTooLong, ShuttingDown

T = TypeVar("T")


class Interactive(Protocol):
    """A stream with an open transaction."""

    client: str
    """Name of the token that it came with; empty: none."""

    @property
    def writing(self) -> bool:
        """Whether it has written or may write at once."""
        ...

    @property
    def changing(self) -> bool:
        """Whether it has changed the schema."""
        ...

    async def expel(self) -> None:
        """Roll its transaction back."""
        ...

    def close(self) -> Coroutine[Any, Any, None]:
        """Roll back and let go."""
        ...


class Gate:
    """Open, it costs a comparison. Closed, writes queue up in front of it in order."""

    def __init__(self, metrics: Metrics, hold_timeout: float) -> None:
        """`hold_timeout`: seconds that one write may wait here."""
        self._metrics = metrics
        self._hold_timeout = hold_timeout
        self._queue: deque[asyncio.Future[None]] = deque()
        self._tasks: set[asyncio.Future[Any]] = set()
        self._writes: set[asyncio.Future[Any]] = set()
        self._open: set[Interactive] = set()
        self._ending: set[Interactive] = set()
        self._changed = asyncio.Event()
        self.held = False
        self.draining = False

    @property
    def waiting(self) -> int:
        """Number of writes in the queue."""
        return len(self._queue)

    @property
    def open(self) -> int:
        """Number of open transactions."""
        return len(self._open)

    async def admit(self) -> None:
        """Return when a write may begin, which it must do before its next await.

        Raises `HeldTooLong` or `ShuttingDown`; the write is out of the queue then.
        """
        until = clock.monotonic() + self._hold_timeout if self.held else 0.0
        while self.held and not self.draining:
            await self._wait(until)
        if self.draining:
            raise ShuttingDown

    async def track(
        self, work: Coroutine[Any, Any, T], *, writes: bool, cut_off: Callable[[], Awaitable[None]] | None = None
    ) -> T:
        """Await `work` in a task of its own: whatever becomes of the caller, it comes to its end and is counted.

        With `cut_off`, which shortens it, a caller that is cancelled is let go when that end has come: it will close
        what `work` uses.
        """
        task = asyncio.create_task(work)
        self._tasks.add(task)
        if writes:
            self._writes.add(task)
        task.add_done_callback(self._landed)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if cut_off is not None and not task.done():
                await cut_off()
                await asyncio.wait({task})
            raise

    def follow(self, write: asyncio.Future[T]) -> asyncio.Future[T]:
        """Count a write until it is done. It must not be done before it has come to its end."""
        self._writes.add(write)
        write.add_done_callback(self._landed)
        return write

    def opened(self, stream: Interactive, is_open: bool) -> None:
        """Note whether a stream has a transaction open."""
        (self._open.add if is_open else self._open.discard)(stream)
        if is_open and self.draining:
            self._roll_back(stream)
        self._metrics.open_transactions.set(len(self._open))
        self._changed.set()

    async def hold(self, grace: float) -> None:
        """Close, and return when no write is under way or open; see `WriteThrough.hold`."""
        self.held = True
        deadline = clock.monotonic() + grace
        while self._busy():
            left = deadline - clock.monotonic()
            await self.expel(changing=left > 0)
            await self._until_change(left if left > 0 else None)

    async def expel(self, *, changing: bool = False) -> None:
        """Roll back the open transactions that have written, or only those `changing` the schema."""
        writing = [stream for stream in self._open if stream.writing]
        await asyncio.gather(*(stream.expel() for stream in writing if stream.changing or not changing))

    def in_the_way(self) -> str:
        """What keeps `hold` from returning, for people; empty if nothing does."""
        writing = [stream for stream in self._open if stream.writing]
        found = [f"{len(self._writes)} under way"] if self._writes else []
        if writing:
            named = sorted({f"token {stream.client}" if stream.client else "no token" for stream in writing})
            found.append(f"{len(writing)} in open transactions ({', '.join(named)})")
        return f"writes of the front door: {', '.join(found)}" if found else ""

    def release(self) -> None:
        """Open; who waits goes first, in order."""
        self.held = False
        self._wake_all()

    async def drain(self, deadline: float) -> None:
        """Refuse everything new, answer who waits, roll back what is open, and let what runs end within `deadline`
        seconds."""
        self.draining = True
        self._wake_all()
        for stream in list(self._open):
            self._roll_back(stream)
        until = clock.monotonic() + deadline
        while (under_way := self._tasks | self._writes) and (left := until - clock.monotonic()) > 0:
            await asyncio.wait(under_way, timeout=left)

    def _roll_back(self, stream: Interactive) -> None:
        """A transaction that nobody can end any more must not keep others from writing while they still may.

        A statement of it that runs comes to its end first.
        """
        if stream not in self._ending:
            self._ending.add(stream)
            task = asyncio.ensure_future(stream.close())
            self._tasks.add(task)
            task.add_done_callback(self._landed)

    async def _wait(self, until: float) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append(waiter)
        self._metrics.held_writes.inc()
        try:
            async with asyncio.timeout(until - clock.monotonic()):
                await waiter
        except TimeoutError:
            raise HeldTooLong(self._hold_timeout) from None
        finally:
            self._metrics.held_writes.dec()
            if waiter in self._queue:
                self._queue.remove(waiter)

    def _wake_all(self) -> None:
        while self._queue:
            waiter = self._queue.popleft()
            if not waiter.done():
                waiter.set_result(None)

    def _landed(self, task: asyncio.Future[Any]) -> None:
        self._tasks.discard(task)
        self._writes.discard(task)
        if not task.cancelled():
            task.exception()  # retrieved, in case its caller has gone
        self._changed.set()

    def _busy(self) -> bool:
        return bool(self._writes) or any(stream.writing for stream in self._open)

    async def _until_change(self, timeout: float | None) -> None:
        self._changed.clear()
        if not self._busy():
            return
        try:
            async with asyncio.timeout(timeout):
                await self._changed.wait()
        except TimeoutError:
            return
