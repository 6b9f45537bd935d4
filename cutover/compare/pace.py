"""How fast a scan may go."""

from __future__ import annotations

import asyncio

from cutover import clock


class Pace:
    """A speed limit in rows a second; None is none. Yields to the event loop either way."""

    def __init__(self, rows_per_second: int | None) -> None:
        self._limit = rows_per_second
        self._free_at = clock.monotonic()

    async def spend(self, rows: int) -> None:
        """Wait until `rows` more may have been read. Time not used is not saved up."""
        if self._limit is None:
            await asyncio.sleep(0)
            return
        self._free_at = max(self._free_at, clock.monotonic()) + rows / self._limit
        await asyncio.sleep(self._free_at - clock.monotonic())
