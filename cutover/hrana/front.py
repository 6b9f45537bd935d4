"""What the front door does with a request, whichever way it came in."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from http import HTTPStatus
from math import inf

from cutover import clock, tracing
from cutover.errors import StatementError
from cutover.hrana.access import Access
from cutover.hrana.answers import LARGE, write_json, write_outcome, written_result
from cutover.hrana.fields import read_json
from cutover.hrana.grants import Guest
from cutover.hrana.messages import Close, Pipeline, read_batch, read_statement, resolved
from cutover.hrana.patience import Waiting, Watch
from cutover.hrana.replies import Reply, refusal
from cutover.hrana.stream import HranaStream, result_of
from cutover.hrana.streams import Streams
from cutover.hrana.websocket import Sockets
from cutover.logs import get_logger, verbose
from cutover.metrics import Metrics
from cutover.model.statement import Statement, StatementResult
from cutover.settings import FrontSettings
from cutover.tracing import Headers
from cutover.write_through import Begun, WriteThrough

_log = get_logger("front")
_RESULTS = [None, result_of({"type": "close"})]
_ALONE = write_json({"baton": None, "base_url": None, "results": _RESULTS}).replace(b"[null,", b"[%b,")
"""The answer to one statement and the close of its stream, but for the statement's."""
_RAN = _ALONE % write_json(result_of({"type": "execute", "result": None})).replace(b"null", b"%b")
"""The same if it did not fail, but for its result."""
_CODES = {status.value: str(status.value) for status in HTTPStatus}


