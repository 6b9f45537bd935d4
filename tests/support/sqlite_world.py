"""A SQLite store with everything installed, and applications that open the file themselves."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager

from cutover.model.control import Control
from cutover.model.table import Table
from cutover.model.values import Key, Row
from cutover.stores.sqlite.store import SqliteStore
from tests.support.sqlite_tables import mapped

PRIMARY = Control("pair", primary="sqlite", epoch=1)
SHADOW = Control("pair", primary="postgres", epoch=1)


@contextmanager
def direct(path: str) -> Iterator[sqlite3.Connection]:
    """An application that opens the file itself."""
    with closing(sqlite3.connect(path, isolation_level=None, timeout=5)) as connection:
        yield connection


def make(path: str, *statements: str) -> None:
    with direct(path) as application:
        for statement in statements:
            application.execute(statement)


def one(path: str, sql: str) -> object:
    with direct(path) as application:
        return application.execute(sql).fetchone()[0]


@asynccontextmanager
async def served(
    path: str, control: Control, types: dict[str, str] | None = None, *, busy_timeout: float = 5.0
) -> AsyncIterator[tuple[SqliteStore, dict[str, Table]]]:
    """A store on `path` with everything installed for the role that `control` gives it."""
    store = SqliteStore(path, busy_timeout=busy_timeout)
    await store.open()
    try:
        with direct(path) as application:
            tables = mapped(application, types)
        store.serve_tables(tables)
        await store.initialise(control)
        await store.install_capture()
        yield store, {table.name: table for table in tables}
    finally:
        await store.close()


async def take(store: SqliteStore, table: Table, batch: int) -> dict[Key, Row | None]:
    async with store.snapshot() as snapshot:
        pending = await snapshot.pending()
        found = {key: row async for rows in snapshot.changed(table, 10) for key, row in rows}
    await store.trim(pending, batch)
    return found
