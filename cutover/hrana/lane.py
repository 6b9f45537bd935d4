"""The short way in: a connection whose requests are ordinary pipelines is served without a web framework.

aiohttp takes about 100 µs for a request, several times what the request itself needs. What is, byte for byte, an
ordinary small POST of a pipeline over HTTP/1.1 is answered here. Anything else - another path or method, a chunked or
large body, `Expect`, an upgrade, a head that is in any way unusual or wrong - is handed over to aiohttp with the
connection and the bytes read so far, and stays there. So this file needs to know what is ordinary, never what is right.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from contextvars import copy_context
from email.utils import formatdate
from functools import partial
from http import HTTPStatus
from typing import Any, cast

from cutover import clock, tracing
from cutover.hrana.alike import Alike
from cutover.hrana.front import Front
from cutover.hrana.grants import Guest
from cutover.hrana.heads import Head, read_head
from cutover.hrana.messages import Pipeline
from cutover.hrana.patience import Watched
from cutover.hrana.replies import JSON, ORIGIN, Reply, full, late, refusal
from cutover.write_through import Begun

_HEAD_BYTES = 8 * 1024
_BODY_BYTES = 128 * 1024
_AHEAD_BYTES = 64 * 1024
"""What a client may send before it has its answer; then its socket is not read for a while."""

_START = b"POST /v"
_STATUS = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus}
_CORS = "".join(f"{name}: {value}\r\n" for name, value in ORIGIN.items())
_BEGINS = f"{_STATUS[200]}content-type: {JSON}\r\n{_CORS}content-length: ".encode("ascii")
"""The head of an ordinary answer up to its length."""

Taker = Callable[[], asyncio.Protocol]
"""Makes the protocol that takes a connection over: aiohttp's."""


class Lanes:
    """The connections that came in this way. `close` lets each have its answer."""

    def __init__(self, front: Front, taker: Taker) -> None:
        self.front = front
        self.taker = taker
        self.alike = Alike()
        self.open: set[Lane] = set()
        self.closing = False
        self.gone = asyncio.Event()
        """Set when a connection has ended, for `ended`."""
        self.largest = min(_BODY_BYTES, front.settings.max_request_bytes)
        self._second = 0
        self._date = ""
        self._ends = b""
        """The head of an ordinary answer behind its length, as of that second."""

    def __call__(self) -> Lane:
        """A new connection."""
        return Lane(self)

    def close(self) -> None:
        """Close each connection as soon as it has no request."""
        self.closing = True
        for lane in list(self.open):
            lane.close_when_idle()

    async def ended(self) -> None:
        """After `close`: wait until each request under way has its answer, and the client has all of it."""
        while self.open:
            self.gone.clear()
            await self.gone.wait()

    def abort(self) -> None:
        """Let go of every connection that is left; what still runs for one must not run for nobody."""
        for lane in list(self.open):
            lane.abort()

    def render(self, reply: Reply, *, last: bool) -> bytes:
        """The bytes of an answer."""
        second = int(time.time())
        if second != self._second:
            self._second, self._date = second, formatdate(second, usegmt=True)
            self._ends = f"\r\ndate: {self._date}\r\n\r\n".encode("ascii")
        if reply.status == 200 and reply.content_type is JSON and not reply.headers and not last:
            return b"%b%d%b%b" % (_BEGINS, len(reply.body), self._ends, reply.body)
        head = (
            f"{_STATUS[reply.status]}content-type: {reply.content_type}\r\n{_CORS}"
            f"content-length: {len(reply.body)}\r\ndate: {self._date}\r\n"
        )
        for name, value in reply.headers.items():
            head += f"{name}: {value}\r\n"
        return (head + ("connection: close\r\n\r\n" if last else "\r\n")).encode("latin-1") + reply.body


