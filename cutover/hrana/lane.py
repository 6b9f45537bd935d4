"""The short way in: a connection whose requests are ordinary pipelines is served without a web framework.

aiohttp takes about 100 µs for a request, several times what the request itself needs. What is, byte for byte, an
ordinary small POST of a pipeline over HTTP/1.1 is answered here. Anything else - another path or method, a chunked or
large body, `Expect`, an upgrade, a head that is in any way unusual or wrong - is handed over to aiohttp with the
connection and the bytes read so far, and stays there. So this file needs to know what is ordinary, never what is right.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from cutover import clock, tracing
from cutover.hrana.grants import Guest
from cutover.hrana.heads import Head, read_head
from cutover.hrana.messages import Pipeline, pipeline_of
from cutover.hrana.patience import Watched
from cutover.hrana.replies import Reply, full, late, refusal
from cutover.model.statement import Statement
from cutover.prompt import when_done
from cutover.write_through import Begun

if TYPE_CHECKING:
    from cutover.hrana.lanes import Lanes

_HEAD_BYTES = 8 * 1024
_AHEAD_BYTES = 64 * 1024
"""What a client may send before it has its answer; then its socket is not read for a while."""

_START = b"POST /v"


class Lane(asyncio.Protocol):
    """One connection. Its requests are answered one after the other."""

    __slots__ = (
        *("_address", "_asked", "_began", "_buffer", "_context", "_full", "_head", "_held", "_lanes"),
        *("_known", "_paused", "_readings", "_transport", "_watched", "work"),
    )

    def __init__(self, lanes: Lanes) -> None:
        self._lanes = lanes
        self._transport: asyncio.Transport | None = None
        self._address = ""
        self._buffer = b""
        self._head: Head | None = None  # of the last request: the next one's is often the same
        self._known: Guest | None = None  # who sent it
        self._readings = 0
        """How often the tokens had been read when it was let in."""
        self._began = 0.0
        self._held = 0
        self._full = self._paused = False
        self._context = copy_context()
        self._asked: tuple[Head, Begun, Guest] | None = None  # what is under way without a task
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
        if not self._lanes.front.waiting.grow(self._held, size, whole):
            return False
        self._held = size
        return True

    def _let_go(self) -> None:
        self._lanes.front.waiting.held -= self._held
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
            buffer, head = self._buffer, self._head
            if head is not None and buffer.startswith(head.raw):
                end, length = len(head.raw), head.length
            else:
                end = buffer.find(b"\r\n\r\n", 0, _HEAD_BYTES) + 4
                if end == 3:
                    if len(buffer) >= _HEAD_BYTES or not buffer.startswith(_START[: len(buffer)]):
                        self._hand_over()
                    else:
                        self._owes()
                    return
                head, length = self._read_head(buffer[:end])
                if head is None:
                    self._hand_over()
                    return
            until, size = end + length, len(buffer)
            whole = size >= until
            if not self._hold(until if whole else size, until):
                self._end(full("request"))
                return
            if not whole:
                self._owes()
                return
            self._watched.owes_since = math.inf
            self._buffer = buffer[until:] if size > until else b""
            self._begin(head, buffer[end:until])

    def _read_head(self, raw: bytes) -> tuple[Head | None, int]:
        """A head, and how long its body is: that of the last request with another length, or anew."""
        largest, head = self._lanes.largest, self._head
        length = None if head is None else head.length_in(raw, largest)
        if length is None:
            head, self._known = read_head(raw, largest), None
            self._head = head
            length = 0 if head is None else head.length
        return head, length

    def _owes(self) -> None:
        """The rest of a request is waited for, from now on if it was not before."""
        if self._watched.owes_since == math.inf:
            self._watched.owes_since = clock.monotonic()

    def _guest(self, head: Head) -> Guest:
        """Who asks: whoever asked with the same head before, unless that may have changed. Raises `AccessRefused`."""
        front, known = self._lanes.front, self._known
        readings = front.access.readings
        if known is None or readings != self._readings:
            known = front.admit(head.headers, self._address)
            if known.grant.until is None:
                self._known, self._readings = known, readings
        return known

    def _begin(self, head: Head, body: bytes) -> None:
        """A write or a query of its own is begun at once if it can be, whatever else is wanted gets a task, and what is
        wrong an answer."""
        lanes = self._lanes
        front = lanes.front
        self._began = clock.monotonic()
        try:
            guest = self._guest(head)
            asked = lanes.alike.read(body, head.version, front.settings.max_requests)
            begun = None
            if type(asked) is Statement and not head.carries:
                begun = front.begin(asked, guest)
        except Exception as error:  # noqa: BLE001  # every request gets an answer
            copy_context().run(self._refuse, head, error)
            return
        if begun is None:
            self._take_long_way(head, asked, guest)
        else:
            self._asked, self.work = (head, begun, guest), begun.write
            when_done(begun.write, self._ended, self._context)

    def _take_long_way(self, head: Head, asked: Statement | Pipeline, guest: Guest) -> None:
        pipeline = pipeline_of(asked) if isinstance(asked, Statement) else asked
        self._answer_by(head, partial(self._lanes.front.pipeline, pipeline, guest))

    def _answer_by(self, head: Head, answer: Callable[[], Awaitable[Reply]]) -> None:
        self.work = asyncio.get_running_loop().create_task(self._serve(head, answer))

    def _refuse(self, head: Head, error: Exception) -> None:
        tracing.begin(head.headers)
        self._answer(head, refusal(error))

    def _ended(self, work: asyncio.Future[Any]) -> None:
        """What was begun has come to its end."""
        assert self._asked is not None
        head, begun, guest = self._asked
        self.work = self._asked = None
        if work.cancelled():
            return
        tracing.forget()  # another one's may be left of the request before
        try:
            found = self._lanes.front.ended(begun)
        except Exception as error:  # noqa: BLE001  # every request gets an answer
            self._answer(head, refusal(error))
        else:
            if isinstance(found, bytes):
                self._answer_well(head, found)
            elif found is not None:
                self._answer_by(head, found)
            elif self._transport is not None:
                self._take_long_way(head, begun.statement, guest)
        if self._buffer:
            self._advance()

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

    def _answer_well(self, head: Head, body: bytes) -> None:
        """The answer to one statement and the close of its stream, which no other is given as often."""
        lanes = self._lanes
        lanes.front.note(head.endpoint, 200, clock.monotonic() - self._began, 2)
        if tracing.named() is None and not lanes.closing:
            self._send(lanes.ordinary(body))
        else:
            self._send(lanes.render(lanes.front.named(Reply(body)), last=lanes.closing))

    def _answer(self, head: Head, reply: Reply) -> None:
        lanes = self._lanes
        lanes.front.finish(head.endpoint, self._began, reply)
        self._send(lanes.render(reply, last=lanes.closing))

    def _send(self, answer: bytes) -> None:
        lanes, transport = self._lanes, self._transport
        lanes.front.waiting.held -= self._held
        self._held = 0
        if transport is None:
            return
        transport.write(answer)
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
