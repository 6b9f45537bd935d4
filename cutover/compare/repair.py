"""Making the shadow equal to the primary where it drifted. Through the single applier, never around it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from cutover import clock
from cutover.compare.jsonable import json_drift
from cutover.compare.judge import KEYS_AT_ONCE
from cutover.compare.scan import Tools
from cutover.model.table import Table

_LISTED = 1000
"""Rows named in the answer; the counts are of all."""

Rescan = Callable[[Table], Awaitable[object]]
"""Scan one table again, to bring drifts into the ledger that it had no room for."""


async def repair(tools: Tools, tables: Mapping[str, Table], rescan: Rescan, *, dry_run: bool) -> dict[str, Any]:
    """Repair every drift known of these tables, judge it again, and say what is left.

    Raises `StoreUnavailable`, `StaleApplier`.
    """
    rows = [
        json_drift(tables[name], drift, clock.iso(drift.first_seen))
        for name in tables
        for drift in tools.ledger.drifts(name, _LISTED)
    ][:_LISTED]
    repaired = 0
    if not dry_run:
        for table in tables.values():
            repaired += await _repair_table(tools, table, rescan)
    remaining = sum(tools.ledger.total(name) for name in tables)
    return {"repaired": repaired, "remaining": remaining, "dry_run": dry_run, "rows": rows}


async def _repair_table(tools: Tools, table: Table, rescan: Rescan) -> int:
    """In turns: as many as the ledger holds, then a scan for those it only counts, until a turn mends nothing."""
    repaired = 0
    while tools.ledger.total(table.name):
        mended = await _repair_held(tools, table)
        repaired += mended
        if not tools.ledger.beyond(table.name) or not mended:
            break
        await rescan(table)
    return repaired


async def _repair_held(tools: Tools, table: Table) -> int:
    keys = tools.ledger.keys(table.name)
    mended = 0
    for start in range(0, len(keys), KEYS_AT_ONCE):
        batch = keys[start : start + KEYS_AT_ONCE]
        await tools.applying.reapply(table, batch)
        verdicts = await tools.judge.settle(table, batch, tools.settings.settle_timeout)
        settled = verdicts.settled()
        tools.ledger.heal(table.name, settled)  # the read-back may have seen it, and healed it, before
        mended += len(settled)
        for drift in verdicts.drifts:
            tools.ledger.record(drift)
    return mended
