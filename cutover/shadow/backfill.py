"""Copying what was there before capture began: range by range, under live writes, resumable at any point.

A range is written in one transaction that also records how far the copy is, so a kill repeats nothing and forgets
nothing. A range *replaces* what the shadow holds between its two keys; copying a table again therefore also removes
rows that should not be there.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

from cutover.crashpoints import crash_point
from cutover.model.control import BackfillProgress
from cutover.model.table import Table
from cutover.model.values import Key, Page, Row
from cutover.stores.base import Snapshot
from cutover.stores.pair import Pair

RANGES = 4
"""Ranges that are copied from one snapshot, so that one can be read while another is written. The mirror waits."""

_SIZE = 8 << 20
"""Bytes of one range at most, one row aside: two ranges are held at a time, whatever the values' size."""


async def copy_ranges(
    pair: Pair, table: Table, progress: BackfillProgress, rows: int, generation: int
) -> BackfillProgress:
    """Copy the next ranges of up to `rows` rows of `table`; returns the progress that now stands on the shadow.

    The caller holds the applier's lock: no batch of the mirror may come between the snapshot and the last commit.
    """
    async with pair.source.snapshot() as snapshot:
        if progress.state == "waiting":
            progress = replace(progress, state="copying", total=await snapshot.count(table))
        await pair.source.sync()
        page = await snapshot.page(table, progress.after, rows, _SIZE)
        for left in reversed(range(RANGES)):
            upto = table.key_of(page.rows[-1]) if page.more else None
            ahead = asyncio.create_task(_read_ahead(snapshot, table, upto, rows if left else 0))
            try:
                progress = await _write(pair, table, progress, upto, page.rows, generation)
            finally:
                page = await ahead
            if upto is None:
                break
    return progress


async def _read_ahead(snapshot: Snapshot, table: Table, after: Key | None, rows: int) -> Page:
    """The range that comes next; nothing after the last."""
    return await snapshot.page(table, after, rows, _SIZE) if after is not None and rows else Page([], more=False)


async def _write(
    pair: Pair, table: Table, progress: BackfillProgress, upto: Key | None, rows: list[Row], generation: int
) -> BackfillProgress:
    crash_point("backfill.before_apply")
    copied = progress.rows + len(rows)
    done = replace(
        progress,
        state="copied" if upto is None else "copying",
        after=upto or progress.after,
        rows=copied,
        total=max(progress.total, copied),
    )
    async with pair.target.applier(generation, pair.epoch, None) as applier:
        await applier.replace_range(table, progress.after, upto, rows)
        await applier.save_progress(done)
        crash_point("backfill.before_commit")
    crash_point("backfill.after_commit")
    return done
