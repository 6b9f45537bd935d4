"""What a start can tell and do before Postgres has said anything: SQLite alone must be servable, or refused.

open_origin ─▶ (Postgres is asked whether the file is an old copy, for a moment) ─▶ take_back ─▶ doors
"""

from __future__ import annotations

import asyncio
import uuid

from cutover.crashpoints import crash_point
from cutover.errors import ConfigurationError, CutoverError
from cutover.model.control import Control, SwitchState
from cutover.promote.highwater import OLD_COPY, read_high_water, refuse_old_copy
from cutover.promote.parts import Parts
from cutover.promote.phases import at_rest
from cutover.promote.plan import Decision, local_is_old
from cutover.promote.records import close_records, record_recovery


async def open_origin(parts: Parts) -> None:
    """First thing at a start: what SQLite alone can tell. The front door may open after it.

    Raises `ConfigurationError` for an old copy of the file, or an expected primary that is not the recorded one.
    """
    origin, situation = parts.origin.store, parts.situation
    mark = await asyncio.to_thread(read_high_water, parts.high_water)
    local = await origin.control()
    if local is None:
        if mark is not None:
            raise ConfigurationError(
                "The SQLite file was never served by cutover, but this state directory belongs to one that was.",
                hint="Use the file that was in use, or a new state_dir for a new migration.",
            )
        _check_expected(parts, "sqlite")
        local = Control(pair_id=str(uuid.uuid4()), primary="sqlite", epoch=1)
        await origin.initialise(local)
    refuse_old_copy(mark, local)
    _check_expected(parts, local.primary)
    situation.pair = parts.pair_of(local)
    if local.primary == origin.name and local.state is SwitchState.STEADY:
        # Whole capture stays: it may be of more tables than those whose mapping is known without Postgres.
        if await origin.check_capture():
            await origin.install_capture()
    else:
        situation.problem = f"{situation.pair.source.name} is primary (epoch {local.epoch}) and not attached yet."
    if local.state is SwitchState.COMMITTING:
        situation.problem = (
            f"The commit of switch {local.switch_id} may have been sent; {parts.destination.store.name} must be asked."
        )
    if local.state is SwitchState.FINISHED:
        situation.phase = at_rest(finished=True)


async def refuse_behind_destination(parts: Parts) -> None:
    """Before the first request of a start: a SQLite file that is behind a Postgres which answers must not be served.

    Raises `ConfigurationError`. Says nothing where Postgres does not answer at once: SQLite alone may be served.
    """
    local = await parts.origin.store.control()
    if local is None or local.peer is None:
        return
    try:
        await parts.prepare_destination()
        await parts.destination.store.open()
        peer = await parts.destination.store.control()
    except (CutoverError, OSError, TimeoutError):
        return
    if peer is not None and local_is_old(local, peer):
        raise ConfigurationError(
            f"The SQLite file is an old copy: it is at epoch {local.epoch}, batch {local.newest_batch}; Postgres "
            f"is at epoch {peer.epoch}, batch {peer.applied_batch}.",
            hint=OLD_COPY,
        )


async def take_back(parts: Parts) -> None:
    """A promotion that was cut off before its commit was sent. Needs no Postgres (hazard 4)."""
    local = await parts.origin.store.control()
    if local is None or local.state is not SwitchState.PROMOTING:
        return
    crash_point("recovery.take_back.before")
    await parts.origin.store.release(local.but(state=SwitchState.STEADY, switch_id=None))
    crash_point("recovery.take_back.after")
    parts.situation.problem = ""
    if await parts.origin.store.check_capture():
        await parts.origin.store.install_capture()
    await record_recovery(parts, Decision.ABORT, local.switch_id, "It was cut off before its commit was sent.")
    await close_records(parts, certain=local.switch_id)


def _check_expected(parts: Parts, primary: str) -> None:
    expected = parts.settings.service.expect_primary
    if expected and expected != primary:
        raise ConfigurationError(
            f"The recorded primary is {primary}, but service.expect_primary (or HUMANONLY_STORAGE_BACKEND) says "
            f"{expected}. A setting never switches anything.",
            hint=f"Set it to {primary} or leave it out; to change the primary use `cutover promote` or `demote`.",
        )
