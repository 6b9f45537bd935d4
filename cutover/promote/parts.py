"""What the switch, the recovery and the operators' door work on: the parts of a running service, and its situation.

`origin` is the store that the application came from, `destination` the one it moves to. They keep these names for
ever; which of them is primary is the situation's `pair`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from cutover.audit import AuditLog
from cutover.compare.comparator import Comparator
from cutover.dialect.readiness import StatementRegistry
from cutover.errors import CutoverError
from cutover.logs import get_logger
from cutover.metrics import Metrics
from cutover.model.control import Phase
from cutover.model.requests import Actor
from cutover.model.table import Tables
from cutover.settings import Settings
from cutover.shadow.mirror import Mirror
from cutover.stores.base import Member, Store
from cutover.stores.pair import Pair
from cutover.write_through import WriteThrough

_log = get_logger("promote")


@dataclass
class Situation:
    """Where the migration stands in this process. The durable truth is in the stores' control rows."""

    pair: Pair
    phase: Phase = Phase.IDLE
    tables: Tables = ()
    attached: bool = False
    """Both stores are open, agree with each other, and the mirror may run."""
    problem: str = ""
    """Why writes cannot be taken now, in one sentence; empty if they can."""
    attach_error: str = ""
    """Why the stores are not attached to each other, in one sentence."""
    blocking: tuple[str, ...] = ()
    """Why the mapping had to leave tables or columns out, one sentence each."""
    generation: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set at every change of phase or roles; whoever waits clears it."""

    def move(self, phase: Phase) -> None:
        """Enter a phase and tell who waits."""
        if phase is not self.phase:
            _log.info(f"The phase is now {phase}, it was {self.phase}.", phase=phase)
            self.phase = phase
        self.changed.set()


class Trail:
    """The audit log together with its anchors in both stores."""

    def __init__(self, log: AuditLog, metrics: Metrics, stores: tuple[Store, ...]) -> None:
        self.log = log
        self._metrics = metrics
        self._stores = stores
        self._order = asyncio.Lock()

    async def write(self, action: str, actor: Actor, **metadata: Any) -> dict[str, Any]:  # noqa: ANN401  # JSON values
        """Append a record durably, then anchor it. A store that is away is anchored by the next record."""
        async with self._order:
            record = await asyncio.to_thread(self.log.append, action, actor.name, metadata)
            self._metrics.audit_records.inc()
            for store in self._stores:
                try:
                    async with asyncio.timeout(2.0):
                        await store.anchor(record["sequence"], record["hash"])
                except (CutoverError, TimeoutError, OSError) as error:
                    _log.info(f"The audit log's head could not be anchored in {store.name}: {error}")
        _log.info(f"Audit: {action}.", actor=actor.name, sequence=record["sequence"])
        return record


class MapTables(Protocol):
    """Maps the tables as both schemas are now."""

    async def __call__(self, *, create: bool) -> Tables:
        """The mapping, which both stores then have."""
        ...


@dataclass
class Parts:
    """Everything that a switch touches. Built once, by the composition root."""

    settings: Settings
    metrics: Metrics
    origin: Member
    destination: Member
    situation: Situation
    door: WriteThrough
    mirror: Mirror
    comparator: Comparator
    statements: StatementRegistry
    trail: Trail
    prepare_destination: Callable[[], Awaitable[None]]
    """Start what the destination needs (the embedded server). Idempotent. Raises `StoreUnavailable`."""
    map_tables: MapTables
    """Read both schemas, with `create` make missing target tables, and give both stores the mapping."""
    high_water: Path
    backups: Path
    switching: asyncio.Lock = field(default_factory=asyncio.Lock)

    def member(self, name: str) -> Member:
        """The member whose store has this name."""
        return self.origin if self.origin.store.name == name else self.destination
