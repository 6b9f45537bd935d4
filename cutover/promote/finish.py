"""`finish`: the end of the migration, from which there is no way back."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

from cutover.crashpoints import crash_point
from cutover.errors import CutoverError, StoreError, StoreUnavailable, SwitchAborted, SwitchRefused
from cutover.model.control import Phase, SwitchState
from cutover.model.requests import Actor, SwitchRequest
from cutover.promote.parts import Parts
from cutover.promote.phases import Event, after
from cutover.promote.switch import Switch

_STEPS = (
    ("validate", "foreign keys that rested while Postgres was the shadow are proved to hold"),
    ("stop", "the reverse mirror applies what there is, then stops for good"),
    ("backup", "a last, checked backup of SQLite"),
    ("record", "SQLite is recorded as finished; it stays fenced"),
    ("dismantle", "triggers, logs and applier state are removed from the primary; the control row stays"),
)


async def finish(parts: Parts, switch: Switch, request: SwitchRequest, actor: Actor) -> dict[str, Any]:
    """End the migration with the destination as primary.

    Raises `SwitchRefused` or `SwitchAborted` (nothing was removed), `StoreUnavailable` (the recovery goes on with it).
    """
    situation = parts.situation
    if situation.phase is Phase.FINISHED and not request.dry_run:
        return switch.position() | {"result": "already_finished", "pause_seconds": 0.0, "gates": []}
    if request.dry_run:
        steps = [{"name": name, "does": does} for name, does in _STEPS]
        proceed = situation.phase is Phase.PROMOTED and situation.attached
        return switch.position() | {"result": "dry_run", "would_proceed": proceed, "gates": [], "steps": steps}
    async with switch.alone():
        after(situation.phase, Event.FINISH)
        if not situation.attached:
            raise SwitchRefused(f"The stores are not attached: {situation.attach_error}", "not_attached")
        switch_id = str(uuid.uuid4())
        await parts.trail.write(
            "finish.requested", actor, switchId=switch_id, approval=request.approval, reason=request.reason
        )
        try:
            backup = await _ready_to_end(parts)
        except Exception as error:
            await parts.mirror.start(situation.pair, situation.tables)
            await parts.trail.write("finish.aborted", actor, switchId=switch_id, reason=str(error))
            raise SwitchAborted(f"The migration was not finished, and nothing was removed: {error}") from error
        kept = await _end(parts)
        await parts.trail.write(
            "finish.committed", actor, switchId=switch_id, approval=request.approval, backup=backup, kept=kept
        )
        return switch.position() | {
            "result": "finished",
            "pause_seconds": 0.0,
            "gates": [],
            "backup": backup,
            "kept": kept,
        }


async def _ready_to_end(parts: Parts) -> dict[str, str]:
    """Everything that may fail, before anything is removed. Returns `{"path", "sha256"}` of the last backup."""
    if not await parts.mirror.caught_up(parts.settings.promotion.pause_timeout):
        raise StoreError("The shadow did not catch up within pause_timeout.", hint="See `cutover status`.")
    broken = await parts.destination.store.validate()
    if broken:
        raise StoreError(
            f"Foreign keys have rows without a parent: {'; '.join(broken)}.",
            hint="Mend these rows, then finish again.",
        )
    await parts.mirror.stop()
    crash_point("finish.stop.after")
    path = parts.backups / f"final-{parts.situation.pair.epoch}.sqlite"
    await asyncio.to_thread(path.unlink, missing_ok=True)  # of a finish that was cut off right here
    digest = await parts.origin.store.backup(str(path))
    crash_point("finish.backup.after")
    return {"path": str(path), "sha256": digest}


async def _end(parts: Parts) -> list[str]:
    """From the first of these records on there is no way back; the recovery goes on where this is cut off."""
    situation, origin, destination = parts.situation, parts.origin.store, parts.destination.store
    local = await origin.control()
    assert local is not None, "a shadow has a control row"
    await origin.write_control(local.but(state=SwitchState.FINISHED), expect=local)
    crash_point("finish.record.after")
    parts.comparator.end()
    try:
        kept = await dismantle(parts)
    except (CutoverError, OSError, TimeoutError) as error:
        situation.detach(error=f"The migration is finished, and {destination.name} has yet to be cleared: {error}")
        raise StoreUnavailable(
            f"The migration is finished, and {destination.name} could not be cleared yet: {error}",
            hint="The service goes on with it by itself; see `cutover status`.",
        ) from error
    situation.move(after(situation.phase, Event.FINISH))
    return kept


async def dismantle(parts: Parts, *, resumed: bool = False) -> list[str]:
    """Clear the primary of what only the migration needed; idempotent. Returns what stays, with the reason.

    `resumed`: this process has just started, so that it does not know which statements the front door has seen.
    """
    destination = parts.destination.store
    peer = await destination.control()
    assert peer is not None, "a primary has a control row"
    seen = parts.statements.summary()
    needed = seen["statements"] or seen["beyond_limit"] or (resumed and parts.settings.front.listen)
    kept = await destination.dismantle(peer.but(state=SwitchState.FINISHED), helpers=bool(needed))
    if not needed:  # a statement that comes after all has to find that it must install them anew
        parts.situation.tables = await parts.map_tables(create=False)
    crash_point("finish.dismantle.after")
    return kept
