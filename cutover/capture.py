"""Keeping watch over capture: triggers that someone dropped, tables that someone rebuilt or added.

Capture lives in the database, and so does everybody who can alter it. A cheap fingerprint is looked at once a second,
the full text of every trigger when it changed and now and then anyway.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from cutover import clock
from cutover.errors import CutoverError
from cutover.logs import get_logger
from cutover.stores.base import Store

_log = get_logger("capture")


class CaptureWatch:
    """A service: notices broken capture on the primary and hands it to who can mend it."""

    def __init__(
        self,
        source: Callable[[], Store | None],
        mend: Callable[[], Awaitable[None]],
        *,
        interval: float = 1.0,
        full_interval: float = 30.0,
    ) -> None:
        """`source` gives the primary to watch, None while there is nothing to watch (a switch, no attachment)."""
        self._source = source
        self._mend = mend
        self._interval = interval
        self._full_interval = full_interval
        self._seen: tuple[str, str] | None = None
        self._checked = 0.0

    async def run(self) -> None:
        """Watch until cancelled. A store that is away is watched again when it is back."""
        while True:
            await asyncio.sleep(self._interval)
            source = self._source()
            if source is None:
                self._seen = None
                continue
            try:
                await self._look(source)
            except (CutoverError, OSError, TimeoutError) as error:
                _log.debug(f"Capture on {source.name} could not be checked: {error}")
                self._seen = None

    async def _look(self, source: Store) -> None:
        seen = (source.name, await source.schema_fingerprint())
        if seen == self._seen and clock.monotonic() - self._checked < self._full_interval:
            return
        problems = await source.check_capture()
        self._seen, self._checked = seen, clock.monotonic()
        if problems and self._source() is source:
            _log.warning(f"Capture on {source.name} is broken and is being mended: {problems[0]}", problems=problems)
            await self._mend()
            self._seen = None
