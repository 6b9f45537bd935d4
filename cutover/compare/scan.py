"""Comparison of one whole table: digests of ranges first, rows only where those differ."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from cutover.compare.counts import count_problem
from cutover.compare.difference import differing_keys, is_after, reaches_end
from cutover.compare.judge import Judge, Verdicts
from cutover.compare.ledger import Ledger
from cutover.compare.pace import Pace
from cutover.compare.ports import Applying
from cutover.compare.progress import TableScan
from cutover.compare.schema import schema_fault
from cutover.compare.states import Ground, States
from cutover.errors import RolesChanging, StoreError
from cutover.logs import counted
from cutover.metrics import Metrics
from cutover.model.drift import DriftKind
from cutover.model.table import Table
from cutover.model.values import Key, RangeDigest, ScannedRange
from cutover.schema.codecs import codecs_for
from cutover.settings import CompareSettings

RANGES_AT_ONCE = 25
_SAMPLED = 4
"""Of the first chunk of a table, and of each fourth, one range with equal digests is read in full."""

_DRILLED = 16 << 20
"""Bytes of rows that are compared at one time."""

_UNSETTLED_MAX = 10_000
"""Rows in flight that are remembered for the end of the scan. With more, it stops and waits for them."""


class Span(NamedTuple):
    """A key range, and how many rows the shadow has in it."""

    after: Key | None
    upper: Key | None
    shadow_rows: int


@dataclass(frozen=True)
class Tools:
    """What every scan works with."""

    ground: Ground
    applying: Applying
    judge: Judge
    ledger: Ledger
    settings: CompareSettings
    metrics: Metrics


class Scanner:
    """Scans one table once, and enters what it finds into the ledger."""

    def __init__(self, tools: Tools, table: Table, scan: TableScan, epoch: int, pace: Pace) -> None:
        self._tools = tools
        self._table = table
        self._codecs = codecs_for(table)
        self._scan = scan
        self._epoch = epoch
        self._pace = pace
        self._reign = tools.ledger.reign
        self._unsettled: dict[Key, None] = {}
        self._crowded: list[Span] = []
        self._beyond: Counter[DriftKind] = Counter()
        self._chunks = 0

    async def measure(self) -> None:
        """Count the rows there are to compare, or find that the table cannot be compared now. First of all."""
        name = self._table.name
        async with self._tools.ground.matched([self._table]) as states:
            why = states.unready(name)
            if why is None:
                self._scan.total = await states.primary.count(self._table)
        if why is not None:
            self._scan.state = "skipped"
            self._scan.problems.append(f"{name} was not compared: {why}.")

    async def run(self) -> None:
        """Compare everything, unless skipped. Raises `StoreUnavailable`, or `StoreError` if the ground moved."""
        if self._scan.state == "skipped":
            return
        ledger, name = self._tools.ledger, self._table.name
        self._scan.state = "running"
        try:
            await self._ranges()
            for span in self._crowded:
                await self._led_by_shadow(span)
            await self._settle()
            await self._judge(ledger.keys(name))
            await self._count()
        finally:
            self._tools.metrics.compare_pending.set(0)
        ledger.count_beyond(name, self._beyond)
        self._scan.drift = ledger.counts(name)
        self._scan.state = "done"

    # -- ranges by digest ------------------------------------------------------------------------------------------

    async def _ranges(self) -> None:
        """Two chunks are under way at any time: one being cut on the primary, one being digested on the shadow."""
        after: Key | None = None
        try:
            async with asyncio.TaskGroup() as group:
                before: asyncio.Task[None] | None = None
                while True:
                    cut: asyncio.Future[list[ScannedRange]] = asyncio.get_running_loop().create_future()
                    task = group.create_task(self._chunk(after, cut))
                    if before is not None:
                        await before
                    ranges = await cut
                    await self._pace.spend(sum(part.rows for part in ranges))
                    if reaches_end(ranges, RANGES_AT_ONCE, self._tools.settings.range_rows):
                        break
                    after, before = ranges[-1].upper, task
        except BaseExceptionGroup as group_error:
            raise group_error.exceptions[0] from None

    async def _chunk(self, after: Key | None, cut: asyncio.Future[list[ScannedRange]]) -> None:
        rows_per_range = self._tools.settings.range_rows
        async with self._tools.ground.matched([self._table]) as states:
            self._check(states)
            ranges = await states.primary.scan(self._table, after, rows_per_range, RANGES_AT_ONCE)
            if not cut.done():  # cancelled, if another chunk failed meanwhile
                cut.set_result(ranges)
            end = reaches_end(ranges, RANGES_AT_ONCE, rows_per_range)
            digests = await states.shadow.digests(self._table, after, [part.upper for part in ranges], tail=end)
            spans, equal = self._differing(after, ranges, digests)
            suspects = await self._read_again(states, equal)
            for span in spans:
                suspects += await self._drill(states, span)
            in_flight = await states.in_flight(self._table, suspects)
        self._note(sum(part.rows for part in ranges))
        self._scan.ranges += len(ranges)
        self._scan.differing_ranges += len(spans)
        await self._put_off(in_flight)
        await self._judge([key for key in suspects if key not in in_flight])

    def _differing(
        self, after: Key | None, ranges: Sequence[ScannedRange], digests: Sequence[RangeDigest]
    ) -> tuple[list[Span], list[Span]]:
        """Ranges whose digests differ, and those whose are equal. Crowded ones are left for later."""
        differing: list[Span] = []
        equal: list[Span] = []
        uppers: list[Key | None] = [part.upper for part in ranges]
        mine = [RangeDigest(part.rows, part.digest) for part in ranges]
        if len(digests) > len(ranges):
            uppers.append(None)
            mine.append(RangeDigest(0, 0))
        for upper, here, there in zip(uppers, mine, digests, strict=True):
            span = Span(after, upper, there.rows)
            if here == there:
                equal.append(span)
            elif upper is None or there.rows > 4 * self._tools.settings.range_rows:
                self._crowded.append(span)
            else:
                differing.append(span)
            after = upper
        return differing, equal

    async def _read_again(self, states: States, equal: Sequence[Span]) -> list[Key]:
        """Read one of the ranges with equal digests in full, so that a fault in digests cannot hide drift."""
        full = [span for span in equal if span.shadow_rows]
        self._chunks += 1
        if not full or (self._chunks > 1 and self._chunks % _SAMPLED):
            return []
        keys = await self._drill(states, random.choice(full))  # noqa: S311  # a sample, no secret
        self._scan.reread_ranges += 1
        if keys:
            hidden = f"A range of {self._table.name} has equal digests and {counted(len(keys), 'differing row')}"
            fault = await schema_fault(states.pair.target)
            self._scan.problems.append(
                f"{hidden}. {fault}"
                if fault
                else f"{hidden}: digests hide drift here, so this verification proves nothing. Please report it."
            )
        return keys

    async def _drill(self, states: States, span: Span) -> list[Key]:
        """Keys of the rows that differ in a range, read in parts that are not too large."""
        suspects, after, done = list[Key](), span.after, False
        while not done:
            page = await states.primary.page(self._table, after, self._tools.settings.range_rows, _DRILLED)
            last = self._table.key_of(page.rows[-1]) if page.more else None
            done = last is None or (span.upper is not None and not is_after(span.upper, last))
            upper = span.upper if done else last
            mine = [row for row in page.rows if not is_after(self._table.key_of(row), upper)]
            theirs = await states.shadow.between(self._table, after, upper)
            suspects += differing_keys(self._table, self._codecs, mine, theirs)
            after = upper
        return suspects

    async def _led_by_shadow(self, span: Span) -> None:
        """A range in which the shadow has far more rows than the primary, or any beyond its last: page by page."""
        after, more = span.after, True
        limit = 4 * self._tools.settings.range_rows
        while more:
            async with self._tools.ground.matched([self._table]) as states:
                self._check(states)
                page = await states.shadow.range(self._table, after, limit)
                more = len(page) == limit and not is_after(self._table.key_of(page[-1]), span.upper)
                theirs = [row for row in page if not is_after(self._table.key_of(row), span.upper)]
                upper = self._table.key_of(page[-1]) if more else span.upper
                mine = await states.primary.between(self._table, after, upper)
                suspects = differing_keys(self._table, self._codecs, mine, theirs)
                in_flight = await states.in_flight(self._table, suspects)
            await self._put_off(in_flight)
            await self._judge([key for key in suspects if key not in in_flight])
            after = upper
            await self._pace.spend(len(page))
        self._scan.differing_ranges += 1

    # -- rows ------------------------------------------------------------------------------------------------------

    async def _judge(self, keys: Sequence[Key]) -> None:
        if not keys:
            return
        verdicts = await self._tools.judge.judge(self._table, keys)
        self._enter(verdicts)
        await self._put_off(verdicts.pending)

    async def _put_off(self, keys: Iterable[Key]) -> None:
        """Rows in flight are judged when the table's end is reached: by then most of them rest."""
        self._unsettled.update(dict.fromkeys(keys))
        self._tools.metrics.compare_pending.set(len(self._unsettled))
        if len(self._unsettled) > _UNSETTLED_MAX:
            await self._settle()

    async def _settle(self) -> None:
        keys, self._unsettled = list(self._unsettled), {}
        if not keys:
            return
        verdicts = await self._tools.judge.settle(self._table, keys, self._tools.settings.settle_timeout)
        self._enter(verdicts)
        self._scan.suspended += len(verdicts.pending)

    def _enter(self, verdicts: Verdicts) -> None:
        ledger = self._tools.ledger
        if ledger.reign != self._reign:
            raise RolesChanging("The primary changed while the stores were compared.", hint="Verify again.")
        ledger.heal(self._table.name, verdicts.settled())
        for drift in verdicts.drifts:
            if not ledger.record(drift):
                self._beyond[drift.kind] += 1

    async def _count(self) -> None:
        """The last look: both counts, which do not depend on ranges and their digests."""
        async with self._tools.ground.matched([self._table], quarantine=True) as states:
            self._check(states)
            now = self._beyond + self._tools.ledger.held(self._table.name)
            problem = await count_problem(states, self._table, now[DriftKind.MISSING] - now[DriftKind.EXTRA])
        if problem:
            self._scan.problems.append(problem)

    # -- bookkeeping -----------------------------------------------------------------------------------------------

    def _note(self, rows: int) -> None:
        scan, metrics = self._scan, self._tools.metrics
        scan.rows += rows
        self._tools.ledger.compared += rows
        metrics.compare_rows.labels(scan.name, "scan").inc(rows)
        metrics.compare_coverage.labels(scan.name).set(min(1.0, scan.rows / scan.total) if scan.total else 1.0)

    def _check(self, states: States) -> None:
        if states.pair.epoch != self._epoch:
            raise RolesChanging("The primary changed while the stores were compared.", hint="Verify again.")
        if why := states.unready(self._table.name):
            raise StoreError(f"{self._table.name} cannot be compared: {why}.", hint="Verify again after that.")
