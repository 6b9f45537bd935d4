"""The Postgres store: a thin table of contents. What each part does is in the module it names."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import asyncpg

from cutover.errors import CutoverError, SchemaChanged, StoreError
from cutover.logs import get_logger
from cutover.model.control import BackfillProgress, Control, Identity, Outcome, StoreName
from cutover.model.table import Tables
from cutover.model.values import Pending, Quarantined
from cutover.schema.objects_wanted import SchemaObject
from cutover.schema.postgres_again import Seen, read_again
from cutover.schema.postgres_schema import PostgresSchema
from cutover.stores.base import Applier, Snapshot
from cutover.stores.postgres import capture, catalog, dismantling, indexes, probe, sequences, suspend, switch, wanted
from cutover.stores.postgres import control as controls
from cutover.stores.postgres.applier import open_applier
from cutover.stores.postgres.changes import Changes
from cutover.stores.postgres.errors import GONE, PostgresRefused
from cutover.stores.postgres.giving_way import Patience
from cutover.stores.postgres.link import Connections, Link
from cutover.stores.postgres.locks import make_way, with_locks
from cutover.stores.postgres.names import applier_name, target
from cutover.stores.postgres.rows import Rows
from cutover.stores.postgres.snapshot import open_snapshot

if TYPE_CHECKING:
    Pool = asyncpg.Pool[asyncpg.Record]

_log = get_logger("postgres")

_INSTALL_TIMEOUT = 60.0
"""Seconds to get the locks for installing triggers."""

_ALTER_TIMEOUT = 5.0
"""Seconds to get the locks for altering a table; what is in the way is said, and it is tried again."""


class PostgresStore:
    """Implements `cutover.stores.base.Store` on PostgreSQL 15 and later. Durations are in seconds.

    `pool` is for applications' statements, and there only after `open`; the store's own work has connections of its
    own. Both reconnect by themselves.
    """

    name: StoreName = "postgres"
    pool: Pool

    def __init__(
        self,
        url: str,
        *,
        pool_size: int = 40,
        connect_timeout: float = 5.0,
        statement_timeout: float = 30.0,
        ssl_mode: str = "prefer",
        poll_interval: float = 0.05,
        schema: str = "public",
    ) -> None:
        """`schema` is where the application's tables are, and where its first one is looked for."""
        self._schema = schema
        self._pool_size = pool_size
        self._statement_timeout = statement_timeout
        self._connections = Connections(url, connect_timeout=connect_timeout, ssl_mode=ssl_mode)
        self._changes = Changes(self._connections, poll_interval)
        self._tables: dict[str, Rows] = {}
        self._seen: Seen | None = None
        """The schema as it was last read; of the next reading, only what is written anew since then."""
        self._held: Tables = ()
        self._waits = Patience()
        self._version = "not connected yet"
        self.on_received: Callable[[Mapping[str, int], Mapping[str, tuple[int, int]]], None] = lambda _, __: None
        """Told when a promotion has set the sequences of automatic keys, or may have, with its floors, and by sequence
        what `keys_given` says, where the floors tell."""
        self.keys_given: Callable[[], Mapping[str, tuple[int, int]]] = dict
        """Says by sequence how far statements can have brought it, and the highest key that they gave to a row."""
        self._opened = False
        self._validation: asyncio.Task[None] | None = None

    # -- life ------------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Connect."""
        self._connections.reopen()
        self._seen = None  # what answers now may be another server, with a history of its own
        async with self._link() as link:
            self._version = str(await link.value("SELECT current_setting('server_version')"))
        if not self._opened:
            self.pool = await self._connections.pool(self._pool_size, self._statement_timeout)
            self._opened = True

    async def close(self) -> None:
        """Let go of every connection."""
        if self._validation is not None:
            self._validation.cancel()
            await asyncio.wait({self._validation})
            self._validation = None
        self._connections.close()
        if self._opened:
            self._opened = False
            try:
                await asyncio.wait_for(self.pool.close(), self._connections.connect_timeout)
            except TimeoutError:
                self.pool.terminate()

    def serve_tables(self, tables: Tables, held: Tables = ()) -> None:
        """Say what is mapped, and what is fenced all the same."""
        self._held = held
        known = self._tables
        if tables != self._mapped:
            self._connections.tables_changed()
        self._tables = {
            table.name: rows if (rows := known.get(table.name)) is not None and rows.table is table else Rows(table)
            for table in tables
        }
        self._changes.watch(self._tables)

    def holders(self) -> list[tuple[int, str]]:
        """A server's clients are not processes that hold a file."""
        return []

    def describe(self) -> str:
        """Server, database and role; never the password."""
        parts = urlsplit(self._connections.url)
        place = parts.netloc.rpartition("@")[2] or parse_qs(parts.query).get("host", ["default host"])[0]
        return f"PostgreSQL {self._version} at {place}, database {parts.path.strip('/') or 'default'}"

    def _link(self, name: str = "cutover") -> AbstractAsyncContextManager[Link]:
        return self._connections.use(name)

    @property
    def _mapped(self) -> Tables:
        return tuple(rows.table for rows in self._tables.values())

    # -- schema ----------------------------------------------------------------------------------------------------

    async def read_schema(self, schema: str) -> PostgresSchema:
        """What is in one schema of the database."""
        async with self._link() as link:
            try:
                known = self._seen if self._seen is not None and self._seen.schema.name == schema else None
                self._seen = await link.guard(read_again(link.raw, schema, known))
                return self._seen.schema
            except PostgresRefused as error:
                if error.sqlstate in GONE:
                    raise SchemaChanged(f"The schema changed while it was read. {error}") from error
                raise

    async def lent(self, work: Callable[[Any], Coroutine[Any, Any, None]]) -> None:
        """Have something done on a connection."""
        async with self._link() as link:
            await link.guard(work(link.raw))

    async def create_tables(self, statements: Sequence[str]) -> None:
        """Run DDL, all of it or nothing."""
        async with self._link() as link, link.transaction():
            for statement in statements:
                await link.execute(statement)

    async def remove_empty(self, tables: Sequence[str]) -> list[str]:
        """Drop those of these tables (qualified and quoted) that hold nothing. Returns the others."""
        async with self._link() as link, link.transaction():
            full = [table for table in tables if await link.value(f"SELECT EXISTS (SELECT FROM {table})")]
            empty = [table for table in tables if table not in full]
            if empty:
                await link.execute(f"DROP TABLE {', '.join(empty)}")
        return full

    async def silence(self, tables: Sequence[str]) -> None:
        """Take the comments of these tables (qualified and quoted) away."""
        async with self._link() as link, link.transaction():
            for table in tables:
                await link.execute(f"COMMENT ON TABLE {table} IS NULL")

    async def alter(self, table: str, statements: Sequence[str]) -> None:
        """Run DDL on one table (qualified and quoted), all of it or nothing, without stalling who waits behind it."""
        async with self._link() as link:

            async def work() -> None:
                while there and await indexes.put_back(link, table):
                    pass  # what waits for the end of a copy names columns as they were
                for statement in statements:
                    await link.execute(statement)

            there = await link.value("SELECT to_regclass($1) IS NOT NULL", table)
            await with_locks(link, [table] if there else [], _ALTER_TIMEOUT, work)

    async def recorded(self) -> str:
        """The record of the last mapping; empty if there is none."""
        async with self._link() as link:
            return await controls.recorded(link)

    async def record(self, text: str) -> None:
        """Keep the record of a mapping, where cutover is installed."""
        async with self._link() as link:
            await controls.record(link, text)

    async def wanted(self) -> list[SchemaObject]:
        """Schema changes of applications that SQLite may not have yet."""
        async with self._link() as link:
            return await wanted.wanted(link)

    async def settled(self, changes: Sequence[SchemaObject]) -> None:
        """SQLite has these."""
        async with self._link() as link, link.transaction():
            await wanted.settled(link, changes)

    # -- control ---------------------------------------------------------------------------------------------------

    async def control(self) -> Control | None:
        """The control row."""
        async with self._link() as link:
            return await controls.read(link)

    async def demand_room(self) -> None:
        """A server whose disk is full tells each of its clients so, or is gone."""
        await self.control()

    async def initialise(self, control: Control) -> None:
        """Create our own schema and write a first control row; with it, a shadow's tables are fenced if all exist."""
        async with self._link() as link:
            parts = await catalog.parts(link, self._mapped)
            made = {part.table_id for part in parts} >= {table.id for table in self._mapped}

            async def work() -> None:
                await controls.initialise(link, control)
                standing = await self._control(link)
                if made and standing.primary != self.name:
                    await capture.install(link, self._mapped, standing)

            await with_locks(link, [part.name for part in parts], _INSTALL_TIMEOUT, work)

    async def write_control(self, control: Control, *, expect: Control) -> None:
        """Compare and set."""
        async with self._link() as link:
            await controls.write(link, control, expect)

    async def anchor(self, sequence: int, digest: str) -> None:
        """Record the head of the audit log."""
        async with self._link() as link:
            await controls.anchor(link, sequence, digest)

    async def identity(self) -> Identity:
        """System identifier and timeline. A standby's own timeline is that of its last checkpoint."""
        async with self._link() as link:
            return await controls.identity(link)

    # -- capture ---------------------------------------------------------------------------------------------------

    async def install_capture(self) -> None:
        """Install or repair triggers as the control row demands; without locks where nothing is to be done."""
        async with self._link() as link:
            standing = await self._control(link)
            if await capture.complete(link, self._mapped, standing, self._held):
                return

            async def work() -> None:
                await capture.install(link, self._mapped, await self._control(link), self._held)

            names = [part.name for part in await catalog.parts(link, self._mapped)]
            await with_locks(link, names, _INSTALL_TIMEOUT, work)
        self._validate_later()

    async def check_capture(self) -> list[str]:
        """What is wrong with capture or the mapped schema."""
        async with self._link() as link:
            return await capture.check(link, self._mapped, await self._control(link), self._held)

    async def schema_fingerprint(self) -> str:
        """Changes with the schema."""
        async with self._link() as link:
            return await catalog.schema_fingerprint(link, self._schema, self._mapped)

    async def wait_for_change(self, timeout: float) -> bool:
        """True soon after a change was logged."""
        return await self._changes.wait(timeout)

    def wake(self) -> None:
        """This process committed something."""
        self._changes.wake()

    # -- as primary ------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Snapshot]:
        """Open a read snapshot."""
        async with self._link() as link, open_snapshot(link, self._tables, self._waits) as snapshot:
            yield snapshot

    async def lag(self) -> tuple[int, float | None]:
        """Entries in the change log, and the oldest one's time."""
        return await self._changes.lag()

    async def sync(self) -> None:
        """Barrier commit: everything visible before it is on disk when it returns (hazard 27)."""
        async with self._link() as link:
            await link.execute(
                "BEGIN; SET LOCAL synchronous_commit = on; "
                "SELECT pg_logical_emit_message(true, 'cutover', 'barrier'); COMMIT"
            )

    def pass_over(self, pending: Pending) -> bool:  # noqa: ARG002  # the protocol's signature
        """A trim here is in nobody's way."""
        return False

    async def trim(self, pending: Pending, batch: int) -> None:
        """Remove exactly what the snapshot saw, once."""
        await self._changes.trim(pending, batch)

    # -- as shadow -------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def applier(self, generation: int, epoch: int, batch: int | None) -> AsyncIterator[Applier]:
        """Begin an apply transaction."""
        async with (
            self._link(applier_name(generation)) as link,
            open_applier(link, self._tables, generation=generation, epoch=epoch, batch=batch) as applier,
        ):
            yield applier

    async def take_over(self, generation: int) -> None:
        """Record a new owner; end the appliers of older ones."""
        async with self._link() as link:
            await controls.take_over(link, generation)

    async def quarantined(self) -> list[Quarantined]:
        """Rows in quarantine."""
        async with self._link() as link:
            return await controls.quarantined(link)

    async def progress(self) -> dict[str, BackfillProgress]:
        """Backfill progress by table."""
        async with self._link() as link:
            return await controls.progress(link)

    async def forget_quarantine(self, tables: Sequence[str]) -> None:
        """Nothing is left of these tables."""
        async with self._link() as link:
            await controls.forget_quarantine(link, tables)

    async def forget_progress(self, tables: Sequence[str]) -> None:
        """Have tables copied again."""
        async with self._link() as link:
            await controls.forget_progress(link, tables)

    # -- the switch ------------------------------------------------------------------------------------------------

    async def make_way(self) -> None:
        """Autovacuum gives way."""
        async with self._link() as link:
            await make_way(link, [target(rows.table) for rows in self._tables.values()])

    async def fence(self, control: Control, timeout: float) -> None:
        """Give: stop all writers."""
        async with self._link() as link:
            await switch.fence(link, self._mapped, control, timeout)

    async def highest_keys(self) -> dict[str, int]:
        """Where the sequences of automatic keys stand."""
        async with self._link() as link:
            return await sequences.highest_keys(link, self._mapped, self.keys_given())

    async def release(self, control: Control) -> None:
        """Take the fence back."""
        async with self._link() as link:
            await switch.release(link, self._mapped, control)

    async def prepare(self, switch_id: str) -> None:
        """Record a switch as prepared."""
        async with self._link() as link:
            await controls.prepare(link, switch_id)

    async def receive(
        self, control: Control, switch_id: str, timeout: float, *, floors: Mapping[str, int] | None = None
    ) -> None:
        """The commit point of a promotion."""
        marks: dict[str, tuple[int, int]] = {}
        try:
            async with self._link() as link:
                keys, marks = await sequences.setting(link, self._mapped, floors or {})
                await switch.receive(link, self._mapped, control, switch_id, timeout, keys)
        finally:  # it may have committed though the answer was lost
            self.on_received(floors or {}, marks)
        self._validate_later()

    async def settle(self, control: Control) -> None:
        """Become shadow."""
        async with self._link() as link:
            await switch.settle(link, self._mapped, control)

    async def outcome(self, switch_id: str) -> Outcome | None:
        """What became of a switch."""
        async with self._link() as link:
            return await controls.outcome(link, switch_id)

    async def tombstone(self, switch_id: str) -> Outcome:
        """Make a prepared switch impossible to commit."""
        async with self._link() as link:
            return await controls.tombstone(link, switch_id)

    async def validate(self) -> list[str]:
        """Validate restored foreign keys now."""
        async with self._link() as link:
            await suspend.validate_all(link)
            left = await suspend.unvalidated(link)
        return [f"{key} of {relation}" for relation, key in left]

    async def dismantle(self, control: Control, *, helpers: bool) -> list[str]:
        """Remove everything but the control row, and helper functions where they are needed."""
        async with self._link() as link:
            return await dismantling.dismantle(link, self._mapped, control, helpers=helpers)

    async def probe(self) -> list[tuple[str, bool, str]]:
        """Readiness to be primary."""
        async with self._link() as link, self._connections.plain() as plain:
            return await probe.probe(link, plain, self._mapped, await controls.read(link))

    async def backup(self, path: str) -> str:
        """Not here: PostgreSQL has its own tools."""
        raise StoreError(f"PostgreSQL is not backed up to {path}.", hint="Use pg_dump or pg_basebackup.")

    # -- small things ----------------------------------------------------------------------------------------------

    async def _control(self, link: Link) -> Control:
        standing = await controls.read(link)
        if standing is None:
            raise StoreError("PostgreSQL has no control row.", hint="It has to be initialised first.")
        return standing

    def _validate_later(self) -> None:
        """Restored foreign keys are validated outside the pause; a failure is said, and tried again next time."""
        if self._validation is None or self._validation.done():
            self._validation = asyncio.create_task(self._validate())

    async def _validate(self) -> None:
        try:
            async with self._link() as link:
                await suspend.validate_all(link)
        except CutoverError as error:
            _log.warning("restored foreign keys are not validated yet", error=error.message)
