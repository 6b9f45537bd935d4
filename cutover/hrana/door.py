"""The front door's listener: quick lanes first, aiohttp behind them."""

from __future__ import annotations

import asyncio
import contextlib
import ssl

from aiohttp import web

from cutover.hrana.front import Front
from cutover.hrana.http import make_app
from cutover.hrana.lanes import Lanes
from cutover.logs import unheard
from cutover.metrics import Metrics
from cutover.settings import FrontSettings
from cutover.write_through import WriteThrough

_LINGER_SECONDS = 2.0
"""How long the rest of a body that was refused is read and thrown away, so that its client sees the answer."""


class FrontDoor:
    """`listen` opens it, `close` closes it; `close` may come twice, or without `listen`."""

    def __init__(self, way: WriteThrough, settings: FrontSettings, metrics: Metrics) -> None:
        """Raises `ConfigurationError` for an unreadable token file."""
        self.front = Front(way, settings, metrics)
        self._runner: web.AppRunner | None = None
        self._lanes: Lanes | None = None
        self._server: asyncio.Server | None = None
        self._shutdown_timeout = 0.0
        self._leaving: asyncio.Task[None] | None = None

    async def listen(self, host: str, port: int, *, shutdown_timeout: float, tls: ssl.SSLContext | None = None) -> int:
        """Open; returns the port, which the system chooses for 0. Raises `OSError` if the address cannot be had.

        `shutdown_timeout`: seconds that `close` gives the requests under way.
        """
        self._shutdown_timeout = shutdown_timeout
        # A handler whose client has gone is cancelled: a write that is still held must not run for nobody.
        self._runner = web.AppRunner(
            make_app(self.front),
            access_log=None,
            handle_signals=False,
            shutdown_timeout=shutdown_timeout,
            handler_cancellation=True,
            lingering_time=_LINGER_SECONDS,
            logger=unheard(),
        )
        await self._runner.setup()
        taker = self._runner.server
        assert taker is not None
        self._lanes = Lanes(self.front, taker)
        self._server = await asyncio.get_running_loop().create_server(self._lanes, host, port, backlog=2048, ssl=tls)
        return int(self._server.sockets[0].getsockname()[1])

    def turn_away(self) -> None:
        """No new connection; each there is ends with the answers that it waits for. Returns at once; `close` waits."""
        if self._server is None or self._leaving is not None:
            return
        self._server.close()
        if self._lanes is not None:
            self._lanes.close()
        if self._runner is not None and self._runner.server is not None:
            self._runner.server.pre_shutdown()
        self._leaving = asyncio.create_task(self.front.sockets.close(self._shutdown_timeout))

    async def close(self) -> None:
        """No new connection; requests under way have their answers; then everything ends."""
        self.turn_away()
        self.front.watch.close()
        if self._lanes is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._shutdown_timeout):
                    await self._lanes.ended()
            self._lanes.abort()
        if self._leaving is not None:
            await self._leaving
        if self._runner is not None:
            await self._runner.cleanup()
        self._server = self._lanes = self._runner = self._leaving = None
