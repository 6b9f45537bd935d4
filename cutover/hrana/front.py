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
from cutover.hrana.answers import is_large, write_json, write_outcome, write_result
from cutover.hrana.fields import read_json
from cutover.hrana.grants import Guest
from cutover.hrana.messages import Close, Execute, Pipeline, read_batch, read_statement, resolved
from cutover.hrana.patience import Waiting, Watch
from cutover.hrana.replies import Reply, refusal
from cutover.hrana.stream import HranaStream, outcome_of, result_of
from cutover.hrana.streams import Streams
from cutover.hrana.websocket import Sockets
from cutover.logs import get_logger, verbose
from cutover.metrics import Metrics
from cutover.model.statement import BatchResult, StatementResult, Step
from cutover.settings import FrontSettings
from cutover.tracing import Headers
from cutover.write_through import Begun, WriteThrough

_log = get_logger("front")
_CLOSED = result_of({"type": "close"})
_WROTE = (
    write_json(
        {
            "baton": None,
            "base_url": None,
            "results": [
                result_of(
                    {"type": "execute", "result": write_result(StatementResult(affected=-1, last_insert_rowid=-1))}
                ),
                _CLOSED,
            ],
        }
    )
    .replace(b'"-1"', b"%b")
    .replace(b"-1", b"%d")
)
"""What most writes are answered, but for its two numbers: to write it anew takes longer than all else of an answer."""
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

    def begin(self, pipeline: Pipeline, guest: Guest) -> Begun | None:
        """Begin what is nothing but one write, or query, on a stream of its own; None if it is anything else. See
        `ended`."""
        requests = pipeline.requests
        if pipeline.baton is not None or len(requests) != 2 or not isinstance(requests[1], Close):
            return None
        first = requests[0]
        if not isinstance(first, Execute) or first.stored is not None:
            return None
        return self.way.begin((Step(first.statement),), guest.grant.name, reads=bool(guest.reader))

    def ended(self, pipeline: Pipeline, begun: Begun) -> Reply | Callable[[], Awaitable[Reply]] | None:
        """The answer to what `begin` began and is done, or how a large one is written; None if it has to take the long
        way after all."""
        outcome = self.way.ended(begun)
        if outcome is None:
            return None
        if isinstance(outcome, BatchResult) and is_large(outcome):
            return partial(asyncio.to_thread, _alone, pipeline, outcome)
        return _alone(pipeline, outcome)

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


def _alone(pipeline: Pipeline, outcome: BatchResult | StatementError) -> Reply:
    """The answer to one statement and the close of its stream."""
    result = outcome.results[0] if isinstance(outcome, BatchResult) else None
    if result is not None and not result.columns:
        rowid = result.last_insert_rowid
        return Reply(_WROTE % (result.affected, b"null" if rowid is None else b'"%d"' % rowid), requests=2)
    results = [result_of(outcome_of(pipeline.requests[0], outcome)), _CLOSED]
    return Reply(write_json({"baton": None, "base_url": None, "results": results}), requests=2)


def _level(status: int, *, slow: bool) -> Callable[..., object]:
    """503 is an answer that a client repeats its request after: a switch and a stop give many of them."""
    if status >= 500 and status != 503:
        return _log.error
    return _log.info if status >= 400 or slow else _log.debug
