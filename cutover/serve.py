"""The composition root: settings → stores → parts → services. Nothing is built anywhere else, or at import time.

owner's lock ─▶ SQLite ─▶ audit log ─▶ recovery from SQLite alone ─▶ both listeners
                                             └─▶ (in the background) Postgres ─▶ attach ─▶ mirror, comparator
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from urllib.parse import urlsplit

from aiohttp import web

from cutover import __version__
from cutover.admin.app import make_app as make_admin_app
from cutover.audit import AuditLog
from cutover.capture import CaptureWatch
from cutover.compare.comparator import Comparator
from cutover.compare.invariants import InvariantCheck
from cutover.dialect.executor import PostgresExecutor
from cutover.dialect.readiness import StatementRegistry
from cutover.errors import ConfigurationError, CutoverError, OwnedElsewhere, SchemaError, StoreError, StoreUnavailable
from cutover.hrana.http import make_app as make_front_app
from cutover.logs import configure_logs, get_logger
from cutover.metrics import Metrics
from cutover.model.control import Phase
from cutover.model.table import Table, Tables
from cutover.model.values import Key
from cutover.promote.highwater import HighWater, write_high_water
from cutover.promote.operations import Operations
from cutover.promote.parts import Parts, Situation, Trail
from cutover.promote.phases import Event, after
from cutover.promote.recovery import Attachment, mend_capture, open_origin, refuse_behind_destination
from cutover.promote.switch import Switch
from cutover.schema.findings import Finding
from cutover.schema.mapping import Mapping, map_tables
from cutover.schema.plan import map_with_data
from cutover.schema.sqlite_schema import SqliteSchema
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
_SWITCH_INTERVAL = 0.0005
"""Seconds that a thread (a digest, a large result) may keep the interpreter from the event loop; usually 5 ms."""
_DRAIN_SECONDS = 5.0
_ASK_SECONDS = 2.0
"""How long a start waits for Postgres to say whether the SQLite file is an old copy; the recovery asks again later."""
_CLOSE_SECONDS = 10.0


def run(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT. Returns the exit code: 0, or 2 for what only a human can put right."""
    configure_logs(settings.service.log_format, settings.service.log_level)
    sys.setswitchinterval(_SWITCH_INTERVAL)
    try:
        _check(settings)
        try:
            import uvloop
        except ImportError:
            asyncio.run(_serve(settings))
        else:
            uvloop.run(_serve(settings))
    except (ConfigurationError, OwnedElsewhere, SchemaError) as error:
        print(f"cutover: {error}", file=sys.stderr)  # the operator's terminal
        return 2
    except ExceptionGroup as group:
        known, unknown = group.split(CutoverError)
        if unknown is not None:
            _log.error("A service failed in a way nobody foresaw.", exc_info=unknown)
            return 1
        for failure in known.exceptions if known else ():
            print(f"cutover: {failure}", file=sys.stderr)  # the operator's terminal
        return 1
    return 0


def _check(settings: Settings) -> None:
    if settings.service.role == "gateway":
        raise ConfigurationError(
            "service.role = gateway does not exist yet.", hint='Run one owner; leave role out, or set it to "owner".'
        )
    if not settings.sqlite.path:
        raise ConfigurationError(
            "sqlite.path is not set.",
            hint="Set it in the configuration file, or CUTOVER_SQLITE_PATH in the environment.",
        )
    if not Path(settings.sqlite.path).is_file():
        raise ConfigurationError(
            f"There is no SQLite file {settings.sqlite.path!r}.",
            hint="cutover serves the file that the application made; it does not create one.",
        )


