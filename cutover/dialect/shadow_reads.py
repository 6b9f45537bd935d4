"""Reads of applications, some of them, run once more on both stores in one state, and their answers compared.

    hot path: one in so many ─▶ waiting ─▶ both stores level ─▶ SQLite's answer ─▶ Postgres's answer ─▶ verdict

The state is that of the replay, not that of the first execution: nobody waits, and uncommitted writes of the
application's own are in nobody's way. Arguments are kept in memory until the replay; those of a read that differed are
kept until it matches, so that a mended statement is found out. None of them is shown or stored.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from cutover import clock
from cutover.dialect.doubts import Doubts
from cutover.dialect.executor import PostgresExecutor
from cutover.dialect.replay import Found, Replay
from cutover.dialect.replaying import Level, in_one_state, keep_replaying
from cutover.dialect.verdicts import Verdicts
from cutover.dialect.waiting import Waiting, sort_of
from cutover.errors import CutoverError, StoreUnavailable
from cutover.logs import get_logger
from cutover.metrics import Metrics
from cutover.model.statement import Statement
from cutover.schema.fingerprint import fingerprint
from cutover.schema.sqltext import StatementKind, inspect

_log = get_logger("shadow_reads")

_AT_ONCE = 32
"""Replays in one state."""
_OPEN = 5.0
"""Seconds after which no further replay begins in one state: both stores keep old rows for it."""


class ShadowReads:
    """Takes samples from the hot path, replays them, and remembers what came of each text."""

    def __init__(self, metrics: Metrics, level: Level, sample: float) -> None:
        """`sample`: share of the reads that is replayed, and the first of each text; 0: none at all."""
        self.sample = sample
        self._level = level
        self._waiting = Waiting()
        self._doubts = Doubts()
        self.verdicts = Verdicts(metrics.shadow_reads, "read", metrics.shadow_read_seconds)
        self._new = asyncio.Event()
        self._turn = asyncio.Lock()

    def offer(self, statement: Statement) -> bool:
        """A statement that was drawn. False: there is no room, so it should come another time."""
        if self.sample <= 0 or inspect(statement.sql).kind is not StatementKind.READ:
            return True
        if not self._waiting.put(statement):
            return False
        self._new.set()
        return True

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiting)

    async def run(self, executor: Callable[[], PostgresExecutor | None]) -> None:
        """Replay what waits. Runs until cancelled."""
        await keep_replaying(_log, self._new, lambda: self.replay(executor()))

    async def replay(self, executor: PostgresExecutor | None) -> None:
        """Replay what waits and what differed. Raises `CutoverError` if the stores cannot be brought to one state."""
        async with self._turn:
            if executor is None:  # Postgres is away, or primary: what is there to be compared is compared later
                return
            while self._waiting or self.verdicts.differing:
                more = len(self._waiting) > _AT_ONCE
                async with self._replaying(executor) as replay:
                    if replay is None:
                        return
                    again = [] if more else list(self.verdicts.differing.values())
                    early = await self._replay(replay, [*self._waiting.first(_AT_ONCE), *again])
                if early or not (more or self._doubts):
                    return

    async def _replay(self, replay: Replay, statements: Sequence[Statement]) -> bool:
        """As many as there is time for; the others go on waiting, as those of a caller that is cancelled do.

        Whether some came too early: they wait as well, behind all others.
        """
        ends, early = clock.monotonic() + _OPEN, False
        for statement in statements:
            found = await _verdict(replay, statement)
            sort = sort_of(statement)
            if found is not None and found.early and sort in self._waiting:
                self._waiting.behind(statement)
                early = True
                continue
            if self._waiting.holds(statement):
                if found is not None:
                    known = sort in self.verdicts.differing
                    found = self._doubts.settled(sort, found, replay.schema, known=known)
                    if found is None:
                        continue
                self._waiting.take(statement)
                self._doubts.forget(sort)
            if found is not None:
                self.verdicts.note(statement, found)
            if clock.monotonic() > ends:
                break
        return early

    async def asked(self, executor: PostgresExecutor, statements: Sequence[Statement]) -> list[Found | None]:
        """What comes of these reads, which are not remembered. Raises `CutoverError` as `replay` does."""
        found: list[Found | None] = []
        for first in range(0, len(statements), _AT_ONCE):
            async with self._replaying(executor) as replay:
                if replay is None:
                    raise StoreUnavailable("Reads are compared while SQLite is primary.")
                found += [await _verdict(replay, statement) for statement in statements[first : first + _AT_ONCE]]
        return found

    @asynccontextmanager
    async def _replaying(self, executor: PostgresExecutor) -> AsyncIterator[Replay | None]:
        """Both stores in one state; None if SQLite is not primary."""
        async with in_one_state(self._level) as state:
            yield None if state is None else Replay(executor, state)

    # -- seeing ------------------------------------------------------------------------------------------------------

    @property
    def open(self) -> bool:
        """Whether there is something to replay: reads that wait, or that differed."""
        return bool(self._waiting or self.verdicts.differing)


async def _verdict(replay: Replay, statement: Statement) -> Found | None:
    try:
        return await replay.compared(statement)
    except StoreUnavailable:
        raise
    except CutoverError as error:  # Postgres has no connection to spare, for example
        return Found("inconclusive", f"Not answered by both stores ({error.code}).")
    except Exception:  # noqa: BLE001  # a defect of ours
        _log.exception("A read could not be replayed", statement=fingerprint(statement.sql))
        return Found("inconclusive", "Its replay met a defect; see the log.")
