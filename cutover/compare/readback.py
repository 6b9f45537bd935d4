"""The rows just mirrored, read back from the shadow within a second."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from itertools import islice

from cutover import clock
from cutover.compare.judge import KEYS_AT_ONCE
from cutover.compare.scan import Tools
from cutover.model.table import Table, Tables
from cutover.model.values import Key

QUEUE_MAX = 100_000
"""Keys waiting, over all tables. What comes on top is left to the next scan of its table, and remembered as such."""
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

    @property
    def waiting(self) -> int:
        """Keys in the queue."""
        return self._waiting

    def add(self, table: Table, keys: Sequence[Key]) -> None:
        """Take keys that were just applied. Cheap; never waits."""
        if not self._tools.settings.read_back or self._waiting + len(keys) > QUEUE_MAX:
            self._unread[table.name] = clock.monotonic()
            return
        queue = self._queue.setdefault(table.name, {})
        before = len(queue)
        queue.update(dict.fromkeys(keys))
        self._waiting += len(queue) - before
        self._some.set()

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

    async def drain(self) -> int:
        """Read back everything that waits; returns how many rows were compared. Raises `StoreUnavailable`."""
        async with self._turn:
            compared = 0
            self._some.clear()
            for table in self._tables():
                while batch := self._take(table.name):
                    try:
                        compared += await self._look(table, batch)
                    except BaseException:
                        self.add(table, batch)
                        raise
            if self._queue.keys() - {table.name for table in self._tables()}:
                self.forget()
            return compared

    def _take(self, table: str) -> list[Key]:
        queue = self._queue.get(table, {})
        batch = list(islice(queue, KEYS_AT_ONCE))
        for key in batch:
            del queue[key]
        self._waiting -= len(batch)
        return batch

    async def _look(self, table: Table, keys: Sequence[Key]) -> int:
        reign = self._tools.ledger.reign
        verdicts = await self._tools.judge.judge(table, keys)
        if reign != self._tools.ledger.reign:
            return 0
        self._tools.ledger.heal(table.name, verdicts.settled())
        for drift in verdicts.drifts:
            self._tools.ledger.record(drift)
        compared = len(keys) - len(verdicts.pending)
        self._tools.ledger.compared += compared
        self._tools.metrics.compare_rows.labels(table.name, "read_back").inc(compared)
        return compared
