"""What operators see of the service at one moment: the status, the gates, and gauges that are computed when asked."""

from __future__ import annotations

import asyncio
import math
from typing import Any

from cutover import __version__, clock
from cutover.errors import CutoverError
from cutover.model.control import Gate, Phase
from cutover.promote.counting import RowCounts
from cutover.promote.facts import lag_of
from cutover.promote.parts import Parts
from cutover.promote.steps import Direction
from cutover.promote.switch import Switch, gate_json

Json = dict[str, Any]

_GATES_AGE = 5.0
"""Seconds for which the status shows gates evaluated before: they cost queries on both stores."""
_ANSWERS_WITHIN = 3.0
"""Seconds in which a primary that takes writes answers."""
_INVARIANTS_AGE = 60.0
"""The same for invariants, which read whole tables. A switch asks afresh."""
_KINDS = ("missing", "extra", "different", "type_changed")


class Overview:
    """Reads, and changes nothing."""

    def __init__(self, parts: Parts, switch: Switch) -> None:
        self.parts = parts
        self.switch = switch
        self.started = clock.monotonic()
        self._gates: list[Gate] = []
        self._gates_at = -_GATES_AGE
        self._gates_saw: tuple[object, ...] = ()
        self._gates_lock = asyncio.Lock()
        self._quarantined: dict[str, int] = {}
        self._lag = (0, 0.0)
        """When the primary last answered: one that is silent now may be as far behind, and is not level."""
        self._rows = RowCounts()

    def gates_changed(self) -> None:
        """A switch came to its end: have them evaluated anew."""
        self._gates_at = -_GATES_AGE

    async def status(self) -> Json:
        """`GET /v1/status`."""
        parts, situation = self.parts, self.parts.situation
        mirror = await self.mirror_status()
        gates = await self._current_gates()
        summary = parts.statements.summary()
        return {
            "phase": str(situation.phase),
            "primary": situation.pair.source.name,
            "shadow": situation.pair.target.name,
            "epoch": situation.pair.epoch,
            "role": parts.settings.service.role,
            "version": __version__,
            "uptime_seconds": round(clock.monotonic() - self.started, 1),
            "problem": situation.problem or None,
            "attached": situation.attached,
            "attach_error": situation.attach_error or None,
            "stores": {
                "sqlite": parts.origin.store.describe(),
                "postgres": parts.destination.store.describe(),
            },
            "mirror": mirror,
            "backfill": self._backfill_status(),
            "compare": parts.comparator.status(),
            "rehearsal": {
                "statements": summary["statements"],
                "ready": summary["ready"],
                "failing": summary["failing"],
                "shadow_reads": parts.statements.shadow_reads(),
                "shadow_writes": parts.statements.shadow_writes(),
            },
            "front": {"held_writes": parts.door.held, "open_transactions": parts.door.open_transactions},
            "tables": await self._tables(),
            "gates": [gate_json(gate) for gate in gates],
        }

    def _backfill_status(self) -> Json:
        """Of all tables together. Seconds remaining are null while nothing is known of the speed."""
        tables = self.parts.situation.tables
        progress = [self.parts.mirror.progress(table.name) for table in tables]
        left, rate = self.parts.mirror.copying()
        return {
            "tables": len(progress),
            "tables_done": sum(each.state == "done" for each in progress),
            "rows": sum(each.rows for each in progress),
            "total": sum(each.total for each in progress),
            "rows_per_second": round(rate if left else 0.0, 1),
            "remaining_seconds": 0.0 if not left else round(left / rate, 1) if rate else None,
        }

    async def mirror_status(self) -> Json:
        """Of the mirror alone."""
        parts, mirror = self.parts, self.parts.mirror
        error = mirror.last_error or parts.situation.attach_error or None
        try:
            async with asyncio.timeout(2.0):
                finished = parts.situation.phase is Phase.FINISHED  # there is no change log any more
                self._lag = (0, 0.0) if finished else await lag_of(parts)
                if parts.situation.attached and parts.situation.phase is not Phase.FINISHED:
                    await self._count_quarantine()
        except (CutoverError, OSError, TimeoutError) as trouble:
            error = error or str(trouble) or "the primary did not answer in time"
        changes, seconds = self._lag
        state = mirror.state
        if parts.situation.phase is not Phase.FINISHED and (mirror.held or not parts.situation.attached):
            state = "paused" if mirror.held else "retrying"
        return {
            "state": state,
            "lag_changes": changes,
            "lag_seconds": round(seconds, 3),
            "applied_rows": mirror.applied_rows,
            "quarantined_rows": sum(self._quarantined.values()),
            "last_error": error,
            "last": mirror.last_sentence,
        }

    async def _count_quarantine(self) -> None:
        counts = {table.name: 0 for table in self.parts.situation.tables}
        for row in await self.parts.situation.pair.target.quarantined():
            counts[row.table] = counts.get(row.table, 0) + 1
        self._quarantined = counts

    async def _tables(self) -> list[Json]:
        found = []
        rows = await self._rows.of(self.parts.situation.pair.source, self.parts.situation.tables)
        counts = self.parts.comparator.drift_counts()
        for table in self.parts.situation.tables:
            progress = self.parts.mirror.progress(table.name)
            drift = counts.get(table.name, {})
            found.append(
                {
                    "name": table.name,
                    "target": f"{table.target_schema}.{table.target}",
                    "state": "mirrored",
                    "reason": None,
                    "rows": rows.get(table.name, progress.rows),
                    "backfill": {"state": progress.state, "rows": progress.rows, "total": progress.total},
                    "drift": {kind: drift.get(kind, 0) for kind in _KINDS},
                    "quarantined": self._quarantined.get(table.name, 0),
                }
            )
        for name, reason in sorted(self.parts.situation.stopped.items()):
            found.append(_stopped(name, reason))
        return found

    async def _current_gates(self) -> list[Gate]:
        """Gates of the next switch: promotion, or demotion while promoted. Evaluated at most every few seconds."""
        if self.parts.situation.phase is Phase.FINISHED:
            return []
        if self.parts.situation.switching and self._gates:
            return self._gates
        async with self._gates_lock:
            seen = self._gates_depend_on()
            if clock.monotonic() - self._gates_at >= _GATES_AGE or seen != self._gates_saw:
                self._gates = await self.switch.gates(self._next_direction(), max_age=_INVARIANTS_AGE)
                self._gates_at, self._gates_saw = clock.monotonic(), seen
        return self._gates

    def _gates_depend_on(self) -> tuple[object, ...]:
        """What the status shows beside the gates: they must not contradict it for seconds."""
        parts, situation = self.parts, self.parts.situation
        return (
            situation.phase,
            situation.attached,
            situation.pair.epoch,
            situation.blocking,
            parts.mirror.catching_up,
            parts.mirror.state,
            parts.comparator.drift_rows,
            parts.comparator.last_full,
        )

    def _next_direction(self) -> Direction:
        return "demote" if self.parts.situation.pair.primary is self.parts.destination else "promote"

    async def ready(self) -> tuple[bool, str]:
        """Whether writes can be taken, and if not, why."""
        situation = self.parts.situation
        if situation.problem:
            return False, situation.problem
        name = situation.pair.source.name
        try:
            async with asyncio.timeout(_ANSWERS_WITHIN):
                await situation.pair.source.demand_room()
        except (CutoverError, OSError, TimeoutError) as error:
            return False, f"{name}, the primary, takes no writes: {str(error) or 'it does not answer in time'}"
        return True, f"{name} takes writes, epoch {situation.pair.epoch}"

    async def refresh_metrics(self) -> None:
        """Compute the gauges that are computed when asked."""
        metrics, situation = self.parts.metrics, self.parts.situation
        status = await self.mirror_status()
        metrics.mirror_lag_changes.set(status["lag_changes"])
        metrics.mirror_lag_seconds.set(status["lag_seconds"])
        metrics.mirror_up.set(status["state"] == "running" and self.parts.mirror.last_error is None)
        backfill = self._backfill_status()
        metrics.backfill_rate.set(backfill["rows_per_second"])
        metrics.backfill_remaining.set(math.nan if (left := backfill["remaining_seconds"]) is None else left)
        for name, rows in self._quarantined.items():
            metrics.quarantined_rows.labels(name).set(rows)
        for member in (self.parts.origin, self.parts.destination):
            metrics.primary.labels(member.store.name).set(member is situation.pair.primary)
        for phase in Phase:
            metrics.phase.labels(str(phase)).set(phase is situation.phase)
        metrics.epoch.set(situation.pair.epoch)
        self.parts.comparator.refresh_metrics()
        await self._current_gates()


def _stopped(name: str, reason: str) -> Json:
    """A table that is not mirrored, shaped like the others."""
    return {
        "name": name,
        "target": "",
        "state": "stopped",
        "reason": reason,
        "rows": 0,
        "backfill": {"state": "waiting", "rows": 0, "total": 0, "rows_per_second": None, "remaining_seconds": None},
        "drift": dict.fromkeys(_KINDS, 0),
        "quarantined": 0,
    }
