"""Who is primary, and how far everything is: the record that stands in both stores."""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field, replace
from enum import StrEnum
from hashlib import sha256
from typing import Literal

from cutover.errors import ControlDamaged

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
    reached_batch: int = field(default=0, compare=False)
    """In SQLite as primary, computed: the number that a batch of everything logged so far would have."""
    peer: Identity | None = None
    """In SQLite: the Postgres server it is paired with."""
    audit_sequence: int = 0
    """Anchor of the audit log: this record must be in the chain with this hash."""
    audit_hash: str = ""

    def but(self, **changes: object) -> Control:
        """A copy with some fields changed."""
        return replace(self, **changes)  # type: ignore[arg-type]  # checked by dataclass

    @property
    def newest_batch(self) -> int:
        """In the primary: a shadow that has applied a later batch knows more than this row."""
        return max(self.trimmed_batch, self.reached_batch)

    @property
    def seal(self) -> str:
        """A hash over the fields that say who is primary; it stands in the row beside them, so an edit by hand shows.

        Not a secret: it guards against a well-meant UPDATE, not against an adversary. Counters are left out, because
        they move by themselves.
        """
        peer = (self.peer.system, str(self.peer.timeline)) if self.peer else ("", "")
        told = (self.pair_id, self.primary, str(self.epoch), str(self.state), self.switch_id or "", *peer)
        return sha256("\x1f".join(told).encode()).hexdigest()[:32]


INSPECT = (
    "`cutover inspect` shows both control rows and what stands against them; docs/reliability.md has the ways out."
)
"""What to do about a control row that cannot be believed."""


def unsealed(control: Control, seal: object, store: str) -> Control:
    """`control` as it was read together with `seal`. Raises `ControlDamaged` if they do not belong together."""
    if not isinstance(seal, str) or not hmac.compare_digest(control.seal.encode(), seal.encode()):
        raise ControlDamaged(
            f"The control row in {store} was edited by hand: its seal does not fit primary = {control.primary}, "
            f"epoch = {control.epoch}, state = {control.state}.",
            hint=INSPECT,
        )
    return control


def unreadable(store: str, why: object) -> ControlDamaged:
    """The error for a control row that is missing, or holds what cutover never writes."""
    return ControlDamaged(f"The control row in {store} cannot be believed: {why}.", hint=INSPECT)


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
    state: Literal["waiting", "copying", "indexing", "copied", "done"] = "waiting"
    """indexing: what was put aside for the load is put back. copied: all rows are there, and the mirror has yet to make
    the shadow one state of the primary."""
    after: tuple[int | float | str | bytes | None, ...] | None = None
    """The key up to which everything is copied."""
    rows: int = 0
    total: int = 0


def columns_of(control: Control) -> dict[str, object]:
    """The row by its columns, as both stores name them."""
    peer = control.peer
    return {
        "pair_id": control.pair_id,
        "primary_store": control.primary,
        "epoch": control.epoch,
        "state": control.state.value,
        "switch_id": control.switch_id,
        "generation": control.generation,
        "applied_batch": control.applied_batch,
        "trimmed_batch": control.trimmed_batch,
        "peer_system": peer.system if peer else None,
        "peer_timeline": peer.timeline if peer else None,
        "audit_sequence": control.audit_sequence,
        "audit_hash": control.audit_hash,
        "seal": control.seal,
    }


@dataclass(frozen=True)
class Inspected:
    """What stands in one store, believable or not: for the eyes of an operator, never to decide from."""

    where: str
    row: dict[str, object] | None
    """The control row as it is written; None if there is none."""
    control: Control | None
    """The same, if it can be believed."""
    problem: str
    """Why it cannot, or why the store could not be asked; empty if nothing is wrong."""
    damaged: bool = False
    """Whether the row is missing or was edited, in a store that was asked."""
    fenced: bool | None = None
    """Whether applications' writes are refused; None if that could not be seen."""
    changes: int | None = None
    """Entries in the change log."""
    switches: tuple[tuple[str, str], ...] = ()
    """(switch id, outcome) of the switches that this store was to receive, newest last."""
    identity: Identity | None = None
