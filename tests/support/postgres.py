"""A Postgres store ready for a test, and native connections beside it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import asyncpg

from cutover.model.control import Control, SwitchState
from cutover.model.table import Tables
from cutover.stores.postgres.store import PostgresStore
from tests.support.samples import POSTGRES_DDL, TABLES

PAIR = "pair-of-tests"
SHADOW = Control(PAIR, primary="sqlite", epoch=1, generation=1)
PRIMARY = Control(PAIR, primary="postgres", epoch=2, generation=1)
DEMOTING = PRIMARY.but(state=SwitchState.DEMOTING, switch_id="switch-2")


@asynccontextmanager
async def native(url: str, **options: object) -> AsyncIterator[asyncpg.Connection]:
    """A connection of the application's own."""
    connection = await asyncpg.connect(url, **options)
    try:
        yield connection
    finally:
        connection.terminate()


async def run(url: str, *statements: str) -> None:
    """Run statements, each committed by itself."""
    async with native(url) as connection:
        for statement in statements:
            await connection.execute(statement)


@asynccontextmanager
async def ready(
    url: str,
    control: Control,
    *,
    ddl: Sequence[str] = POSTGRES_DDL,
    tables: Tables = TABLES,
) -> AsyncIterator[PostgresStore]:
    """An open store with its tables made, served, initialised and captured."""
    store = PostgresStore(url)
    await store.open()
    try:
        await store.create_tables(ddl)
        store.serve_tables(tables)
        await store.initialise(control)
        await store.install_capture()
        yield store
    finally:
        await store.close()
