"""What a switch does, and what a start does about a switch that was cut off: pure functions from facts to decisions."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from cutover.model.control import Control, Outcome, SwitchState


class Step(StrEnum):
    """The steps of a switch, in order. Each is idempotent; the driver performs them."""

    PREPARE = "prepare"
    FENCE = "fence"
    DRAIN = "drain"
    VERIFY = "verify"
    ANNOUNCE = "announce"
    COMMIT = "commit"
    FINISH = "finish"


REVERSIBLE = (Step.FENCE, Step.DRAIN, Step.VERIFY, Step.ANNOUNCE)
"""Inside the pause, and taken back by lifting the fence: the commit was not sent."""
SWITCH = (Step.PREPARE, *REVERSIBLE, Step.COMMIT, Step.FINISH)

EXPLAINED = {
    Step.PREPARE: "gates checked, SQLite backed up and checked, the receiving store told of the switch, rows counted",
    Step.FENCE: "front door holds new writes, open write transactions get their grace, the primary is fenced",
    Step.DRAIN: "the mirror applies until the change log is empty, then stops",
    Step.VERIFY: "whatever was mirrored since the rows were counted and verified is read back and compared",
    Step.ANNOUNCE: "the primary notes, synced to disk, that the commit may be sent: the last step that needs no asking",
    Step.COMMIT: "one transaction on the receiving store: locks, keys, sequences, capture, new epoch",
    Step.FINISH: "held writes go on, the other store becomes the shadow, the reverse mirror starts",
}


class Decision(StrEnum):
    """What recovery does next. It acts, and looks again, until there is nothing to do, or only waiting helps."""

    NOTHING = "nothing"
    ABORT = "abort"
    """The commit certainly did not happen and never will: lift the giver's fence."""
    RESOLVE = "resolve"
    """The commit may have been sent and is not recorded: make it impossible, unless it wins the race."""
    SETTLE = "settle"
    """The commit happened: make the giver the shadow."""
    SUPERSEDED = "superseded"
    """The other store went on without this switch: the giver is no primary any more, whatever its row says."""
    WAIT = "wait"
    """Nobody who answers knows: stay fenced, say why, keep asking."""


@dataclass(frozen=True)
class Recovery:
    """A decision and its reason in one sentence."""

    decision: Decision
    reason: str


@dataclass(frozen=True)
class Facts:
    """What is known of an interrupted switch: the giver's control row, and what the receiver says."""

    giver: Control
    receiver_reachable: bool
    receiver: Control | None = None
    outcome: Outcome | None = None
    """The receiver's record of `giver.switch_id`."""
    same_server: bool = True
    """False if another server answers than the one the giver was paired with (system identifier, timeline)."""


def plan_recovery(facts: Facts) -> Recovery:
    """Decide from durable state alone (`docs/reliability.md`). Never guesses."""
    state, receiver = facts.giver.state, facts.receiver
    if state in (SwitchState.STEADY, SwitchState.FINISHED):
        return Recovery(Decision.NOTHING, "No switch was under way.")
    known = receiver is not None and facts.same_server and receiver.pair_id == facts.giver.pair_id
    if known and receiver is not None and receiver.epoch > facts.giver.epoch and not _committed(facts, receiver):
        return Recovery(
            Decision.SUPERSEDED,
            f"{receiver.primary} is primary at epoch {receiver.epoch} by another switch than {facts.giver.switch_id}.",
        )
    if state in (SwitchState.PROMOTING, SwitchState.DEMOTING):
        return Recovery(Decision.ABORT, "The switch was cut off before its commit was sent; it is taken back.")
    return _after_sending(facts, known=known)


def _committed(facts: Facts, receiver: Control) -> bool:
    """Whether it is this very switch that brought the receiver forward."""
    return facts.outcome is Outcome.COMMITTED and receiver.epoch == facts.giver.epoch + 1


