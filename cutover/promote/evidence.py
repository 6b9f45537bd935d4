"""What an operator should know about control rows that stand somewhere, and what a start would do about them. Pure."""

from __future__ import annotations

from cutover.model.control import Control, Inspected, Outcome, SwitchState
from cutover.promote.highwater import HighWater
from cutover.promote.plan import Decision, Facts, Standing, compare_controls, plan_recovery

_MIDDLE = (SwitchState.PROMOTING, SwitchState.DEMOTING, SwitchState.COMMITTING)

_STANDINGS = {
    Standing.AGREE: "A start attaches them and goes on.",
    Standing.RESTORED: "A start copies everything to the shadow again.",
    Standing.PEER_RETURNED: "A start fences Postgres, saves what only it has, and waits for `cutover backfill`.",
    Standing.REFUSE: "A start refuses to attach them, and changes nothing.",
}
_DECISIONS = {
    Decision.NOTHING: "A start goes on.",
    Decision.ABORT: "A start takes the switch back.",
    Decision.RESOLVE: "A start makes its commit impossible, unless it wins the race, and acts on what stands then.",
    Decision.SETTLE: "A start completes the switch.",
    Decision.SUPERSEDED: "A start keeps the store fenced that the others went on without.",
    Decision.WAIT: "A start keeps the primary fenced and asks again.",
}


def conclusion(origin: Inspected, destination: Inspected, mark: HighWater | None) -> list[str]:
    """Sentences for the operator: what speaks against each row, and what a start of the service would do."""
    told = [f"SQLite: {_sentence(origin.problem)}"] if origin.problem else []
    told += [f"Postgres: {_sentence(destination.problem)}"] if destination.problem else []
    local, peer = origin.control, destination.control
    if local is None:
        if origin.damaged:
            told.append("A start refuses to serve this file, and changes nothing.")
        return told
    if mark is not None and (mark.pair_id != local.pair_id or mark.epoch > local.epoch):
        told.append(f"The state directory has seen epoch {mark.epoch} of pair {mark.pair_id}: the file is an old copy.")
    told += _would_do(origin, destination, local, peer)
    return told


def _would_do(origin: Inspected, destination: Inspected, local: Control, peer: Control | None) -> list[str]:
    same = local.peer is None or destination.identity is None or local.peer == destination.identity
    giver, receiver, asked = local, peer, destination
    if local.state not in _MIDDLE and peer is not None and peer.state in _MIDDLE:
        giver, receiver, asked = peer, local, origin
    if giver.state in _MIDDLE:
        outcome = next((Outcome(how) for name, how in asked.switches if name == giver.switch_id), None)
        recovery = plan_recovery(Facts(giver, receiver is not None, receiver, outcome, same))
        if recovery.decision is not Decision.SUPERSEDED:
            return [recovery.reason, _DECISIONS[recovery.decision]]
    if peer is None:
        if local.primary == "sqlite":
            return ["SQLite alone can be served; Postgres is attached when it can be."]
        return ["Postgres is primary: no writes are taken until it answers."]
    standing, reason = compare_controls(local, peer, same_server=same)
    return [reason, _STANDINGS[standing]]


def rebuilt(damaged: Inspected, other: Inspected, committed: int) -> Control | None:
    """The row that the rest of the evidence calls for in place of a missing or edited one; None if it is not plain.

    Plain means: the other store's row can be believed and is at rest, and its epoch is the number of switches that the
    audit log says were committed, plus one.
    """
    known = other.control
    if not damaged.damaged or known is None or known.state is not SwitchState.STEADY:
        return None
    if known.epoch != committed + 1:
        return None
    batch = max(known.applied_batch, known.trimmed_batch)
    return known.but(switch_id=None, applied_batch=batch, trimmed_batch=batch)


def _sentence(text: str) -> str:
    text = text[:1].upper() + text[1:]
    return text if text.endswith(".") else f"{text}."
