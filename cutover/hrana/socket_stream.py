"""The streams of one WebSocket: each performs its requests in order, in a task of its own."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import islice

from orjson import Fragment

from cutover import clock
from cutover.errors import StatementError
from cutover.hrana.answers import Json
from cutover.hrana.cursor import Cursor
from cutover.hrana.failures import outcome_unknown
from cutover.hrana.messages import Request
from cutover.hrana.patience import Waiting
from cutover.hrana.socket_messages import CloseCursor, CloseStream, FetchCursor, OnStream, OpenCursor
from cutover.hrana.stream import HranaStream, runs_sql
from cutover.hrana.streams import Streams

_LARGEST = 1024 * 1024
"""Bytes, about, of one fetch of a cursor."""
_TOGETHER = 64
"""Statements that share a commit at most."""

StreamRequest = OnStream | CloseStream | OpenCursor | FetchCursor | CloseCursor


@dataclass(frozen=True, slots=True)
class Work:
    """A request that was read and waits for its stream."""

    request_id: int
    request: StreamRequest
    size: int
    """Length of its message."""
    since: float


Answer = Callable[[Work, Json | StatementError], Awaitable[None]]
"""Sends a response or an error. Returns when there is room for the next one."""


class Backlog:
    """What of a socket was read and not answered yet. Full, it makes the client wait: nothing more is read."""

    def __init__(self, most: int, most_bytes: int, waiting: Waiting) -> None:
        self._waiting = waiting
        self._forgotten = False
        self._most = most
        self._most_bytes = most_bytes
        self._count = self._bytes = 0
        self._changed = asyncio.Event()

    def add(self, size: int) -> None:
        """A request was read."""
        self._count += 1
        self._bytes += size
        self._waiting.held += size

    def remove(self, size: int) -> None:
        """It was answered."""
        self._count -= 1
        self._bytes -= size
        if not self._forgotten:
            self._waiting.give(size)
        self._changed.set()

    def forget(self) -> None:
        """The client is gone, and nothing of it will be answered."""
        self._waiting.give(self._bytes)
        self._forgotten = True

    async def room(self) -> None:
        """Wait until another request may be read."""
        while self._count >= self._most or self._bytes >= self._most_bytes:
            await self._change()

    async def empty(self) -> None:
        """Wait until everything is answered."""
        while self._count:
            await self._change()

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()


class SocketStream:
    """One stream of a socket. Without a `stream` it failed to open: every request is told so, until it is closed."""

    def __init__(self, stream: HranaStream | None, streams: Streams, answer: Answer) -> None:
        self.cursor_id: int | None = None
        """The cursor that is open once all requests so far are done."""
        self._stream = stream
        self._streams = streams
        self._answer = answer
        self._cursor: Cursor | None = None
        self._lost: StatementError | None = None
        self._lost_with = 0
        """How many of the requests in the queue were sent before the client could know that `_lost` happened."""
        self._queue: deque[Work] = deque()
        self._filled = asyncio.Event()
        self._task = asyncio.create_task(self._work())

    @property
    def failed(self) -> bool:
        """Whether it failed to open."""
        return self._stream is None

    def add(self, work: Work) -> None:
        """To be performed after all that came before."""
        self._queue.append(work)
        self._filled.set()

    def when_closed(self, closed: Callable[[SocketStream], None]) -> None:
        """Have `closed` called once its last request was answered."""
        self._task.add_done_callback(lambda _: closed(self))

    async def abandon(self) -> None:
        """The client is gone: what is open is rolled back, what waits is forgotten."""
        self._task.cancel()
        await asyncio.wait({self._task})
        await self._close_cursor()
        if self._stream is not None:
            await self._streams.end(self._stream)

    async def _work(self) -> None:
        closed = False
        while not closed:
            while not self._queue:
                self._filled.clear()
                await self._filled.wait()
            closed = isinstance(self._queue[0].request, CloseStream)
            outcomes = await self._perform_next()
            self._note_loss(len(outcomes))
            for outcome in outcomes:
                await self._answer(self._queue.popleft(), outcome)

    def _note_loss(self, performed: int) -> None:
        self._lost_with = max(self._lost_with - performed, 0)
        if self._stream is not None and self._stream.lost is not None:
            self._lost, self._stream.lost = self._stream.lost, None
            self._lost_with = len(self._queue) - performed

    async def _perform_next(self) -> list[Json | StatementError]:
        """What comes first in the queue, and of statements also those after it that can share its commit."""
        first = self._queue[0].request
        requests: list[Request] = []
        try:
            if self._stream is None or not isinstance(first, OnStream):
                return [await self._perform(first)]
            if self._lost is not None and self._lost_with and runs_sql(first.request):
                return [self._lost]
            for work in islice(self._queue, _TOGETHER):
                if not isinstance(work.request, OnStream):
                    break
                requests.append(work.request.request)
            return await self._stream.go_on(requests)
        except StatementError as error:
            return [error]
        except Exception as error:  # noqa: BLE001  # every request gets an answer
            return [outcome_unknown(error)] * max(len(requests), 1)

    async def _perform(self, request: StreamRequest) -> Json:
        match request:
            case CloseStream():
                await self._close_cursor()
                if self._stream is not None:
                    await self._streams.end(self._stream)
                return {"type": "close_stream"}
            case FetchCursor(_, count):
                if self._cursor is None:
                    raise StatementError("The cursor failed to open.", "CURSOR_NOT_OPEN")
                lines = await self._cursor.take(size=_LARGEST, count=count)
                return {"type": "fetch_cursor", "entries": list(map(Fragment, lines)), "done": self._cursor.done}
            case CloseCursor():
                await self._close_cursor()
                return {"type": "close_cursor"}
            case OpenCursor(_, _, batch) if self._stream is not None:
                self._cursor = await self._stream.open_cursor(batch)
                return {"type": "open_cursor"}
            case _:
                raise StatementError("The stream failed to open; close it.", "STREAM_NOT_OPEN")

    async def _close_cursor(self) -> None:
        cursor, self._cursor = self._cursor, None
        if cursor is not None:
            await cursor.close()


def work_of(request_id: int, request: StreamRequest, size: int) -> Work:
    """A request that came just now."""
    return Work(request_id, request, size, clock.monotonic())
