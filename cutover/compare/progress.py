"""What a verification has done so far, as it is shown."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Any, Literal

from cutover import clock

State = Literal["waiting", "running", "done", "skipped", "failed"]


@dataclass
class TableScan:
    """Progress and result of one table's comparison."""

    name: str
    state: State = "waiting"
    rows: int = 0
    """Rows of the primary compared so far."""
    total: int = 0
    ranges: int = 0
    differing_ranges: int = 0
    reread_ranges: int = 0
    """Ranges with equal digests that were read in full all the same."""
    suspended: int = 0
    """Rows that did not come to rest and were not judged."""
    problems: list[str] = field(default_factory=list)
    """Whatever makes the result less than proof, one sentence each."""
    drift: dict[str, int] = field(default_factory=dict)
    """Known drifts of the table by kind, when the scan ended."""

    @property
    def drift_rows(self) -> int:
        """Drifts of the table, of all kinds."""
        return sum(self.drift.values())

    def as_json(self) -> dict[str, Any]:
        """JSON-ready."""
        return {**vars(self), "problems": list(self.problems), "drift": dict(self.drift)}


@dataclass
class Verification:
    """One run over some or all tables."""

    tables: list[TableScan]
    full: bool
    """Over all tables."""
    scheduled: bool
    """Begun by the clock, and held to the speed limit."""
    epoch: int
    id: str = field(default_factory=lambda: secrets.token_hex(6))
    state: Literal["running", "done", "failed"] = "running"
    started_at: float = field(default_factory=clock.wall)
    started_monotonic: float = field(default_factory=clock.monotonic)
    finished_at: float | None = None
    """Seconds since 1970."""
    finished_monotonic: float | None = None
    fingerprints: tuple[str, str] = ("", "")
    """Schema of the primary and of the shadow; the same before and after, or the verification failed."""
    error: str | None = None

    @property
    def rows(self) -> int:
        """Rows of the primary compared."""
        return sum(table.rows for table in self.tables)

    @property
    def total(self) -> int:
        """Rows there were to compare when each table was begun."""
        return sum(max(table.total, table.rows) for table in self.tables)

    @property
    def drift_rows(self) -> int:
        """Drifts known in these tables when each was done."""
        return sum(table.drift_rows for table in self.tables)

    @property
    def suspended(self) -> int:
        """Rows that did not come to rest."""
        return sum(table.suspended for table in self.tables)

    @property
    def proves(self) -> bool:
        """Whether it ended well, over all tables, with nothing left out and no drift: what the gate `verified` wants.

        Suspended rows do not count against it: they are in the change log, so they are mirrored and read back later.
        """
        return self.state == "done" and self.full and not self.drift_rows and not self.problems

    @property
    def problems(self) -> list[str]:
        """Of all tables."""
        return [problem for table in self.tables for problem in table.problems]

    def finish(self, error: str | None = None) -> None:
        """It ended, with this error or well."""
        self.state = "failed" if error else "done"
        self.error = error
        self.finished_at = clock.wall()
        self.finished_monotonic = clock.monotonic()
        for table in self.tables:
            if error and table.state in ("waiting", "running"):
                table.state = "failed"

    def as_json(self) -> dict[str, Any]:
        """The body of `GET /v1/verify`."""
        return {
            "id": self.id,
            "state": self.state,
            "full": self.full,
            "scheduled": self.scheduled,
            "epoch": self.epoch,
            "rows": self.rows,
            "total": self.total,
            "drift_rows": self.drift_rows,
            "suspended": self.suspended,
            "started_at": clock.iso(self.started_at),
            "finished_at": clock.iso(self.finished_at) if self.finished_at is not None else None,
            "error": self.error,
            "problems": self.problems,
            "tables": [table.as_json() for table in self.tables],
        }


NO_VERIFICATION: dict[str, Any] = {
    "id": None,
    "state": "none",
    "rows": 0,
    "total": 0,
    "drift_rows": 0,
    "started_at": None,
    "finished_at": None,
    "tables": [],
}
"""The body of `GET /v1/verify` before the first one."""
