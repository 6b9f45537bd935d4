"""Which of the statements that applications send would run on Postgres: each is translated, and prepared there."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import structlog

from cutover import clock
from cutover.dialect.asked import counted_rows, rehearse_texts
from cutover.dialect.executor import PostgresExecutor
from cutover.dialect.folds import Fold, Folds, Group, classes_of
from cutover.dialect.listing import listed, told
from cutover.dialect.remembered import Kept, Remembered, change_row_of, name_of, row_of
from cutover.dialect.schema_trials import SchemaTrials, refused_again
from cutover.dialect.shadow_reads import ShadowReads
from cutover.dialect.shadow_writes import ShadowWrites
from cutover.dialect.trying import look_at, rehearse_fold
from cutover.errors import CutoverError, StoreUnavailable
from cutover.metrics import Metrics
from cutover.model.requests import StatementsRequest
from cutover.model.statement import Statement
from cutover.schema.fingerprint import fingerprint, nothing_known
from cutover.schema.sqltext import StatementKind, classify

_log = structlog.get_logger(__name__)
_KINDS = (StatementKind.READ, StatementKind.WRITE)
_PAUSE = 0.2
_LOOK = 2.0
"""Seconds between two looks at whether the schema has changed."""
_KEEP = 20.0
"""Seconds between two looks at whether counts and verdicts are to be written."""
_NO_VERDICTS = {"match": 0, "mismatch": 0, "inconclusive": 0, "differing": 0}


class StatementRegistry:
    """Remembers the distinct texts of reads and writes, and rehearses each once a schema."""

    def __init__(
        self,
        metrics: Metrics,
        *,
        limit: int = 10_000,
        reads: ShadowReads | None = None,
        writes: ShadowWrites | None = None,
        changes: SchemaTrials | None = None,
        remembered: Remembered | None = None,
    ) -> None:
        """`reads`, `writes`: make some of them once more on both stores, and the first of each text.

        `changes`: says what would become of schema changes.
        `remembered`: what was found before the service was started again.
        `limit`: statements, whatever their literals, that are remembered. Further ones are only counted; `summary`
        tells how many."""
        self.reads = reads
        self.writes = writes
        self.changes = changes
        self.remembered = remembered if remembered is not None else Remembered()
        self.known: Callable[[str], bool] = nothing_known
        """Whether a word in double quotes is a name of the schema, and no value."""
        self._kept_at = 0.0
        self._rates = {
            True: writes.sample if writes is not None else 0.0,
            False: reads.sample if reads is not None else 0.0,
        }
        self._metrics = metrics
        self._folds = Folds(limit)
        self._texts = self._folds.texts
        self._new = asyncio.Event()
        self._executor: Callable[[], PostgresExecutor | None] = lambda: None
        self._turn = asyncio.Lock()

    def seen(self, statement: Statement) -> None:
        """Note one execution of a statement. Nearly free for a text that is known."""
        group = self._texts.young.get(statement.sql) or self._texts.get(statement.sql) or self._met(statement)
        if group is None:
            return
        fold = group.fold
        fold.count += 1
        if fold.rate and random.random() < fold.rate:  # noqa: S311  # no secret
            self._offer(fold, statement)
        if statement.args or statement.named:
            classes = classes_of(statement) if statement.named else tuple(map(type, statement.args))
            if classes not in group.samples and fold.count_in(group, statement, classes):
                self._new.set()
                if fold.rate:
                    self._offer(fold, statement)

    def _met(self, statement: Statement) -> Group | None:
        """A text that is not remembered. One that is new is replayed, whatever the sample."""
        kind = classify(statement.sql)
        if kind is StatementKind.DDL and self.changes is not None and self.changes.seen(statement.sql):
            self.remembered.change_came_again(statement.sql)
            self._new.set()
        if kind not in _KINDS:
            return None
        group, new = self._folds.find(statement, writes=kind is StatementKind.WRITE)
        if group is not None and new:
            group.fold.rate = self._rates[group.fold.writes]
            kept, shadow = self.remembered.came_again(group.fold.shape), self._shadow(group.fold)
            if kept is not None:
                group.fold.count += kept.count
                if shadow is not None:
                    shadow.verdicts.go_on_from(group.fold.shape, kept, replayed=group.fold.rate > 0)
            if group.fold.rate:
                self._offer(group.fold, statement)
            self._new.set()
        elif self._folds.spots:
            self._new.set()
        return group

    def _shadow(self, fold: Fold) -> ShadowReads | ShadowWrites | None:
        return self.writes if fold.writes else self.reads

    def _offer(self, fold: Fold, statement: Statement) -> None:
        """Have it replayed; where there is no room, the next one."""
        shadow = self._shadow(fold)
        if shadow is not None:
            fold.rate = self._rates[fold.writes] if shadow.offer(statement) else 1.0

    async def run(self, executor: Callable[[], PostgresExecutor | None]) -> None:
        """Rehearse what is new while `executor` gives one (None: Postgres is away or primary). Runs until cancelled."""
        self._executor = executor
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK):
                    await self._new.wait()
            if not self._new.is_set() and not self._is_outdated():
                if clock.monotonic() - self._kept_at > _KEEP:
                    await self.keep()
                continue
            self._new.clear()
            if await self.rehearse():
                await self.keep()
            else:
                self._new.set()
            await asyncio.sleep(_PAUSE)

    async def keep(self) -> None:
        """Have what is known by now outlast a restart."""
        if self._executor() is not None:
            await self._write()

    async def _write(self) -> None:
        self._kept_at = clock.monotonic()
        changes = self.changes.kept(self.known) if self.changes is not None else ()
        text = self.remembered.text((self._kept(fold) for fold in self._folds), changes)
        if text is not None:
            await asyncio.to_thread(self.remembered.write, text)

    async def forget(self) -> int:
        """Let what was found before the service was started count no longer. How many statements that were."""
        async with self._turn:
            forgotten = self.remembered.forget()
            self._count()
        await self._write()
        return forgotten

    def let_go(self) -> int:
        """Let what differed, and matches with the rows of now, count no longer. How many statements that were."""
        return sum(one.verdicts.forget() for one in (self.reads, self.writes) if one is not None)

    def _kept(self, fold: Fold) -> Kept:
        shadow = self._shadow(fold)
        verdicts = (shadow.verdicts.of_shape(fold.shape) if shadow is not None else None) or {}
        return Kept(
            id=name_of(fold.shape),
            sql=fingerprint(fold.sql, self.known),
            writes=fold.writes,
            status="unseen" if fold.unrehearsed and fold.status == "ready" else fold.status,
            reason=fingerprint(fold.reason or "", self.known) if fold.status in ("refused", "failing") else None,
            count=fold.count,
            differs=verdicts.get("differs"),
            match=verdicts.get("match", 0),
            mismatch=verdicts.get("mismatch", 0),
            inconclusive=verdicts.get("inconclusive", 0),
            differs_by=shadow.verdicts.differs_by(fold.shape) if shadow is not None else "",
        )

    def _is_outdated(self) -> bool:
        """Whether the schema is another than the one that everything was rehearsed against."""
        executor = self._executor()
        return executor is not None and not executor.dialect.is_current and len(self._folds) > 0

    async def rehearse(self) -> bool:
        """Rehearse what has not been against today's schema. Whether that could be done; it changes no data."""
        async with self._turn:
            executor = self._executor()
            if executor is None:
                return not any(fold.status == "unseen" for fold in self._folds)
            try:
                await executor.rehearsal.ready()
                if self.changes is not None:
                    await self.changes.rehearse(executor)
                self.remembered.settle(executor.dialect.ddl)
                generation = executor.dialect.generation
                pending = [fold for fold in self._folds if fold.generation != generation]
                for fold in pending:  # what was found with another schema holds no longer, even if this is cut short
                    fold.status = "unseen"
                    if fold.generation and fold.rate:  # nor does what a replay found
                        fold.rate = 1.0
                for fold in pending:
                    await rehearse_fold(executor, fold)
                while self._folds.spots:
                    await look_at(executor, self._folds.spots.popleft())
            except CutoverError as error:
                _log.info("The rehearsal waits for Postgres", reason=error.message)
                return False
            finally:
                self._count()
            return True

    def _count(self) -> None:
        statuses = self._statuses()
        for status in ("unseen", "ready", "refused", "failing", "invalid"):
            self._metrics.statements.labels(status).set(statuses[status])

    def _statuses(self) -> Counter[str]:
        return Counter([*(fold.status for fold in self._folds), *(one.status for one in self.remembered)])

    def summary(self) -> dict[str, int]:
        """Distinct statements, how many are ready, how many would fail after a promotion, how many were not kept."""
        statuses = self._statuses()
        return {
            "statements": statuses.total(),
            "ready": statuses["ready"],
            "failing": statuses["refused"] + statuses["failing"],
            "unseen": statuses["unseen"],
            "invalid": statuses["invalid"],
            "beyond_limit": self._folds.beyond,
            "waiting": sum(one.waiting for one in (self.reads, self.writes) if one is not None),
            "partly": sum(fold.unrehearsed > 0 for fold in self._folds),
            "changes_refused": (self.changes.refused if self.changes is not None else 0)
            + sum(refused_again(one.status, again=one.again) for one in self.remembered.changes),
        }

    def schema_changes(self) -> list[dict[str, Any]]:
        """One object a schema change that was seen: what Postgres would be told if it were primary."""
        since = self.changes.rows() if self.changes is not None else []
        return [*map(change_row_of, self.remembered.changes), *since]

    def shadow_reads(self) -> dict[str, int]:
        """Replays by what came of them, and how many texts differ as of now (`differing`)."""
        return self._summary(self.reads, writes=False)

    def shadow_writes(self) -> dict[str, int]:
        """The same of writes."""
        return self._summary(self.writes, writes=True)

    def _summary(self, shadow: ShadowReads | ShadowWrites | None, *, writes: bool) -> dict[str, int]:
        found = shadow.verdicts.summary() if shadow is not None else dict(_NO_VERDICTS)
        before = self.remembered.replays(writes=writes)
        counts = {verdict: count + before[verdict] for verdict, count in found.items()}
        return counts | {"differing": found["differing"] + self.remembered.differing(writes=writes)}

    async def ask(self, texts: Sequence[str], behind: Sequence[str] = ()) -> dict[str, Any]:
        """Rehearse statements that need not have been seen; they are not remembered. `behind`: schema changes that come
        before them. Raises `StoreUnavailable`."""
        executor = self._executor()
        if executor is None or self.reads is None or self.writes is None:
            raise StoreUnavailable("Statements are rehearsed while SQLite is primary and Postgres can be reached.")
        return counted_rows(await rehearse_texts(executor, self.reads, self.writes, texts, behind))

    async def replay(self) -> None:
        """Replay what waits and what differed, now. Raises `CutoverError`, for example if paused."""
        for shadow in (self.reads, self.writes):
            if shadow is not None and shadow.open:
                await shadow.replay(self._executor())

    def rows(self) -> list[dict[str, Any]]:
        """One object a statement, those that would fail first, then those that differ."""
        return self.listed(StatementsRequest())[0]

    def listed(self, wanted: StatementsRequest) -> tuple[list[dict[str, Any]], str | None]:
        """The same of those that are wanted, and where the next page begins."""
        return listed(map(told, [*map(self._row, self._folds), *map(row_of, self.remembered)]), wanted)

    def _row(self, fold: Fold) -> dict[str, Any]:
        return {
            "id": name_of(fold.shape),
            "sql": fold.sql,
            "translation": fold.translation,
            "status": fold.status,
            "reason": fold.reason,
            "count": fold.count,
            "texts": len(fold.groups),
            "unrehearsed": fold.unrehearsed,
            "shadow_reads": self.reads.verdicts.of_shape(fold.shape) if self.reads is not None else None,
            "shadow_writes": self.writes.verdicts.of_shape(fold.shape) if self.writes is not None else None,
        }
