"""Everybody who writes during the demonstration, each on a door of its own, following the primary as people would.

application on the file     before and after; stops when SQLite refuses it, reads the file again when it returns
clients of the front door   all the time; they need not know where the primary is
application on Postgres     while Postgres is primary
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import asyncpg

from cutover.cli.demo_front import FrontDoorWriter, Stats
from cutover.cli.demo_ledger import Ledger, Outcome
from cutover.cli.demo_stage import to_its_end
from cutover.cli.demo_traffic import DirectWriter, NativeWriter, pause
from cutover.clock import monotonic

DIRECT, FRONT, NATIVE = "on the file", "front door", "on Postgres"
_OUTCOMES: tuple[Outcome, ...] = ("acknowledged", "refused", "unknown")
_ANSWERED_WITHIN = 2.0


@dataclass
class Stretch:
    """What one part of the story saw: outcomes by writer, and seconds of each request through the front door."""

    name: str
    seconds: float = 0.0
    outcomes: dict[str, dict[Outcome, int]] = field(default_factory=dict)
    latencies: list[float] = field(default_factory=list)

    def total(self, outcome: Outcome) -> int:
        """Of all writers."""
        return sum(counts[outcome] for counts in self.outcomes.values())

    def quantile(self, share: float) -> float:
        """Seconds within which this share of the front door's requests was answered; 0 without any."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0

    def figures(self) -> dict[str, Any]:
        """For machines. Times in seconds, of the front door's writes."""
        return {
            "name": self.name,
            "seconds": self.seconds,
            **{outcome: self.total(outcome) for outcome in _OUTCOMES},
            "writers": self.outcomes,
            "p50_seconds": self.quantile(0.5),
            "p99_seconds": self.quantile(0.99),
            "slowest_seconds": self.quantile(1.0),
        }


class Crew:
    """The writers. Each loop runs until `stop`; `follow` tells them which store takes writes."""

    def __init__(self, database: str, front_url: str, postgres_url: str, *, pace: float = 1.0) -> None:
        self.front = FrontDoorWriter(front_url, tag="front")
        self.direct = DirectWriter(database, tag="direct")
        self.native = NativeWriter(postgres_url, tag="native")
        self.stop = asyncio.Event()
        self.refusals: dict[str, str] = {}
        self.taken: dict[str, Stats] = {DIRECT: Stats(), NATIVE: Stats()}
        self._pace = pace
        self._primary = "sqlite"
        self._moved = asyncio.Event()
        self._since = monotonic()
        self._counted = {name: dict(ledger.outcomes) for name, ledger in self.ledgers.items()}

    @property
    def ledgers(self) -> dict[str, Ledger]:
        """What each writer was told."""
        return {DIRECT: self.direct.ledger, FRONT: self.front.ledger, NATIVE: self.native.ledger}

    @property
    def tags(self) -> dict[str, str]:
        """What the ids of each writer's rows begin with."""
        return {DIRECT: self.direct.tag, FRONT: self.front.tag, NATIVE: self.native.tag}

    def acknowledged(self, writer: str) -> int:
        """Writes of this writer so far."""
        return self.ledgers[writer].outcomes["acknowledged"]

    def follow(self, primary: str) -> None:
        """The primary is this store, and no switch is under way."""
        self._primary = primary
        self._moved.set()
        self._moved = asyncio.Event()

    def stretch(self, name: str) -> Stretch:
        """What happened since the last call."""
        now = monotonic()
        found = Stretch(name, now - self._since)
        for writer, ledger in self.ledgers.items():
            before = self._counted[writer]
            found.outcomes[writer] = {outcome: ledger.outcomes[outcome] - before[outcome] for outcome in _OUTCOMES}
            self._counted[writer] = dict(ledger.outcomes)
        found.latencies = list(self.front.stats.latencies)
        self.front.stats.latencies.clear()
        self._since = now
        return found

    async def until(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Wait for something that the writers do; False when it did not happen in time."""
        end = monotonic() + seconds
        while not condition():
            if monotonic() > end or self.stop.is_set():
                return condition()
            await asyncio.sleep(0.02)
        return True

    async def run_front(self) -> None:
        """The clients of the front door."""
        await self.front.run(self.stop, 0.02 * self._pace)

    async def run_direct(self) -> None:
        """The application on the file. It reads the file anew whenever it starts."""
        while await self._turn("sqlite"):
            self.refusals.pop(DIRECT, None)
            await to_its_end(asyncio.to_thread(self.direct.open))
            try:
                while not self.stop.is_set():
                    outcome = await self._timed_direct()
                    if outcome == "refused" and self._refused(DIRECT, self.direct.last_error):
                        break
                    await pause(self.stop, 0.1 * self._pace)
            finally:
                self.direct.close()
            await self._news("sqlite")

    async def run_native(self) -> None:
        """The application on Postgres."""
        while await self._turn("postgres"):
            self.refusals.pop(NATIVE, None)
            try:
                await self.native.open()
                while not self.stop.is_set():
                    began = monotonic()
                    outcome = await self.native.step()
                    self.taken[NATIVE].took(monotonic() - began)
                    if outcome == "refused" and self._refused(NATIVE, self.native.last_error):
                        break
                    await pause(self.stop, 0.1 * self._pace)
            except (asyncpg.PostgresError, OSError, TimeoutError):
                await pause(self.stop, 0.5)  # the server is away for a moment; open again
            finally:
                await self.native.close()
            await self._news("postgres")

    async def _timed_direct(self) -> Outcome:
        began = monotonic()
        outcome = await to_its_end(asyncio.to_thread(self.direct.step))
        self.taken[DIRECT].took(monotonic() - began)
        return outcome

    def _refused(self, writer: str, message: str) -> bool:
        """Whether the fence says that the primary is elsewhere; its message is kept. In the midst of a switch it says
        to try again, which the writer does.
        """
        if "cutover" not in message or "under way" in message:
            return False
        self.refusals[writer] = message
        return True

    async def _turn(self, store: str) -> bool:
        """Wait until `store` is primary; False at the end."""
        while not self.stop.is_set():
            if self._primary == store:
                return True
            await self._wait(0.5)
        return False

    async def _news(self, store: str) -> None:
        """A refusal comes a moment before the news of the switch. Without news it was taken back: try again."""
        if self._primary == store and not self.stop.is_set():
            await self._wait(_ANSWERED_WITHIN)

    async def _wait(self, seconds: float) -> None:
        moved, stopped = (asyncio.ensure_future(event.wait()) for event in (self._moved, self.stop))
        try:
            await asyncio.wait({moved, stopped}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            moved.cancel()
            stopped.cancel()