def _after_sending(facts: Facts, *, known: bool) -> Recovery:
    switch = facts.giver.switch_id
    if not facts.receiver_reachable:
        return Recovery(
            Decision.WAIT,
            f"The commit of switch {switch} may have been sent and the receiving store cannot be asked; "
            "the primary stays fenced until it answers.",
        )
    if not known:
        return Recovery(
            Decision.WAIT,
            f"The commit of switch {switch} may have been sent, but the store that answers is not the one it was sent "
            "to (other pair, system identifier or timeline); the primary stays fenced until the right one answers.",
        )
    match facts.outcome:
        case Outcome.COMMITTED:
            return Recovery(Decision.SETTLE, f"Switch {switch} is committed in the receiving store.")
        case Outcome.ABORTED:
            return Recovery(Decision.ABORT, f"Switch {switch} is recorded as aborted in the receiving store.")
        case Outcome.PREPARED:
            return Recovery(Decision.RESOLVE, f"Switch {switch} is prepared and not committed in the receiving store.")
    return Recovery(
        Decision.WAIT,
        f"The receiving store has no record of switch {switch}, which must be there; the primary stays fenced.",
    )


class Standing(StrEnum):
    """How two steady stores stand to each other at a start."""

    AGREE = "agree"
    PEER_RETURNED = "peer_returned"
    """A primary that was given up by force has come back: fence it, save what only it has, and wait for an operator."""
    RESTORED = "restored"
    """The shadow is an older copy within the same epoch: copy everything again."""
    REFUSE = "refuse"


def compare_controls(local: Control, peer: Control, *, same_server: bool) -> tuple[Standing, str]:
    """How the SQLite control row (`local`) and the Postgres one (`peer`) stand to each other, and why.

    For rows outside of an interrupted switch. The higher epoch is right about the primary.
    """
    if local.pair_id != peer.pair_id:
        return Standing.REFUSE, "This Postgres belongs to another SQLite database (its pair_id differs)."
    if not same_server:
        return Standing.REFUSE, (
            "This Postgres has the right pair_id, but is not the server that was paired (system identifier or timeline "
            "differ): a restored backup, or a promoted standby."
        )
    if peer.epoch > local.epoch:
        return Standing.REFUSE, (
            f"This SQLite file is at epoch {local.epoch}, Postgres at epoch {peer.epoch}: the file is an old copy."
        )
    if peer.epoch == local.epoch:
        return _same_epoch(local, peer)
    if local.primary != "sqlite":
        return Standing.REFUSE, (
            f"Postgres, the primary since epoch {local.epoch}, is at epoch {peer.epoch}: it is an older copy of itself."
        )
    if peer.primary == "sqlite":
        return Standing.RESTORED, (
            f"The shadow is at epoch {peer.epoch}, the primary at epoch {local.epoch}: the shadow is an older copy, so "
            "everything is copied again."
        )
    return Standing.PEER_RETURNED, (
        f"Postgres is at epoch {peer.epoch}, SQLite at epoch {local.epoch}: it was given up by force and has come back."
    )


def local_is_old(local: Control, peer: Control) -> bool:
    """Whether the SQLite file, though it may say that it is primary, is a copy from before: it must not be served."""
    if local.pair_id != peer.pair_id:
        return False
    if peer.epoch > local.epoch:
        return not (local.state is SwitchState.COMMITTING and peer.epoch == local.epoch + 1)
    same = peer.epoch == local.epoch and local.primary == peer.primary == "sqlite"
    return same and peer.applied_batch > local.newest_batch + 1


def _same_epoch(local: Control, peer: Control) -> tuple[Standing, str]:
    if local.primary != peer.primary:
        return Standing.REFUSE, (
            f"Both stores are at epoch {local.epoch}, but SQLite says that {local.primary} is primary and Postgres "
            f"that {peer.primary} is: a control row was edited."
        )
    source, target = (local, peer) if local.primary == "sqlite" else (peer, local)
    if target.applied_batch > source.newest_batch + 1:
        return Standing.REFUSE, (
            f"{local.primary}, the primary, knows of batch {source.newest_batch}, but its shadow has applied batch "
            f"{target.applied_batch}: the primary is an older copy, and going on would destroy what its shadow has."
        )
    if target.applied_batch < source.trimmed_batch:
        return Standing.RESTORED, (
            f"The shadow has applied batch {target.applied_batch}, the primary remembers {source.trimmed_batch}: "
            "the shadow is an older copy, so everything is copied again."
        )
    return Standing.AGREE, "Both stores agree."
