"""Two real stores, a real mirror between them and a comparator over both, in either direction."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg

from cutover.compare.comparator import Comparator
from cutover.compare.invariants import InvariantCheck
from cutover.metrics import Metrics
from cutover.model.control import Control, StoreName, SwitchState, other
from cutover.model.table import Table
from cutover.model.values import Key, Row
from cutover.schema.mapping import map_tables
from cutover.settings import CompareSettings, MirrorSettings, PostgresSettings, Settings
from cutover.shadow.mirror import Mirror
from cutover.stores.base import Member, Store
from cutover.stores.pair import Pair
from cutover.stores.postgres.store import PostgresStore
from cutover.stores.sqlite.store import SqliteStore

SCHEMA = """
CREATE TABLE users (id INTEGER PRIMARY KEY, handle TEXT NOT NULL, score REAL, face BLOB);
CREATE TABLE posts (author TEXT NOT NULL, number INTEGER NOT NULL, body TEXT, parent INTEGER REFERENCES users (id),
                    PRIMARY KEY (author, number));
"""
SETTINGS = Settings(postgres=PostgresSettings(rowid="drop"))
"""Rows of the tables are written out here, column by column."""


class World:
    """What a test works with. `write` is the application on whichever store is primary."""

    def __init__(self, sqlite: SqliteStore, postgres: PostgresStore, url: str, compare: CompareSettings) -> None:
        self.sqlite, self.postgres, self._url = sqlite, postgres, url
        self._members = {store.name: Member(store, None) for store in (sqlite, postgres)}  # type: ignore[arg-type]
        self.pair = Pair(self._members["sqlite"], self._members["postgres"], 1)
        self.tables: tuple[Table, ...] = ()
        self.metrics = Metrics("test")
        self.mirror = Mirror(
            self.pair, (), MirrorSettings(), self.metrics, generation=1, batch=0, on_applied=self._applied
        )
        self.invariants: list[InvariantCheck] = []
        self.comparator = Comparator(
            lambda: self.pair, lambda: self.tables, self.mirror, compare, self.invariants, self.metrics
        )
        self._app: asyncpg.Connection[Any] | None = None

    def _applied(self, table: Table, keys: list[Key]) -> None:
        self.comparator.applied(table, keys)

    @property
    def source(self) -> Store:
        return self.pair.source

    @property
    def target(self) -> Store:
        return self.pair.target

    def table(self, name: str) -> Table:
        return next(table for table in self.tables if table.name == name)

    async def attach(self) -> None:
        source = await self.sqlite.read_schema()
        mapping = map_tables(source, await self.postgres.read_schema("public"), SETTINGS)
        await self.postgres.create_tables(mapping.create)
        mapping = map_tables(source, await self.postgres.read_schema("public"), SETTINGS)
        assert not mapping.blocking
        self.tables = mapping.tables
        for store in (self.sqlite, self.postgres):
            store.serve_tables(self.tables)
            await store.initialise(Control("pair", "sqlite", 1, generation=1))
        for store in (self.sqlite, self.postgres):
            await store.install_capture()
        await self.mirror.start(self.pair, self.tables)

    async def switch(self) -> None:
        """Hand the primacy over, as the switch does."""
        giver, receiver = self.source, self.target
        before = await giver.control()
        assert before is not None
        state = SwitchState.PROMOTING if giver.name == "sqlite" else SwitchState.DEMOTING
        name = f"switch-{self.pair.epoch}"
        await receiver.prepare(name)
        await giver.fence(before.but(state=state, switch_id=name), 60)
        await self.mirror.drain(10.0)
        standing = await receiver.control()
        assert standing is not None
        control = standing.but(
            primary=receiver.name,
            epoch=self.pair.epoch + 1,
            state=SwitchState.STEADY,
            switch_id=name,
            applied_batch=self.mirror.batch,
            trimmed_batch=self.mirror.batch,
        )
        await receiver.receive(control, name, 60)
        self.pair = self.pair.swapped()
        self.comparator.forget()
        await giver.settle(control)
        await self.mirror.start(self.pair, self.tables)

    async def write(self, sql: str, parameters: Sequence[Sequence[Any]] = ((),)) -> None:
        """One transaction of the application, past any front door. Parameters are `?1`, `?2` in both dialects."""
        if self.source.name == "sqlite":
            await asyncio.to_thread(self._write_directly, sql, parameters)
        else:
            if self._app is None:
                self._app = await asyncpg.connect(self._url)
            async with self._app.transaction():
                await self._app.executemany(sql.replace("?", "$"), parameters)
        self.source.wake()

    def _write_directly(self, sql: str, parameters: Sequence[Sequence[Any]]) -> None:
        with contextlib.closing(sqlite3.connect(self.sqlite.path, isolation_level=None, timeout=60)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(sql, parameters)
            connection.execute("COMMIT")

    async def spoil(self, table: str, *, upserts: Sequence[Row] = (), deletes: Sequence[Key] = ()) -> None:
        """Change the shadow behind everybody's back."""
        async with self.mirror.quiesced(), self.target.applier(1, self.pair.epoch, None) as applier:
            await applier.apply(self.table(table), upserts, deletes)

    @asynccontextmanager
    async def postgres_away(self, server: str) -> AsyncIterator[None]:
        """Inside, the database ends every session and takes none."""
        name = urlsplit(self._url).path.strip("/")
        admin = await asyncpg.connect(server)
        try:
            await admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
            await admin.fetch("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name)
            yield
        finally:
            await admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
            await admin.close()

    async def settled(self) -> None:
        """Everything copied and mirrored."""
        await until(lambda: not self.mirror.catching_up)
        assert await self.mirror.caught_up(20.0)

    @asynccontextmanager
    async def serving(self, *services: Callable[[], Any]) -> AsyncIterator[None]:
        """With the mirror, and these, running."""
        tasks = [asyncio.create_task(service()) for service in (self.mirror.run, *services)]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            for result in await asyncio.gather(*tasks, return_exceptions=True):
                assert isinstance(result, asyncio.CancelledError | None), result

    async def close(self) -> None:
        if self._app is not None:
            await self._app.close()


@asynccontextmanager
async def world(
    sqlite_path: str,
    postgres_url: str,
    fill: Callable[[sqlite3.Connection], object],
    *,
    primary: StoreName = "sqlite",
    schema: str = SCHEMA,
    compare: CompareSettings | None = None,
) -> AsyncIterator[World]:
    """A world with the shadow copied and the mirror running, `primary` being primary."""
    with contextlib.closing(sqlite3.connect(sqlite_path)) as connection:
        connection.executescript(schema)
        fill(connection)
        connection.commit()
    sqlite = SqliteStore(sqlite_path, owner_lock=Path(sqlite_path + ".owner"))
    postgres = PostgresStore(postgres_url, pool_size=2)
    async with AsyncExitStack() as closing:
        for store in (sqlite, postgres):
            await store.open()
            closing.push_async_callback(store.close)
        made = World(sqlite, postgres, postgres_url, compare or CompareSettings(scan_interval=0, range_rows=10))
        closing.push_async_callback(made.close)
        await made.attach()
        async with made.serving():
            await made.settled()
            if primary != made.source.name:
                assert primary == other(made.source.name)
                await made.switch()
                await made.settled()
            yield made


async def until(condition: Callable[[], object], timeout: float = 60.0) -> None:
    """Wait until the condition holds."""
    async with asyncio.timeout(timeout):
        while not condition():
            await asyncio.sleep(0.01)
