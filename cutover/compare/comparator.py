"""The comparator: everything that says how far the shadow can be believed, as one service."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from cutover import clock
from cutover.compare.explain import explain_row
from cutover.compare.invariants import InvariantCheck, InvariantResult, Invariants
from cutover.compare.jsonable import json_drift, parse_key
from cutover.compare.judge import Judge
from cutover.compare.ledger import Ledger
from cutover.compare.ports import Applying
from cutover.compare.progress import NO_VERIFICATION, Verification
from cutover.compare.quick import QuickCheck
from cutover.compare.readback import ReadBack
from cutover.compare.repair import repair
from cutover.compare.scan import Tools
from cutover.compare.states import Ground
from cutover.compare.verify import Verifier, no_such_table
from cutover.errors import CutoverError
from cutover.logs import counted, get_logger
from cutover.metrics import Metrics
from cutover.model.table import Table, Tables
from cutover.model.values import Key
from cutover.settings import CompareSettings
from cutover.stores.pair import Pair
from cutover.tasks import together

_log = get_logger("compare")

_BACKOFF = (0.5, 1.0, 2.0, 5.0, 10.0)
"""Seconds to wait after a failure, and after the next; the last one repeats."""
_AFTER_FAILURE = 2.0
"""Seconds between a scheduled verification that failed and the next."""
_LOOK = 0.5
"""Seconds between looks at whether a scheduled verification is due."""


class Comparator:
    """Finds drift, remembers it, mends it on demand. Methods may be called from any task of the event loop."""

    def __init__(
        self,
        pair: Callable[[], Pair],
        tables: Callable[[], Tables],
        applying: Applying,
        settings: CompareSettings,
        invariants: Sequence[InvariantCheck],
        metrics: Metrics,
    ) -> None:
        self._tables = tables
        self._applying = applying
        self._settings = settings
        self._ground = Ground(applying, pair)
        self._ledger = Ledger(metrics)
        self._tools = Tools(self._ground, applying, Judge(self._ground, applying), self._ledger, settings, metrics)
        self._read_back = ReadBack(self._tools, tables)
        self._verifier = Verifier(self._tools, pair, tables, self._read_back.scanned)
        self._invariants = Invariants(self._ground, applying, self._ledger, invariants)
        self._quick = QuickCheck(self._tools, self._read_back, self._verifier, tables)
        self._checked: tuple[float, bool, list[InvariantResult]] | None = None
        self._over = False
        self.last_sentence = "Not started yet."
        """What the comparator did last, or why it could not."""

    # -- the service -------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Read back and verify until cancelled. Survives stores that are away."""
        try:
            await together(self._keep_on(self._read_some), self._keep_on(self._verify_when_due))
        finally:
            self._verifier.stop("The service stopped.")
            await self._verifier.wait()

    async def _keep_on(self, turn: Callable[[], Any]) -> None:
        failures = 0
        while not self._over:
            try:
                await turn()
                failures = 0
            except (CutoverError, OSError, TimeoutError) as error:
                if self._over:
                    return
                pause = _BACKOFF[min(failures, len(_BACKOFF) - 1)]
                failures += 1
                self._tell(f"Could not compare; trying again in {pause} s: {error}", _log.warning)
                await asyncio.sleep(pause)
            except Exception as error:  # noqa: BLE001  # loop must live
                self._tell(f"Could not compare; trying again in {_BACKOFF[-1]} s: {error}")
                _log.exception("The comparator met an error it does not know; it tries again.")
                await asyncio.sleep(_BACKOFF[-1])

    def _tell(self, sentence: str, log: Callable[[str], None] | None = None) -> None:
        """For the status, and for a log. What ends behind the end of the migration says nothing of it any more."""
        if self._over:
            return
        self.last_sentence = sentence
        if log is not None:
            log(sentence)

    async def _read_some(self) -> None:
        await self._read_back.wait()
        before = self._ledger.total()
        compared = await self._read_back.drain()
        after = self._ledger.total()
        if compared and after != before:
            read = counted(compared, "mirrored row")
            self._tell(f"Read {read} back: {after} drifted, {before} before.", _log.warning)

    async def _verify_when_due(self) -> None:
        if not self._due():
            await asyncio.sleep(_LOOK)
            return
        verification = self._verifier.start(None, scheduled=True)
        await self._verifier.wait()
        if verification.error:
            self._tell(f"A scheduled verification failed: {verification.error}")
            await asyncio.sleep(_AFTER_FAILURE)

    def _due(self) -> bool:
        interval, last, tables = self._settings.scan_interval, self._verifier.last_full, self._tables()
        copied = bool(tables) and all(self._applying.copied(table.name) for table in tables)
        if not interval or self._verifier.running or not copied or self._quick.near:
            return False
        return last is None or clock.monotonic() - (last.finished_monotonic or 0) >= interval

    # -- told by the mirror and the switch -----------------------------------------------------------------------------

    def applied(self, table: Table, keys: Sequence[Key]) -> None:
        """These keys were just applied to the shadow. Cheap; never waits."""
        self._read_back.add(table, keys)

    def forget(self) -> None:
        """After a switch, a backfill or a changed mapping: nothing found until now counts any more."""
        self._verifier.forget("The primary, the mapping or the copy of a table changed meanwhile.")
        self._ledger.forget()
        self._read_back.forget()
        self._quick.stand_down()
        self._checked = None

    def end(self) -> None:
        """The migration is finished: there is no shadow any more, and nothing is left to compare."""
        self._tell("The migration is finished: there is nothing to compare any more.")
        self._over = True

    def stand_down(self) -> None:
        """A switch that was prepared for does not happen: what is scheduled may go on."""
        self._quick.stand_down()

    async def prepare_quick(self) -> list[str]:
        """Just before the pause of a switch, with writes going on: all of the check that grows with the tables.

        What speaks against parity, one sentence each. Without it, `quick_check` counts every row in the pause.
        """
        return await self._quick.prepare()

    async def catch_up(self) -> list[str]:
        """The last thing before the pause: leaves as little to it as can be. What speaks against parity."""
        return await self._quick.catch_up()

    async def quick_check(self, timeout: float, *, accept_quarantine: bool = False) -> list[str]:
        """Inside the pause of a switch, the log drained: what speaks against parity, one sentence each.

        `accept_quarantine`: rows in quarantine, which the switch leaves behind, do not speak against it.
        """
        return await self._quick.check(timeout, accept_quarantine=accept_quarantine)

    # -- verification ------------------------------------------------------------------------------------------------

    def start_verify(self, tables: Sequence[str] | None = None) -> Verification:
        """Begin a verification at full speed, or return the one that another operator began.

        A scheduled one gives way. Raises `NoSuchTable`.
        """
        running = self._verifier.running
        if running is not None and not running.scheduled:
            return running
        return self._verifier.start(tables, scheduled=False)

    async def verify(self, tables: Sequence[str] | None = None) -> Verification:
        """A verification that begins now, to its end. One that is running already gives way.

        The result may be `failed`, with `error`. Raises `NoSuchTable`.
        """
        verification = self._verifier.start(tables, scheduled=False)
        await self._verifier.wait()
        return verification

    @property
    def verification(self) -> Verification | None:
        """The latest, finished or not."""
        return self._verifier.latest

    @property
    def last_full(self) -> Verification | None:
        """The last one that ended well over all tables, since the last `forget`."""
        return self._verifier.last_full

    def verification_json(self) -> dict[str, Any]:
        """The body of `GET /v1/verify`."""
        return self._verifier.latest.as_json() if self._verifier.latest else dict(NO_VERIFICATION)

    # -- drift -------------------------------------------------------------------------------------------------------

    @property
    def drift_rows(self) -> int:
        """Drifts known now."""
        return self._ledger.total()

    def drift_counts(self) -> dict[str, dict[str, int]]:
        """Drifts by table (every mapped one) and kind (all of them)."""
        return {table.name: self._ledger.counts(table.name) for table in self._tables()}

    def drifts(self, table: str | None = None, limit: int = 100) -> dict[str, Any]:
        """The body of `GET /v1/drift`. Raises `NoSuchTable`."""
        if table is not None:
            self._table(table)
        known = {mapped.name: mapped for mapped in self._tables()}
        return {
            "drift_rows": self._ledger.total(table),
            "rows": [
                json_drift(known.get(drift.table), drift, clock.iso(drift.first_seen))
                for drift in self._ledger.drifts(table, limit)
            ],
        }

    async def explain(self, table: str, key: Sequence[Any]) -> dict[str, Any]:
        """One row on both sides. `key`: JSON values or words. Raises `NoSuchTable`, `NoSuchKey`, `StoreUnavailable`."""
        mapped = self._table(table)
        return await explain_row(self._ground, mapped, parse_key(mapped, key))

    async def repair(self, table: str | None = None, *, dry_run: bool = False) -> dict[str, Any]:
        """Make the shadow equal to the primary for known drifts: `{"repaired", "remaining", "dry_run", "rows"}`.

        Raises `NoSuchTable`, `StoreUnavailable`, `StaleApplier`.
        """
        chosen = [self._table(table)] if table is not None else list(self._tables())
        result = await repair(
            self._tools, {each.name: each for each in chosen}, self._verifier.scan_now, dry_run=dry_run
        )
        if not dry_run:
            self._tell(f"Repaired {counted(result['repaired'], 'row')}; {result['remaining']} left.", _log.info)
        return result

    async def check_invariants(self, *, max_age: float = 0.0) -> list[InvariantResult]:
        """The configured ones, orphans of every foreign key, and row counts. Raises `StoreUnavailable`.

        They read whole tables: with `max_age` (seconds), results that are not older are given again, unless they were
        found while a table was copied and all are copied now.
        """
        began, reign, copying = clock.monotonic(), self._ledger.reign, self._applying.catching_up
        known = self._checked
        if known is not None and began - known[0] <= max_age and known[1] == copying:
            return known[2]
        results = await self._invariants.check(self._tables())
        if reign == self._ledger.reign:
            self._checked = began, copying, results
        return results

    # -- for people --------------------------------------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        """The `compare` section of `GET /v1/status`."""
        full, latest = self._verifier.last_full, self._verifier.latest
        running = self._verifier.running
        return {
            "drift_rows": self._ledger.total(),
            "rows_compared": self._ledger.compared,
            "read_back_waiting": self._read_back.waiting,
            "not_read_back": self._read_back.unread(),
            "suspended": latest.suspended if latest else 0,
            "running": running.as_json() if running else None,
            "activity": self.last_sentence,
            "last_full": {
                "started_at": clock.iso(full.started_at),
                "finished_at": clock.iso(full.finished_at),
                "rows": full.rows,
                "drift_rows": full.drift_rows,
                "problems": full.problems,
            }
            if full
            else None,
        }

    def refresh_metrics(self) -> None:
        """Set the gauges that change by themselves."""
        self._ledger.show_age()

    def _table(self, name: str) -> Table:
        for table in self._tables():
            if table.name == name:
                return table
        raise no_such_table(name, self._tables())
