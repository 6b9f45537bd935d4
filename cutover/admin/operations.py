"""What the operators' door can ask of the service. Implemented by the composition root's `Operations`.

Every method returns JSON-ready values, shaped as `docs/api.md` says, and raises `CutoverError`s.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, Literal, Protocol

from cutover.model.requests import Actor, Role, StatementsRequest, SwitchRequest

__all__ = ["Actor", "Json", "Operations", "Role", "StatementsRequest", "SwitchRequest"]

Json = dict[str, Any]


class Operations(Protocol):
    """The service as operators see it."""

    async def status(self) -> Json:
        """`GET /v1/status`."""
        ...

    async def ready(self) -> tuple[bool, str]:
        """Whether writes can be taken, and if not, why."""
        ...

    def metrics_text(self) -> bytes:
        """Prometheus exposition. Call `refresh_metrics` first."""
        ...

    async def refresh_metrics(self) -> None:
        """Compute the gauges that are computed when asked (lag, gates, oldest drift)."""
        ...

    def events(self) -> AsyncIterator[Json]:
        """Each item `{"event": name, "data": {...}}`: status once a second and every state change. Ends at shutdown."""
        ...

    async def promote(self, request: SwitchRequest, actor: Actor) -> Json:
        """Synchronous. Raises `GatesFailed`, `SwitchRefused`, `SwitchAborted`."""
        ...

    async def demote(self, request: SwitchRequest, actor: Actor) -> Json:
        """The way back."""
        ...

    async def finish(self, request: SwitchRequest, actor: Actor) -> Json:
        """End the migration."""
        ...

    async def verify(self, tables: Sequence[str] | None, actor: Actor) -> Json:
        """Start a full verification: `{"id", "state": "running"}`. One at a time; a running one is returned."""
        ...

    async def verification(self) -> Json:
        """Progress and result of the latest."""
        ...

    async def drift(self, table: str | None, limit: int) -> Json:
        """`{"drift_rows", "rows": [{"table", "key", "kind", "columns", "primary", "shadow", "first_seen"}]}`."""
        ...

    async def explain(self, table: str, key: Sequence[Any]) -> Json:
        """One row on both sides."""
        ...

    async def repair(self, table: str | None, dry_run: bool, actor: Actor) -> Json:
        """`{"repaired", "remaining", "dry_run", "rows": [...]}`."""
        ...

    async def quarantine(self) -> Json:
        """`{"quarantined_rows", "rows": [{"table", "key", "reason", "since"}]}`."""
        ...

    async def statements(self, wanted: StatementsRequest) -> Json:
        """`{"statements", "ready", "failing", "rows": [{"sql", "status", "reason", "count", ...}], "next"}`."""
        ...

    async def mirror(self, action: Literal["pause", "resume"], actor: Actor) -> Json:
        """The mirror's section of the status."""
        ...

    async def rehearse(self, statements: Sequence[str], behind: Sequence[str] = ()) -> Json:
        """`{"statements", "ready", "failing", "differing", "rows": [{"sql", "status", "shadow_read", ...}]}`."""
        ...

    async def forget(self, actor: Actor) -> Json:
        """`{"forgotten"}`."""
        ...

    async def backup(self, path: str | None, actor: Actor) -> Json:
        """`{"path", "sha256", "bytes", "restore"}`."""
        ...

    async def backfill(self, tables: Sequence[str] | None, actor: Actor, *, new_target: bool = False) -> Json:
        """Copy these tables (None: all) again; `{"tables": [...]}`. `new_target`: to a Postgres never seen before."""
        ...

    async def refused(self, action: str, actor: Actor, reason: str, approval: str) -> None:
        """Record that this actor's role did not allow `action` (`promote`, `mirror.pause`); `reason` is what was told.

        `approval` is the reference that came with the request, or empty.
        """
        ...

    async def audit(self, limit: int) -> Json:
        """`{"records": [...]}`, newest last."""
        ...

    async def report(self) -> Json:
        """Evidence for a change ticket."""
        ...
