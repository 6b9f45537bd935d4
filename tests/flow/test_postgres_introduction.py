"""A Postgres that becomes a shadow: its fence and the control row that speaks of it must come together."""

from __future__ import annotations

import asyncio

from cutover.stores.postgres.store import PostgresStore
from tests.support.postgres import SHADOW, native
from tests.support.samples import POSTGRES_DDL, TABLES
from tests.support.service import until


async def test_no_write_is_taken_once_the_control_row_names_another_primary(postgres_url: str) -> None:
    store = PostgresStore(postgres_url, connect_timeout=5.0)
    await store.open()
    try:
        await store.create_tables(POSTGRES_DDL)
        store.serve_tables(TABLES)
        async with native(postgres_url) as slow, native(postgres_url) as quick:
            table = TABLES[0].target or TABLES[0].name
            held = slow.transaction()
            await held.start()
            await slow.execute(f"LOCK TABLE {table} IN ROW EXCLUSIVE MODE")  # a writer that takes its time
            introducing = asyncio.create_task(store.initialise(SHADOW))
            waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = $1::text::regclass"

            async def fencing() -> bool:
                return bool(await quick.fetchval(waiting, table))

            await until(fencing, "the fence waiting for its lock")
            async with quick.transaction():
                await quick.execute(f"DELETE FROM {table}")  # gets in between two attempts
                exists = await quick.fetchval("SELECT to_regclass('cutover.control') IS NOT NULL")
                named = await quick.fetchval("SELECT primary_store FROM cutover.control") if exists else None
            await held.rollback()
            await introducing
        assert named is None, f"Postgres took a write while its control row said that {named} is primary"
    finally:
        await store.close()
