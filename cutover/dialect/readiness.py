"""Which of the statements that applications send would run on Postgres: each is translated, and prepared there."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import structlog

from cutover.dialect.asked import counted_rows, rehearse_texts
from cutover.dialect.executor import PostgresExecutor
from cutover.dialect.rehearsal import Rehearsed
from cutover.dialect.shadow_reads import ShadowReads
from cutover.dialect.shadow_writes import ShadowWrites
from cutover.errors import CutoverError, StoreUnavailable
from cutover.metrics import Metrics
from cutover.model.statement import Statement
from cutover.schema.sqltext import StatementKind, classify

Status = Literal["unseen", "ready", "refused", "failing", "invalid"]
"""unseen: not rehearsed yet. refused: no translation. failing: Postgres refuses the translation.
invalid: SQLite refuses it as well, so nothing is lost by the switch."""

_log = structlog.get_logger(__name__)
_KINDS = (StatementKind.READ, StatementKind.WRITE)
_PAUSE = 0.2
_COMBINATIONS = 64
"""Combinations of classes of arguments that one text is rehearsed with."""
_NO_VERDICTS = {"match": 0, "mismatch": 0, "inconclusive": 0, "differing": 0}
_WORST_FIRST: tuple[Status, ...] = ("failing", "refused", "ready", "invalid")

Classes = tuple[object, ...]
"""Of the arguments of one execution; a name stands before the class of what was given by name."""


@dataclass(slots=True)
class _Entry:
    """One distinct text."""

    sql: str
    writes: bool = False
    sample: float = 0.0
    """Share of its executions that are replayed."""
    count: int = 0
    status: Status = "unseen"
    translation: str | None = None
    reason: str | None = None
    samples: dict[Classes, Statement | None] = field(default_factory=dict)
    """The statement with each combination of classes of arguments that it was sent with; no data is kept."""
    generation: int = 0
    """The schema it was rehearsed against."""
    unrehearsed: int = 0
    """Executions with combinations of classes that came after the last one that is rehearsed."""


def _classes(statement: Statement) -> Classes:
    """What one execution was sent with: a statement that is ready for numbers may not be for text."""
    if not statement.named:
        return tuple(map(type, statement.args))
    named = [part for name, value in statement.named for part in (name, type(value))]
    return (*map(type, statement.args), *named)


def _blank(statement: Statement) -> Statement | None:
    """The statement with arguments that say nothing but what class they are of; None if it has none."""
    if not statement.args and not statement.named:
        return None
    args = tuple(type(value)() if value is not None else None for value in statement.args)
    named = tuple((name, type(value)() if value is not None else None) for name, value in statement.named)
    return Statement(statement.sql, args, named)


class StatementRegistry:
    """Remembers the distinct texts of reads and writes, and rehearses each once a schema."""

    def __init__(
        self,
        metrics: Metrics,
        *,
        limit: int = 10_000,
        reads: ShadowReads | None = None,
        writes: ShadowWrites | None = None,
    ) -> None:
        """`reads`, `writes`: make some of them once more on both stores, and the first of each text.

        `limit`: texts that are remembered. Further ones are only counted; `summary` tells how many."""
        self.reads = reads
        self.writes = writes
        self._metrics = metrics
        self._limit = limit
        self._entries: dict[str, _Entry] = {}
        self._beyond = 0
        self._new = asyncio.Event()
        self._executor: Callable[[], PostgresExecutor | None] = lambda: None
        self._turn = asyncio.Lock()

    def seen(self, statement: Statement) -> None:
        """Note one execution of a statement. Nearly free for a text that is known."""
        entry = self._entries.get(statement.sql)
        if entry is None:
            entry = self._add(statement)
            if entry is None:
                return
        entry.count += 1
        if entry.sample and (entry.count == 1 or random.random() < entry.sample):  # noqa: S311  # no secret
            self._offer(entry, statement)
        if (statement.args or statement.named) and _classes(statement) not in entry.samples:
            self._met_otherwise(entry, statement)

    def _offer(self, entry: _Entry, statement: Statement) -> None:
        shadow = self.writes if entry.writes else self.reads
        if shadow is not None:
            shadow.offer(statement)

    def _met_otherwise(self, entry: _Entry, statement: Statement) -> None:
        """It came with arguments of classes that it was not rehearsed with, so what is known of it does not hold."""
        if len(entry.samples) < _COMBINATIONS:
            entry.samples[_classes(statement)] = _blank(statement)
            entry.status, entry.generation = "unseen", 0
            self._new.set()
        else:
            entry.unrehearsed += 1

    def _add(self, statement: Statement) -> _Entry | None:
        sql = statement.sql
        kind = classify(sql)
        if kind not in _KINDS:
            return None
        if len(self._entries) >= self._limit:
            self._beyond += 1
            return None
        writes = kind is StatementKind.WRITE
        shadow = self.writes if writes else self.reads
        sample = shadow.sample if shadow is not None else 0.0
        entry = self._entries[sql] = _Entry(sql, writes, sample, samples={_classes(statement): _blank(statement)})
        self._new.set()
        return entry

    async def run(self, executor: Callable[[], PostgresExecutor | None]) -> None:
        """Rehearse what is new while `executor` gives one (None: Postgres is away or primary). Runs until cancelled."""
        self._executor = executor
        while True:
            await self._new.wait()
            self._new.clear()
            if not await self.rehearse():
                self._new.set()
            await asyncio.sleep(_PAUSE)

    async def rehearse(self) -> bool:
        """Rehearse what has not been against today's schema. Whether that could be done; it changes no data."""
        async with self._turn:
            executor = self._executor()
            if executor is None:
                return not self._pending(-1)
            try:
                await executor.rehearsal.ready()
                pending = self._pending(executor.dialect.generation)
                for entry in pending:  # what was found with another schema holds no longer, even if this is cut short
                    entry.status = "unseen"
                for entry in pending:
                    await self._rehearse(executor, entry)
            except CutoverError as error:
                _log.info("The rehearsal waits for Postgres", reason=error.message)
                return False
            finally:
                self._count()
            return True

    def _pending(self, generation: int) -> list[_Entry]:
        if generation < 0:
            return [entry for entry in self._entries.values() if entry.status == "unseen"]
        return [entry for entry in self._entries.values() if entry.generation != generation]

    async def _rehearse(self, executor: PostgresExecutor, entry: _Entry) -> None:
        met = tuple(entry.samples.values())
        generation = executor.dialect.generation
        try:
            tried = [await executor.rehearsal.rehearse(entry.sql, sample) for sample in met]
            found = min(tried, key=lambda one: _WORST_FIRST.index(one.status))
        except CutoverError:
            raise
        except Exception:  # noqa: BLE001  # a defect of ours
            _log.exception("A statement could not be rehearsed")
            found = Rehearsed("failing", reason="its translation met a defect; see the log")
        if len(met) == len(entry.samples):  # otherwise it came with others meanwhile, and its turn comes again
            entry.status, entry.translation, entry.reason = found.status, found.translation, found.reason
            entry.generation = generation

    def _count(self) -> None:
        for status in ("unseen", "ready", "refused", "failing", "invalid"):
            number = sum(entry.status == status for entry in self._entries.values())
            self._metrics.statements.labels(status).set(number)

    def summary(self) -> dict[str, int]:
        """Distinct statements, how many are ready, how many would fail after a promotion, how many were not kept."""
        statuses = [entry.status for entry in self._entries.values()]
        return {
            "statements": len(statuses),
            "ready": statuses.count("ready"),
            "failing": statuses.count("refused") + statuses.count("failing"),
            "unseen": statuses.count("unseen"),
            "invalid": statuses.count("invalid"),
            "beyond_limit": self._beyond,
            "partly": sum(entry.unrehearsed > 0 for entry in self._entries.values()),
        }

    def shadow_reads(self) -> dict[str, int]:
        """Replays by what came of them, and how many texts differ as of now (`differing`)."""
        return self.reads.verdicts.summary() if self.reads is not None else dict(_NO_VERDICTS)

    def shadow_writes(self) -> dict[str, int]:
        """The same of writes."""
        return self.writes.verdicts.summary() if self.writes is not None else dict(_NO_VERDICTS)

    async def ask(self, texts: Sequence[str]) -> dict[str, Any]:
        """Rehearse statements that need not have been seen; they are not remembered. Raises `StoreUnavailable`."""
        executor = self._executor()
        if executor is None or self.reads is None:
            raise StoreUnavailable("Statements are rehearsed while SQLite is primary and Postgres can be reached.")
        return counted_rows(await rehearse_texts(executor, self.reads, texts))

    async def replay(self) -> None:
        """Replay what waits and what differed, now. Raises `CutoverError`, for example if paused."""
        for shadow in (self.reads, self.writes):
            if shadow is not None and shadow.open:
                await shadow.replay(self._executor())

    def rows(self) -> list[dict[str, Any]]:
        """One object a statement, those that would fail first, then by how often they were sent."""
        order = {"failing": 0, "refused": 0, "unseen": 1, "invalid": 2, "ready": 3}
        entries = sorted(self._entries.values(), key=lambda entry: (order[entry.status], -entry.count))
        return [
            {
                "sql": entry.sql,
                "translation": entry.translation,
                "status": entry.status,
                "reason": entry.reason,
                "count": entry.count,
                "unrehearsed": entry.unrehearsed,
                "shadow_reads": self.reads.verdicts.of(entry.sql) if self.reads is not None else None,
                "shadow_writes": self.writes.verdicts.of(entry.sql) if self.writes is not None else None,
            }
            for entry in entries
        ]