class Front:
    """The operations of the front door, with what they share."""

    def __init__(self, way: WriteThrough, settings: FrontSettings, metrics: Metrics) -> None:
        """Raises `ConfigurationError` for an unreadable token file."""
        self.way = way
        self.settings = settings
        self.access = Access(settings)
        self.watch = Watch(settings.request_timeout, settings.max_connections)
        self.waiting = Waiting(max(settings.max_waiting_bytes, settings.max_request_bytes))
        self.streams = Streams(
            way,
            idle_timeout=settings.stream_idle_timeout,
            limit=settings.max_streams,
            limit_of_client=settings.max_streams_per_client,
        )
        self.sockets = Sockets(self.streams, self.access, metrics, self.waiting, max_message=settings.max_request_bytes)
        metrics.open_streams.set_function(lambda: len(self.streams))
        metrics.open_connections.set_function(lambda: len(self.watch))
        metrics.open_sockets.set_function(lambda: len(self.sockets))
        self._metrics = metrics
        self._verbose = verbose()
        self._slow = settings.slow_statement or inf

    def reload(self) -> list[str]:
        """Read tokens and keys again, and let go of whoever came with one that is gone. Returns the tokens' names.

        Raises `ConfigurationError`; what was known stays in force then.
        """
        names = self.access.reload()
        self.streams.turn_out(self.access.gone)
        self.sockets.turn_out()
        return names

    async def close(self) -> None:
        """Close every stream; their transactions are rolled back."""
        await self.streams.close()

    async def answer(
        self, endpoint: str, headers: Headers, address: str, work: Callable[[Guest], Awaitable[Reply]]
    ) -> Reply:
        """Authenticate, answer every error in the protocol's form, count, time and log.

        `work` is not called if the door does not open. Raises `web.HTTPException` for answers of aiohttp's own.
        """
        began = clock.monotonic()
        tracing.begin(headers)
        try:
            reply = await work(self.admit(headers, address))
        except Exception as error:  # noqa: BLE001  # every request gets an answer
            reply = refusal(error)
        return self.finish(endpoint, began, reply)

    def finish(self, endpoint: str, began: float, reply: Reply) -> Reply:
        """Count and log the answer to a request that began at `began`, and give it the request's id."""
        self.note(endpoint, reply.status, clock.monotonic() - began, reply.requests)
        return self.named(reply)

    def named(self, reply: Reply) -> Reply:
        """With the request's id, if it has one."""
        request_id = tracing.named()
        if request_id is not None:
            reply.headers = {**reply.headers, tracing.REQUEST_ID: request_id}
        return reply

    def admit(self, headers: Headers, address: str) -> Guest:
        """Who asks. Raises `AccessRefused`."""
        return Guest(self.access.admit_header(headers.get("authorization")), address)

    def note(self, endpoint: str, status: int, took: float, requests: int) -> None:
        """Count one answer, and log it: an ordinary one at the level debug only."""
        self._metrics.requests.note(endpoint, _CODES.get(status) or str(status), took)
        if status >= 400 or took >= self._slow or self._verbose:
            ms = round(took * 1000, 2)
            _level(status, slow=took >= self._slow)(
                "request", method="POST", path=endpoint, status=status, ms=ms, requests=requests, **tracing.told()
            )

    def begin(self, statement: Statement, guest: Guest) -> Begun | None:
        """Begin a write, or a query, that is alone on a stream of its own; None if it has to take the long way. See
        `ended`."""
        return self.way.begin(statement, guest.grant.name, reads=guest.grant.read_only)

    def ended(self, begun: Begun) -> bytes | Callable[[], Awaitable[Reply]] | None:
        """The answer to what `begin` began and is done, and to the close of its stream, or how a large one is written;
        None if it has to take the long way after all."""
        outcome = self.way.ended(begun)
        if outcome is None:
            return None
        if isinstance(outcome, StatementError):
            return _refused(outcome)
        if (error := outcome.errors[0]) is not None:
            return _refused(error)
        result = outcome.results[0] or StatementResult()
        if result.size > LARGE:
            return partial(asyncio.to_thread, _reply, result)
        return _RAN % written_result(result)

    async def pipeline(self, pipeline: Pipeline, guest: Guest) -> Reply:
        """POST /v2/pipeline, /v3/pipeline."""
        stream = await self._stream_of(pipeline, guest)
        try:
            results = await stream.pipeline(pipeline.requests, fresh=pipeline.baton is None)
            answer = write_json({"baton": self.streams.baton(stream), "base_url": None, "results": results})
        except BaseException:
            await self.streams.end(stream)
            raise
        self.streams.give_back(stream)
        return Reply(answer, requests=len(results))

    async def _stream_of(self, pipeline: Pipeline, guest: Guest) -> HranaStream:
        if pipeline.baton is not None:
            return await self.streams.claim(pipeline.baton, guest)
        closes = bool(pipeline.requests) and isinstance(pipeline.requests[-1], Close)
        return self.streams.open(guest, kept=not closes)

    async def execute(self, body: bytes, guest: Guest) -> Reply:
        """POST /v1/execute."""
        statement, stored = read_statement(read_json(body).get("stmt"))
        stream = self.streams.open(guest, kept=False)
        try:
            result = await stream.stream.execute(resolved(statement, stored, {}))
        finally:
            await stream.close()
        return Reply(write_json({"result": await write_outcome(result)}), requests=1)

    async def batch(self, body: bytes, guest: Guest) -> Reply:
        """POST /v1/batch."""
        batch = read_batch(read_json(body).get("batch"), 1)
        stream = self.streams.open(guest, kept=False)
        try:
            result = await stream.stream.batch(stream.texts.resolve_batch(batch).steps)
        finally:
            await stream.close()
        return Reply(write_json({"result": await write_outcome(result)}), requests=1)


def _refused(error: StatementError) -> bytes:
    return _ALONE % write_json(result_of(error))


def _reply(result: StatementResult) -> Reply:
    return Reply(_RAN % written_result(result), requests=2)


def _level(status: int, *, slow: bool) -> Callable[..., object]:
    """503 is an answer that a client repeats its request after: a switch and a stop give many of them."""
    if status >= 500 and status != 503:
        return _log.error
    return _log.info if status >= 400 or slow else _log.debug
