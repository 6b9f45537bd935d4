"""The rows just mirrored, read back from the shadow within a second."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from itertools import islice

from cutover import clock
from cutover.compare.judge import look
from cutover.compare.scan import Tools
from cutover.compare.states import States
from cutover.model.table import Table, Tables
from cutover.model.values import Key

QUEUE_MAX = 100_000
"""Keys waiting, over all tables. What comes on top is left to the next scan of its table, and remembered as such."""
_IN_STATES = 2000
"""Keys looked at in one pair of states. Opening one waits for a turn of the mirror, which is long under load."""
_GATHER = 0.5
"""Seconds in which applied keys gather before they are read back, so that a hot row is read once."""


class ReadBack:
    """Keys to be looked at once more. Keys in flight again are dropped: the mirror will name them again."""

    def __init__(self, tools: Tools, tables: Callable[[], Tables]) -> None:
        self._tools = tools
        self._tables = tables
        self._queue: dict[str, dict[Key, None]] = {}
        self._waiting = 0
        self._some = asyncio.Event()
        self._turn = asyncio.Lock()
        self._unread: dict[str, float] = {}
        self._wanted_until = 0.0

    @property
    def waiting(self) -> int:
        """Keys in the queue."""
        return self._waiting

    def add(self, table: Table, keys: Sequence[Key]) -> None:
        """Take keys that were just applied. Cheap; never waits."""
        wanted = self._tools.settings.read_back or clock.monotonic() < self._wanted_until
        if not wanted or self._waiting + len(keys) > QUEUE_MAX:
            self._unread[table.name] = clock.monotonic()
            return
        queue = self._queue.setdefault(table.name, {})
        before = len(queue)
        queue.update(dict.fromkeys(keys))
        self._waiting += len(queue) - before
        self._some.set()

    def want(self, seconds: float) -> None:
        """Take keys for so long even where the settings say no: a switch is near, and will ask for every row."""
        self._wanted_until = clock.monotonic() + seconds

    def unread(self) -> list[str]:
        """Tables with mirrored rows that were not read back and that no scan has covered since."""
        return sorted(self._unread)

    def scanned(self, table: str, began: float) -> None:
        """A scan of the table that began at this monotonic time is done."""
        if table in self._unread and self._unread[table] < began:
            del self._unread[table]

    def forget(self) -> None:
        """Nothing that waits is of interest any more."""
        self._queue.clear()
        self._unread.clear()
        self._waiting = 0

    async def wait(self) -> None:
        """Return a moment after there is something to read back."""
        await self._some.wait()
        await asyncio.sleep(_GATHER)

    async def drain(self, states: States | None = None) -> int:
        """Read back what waits now; returns how many rows were compared. Raises `StoreUnavailable`.

        In `states` (of all tables, with their quarantine) where nothing moves any more; else in states of its own.
        """
        async with self._turn:
            compared, left = 0, self._waiting
            self._some.clear()
            while left > 0 and (taken := self._take(min(left, _IN_STATES))):
                left -= sum(len(keys) for _, keys in taken)
                try:
                    compared += await self._look_at(taken, states)
                except BaseException:
                    for table, keys in taken:
                        self.add(table, keys)
                    raise
            return compared

    def _take(self, limit: int) -> list[tuple[Table, list[Key]]]:
        """Up to `limit` keys. Before states are opened: a key that is applied after that has to come back."""
        taken = []
        for table in self._tables():
            queue = self._queue.get(table.name, {})
            if keys := list(islice(queue, limit)):
                for key in keys:
                    del queue[key]
                limit -= len(keys)
                self._waiting -= len(keys)
                taken.append((table, keys))
        if not taken:  # what is left is of tables that are not mapped any more
            self._queue.clear()
            self._waiting = 0
        return taken

    async def _look_at(self, taken: list[tuple[Table, list[Key]]], states: States | None) -> int:
        if states is None:
            reign = self._tools.ledger.reign
            async with self._tools.ground.matched([table for table, _ in taken], quarantine=True) as own:
                # Where a mapping was waited for, what was taken is of the one before.
                return await self._look_at(taken, own) if reign == self._tools.ledger.reign else 0
        return sum([await self._look(states, table, keys) for table, keys in taken])

    async def _look(self, states: States, table: Table, keys: Sequence[Key]) -> int:
        reign = self._tools.ledger.reign
        verdicts = await look(states, table, keys)
        if reign != self._tools.ledger.reign:
            return 0
        self._tools.ledger.heal(table.name, verdicts.settled())
        for drift in verdicts.drifts:
            self._tools.ledger.record(drift)
        compared = len(keys) - len(verdicts.pending)
        self._tools.ledger.compared += compared
        self._tools.metrics.compare_rows.labels(table.name, "read_back").inc(compared)
        return compared
