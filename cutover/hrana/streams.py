"""The streams that are open, and over HTTP: who may go on with which, and for how long."""

from __future__ import annotations

import asyncio
import os
from collections import Counter, OrderedDict
from collections.abc import Callable, Coroutine
from typing import Any

from cutover import clock
from cutover.errors import StatementError
from cutover.hrana.batons import Batons
from cutover.hrana.fields import ProtocolError
from cutover.hrana.grants import Grant, Guest
from cutover.hrana.stream import Busy, HranaStream, TooManyStreams
from cutover.write_through import ShuttingDown, WriteThrough

_REMEMBER_EXPIRED = 300.0
_INVALID = "Received an invalid baton."


class Streams:
    """The streams that outlive a request. A stream is either in a request's hands or idle here."""

    def __init__(self, way: WriteThrough, *, idle_timeout: float, limit: int, limit_of_client: int) -> None:
        """`idle_timeout`: seconds after which an idle stream is closed.

        `limit`: streams kept at one time; `limit_of_client`: by clients that show one token, or none from one address.
        """
        self._way = way
        self._idle_timeout = idle_timeout
        self._limit = limit
        self._limit_of_client = limit_of_client
        self._of_client: Counter[str] = Counter()
        self._batons = Batons()
        self._next_id = int.from_bytes(os.urandom(6), "big")
        self._busy: dict[int, HranaStream] = {}
        self._idle: OrderedDict[int, HranaStream] = OrderedDict()
        self._cursors: dict[int, asyncio.Task[bytes]] = {}
        """Over HTTP, of streams that are busy with them."""
        self._expired: OrderedDict[int, float] = OrderedDict()
        self._timer: asyncio.TimerHandle | None = None
        self._closing: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        """Number of streams that count against the limit."""
        return len(self._busy) + len(self._idle)

    def open(self, guest: Guest, *, kept: bool) -> HranaStream:
        """A new stream; `kept`: it will outlive its request. Raises `Busy` if there are too many."""
        if self._way.draining:
            raise Busy(ShuttingDown())
        stream = HranaStream(self._way.stream(guest.reader, guest.grant.name), guest)
        if kept:
            if self._of_client[guest.key] >= self._limit_of_client:
                text = f"This client has {self._limit_of_client} streams open already."
                raise TooManyStreams(StatementError(text, "SQLITE_BUSY", retry=True))
            if len(self) >= self._limit:
                raise Busy(StatementError(f"There are {self._limit} streams open already.", "SQLITE_BUSY", retry=True))
            self._of_client[guest.key] += 1
            self._next_id += 1
            stream.stream_id = self._next_id
            self._busy[stream.stream_id] = stream
        return stream

    async def claim(self, baton: str, guest: Guest) -> HranaStream:
        """As `take`; a cursor that its client has not read to the end is given up for the stream's next request.

        libSQL's Rust clients drop a cursor with the rows that nobody fetched, and go on with its baton at once.
        """
        stream_id, sequence = (self._cursors and self._batons.read(baton)) or (0, 0)
        stream = self._busy.get(stream_id)
        if stream is not None and stream.sequence == sequence and stream_id in self._cursors:
            reading = self._cursors.pop(stream_id)
            reading.cancel()
            try:
                await asyncio.wait({reading})
            finally:
                self.give_back(stream)
        return self.take(baton, guest)

    async def read(self, stream: HranaStream, entries: Coroutine[Any, Any, bytes]) -> bytes | None:
        """Await what writes a cursor's entries; None when the stream was claimed meanwhile, by its next request."""
        stream_id = stream.stream_id
        reading = self._cursors[stream_id] = asyncio.create_task(entries)
        try:
            await asyncio.wait({reading})
        except asyncio.CancelledError:
            reading.cancel()
            await asyncio.wait({reading})
            raise
        finally:
            if self._cursors.get(stream_id) is reading:
                del self._cursors[stream_id]
        return None if reading.cancelled() else reading.result()

    def take(self, baton: str, guest: Guest) -> HranaStream:
        """The stream that a baton is for, now in the caller's hands. Raises `ProtocolError`.

        Whoever has the baton may go on only with the token that the stream was opened with.
        """
        found = self._batons.read(baton)
        if found is None:
            raise ProtocolError(_INVALID)
        stream_id, sequence = found
        stream = self._idle.get(stream_id) or self._busy.get(stream_id)
        if stream is None:
            if self._expired.get(stream_id, 0.0) > clock.monotonic() - _REMEMBER_EXPIRED:
                raise ProtocolError("The stream has expired due to inactivity", code="STREAM_EXPIRED")
            raise ProtocolError(_INVALID)
        if stream.guest.grant.name != guest.grant.name:
            raise ProtocolError(_INVALID)
        if stream.sequence != sequence or stream_id in self._busy:
            raise ProtocolError("Received a baton that has already been used.")
        stream.sequence += 1
        stream.stream.reader = guest.reader
        self._busy[stream_id] = self._idle.pop(stream_id)
        return stream

    def baton(self, stream: HranaStream) -> str | None:
        """The baton of the stream's next request; None if it was closed. Valid once `give_back` was called."""
        return None if stream.closed else self._batons.write(stream.stream_id, stream.sequence)

    def give_back(self, stream: HranaStream) -> None:
        """The request is over: the stream is idle, or gone if it was closed."""
        self._busy.pop(stream.stream_id, None)
        if stream.closed:
            self._forget(stream)
            return
        stream.idle_since = clock.monotonic()
        self._idle[stream.stream_id] = stream
        if self._timer is None:
            self._schedule()

    async def end(self, stream: HranaStream) -> None:
        """Close a stream for breaking the protocol, or because its client is gone."""
        self._busy.pop(stream.stream_id, None)
        self._forget(stream)
        await stream.close()

    def _forget(self, stream: HranaStream) -> None:
        """It counts no longer; once, however often its end is told."""
        if stream.stream_id:
            stream.stream_id, key = 0, stream.guest.key
            self._of_client[key] -= 1
            if self._of_client[key] <= 0:
                del self._of_client[key]

    def finish(self, ending: Coroutine[Any, Any, None]) -> None:
        """Have streams of a client that is gone closed, whoever is cancelled meanwhile. `close` waits for it."""
        task = asyncio.create_task(ending)
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def turn_out(self, gone: Callable[[Grant], bool]) -> None:
        """Close idle streams of tokens that are gone: nobody could go on with them, or give back what they hold."""
        for stream_id, stream in list(self._idle.items()):
            if gone(stream.guest.grant):
                del self._idle[stream_id]
                self._forget(stream)
                self.finish(stream.close())

    async def close(self) -> None:
        """Close every stream."""
        if self._timer is not None:
            self._timer.cancel()
        for stream in [*self._idle.values(), *self._busy.values()]:
            await stream.close()
        self._idle.clear()
        if self._closing:
            await asyncio.wait(self._closing)

    def _schedule(self) -> None:
        self._timer = None
        first = next(iter(self._idle.values()), None)
        if first is not None:
            left = first.idle_since + self._idle_timeout - clock.monotonic()
            self._timer = asyncio.get_running_loop().call_later(max(left, 0.001), self._expire)

    def _expire(self) -> None:
        now = clock.monotonic()
        while self._idle:
            stream_id, stream = next(iter(self._idle.items()))
            if stream.idle_since + self._idle_timeout > now:
                break
            del self._idle[stream_id]
            self._expired[stream_id] = now
            self._forget(stream)
            self.finish(stream.close())
        while self._expired and next(iter(self._expired.values())) < now - _REMEMBER_EXPIRED:
            self._expired.popitem(last=False)
        self._schedule()
