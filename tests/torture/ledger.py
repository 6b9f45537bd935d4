"""What every client was told, and when. One line of a file for each operation, so that an account can name it."""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Outcome = Literal["acknowledged", "refused", "unknown"]
"""refused: certainly not executed. unknown: the answer was lost; it may happen at any time after it was asked for."""


@dataclass(slots=True)
class Entry:
    """One operation of one client. `ended` is when its effect was certain: never, while the outcome is unknown."""

    line: int
    workload: str
    client: str
    door: str
    what: str
    began: float
    ended: float = math.inf
    answered: float = math.inf
    outcome: Outcome = "unknown"
    code: str = ""
    message: str = ""
    data: Any = None

    @property
    def possible(self) -> bool:
        """Whether it may have happened."""
        return self.outcome != "refused"

    def __str__(self) -> str:
        when = f"{self.began:.3f} to {self.answered:.3f} s" if self.answered < math.inf else f"from {self.began:.3f} s"
        told = f"{self.outcome} ({self.code}: {self.message})" if self.code else self.outcome
        return f"ledger line {self.line}: {self.client} by the {self.door} door, {self.what}: {told}, {when}"


class Ledger:
    """All entries in the order of their beginning; the file has them in the order of their answers."""

    def __init__(self, path: Path) -> None:
        self.entries: list[Entry] = []
        self._started = time.monotonic()
        self._file = path.open("w", encoding="utf-8")

    def now(self) -> float:
        """Seconds since the start of the run."""
        return time.monotonic() - self._started

    def begin(self, workload: str, client: str, door: str, what: str, data: Any = None) -> Entry:
        """An operation is about to be sent."""
        entry = Entry(len(self.entries) + 1, workload, client, door, what, self.now(), data=data)
        self.entries.append(entry)
        return entry

    def end(self, entry: Entry, outcome: Outcome, code: str = "", message: str = "") -> None:
        """The client has its answer, or has given up."""
        entry.answered = self.now()
        entry.outcome, entry.code, entry.message = outcome, code, message
        if outcome == "acknowledged":
            entry.ended = entry.answered
        line = {
            "line": entry.line, "began": round(entry.began, 4), "answered": round(entry.answered, 4),
            "client": entry.client, "door": entry.door, "what": entry.what, "outcome": outcome,
            "code": code, "message": message,
        }  # fmt: skip
        self._file.write(json.dumps(line) + "\n")

    def close(self) -> None:
        """Everything is on disk."""
        self._file.close()

    def of(self, workload: str) -> list[Entry]:
        """The entries of one workload."""
        return [entry for entry in self.entries if entry.workload == workload]
