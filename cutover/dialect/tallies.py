"""What came of the replays of each text, for no more texts than there is room for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cutover.dialect.replay import Found, Verdict

_TEXTS = 10_000


@dataclass(slots=True)
class Tally:
    """Of one text, or of those that differ in literals alone."""

    match: int = 0
    mismatch: int = 0
    inconclusive: int = 0
    latest: Verdict | None = None
    reason: str | None = None
    differs: str | None = None
    """What differed, until it matches again."""
    differs_by: str = ""
    """What that translation was by, if it is known (`Look.translated_by`)."""
    sqlite_seconds: float = 0.0
    postgres_seconds: float = 0.0
    """Of the replays that both answered."""

    def add(self, found: Found) -> None:
        """Count one replay."""
        self.latest, self.reason = found.verdict, found.reason
        setattr(self, found.verdict, getattr(self, found.verdict) + 1)
        self.sqlite_seconds += found.sqlite_seconds
        self.postgres_seconds += found.postgres_seconds

    def json(self) -> dict[str, Any]:
        """For `GET /v1/statements`."""
        return {
            "match": self.match,
            "mismatch": self.mismatch,
            "inconclusive": self.inconclusive,
            "latest": self.latest,
            "reason": self.reason,
            "differs": self.differs,
            "sqlite_seconds": round(self.sqlite_seconds, 6),
            "postgres_seconds": round(self.postgres_seconds, 6),
            "ratio": round(self.postgres_seconds / self.sqlite_seconds, 2) if self.sqlite_seconds else None,
        }


class Tallies:
    """By text. A new one takes the place of the oldest that does not differ."""

    def __init__(self, texts: int = _TEXTS) -> None:
        self._texts = texts
        self._of: dict[str, Tally] = {}

    def __getitem__(self, sql: str) -> Tally:
        """The tally of a text, made where there is none."""
        tally = self._of.get(sql)
        if tally is None:
            if len(self._of) >= self._texts:
                settled = (text for text, other in self._of.items() if other.differs is None)
                del self._of[next(settled, next(iter(self._of)))]
            tally = self._of[sql] = Tally()
        return tally

    def get(self, sql: str) -> Tally | None:
        """The tally of a text that was replayed, if it is remembered."""
        return self._of.get(sql)

    def __len__(self) -> int:
        """How many texts are remembered."""
        return len(self._of)

    @property
    def differing(self) -> int:
        """How many texts differ as of now."""
        return sum(tally.differs is not None for tally in self._of.values())
