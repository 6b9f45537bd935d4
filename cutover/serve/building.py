"""What one owner is built from: settings become stores, executors and parts. Nothing of it runs yet."""

from __future__ import annotations

from pathlib import Path

from cutover import __version__
from cutover.audit import AuditLog
from cutover.compare.comparator import Comparator
from cutover.compare.invariants import InvariantCheck
from cutover.dialect.executor import PostgresExecutor
from cutover.dialect.readiness import StatementRegistry
from cutover.dialect.remembered import Remembered
from cutover.dialect.schema_trials import SchemaTrials
from cutover.dialect.shadow_reads import ShadowReads
from cutover.dialect.shadow_writes import ShadowWrites
from cutover.metrics import Metrics
from cutover.model.table import Table
from cutover.model.values import Key
from cutover.promote.parts import Parts, Situation, Trail
from cutover.serve.own_server import OwnServer
from cutover.serve.statement_log import Names, StatementLog
from cutover.serve.tables import Mapper
from cutover.settings import Invariant, Settings
from cutover.shadow.mirror import Mirror
from cutover.stores.base import Member
from cutover.stores.pair import Pair
from cutover.stores.postgres.store import PostgresStore
from cutover.stores.sqlite.executor import SqliteExecutor
from cutover.stores.sqlite.owner import owner_lock_path
from cutover.stores.sqlite.store import SqliteStore
from cutover.write_through import WriteThrough


class Built:
    """Everything that a service has before it opens. Makes the state directory if there is none."""

    def __init__(self, settings: Settings) -> None:
        self.metrics = Metrics(__version__)
        settings.state_dir.mkdir(parents=True, exist_ok=True)
        url = settings.postgres.url.get_secret_value()
        self.server = None if url else OwnServer(settings.state_dir / "postgres")
        self.sqlite = _sqlite(settings)
        self.postgres = _postgres(settings, url or (self.server.url if self.server else ""), given=bool(url))
        self.executor = SqliteExecutor(
            self.sqlite,
            self.metrics,
            transaction_timeout=settings.front.transaction_timeout,
            statement_timeout=settings.sqlite.statement_timeout,
            max_response_bytes=settings.front.max_response_bytes,
        )
        self.translating = PostgresExecutor(
            self.postgres,
            lambda: self.situation.tables,
            lambda: self.mapper.ddl,
            self.metrics,
            transaction_timeout=settings.front.transaction_timeout,
            max_response_bytes=settings.front.max_response_bytes,
            settings=settings,
        )
        self.origin, self.destination = Member(self.sqlite, self.executor), Member(self.postgres, self.translating)
        self.situation = Situation(Pair(self.origin, self.destination, 1))
        self.mapper = Mapper(settings, self.sqlite, self.postgres, self.situation)
        self.mapper.unmapped = self.translating.dialect.forget
        self.parts = self._parts(settings)
        self.statement_log = StatementLog(
            self.parts.door, slow=settings.front.slow_statement, verbatim=settings.front.log_statements
        )

    def _parts(self, settings: Settings) -> Parts:
        state = settings.state_dir
        mirror, comparator = self._shadow(settings)
        statements = self._statements(settings, mirror)
        door = WriteThrough(
            self.origin,
            epoch=1,
            metrics=self.metrics,
            hold_timeout=settings.front.hold_timeout,
            max_statement_bytes=settings.front.max_statement_bytes,
            max_response_bytes=settings.front.max_response_bytes,
            max_batch_steps=settings.front.max_batch_steps,
        )
        door.on_statement = statements.seen
        door.shapes.known = Names(lambda: self.situation.tables).known
        return Parts(
            settings=settings,
            metrics=self.metrics,
            origin=self.origin,
            destination=self.destination,
            situation=self.situation,
            door=door,
            mirror=mirror,
            comparator=comparator,
            statements=statements,
            trail=Trail(AuditLog(state / "audit.jsonl"), self.metrics, (self.sqlite, self.postgres)),
            prepare_destination=self._prepare_destination,
            map_tables=self.mapper.map_tables,
            uncarried=self.mapper.uncarried,
            high_water=state / "high-water.json",
            backups=state / "backups",
        )

    def _shadow(self, settings: Settings) -> tuple[Mirror, Comparator]:
        comparator: Comparator | None = None

        def applied(table: Table, keys: list[Key]) -> None:
            if comparator is not None:
                comparator.applied(table, keys)

        situation, metrics = self.situation, self.metrics
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

    def _statements(self, settings: Settings, mirror: Mirror) -> StatementRegistry:
        statements = StatementRegistry(
            self.metrics,
            reads=ShadowReads(self.metrics, mirror.level_copied, settings.compare.shadow_read_sample),
            writes=ShadowWrites(self.metrics, mirror.level_copied, settings.compare.shadow_write_sample),
            changes=SchemaTrials(lambda: self.mapper.ddl),
            remembered=Remembered(settings.state_dir / "rehearsal.json"),
        )
        statements.known = Names(lambda: self.situation.tables).known
        return statements

    async def _prepare_destination(self) -> None:
        if self.server is not None:
            await self.server.start()


def _sqlite(settings: Settings) -> SqliteStore:
    path = str(Path(settings.sqlite.path).absolute())
    return SqliteStore(
        path,
        busy_timeout=settings.sqlite.busy_timeout,
        readers=settings.sqlite.readers,
        poll_interval=settings.mirror.poll_interval,
        owner_lock=owner_lock_path(path),
    )


def _postgres(settings: Settings, url: str, *, given: bool) -> PostgresStore:
    return PostgresStore(
        url,
        pool_size=settings.postgres.pool_size,
        connect_timeout=settings.postgres.connect_timeout,
        statement_timeout=settings.postgres.statement_timeout,
        ssl_mode=settings.postgres.ssl_mode if given else "disable",
        poll_interval=settings.mirror.poll_interval,
        schema=settings.postgres.schema_,
    )


def _invariant(invariant: Invariant) -> InvariantCheck:
    queries = {
        "sqlite": invariant.sql_sqlite or invariant.sql,
        "postgres": invariant.sql_postgres or invariant.sql,
    }
    return InvariantCheck(invariant.name, queries, invariant.expect)
