"""The mirror: makes the shadow some committed state of the primary, again and again.

One turn = one snapshot of the primary (change log and rows together) applied in one transaction on the shadow, then
the log entries that the snapshot saw are removed. State-based: applying twice is harmless, and a crash between any
two lines repeats a turn at worst. Backfill and repair go through the same single applier, under the same lock, so
that they can never put an old row over a new one (hazard 26).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Literal

from cutover import clock
from cutover.crashpoints import crash_point
from cutover.errors import CaptureBroken, CutoverError, SchemaChanged, StaleApplier, StoreError, StoreUnavailable
from cutover.logs import get_logger
from cutover.metrics import Metrics
from cutover.model.control import BackfillProgress
from cutover.model.table import Table, Tables
from cutover.model.values import Applied, Key
from cutover.settings import MirrorSettings
from cutover.shadow.applying import Applying, Turn, apply_keys
from cutover.stores.base import Snapshot
from cutover.stores.pair import Pair
from cutover.tasks import end_if_cancelled

_STARTS_WITHIN = 5.0
"""Seconds in which tables are mapped anew, or a switch comes to its end, on any machine that is not busy."""

_MAPPED_WITHIN = 30.0
"""Seconds for tables to be mapped anew where something is to be compared; hundreds of new ones take that long."""

State = Literal["running", "paused", "retrying", "stopped"]

_log = get_logger("mirror")


class Mirror(Applying):
    """The single applier of this process. `run` is the service; everything else may be called from other tasks."""

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
        super().__init__(pair, tables, settings, metrics, generation=generation, batch=batch, on_applied=on_applied)
        self.state: State = "stopped"
        self.last_error: str | None = None
        self.on_away: Callable[[str], Awaitable[None]] | None = None
        """Told when a store is away or its fence was breached; whoever listens stops and starts the mirror again."""
        self.on_schema_change: Callable[[], None] = lambda: None
        """Told when a table is not what it was mapped as; whoever listens maps anew and starts the mirror again."""
        self.held = False
        """Whether an operator wishes a pause: it outlasts every stop and start in between."""
        self._backoff = settings.retry_initial
        self._stirred = asyncio.Event()
        self._started = asyncio.Event()
        self._mapped = asyncio.Event()
        """Cleared while tables are mapped anew: what stores hold then, and what the mapping says, need not fit."""
        self._mapped.set()

    # -- roles and pauses --------------------------------------------------------------------------------------------

    async def start(self, pair: Pair, tables: Tables) -> None:
        """(Re)start on this pair: after opening, after a switch, after a changed mapping."""
        async with self._applying:
            if pair.source is not self.pair.source:
                self._passed = None
            self.pair, self.tables = pair, tables
            await self._backfill.load(pair)
            self.state, self.last_error = "paused" if self.held else "running", None
        self._stirred.set()
        self._started.set()
        self._mapped.set()
        pair.source.wake()

    async def stop(self, *, mapping: bool = False) -> None:
        """Let the turn under way end, then do nothing until `start`. `mapping`: nothing can be compared until then."""
        async with self._applying:
            if mapping:
                self._mapped.clear()
            self.state = "stopped"
            self._metrics.mirror_up.set(0)

    def pause(self) -> None:
        """Apply nothing from the next turn on, by an operator's wish; one that is stopped starts as a paused one."""
        self.held = True
        if self.state != "stopped":
            self.state = "paused"
            self._metrics.mirror_up.set(0)

    async def at_rest(self, timeout: float) -> bool:
        """Wait for the turn under way, at most `timeout` seconds. Whether it has ended."""
        try:
            async with asyncio.timeout(timeout), self._applying:
                return True
        except TimeoutError:
            return False

    def resume(self) -> None:
        """End a pause."""
        self.held = False
        if self.state == "paused":
            self.state = "running"
            self._stirred.set()
            self.pair.source.wake()

    # -- progress ----------------------------------------------------------------------------------------------------

    def copied(self, table: str) -> bool:
        """Whether the backfill of this table is complete, and the mirror has come past it."""
        return self._backfill.copied(table)

    @property
    def catching_up(self) -> bool:
        """While some table is not fully copied, the shadow is no state of the primary and serves no reads."""
        return not all(self.copied(table.name) for table in self.tables)

    def progress(self, table: str) -> BackfillProgress:
        """How far the copy of a table is."""
        return self._backfill.progress(table)

    def copying(self) -> tuple[int, float]:
        """(rows still to be copied as far as is known, rows copied in a second just now)."""
        return self._backfill.left(self.tables), self._backfill.rate.now()

    async def inherit(self, pair: Pair, tables: Tables, generation: int) -> None:
        """After a switch, before `start`: whatever was copied to the new primary is equal on its new shadow.

        A kill in between makes the shadow be copied again, which costs time and nothing else.
        """
        async with self._applying:
            done = [each for each in (await pair.source.progress()).values() if each.state == "done"]
            await pair.target.forget_progress([table.name for table in tables])
            async with pair.target.applier(generation, pair.epoch, None) as applier:
                for progress in done:
                    await applier.save_progress(progress)

    async def copy_again(self, tables: Sequence[str]) -> None:
        """Have these tables copied from the start; rows that should not be on the shadow are removed on the way."""
        async with self._applying:
            await self._forget(tables)
        self.pair.source.wake()

    # -- for the comparator and the switch ---------------------------------------------------------------------------

    @asynccontextmanager
    async def quiesced(self) -> AsyncIterator[Pair]:
        """Nothing is applied to the shadow inside. Keep it short: the mirror waits.

        Tables that are mapped anew are waited for: they may have no change log yet, or a column without its values.
        Raises `StoreError` if that takes long.
        """
        while True:
            async with self._applying:
                if self._mapped.is_set():
                    yield self.pair
                    return
            try:
                async with asyncio.timeout(_MAPPED_WITHIN):
                    await self._mapped.wait()
            except TimeoutError:
                raise StoreError("A schema changed, and its tables are being mapped anew.", hint="Try again.") from None

    @asynccontextmanager
    async def level(self) -> AsyncIterator[tuple[Pair, Snapshot, Snapshot]]:
        """Both stores in exactly one state, under whatever load: (pair, primary, shadow).

        A turn is applied from a snapshot that stays open, and the shadow's is opened before anything else is applied.
        While the mirror is stopped tables may be mapped anew, and what is applied by the mapping of before would lack a
        column that both stores have already: it is waited for. Raises `StoreError` while it is paused, or stopped long.
        """
        async with AsyncExitStack() as stack:
            async with self._begun():
                if self.state == "paused":
                    raise StoreError("The mirror is paused.", hint="Resume it first.")
                pair = self.pair
                primary = await stack.enter_async_context(pair.source.snapshot())
                await self._apply_snapshot(primary)
                shadow = await stack.enter_async_context(pair.target.snapshot())
            yield pair, primary, shadow

    @asynccontextmanager
    async def _begun(self) -> AsyncIterator[None]:
        """The applier's lock, of a mirror that is not stopped."""
        while True:
            async with self._applying:
                if self.state != "stopped":
                    yield
                    return
                self._started.clear()
            try:
                async with asyncio.timeout(_STARTS_WITHIN):
                    await self._started.wait()
            except TimeoutError:
                raise StoreError("The mirror is stopped.", hint="It starts by itself; see `cutover status`.") from None

    @asynccontextmanager
    async def level_copied(self) -> AsyncIterator[tuple[Pair, Snapshot, Snapshot, Mapping[str, int]]]:
        """As `level`, of whole tables, with their names and `changed`. Raises `StoreError` while some are being copied.

        A table that was made a moment ago is not among them: the stores may have it before the mirror does.
        """
        if not self.catching_up:
            async with self.level() as states:
                if not self.catching_up:
                    yield *states, {table.name: self.changed[table.name] for table in self.tables}
                    return
        raise StoreError("Tables are being copied.", hint="Wait for the end of the backfill.")

    async def reapply(self, table: Table, keys: Sequence[Key]) -> Applied:
        """Make the shadow's rows of these keys equal to the primary's current ones."""
        async with self._applying:
            crash_point("repair.before_apply")
            source, target = self.pair.source, self.pair.target
            async with source.snapshot() as snapshot:
                if self.state in ("running", "retrying"):  # or the shadow would show newer rows beside older ones
                    await self._apply_snapshot(snapshot)
                await source.sync()
                async with target.applier(self.generation, self.pair.epoch, None) as applier:
                    applied = await apply_keys(snapshot, applier, table, keys)
            crash_point("repair.after_apply")
            return applied

    async def caught_up(self, timeout: float) -> bool:
        """Wait until everything that was committed before this call is applied; False after `timeout` seconds."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        self._hurry.set()
        self.pair.source.wake()
        try:
            await asyncio.wait_for(waiter, timeout)
        except TimeoutError:
            return False
        finally:
            if waiter in self._waiters:
                self._waiters.remove(waiter)
        return True

    async def tidy(self) -> None:
        """Before an orderly end: leave nothing in the log that is mirrored."""
        async with self._applying:
            await self._trim_passed()

    async def drain(self, timeout: float) -> int:
        """Apply until the change log is empty, then stop. For a fenced primary. Returns the number of turns.

        Raises `TimeoutError`, and whatever a turn raises; the mirror then runs on as before.
        """
        turns = 0
        async with asyncio.timeout(timeout), self._applying:
            before, self.state = self.state, "stopped"
            try:
                while (await self._turn()).changes:
                    turns += 1
                await self._trim_passed()
            except BaseException:
                self.state = "paused" if self.held else before
                self._started.set()
                raise
        return turns

    # -- the service -------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Mirror until cancelled. Raises `StaleApplier` when a newer owner has taken over; survives all else."""
        while True:
            if self.state in ("running", "retrying"):
                try:
                    worked = await self._paced_work()
                except StaleApplier:
                    self.state = "stopped"
                    raise
                except (CutoverError, OSError, TimeoutError) as error:
                    await self._failed(error)
                    continue
                except Exception as error:  # noqa: BLE001  # loop must live
                    end_if_cancelled()
                    _log.exception("The mirror met an error it does not know; it tries again.")
                    await self._failed(error)
                    continue
                if not worked:
                    await self.pair.source.wait_for_change(self._backfill.waits() or 1.0)
            else:
                self._stirred.clear()
                await self._stirred.wait()

    async def _paced_work(self) -> bool:
        """`_work`, and then a rest if it did little: each turn costs a sync, two transactions and a trim."""
        began = clock.monotonic()
        worked, rows = await self._work()
        rest = self._settings.min_interval - (clock.monotonic() - began)
        if worked and rows < self._settings.batch_rows and rest > 0:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._hurry.wait(), rest)
        return worked

    async def _work(self) -> tuple[bool, int]:
        """One turn and one range of the backfill, whichever there is to do: (did anything, changes applied)."""
        async with self._applying:
            if self.state not in ("running", "retrying"):
                return False, 0
            turn = await self._turn()
            copied = await self._copy_some(turn)
            if self.state == "retrying":
                self.state = "running"
        self._succeeded(turn)
        return bool(turn.changes) or copied, self._settings.batch_rows if copied else turn.changes

    def _succeeded(self, turn: Turn) -> None:
        self.last_error = None
        self._backoff = self._settings.retry_initial
        self._metrics.mirror_up.set(1)
        self._metrics.mirror_last_success.set(clock.wall())
        if turn.changes:
            self.last_sentence = turn.sentence()
            _log.info(self.last_sentence, batch=self.batch)

    async def _failed(self, error: Exception) -> None:
        """Say why, and wait a little longer each time, but no longer than something to do takes to show itself."""
        kind = getattr(error, "code", type(error).__name__)
        self._metrics.mirror_errors.labels(kind).inc()
        self._metrics.mirror_up.set(0)
        if self.state == "running":
            self.state = "retrying"
        self.last_error = str(error) or type(error).__name__
        self._stirred.clear()
        if isinstance(error, SchemaChanged):
            self.on_schema_change()
        elif isinstance(error, StoreUnavailable | CaptureBroken) and self.on_away is not None:
            await self.on_away(self.last_error)
        self.last_sentence = f"Could not mirror ({kind}); trying again in {self._backoff:.1f} s: {self.last_error}"
        _log.warning(self.last_sentence)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stirred.wait(), self._backoff)
        self._backoff = min(self._backoff * 2, self._settings.retry_max)
