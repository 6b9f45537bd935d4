"""One run from the first row to the verdict."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cutover.audit import read_records, verify_chain
from tests.support.service import until
from tests.torture.account import Account
from tests.torture.doors import Rows
from tests.torture.driver import Broken, Driver
from tests.torture.faults import Faults
from tests.torture.ledger import Ledger
from tests.torture.place import Place, integrity
from tests.torture.plan import FAULTS, Step, plan
from tests.torture.traffic import Traffic
from tests.torture.watch import MARKERS, Watch, dump
from tests.torture.workloads import WORKLOADS
from tests.torture.workloads.base import Workload


@dataclass(frozen=True)
class Wish:
    """What the command line says."""

    minutes: float
    seed: int
    faults: Sequence[str] = FAULTS
    steps: Sequence[Step] | None = None
    """Instead of the plan that the seed gives."""
    workloads: Sequence[str] = tuple(WORKLOADS)
    keep: Path | None = None
    gap: float = 0.05
    quiet: bool = False


@dataclass
class Verdict:
    """`problems` empty: every promise was kept."""

    problems: list[str] = field(default_factory=list)
    summary: list[str] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    faults: dict[str, int] = field(default_factory=dict)
    switches: dict[str, int] = field(default_factory=dict)
    operations: int = 0
    kept: Path | None = None


async def run(wish: Wish) -> Verdict:
    """Torture, and judge."""
    workloads = [WORKLOADS[name]() for name in wish.workloads]
    schema = MARKERS + "".join(workload.schema for workload in workloads)
    async with Place.open(schema) as place:
        account = Account(Ledger(place.folder / "ledger.jsonl"), wish.quiet)
        try:
            verdict = await _Run(wish, place, account, workloads).perform()
        finally:
            account.ledger.close()
        if verdict.problems or wish.keep is not None:
            verdict.kept = wish.keep or place.folder.with_name(place.folder.name + "-kept")
            (place.folder / "events.txt").write_text("\n".join([*account.events, *verdict.problems]) + "\n")
            await place.keep(verdict.kept)
    return verdict


class _Run:
    def __init__(self, wish: Wish, place: Place, account: Account, workloads: Sequence[Workload]) -> None:
        self.wish, self.place, self.account, self.workloads = wish, place, account, workloads
        self.traffic = Traffic(place, account, workloads, wish.seed, wish.gap)
        self.stop = asyncio.Event()
        self.watch = Watch(place, account, workloads, self.stop)
        self.faults = Faults(place, account, wish.seed)
        self.driver = Driver(place, account, self.faults)

    async def perform(self) -> Verdict:
        """The story."""
        account, place = self.account, self.place
        self._announce()
        await place.start_service()
        await place.service.up()
        watching = asyncio.create_task(self.watch.run())
        self.traffic.begin()
        broken = False
        try:
            steps = plan(self.wish.seed, self.wish.faults) if self.wish.steps is None else self.wish.steps
            await self.driver.run(steps, self.wish.minutes * 60)
            account.event("time is over: healing")
            await self.driver.heal()
        except Broken:
            broken = True
        await asyncio.sleep(0.5)
        await self.traffic.end()
        self.stop.set()
        await watching
        if not broken:
            await self._settled()
        await self._judge(broken=broken)
        return self._verdict()

    def _announce(self) -> None:
        wish = self.wish
        disks = "are real ones" if self.place.disk.mounted else "are limits on the size of files"
        self.account.event(
            f"seed {wish.seed}, {wish.minutes:g} min, workloads {', '.join(wish.workloads)}; faults "
            f"{', '.join(wish.faults) or 'none'}; disks {disks}"
        )

    async def _settled(self) -> None:
        """Nobody writes any more: the shadow must reach the primary by itself, and nothing may differ."""
        service = self.place.service

        async def level() -> bool:
            mirror = (await service.status())["mirror"]
            return mirror["lag_changes"] == 0 and mirror["state"] == "running"

        try:
            await until(level, "an empty change log")
            result = await service.verified()
            self.account.event(f"last verification: {result['rows']} rows, {result['drift_rows']} differ")
            if result["drift_rows"]:
                self.account.problem("the last verification found drift", str(result))
        except AssertionError as error:
            self.account.problem("the shadow did not reach the primary", str(error)[:2000])

    async def _judge(self, *, broken: bool) -> None:
        """Both stores. The primary alone, where the pair did not come back: the shadow is behind it, rightly."""
        account, place = self.account, self.place
        await place.postgres.start()
        local, remote = await dump(place, self.watch.tables)
        stores = {"sqlite": local, "postgres": remote}
        if broken:
            primary = (await asyncio.to_thread(_control, place.sqlite))[0]
            stores = {primary: stores[primary]}
        for table in self.watch.tables:
            if not broken and local[table] != remote[table]:
                account.problem("the stores differ at the end", _difference(table, local, remote))
        for store, rows in stores.items():
            for workload in self.workloads:
                mine = {table: rows[table] for table in workload.tables}
                for text in workload.check_end(account.ledger.of(workload.name), mine):
                    account.problem(f"{workload.name}, at the end in {store}", text)
            for text in self.watch.check_markers(rows["markers"]):
                account.problem(f"one primary, in {store}", text)
        self.traffic.judge_errors(full_disk=any(name.startswith("disk") for name in self.faults.done))
        if place.service.process is not None and place.service.process.returncode is None:
            code = await place.service.stop()
            if code != 0:
                account.problem("the service did not stop in order", f"exit code {code}")
        await self._judge_files()

    async def _judge_files(self) -> None:
        account, place = self.account, self.place
        for text in await asyncio.to_thread(integrity, place.sqlite):
            account.problem("a damaged file", text)
        audit = verify_chain(place.state / "audit.jsonl")
        if not audit.ok:
            account.problem("the audit chain is broken", str(audit.problem))
            return
        records = list(read_records(place.state / "audit.jsonl"))
        committed = [r for r in records if r["action"] in ("promote.committed", "demote.committed")]
        control = await asyncio.to_thread(_control, place.sqlite)
        if control[1] != 1 + len({r["metadata"]["switchId"] for r in committed}):
            account.problem("epochs and recorded switches do not agree", f"{control}, {len(committed)} committed")
        requested = {
            r["metadata"]["switchId"]: r["metadata"]["approval"] for r in records if r["action"].endswith(".requested")
        }
        for record in committed:
            if requested.get(record["metadata"]["switchId"]) not in self.driver.approvals:
                account.problem("a switch that nobody asked for", str(record))

    def _verdict(self) -> Verdict:
        account = self.account
        counted = [f"{name}: {count}" for name, count in sorted(account.counts.items())]
        more = [f"{kind}: {count} in all" for kind, count in account.kinds.items() if count > 5]
        summary = [
            f"{len(account.ledger.entries)} operations; " + ", ".join(counted),
            f"switches: {self.driver.switches}; faults: {dict(self.faults.done)}",
            self.traffic.latency(),
        ]
        return Verdict(
            account.problems + more,
            summary,
            account.events,
            dict(self.faults.done),
            self.driver.switches,
            len(account.ledger.entries),
        )


def _control(path: str) -> tuple[str, int]:
    connection = sqlite3.connect(path)
    try:
        row: tuple[str, int] = connection.execute("SELECT primary_store, epoch FROM _cutover_control").fetchone()
        return row
    finally:
        connection.close()


def _difference(table: str, local: Mapping[str, Rows], remote: Mapping[str, Rows]) -> str:
    here, there = set(map(repr, local[table])), set(map(repr, remote[table]))
    only = f"{table}: {len(here - there)} rows only in SQLite, {len(there - here)} only in Postgres"
    return f"{only}: {sorted(here - there)[:3]}; {sorted(there - here)[:3]}"
