"""The front door over HTTP, served by aiohttp: every endpoint, and every kind of request. See also `lane.py`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial

from aiohttp import web

from cutover import __version__, clock, tracing
from cutover.errors import StatementError
from cutover.hrana.answers import write_json
from cutover.hrana.bodies import body_of, decoded
from cutover.hrana.cursor import Cursor, error_entry
from cutover.hrana.fields import read_json
from cutover.hrana.front import Front
from cutover.hrana.grants import Guest
from cutover.hrana.messages import Batch, Pipeline, read_batch, read_baton, read_pipeline
from cutover.hrana.protobuf import delimited, from_json, to_json
from cutover.hrana.replies import ORIGIN, PLAIN, Reply, refusal
from cutover.hrana.stream import HranaStream
from cutover.write_through import HeldTooLong, ShuttingDown

_PREFLIGHT = {
    **ORIGIN,
    "access-control-allow-methods": "GET, POST, OPTIONS",
    "access-control-allow-headers": "authorization, content-type, x-request-id, traceparent, tracestate",
    "access-control-max-age": "86400",
}
_CHUNK = 64 * 1024
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_Work = Callable[[bytes, Guest], Awaitable[Reply]]


@dataclass(frozen=True)
class _Lines:
    """How a cursor's messages are spelled. Within, they are JSON."""

    content_type: str
    read: Callable[[bytes], bytes]
    write: Callable[[str, bytes], bytes]
    """Of a message's name and its JSON."""


_JSON = _Lines(PLAIN, lambda body: body, lambda _, text: text + b"\n")
_PROTOBUF = _Lines(
    "application/x-protobuf",
    lambda body: to_json("CursorReqBody", body),
    lambda message, text: delimited(from_json(message, text)),
)


def make_app(front: Front) -> web.Application:
    """The front door's application. It closes `front` when it ends."""

    @web.middleware
    async def come(request: web.Request, handler: _Handler) -> web.StreamResponse:
        front.watch.owes_nothing(request.transport)
        return await handler(request)

    app = web.Application(client_max_size=front.settings.max_request_bytes, middlewares=[come])
    posts: dict[str, _Handler] = {
        "/v2/pipeline": _pipeline(front, "/v2/pipeline", 2),
        "/v3/pipeline": _pipeline(front, "/v3/pipeline", 3),
        "/v3/cursor": _cursor(front, "/v3/cursor", _JSON),
        "/v3-protobuf/pipeline": _posted(
            front, "/v3-protobuf/pipeline", lambda body, guest: _in_protobuf(front, body, guest)
        ),
        "/v3-protobuf/cursor": _cursor(front, "/v3-protobuf/cursor", _PROTOBUF),
        "/v1/execute": _posted(front, "/v1/execute", front.execute),
        "/v1/batch": _posted(front, "/v1/batch", front.batch),
    }
    app.add_routes(
        [
            *(web.post(path, handler) for path, handler in posts.items()),
            *(web.options(path, _preflight) for path in posts),
            *(web.get(path, _hello) for path in ("/v1", "/v2", "/v3", "/v3-protobuf", "/health")),
            web.get("/version", _version),
            web.get("/", front.sockets.serve),
        ]
    )
    app.on_shutdown.append(lambda _app: front.sockets.close())
    app.on_cleanup.append(lambda _app: front.close())
    return app


def _pipeline(front: Front, endpoint: str, version: int) -> _Handler:
    read = partial(read_pipeline, version=version, most=front.settings.max_requests)

    async def work(body: bytes, guest: Guest) -> Reply:
        return await front.pipeline(await decoded(read, body), guest)

    return _posted(front, endpoint, work)


def _posted(front: Front, endpoint: str, work: _Work) -> _Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        async def read_and_work(guest: Guest) -> Reply:
            async with body_of(front, request) as body:
                return await work(body, guest)

        return _response(await front.answer(endpoint, request.headers, request.remote or "", read_and_work))

    return handle


