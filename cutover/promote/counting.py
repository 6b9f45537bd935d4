"""Row counts for the status: the primary's own, as fresh as their cost allows."""

from __future__ import annotations

from cutover import clock
from cutover.errors import CutoverError
from cutover.model.table import Tables
from cutover.stores.base import Store

_LEAST_AGE = 2.0
_COST_SHARE = 0.01
"""Counting may take this share of the time."""


class RowCounts:
    """Counts every mapped table of the primary when asked, unless that was done not long ago."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._due = 0.0

    async def of(self, source: Store, tables: Tables) -> dict[str, int]:
        """Rows by table name; older ones where the primary is away."""
        if clock.monotonic() < self._due:
            return self._counts
        began = clock.monotonic()
        self._due = began + _LEAST_AGE
        try:
            async with source.snapshot() as snapshot:
                self._counts = {table.name: await snapshot.count(table) for table in tables}
        except (CutoverError, OSError, TimeoutError):
            return self._counts
        ended = clock.monotonic()
        self._due = max(self._due, ended + (ended - began) / _COST_SHARE)
        return self._counts
