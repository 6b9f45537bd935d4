"""Both listeners: the operators' door and the applications' front door."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from aiohttp import web

from cutover.admin.access import split_listen
from cutover.admin.app import make_app as make_admin_app
from cutover.errors import ConfigurationError, CutoverError
from cutover.hrana.http import make_app as make_front_app
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
        self._sites: list[web.AppRunner] = []

    async def listen(self) -> None:
        """Open both; the front door last. Raises `ConfigurationError` for an address that cannot be listened on."""
        admin = make_admin_app(self._operations, self._settings.admin, self._metrics)
        await self._site(admin, self._settings.admin.listen, "admin.listen")
        if self._settings.front.listen:
            front = make_front_app(self._door, self._settings.front, self._metrics)
            await self._site(front, self._settings.front.listen, "front.listen")

    async def _site(self, app: web.Application, listen: str, setting: str) -> None:
        host, port = split_listen(listen, setting)
        if not host:  # would be every interface, which nobody should choose by leaving something out
            raise ConfigurationError(f'{setting} is {listen!r}; write it as host:port, such as "127.0.0.1:8080".')
        # A handler whose client has gone is cancelled: a write that is still held must not run for nobody.
        runner = web.AppRunner(
            app, access_log=None, handle_signals=False, shutdown_timeout=_DRAIN_SECONDS, handler_cancellation=True
        )
        await runner.setup()
        self._sites.append(runner)
        try:
            await web.TCPSite(runner, host, port, backlog=2048).start()
        except OSError as error:
            raise ConfigurationError(f"{setting}: cannot listen on {listen}: {error.strerror or error}.") from None
        _log.info(f"Listening on http://{listen}", door=setting)

    async def close(self) -> None:
        """Let what was asked come to its end, for a while, and close both."""
        self._operations.closing.set()
        with suppress(TimeoutError, CutoverError):
            async with asyncio.timeout(_DRAIN_SECONDS):
                await self._door.drain(_DRAIN_SECONDS)
        for runner in reversed(self._sites):
            await runner.cleanup()
        self._sites.clear()
