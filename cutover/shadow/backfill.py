"""Copying what was there before capture began: range by range, under live writes, resumable at any point.

A range is written in one transaction that also records how far the copy is, so a kill repeats nothing and forgets
nothing. A range *replaces* what the shadow holds between its two keys; copying a table again therefore also removes
rows that should not be there.

    waiting ──▶ copying ──range by range──▶ indexing ──what was put aside for the load──▶ copied ──next turn──▶ done
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import replace

from cutover import clock
from cutover.crashpoints import crash_point
from cutover.logs import counted, get_logger
from cutover.metrics import Metrics
from cutover.model.control import BackfillProgress
from cutover.model.table import Table, Tables
from cutover.model.values import Key, Page
from cutover.settings import MirrorSettings
from cutover.shadow.pacing import CopyPace, CopyRate
from cutover.stores.base import Snapshot
from cutover.stores.pair import Pair

_log = get_logger("mirror")

_RANGES = 4
"""Ranges that are copied from one snapshot, so that one can be read while another is written. The mirror waits."""

_SIZE = 8 << 20
"""Bytes of one range at most, one row aside: two ranges are held at a time, whatever the values' size."""

_TO_COPY = ("waiting", "copying", "indexing")


class Backfill:
    """How far the copy of each table is, and the copying. The mirror calls it under the applier's lock: no batch may
    come between a range's snapshot and its commit."""

    def __init__(self, settings: MirrorSettings, metrics: Metrics) -> None:
        self.rate = CopyRate()
        self._pace = CopyPace(settings.backfill_rows, settings.max_rows_per_second)
        self._metrics = metrics
        self._progress: dict[str, BackfillProgress] = {}
        self._totals: dict[str, int] = {}

    async def load(self, pair: Pair) -> None:
        """What the shadow says of it."""
        self._progress = await pair.target.progress()
        self._totals.clear()

    def progress(self, table: str) -> BackfillProgress:
        """How far the copy of a table is."""
        return self._progress.get(table) or BackfillProgress(table, total=self._totals.get(table, 0))

    def copied(self, table: str) -> bool:
        """Whether the copy of this table is complete, and the mirror has come past it."""
        return self.progress(table).state == "done"

    def left(self, tables: Tables) -> int:
        """Rows still to be copied, as far as is known."""
        return sum(max(each.total - each.rows, 0) for each in map(self._of, tables) if each.state in _TO_COPY)

    def _of(self, table: Table) -> BackfillProgress:
        return self.progress(table.name)

    def forget(self, names: Iterable[str]) -> None:
        """These are to be copied from the start."""
        for name in names:
            self._progress.pop(name, None)

    def arriving(self) -> list[BackfillProgress]:
        """Tables whose rows are all there, each range as it was when it was copied.

        The next turn makes one state of the primary of them, and its transaction says that they are done.
        """
        return [replace(each, state="done") for each in self._progress.values() if each.state == "copied"]

    def arrived(self, progress: Sequence[BackfillProgress]) -> None:
        """That transaction was committed."""
        self._progress |= {each.table: each for each in progress}

    def waits(self) -> float:
        """Seconds until the speed limit lets the next rows pass; 0 where it does not hold them back."""
        return self._pace.waits()

    async def round(self, pair: Pair, tables: Tables, generation: int, lag: float) -> tuple[bool, str]:
        """Copy some ranges of the smallest table that is not complete: (did anything, what to say of it).

        `lag` is how far, in seconds, the mirror was behind just now: the copy makes room for it.
        """
        to_copy = [table for table in tables if self._of(table).state in _TO_COPY]
        if not to_copy or self._pace.waits():
            return False, ""
        if unknown := [table for table in to_copy if table.name not in self._totals]:
            await self._count(pair, unknown)
        table = min(to_copy, key=lambda each: (self._of(each).state == "waiting", self._of(each).total, each.name))
        before, began = self._of(table), clock.monotonic()
        if before.state == "indexing":
            after = await _put_back(pair, table, before, generation)
        else:
            after = await self._copy(pair, table, before, generation, 1 if self._pace.is_gentle(lag) else _RANGES)
        self._note(table, before, after, clock.monotonic() - began)
        if after.state == "copied":
            return True, f"Copied {counted(after.rows, 'row')} of {table.name}: all there are."
        return True, f"Copied {after.rows:,} of {counted(after.total, 'row')} of {table.name}."

    async def _count(self, pair: Pair, tables: Sequence[Table]) -> None:
        """How much there is to copy, for the order and for those who wait."""
        async with pair.source.snapshot() as snapshot:
            for table in tables:
                self._totals[table.name] = await snapshot.count(table)
        for table in tables:
            self._metrics.backfill_expected.labels(table.name).set(self._totals[table.name])

    async def _copy(
        self, pair: Pair, table: Table, progress: BackfillProgress, generation: int, ranges: int
    ) -> BackfillProgress:
        rows = self._pace.rows()
        async with pair.source.snapshot() as snapshot:
            await pair.source.sync()
            page = await snapshot.page(table, progress.after, rows, _SIZE)
            for left in reversed(range(ranges)):
                upto = table.key_of(page.rows[-1]) if page.more else None
                ahead = asyncio.create_task(_read_ahead(snapshot, table, upto, rows if left else 0))
                try:
                    progress = await _write(pair, table, progress, upto, page, generation)
                finally:
                    page = await ahead
                if upto is None:
                    break
        return progress

    def _note(self, table: Table, before: BackfillProgress, after: BackfillProgress, seconds: float) -> None:
        self._progress[table.name] = after
        rows = after.rows - before.rows
        self._pace.spent(rows, seconds)
        self.rate.note(rows, seconds)
        self._metrics.backfill_rows.labels(table.name).inc(rows)
        self._metrics.backfill_expected.labels(table.name).set(after.total)
        if after.state == "copied":
            _log.info(f"Copied {counted(after.rows, 'row')} of {table.name}: all there are.")


async def _read_ahead(snapshot: Snapshot, table: Table, after: Key | None, rows: int) -> Page:
    """The range that comes next; nothing after the last."""
    return await snapshot.page(table, after, rows, _SIZE) if after is not None and rows else Page([], more=False)


async def _write(
    pair: Pair, table: Table, progress: BackfillProgress, upto: Key | None, page: Page, generation: int
) -> BackfillProgress:
    crash_point("backfill.before_apply")
    copied = progress.rows + len(page.rows)
    done = replace(
        progress,
        state="indexing" if upto is None else "copying",
        after=upto or progress.after,
        rows=copied,
        total=max(progress.total, copied),
    )
    async with pair.target.applier(generation, pair.epoch, None) as applier:
        if progress.state == "waiting":
            await applier.begin_copy(table)
        await applier.replace_range(table, progress.after, upto, page.rows)
        await applier.save_progress(done)
        crash_point("backfill.before_commit")
    crash_point("backfill.after_commit")
    return done


async def _put_back(pair: Pair, table: Table, progress: BackfillProgress, generation: int) -> BackfillProgress:
    """One of the things that were put aside for the load, in a transaction of its own; none left: all is copied."""
    crash_point("backfill.before_put_back")
    async with pair.target.applier(generation, pair.epoch, None) as applier:
        if not await applier.end_copy(table):
            progress = replace(progress, state="copied")
            await applier.save_progress(progress)
    crash_point("backfill.after_put_back")
    return progress
