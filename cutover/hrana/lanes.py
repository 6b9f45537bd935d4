"""The connections that take the short way in, and how their answers are written."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from email.utils import formatdate
from http import HTTPStatus

from cutover.hrana.alike import Alike
from cutover.hrana.front import Front
from cutover.hrana.lane import Lane
from cutover.hrana.replies import JSON, ORIGIN, Reply

_BODY_BYTES = 128 * 1024
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

    def ordinary(self, body: bytes) -> bytes:
        """The bytes of the ordinary answer, behind which the connection goes on."""
        second = int(time.time())
        if second != self._second:
            self._second, self._date = second, formatdate(second, usegmt=True)
            self._ends = f"\r\ndate: {self._date}\r\n\r\n".encode("ascii")
        return b"%b%d%b%b" % (_BEGINS, len(body), self._ends, body)

    def render(self, reply: Reply, *, last: bool) -> bytes:
        """The bytes of any answer."""
        ordinary = self.ordinary(reply.body)
        if reply.status == 200 and reply.content_type is JSON and not reply.headers and not last:
            return ordinary
        head = (
            f"{_STATUS[reply.status]}content-type: {reply.content_type}\r\n{_CORS}"
            f"content-length: {len(reply.body)}\r\ndate: {self._date}\r\n"
        )
        for name, value in reply.headers.items():
            head += f"{name}: {value}\r\n"
        return (head + ("connection: close\r\n\r\n" if last else "\r\n")).encode("latin-1") + reply.body
