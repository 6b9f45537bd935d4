"""Autovacuum holds the locks of a switch, and gives way only after a second: before the pause, not in it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count

import asyncpg
import pytest

from cutover.stores.postgres.names import target
from cutover.stores.postgres.store import PostgresStore
from tests.support.postgres import DEMOTING, PRIMARY, native, ready
from tests.support.samples import TABLES
from tests.support.service import until

VACUUM = "SELECT count(*) FROM pg_stat_progress_vacuum WHERE relid = 'people'::regclass"
EAGERLY = "autovacuum_vacuum_threshold = 1, autovacuum_vacuum_scale_factor = 0"
SLOWLY = "autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1"

_LOOKED = """
SELECT count(*) FROM pg_locks
WHERE mode = 'ShareUpdateExclusiveLock' AND waitstart < clock_timestamp() - interval '1.2 s'
"""


@asynccontextmanager
async def vacuumed(store: PostgresStore, app: asyncpg.Connection) -> AsyncIterator[None]:
    """With an autovacuum of `people` under way that would take minutes. A superuser's test."""
    rows = "SELECT n::text, n::text, repeat('x', 500) FROM generate_series(1, 5000) n"
    await app.execute(f"INSERT INTO people {rows}; DELETE FROM people WHERE length(id) < 4")
    await app.execute(f"ALTER TABLE people SET ({EAGERLY}, {SLOWLY})")
    await app.execute("ALTER SYSTEM SET autovacuum_naptime = '1s'")
    try:
        await app.execute("SELECT pg_reload_conf()")

        async def running() -> bool:
            return bool(await app.fetchval(VACUUM))

        await until(running, "an autovacuum")
    finally:
        await app.execute("ALTER SYSTEM RESET autovacuum_naptime")
        await app.execute("SELECT pg_reload_conf()")
    yield


async def test_autovacuum_makes_way_before_the_pause(postgres_url: str) -> None:
    async with ready(postgres_url, PRIMARY) as store, native(postgres_url) as app, vacuumed(store, app):
        making = asyncio.create_task(store.make_way())
        await app.execute("SET lock_timeout = '500ms'")  # counts the wait for a lock alone, however busy the machine
        for number in range(5):  # nobody queues behind it
            await app.execute(f"INSERT INTO people VALUES ('w{number}', 'w{number}', NULL)")
        await making
        assert await app.fetchval(VACUUM) == 0
        await store.fence(DEMOTING, 60)


async def test_a_fence_that_meets_autovacuum_keeps_no_writer_waiting(postgres_url: str) -> None:
    async with ready(postgres_url, PRIMARY) as store, native(postgres_url) as app, vacuumed(store, app):
        fencing = asyncio.create_task(store.fence(DEMOTING, 60))
        await app.execute("SET lock_timeout = '700ms'")

        async def writing() -> None:
            for number in count():
                await app.execute(f"INSERT INTO people VALUES ('w{number}', 'w{number}', NULL)")

        with pytest.raises(asyncpg.PostgresError, match="takes no writes"):
            await writing()
        await fencing


async def test_a_migration_meets_no_deadlock_with_who_makes_way(postgres_url: str) -> None:
    """Postgres looks for a deadlock once a wait, after a second: who came later is the one that it ends."""
    async with ready(postgres_url, PRIMARY) as store, native(postgres_url) as app, native(postgres_url) as watch:
        names = [target(table) for table in TABLES]
        assert len(names) > 1
        async with app.transaction():
            await app.execute(f"LOCK TABLE {names[-1]} IN ACCESS EXCLUSIVE MODE")
            making = asyncio.create_task(store.make_way())

            async def looked() -> bool:
                return bool(await watch.fetchval(_LOOKED))

            await until(looked, "a wait that was looked at")
            await app.execute(f"LOCK TABLE {', '.join(names)} IN ACCESS EXCLUSIVE MODE")
        await making
