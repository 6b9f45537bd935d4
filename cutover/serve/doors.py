"""Both listeners: the operators' door and the applications' front door."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

from aiohttp import web

from cutover.admin.access import split_listen
from cutover.admin.app import make_app as make_admin_app
from cutover.admin.app import reload_keyring
from cutover.errors import ConfigurationError, CutoverError
from cutover.hrana.door import FrontDoor
from cutover.logs import get_logger, unheard
from cutover.metrics import Metrics
from cutover.promote.operations import Operations
from cutover.serve.tls import certificate
from cutover.settings import FrontSettings, Settings
from cutover.write_through import WriteThrough

_log = get_logger("serve")
_LAST_SECONDS = 3.0
"""For answers, to the clients of statements that were ended at the deadline of a stop."""


class Doors:
    """`listen` opens them, `close` drains and closes them; `close` may come twice, or without `listen`."""

    def __init__(self, settings: Settings, metrics: Metrics, operations: Operations, door: WriteThrough) -> None:
        self._settings = settings
        self._metrics = metrics
        self._operations = operations
        self._door = door
        self._front: FrontDoor | None = None
        self._admin: web.AppRunner | None = None
        self._patience = settings.service.shutdown_timeout
        """Seconds that requests under way have when the service stops."""
        self._again: list[tuple[str, Callable[[], str]]] = []
        """What is read again on SIGHUP: (what it is, a function that does it and says what there is now)."""

    async def listen(self) -> None:
        """Open both; the front door last. Raises `ConfigurationError` for an address that cannot be listened on, and
        for files that cannot be used.
        """
        settings = self._settings.admin
        admin = make_admin_app(self._operations, settings, self._metrics)
        tls = self._certificate("admin", settings.tls_cert_file, settings.tls_key_file)
        runner = self._admin = web.AppRunner(
            admin,
            access_log=None,
            handle_signals=False,
            shutdown_timeout=self._patience + _LAST_SECONDS,
            handler_cancellation=True,
            logger=unheard(),
        )
        await runner.setup()
        self._again.append(("The operators' tokens", partial(reload_keyring, admin)))

        async def listen_admin(host: str, port: int) -> None:
            await web.TCPSite(runner, host, port, backlog=2048, ssl_context=tls).start()

        await _open(listen_admin, settings.listen, "admin.listen", tls)
        if self._settings.front.listen:
            await self._listen_front(self._settings.front)

    async def _listen_front(self, settings: FrontSettings) -> None:
        front = self._front = FrontDoor(self._door, settings, self._metrics)
        tls = self._certificate("front", settings.tls_cert_file, settings.tls_key_file)
        if front.front.access.reloads:
            self._again.append(("The applications' tokens", lambda: ", ".join(front.front.reload())))

        async def listen_front(host: str, port: int) -> None:
            await front.listen(host, port, shutdown_timeout=self._patience + _LAST_SECONDS, tls=tls)

        await _open(listen_front, settings.listen, "front.listen", tls)

    def _certificate(self, section: str, cert_file: str, key_file: str) -> ssl.SSLContext | None:
        found = certificate(section, cert_file, key_file)
        if found is None:
            return None

        def again() -> str:
            found.reload()
            return cert_file

        self._again.append((f"The certificate of {section}", again))
        return found.context

    def reload(self) -> None:
        """Read the files of tokens, keys and certificates again. One that cannot be used changes nothing."""
        for what, read in self._again:
            try:
                now = read()
            except ConfigurationError as error:
                _log.error(f"{what} could not be read again and stay as they were: {error}")
            else:
                _log.info(f"{what} were read again.", now=now)

    async def close(self) -> None:
        """Let what was asked come to its end, for a while, and close both.

        Nobody comes in any more; who waits is answered; what runs has until the deadline, is ended then, and answered,
        too; what is left of transactions is rolled back.
        """
        self._operations.closing.set()
        if self._front is not None:
            self._front.turn_away()
        deadline = asyncio.get_running_loop().call_later(self._patience, self._door.hurry)
        try:
            with suppress(TimeoutError, CutoverError):
                async with asyncio.timeout(self._patience + 2 * _LAST_SECONDS):
                    await self._door.drain(self._patience + _LAST_SECONDS)
            if self._front is not None:
                await self._front.close()
        finally:
            deadline.cancel()
        if self._admin is not None:
            await self._admin.cleanup()
        self._front = self._admin = None


async def _open(
    start: Callable[[str, int], Awaitable[None]], listen: str, setting: str, tls: ssl.SSLContext | None
) -> None:
    host, port = split_listen(listen, setting)
    if not host:  # would be every interface, which nobody should choose by leaving something out
        raise ConfigurationError(f'{setting} is {listen!r}; write it as host:port, such as "127.0.0.1:8080".')
    try:
        await start(host, port)
    except OSError as error:
        raise ConfigurationError(f"{setting}: cannot listen on {listen}: {error.strerror or error}.") from None
    _log.info(f"Listening on {'https' if tls else 'http'}://{listen}", door=setting)
