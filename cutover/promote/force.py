"""The demotion by force, for a destination that is lost for good: the one way in which writes are lost."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

from cutover import clock
from cutover.crashpoints import crash_point
from cutover.errors import CutoverError, SwitchAborted, SwitchRefused
from cutover.model.control import Control, Phase, SwitchState
from cutover.model.requests import Actor, SwitchRequest
from cutover.promote.parts import Parts
from cutover.promote.phases import at_rest
from cutover.promote.plan import EXPLAINED, Step
from cutover.promote.switch import Switch, gate_json


async def demote_by_force(parts: Parts, switch: Switch, request: SwitchRequest, actor: Actor) -> dict[str, Any]:
    """Make the origin primary although the destination is lost. Writes it had and the origin has not are lost.

    The one exception to "one primary": a store that cannot be reached cannot be fenced. Admin only. Raises
    `SwitchRefused` or `SwitchAborted`; nothing changed then.
    """
    situation = parts.situation
    _check_force(request, actor)
    recorded = await parts.origin.store.control()
    if Phase.FINISHED is situation.phase or (recorded is not None and recorded.state is SwitchState.FINISHED):
        raise SwitchRefused(
            "The migration is finished; there is no way back, also not by force.",
            "finished",
            hint="SQLite has nothing of what was written since; restore Postgres from its own backups.",
        )
    if situation.pair.primary is parts.origin and not situation.problem:
        return switch.position() | {"result": "already_demoted", "pause_seconds": 0.0, "gates": []}
    gates = [gate_json(gate) for gate in await switch.gates("demote")]
    if request.dry_run:
        steps = [{"name": str(Step.COMMIT), "does": EXPLAINED[Step.COMMIT]}]
        return switch.position() | {"result": "dry_run", "would_proceed": True, "gates": gates, "steps": steps}
    async with switch.alone():
        try:
            await _keep_destination_out(parts)
        except SwitchRefused as refused:
            await parts.trail.write("demote.refused", actor, approval=request.approval, reason=refused.message)
            raise
        began = clock.monotonic()
        control, applied = await _commit(parts, request, actor)
        situation.pair = parts.pair_of(control)
        situation.problem, situation.attached = "", False
        await parts.door.resume(parts.origin, control.epoch)
        situation.move(at_rest())
        pause = clock.monotonic() - began
        parts.comparator.forget()  # what was compared with the lost store says nothing any more
        await parts.note_high_water(control)
        parts.metrics.switches.labels("demote", "forced").inc()
        await parts.trail.write(
            "demote.committed",
            actor,
            switchId=control.switch_id,
            approval=request.approval,
            epoch=control.epoch,
            force=True,
        )
        return switch.position() | {
            "result": "demoted",
            "pause_seconds": round(pause, 4),
            "gates": gates,
            "last_applied_batch": applied,
        }


async def _commit(parts: Parts, request: SwitchRequest, actor: Actor) -> tuple[Control, int]:
    """The origin's control row as it stands then, and the last batch that it has of the destination."""
    origin, switch_id = parts.origin.store, str(uuid.uuid4())
    local = await origin.control()
    assert local is not None, "a start wrote one"
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
    control = _forced(local, switch_id, parts)
    try:
        await origin.prepare(switch_id)
        crash_point("force.prepare.after")
        await origin.receive(control, switch_id, parts.settings.promotion.pause_timeout)
    except Exception as error:
        await parts.trail.write("demote.aborted", actor, switchId=switch_id, reason=str(error))
        raise SwitchAborted(f"The demotion by force did not happen, and nothing was changed: {error}") from error
    crash_point("force.commit.after")
    return control, local.applied_batch


def _forced(local: Control, switch_id: str, parts: Parts) -> Control:
    # The destination may have committed the epoch after this one: no two switches may share a number.
    maybe_taken = local.state is SwitchState.COMMITTING
    return local.but(
        primary=parts.origin.store.name,
        epoch=local.epoch + (2 if maybe_taken else 1),
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