class Lane(asyncio.Protocol):
    """One connection. Its requests are answered one after the other."""

    __slots__ = (
        *("_address", "_began", "_buffer", "_full", "_head", "_held", "_lanes", "_paused", "_transport", "_watched"),
        "work",
    )

    def __init__(self, lanes: Lanes) -> None:
        self._lanes = lanes
        self._transport: asyncio.Transport | None = None
        self._address = ""
        self._buffer = b""
        self._head: Head | None = None  # of the last request: the next one's is often the same
        self._began = 0.0
        self._held = 0
        self._full = self._paused = False
        self.work: asyncio.Future[Any] | None = None
        """The request under way: a task, or the write itself."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one in all but name
        self._address = str((transport.get_extra_info("peername") or ("",))[0])
        self._watched = Watched(self._transport, self._overdue)
        if not self._lanes.front.watch.add(self._watched):
            self._end(full("connection"))
            return
        self._lanes.open.add(self)
        if self._lanes.closing:
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio's signature
        """The client has gone: what it still waits for must not run for nobody."""
        self._lanes.open.discard(self)
        if self._transport is not None:
            self._lanes.front.watch.remove(self._transport)
            self._watched.overdue = self._transport.abort  # or the two would hold each other
        self._let_go()
        self._lanes.gone.set()
        self._transport = None
        if self.work is not None:
            self.work.cancel()

    def data_received(self, data: bytes) -> None:
        """More of a request, a whole one, or several."""
        self._buffer = self._buffer + data if self._buffer else data
        if self.work is None:
            if self._watched.owes_since == math.inf:
                self._watched.owes_since = clock.monotonic()
            self._advance()
        elif len(self._buffer) > _AHEAD_BYTES and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def pause_writing(self) -> None:
        """The client does not take its answers: no more requests until it does."""
        self._full = True

    def resume_writing(self) -> None:
        """It does again."""
        self._full = False
        if self.work is None:
            self._advance()

    def _overdue(self) -> None:
        """The rest of a request did not come; or nothing ever did."""
        if self._buffer:
            self._end(late())
        elif self._transport is not None:
            self._transport.close()

    def _end(self, reply: Reply) -> None:
        """Answer what was not read to its end, and close."""
        transport, self._buffer = self._transport, b""
        if transport is not None:
            transport.write(self._lanes.render(reply, last=True))
            transport.close()

    def _hold(self, size: int, whole: int) -> bool:
        """Count what has come of a request as waiting; False if there is no room for the whole of it."""
        waiting = self._lanes.front.waiting
        if not waiting.fits(whole - self._held):
            return False
        waiting.held += size - self._held
        self._held = size
        return True

    def _let_go(self) -> None:
        self._lanes.front.waiting.give(self._held)
        self._held = 0

    def close_when_idle(self) -> None:
        """No further request."""
        if self.work is None and self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Without an answer."""
        if self._transport is not None:
            self._transport.abort()

    def _advance(self) -> None:
        """Begin with the next request, if it is there; the one after it follows when it is answered."""
        while self.work is None and self._buffer and not self._full and self._transport is not None:
            buffer = self._buffer
            end = buffer.find(b"\r\n\r\n", 0, _HEAD_BYTES) + 4
            if end == 3:
                if len(buffer) >= _HEAD_BYTES or not buffer.startswith(_START[: len(buffer)]):
                    self._hand_over()
                return
            head = self._head
            if head is None or len(head.raw) != end or not buffer.startswith(head.raw):
                head = self._head = read_head(buffer[:end], self._lanes.largest)
            if head is None:
                self._hand_over()
                return
            until = end + head.length
            if not self._hold(min(len(buffer), until), until):
                self._end(full("request"))
                return
            if len(buffer) < until:
                return
            self._watched.owes_since = math.inf
            self._buffer = buffer[until:]
            self._begin(head, buffer[end:until])

    def _begin(self, head: Head, body: bytes) -> None:
        """A write or a query of its own is begun at once if it can be, whatever else is wanted gets a task, and what is
        wrong an answer."""
        front = self._lanes.front
        self._began = clock.monotonic()
        try:
            guest = front.admit(head.headers, self._address)
            pipeline = self._lanes.alike.read(body, head.version, front.settings.max_requests)
            begun = None if head.carries else front.begin(pipeline, guest)
        except Exception as error:  # noqa: BLE001  # every request gets an answer
            copy_context().run(self._refuse, head, error)
            return
        if begun is None:
            self.work = asyncio.get_running_loop().create_task(
                self._serve(head, partial(front.pipeline, pipeline, guest))
            )
        else:
            self.work = begun.write
            wrote = partial(self._wrote, head, pipeline, guest, begun)
            begun.write.add_done_callback(wrote, context=copy_context())

    def _refuse(self, head: Head, error: Exception) -> None:
        tracing.begin(head.headers)
        self._answer(head, refusal(error))

    def _wrote(self, head: Head, pipeline: Pipeline, guest: Guest, begun: Begun, _: asyncio.Future[Any]) -> None:
        self.work = None
        if begun.write.cancelled():
            return
        tracing.forget()  # another one's may be left of the request before
        try:
            reply = self._lanes.front.ended(pipeline, begun)
        except Exception as error:  # noqa: BLE001  # every request gets an answer
            reply = refusal(error)
        if isinstance(reply, Reply):
            self._answer(head, reply)
            self._advance()
        elif reply is not None:
            self.work = asyncio.get_running_loop().create_task(self._serve(head, reply))
        elif self._transport is not None:
            again = partial(self._lanes.front.pipeline, pipeline, guest)
            self.work = asyncio.get_running_loop().create_task(self._serve(head, again))

    async def _serve(self, head: Head, answer: Callable[[], Awaitable[Reply]]) -> None:
        tracing.begin(head.headers)
        try:
            reply = await answer()
        except Exception as error:  # noqa: BLE001  # every request gets an answer
            reply = refusal(error)
        finally:
            self.work = None
        self._answer(head, reply)
        self._advance()

    def _answer(self, head: Head, reply: Reply) -> None:
        lanes = self._lanes
        self._let_go()
        lanes.front.finish(head.endpoint, self._began, reply)
        transport = self._transport
        if transport is None:
            return
        transport.write(lanes.render(reply, last=lanes.closing))
        if lanes.closing:
            self._transport = None
            transport.close()
        elif self._paused:
            self._paused = False
            transport.resume_reading()

    def _hand_over(self) -> None:
        transport, buffer = self._transport, self._buffer
        assert transport is not None
        self._transport, self._buffer = None, b""
        self._lanes.open.discard(self)
        self._watched.overdue = transport.abort
        self._lanes.gone.set()
        taker = self._lanes.taker()
        transport.set_protocol(taker)
        taker.connection_made(transport)
        transport.resume_reading()
        taker.data_received(buffer)
