"""The front door over HTTP: `POST /v2/pipeline`, `/v3/pipeline`, `/v3/cursor` and what goes with them.

Content types are written without a charset: clients compare them as they are.
"""

from __future__ import annotations

import traceback
from collections.abc import Awaitable, Callable
from functools import partial

from aiohttp import web

from cutover import __version__, clock
from cutover.errors import StatementError
from cutover.hrana.access import Tokens
from cutover.hrana.answers import write_batch, write_error, write_json, write_result
from cutover.hrana.cursor import cursor_chunks
from cutover.hrana.messages import (
    Batch,
    Close,
    Pipeline,
    ProtocolError,
    read_batch,
    read_baton,
    read_json,
    read_pipeline,
    read_statement,
    resolved,
)
from cutover.hrana.streams import Busy, HranaStream, Streams
from cutover.logs import get_logger
from cutover.metrics import Metrics
from cutover.model.statement import BatchResult
from cutover.settings import FrontSettings
from cutover.write_through import HeldTooLong, ShuttingDown, WriteThrough

_log = get_logger("front")

_ORIGIN = {"access-control-allow-origin": "*"}
_JSON = {**_ORIGIN, "content-type": "application/json"}
_PLAIN = {**_ORIGIN, "content-type": "text/plain"}
_PREFLIGHT = {
    **_ORIGIN,
    "access-control-allow-methods": "GET, POST, OPTIONS",
    "access-control-allow-headers": "authorization, content-type",
    "access-control-max-age": "86400",
}
_RETRY_AFTER = "1"

Answer = tuple[web.StreamResponse, int]
"""A response, and how many stream requests it answers."""

Handler = Callable[[web.Request], Awaitable[Answer]]


def make_app(way: WriteThrough, settings: FrontSettings, metrics: Metrics) -> web.Application:
    """The front door's application. Raises `ConfigurationError` for an unreadable token file."""
    front = Front(way, settings, metrics)
    app = web.Application(client_max_size=settings.max_request_bytes)
    app.add_routes(front.routes())
    app.on_cleanup.append(front.close)
    return app


class Front:
    """The handlers, with what they share."""

    def __init__(self, way: WriteThrough, settings: FrontSettings, metrics: Metrics) -> None:
        """Raises `ConfigurationError` for an unreadable token file."""
        self._way = way
        self._metrics = metrics
        self._tokens = Tokens(settings)
        self._streams = Streams(way, idle_timeout=settings.stream_idle_timeout, limit=settings.max_streams)

    def routes(self) -> list[web.RouteDef]:
        """Every route of the front door."""
        posts: dict[str, Handler] = {
            "/v2/pipeline": partial(self._pipeline, version=2),
            "/v3/pipeline": partial(self._pipeline, version=3),
            "/v3/cursor": self._cursor,
            "/v1/execute": self._execute,
            "/v1/batch": self._batch,
        }
        return [
            *(web.post(path, self._measured(path, handler)) for path, handler in posts.items()),
            *(web.options(path, _preflight) for path in posts),
            *(web.get(path, _hello) for path in ("/v1", "/v2", "/v3", "/health")),
            web.get("/version", _version),
        ]

    async def close(self, _app: web.Application) -> None:
        """Close every stream; their transactions are rolled back."""
        await self._streams.close()

    def _measured(self, endpoint: str, handler: Handler) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        """Authenticate, answer every error in the protocol's form, count, time and log."""
        seconds = self._metrics.request_seconds.labels(endpoint)
        succeeded = self._metrics.requests.labels(endpoint, "200")

        async def handle(request: web.Request) -> web.StreamResponse:
            began = clock.monotonic()
            count = 0
            if not self._tokens.admit(request.headers.get("authorization")):
                response: web.StreamResponse = _unauthorized()
            else:
                try:
                    response, count = await handler(request)
                except Exception as error:  # noqa: BLE001  # every request gets an answer
                    response = _refusal(error)
            took = clock.monotonic() - began
            seconds.observe(took)
            status = response.status
            if status == 200:
                succeeded.inc()
            else:
                self._metrics.requests.labels(endpoint, str(status)).inc()
            _log.info("request", method="POST", path=endpoint, status=status, ms=round(took * 1000, 2), requests=count)
            return response

        return handle

    async def _pipeline(self, request: web.Request, version: int) -> Answer:
        pipeline = read_pipeline(await request.read(), version)
        stream = self._stream_of(pipeline)
        try:
            results = await stream.pipeline(pipeline.requests, fresh=pipeline.baton is None)
            body = write_json({"baton": self._streams.baton(stream), "base_url": None, "results": results})
        except BaseException:
            await self._streams.end(stream)
            raise
        self._streams.give_back(stream)
        return _json(body), len(results)

    def _stream_of(self, pipeline: Pipeline) -> HranaStream:
        if pipeline.baton is not None:
            return self._streams.take(pipeline.baton)
        closes = bool(pipeline.requests) and isinstance(pipeline.requests[-1], Close)
        return self._streams.open(kept=not closes)

    async def _cursor(self, request: web.Request) -> Answer:
        body = read_json(await request.read())
        baton, batch = read_baton(body), read_batch(body.get("batch"), 3)
        stream = self._streams.open(kept=True) if baton is None else self._streams.take(baton)
        try:
            outcome = await _outcome(stream, batch, fresh=baton is None)
            response = web.StreamResponse(headers={"content-type": "text/plain", **_ORIGIN})
            await response.prepare(request)
            await response.write(write_json({"baton": self._streams.baton(stream), "base_url": None}) + b"\n")
            for chunk in cursor_chunks(outcome):
                await response.write(chunk)
            self._streams.give_back(stream)
            await response.write_eof()
        except BaseException:
            await self._streams.end(stream)
            raise
        return response, 1

    async def _execute(self, request: web.Request) -> Answer:
        statement, stored = read_statement(read_json(await request.read()).get("stmt"))
        stream = self._streams.open(kept=False)
        try:
            result = await stream.stream.execute(resolved(statement, stored, {}))
        finally:
            await stream.close()
        return _json(write_json({"result": write_result(result)})), 1

    async def _batch(self, request: web.Request) -> Answer:
        batch = read_batch(read_json(await request.read()).get("batch"), 1)
        stream = self._streams.open(kept=False)
        try:
            result = await stream.stream.batch(stream.steps(batch))
        finally:
            await stream.close()
        return _json(write_json({"result": write_batch(result)})), 1


