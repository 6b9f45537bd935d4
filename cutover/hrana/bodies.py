"""Bodies of requests that aiohttp reads: how large they may be, how long they may take, and how many may wait."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from aiohttp import web
from aiohttp.web_protocol import RequestPayloadError

from cutover.hrana.front import Front
from cutover.hrana.replies import NotRead, full, garbled, late

T = TypeVar("T")

_QUICK = 256 * 1024  # bytes, some milliseconds


@asynccontextmanager
async def body_of(front: Front, request: web.Request) -> AsyncIterator[bytes]:
    """The body of a request, which counts as waiting as far as it has come, and as long as this lasts.

    Raises `NotRead`, and `web.HTTPRequestEntityTooLarge`: for what the head says alone, if it says it.
    """
    waiting, largest, told = front.waiting, front.settings.max_request_bytes, request.content_length or 0
    if told > largest:
        raise web.HTTPRequestEntityTooLarge(largest, told)
    if not waiting.fits(told):
        raise NotRead(full("request"))
    parts: list[bytes] = []
    try:
        await _take(front, request, parts)
        yield parts[0] if len(parts) == 1 else b"".join(parts)
    finally:
        waiting.give(sum(map(len, parts)))


async def _take(front: Front, request: web.Request, parts: list[bytes]) -> None:
    """Read the body; what `parts` holds is counted as waiting, also if this fails."""
    largest, size = front.settings.max_request_bytes, 0
    try:
        async with asyncio.timeout(front.settings.request_timeout or None):
            async for part in _parts(request):
                size += len(part)
                if size > largest:
                    raise web.HTTPRequestEntityTooLarge(largest, size)
                if not front.waiting.take(len(part)):
                    raise NotRead(full("request"))
                parts.append(part)
    except TimeoutError:
        raise NotRead(late()) from None


async def _parts(request: web.Request) -> AsyncIterator[bytes]:
    try:
        async for part in request.content.iter_any():
            yield part
    except RequestPayloadError:
        raise NotRead(garbled()) from None


async def decoded(read: Callable[[bytes], T], body: bytes) -> T:
    """What `read` makes of a body. A large one takes long, and others are served meanwhile."""
    return read(body) if len(body) <= _QUICK else await asyncio.to_thread(read, body)
