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

from cutover.audit import REPAIR_LOG, AuditLog, verify_chain
from cutover.compare.comparator import Comparator
from cutover.dialect.readiness import StatementRegistry
from cutover.errors import AuditBroken, CutoverError
from cutover.logs import get_logger
from cutover.metrics import Metrics
from cutover.model.control import Control, Phase
from cutover.model.requests import Actor
from cutover.model.table import Tables
from cutover.promote.highwater import HighWater, write_high_water
from cutover.settings import Settings
from cutover.shadow.mirror import Mirror
from cutover.stores.base import Member, Store
from cutover.stores.pair import Pair
from cutover.write_through import WriteThrough

_log = get_logger("promote")

_ANCHOR_PATIENCE = 2.0
"""Seconds that a record waits for a store which answered the last time."""


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
    stopped: dict[str, str] = field(default_factory=dict)
    """Tables of the primary that are not mirrored though they should be, and why."""
    generation: int = 0
    switching: bool = False
    """An operator's switch is under way."""
    returned: str = ""
    """The file with what only a Postgres has that was given up by force, came back, and waits for a word."""
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set at every change of phase or roles; whoever waits clears it."""

    def move(self, phase: Phase) -> None:
        """Enter a phase and tell who waits."""
        if phase is not self.phase:
            _log.info(f"The phase is now {phase}, it was {self.phase}.", phase=phase)
            self.phase = phase
        self.changed.set()

    def detach(self, *, problem: str = "", error: str = "") -> None:
        """Have the recovery attach the stores anew: `problem` says why writes cannot be taken, `error` why not."""
        self.attached = False
        self.problem = problem or self.problem
        self.attach_error = error or self.attach_error
        self.changed.set()


class _Anchor:
    """Keeps a store's anchor at the head of the log. A store that is silent is waited for once, then asked aside."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._head = self._anchored = (0, "")
        self._following: asyncio.Task[None] | None = None
        self._answers = True

    async def move(self, sequence: int, digest: str) -> None:
        """Anchor this record. Returns when that is done, failed, or is left to be done without the caller."""
        self._head = (sequence, digest)
        if self._following is None or self._following.done():
            self._following = asyncio.create_task(self._follow())
        if self._answers:
            done, _ = await asyncio.wait({self._following}, timeout=_ANCHOR_PATIENCE)
            self._answers = self._answers and bool(done)

    async def _follow(self) -> None:
        try:
            while (head := self._head) != self._anchored:
                await self._store.anchor(*head)
                self._anchored, self._answers = head, True
        except (CutoverError, TimeoutError, OSError) as error:
            self._answers = False
            _log.info(f"The audit log's head could not be anchored in {self._store.name}: {error}")


class Trail:
    """The audit log together with its anchors in both stores."""

    def __init__(self, log: AuditLog, metrics: Metrics, stores: tuple[Store, ...]) -> None:
        self.log = log
        self._metrics = metrics
        self._anchors = [_Anchor(store) for store in stores]
        self._order = asyncio.Lock()

    async def demand(self, row: Control) -> None:
        """Raises `AuditBroken` unless the record that this control row remembers is in the log."""
        async with self._order:
            check = await asyncio.to_thread(verify_chain, self.log.path, [(row.audit_sequence, row.audit_hash)])
        if not check.ok:
            raise AuditBroken(f"The audit log {self.log.path} does not hold: {check.problem}.", hint=REPAIR_LOG)

    async def write(self, action: str, actor: Actor, **metadata: Any) -> dict[str, Any]:  # noqa: ANN401  # JSON values
        """Append a record durably, then anchor it. A store that is away is anchored by the next record."""
        async with self._order:
            record = await asyncio.to_thread(self.log.append, action, actor.name, metadata)
            self._metrics.audit_records.inc()
            await asyncio.gather(*(anchor.move(record["sequence"], record["hash"]) for anchor in self._anchors))
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
    uncarried: Callable[[], Awaitable[list[str]]]
    """What applications changed in the schema through the front door and the shadow does not have yet, by name."""
    high_water: Path
    backups: Path
    switching: asyncio.Lock = field(default_factory=asyncio.Lock)

    def lost_writes(self, epoch: int) -> Path:
        """Where the rows are saved that only a primary of this epoch had, which was given up by force."""
        return self.high_water.with_name(f"lost-writes-epoch-{epoch}.jsonl")

    async def note_high_water(self, row: Control, batch: int | None = None) -> None:
        """Keep the mark at this row's epoch and batch. A disk that is full keeps it behind, and stops nobody."""
        mark = HighWater(row.pair_id, row.epoch, row.trimmed_batch if batch is None else batch)
        try:
            await asyncio.to_thread(write_high_water, self.high_water, mark)
        except OSError as error:
            _log.error(f"The high-water mark {self.high_water} cannot be written: {error.strerror}.")

    def pair_of(self, row: Control) -> Pair:
        """Who is who by this control row."""
        primary = self.member(row.primary)
        return Pair(primary, self.destination if primary is self.origin else self.origin, row.epoch)

    def member(self, name: str) -> Member:
        """The member whose store has this name."""
        return self.origin if self.origin.store.name == name else self.destination
