"""One owner, put together from its settings; its life from opening to closing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from functools import partial
from pathlib import Path

from cutover import __version__
from cutover.audit import AuditLog
from cutover.capture import CaptureWatch
from cutover.compare.comparator import Comparator
from cutover.compare.invariants import InvariantCheck
from cutover.dialect.executor import PostgresExecutor
from cutover.dialect.readiness import StatementRegistry
from cutover.dialect.remembered import Remembered
from cutover.dialect.schema_trials import SchemaTrials
from cutover.dialect.shadow_reads import ShadowReads
from cutover.dialect.shadow_writes import ShadowWrites
from cutover.errors import ConfigurationError, CutoverError, StoreError, StoreUnavailable
from cutover.logs import get_logger
from cutover.metrics import Metrics
from cutover.model.control import Phase
from cutover.model.requests import SERVICE
from cutover.model.table import Table
from cutover.model.values import Key
from cutover.promote.opening import open_origin, refuse_behind_destination, take_back
from cutover.promote.operations import Operations
from cutover.promote.parts import Parts, Situation, Trail
from cutover.promote.phases import Event, after
from cutover.promote.recovery import Attachment, mend_capture
from cutover.promote.switch import Switch
from cutover.serve.doors import Doors
from cutover.serve.learning import Learning
from cutover.serve.replaced import demand_in_charge, demand_same_file, file_of
from cutover.serve.statement_log import Names, StatementLog
from cutover.serve.tables import Mapper
from cutover.settings import Invariant, Settings
from cutover.shadow.mirror import Mirror
from cutover.stores.base import Member, Store
from cutover.stores.pair import Pair
from cutover.stores.postgres.embedded import EmbeddedPostgres
from cutover.stores.postgres.store import PostgresStore
from cutover.stores.sqlite.executor import SqliteExecutor
from cutover.stores.sqlite.owner import owner_lock_path
from cutover.stores.sqlite.store import SqliteStore
from cutover.write_through import WriteThrough

_log = get_logger("serve")
_ASK_SECONDS = 2.0
"""How long a start waits for Postgres to say whether the SQLite file is an old copy; the recovery asks again later."""
_CLOSE_SECONDS = 10.0
_AGAIN_SECONDS = 5.0
"""Between two attempts to carry over what could not be."""


class Service:
    """One owner, from its settings on. `open`, then `run_until`, then `close`, whatever happened."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.metrics = Metrics(__version__)
        state = settings.state_dir
        state.mkdir(parents=True, exist_ok=True)
        self.sqlite = SqliteStore(
            str(Path(settings.sqlite.path).absolute()),
            busy_timeout=settings.sqlite.busy_timeout,
            readers=settings.sqlite.readers,
            poll_interval=settings.mirror.poll_interval,
            owner_lock=owner_lock_path(str(Path(settings.sqlite.path).absolute())),
        )
        self.executor = SqliteExecutor(
            self.sqlite,
            self.metrics,
            transaction_timeout=settings.front.transaction_timeout,
            statement_timeout=settings.sqlite.statement_timeout,
            max_response_bytes=settings.front.max_response_bytes,
        )
        url = settings.postgres.url.get_secret_value()
        self.embedded = None if url else EmbeddedPostgres(state / "postgres")
        self.postgres = PostgresStore(
            url or (self.embedded.url if self.embedded else ""),
            pool_size=settings.postgres.pool_size,
            connect_timeout=settings.postgres.connect_timeout,
            statement_timeout=settings.postgres.statement_timeout,
            ssl_mode=settings.postgres.ssl_mode if url else "disable",
            poll_interval=settings.mirror.poll_interval,
            schema=settings.postgres.schema_,
        )
        self.parts = self._build(state)
        self.switch = Switch(self.parts)
        self.operations = Operations(self.parts, self.switch)
        self.doors = Doors(settings, self.metrics, self.operations, self.parts.door)
        self.attachment = Attachment(self.parts)
        self.parts.mirror.on_away = self.attachment.lost
        self._asking: asyncio.Task[None] | None = None
        self._started_postgres = False
        """Whether the embedded server is ours to stop: a second owner is refused, and must not stop the first one's."""

    def _build(self, state: Path) -> Parts:
        settings, metrics = self.settings, self.metrics
        timeout = settings.front.transaction_timeout
        origin = Member(self.sqlite, self.executor)
        self.translating = PostgresExecutor(
            self.postgres,
            lambda: self.parts.situation.tables,
            lambda: self.mapper.ddl,
            metrics,
            transaction_timeout=timeout,
            max_response_bytes=settings.front.max_response_bytes,
            settings=settings,
        )
        destination = Member(self.postgres, self.translating)
        situation = Situation(Pair(origin, destination, 1))
        self.mapper = Mapper(settings, self.sqlite, self.postgres, situation)
        self._preparing = asyncio.Lock()
        mirror, comparator = self._build_shadow(situation)
        reads = ShadowReads(metrics, mirror.level_copied, settings.compare.shadow_read_sample)
        writes = ShadowWrites(metrics, mirror.level_copied, settings.compare.shadow_write_sample)
        statements = StatementRegistry(
            metrics,
            reads=reads,
            writes=writes,
            changes=SchemaTrials(lambda: self.mapper.ddl),
            remembered=Remembered(state / "rehearsal.json"),
        )
        statements.known = Names(lambda: situation.tables).known
        door = WriteThrough(
            origin,
            epoch=1,
            metrics=metrics,
            hold_timeout=settings.front.hold_timeout,
            max_statement_bytes=settings.front.max_statement_bytes,
            max_response_bytes=settings.front.max_response_bytes,
            max_batch_steps=settings.front.max_batch_steps,
        )
        door.on_statement = statements.seen
        door.shapes.known = Names(lambda: situation.tables).known
        front = settings.front
        self.statement_log = StatementLog(door, slow=front.slow_statement, verbatim=front.log_statements)
        log = AuditLog(state / "audit.jsonl")
        return Parts(
            settings=settings,
            metrics=metrics,
            origin=origin,
            destination=destination,
            situation=situation,
            door=door,
            mirror=mirror,
            comparator=comparator,
            statements=statements,
            trail=Trail(log, metrics, (self.sqlite, self.postgres)),
            prepare_destination=self._prepare_destination,
            map_tables=self.mapper.map_tables,
            uncarried=self.mapper.uncarried,
            high_water=state / "high-water.json",
            backups=state / "backups",
        )

    def _build_shadow(self, situation: Situation) -> tuple[Mirror, Comparator]:
        settings, metrics = self.settings, self.metrics
        comparator: Comparator | None = None

        def applied(table: Table, keys: list[Key]) -> None:
            if comparator is not None:
                comparator.applied(table, keys)

        mirror = Mirror(situation.pair, (), settings.mirror, metrics, generation=0, batch=0, on_applied=applied)
        comparator = Comparator(
            lambda: situation.pair,
            lambda: situation.tables,
            mirror,
            settings.compare,
            [_invariant(invariant) for invariant in settings.invariants],
            metrics,
        )
        mirror.on_copy_again = comparator.forget
        self.mapper.copied = mirror.copied
        return mirror, comparator

    async def _prepare_destination(self) -> None:
        if self.embedded is None:
            return
        async with self._preparing:
            try:
                await self.embedded.start()
                self._started_postgres = True
            except (OSError, CutoverError) as error:
                raise StoreUnavailable(f"The embedded Postgres did not start: {error}") from error

    async def open(self) -> None:
        """Everything that must be right before the first request is taken.

        Raises `OwnedElsewhere`, `ConfigurationError`, `SchemaError`: nothing was changed then.
        """
        parts = self.parts
        await self._open_sqlite()
        parts.situation.tables = await self.mapper.map_sqlite()
        control = await self.sqlite.control()
        anchors = [(control.audit_sequence, control.audit_hash)] if control else []
        await asyncio.to_thread(parts.trail.log.open, anchors)
        await open_origin(parts)
        situation = parts.situation
        self._asking = asyncio.create_task(refuse_behind_destination(parts))
        done, _ = await asyncio.wait({self._asking}, timeout=_ASK_SECONDS)
        for asked in done:
            asked.result()
        await take_back(parts)
        if situation.problem:
            await parts.door.hold(0)
        else:
            await parts.door.resume(situation.pair.primary, situation.pair.epoch)
        await self.doors.listen()

    async def _open_sqlite(self) -> None:
        try:
            await self.sqlite.open()
        except StoreError as error:
            if getattr(error.__cause__, "sqlite_errorname", "") not in ("SQLITE_NOTADB", "SQLITE_CORRUPT"):
                raise
            raise ConfigurationError(
                f"{self.settings.sqlite.path!r} is not a SQLite database, or is damaged: {error.__cause__}.",
                hint="Check sqlite.path, and the file with PRAGMA integrity_check.",
            ) from error

    async def run_until(self, stop: asyncio.Event) -> None:
        """Run every service until `stop`; the first that fails ends them all, with its cause."""
        parts = self.parts
        watch = CaptureWatch(self._watched, self._mend, again=self._mend_again)
        learning = Learning(parts, self.mapper, self.sqlite, self.translating, self._mend)

        def on_schema_change() -> None:
            watch.poke()
            learning.hurry()

        parts.mirror.on_schema_change = on_schema_change
        parts.mirror.outdated = learning.has_learned
        self.translating.tell(watch.told)
        services: list[Callable[[], Coroutine[None, None, None]]] = [
            parts.mirror.run,
            parts.comparator.run,
            self._attach,
            watch.run,
            self._rehearse,
            self._replay_reads,
            self._replay_writes,
            partial(learning.run, self._watched),
            self._keep_records,
        ]
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(service()) for service in services]
            await stop.wait()
            await self._finish_switch()
            _log.info("Stopping: the front door closes first.")
            await self.doors.close()
            await _end(tasks)

    async def _attach(self) -> None:
        if self._asking is not None:
            await asyncio.wait({self._asking})
        await self.attachment.run()

    async def _finish_switch(self) -> None:
        """A switch under way comes to its end first: half of one would keep the primary fenced until the next start."""
        if self.parts.situation.phase in (Phase.PROMOTING, Phase.DEMOTING):
            with suppress(TimeoutError):
                async with asyncio.timeout(self.settings.promotion.pause_timeout), self.parts.switching:
                    _log.info("The switch under way came to its end.")

    def _watched(self) -> tuple[Store, Store] | None:
        situation = self.parts.situation
        steady = situation.attached and not self.parts.switching.locked() and situation.phase is not Phase.FINISHED
        return (situation.pair.source, situation.pair.target) if steady else None

    def _mend_again(self) -> float | None:
        """What was in the way on the shadow may be gone by itself; what waits for rows only waits for their copy."""
        mapper = self.mapper
        if mapper.waiting and not self.parts.mirror.catching_up:
            return 0.0
        return _AGAIN_SECONDS if mapper.waiting or mapper.stopped else None

    async def _mend(self) -> None:
        """Map anew and make capture whole. The mirror rests meanwhile: it must not go by a mapping of before."""
        parts, situation = self.parts, self.parts.situation
        async with parts.switching:
            before, paused = situation.tables, parts.mirror.state == "paused"
            await parts.mirror.stop()
            try:
                situation.tables = await self.mapper.map_tables(create=True)
                problems = await mend_capture(parts)
                if problems or situation.tables != before:
                    parts.comparator.forget()
            finally:
                await parts.mirror.start(situation.pair, situation.tables)
                if paused:
                    parts.mirror.pause()
            if self.mapper.done:
                await parts.trail.write("schema.followed", SERVICE, steps=self.mapper.done)

    async def _rehearse(self) -> None:
        await self.parts.statements.run(self._rehearsable)

    async def _replay_reads(self) -> None:
        assert self.parts.statements.reads is not None
        await self.parts.statements.reads.run(self._rehearsable)

    async def _replay_writes(self) -> None:
        assert self.parts.statements.writes is not None
        await self.parts.statements.writes.run(self._rehearsable)

    def _rehearsable(self) -> PostgresExecutor | None:
        situation = self.parts.situation
        ready = situation.attached and situation.pair.primary is self.parts.origin
        return self.translating if ready else None

    async def _keep_records(self) -> None:
        """Follow the backfill's phase, keep the high-water mark, and end a service that another one has replaced."""
        parts, situation = self.parts, self.parts.situation
        written, file = 0, file_of(self.settings.sqlite.path)
        while True:
            await asyncio.sleep(0.25)
            demand_same_file(self.settings.sqlite.path, file)
            if not situation.attached or parts.switching.locked():
                continue
            if situation.phase is Phase.BACKFILLING and not parts.mirror.catching_up:
                situation.move(after(situation.phase, Event.COPIED))
            elif situation.phase is Phase.SHADOWING and parts.mirror.catching_up:
                situation.move(after(situation.phase, Event.COPY_AGAIN))
            try:
                control = await self.sqlite.control()
            except StoreError:
                continue  # the mirror says what is wrong
            if control is None or not situation.attached or parts.switching.locked():
                continue
            if situation.generation:  # a finished migration has no owner any more
                demand_in_charge(control, situation.generation)
            if parts.mirror.batch != written:
                written = parts.mirror.batch
                await parts.note_high_water(control.but(epoch=situation.pair.epoch), written)

    async def _leave_tidy(self) -> None:
        if self.parts.situation.attached:
            await self.parts.mirror.tidy()

    async def close(self) -> None:
        """Let go of everything; each step has its deadline, and none keeps the next from happening."""
        if self._asking is not None:
            await _end([self._asking])
        steps: list[tuple[str, Callable[[], Awaitable[None]]]] = [
            ("doors", self.doors.close),
            ("the log of statements", self.statement_log.close),
            ("the change log", self._leave_tidy),
            ("statements on SQLite", self.executor.close),
            ("statements on Postgres", self.translating.close),
            ("Postgres", self.postgres.close),
            ("SQLite", self.sqlite.close),
        ]
        if self.embedded is not None and self._started_postgres:
            steps.append(("embedded Postgres", self.embedded.stop))
        for name, step in steps:
            try:
                async with asyncio.timeout(_CLOSE_SECONDS):
                    await step()
            except (CutoverError, OSError, TimeoutError) as error:
                _log.warning(f"Closing {name}: {error or 'it took too long'}")
        _log.info("Stopped.")


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    """Cancel until they have ended: a driver that is closing a connection may swallow one cancellation."""
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=1.0)


def _invariant(invariant: Invariant) -> InvariantCheck:
    queries = {
        "sqlite": invariant.sql_sqlite or invariant.sql,
        "postgres": invariant.sql_postgres or invariant.sql,
    }
    return InvariantCheck(invariant.name, queries, invariant.expect)
