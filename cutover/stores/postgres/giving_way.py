"""Snapshots that end before their time, for whoever waits to change a table that they read.

A snapshot holds every mirrored table against schema changes, as long as it is open: seconds, where much is read at once
or the machine is busy. The waiting ALTER has an application behind it, what the snapshot is for can begin anew.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

from cutover.clock import monotonic
from cutover.errors import StoreError
from cutover.stores.postgres.link import Link

T = TypeVar("T")

_WAITING = """
SELECT EXISTS (
    SELECT FROM pg_locks WHERE NOT granted AND locktype = 'relation' AND mode = 'AccessExclusiveLock'
        AND pg_backend_pid() = ANY (pg_blocking_pids(pid)))"""
_EVERY = 0.1
"""Seconds between two looks: a schema change waits in tries of a fifth of a second."""


class GaveWay(StoreError):
    """A schema change waited for a table that was being read. Nothing is lost: it is read again from the start."""

    retry = True

    def __init__(self) -> None:
        super().__init__("A schema change of an application waited for tables that were being read; it goes first.")


class Patience:
    """How long snapshots of one store are kept though somebody waits: longer each time that one had to give way, or
    one that takes long would never come to its end beside an application that goes on changing its schema."""

    FIRST, LONGEST = 1.0, 60.0
    CALM = 300.0
    """Seconds without any that gave way, behind which it is the first again."""

    def __init__(self) -> None:
        self._seconds, self._last = self.FIRST, 0.0

    def seconds(self) -> float:
        """For a snapshot that is opened now."""
        return self._seconds if monotonic() - self._last < self.CALM else self.FIRST

    def gave_way(self) -> None:
        """One was ended."""
        self._seconds, self._last = min(self.seconds() * 2, self.LONGEST), monotonic()


class Courteous(Link):
    """The connection of a snapshot. Once it has been open for as long as that, each statement looks for who waits."""

    def __init__(self, link: Link, patience: Patience) -> None:
        super().__init__(link.raw, link.alive, link.interval)
        self._patience = patience
        self._look_at = monotonic() + patience.seconds()

    async def guard(self, work: Coroutine[Any, Any, T]) -> T:
        """Raises `GaveWay`, besides all else."""
        if monotonic() >= self._look_at:
            try:
                waiting = await super().guard(self.raw.fetchval(_WAITING))
            except BaseException:
                work.close()
                raise
            self._look_at = monotonic() + _EVERY
            if waiting:
                work.close()
                self._patience.gave_way()
                raise GaveWay
        return await super().guard(work)
