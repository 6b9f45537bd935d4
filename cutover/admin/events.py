"""Server-sent events: the status once a second and every change of state, for as long as the client listens."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from types import AsyncGeneratorType

from aiohttp import web

from cutover.admin.operations import Operations
from cutover.admin.refusals import RequestRefused, dumps
from cutover.errors import CutoverError
from cutover.logs import get_logger

_MOST_STREAMS = 32

_log = get_logger("admin")


class EventStreams:
    """The open streams. Bounded, because each one costs a status every second."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Write events until the client goes, the service stops, or `Operations.events` ends.

        Raises `RequestRefused` (503) when too many streams are open, or the service is stopping.
        """
        if self._closed or len(self._tasks) >= _MOST_STREAMS:
            message = f"At most {_MOST_STREAMS} event streams can be open. Close one, or read /v1/status."
            raise RequestRefused(503, "too_many_streams", message)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"})
        task = asyncio.create_task(self._pump(request, response))
        self._tasks.add(task)
        try:
            await task
        except asyncio.CancelledError:
            task.cancel()
            if not self._closed:
                raise
        finally:
            self._tasks.discard(task)
        return response

    async def close(self) -> None:
        """End every stream."""
        self._closed = True
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _pump(self, request: web.Request, response: web.StreamResponse) -> None:
        events = self._operations.events()
        try:
            with suppress(ConnectionError):
                await response.prepare(request)
                async for event in events:
                    await response.write(_frame(str(event["event"]), event["data"]))
        except Exception as error:  # noqa: BLE001  # headers are sent
            code = error.code if isinstance(error, CutoverError) else "internal"
            _log.warning("an event stream ended early", reason=code, kind=type(error).__name__)
            with suppress(ConnectionError):
                await response.write(_frame("error", {"code": code, "message": "The stream ended early; ask again."}))
        finally:
            if isinstance(events, AsyncGeneratorType):
                await events.aclose()


def _frame(name: str, data: object) -> bytes:
    return b"event: " + name.encode() + b"\ndata: " + dumps(data) + b"\n\n"
