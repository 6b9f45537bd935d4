"""Row counts that must agree: the check that does not trust ranges."""

from __future__ import annotations

import asyncio

from cutover.compare.states import States
from cutover.model.table import Table

_PENDING_MAX = 50_000
_FETCH = 1000


def uncountable(states: States, table: Table) -> str | None:
    """Why the row counts of both sides cannot be compared in these states; None if they can."""
    if states.pending.count > _PENDING_MAX:
        return f"more than {_PENDING_MAX:,} changes are in flight"
    return states.unready(table.name)


async def count_problem(states: States, table: Table, known: int) -> str | None:
    """What is wrong with the row counts of both sides, None if nothing is, or if they are `uncountable`.

    `states` are opened with `quarantine`. `known` is how many more rows the shadow lacks, net, by known drift. Exact
    also under load: rows in flight are counted one by one on both sides.
    """
    if uncountable(states, table):
        return None
    primary, shadow = await asyncio.gather(states.primary.count(table), states.shadow.count(table))
    if primary == shadow and not states.pending.count:
        return None
    ahead = await _ahead(states, table)
    away = list(states.quarantined.get(table.name, ()))
    in_flight = await states.in_flight(table, away)
    unexplained = primary - shadow - ahead - (len(away) - len(in_flight)) - known
    if not unexplained:
        return None
    return (
        f"{table.name} has {primary} rows on the primary and {shadow} on the shadow; {unexplained} of the difference "
        f"is neither in flight ({ahead}), nor quarantined ({len(away)}), nor known drift ({known})."
    )


async def _ahead(states: States, table: Table) -> int:
    """How many rows more the primary has because of changes in flight."""
    ahead = 0
    async for changes in states.primary.changed(table, _FETCH):
        there = await states.shadow.rows(table, [key for key, _ in changes])
        ahead += sum(row is not None for _, row in changes) - len(there)
    return ahead
