"""The evidence for a change ticket: what was compared, switched and overridden, in one JSON value."""

from __future__ import annotations

import asyncio
from typing import Any

from cutover import clock
from cutover.audit import read_records, verify_chain
from cutover.promote.parts import Parts
from cutover.promote.switch import Switch

_VERBS = ("promote", "demote", "finish")
_TOLD = ("requested", "committed", "aborted", "refused")


async def build_report(parts: Parts, switch: Switch, status: dict[str, Any]) -> dict[str, Any]:
    """`{"generated_at", "status", "gates", "verification", "tables", "switches", "overrides", "audit"}`."""
    path = parts.trail.log.path
    records = await asyncio.to_thread(read_records, path)
    check = await asyncio.to_thread(verify_chain, path)
    return {
        "generated_at": clock.iso(),
        "version": status["version"],
        "position": switch.position(),
        "gates": status["gates"],
        "verification": parts.comparator.verification_json(),
        "tables": status["tables"],
        "fingerprints": await _fingerprints(parts),
        "compare": status["compare"],
        "rehearsal": status["rehearsal"],
        "switches": [record for record in records if _is_switch(record["action"])],
        "overrides": [record for record in records if record["action"] == "override"],
        "recoveries": [record for record in records if record["action"].startswith("recovery")],
        "audit": {
            "ok": check.ok,
            "problem": check.problem,
            "records": check.records,
            "head_sequence": check.head_sequence,
            "head_hash": check.head_hash,
        },
    }


def _is_switch(action: str) -> bool:
    verb, _, told = action.rpartition(".")
    return verb in _VERBS and told in _TOLD


async def _fingerprints(parts: Parts) -> dict[str, str]:
    pair = parts.situation.pair
    if not parts.situation.attached:
        return {}
    return {store.name: await store.schema_fingerprint() for store in (pair.source, pair.target)}
