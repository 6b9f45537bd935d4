"""The front door over WebSocket: `GET /` with the subprotocols of Hrana 1, 2 and 3.

A socket is one loop that reads. What concerns the connection (hello, stored texts, opening streams) takes effect
there, in the order in which it came; what concerns a stream is queued for it and performed in the stream's own task.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Literal

from aiohttp import WSCloseCode, WSMsgType, web

from cutover import clock, tracing
from cutover.errors import StatementError
from cutover.hrana.access import Access
from cutover.hrana.answers import Json, write_error, write_json
from cutover.hrana.fields import NotJson, ProtocolError
from cutover.hrana.grants import AccessRefused, Guest
from cutover.hrana.messages import CloseSql, StoreSql
from cutover.hrana.outbox import Outbox
from cutover.hrana.patience import Waiting
from cutover.hrana.protobuf import from_json, to_json
from cutover.hrana.socket_messages import (
    Call,
    CloseCursor,
    CloseStream,
    FetchCursor,
    Hello,
    OnStream,
    OpenCursor,
    OpenStream,
    read_message,
)
from cutover.hrana.socket_stream import Backlog, SocketStream, StreamRequest, Work, work_of
from cutover.hrana.stored import StoredTexts
from cutover.hrana.stream import Busy
from cutover.hrana.streams import Streams
from cutover.logs import get_logger
from cutover.metrics import Metrics

_log = get_logger("front")

_VERSIONS = {"hrana3": 3, "hrana3-protobuf": 3, "hrana2": 2, "hrana1": 1}
"""The best one first: JSON is what costs less here."""
_ENDPOINT = "websocket"
_UNANSWERED = 1024
_FAILED = 1000
"""Streams that may fail to open: each is remembered until it is closed."""
_HELLO_SECONDS = 10.0
_LAST_SECONDS = 5.0
_CLOSE_SECONDS = 2.0
_NOT_VALID = "The token of this socket is no longer valid."
_REASON = 123
"""Bytes that a close frame has room for."""

Raw = web.WebSocketResponse[Literal[False]]


class Sockets:
    """Every WebSocket that is open."""

    def __init__(
        self, streams: Streams, access: Access, metrics: Metrics, waiting: Waiting, *, max_message: int
    ) -> None:
        """`max_message`: bytes that a message may have, and that the unanswered ones of a socket may have together."""
        self.streams = streams
        self.access = access
        self.waiting = waiting
        self.metrics = metrics
        self.max_message = max_message
        self._open: set[Socket] = set()

    def __len__(self) -> int:
        """Number of sockets that are open."""
        return len(self._open)

    async def serve(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer `GET /`; returns when the socket is closed and its streams are being closed."""
        if "websocket" not in request.headers.get("upgrade", "").lower():
            return _plain(426, "This is a Hrana server: send an upgrade to a WebSocket, or POST /v2/pipeline.")
        protocol = _best(request.headers.get("sec-websocket-protocol"))
        if protocol is None:
            return _plain(400, f"Offer one of the WebSocket subprotocols {', '.join(reversed(_VERSIONS))}.")
        raw: Raw = web.WebSocketResponse(
            protocols=(protocol,),
            max_msg_size=self.max_message,
            compress=False,  # costs more than it saves, and small messages cannot swell
            timeout=_CLOSE_SECONDS,
            decode_text=False,
        )
        tracing.begin(request.headers)
        raw.headers[tracing.REQUEST_ID] = tracing.told()["request_id"]
        writer = await raw.prepare(request)
        if request.transport is None or writer is None:
            return raw  # the client has gone already
        binary = protocol == "hrana3-protobuf"
        outbox = Outbox(request.transport, writer, binary=binary)
        socket = Socket(self, raw, outbox, _VERSIONS[protocol], request.remote or "", binary=binary)
        self._open.add(socket)
        try:
            await socket.run()
        finally:
            self._open.discard(socket)
            socket.abandon()
        return raw

    def turn_out(self) -> None:
        """Close those whose token is no longer valid; what they have open is rolled back."""
        for socket in self._open:
            if not socket.is_welcome:
                self.streams.finish(socket.turn_out())

    async def close(self, patience: float = _LAST_SECONDS) -> None:
        """Answer what was read, within `patience` seconds, and tell every client that the service goes away."""
        if self._open:
            await asyncio.wait([asyncio.create_task(socket.stop(patience)) for socket in self._open])


