"""Both listeners: the operators' door and the applications' front door."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from aiohttp import web

from cutover.admin.access import split_listen
from cutover.admin.app import make_app as make_admin_app
from cutover.errors import ConfigurationError, CutoverError
from cutover.hrana.door import FrontDoor
from cutover.logs import get_logger
from cutover.metrics import Metrics
from cutover.promote.operations import Operations
from cutover.settings import Settings
from cutover.write_through import WriteThrough

_log = get_logger("serve")
_DRAIN_SECONDS = 5.0


class Doors:
    """`listen` opens them, `close` drains and closes them; `close` may come twice, or without `listen`."""

    def __init__(self, settings: Settings, metrics: Metrics, operations: Operations, door: WriteThrough) -> None:
        self._settings = settings
        self._metrics = metrics
        self._operations = operations
        self._door = door
        self._front: FrontDoor | None = None
        self._admin: web.AppRunner | None = None

    async def listen(self) -> None:
        """Open both; the front door last. Raises `ConfigurationError` for an address that cannot be listened on."""
        admin = make_admin_app(self._operations, self._settings.admin, self._metrics)
        self._admin = web.AppRunner(
            admin, access_log=None, handle_signals=False, shutdown_timeout=_DRAIN_SECONDS, handler_cancellation=True
        )
        await self._admin.setup()
        runner = self._admin

        async def listen_admin(host: str, port: int) -> None:
            await web.TCPSite(runner, host, port, backlog=2048).start()

        await _open(listen_admin, self._settings.admin.listen, "admin.listen")
        if self._settings.front.listen:
            front = self._front = FrontDoor(self._door, self._settings.front, self._metrics)

            async def listen_front(host: str, port: int) -> None:
                await front.listen(host, port, shutdown_timeout=_DRAIN_SECONDS)

            await _open(listen_front, self._settings.front.listen, "front.listen")

    async def close(self) -> None:
        """Let what was asked come to its end, for a while, and close both."""
        self._operations.closing.set()
        with suppress(TimeoutError, CutoverError):
            async with asyncio.timeout(_DRAIN_SECONDS):
                await self._door.drain(_DRAIN_SECONDS)
        if self._front is not None:
            await self._front.close()
        if self._admin is not None:
            await self._admin.cleanup()
        self._front = self._admin = None


async def _open(start: Callable[[str, int], Awaitable[None]], listen: str, setting: str) -> None:
    host, port = split_listen(listen, setting)
    if not host:  # would be every interface, which nobody should choose by leaving something out
        raise ConfigurationError(f'{setting} is {listen!r}; write it as host:port, such as "127.0.0.1:8080".')
    try:
        await start(host, port)
    except OSError as error:
        raise ConfigurationError(f"{setting}: cannot listen on {listen}: {error.strerror or error}.") from None
    _log.info(f"Listening on http://{listen}", door=setting)
