"""Bodies of requests that aiohttp reads: how large they may be, how long they may take, and how many may wait."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from aiohttp import web

from cutover.hrana.front import Front
from cutover.hrana.replies import NotRead, full, late

T = TypeVar("T")

_QUICK = 256 * 1024  # bytes, some milliseconds


@asynccontextmanager
async def body_of(front: Front, request: web.Request) -> AsyncIterator[bytes]:
    """The body of a request, which counts as waiting as long as this lasts.

    Raises `NotRead`, and `web.HTTPRequestEntityTooLarge`: for what the head says alone, if it says it.
    """
    largest = front.settings.max_request_bytes
    size = largest if request.content_length is None else request.content_length
    if size > largest:
        raise web.HTTPRequestEntityTooLarge(largest, size)
    if not front.waiting.take(size):
        raise NotRead(full("request"))
    try:
        yield await _read(request, front.settings.request_timeout)
    finally:
        front.waiting.give(size)


async def _read(request: web.Request, patience: float) -> bytes:
    try:
        async with asyncio.timeout(patience or None):
            return await request.read()
    except TimeoutError:
        raise NotRead(late()) from None


async def decoded(read: Callable[[bytes], T], body: bytes) -> T:
    """What `read` makes of a body. A large one takes long, and others are served meanwhile."""
    return read(body) if len(body) <= _QUICK else await asyncio.to_thread(read, body)