async def _serve(settings: Settings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with AsyncExitStack() as closing:
        service = Service(settings)
        closing.push_async_callback(service.close)
        await service.open()
        await service.run_until(stop)


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
        )
        self.parts = self._build(state)
        self.switch = Switch(self.parts)
        self.operations = Operations(self.parts, self.switch)
        self.attachment = Attachment(self.parts)
        self.parts.mirror.on_away = self.attachment.lost
        self._sites: list[web.AppRunner] = []
        self._asking: asyncio.Task[None] | None = None
        self._ddl: tuple[str, ...] = ()

    def _build(self, state: Path) -> Parts:
        settings, metrics = self.settings, self.metrics
        timeout = settings.front.transaction_timeout
        statements = StatementRegistry(metrics)
        origin = Member(self.sqlite, self.executor)
        self.translating = PostgresExecutor(
            self.postgres,
            lambda: self.parts.situation.tables,
            lambda: self._ddl,
            metrics,
            transaction_timeout=timeout,
        )
        destination = Member(self.postgres, self.translating)
        situation = Situation(Pair(origin, destination, 1))
        comparator: Comparator | None = None

        def applied(table: Table, keys: list[Key]) -> None:
            if comparator is not None:
                comparator.applied(table, keys)

        self._preparing = asyncio.Lock()
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
        door = WriteThrough(origin, epoch=1, metrics=metrics, hold_timeout=settings.front.hold_timeout)
        door.on_statement = statements.seen
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
            map_tables=self.map_tables,
            high_water=state / "high-water.json",
            backups=state / "backups",
        )

    async def _prepare_destination(self) -> None:
        if self.embedded is None:
            return
        async with self._preparing:
            try:
                await self.embedded.start()
            except (OSError, CutoverError) as error:
                raise StoreUnavailable(f"The embedded Postgres did not start: {error}") from error

    async def map_tables(self, *, create: bool) -> Tables:
        """Read both schemas, with `create` make what is missing on Postgres, and give both stores the mapping."""
        source = await self.sqlite.read_schema()
        target = await self.postgres.read_schema(self.settings.postgres.schema_)
        mapping = map_tables(source, target, self.settings)
        if create:  # only for tables to be made do types depend on what the data are
            mapping = await self.sqlite.read(lambda c: map_with_data(c, source, target, self.settings))
        if create and mapping.create:
            await self.postgres.create_tables(mapping.create)
            target = await self.postgres.read_schema(self.settings.postgres.schema_)
            mapping = map_tables(source, target, self.settings)
        self._note(mapping)
        self._ddl = _statements(source)
        self.sqlite.serve_tables(mapping.tables)
        self.postgres.serve_tables(mapping.tables)
        return mapping.tables

    def _note(self, mapping: Mapping) -> None:
        """Say what stands in the way, once; the gate `target_ready` says it until it is gone."""
        blocking = tuple(_sentence(finding) for finding in mapping.blocking)
        if blocking != self.parts.situation.blocking:
            for sentence in blocking:
                _log.warning(f"Cannot be mirrored: {sentence}")
        self.parts.situation.blocking = blocking

    async def open(self) -> None:
        """Everything that must be right before the first request is taken.

        Raises `OwnedElsewhere`, `ConfigurationError`, `SchemaError`: nothing was changed then.
        """
        parts = self.parts
        await self._open_sqlite()
        source = await self.sqlite.read_schema()
        mapping = map_tables(source, None, self.settings)
        self._ddl = _statements(source)
        self.sqlite.serve_tables(mapping.tables)
        parts.situation.tables = mapping.tables
        control = await self.sqlite.control()
        anchors = [(control.audit_sequence, control.audit_hash)] if control else []
        await asyncio.to_thread(parts.trail.log.open, anchors)
        await open_origin(parts)
        situation = parts.situation
        self._asking = asyncio.create_task(refuse_behind_destination(parts))
        done, _ = await asyncio.wait({self._asking}, timeout=_ASK_SECONDS)
        for asked in done:
            asked.result()
        if situation.problem:
            await parts.door.hold(0)
        else:
            await parts.door.resume(situation.pair.primary, situation.pair.epoch)
        await self._listen()

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

    async def _listen(self) -> None:
        admin = make_admin_app(self.operations, self.settings.admin, self.metrics)
        await self._site(admin, self.settings.admin.listen, "admin.listen")
        if self.settings.front.listen:
            front = make_front_app(self.parts.door, self.settings.front, self.metrics)
            await self._site(front, self.settings.front.listen, "front.listen")

    async def _site(self, app: web.Application, listen: str, setting: str) -> None:
        place = urlsplit(f"//{listen}")
        try:
            host, port = place.hostname, place.port
        except ValueError:
            host, port = None, None
        if not host or port is None:
            raise ConfigurationError(f'{setting} is {listen!r}; write it as host:port, such as "127.0.0.1:8080".')
        runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=_DRAIN_SECONDS)
        await runner.setup()
        self._sites.append(runner)
        try:
            await web.TCPSite(runner, host, port, backlog=2048).start()
        except OSError as error:
            raise ConfigurationError(f"{setting}: cannot listen on {listen}: {error.strerror or error}.") from None
        _log.info(f"Listening on http://{listen}", door=setting)

    async def run_until(self, stop: asyncio.Event) -> None:
        """Run every service until `stop`; the first that fails ends them all, with its cause."""
        parts = self.parts
        watch = CaptureWatch(self._watched, self._mend)
        services: list[Callable[[], Coroutine[None, None, None]]] = [
            parts.mirror.run,
            parts.comparator.run,
            self._attach,
            watch.run,
            self._rehearse,
            self._keep_records,
        ]
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(service()) for service in services]
            await stop.wait()
            await self._finish_switch()
            _log.info("Stopping: the front door closes first.")
            await self._close_doors()
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

    def _watched(self) -> Store | None:
        situation = self.parts.situation
        steady = situation.attached and not self.parts.switching.locked() and situation.phase is not Phase.FINISHED
        return situation.pair.source if steady else None

    async def _mend(self) -> None:
        parts = self.parts
        async with parts.switching:
            parts.situation.tables = await self.map_tables(create=True)
            await mend_capture(parts)
            await parts.mirror.start(parts.situation.pair, parts.situation.tables)
            parts.comparator.forget()

    async def _rehearse(self) -> None:
        await self.parts.statements.run(self._rehearsable)

    def _rehearsable(self) -> PostgresExecutor | None:
        situation = self.parts.situation
        ready = situation.attached and situation.pair.primary is self.parts.origin
        return self.translating if ready else None

    async def _keep_records(self) -> None:
        """Follow the backfill's phase, and keep the high-water mark about a second behind the mirror."""
        parts, situation = self.parts, self.parts.situation
        written, file = 0, _file_of(self.settings.sqlite.path)
        while True:
            await asyncio.sleep(0.25)
            _demand_same_file(self.settings.sqlite.path, file)
            if not situation.attached or parts.switching.locked():
                continue
            if situation.phase is Phase.BACKFILLING and not parts.mirror.catching_up:
                situation.move(after(situation.phase, Event.COPIED))
            elif situation.phase is Phase.SHADOWING and parts.mirror.catching_up:
                situation.move(after(situation.phase, Event.COPY_AGAIN))
            if parts.mirror.batch != written:
                control = await self.sqlite.control()
                if control is not None:
                    written = parts.mirror.batch
                    mark = HighWater(control.pair_id, situation.pair.epoch, written)
                    await asyncio.to_thread(write_high_water, parts.high_water, mark)

    async def _close_doors(self) -> None:
        self.operations.closing.set()
        with suppress(TimeoutError, CutoverError):
            async with asyncio.timeout(_DRAIN_SECONDS):
                await self.parts.door.drain(_DRAIN_SECONDS)
        for runner in reversed(self._sites):
            await runner.cleanup()
        self._sites.clear()

    async def close(self) -> None:
        """Let go of everything; each step has its deadline, and none keeps the next from happening."""
        if self._asking is not None:
            await _end([self._asking])
        steps: list[tuple[str, Callable[[], Awaitable[None]]]] = [
            ("doors", self._close_doors),
            ("statements on SQLite", self.executor.close),
            ("statements on Postgres", self.translating.close),
            ("Postgres", self.postgres.close),
            ("SQLite", self.sqlite.close),
        ]
        if self.embedded is not None:
            steps.append(("embedded Postgres", self.embedded.stop))
        for name, step in steps:
            try:
                async with asyncio.timeout(_CLOSE_SECONDS):
                    await step()
            except (CutoverError, OSError, TimeoutError) as error:
                _log.warning(f"Closing {name}: {error or 'it took too long'}")
        _log.info("Stopped.")


