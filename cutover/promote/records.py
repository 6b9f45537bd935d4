"""The audit log's record of every switch gets its end, also where the process died before it could write it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from cutover.audit import read_records
from cutover.logs import get_logger
from cutover.model.control import Outcome, Phase
from cutover.model.requests import SERVICE
from cutover.promote.parts import Parts
from cutover.promote.plan import Decision, Standing

_log = get_logger("recovery")
_ENDS = ("committed", "aborted")


async def record_recovery(parts: Parts, decision: Decision | Standing, switch_id: str | None, reason: str) -> None:
    """One step of a recovery. Applications do not wait for a disk that has no room for it."""
    try:
        await parts.trail.write("recovery", SERVICE, decision=str(decision), switchId=switch_id, reason=reason)
    except OSError as error:
        _log.error(f"A recovery cannot be recorded: {error.strerror}.", decision=str(decision), reason=reason)


async def close_records(parts: Parts, *, certain: str | None = None) -> list[str]:
    """Write the missing `*.committed` and `*.aborted` records; idempotent. Returns the verbs that were committed.

    What there is no room for on the disk stays missing until the next time.

    The stores' own record of a switch decides. Raises `StoreError` if one cannot be asked.
    `certain`: a switch that is known to have been aborted, so that nobody needs to be asked; others stay open then.
    """
    try:
        return await _close_records(parts, certain)
    except OSError as error:
        _log.error(f"The end of a switch cannot be recorded: {error.strerror}.")
        return []


async def _close_records(parts: Parts, certain: str | None) -> list[str]:
    committed = []
    for record in await asyncio.to_thread(open_records, parts.trail.log.path):
        verb, told = str(record["action"]).partition(".")[0], record["metadata"]
        switch_id = str(told["switchId"])
        if certain not in (None, switch_id):
            continue
        done = certain is None and await _committed(parts, verb, switch_id)
        end = _ENDS[0] if done else _ENDS[1]
        await parts.trail.write(
            f"{verb}.{end}",
            SERVICE,
            switchId=switch_id,
            approval=told.get("approval"),
            epoch=parts.situation.pair.epoch,
            reason="The service was cut off; its recovery found how the switch had ended.",
        )
        parts.metrics.switches.labels(verb, end).inc()
        if done:
            committed.append(verb)
    return committed


def recorded(parts: Parts, action: str, **told: str) -> bool:
    """Whether the log has a record of this action that tells just this."""
    return any(
        record.get("action") == action and told.items() <= record["metadata"].items()
        for record in read_records(parts.trail.log.path)
    )


def open_records(path: Path) -> list[dict[str, Any]]:
    """`*.requested` records of switches whose end is not in the log."""
    begun: dict[str, dict[str, Any]] = {}
    for record in read_records(path):
        told = record.get("metadata")
        switch_id = told.get("switchId") if isinstance(told, dict) else None
        if not isinstance(switch_id, str):
            continue
        end = str(record.get("action")).rpartition(".")[2]
        if end == "requested":
            begun[switch_id] = record
        elif end in _ENDS:
            begun.pop(switch_id, None)
    return list(begun.values())


async def _committed(parts: Parts, verb: str, switch_id: str) -> bool:
    """By the outcome in the store that received it; `finish` has no receiver, its end is the phase."""
    if verb == "finish":
        return parts.situation.phase is Phase.FINISHED
    stores = (parts.origin.store, parts.destination.store)
    return Outcome.COMMITTED in [await store.outcome(switch_id) for store in stores]
