"""The two ends that have no way back: `finish`, and a demotion by force when Postgres is lost."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

from cutover import clock
from cutover.crashpoints import crash_point
from cutover.errors import CutoverError, SwitchAborted, SwitchRefused
from cutover.model.control import Control, Phase, SwitchState
from cutover.model.requests import Actor, SwitchRequest
from cutover.promote.highwater import HighWater, write_high_water
from cutover.promote.parts import Parts
from cutover.promote.phases import Event, after
from cutover.promote.plan import EXPLAINED
from cutover.promote.switch import Switch, gate_json

_STEPS = (
    ("backup", "a last, checked backup of SQLite"),
    ("drain", "the reverse mirror applies what is left, then stops for good"),
    ("record", "SQLite is recorded as finished; it stays fenced"),
    ("dismantle", "triggers, logs and applier state are removed from the primary; the control row stays"),
)


async def finish(parts: Parts, switch: Switch, request: SwitchRequest, actor: Actor) -> dict[str, Any]:
    """End the migration with the destination as primary. Raises `SwitchRefused`, `GatesFailed`, `SwitchAborted`."""
    situation = parts.situation
    if situation.phase is Phase.FINISHED and not request.dry_run:
        return switch.position() | {"result": "already_finished", "pause_seconds": 0.0, "gates": []}
    if request.dry_run:
        steps = [{"name": name, "does": does} for name, does in _STEPS]
        proceed = situation.phase is Phase.PROMOTED and situation.attached
        return switch.position() | {"result": "dry_run", "would_proceed": proceed, "gates": [], "steps": steps}
    if parts.switching.locked():
        raise SwitchRefused("Another switch is under way.", "switch_in_progress", hint="Wait for its answer.")
    async with parts.switching:
        phase = after(situation.phase, Event.FINISH)
        if not situation.attached:
            raise SwitchRefused(f"The stores are not attached: {situation.attach_error}", "not_attached")
        await parts.trail.write("finish.requested", actor, approval=request.approval, reason=request.reason)
        backup = parts.backups / f"final-{situation.pair.epoch}.sqlite"
        drained = await parts.mirror.caught_up(parts.settings.promotion.pause_timeout)
        if not drained:
            raise SwitchAborted("The shadow did not catch up within pause_timeout; nothing was removed.")
        digest = await parts.origin.store.backup(str(backup))
        crash_point("finish.backup.after")
        await parts.mirror.stop()
        local, peer = await parts.origin.store.control(), await parts.destination.store.control()
        assert local is not None
        assert peer is not None
        await parts.origin.store.write_control(local.but(state=SwitchState.FINISHED), expect=local)
        crash_point("finish.record.after")
        await parts.destination.store.dismantle(peer.but(state=SwitchState.FINISHED))
        crash_point("finish.dismantle.after")
        situation.move(phase)
        await parts.trail.write("finish.committed", actor, approval=request.approval, backup=str(backup), sha256=digest)
        return switch.position() | {
            "result": "finished",
            "pause_seconds": 0.0,
            "gates": [],
            "backup": {"path": str(backup), "sha256": digest},
        }


async def demote_by_force(parts: Parts, switch: Switch, request: SwitchRequest, actor: Actor) -> dict[str, Any]:
    """Make the origin primary although the destination is lost. Writes it had and the origin has not are lost.

    The one exception to "one primary": a store that cannot be reached cannot be fenced. Admin only.
    """
    situation, origin = parts.situation, parts.origin.store
    _check_force(request, actor)
    if situation.pair.primary is parts.origin and not situation.problem:
        return switch.position() | {"result": "already_demoted", "pause_seconds": 0.0, "gates": []}
    gates = await switch.gates("demote")
    local = await origin.control()
    assert local is not None
    if request.dry_run:
        steps = [{"name": "commit", "does": EXPLAINED[step]} for step in EXPLAINED if step == "commit"]
        body = {
            "result": "dry_run",
            "would_proceed": True,
            "gates": [gate_json(gate) for gate in gates],
            "steps": steps,
        }
        return switch.position() | body
    async with parts.switching:
        began = clock.monotonic()
        switch_id = str(uuid.uuid4())
        await parts.trail.write(
            "demote.requested",
            actor,
            switchId=switch_id,
            approval=request.approval,
            reason=request.reason,
            force=True,
            acceptDataLoss=True,
            lastAppliedBatch=local.applied_batch,
        )
        await _keep_destination_out(parts)
        await origin.prepare(switch_id)
        crash_point("force.commit.before")
        control = _forced(local, switch_id, parts)
        await origin.receive(control, switch_id, parts.settings.promotion.pause_timeout)
        crash_point("force.commit.after")
        situation.pair = type(situation.pair)(parts.origin, parts.destination, control.epoch)
        situation.problem, situation.attached = "", False
        await parts.door.resume(parts.origin, control.epoch)
        situation.move(Phase.SHADOWING)
        pause = clock.monotonic() - began
        high = HighWater(control.pair_id, control.epoch, control.trimmed_batch)
        await asyncio.to_thread(write_high_water, parts.high_water, high)
        parts.metrics.switches.labels("demote", "forced").inc()
        await parts.trail.write(
            "demote.committed", actor, switchId=switch_id, approval=request.approval, epoch=control.epoch, force=True
        )
        return switch.position() | {
            "result": "demoted",
            "pause_seconds": round(pause, 4),
            "gates": [gate_json(gate) for gate in gates],
            "last_applied_batch": local.applied_batch,
        }


def _forced(local: Control, switch_id: str, parts: Parts) -> Control:
    return local.but(
        primary=parts.origin.store.name,
        epoch=local.epoch + 1,
        state=SwitchState.STEADY,
        switch_id=switch_id,
        trimmed_batch=local.applied_batch,
        generation=max(local.generation, parts.situation.generation),
    )


def _check_force(request: SwitchRequest, actor: Actor) -> None:
    if actor.role != "admin":
        raise SwitchRefused("Only an admin may demote by force.", "forbidden", hint="Use the admin's token.")
    if not request.accept_data_loss:
        raise SwitchRefused(
            "A demotion by force loses the writes that SQLite does not have yet.",
            "data_loss_not_accepted",
            hint="Say so with --accept-data-loss, after making sure that Postgres is stopped for good.",
        )


async def _keep_destination_out(parts: Parts) -> None:
    """A destination that answers, and is what it was, must not be forced away: the plain demotion loses nothing."""
    if parts.situation.problem and not parts.situation.attached:
        await parts.mirror.stop()
        return
    try:
        async with asyncio.timeout(3.0):
            await parts.destination.store.control()
    except (CutoverError, OSError, TimeoutError):
        await parts.mirror.stop()
        return
    raise SwitchRefused(
        "Postgres answers, so nothing needs to be lost.", "not_lost", hint="Demote without --force, or stop it first."
    )
