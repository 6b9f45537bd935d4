"""The evidence for a change ticket: what was compared, switched and overridden, in one JSON value."""

from __future__ import annotations

import asyncio
from typing import Any

from cutover import clock
from cutover.audit import read_records, verify_chain
from cutover.errors import CutoverError
from cutover.model.control import Control, Phase, columns_of
from cutover.promote.parts import Parts
from cutover.promote.switch import Switch

_VERBS = ("promote", "demote", "finish")
_TOLD = ("requested", "committed", "aborted", "refused")


async def build_report(parts: Parts, switch: Switch, status: dict[str, Any]) -> dict[str, Any]:
    """What was compared, switched, overridden and backed up, who says so, and whether the record of it is whole."""
    path = parts.trail.log.path
    controls = await _controls(parts)
    anchors = [(row.audit_sequence, row.audit_hash) for row in controls.values()]
    records = await asyncio.to_thread(read_records, path)
    check = await asyncio.to_thread(verify_chain, path, anchors)
    return {
        "generated_at": clock.iso(),
        "version": status["version"],
        "position": switch.position(),
        "controls": {name: columns_of(row) for name, row in controls.items()},
        "gates": status["gates"],
        "verification": parts.comparator.verification_json(),
        "tables": status["tables"],
        "fingerprints": await _fingerprints(parts),
        "compare": status["compare"],
        "rehearsal": status["rehearsal"],
        "switches": [record for record in records if _is_switch(record["action"])],
        "overrides": [record for record in records if record["action"] == "override"],
        "recoveries": [record for record in records if record["action"].startswith("recovery")],
        "smoke": [record for record in records if record["action"] == "smoke"],
        "backups": [record for record in records if record["action"].partition(".")[0] == "backup"],
        "audit": {
            "ok": check.ok,
            "problem": check.problem,
            "records": check.records,
            "head_sequence": check.head_sequence,
            "head_hash": check.head_hash,
            "anchored_in": sorted(controls),
        },
    }


def _is_switch(action: str) -> bool:
    verb, _, told = action.rpartition(".")
    return verb in _VERBS and told in _TOLD


async def _controls(parts: Parts) -> dict[str, Control]:
    """The control rows that can be read now, by store."""
    found: dict[str, Control] = {}
    for store in (parts.origin.store, parts.destination.store):
        try:
            row = await store.control()
        except (CutoverError, OSError, TimeoutError):
            continue
        if row is not None:
            found[store.name] = row
    return found


async def _fingerprints(parts: Parts) -> dict[str, str]:
    pair = parts.situation.pair
    if not parts.situation.attached or parts.situation.phase is Phase.FINISHED:
        return {}  # what they go by is gone with the migration
    return {store.name: await store.schema_fingerprint() for store in (pair.source, pair.target)}
