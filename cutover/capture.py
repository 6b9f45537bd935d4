"""Keeping watch over capture and both schemas: triggers that someone dropped, tables that someone altered or added.

Capture lives in the database, and so does everybody who can alter it. Cheap fingerprints are looked at twice a second,
the full text of every trigger when they changed and now and then anyway.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress

from cutover import clock
from cutover.errors import CutoverError
from cutover.logs import get_logger
from cutover.stores.base import Store

_log = get_logger("capture")

_AFTER_UNKNOWN = 5.0
"""Seconds until the next look after a defect of ours, which may show itself again each time."""
_REST = 0.1
_LONGEST_REST = 2.0
"""Seconds without a change that are waited for, and for how long at most."""
_OF_SCHEMA = re.compile(
    r"The definition of .* changed\.|Table .* (appeared and is not mirrored|is gone|does not exist)\.|"
    r"Column .* (does not exist\.|it was mapped as .*)"
)
"""What an ordinary schema change leaves to be mapped anew; capture is whole."""


class CaptureWatch:
    """A service: notices broken capture on the primary, and a schema that changed, and hands them to who can mend."""

    def __init__(
        self,
        stores: Callable[[], tuple[Store, Store] | None],
        mend: Callable[[], Awaitable[None]],
        *,
        again: Callable[[], float | None] = lambda: None,
        interval: float = 0.5,
        full_interval: float = 30.0,
    ) -> None:
        """`stores` gives primary and shadow, None while there is nothing to watch (a switch, no attachment).

        While something could not be carried over, `again` says after how many seconds that is to be tried once more.
        """
        self._stores = stores
        self._mend = mend
        self._again = again
        self._interval = interval
        self._full_interval = full_interval
        self._seen: tuple[str, str, str] | None = None
        self._known: dict[str, str] = {}
        self._checked = self._mended = 0.0
        self._woken = asyncio.Event()
        self._poked = False
        """Whether tables are mapped anew with the next look, whatever it finds."""
        self._awaiting: list[asyncio.Future[None]] = []
        self._told: tuple[float, float] | None = None
        """When the front door changed the schema since the last look: the first time, and the last."""
        self._took = 0.0
        """Seconds that the last mending took."""

    def told(self) -> None:
        """The front door changed the schema, maybe as one of many changes: look as soon as they come to a rest."""
        now = clock.monotonic()
        self._told = (self._told[0] if self._told else now, now)
        self.poke()

    def poke(self) -> None:
        """Somebody met a schema that is not the one that was mapped: look at once, and map anew."""
        self._poked = True
        self._woken.set()

    async def looked(self) -> None:
        """Somebody may have met such a schema: returns behind a look that begins now, and whatever it led to. One look
        is for all who wait; a schema that did not change costs no more than that."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._awaiting.append(waiter)
        self._woken.set()
        await waiter

    async def run(self) -> None:
        """Watch until cancelled. A store that is away is watched again when it is back."""
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), self._interval)
            await self._rest()
            self._woken.clear()
            awaiting, self._awaiting = self._awaiting, []
            try:
                await self._look_again()
            finally:
                for waiter in awaiting:
                    if not waiter.done():
                        waiter.set_result(None)

    async def _look_again(self) -> None:
        stores = self._stores()
        if stores is None:
            self._seen = None
            await asyncio.sleep(self._interval)
            return
        try:
            await self._look(*stores)
        except (CutoverError, OSError, TimeoutError) as error:
            _log.debug(f"Capture on {stores[0].name} could not be checked: {error}")
            self._seen = None
            await asyncio.sleep(self._interval)
        except Exception:  # noqa: BLE001  # loop must live
            _log.exception("The watch over capture met an error it does not know; it looks again.")
            self._seen = None
            await asyncio.sleep(_AFTER_UNKNOWN)

    async def _rest(self) -> None:
        """Carrying a change over takes as long as many changes take, and keeps them waiting."""
        while self._told is not None:
            first, last = self._told
            left = min(last + max(_REST, self._took), first + _LONGEST_REST) - clock.monotonic()
            if left <= 0:
                return
            await asyncio.sleep(left)

    async def _look(self, source: Store, target: Store) -> None:
        poked, self._poked = self._poked, False
        through_us, self._told = self._told is not None, None
        seen = await self._fingerprints(source, target)
        if not poked and self._seen not in (None, seen):
            # Postgres prints definitions as they are now, of objects as they were: it may have been in between.
            seen = await self._fingerprints(source, target)
        # Fingerprints are the same in both roles: what changed during a switch, or just after it, is not overlooked.
        now: dict[str, str] = {source.name: seen[1], target.name: seen[2]}
        # Nor what changed while the stores were attached to each other: it was mapped before capture stood.
        since = any(self._known.get(name) != found for name, found in now.items())
        changed = poked or self._seen not in (None, seen) or since
        self._known = now
        if not changed and self._seen == seen and clock.monotonic() - self._checked < self._full_interval:
            again = self._again()
            if again is not None and clock.monotonic() - self._mended >= again:
                await self._mend_now(source)
            return
        problems = await source.check_capture()
        self._seen, self._checked = seen, clock.monotonic()
        if not problems and not changed:
            return
        if problems:
            _tell(source.name, problems, through_us=through_us)
        await self._mend_now(source)

    @staticmethod
    async def _fingerprints(source: Store, target: Store) -> tuple[str, str, str]:
        return source.name, await source.schema_fingerprint(), await target.schema_fingerprint()

    async def _mend_now(self, source: Store) -> None:
        stores, began = self._stores(), clock.monotonic()
        if stores is not None and stores[0] is source:
            try:
                await self._mend()
            except Exception as error:
                if getattr(error, "retry", True):  # what was to be carried over still is, whatever changes until then
                    self.poke()
                raise
            # What was seen stays that of before: whatever changed after the schema was read shows, at the price of one
            # more look at what was mended here.
        self._mended = clock.monotonic()
        self._took = self._mended - began


def _tell(name: str, problems: list[str], *, through_us: bool) -> None:
    """Log what was found. A schema change is nothing to be alarmed about; a trigger that somebody dropped is."""
    if through_us or all(_OF_SCHEMA.fullmatch(problem) for problem in problems):
        _log.info(f"The schema on {name} changed and is being followed: {problems[0]}", problems=problems)
    else:
        _log.warning(f"Capture on {name} is broken and is being mended: {problems[0]}", problems=problems)
