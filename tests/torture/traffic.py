"""Clients at work: each does one operation after the other and notes what it was told."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

from tests.torture.account import Account
from tests.torture.doors import DirectDoor, Door, FrontDoor, InteractiveDoor, NativeDoor, OutsideDoor, Told
from tests.torture.ledger import Entry
from tests.torture.place import Place
from tests.torture.workloads.base import Client, Operation, Workload

RETRYABLE = {
    "SQLITE_BUSY", "SQLITE_LOCKED", "OUTCOME_UNKNOWN", "TRANSACTION_TIMEOUT", "STREAM_EXPIRED",
    "CONNECTION_LOST", "NOT_CONNECTED",
}  # fmt: skip
FULL_DISK = {"SQLITE_FULL", "SQLITE_IOERR", "SQLITE_CANTOPEN"}


class Traffic:
    """All clients of all workloads."""

    def __init__(self, place: Place, account: Account, workloads: Sequence[Workload], seed: int, gap: float) -> None:
        self.place, self.account, self.gap = place, account, gap
        self.workloads = workloads
        self.stop = asyncio.Event()
        self.answered: dict[str, list[Entry]] = {"front": [], "interactive": []}
        self._seed = seed
        self._tasks: list[asyncio.Task[None]] = []

    def begin(self) -> None:
        """Start every client."""
        for workload in self.workloads:
            for number, door in enumerate(workload.doors, 1):
                name = f"{workload.name}-{door}-{number}"
                client = Client(name, number, door, random.Random(f"{self._seed} {name}"))
                self._tasks.append(asyncio.create_task(self._live(workload, client), name=name))

    async def end(self) -> None:
        """Let every client finish what it is doing."""
        self.stop.set()
        await asyncio.gather(*self._tasks)

    def _doors(self, workload: Workload, client: Client) -> dict[str, Door]:
        kinds: dict[str, Door] = {}
        wanted = ("front", "direct", "native") if client.door == "any" else (client.door,)
        for name in wanted:
            rng = random.Random(client.rng.random())
            if name in ("front", "interactive"):
                kind = FrontDoor if name == "front" else InteractiveDoor
                kinds[name] = kind(self.place.service.front, rng, hasty=workload.hasty)
            elif name in ("direct", "outside"):
                kinds[name] = (DirectDoor if name == "direct" else OutsideDoor)(self.place.sqlite, rng)
            else:
                kinds[name] = NativeDoor(self.place.native, rng)
        return kinds

    async def _live(self, workload: Workload, client: Client) -> None:
        doors = self._doors(workload, client)
        try:
            while not self.stop.is_set():
                name = client.rng.choice(list(doors))
                operation = workload.propose(client, name)
                entry = self.account.ledger.begin(workload.name, client.name, name, operation.what, operation.data)
                told = await doors[name].run(operation.statements, operation.expect)
                self._note(workload, client, operation, entry, told)
                rest = client.rng.uniform(0, 2 * self.gap)
                if told.outcome == "refused":
                    rest += 0.05
                await asyncio.wait([self._stopping], timeout=rest)
        finally:
            for door in doors.values():
                await door.close()

    @property
    def _stopping(self) -> asyncio.Future[bool]:
        if not hasattr(self, "_stop_task"):
            self._stop_task = asyncio.ensure_future(self.stop.wait())
        return self._stop_task

    def _note(self, workload: Workload, client: Client, operation: Operation, entry: Entry, told: Told) -> None:
        account = self.account
        account.ledger.end(entry, told.outcome, told.code, told.message)
        account.counts[f"{entry.door} {told.outcome}"] += 1
        if entry.door in self.answered:
            self.answered[entry.door].append(entry)
        if told.outcome == "acknowledged":
            for text in told.missed(operation.expect):
                account.problem("an acknowledged write found other rows than it must", f"{text}; {entry}")
        for text in workload.settle(client, operation, entry, told):
            account.problem(f"{workload.name}, while it ran", text)

    def judge_errors(self, *, full_disk: bool) -> None:
        """Clients of the front door see only latency where no fault acts, and retryable errors where one does."""
        allowed = RETRYABLE | (FULL_DISK if full_disk else set())
        for door, entries in self.answered.items():
            for entry in entries:
                if not entry.code:
                    continue
                if entry.code == "GAVE_UP":
                    continue  # it was in haste
                if entry.code not in allowed:
                    self.account.problem("an error that is not retryable", str(entry))
                elif door == "front" and not self.account.excused(entry):
                    self.account.problem("an error at the front door where no fault acted", str(entry))

    def latency(self) -> str:
        """How long clients of the front door waited where no fault acted."""
        calm = [entry for entry in self.answered["front"] if not self.account.excused(entry)]
        if not calm:
            return "no operation at the front door without a fault"
        times = sorted(entry.answered - entry.began for entry in calm)
        slowest = max(calm, key=lambda entry: entry.answered - entry.began)
        return (
            f"front door without faults: {len(times)} operations, p50 {times[len(times) // 2] * 1000:.0f} ms, "
            f"p99 {times[int(len(times) * 0.99)] * 1000:.0f} ms, slowest {times[-1]:.2f} s: {slowest}"
        )