async def _outcome(stream: HranaStream, batch: Batch, *, fresh: bool) -> BatchResult | StatementError:
    try:
        return await stream.stream.batch(stream.steps(batch))
    except (HeldTooLong, ShuttingDown) as error:
        if fresh:
            raise
        return error
    except StatementError as error:
        return error


async def _hello(_request: web.Request) -> web.Response:
    return web.Response(headers=_ORIGIN)


async def _version(_request: web.Request) -> web.Response:
    return web.Response(body=f"cutover {__version__}".encode(), content_type="text/plain", headers=_ORIGIN)


async def _preflight(_request: web.Request) -> web.Response:
    return web.Response(headers=_PREFLIGHT)


def _json(body: bytes, status: int = 200) -> web.Response:
    return web.Response(body=body, status=status, headers=_JSON)


def _unauthorized() -> web.Response:
    text = "Unauthorized: send a valid token as `Authorization: Bearer TOKEN`."
    return _json(write_json({"error": text, "message": text, "code": "AUTH_INVALID"}), 401)


def _refusal(error: Exception) -> web.StreamResponse:
    """The answer to a request that failed as a whole."""
    match error:
        case ProtocolError(code=""):
            return web.Response(body=error.message.encode(), status=error.status, headers=_PLAIN)
        case ProtocolError():
            return _json(write_json({"message": error.message, "code": error.code}), error.status)
        case Busy(error=reason) | (HeldTooLong() | ShuttingDown() as reason):
            response = _json(write_json(write_error(reason)), 503)
            response.headers["retry-after"] = _RETRY_AFTER
            return response
        case StatementError():
            return _json(write_json(write_error(error)), 400)
        case web.HTTPRequestEntityTooLarge():
            text = "The request is larger than front.max_request_bytes."
            return _json(write_json({"message": text, "code": "REQUEST_TOO_LARGE"}), 413)
        case web.HTTPException():
            return error
        case _:
            return _failure(error)


def _failure(error: Exception) -> web.Response:
    """Something of ours is wrong. The log says where, without the error's text, which may hold an application's data;
    the client learns that the outcome is not known."""
    where = "".join(traceback.format_tb(error.__traceback__))
    _log.error("A request failed.", kind=type(error).__name__, where=where)
    text = "The service failed while it ran this request; whether it was executed is not known."
    return _json(write_json({"message": text, "code": "OUTCOME_UNKNOWN"}), 500)
