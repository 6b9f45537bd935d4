"""One apply transaction on the SQLite file while it is the shadow."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

from cutover.crashpoints import crash_point
from cutover.errors import StaleApplier, StoreUnavailable
from cutover.model.control import BackfillProgress
from cutover.model.table import Table, Tables
from cutover.model.values import Applied, Key, Row
from cutover.stores.sqlite.apply import Writing
from cutover.stores.sqlite.capture import demand_intact
from cutover.stores.sqlite.connection import Connection, settled, speaking
from cutover.stores.sqlite.control import need_control
from cutover.stores.sqlite.resting import suspend_triggers

T = TypeVar("T")


class FenceWatch:
    """Whether the fence still stands, looked at anew only when the schema changed (hazard 8)."""

    def __init__(self) -> None:
        self._intact_at: tuple[int, Tables] | None = None

    def check(self, connection: sqlite3.Connection, tables: Tables) -> None:
        """Raise `CaptureBroken` on a breach. Triggers that the application made again are put to rest again."""
        version = connection.execute("PRAGMA schema_version").fetchone()[0]
        if self._intact_at == (version, tables):
            return
        suspended = suspend_triggers(connection, tables)
        demand_intact(connection, tables)
        if not suspended:  # else this transaction makes a version of its own, which it may also take back
            self._intact_at = (version, tables)


class SqliteApplier:
    """Implements `stores.base.Applier`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._writing: Writing | None = None

    async def _run(self, work: Callable[[Writing], T], doing: str) -> T:
        def on_thread(connection: sqlite3.Connection) -> T:
            if self._writing is None:
                self._writing = Writing(connection)
            return work(self._writing)

        async with speaking(doing):
            return await settled(self._connection.run(on_thread))

    async def apply(self, table: Table, upserts: Sequence[Row], deletes: Sequence[Key]) -> Applied:
        """Make these rows so, and those keys absent."""
        return await self._run(lambda writing: writing.apply(table, upserts, deletes), f"applying to {table.name}")

    async def replace_range(self, table: Table, after: Key | None, upto: Key | None, rows: Sequence[Row]) -> Applied:
        """Make the range hold exactly `rows`."""
        return await self._run(
            lambda writing: writing.replace_range(table, after, upto, rows), f"applying to {table.name}"
        )

    async def begin_copy(self, table: Table) -> None:
        """Nothing: an index on SQLite costs a copy little, and whoever reads the file meanwhile needs it."""

    async def end_copy(self, table: Table) -> bool:  # noqa: ARG002  # nothing put aside
        """Nothing was put aside."""
        return False

    async def save_progress(self, progress: BackfillProgress) -> None:
        """Record it."""
        await self._run(lambda writing: writing.save_progress(progress), "recording progress")

    async def finish(self) -> None:
        """Give failed rows their last chance. Called before the commit."""
        await self._run(lambda writing: writing.finish(), "applying")


@asynccontextmanager
async def open_applier(
    connection: Connection,
    turn: asyncio.Lock,
    tables: Tables,
    watch: FenceWatch,
    belief: tuple[int, int, int | None],
) -> AsyncIterator[SqliteApplier]:
    """Begin, check `belief` (generation, epoch, batch), yield, commit. Holds the write turn throughout."""
    async with turn:
        try:
            async with speaking("beginning to apply"):
                await settled(connection.run(lambda c: _begin(c, tables, watch, belief)))
            applier = SqliteApplier(connection)
            yield applier
            await applier.finish()
            async with speaking("committing applied rows"):
                await settled(connection.run(lambda c: _commit(c, belief[2])))
        finally:
            await settled(connection.run(_restore))


def _begin(
    connection: sqlite3.Connection, tables: Tables, watch: FenceWatch, belief: tuple[int, int, int | None]
) -> None:
    connection.execute("PRAGMA foreign_keys = OFF")  # a cascade would delete rows that nobody named
    connection.execute("BEGIN IMMEDIATE")
    generation, epoch, _ = belief
    found = need_control(connection)
    if (found.generation, found.epoch) != (generation, epoch) or found.primary == "sqlite":
        raise StaleApplier(
            f"This applier (generation {generation}, epoch {epoch}) may not write to SQLite: recorded are generation "
            f"{found.generation}, epoch {found.epoch}, primary {found.primary}.",
            hint="A newer owner or a switch has taken its place.",
        )
    watch.check(connection, tables)
    connection.execute("UPDATE _cutover_control SET applying = 1")


def _commit(connection: sqlite3.Connection, batch: int | None) -> None:
    if not connection.in_transaction:
        raise StoreUnavailable("SQLite ended the apply transaction by itself, as it does when the disk is full.")
    connection.execute("UPDATE _cutover_control SET applying = 0, applied_batch = max(applied_batch, ?)", (batch or 0,))
    crash_point("sqlite.apply")
    connection.execute("COMMIT")


def _restore(connection: sqlite3.Connection) -> None:
    if connection.in_transaction:
        connection.execute("ROLLBACK")
    connection.execute("PRAGMA foreign_keys = ON")
