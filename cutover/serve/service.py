"""One owner: its life from opening to closing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from functools import partial

from cutover.capture import CaptureWatch
from cutover.dialect.executor import PostgresExecutor
from cutover.errors import ConfigurationError, CutoverError, StoreError
from cutover.logs import get_logger
from cutover.model.control import Phase
from cutover.model.requests import SERVICE
from cutover.promote.opening import open_origin, refuse_behind_destination, take_back
from cutover.promote.operations import Operations
from cutover.promote.phases import Event, after
from cutover.promote.recovery import Attachment, mend_capture
from cutover.promote.switch import Switch
from cutover.serve.building import Built
from cutover.serve.doors import Doors
from cutover.serve.ending import everything_ended, within
from cutover.serve.learning import Learning
from cutover.serve.replaced import demand_in_charge, demand_same_file, file_of
from cutover.settings import Settings
from cutover.stores.base import Store
from cutover.tasks import ended

_log = get_logger("serve")
_ASK_SECONDS = 2.0
"""How long a start waits for Postgres to say whether the SQLite file is an old copy; the recovery asks again later."""
_CLOSE_SECONDS = 10.0
_AGAIN_SECONDS = 5.0
"""Between two attempts to carry over what could not be."""
_LOOK_SECONDS = 1.0
"""Between two looks at Postgres's schema once the migration is finished."""


class Service:
    """One owner, from its settings on. `open`, then `run_until`, then `close`, whatever happened."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        built = Built(settings)
        self.parts, self.mapper = built.parts, built.mapper
        self.sqlite, self.executor = built.sqlite, built.executor
        self.postgres, self.translating = built.postgres, built.translating
        self.server, self.statement_log = built.server, built.statement_log
        self.switch = Switch(self.parts)
        self.operations = Operations(self.parts, self.switch)
        self.doors = Doors(settings, self.parts.metrics, self.operations, self.parts.door)
        self.attachment = Attachment(self.parts)
        self.parts.mirror.on_away = self.attachment.lost
        self._asking: asyncio.Task[None] | None = None

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

    async def run_until(self, stop: asyncio.Event, ending: Callable[[], None]) -> None:
        """Run every service until `stop`; the first that fails ends them all, with its cause. `ending`: told so."""
        parts = self.parts
        watch = CaptureWatch(self._watched, self._mend, again=self._mend_again)
        learning = Learning(parts, self.mapper, self.sqlite, self.translating, self._mend)

        def on_schema_change() -> None:
            watch.poke()
            learning.hurry()

        parts.mirror.on_schema_change = on_schema_change
        parts.mirror.outdated = learning.has_learned
        self.translating.tell(watch.told, watch.looked)
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
            self._go_by_postgres,
        ]
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(service()) for service in services]
            try:
                await stop.wait()
                await self._finish_switch()
                _log.info("Stopping: the front door closes first.")
                await self.doors.close()
            finally:
                ending()
                await ended(tasks)

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
        if mapper.unfinished or (mapper.waiting and not self.parts.mirror.catching_up):
            return 0.0
        return _AGAIN_SECONDS if mapper.waiting or mapper.stopped else None

    async def _mend(self) -> None:
        """Map anew and make capture whole. The mirror rests meanwhile: it must not go by a mapping of before."""
        parts, situation = self.parts, self.parts.situation
        async with parts.switching:
            before = situation.tables
            await parts.mirror.stop(mapping=True)
            try:
                situation.tables = await self.mapper.map_tables(create=True)
                problems = await mend_capture(parts)
                if problems or situation.tables != before:
                    parts.comparator.forget()
            finally:
                try:
                    await parts.mirror.start(situation.pair, situation.tables)
                except CutoverError as error:  # a store went away meanwhile: nobody else would start the mirror again
                    situation.attached, situation.attach_error = False, str(error)
                    situation.changed.set()
                    raise
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

    async def _go_by_postgres(self) -> None:
        """Once the migration is finished no schema is followed any more, but statements go by Postgres's as it is."""
        situation, seen = self.parts.situation, None
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            if situation.phase is not Phase.FINISHED or not situation.attached:
                continue
            try:
                now = await self.postgres.read_schema(self.settings.postgres.schema_)
                if now != seen:
                    async with self.parts.switching:
                        situation.tables = await self.mapper.map_tables(create=False)
                    seen = now
            except (CutoverError, OSError, TimeoutError) as error:
                _log.debug(f"Postgres's schema could not be looked at: {error}")

    async def _leave_tidy(self) -> None:
        if self.parts.situation.attached:
            await self.parts.mirror.tidy()

    async def close(self) -> None:
        """Let go of everything; each step has its deadline, and none keeps the next from happening."""
        if self._asking is not None:
            await ended([self._asking], _CLOSE_SECONDS)
        steps: list[tuple[str, Callable[[], Awaitable[None]]]] = [
            ("doors", self.doors.close),
            ("the log of statements", self.statement_log.close),
            ("the change log", self._leave_tidy),
            ("statements on SQLite", self.executor.close),
            ("statements on Postgres", self.translating.close),
            ("Postgres", self.postgres.close),
            ("SQLite", self.sqlite.close),
        ]
        if self.server is not None and self.server.started:
            steps.append(("embedded Postgres", self.server.stop))
        for name, step in steps:
            await within(_CLOSE_SECONDS, name, step)
        await everything_ended()
        _log.info("Stopped.")
