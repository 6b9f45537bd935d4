"""Who is primary, and how far everything is: the record that stands in both stores."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Literal

StoreName = Literal["sqlite", "postgres"]


def other(store: StoreName) -> StoreName:
    """The other one of the pair."""
    return "postgres" if store == "sqlite" else "sqlite"


class SwitchState(StrEnum):
    """State of a store's control row. Only the store that gives the primacy away is ever in the middle three."""

    STEADY = "steady"
    PROMOTING = "promoting"
    """SQLite is fenced and gives; the commit was certainly not sent."""
    DEMOTING = "demoting"
    """Postgres is fenced and gives; the commit was certainly not sent."""
    COMMITTING = "committing"
    """The commit may have been sent to the receiver; only the receiver knows."""
    FINISHED = "finished"


class Outcome(StrEnum):
    """What the receiving store says of one switch."""

    PREPARED = "prepared"
    COMMITTED = "committed"
    ABORTED = "aborted"


@dataclass(frozen=True)
class Identity:
    """What makes a Postgres server that server: another one must never be asked about our switches."""

    system: str
    timeline: int


@dataclass(frozen=True)
class Control:
    """The control row. One in each store; the one with the higher epoch is right about the primary."""

    pair_id: str
    primary: StoreName
    epoch: int
    state: SwitchState = SwitchState.STEADY
    switch_id: str | None = None
    generation: int = 0
    """Counts owners: each start of a service adds one, and an applier of a lower one is refused."""
    applied_batch: int = 0
    """In the shadow: number of the last batch applied here. Batches are numbered from 1, over both directions."""
    trimmed_batch: int = 0
    """In the primary: number of the last batch whose log entries were removed."""
    peer: Identity | None = None
    """In SQLite: the Postgres server it is paired with."""
    audit_sequence: int = 0
    """Anchor of the audit log: this record must be in the chain with this hash."""
    audit_hash: str = ""

    def but(self, **changes: object) -> Control:
        """A copy with some fields changed."""
        return replace(self, **changes)  # type: ignore[arg-type]  # checked by dataclass


class Phase(StrEnum):
    """What operators see. Derived from control, backfill and switch; never stored."""

    IDLE = "idle"
    BACKFILLING = "backfilling"
    SHADOWING = "shadowing"
    PROMOTING = "promoting"
    PROMOTED = "promoted"
    DEMOTING = "demoting"
    FINISHED = "finished"


@dataclass(frozen=True)
class Gate:
    """One condition of a switch."""

    name: str
    ok: bool
    detail: str
    """The actual value against the limit, as in "lag 0.02 s, limit 1 s"."""


@dataclass(frozen=True)
class BackfillProgress:
    """How far the copy of one table is. Stands in the store that receives it, written with the rows it counts."""

    table: str
    state: Literal["waiting", "copying", "done"] = "waiting"
    after: tuple[int | float | str | bytes | None, ...] | None = None
    """The key up to which everything is copied."""
    rows: int = 0
    total: int = 0