class Socket:
    """One connection."""

    def __init__(self, door: Sockets, raw: Raw, outbox: Outbox, version: int, address: str, *, binary: bool) -> None:
        """`binary`: messages are in Protobuf."""
        self._door = door
        self._binary = binary
        self._raw = raw
        self._outbox = outbox
        self._version = version
        self._texts = StoredTexts()
        self._streams: dict[int, SocketStream] = {}
        self._closing: set[SocketStream] = set()
        self._cursors: dict[int, SocketStream] = {}
        self._backlog = Backlog(_UNANSWERED, door.max_message, door.waiting)
        self._address = address
        self._guest: Guest | None = None
        self._stopping = False
        self._code = 0
        self._answered = 0
        self._began = clock.monotonic()

    async def run(self) -> None:
        """Read until one side closes."""
        self._code, reason = await self._read()
        if self._code:
            await self._close(self._code, reason)

    def abandon(self) -> None:
        """Have everything rolled back that is still open. Does not wait: whoever runs this may be cancelled."""
        for stream in [*self._streams.values(), *self._closing]:
            self._door.streams.finish(stream.abandon())
        self._backlog.forget()
        code, seconds = self._code or self._raw.close_code, clock.monotonic() - self._began
        told = {"seconds": round(seconds, 3), "requests": self._answered, **tracing.told()}
        _log.info("socket", version=self._version, code=code, **told)

    @property
    def is_welcome(self) -> bool:
        """Whether the token that was shown is good still, if any was."""
        return self._guest is None or self._door.access.still(self._guest.grant)

    async def turn_out(self) -> None:
        """Close for the token's sake."""
        self._code = int(WSCloseCode.POLICY_VIOLATION)
        await self._close(self._code, _NOT_VALID)

    async def stop(self, patience: float) -> None:
        """Read no more, answer what was read, and close."""
        self._stopping = True
        with suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await self._backlog.empty()
        await self._close(WSCloseCode.GOING_AWAY, "The service is shutting down.")

    async def _close(self, code: int, reason: str) -> None:
        self._outbox.flush()
        text = reason.encode()[:_REASON].decode(errors="ignore")
        with suppress(ConnectionError):
            await self._raw.close(code=code, message=text.encode())

    async def _read(self) -> tuple[int, str]:
        """(code, reason) to close with; code 0 if it is closed already."""
        try:
            while True:
                await self._backlog.room()
                message = await self._raw.receive(None if self._guest else _HELLO_SECONDS)
                if self._stopping or message.type in (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED):
                    return 0, ""
                if message.type is WSMsgType.ERROR:
                    return 0, ""
                if message.type is not (WSMsgType.BINARY if self._binary else WSMsgType.TEXT):
                    return WSCloseCode.UNSUPPORTED_DATA, "JSON comes in text frames, Protobuf in binary ones."
                await self._take(to_json("ClientMsg", message.data) if self._binary else message.data)
        except TimeoutError:
            return WSCloseCode.POLICY_VIOLATION, "No hello came."
        except NotJson as error:
            return WSCloseCode.INVALID_TEXT, error.message
        except ProtocolError as error:
            return WSCloseCode.POLICY_VIOLATION, error.message

    async def _take(self, text: bytes) -> None:
        message = read_message(text, self._version)
        if isinstance(message, Hello):
            await self._greet(message)
        elif self._guest is None:
            raise ProtocolError("The first message must be hello.")
        elif not self.is_welcome:
            raise ProtocolError(_NOT_VALID)
        else:
            await self._call(message, len(text), self._guest)

    async def _greet(self, hello: Hello) -> None:
        if self._guest is not None and self._version == 1:
            raise ProtocolError("In Hrana 1, hello is said once.")
        try:
            self._guest = Guest(self._door.access.admit(hello.jwt), self._address)
        except AccessRefused as refused:
            error = StatementError(refused.message, refused.code)
            await self._send({"type": "hello_error", "error": write_error(error)})
            raise ProtocolError("Unauthorized.") from None
        await self._send({"type": "hello_ok"})

    async def _call(self, call: Call, size: int, guest: Guest) -> None:
        """What concerns the connection takes effect here, before any later message is looked at."""
        match call.request:
            case StoreSql() | CloseSql() as request:
                kind = "store_sql" if isinstance(request, StoreSql) else "close_sql"
                outcome: Json | StatementError = {"type": kind}
                try:
                    self._texts.take(request)
                except StatementError as error:
                    outcome = error
            case OpenStream(stream_id):
                outcome = self._open(stream_id, guest)
            case CloseCursor(cursor_id) if cursor_id not in self._cursors:
                outcome = {"type": "close_cursor"}
            case OnStream() if not self._door.waiting.fits(size):
                text = "There is no room for another request now; nothing was executed. Repeat it."
                outcome = StatementError(text, "SQLITE_BUSY", retry=True)
            case request:
                self._queue(call.request_id, request, size)
                return
        await self._respond(call.request_id, outcome, clock.monotonic())

    def _open(self, stream_id: int, guest: Guest) -> Json | StatementError:
        if stream_id in self._streams:
            raise ProtocolError(f"The stream {stream_id} is open already.")
        try:
            stream = self._door.streams.open(guest, kept=True)
        except Busy as busy:
            if sum(stream.failed for stream in self._streams.values()) >= _FAILED:
                raise ProtocolError(f"{_FAILED} streams failed to open, and are not closed.") from None
            self._streams[stream_id] = SocketStream(None, self._door.streams, self._done)
            return busy.error
        self._streams[stream_id] = SocketStream(stream, self._door.streams, self._done)
        return {"type": "open_stream"}

    def _queue(self, request_id: int, request: StreamRequest, size: int) -> None:
        stream = self._stream_of(request)
        match request:
            case CloseStream(stream_id):
                del self._streams[stream_id]
                self._closing.add(stream)
                stream.when_closed(self._closing.discard)
                if stream.cursor_id is not None:
                    del self._cursors[stream.cursor_id]
            case OpenCursor(stream_id, cursor_id, batch):
                if cursor_id in self._cursors:
                    raise ProtocolError(f"The cursor {cursor_id} is open already.")
                request = OpenCursor(stream_id, cursor_id, self._texts.resolve_batch(batch))
                self._cursors[cursor_id] = stream
                stream.cursor_id = cursor_id
            case CloseCursor(cursor_id):
                del self._cursors[cursor_id]
                stream.cursor_id = None
            case OnStream(stream_id, asked):
                request = OnStream(stream_id, self._texts.resolve(asked))
        self._backlog.add(size)
        stream.add(work_of(request_id, request, size))

    def _stream_of(self, request: StreamRequest) -> SocketStream:
        """Raises `ProtocolError` for an id that means nothing, or a stream that has to do with its cursor."""
        if isinstance(request, FetchCursor | CloseCursor):
            if request.cursor_id not in self._cursors:
                raise ProtocolError(f"No cursor {request.cursor_id} is open.")
            return self._cursors[request.cursor_id]
        stream = self._streams.get(request.stream_id)
        if stream is None:
            raise ProtocolError(f"No stream {request.stream_id} is open.")
        if stream.cursor_id is not None and not isinstance(request, CloseStream):
            raise ProtocolError(f"The stream {request.stream_id} has a cursor; close it before anything else.")
        return stream

    async def _done(self, work: Work, outcome: Json | StatementError) -> None:
        self._backlog.remove(work.size)
        await self._respond(work.request_id, outcome, work.since)

    async def _respond(self, request_id: int, outcome: Json | StatementError, since: float) -> None:
        if isinstance(outcome, StatementError):
            code = "error"
            answer: Json = {"type": "response_error", "request_id": request_id, "error": write_error(outcome)}
        else:
            code = "ok"
            answer = {"type": "response_ok", "request_id": request_id, "response": outcome}
        self._door.metrics.requests.note(_ENDPOINT, code, clock.monotonic() - since)
        self._answered += 1
        await self._send(answer)

    async def _send(self, answer: Json) -> None:
        with suppress(ConnectionError):  # the loop that reads learns of it, too
            text = write_json(answer)
            await self._outbox.send(from_json("ServerMsg", text) if self._binary else text)


def _best(offered: str | None) -> str | None:
    if offered is None:
        return "hrana1"
    names = [name.strip() for name in offered.split(",")]
    return next((name for name in _VERSIONS if name in names), None)


def _plain(status: int, text: str) -> web.Response:
    headers = {"content-type": "text/plain"} | ({"upgrade": "websocket"} if status == 426 else {})
    return web.Response(status=status, body=text.encode(), headers=headers)
