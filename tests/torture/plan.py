"""What will be done, and in which order: a function of the seed."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

FAULTS = (
    "kill", "freeze", "stop", "postgres-kill", "postgres-freeze", "postgres-stop", "cut", "hang", "deafen", "disk",
    "disk-state", "disk-postgres", "lock", "idle", "reader", "application-kill", "rival", "backfill", "pause",
)  # fmt: skip
"""kill, freeze, stop: the service. lock, idle, reader: applications that hold locks and snapshots for too long. rival:
a second service beside the frozen first. backfill, pause: an operator at a bad moment."""


@dataclass(frozen=True)
class Blow:
    """One fault: `after` seconds from the beginning of its step, or of its switch's pause, for `lasting` seconds."""

    fault: str
    after: float
    lasting: float
    in_pause: bool = False

    def __str__(self) -> str:
        since = " into the pause" if self.in_pause else ""
        return f"{self.fault} after {self.after:.2f} s{since} for {self.lasting:.2f} s"


@dataclass(frozen=True)
class Step:
    """One thing after the other: a verification, a switch, blows, or a switch with blows; then, often, calm."""

    gap: float
    verify: bool
    switch: bool
    blows: tuple[Blow, ...]
    calm: bool
    """Whether to wait until all is well before the next step."""

    def __str__(self) -> str:
        parts = ["verification"] * self.verify + ["switch"] * self.switch
        parts += map(str, self.blows)
        return ", ".join(parts)


def plan(seed: int, faults: Sequence[str]) -> Iterator[Step]:
    """Steps without end. Every fault comes alone and in a switch before any comes again."""
    rng = random.Random(f"plan {seed}")
    bag: list[tuple[str, bool]] = []
    yield Step(0.5, True, True, (), True)
    while True:
        if not bag:
            bag = [(fault, switch) for fault in faults for switch in (True, True, False)]
            rng.shuffle(bag)
        kind = rng.random()
        gap = rng.uniform(0.2, 2.0)
        if not faults or kind < 0.3:
            yield Step(gap, True, True, (), True)
            continue
        fault, switch = bag.pop()
        blows = [_blow(rng, fault, in_switch=switch)]
        if kind > 0.85 and bag:
            blows.append(_blow(rng, bag.pop()[0], in_switch=switch))
        yield Step(gap, switch and rng.random() < 0.9, switch, tuple(blows), rng.random() < 0.75)


def _blow(rng: random.Random, fault: str, *, in_switch: bool) -> Blow:
    lasting = rng.choice([rng.uniform(0.05, 0.5), rng.uniform(0.5, 2.5), rng.uniform(2, 6)])
    in_pause = in_switch and rng.random() < 0.7
    if in_pause:
        return Blow(fault, rng.choice([0.0, rng.uniform(0, 0.05), rng.uniform(0, 0.3)]), lasting, in_pause)
    return Blow(fault, rng.uniform(0, 1.5) if in_switch else 0.0, lasting)
