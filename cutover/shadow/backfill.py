"""Copying what was there before capture began: range by range, under live writes, resumable at any point.

A range is read in one snapshot and written in one transaction that also records how far the copy is, so a kill
repeats nothing and forgets nothing. A range *replaces* what the shadow holds between its two keys; copying a table
again therefore also removes rows that should not be there.
"""

from __future__ import annotations

from dataclasses import replace

from cutover.crashpoints import crash_point
from cutover.model.control import BackfillProgress
from cutover.model.table import Table
from cutover.stores.pair import Pair


async def copy_range(
    pair: Pair, table: Table, progress: BackfillProgress, rows: int, generation: int
) -> BackfillProgress:
    """Copy the next up to `rows` rows of `table`; returns the progress that now stands on the shadow.

    The caller holds the applier's lock: no batch of the mirror may come between the snapshot and the commit.
    """
    async with pair.source.snapshot() as snapshot:
        if progress.state == "waiting":
            progress = replace(progress, state="copying", total=await snapshot.count(table))
        found = await snapshot.range(table, progress.after, rows)
        last = len(found) < rows
        upto = None if last else table.key_of(found[-1])
        await pair.source.sync()
        crash_point("backfill.before_apply")
        async with pair.target.applier(generation, pair.epoch, None) as applier:
            await applier.replace_range(table, progress.after, upto, found)
            progress = replace(
                progress,
                state="done" if last else "copying",
                after=upto or progress.after,
                rows=progress.rows + len(found),
                total=max(progress.total, progress.rows + len(found)),
            )
            await applier.save_progress(progress)
            crash_point("backfill.before_commit")
    crash_point("backfill.after_commit")
    return progress
