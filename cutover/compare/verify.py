"""Full verifications: one at a time, each table after the other, with the schemas fingerprinted before and after."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from cutover import clock
from cutover.compare.pace import Pace
from cutover.compare.progress import TableScan, Verification
from cutover.compare.scan import Scanner, Tools
from cutover.compare.schema import schema_fault
from cutover.errors import CutoverError, NoSuchTable, StoreError
from cutover.logs import counted, get_logger
from cutover.model.table import Table, Tables
from cutover.stores.pair import Pair

_log = get_logger("compare")

Scanned = Callable[[str, float], None]
"""Called with a table's name and the monotonic time its scan began at, when the scan is done."""


class Verifier:
    """Runs verifications in a task of its own, and remembers the latest and the last full one."""

    def __init__(self, tools: Tools, pair: Callable[[], Pair], tables: Callable[[], Tables], scanned: Scanned) -> None:
        self._tools = tools
        self._pair = pair
        self._tables = tables
        self._scanned = scanned
        self._task: asyncio.Task[None] | None = None
        self.latest: Verification | None = None
        self.last_full: Verification | None = None
        """The last one over all tables that came to its end; others may have failed since."""

    @property
    def running(self) -> Verification | None:
        """The one under way."""
        return self.latest if self.latest is not None and self.latest.state == "running" else None

    def start(self, tables: Sequence[str] | None, *, scheduled: bool) -> Verification:
        """Begin one; None is all tables. Whatever is running is stopped, and has let go when this one begins.

        Raises `NoSuchTable`.
        """
        chosen = self._choose(tables)
        self.stop("Another verification took its place.")
        verification = Verification(
            [TableScan(table.name) for table in chosen],
            full=len(chosen) == len(self._tables()),
            scheduled=scheduled,
            epoch=self._pair().epoch,
        )
        self.latest = verification
        self._task = asyncio.create_task(self._run(verification, chosen, self._task), name="verification")
        return verification

    async def wait(self) -> None:
        """Wait for the one under way, if any. Cancelling the caller does not cancel it."""
        if self._task is not None:
            await asyncio.wait([self._task])

    def stop(self, why: str) -> None:
        """End the one under way as failed, with this sentence."""
        if self._task is not None and self.running:
            self.running.finish(why)
            self._task.cancel()

    def forget(self, why: str) -> None:
        """No verification until now says anything about the stores as they are."""
        self.stop(why)
        self.last_full = None

    async def outdated(self) -> bool:
        """Whether a schema, or the state of capture or fence, changed since the last full verification (hazard 35).

        False where there is none: then the gate of that name said so, and an operator went past it. Raises
        `StoreUnavailable`.
        """
        return self.last_full is not None and await _fingerprints(self._pair()) != self.last_full.fingerprints

    async def scan_now(self, table: Table) -> TableScan:
        """Scan one table at full speed, as part of something else. Raises `StoreUnavailable`, `StoreError`."""
        progress = TableScan(table.name)
        scanner = Scanner(self._tools, table, progress, self._pair().epoch, Pace(None))
        await scanner.measure()
        await self._scan(scanner, progress)
        return progress

    async def _scan(self, scanner: Scanner, progress: TableScan) -> None:
        began = clock.monotonic()
        await scanner.run()
        if progress.state == "done":
            self._scanned(progress.name, began)

    def _choose(self, names: Sequence[str] | None) -> Tables:
        tables = self._tables()
        if names is None:
            return tables
        known = {table.name: table for table in tables}
        for name in names:
            if name not in known:
                raise no_such_table(name, tables)
        return tuple(known[name] for name in dict.fromkeys(names))

    async def _run(self, verification: Verification, tables: Tables, predecessor: asyncio.Task[None] | None) -> None:
        if predecessor is not None:
            await asyncio.wait([predecessor])
        try:
            await self._scan_all(verification, tables)
        except CutoverError as error:
            verification.finish(await self._reason(error))
        except asyncio.CancelledError:
            if verification.state == "running":
                verification.finish("The service stopped.")
            raise
        except Exception as error:  # noqa: BLE001  # shown to operators
            _log.exception("A verification met an error it does not know.")
            verification.finish(f"{type(error).__name__}: {error}")
        else:
            verification.finish()
            self._done(verification)
        self._say(verification)

    async def _reason(self, error: CutoverError) -> str:
        """Why it failed. A schema that changed shows in a store's errors as anything."""
        fault = await schema_fault(self._pair().target)
        return f"{fault} ({error})" if fault else str(error)

    async def _scan_all(self, verification: Verification, tables: Tables) -> None:
        pace = Pace(self._tools.settings.max_rows_per_second if verification.scheduled else None)
        pair = self._pair()
        verification.fingerprints = await _fingerprints(pair)
        scanners = [
            Scanner(self._tools, table, progress, verification.epoch, pace)
            for table, progress in zip(tables, verification.tables, strict=True)
        ]
        for scanner in scanners:
            await scanner.measure()
        for scanner, progress in zip(scanners, verification.tables, strict=True):
            await self._scan(scanner, progress)
            if progress.state == "done":
                self._tools.metrics.compare_last_full.labels(progress.name).set(clock.wall())
            if progress.drift_rows and not progress.problems and (fault := await schema_fault(pair.target)):
                progress.problems.append(fault)
        if await _fingerprints(pair) != verification.fingerprints:
            raise StoreError("A schema changed while the stores were compared.", hint="Verify again.")

    def _done(self, verification: Verification) -> None:
        if verification.full:
            self.last_full = verification
            seconds = clock.monotonic() - verification.started_monotonic
            self._tools.metrics.compare_full_seconds.set(seconds)

    def _say(self, verification: Verification) -> None:
        seconds = clock.monotonic() - verification.started_monotonic
        if verification.error:
            _log.warning(f"A verification failed after {seconds:.1f} s: {verification.error}", id=verification.id)
            return
        _log.info(
            f"Verified {counted(verification.rows, 'row')} of {counted(len(verification.tables), 'table')} "
            f"in {seconds:.1f} s: "
            f"{verification.drift_rows} drifted, {verification.suspended} did not come to rest.",
            id=verification.id,
            problems=verification.problems,
        )


def no_such_table(name: str, tables: Tables) -> NoSuchTable:
    """The error for a table that is not mapped."""
    known = ", ".join(table.name for table in tables) or "none"
    return NoSuchTable(f"There is no mapped table {name!r}.", hint=f"Mapped are: {known}.")


async def _fingerprints(pair: Pair) -> tuple[str, str]:
    source, target = await asyncio.gather(pair.source.schema_fingerprint(), pair.target.schema_fingerprint())
    return source, target
