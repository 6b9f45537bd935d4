"""Writes of applications, a few of them, made once more on both stores in one state, compared, and undone on both.

    hot path: one in so many ─▶ waiting ─▶ both stores level ─▶ made, undone ─▶ verdict

SQLite has one write lock. It is taken only where nobody has it and nobody is about to, for 50 ms at the most; a write
that found it taken, or the state gone by, is tried again a little later. Arguments are kept as those of reads are.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from cutover.dialect.doubts import Doubts
from cutover.dialect.executor import PostgresExecutor
from cutover.dialect.replay import Found
from cutover.dialect.replayed_writes import ReplayedWrites
from cutover.dialect.replaying import Level, in_one_state, keep_replaying
from cutover.dialect.verdicts import Verdicts
from cutover.dialect.waiting import Sort, Waiting, sort_of
from cutover.errors import CutoverError, StoreUnavailable
from cutover.logs import get_logger
from cutover.metrics import Metrics
from cutover.model.statement import Statement
from cutover.schema.sqltext import COUNTED, StatementKind, inspect

_log = get_logger("shadow_writes")

_AT_ONCE = 8
"""Writes in one state."""
_TRIES = 20
"""How often a write that found no room is tried, a second or more apart."""
_ASKED_TRIES = 3
"""The same of one that somebody waits for."""
_NO_ROOM = Found(
    "inconclusive", "There was no moment for it: others wrote, or a store was away, each time it was to be tried."
)


class ShadowWrites:
    """Takes samples from the hot path, makes them on both stores, and remembers what came of each text."""

    def __init__(self, metrics: Metrics, level: Level, sample: float) -> None:
        """`sample`: share of the writes that is tried, and the first of each text; 0: none at all."""
        self.sample = sample
        self.verdicts = Verdicts(metrics.shadow_writes, "write")
        self._level = level
        self._waiting = Waiting()
        self._tries: dict[Sort, int] = {}
        self._doubts = Doubts()
        self._new = asyncio.Event()
        self._turn = asyncio.Lock()

    def offer(self, statement: Statement) -> bool:
        """A statement that was drawn. False: there is no room, so it should come another time."""
        shape = inspect(statement.sql)
        if self.sample <= 0 or shape.kind is not StatementKind.WRITE or shape.verb not in COUNTED or shape.explain:
            return True
        if sort_of(statement) in self._waiting:
            return True
        if not self._waiting.put(statement):
            return False
        self._new.set()
        return True

    @property
    def open(self) -> bool:
        """Whether there is something to try: writes that wait, or that differed."""
        return bool(self._waiting or self.verdicts.differing)

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiting)

    async def run(self, executor: Callable[[], PostgresExecutor | None]) -> None:
        """Try what waits. Runs until cancelled."""
        await keep_replaying(_log, self._new, lambda: self.replay(executor()), waits=lambda: bool(self._waiting))

    async def replay(self, executor: PostgresExecutor | None) -> None:
        """Try what waits and what differed, each once. Raises `CutoverError` as `ShadowReads.replay` does."""
        async with self._turn:
            if executor is None or not self.open:
                return
            await executor.rehearsal.ready()
            left = self._waiting.first()
            left += [one for sort, one in self.verdicts.differing.items() if sort not in self._waiting]
            while left:
                async with self._replaying(executor) as writes:
                    if writes is None:
                        return
                    some, left = left[:_AT_ONCE], left[_AT_ONCE:]
                    await self._compare(writes, some)

    async def asked(self, executor: PostgresExecutor, statements: Sequence[Statement]) -> list[Found | None]:
        """What comes of these writes, which are not remembered. Raises `CutoverError` as `replay` does."""
        if self.sample <= 0:
            return [Found("inconclusive", "Writes are not tried: compare.shadow_write_sample is 0.")] * len(statements)
        found: list[Found | None] = []
        tries = 0
        while len(found) < len(statements):
            async with self._turn, self._replaying(executor) as writes:
                if writes is None:
                    raise StoreUnavailable("Writes are compared while SQLite is primary.")
                some = await writes.compared(statements[len(found) : len(found) + _AT_ONCE])
            tries = 0 if some else tries + 1
            found += some or ([_NO_ROOM] if tries >= _ASKED_TRIES else [])
        return found

    async def _compare(self, writes: ReplayedWrites, statements: Sequence[Statement]) -> None:
        try:
            found = await writes.compared(statements)
        except CutoverError:
            for statement in statements:
                self._found_no_room(statement)
            raise
        except Exception:  # noqa: BLE001  # a defect of ours
            _log.exception("Writes could not be tried")
            found = [Found("inconclusive", "Its replay met a defect; see the log.")] * len(statements)
        for statement, one in zip(statements, found, strict=False):
            self._settle(writes, statement, one)
        for statement in statements[len(found) :]:
            self._found_no_room(statement)

    def _settle(self, writes: ReplayedWrites, statement: Statement, found: Found | None) -> None:
        """One that differs for the first time goes on waiting, for another state of both stores."""
        if found is not None and found.early:
            self._found_no_room(statement)
            return
        if self._waiting.holds(statement):
            sort = sort_of(statement)
            if found is not None:
                known = sort in self.verdicts.differing
                found = self._doubts.settled(sort, found, writes.schema, known=known)
                if found is None:
                    return
            self._done(statement)
            self._doubts.forget(sort)
        if found is not None:
            self.verdicts.note(statement, found)

    def _found_no_room(self, statement: Statement) -> None:
        if not self._waiting.holds(statement):
            return
        sort = sort_of(statement)
        self._tries[sort] = self._tries.get(sort, 0) + 1
        if self._tries[sort] >= _TRIES:
            self._done(statement)
            self.verdicts.note(statement, _NO_ROOM)

    def _done(self, statement: Statement) -> None:
        self._waiting.take(statement)
        self._tries.pop(sort_of(statement), None)

    @asynccontextmanager
    async def _replaying(self, executor: PostgresExecutor) -> AsyncIterator[ReplayedWrites | None]:
        """Both stores in one state; None if SQLite is not primary."""
        async with in_one_state(self._level) as state:
            yield None if state is None else ReplayedWrites(executor, state)
