"""Events as they happen, and problems: each names the promise that broke and exactly where."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field

from tests.torture.ledger import Entry, Ledger

_SAME = 5
"""Problems of one kind that are told in full; the rest are counted."""


@dataclass
class Account:
    """What the run has to say. `quiet` keeps events to the file."""

    ledger: Ledger
    quiet: bool = False
    events: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    disturbed: list[tuple[float, float]] = field(default_factory=list)
    """Spans of time in which faults acted, until all was well again."""
    switching: list[tuple[float, float]] = field(default_factory=list)

    def event(self, text: str) -> None:
        """Something was done or seen."""
        line = f"{self.ledger.now():8.3f}  {text}"
        self.events.append(line)
        if not self.quiet:
            print(line, flush=True)

    def problem(self, kind: str, text: str) -> None:
        """A promise is broken."""
        self.kinds[kind] += 1
        if self.kinds[kind] <= _SAME:
            self.problems.append(f"{kind}: {text}")
            self.event(f"BROKEN  {kind}: {text}")

    def disturb(self) -> None:
        """A fault begins."""
        if self.is_calm:
            self.disturbed.append((self.ledger.now(), math.inf))

    def calm(self) -> None:
        """All is well again."""
        if not self.is_calm:
            self.disturbed[-1] = (self.disturbed[-1][0], self.ledger.now())

    @property
    def is_calm(self) -> bool:
        """Whether no fault acts, and the last one is over."""
        return not self.disturbed or self.disturbed[-1][1] < math.inf

    def excused(self, entry: Entry) -> bool:
        """Whether a fault acted at some moment of this operation."""
        return any(began <= entry.answered and entry.began <= ended for began, ended in self.disturbed)