def _file_of(path: str) -> tuple[int, int] | None:
    """What file stands at `path` (device, inode), without opening it (hazard 28)."""
    try:
        found = os.stat(path)  # no pathlib here
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _demand_same_file(path: str, file: tuple[int, int] | None) -> None:
    """Raises `StoreError` if another file stands at `path`: writes would go into one that nobody finds any more."""
    if _file_of(path) != file:
        raise StoreError(
            f"The SQLite file {path} was moved or replaced while the service ran.",
            hint="Stop the service before restoring a backup; start it again on the file that is meant.",
        )


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    """Cancel until they have ended: a driver that is closing a connection may swallow one cancellation."""
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=1.0)


def _sentence(finding: Finding) -> str:
    message = finding.message if finding.message.endswith((".", "!", "?")) else f"{finding.message}."
    place = ".".join(filter(None, (finding.table, finding.column)))
    return ": ".join(filter(None, (place, f"{message} {finding.todo}".strip())))


def _statements(schema: SqliteSchema) -> tuple[str, ...]:
    """The CREATE statements of everything that SQL of applications can name."""
    tables = [table.sql for table in schema.tables]
    indexes = [index.sql for table in schema.tables for index in table.indexes if index.sql]
    return (*tables, *indexes, *(view.sql for view in schema.views))


def _invariant(invariant: Invariant) -> InvariantCheck:
    queries = {
        "sqlite": invariant.sql_sqlite or invariant.sql,
        "postgres": invariant.sql_postgres or invariant.sql,
    }
    return InvariantCheck(invariant.name, queries, invariant.expect)