async def _in_protobuf(front: Front, body: bytes, guest: Guest) -> Reply:
    def read(body: bytes) -> Pipeline:
        return read_pipeline(to_json("PipelineReqBody", body), 3, front.settings.max_requests)

    reply = await front.pipeline(await decoded(read, body), guest)
    return replace(reply, body=from_json("PipelineRespBody", reply.body), content_type=_PROTOBUF.content_type)


def _cursor(front: Front, endpoint: str, lines: _Lines) -> _Handler:
    """The one answer that is not written as a whole."""

    async def handle(request: web.Request) -> web.StreamResponse:
        began = clock.monotonic()
        tracing.begin(request.headers)
        response: web.StreamResponse
        try:
            response = await _stream_cursor(front, request, front.admit(request.headers, request.remote or ""), lines)
        except Exception as error:  # noqa: BLE001  # every request gets an answer
            response = _response(refusal(error))
        front.note(endpoint, response.status, clock.monotonic() - began, 1)
        if not response.prepared:
            response.headers.update(_named())
        return response

    return handle


def _read_cursor(lines: _Lines, body: bytes) -> tuple[str | None, Batch]:
    found = read_json(lines.read(body))
    return read_baton(found), read_batch(found.get("batch"), 3)


async def _stream_cursor(front: Front, request: web.Request, guest: Guest, lines: _Lines) -> web.StreamResponse:
    async with body_of(front, request) as body:
        baton, batch = await decoded(partial(_read_cursor, lines), body)
    streams = front.streams
    stream = streams.open(guest, kept=True) if baton is None else await streams.claim(baton, guest)
    try:
        cursor = await _open_cursor(stream, batch, fresh=baton is None)
        response = web.StreamResponse(headers={"content-type": lines.content_type, **ORIGIN, **_named()})
        await response.prepare(request)
        first = write_json({"baton": streams.baton(stream), "base_url": None})
        await response.write(lines.write("CursorRespBody", first))
    except BaseException:
        await streams.end(stream)
        raise
    try:
        last = await streams.read(stream, _write_entries(response, cursor, lines, len(batch.steps)))
    except (ConnectionError, asyncio.CancelledError):  # it has hung up; the stream waits for its next request a while
        streams.give_back(stream)
        raise
    except BaseException:
        await streams.end(stream)
        raise
    if last is None:
        response.force_close()
        return response
    # Some clients send the stream's next request as soon as they have read the last entry, without the body's end.
    streams.give_back(stream)
    await response.write(last)
    await response.write_eof()
    return response


def _named() -> dict[str, str]:
    request_id = tracing.named()
    return {} if request_id is None else {tracing.REQUEST_ID: request_id}


async def _open_cursor(stream: HranaStream, batch: Batch, *, fresh: bool) -> Cursor | StatementError:
    try:
        return await stream.open_cursor(batch)
    except (HeldTooLong, ShuttingDown) as error:
        if fresh:
            raise
        return error
    except StatementError as error:
        return error


async def _write_entries(
    response: web.StreamResponse, cursor: Cursor | StatementError, lines: _Lines, steps: int
) -> bytes:
    """Write the entries but for the last ones, which are returned: the cursor is closed before a client has them."""
    if isinstance(cursor, StatementError):
        return lines.write("CursorEntry", write_json(error_entry(cursor, steps)))
    last = b""
    try:
        while entries := await cursor.take(size=_CHUNK):
            await response.write(last)
            await asyncio.sleep(0)  # others come first while a large result is encoded
            last = b"".join([lines.write("CursorEntry", entry) for entry in entries])
    finally:
        await cursor.close()
    return last


async def _hello(_request: web.Request) -> web.Response:
    return web.Response(headers=ORIGIN)


async def _version(_request: web.Request) -> web.Response:
    return web.Response(body=f"cutover {__version__}".encode(), content_type=PLAIN, headers=ORIGIN)


async def _preflight(_request: web.Request) -> web.Response:
    return web.Response(headers=_PREFLIGHT)


def _response(reply: Reply) -> web.Response:
    headers = {**ORIGIN, "content-type": reply.content_type, **reply.headers}
    response = web.Response(body=reply.body, status=reply.status, headers=headers)
    if reply.last:
        response.force_close()
    return response
