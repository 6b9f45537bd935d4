"""A service behind the operators' door that does as a test says: our own interface, in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any, Literal

from prometheus_client import generate_latest

from cutover.admin.operations import Actor, Json, StatementsRequest, SwitchRequest
from cutover.dialect.listing import listed
from cutover.errors import CutoverError, GatesFailed, StoreUnavailable
from cutover.metrics import Metrics
from cutover.model.control import Gate

STATUS_SHAPE: Json = {
    "phase": "shadowing",
    "primary": "sqlite",
    "shadow": "postgres",
    "epoch": 1,
    "role": "owner",
    "version": "0.1.0",
    "uptime_seconds": 12.5,
    "mirror": {
        "state": "running",
        "lag_changes": 3,
        "lag_seconds": 0.02,
        "applied_rows": 1200,
        "quarantined_rows": 0,
        "last_error": None,
    },
    "compare": {
        "drift_rows": 1,
        "rows_compared": 20_000,
        "last_full": {
            "started_at": "2026-01-31T12:00:00.000Z",
            "finished_at": "2026-01-31T12:00:01.000Z",
            "rows": 20_000,
            "drift_rows": 1,
        },
    },
    "rehearsal": {
        "statements": 12,
        "ready": 12,
        "failing": 0,
        "shadow_reads": {"match": 40, "mismatch": 0, "inconclusive": 1},
        "shadow_writes": {"match": 4, "mismatch": 0, "inconclusive": 0},
    },
    "tables": [
        {
            "name": "posts",
            "target": "public.posts",
            "rows": 20_000,
            "backfill": {"state": "done", "rows": 20_000, "total": 20_000},
            "drift": {"missing": 0, "extra": 0, "different": 1},
            "quarantined": 0,
        }
    ],
    "gates": [
        {"name": "mirror_caught_up", "ok": True, "detail": "lag 0.02 s, limit 1 s"},
        {"name": "verified", "ok": False, "detail": "1 row differs"},
    ],
}


class ScriptedOperations:
    """Implements `cutover.admin.operations.Operations`. `calls` is what was asked, `failure` what every call raises."""

    def __init__(self, metrics: Metrics) -> None:
        self.metrics = metrics
        self.calls: list[tuple[Any, ...]] = []
        self.failure: Exception | None = None
        self.refusals: list[tuple[str, str, str, str]] = []
        self.audit_failure: Exception | None = None
        self.gates = [Gate("verified", True, "20 s old, limit 1 h"), Gate("backup", True, "2.1 GB free")]
        self.failures_after: int | None = None
        self.not_ready = ""
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.in_switch = asyncio.Event()
        self.switches_done = 0
        self.feed: asyncio.Queue[Json | Exception | None] = asyncio.Queue()
        self.feeds_ended = 0
        self.verify_states: list[Json] = []
        self.drifted: list[Json] = []
        self.failing_statements = 0
        self.seen_statements = 1
        self.phase = "shadowing"

    def _say(self, *call: Any) -> None:
        self.calls.append(call)
        if self.failure is not None:
            raise self.failure

    async def status(self) -> Json:
        self._say("status")
        if self.failures_after is not None and len(self.calls) > self.failures_after:
            raise StoreUnavailable("Postgres is away.")
        return STATUS_SHAPE

    async def ready(self) -> tuple[bool, str]:
        return not self.not_ready, self.not_ready

    def metrics_text(self) -> bytes:
        return generate_latest(self.metrics.registry)

    async def refresh_metrics(self) -> None:
        self._say("refresh_metrics")
        self.metrics.mirror_lag_seconds.set(0.25)

    async def events(self) -> AsyncIterator[Json]:
        try:
            while (event := await self.feed.get()) is not None:
                if isinstance(event, Exception):
                    raise event
                yield event
        finally:
            self.feeds_ended += 1

    async def _switch(self, name: str, request: SwitchRequest, actor: Actor) -> Json:
        self._say(name, request, actor)
        gates = [{"name": gate.name, "ok": gate.ok, "detail": gate.detail} for gate in self.gates]
        failed = [gate.name for gate in self.gates if not gate.ok and gate.name not in request.override]
        if request.dry_run:
            steps = [{"name": name, "does": f"what {name} does"} for name in ("fence", "drain", "commit")]
            return {
                "phase": self.phase,
                "primary": "postgres" if self.phase == "promoted" else "sqlite",
                "epoch": 1,
                "result": "dry_run",
                "would_proceed": not failed and self.phase == {"promote": "shadowing"}.get(name, "promoted"),
                "gates": gates,
                "steps": steps,
            }
        if failed:
            raise GatesFailed(f"Gates are not passed: {', '.join(failed)}.", list(self.gates))
        self.in_switch.set()
        await self.go_on.wait()
        self.switches_done += 1
        primary = "sqlite" if name == "demote" else "postgres"
        result = {"promote": "promoted", "demote": "demoted", "finish": "finished"}[name]
        return {
            "result": result,
            "phase": "promoted" if name == "promote" else "shadowing",
            "primary": primary,
            "epoch": 2,
            "pause_seconds": 0.08,
            "gates": gates,
        }

    async def promote(self, request: SwitchRequest, actor: Actor) -> Json:
        return await self._switch("promote", request, actor)

    async def demote(self, request: SwitchRequest, actor: Actor) -> Json:
        return await self._switch("demote", request, actor)

    async def finish(self, request: SwitchRequest, actor: Actor) -> Json:
        return await self._switch("finish", request, actor)

    async def verify(self, tables: Sequence[str] | None, actor: Actor) -> Json:
        self._say("verify", tables, actor)
        return {"id": "v1", "state": "running"}

    async def verification(self) -> Json:
        self._say("verification")
        if len(self.verify_states) > 1:
            return self.verify_states.pop(0)
        return self.verify_states[0] if self.verify_states else {"id": None, "state": "none", "tables": []}

    async def drift(self, table: str | None, limit: int) -> Json:
        self._say("drift", table, limit)
        return {"drift_rows": len(self.drifted), "rows": self.drifted[:limit]}

    async def explain(self, table: str, key: Sequence[Any]) -> Json:
        self._say("explain", table, list(key))
        cell = {"value": "hi", "type": "text", "canonical": "t2:hi;"}
        if list(key) == ["nobody"]:
            column = {"name": "body", "equal": False, "primary": None, "shadow": None}
            stores = {"primary": {"store": "sqlite", "row": None}, "shadow": {"store": "postgres", "row": None}}
            told = {"kind": None, "verdict": "absent", "sentence": "Neither store has this row."}
            return {"table": table, "key": {"id": key[0]}, "columns": [column], **stores, **told}
        return {
            "table": table,
            "target": f"public.{table}",
            "key": {"id": key[0]},
            "primary": {"store": "sqlite", "row": {"body": "hi"}},
            "shadow": {"store": "postgres", "row": None},
            "columns": [{"name": "body", "equal": False, "primary": cell, "shadow": None}],
            "pending": False,
            "quarantined": None,
            "kind": "missing",
            "verdict": "drift",
            "sentence": "This is drift: the shadow does not have the row; `cutover repair` mends it.",
        }

    async def repair(self, table: str | None, dry_run: bool, actor: Actor) -> Json:
        self._say("repair", table, dry_run, actor)
        repaired = 0 if dry_run else len(self.drifted)
        return {
            "repaired": repaired,
            "remaining": len(self.drifted) - repaired,
            "dry_run": dry_run,
            "rows": self.drifted,
        }

    async def quarantine(self) -> Json:
        self._say("quarantine")
        row = {"table": "posts", "key": ["p9"], "reason": "text holds NUL", "since": "2026-01-31T12:00:00.000Z"}
        return {"quarantined_rows": 1, "rows": [row]}

    async def statements(self, wanted: StatementsRequest) -> Json:
        self._say("statements", wanted)
        rows: list[Json] = [
            {
                "id": f"{at:02}",
                "sql": f"SELECT {'*' * (at + 1)} FROM posts WHERE id = ?",
                "translation": 'SELECT * FROM "posts" WHERE id = $1',
                "status": "ready",
                "reason": "",
                "count": 7,
                "result": "none",
            }
            for at in range(self.seen_statements)
        ]
        page, following = listed(rows, wanted)
        counts = {"statements": 1, "ready": 1 - self.failing_statements, "failing": self.failing_statements}
        return {**counts, "rows": page, "next": following}

    async def forget(self, actor: Actor) -> Json:
        self._say("forget", actor)
        return {"forgotten": 2}

    async def rehearse(self, statements: Sequence[str], behind: Sequence[str] = ()) -> Json:
        self._say("rehearse", list(statements), list(behind))
        rows = [
            {
                "sql": sql,
                "status": "failing" if "bad" in sql else "ready",
                "reason": None,
                "translation": sql,
                "shadow_read": {"result": "mismatch", "reason": "Rows."} if "odd" in sql else None,
            }
            for sql in statements
        ]
        failing, differing = (sum(word in sql for sql in statements) for word in ("bad", "odd"))
        return {
            "statements": len(rows),
            "ready": len(rows) - failing,
            "failing": failing,
            "invalid": 0,
            "skipped": 0,
            "differing": differing,
            "rows": rows,
        }

    async def mirror(self, action: Literal["pause", "resume"], actor: Actor) -> Json:
        self._say("mirror", action, actor)
        return {**STATUS_SHAPE["mirror"], "state": "paused" if action == "pause" else "running"}

    async def backup(self, path: str | None, actor: Actor) -> Json:
        self._say("backup", path, actor)
        return {"path": path or "/var/b.db", "sha256": "ab" * 32, "bytes": 4096, "restore": "cp /var/b.db app.db"}

    async def backfill(self, tables: Sequence[str] | None, actor: Actor, *, new_target: bool = False) -> Json:
        self._say("backfill new target" if new_target else "backfill", tables, actor)
        return {"tables": list(tables or ["posts"])}

    async def refused(self, action: str, actor: Actor, reason: str, approval: str) -> None:
        self.refusals.append((action, actor.name, reason, approval))
        if self.audit_failure is not None:
            raise self.audit_failure

    async def audit(self, limit: int) -> Json:
        self._say("audit", limit)
        record = {
            "sequence": 1,
            "recordId": "r1",
            "previousHash": "0" * 64,
            "actorId": "operator",
            "action": "promote.requested",
            "metadata": {},
            "createdAt": "2026-01-31T12:00:00.000Z",
            "hash": "1" * 64,
        }
        return {"records": [record]}

    async def report(self) -> Json:
        self._say("report")
        return {
            "generated_at": "2026-01-31T12:00:00.000Z",
            "status": STATUS_SHAPE,
            "switches": [{"direction": "promote", "outcome": "committed", "pause_seconds": 0.08}],
            "audit": {"records": 1, "head": "1" * 64},
        }

    def fail(self, error: CutoverError | Exception) -> None:
        """Every call from now on raises `error`."""
        self.failure = error
