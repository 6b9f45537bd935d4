"""One turn: what one snapshot of the primary shows is applied in one transaction on the shadow, and leaves the log."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from cutover import clock
from cutover.crashpoints import crash_point
from cutover.errors import SchemaChanged
from cutover.logs import counted
from cutover.metrics import Metrics
from cutover.model.control import BackfillProgress
from cutover.model.table import Table, Tables
from cutover.model.values import Applied, Key, Pending
from cutover.settings import MirrorSettings
from cutover.shadow.backfill import Backfill
from cutover.stores.base import Applier, Snapshot
from cutover.stores.pair import Pair


@dataclass(frozen=True)
class Turn:
    """What one turn did."""

    changes: int = 0
    applied: Applied = field(default_factory=Applied)
    tables: int = 0
    seconds: float = 0.0
    lag: float = 0.0
    """How old the oldest of these changes was when they were applied, in seconds."""

    def sentence(self) -> str:
        """What a colleague would say of it."""
        done = self.applied
        extra = f", {done.quarantined} put in quarantine" if done.quarantined else ""
        return (
            f"Applied {counted(self.changes, 'change')} of {counted(self.tables, 'table')} "
            f"in {self.seconds * 1000:.0f} ms: {counted(done.upserted, 'row')} written, {done.deleted} deleted, "
            f"{done.unchanged} already equal{extra}."
        )


class Applying:
    """What is applied, and how far. Everything here is for one who holds the applier's lock."""

    def __init__(
        self,
        pair: Pair,
        tables: Tables,
        settings: MirrorSettings,
        metrics: Metrics,
        *,
        generation: int,
        batch: int,
        on_applied: Callable[[Table, list[Key]], None],
    ) -> None:
        self.pair = pair
        self.tables = tables
        self.generation = generation
        self.batch = batch
        self.last_sentence = "Not started yet."
        self.applied_rows = 0
        self.changed = Counter[str]()
        """By table, how often a turn found rows of it changed, or had them copied again. Rather once too often."""
        self.outdated: Callable[[], bool] = lambda: False
        """Whether something was learned of the tables that their mapping does not know yet: it is mapped first."""
        self.on_copy_again: Callable[[], None] = lambda: None
        """Told when tables are to be copied again: what was verified of them counts no more."""
        self._settings = settings
        self._metrics = metrics
        self._on_applied = on_applied
        self._applying = asyncio.Lock()
        self._backfill = Backfill(settings, metrics)
        self._passed: tuple[Pending, int] | None = None
        """What is mirrored and still in the log of the source, and the number of its batch."""
        self._passed_at = 0.0
        self._waiters: list[asyncio.Future[None]] = []
        self._hurry = asyncio.Event()

    async def _turn(self) -> Turn:
        """Apply what one snapshot shows."""
        waiters, self._waiters = self._waiters, []
        self._hurry.clear()
        try:
            async with self.pair.source.snapshot() as snapshot:
                turn = await self._apply_snapshot(snapshot)
        except BaseException:
            self._waiters.extend(waiters)
            raise
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
        return turn

    async def _apply_snapshot(self, snapshot: Snapshot) -> Turn:
        """Apply what this snapshot shows, and remove from the log what it saw."""
        source, target = self.pair.source, self.pair.target
        began = clock.monotonic()
        pending = await snapshot.pending()
        if not pending.count and not pending.whole:
            await self._arrive(snapshot)
            if clock.monotonic() - self._passed_at >= self._settings.trim_after:
                await self._trim_passed()
            return Turn()
        if self.outdated():  # asked behind the snapshot: it knows of whatever that shows
            raise SchemaChanged("The first values of a column said how it is spelled; the tables are mapped anew.")
        crash_point("mirror.before_apply")
        await source.sync()
        if pending.whole:
            await self._forget(sorted(pending.whole))
        batch, arriving = max(self.batch + 1, pending.batch), self._backfill.arriving()
        kept_out = await self._kept_out(arriving)
        async with target.applier(self.generation, self.pair.epoch, batch) as applier:
            touched = await self._apply_tables(snapshot, applier, pending)
            await self._let_in(snapshot, applier, kept_out)
            for progress in arriving:
                await applier.save_progress(progress)
            crash_point("mirror.before_commit")
        crash_point("mirror.after_commit")
        self._backfill.arrived(arriving)
        self._passed, self._passed_at = (pending, batch), clock.monotonic()
        if not self._settings.trim_after or not source.pass_over(pending):
            await self._trim_passed()
        seconds = clock.monotonic() - began
        self._metrics.mirror_apply_seconds.observe(seconds)
        total = Applied()
        for table, applied, keys in touched:
            total += applied
            self._count(table, applied)
            self._on_applied(table, keys)
        lag = clock.wall() - pending.oldest_at if pending.oldest_at is not None else 0.0
        return Turn(pending.count, total, len(touched), seconds, lag)

    async def _trim_passed(self) -> None:
        """Remove from the log what is mirrored: the end of a batch."""
        if self._passed is not None:
            pending, batch = self._passed
            await self.pair.source.trim(pending, batch)
            self.batch = batch  # only now: a trim that failed is done again under the same number
            self._passed = None
            crash_point("mirror.after_trim")

    async def _apply_tables(
        self, snapshot: Snapshot, applier: Applier, pending: Pending
    ) -> list[tuple[Table, Applied, list[Key]]]:
        touched = []
        for table in self.tables:
            if pending.tables is not None and table.name not in pending.tables:
                continue
            total, keys = Applied(), list[Key]()
            async for chunk in snapshot.changed(table, self._settings.batch_rows):
                upserts = [row for _, row in chunk if row is not None]
                deletes = [key for key, row in chunk if row is None]
                total += await applier.apply(table, upserts, deletes)
                keys.extend(key for key, _ in chunk)
            if keys:
                touched.append((table, total, keys))
                self.changed[table.name] += total.unchanged < len(keys)
        return touched

    def _count(self, table: Table, applied: Applied) -> None:
        counter = self._metrics.mirror_applied_rows
        self.applied_rows += applied.upserted + applied.deleted
        for op, rows in (("upsert", applied.upserted), ("delete", applied.deleted), ("unchanged", applied.unchanged)):
            if rows:
                counter.labels(table.name, op).inc(rows)

    async def _arrive(self, snapshot: Snapshot) -> None:
        """Nothing was changed since they were copied: they are one state as they are."""
        if arriving := self._backfill.arriving():
            kept_out = await self._kept_out(arriving)
            async with self.pair.target.applier(self.generation, self.pair.epoch, None) as applier:
                await self._let_in(snapshot, applier, kept_out)
                for progress in arriving:
                    await applier.save_progress(progress)
            self._backfill.arrived(arriving)

    async def _kept_out(self, arriving: Sequence[BackfillProgress]) -> dict[str, list[Key]]:
        """Rows in quarantine of tables that were copied. What the shadow held from before may have been in their way: a
        row of a range that came later, with the same value in a unique index. It is gone by now."""
        found: dict[str, list[Key]] = {each.table: [] for each in arriving}
        for row in await self.pair.target.quarantined() if arriving else ():
            if row.table in found:
                found[row.table].append(row.key)
        return found

    async def _let_in(self, snapshot: Snapshot, applier: Applier, kept_out: Mapping[str, Sequence[Key]]) -> None:
        """Try these once more."""
        for table in self.tables:
            keys = kept_out.get(table.name, ())
            for start in range(0, len(keys), self._settings.batch_rows):
                await apply_keys(snapshot, applier, table, keys[start : start + self._settings.batch_rows])

    async def _copy_some(self, turn: Turn) -> bool:
        """Copy some ranges of a table that is not complete."""
        worked, sentence = await self._backfill.round(self.pair, self.tables, self.generation, turn.lag)
        self.last_sentence = sentence or self.last_sentence
        return worked

    async def _forget(self, tables: Sequence[str]) -> None:
        await self.pair.target.forget_progress(tables)
        self._backfill.forget(tables)
        self.changed.update(tables)
        self.on_copy_again()


async def apply_keys(snapshot: Snapshot, applier: Applier, table: Table, keys: Sequence[Key]) -> Applied:
    """Make the shadow's rows of these keys equal to those of the snapshot, all of which the source has on its disk."""
    rows = await snapshot.rows(table, keys)
    return await applier.apply(table, list(rows.values()), [key for key in keys if key not in rows])
