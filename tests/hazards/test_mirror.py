"""Section B: what the mirror applies: whole snapshots, by one hand, of what is on disk already."""

from __future__ import annotations

import asyncio
import signal
import sqlite3

import asyncpg
import psutil
import pytest

from cutover.model.control import Outcome
from cutover.settings import MirrorSettings
from cutover.stores.postgres.embedded import EmbeddedPostgres
from cutover.stores.postgres.store import PostgresStore
from tests.flow.compare_world import world
from tests.support.postgres import PRIMARY, SHADOW, native, ready, run
from tests.support.samples import TABLES
from tests.support.servers import fresh_database, signal_all
from tests.support.service import until
from tests.support.sqlite_world import direct, make

MANY = "INSERT INTO users (id, handle) SELECT n, 'v0' FROM generate_series(1, 100) n"


def fill(connection: sqlite3.Connection) -> None:
    connection.executemany("INSERT INTO users (id, handle) VALUES (?, 'v0')", [(n,) for n in range(1, 101)])


async def blocked(app: asyncpg.Connection) -> bool:
    """Whether somebody waits for a lock here."""
    sql = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    return bool(await app.fetchval(sql))


async def values(app: asyncpg.Connection, where: str = "true") -> set[str]:
    """What the shadow's rows are."""
    return {row[0] for row in await app.fetch(f"SELECT DISTINCT handle FROM users WHERE {where}")}


# -- 25: one snapshot, one transaction -------------------------------------------------------------------------------


async def test_hazard_25_naive_a_limited_batch_shows_half_a_transaction(sqlite_path: str, postgres_url: str) -> None:
    make(sqlite_path, "CREATE TABLE users (id INTEGER PRIMARY KEY, handle)", "CREATE TABLE log (id)")
    make(sqlite_path, "CREATE TRIGGER c AFTER UPDATE ON users BEGIN INSERT INTO log VALUES (NEW.id); END")
    await run(postgres_url, "CREATE TABLE users (id int PRIMARY KEY, handle text)", MANY)
    with direct(sqlite_path) as primary:
        fill(primary)
        primary.execute("UPDATE users SET handle = 'v1'")
        batch = primary.execute("SELECT id, handle FROM users WHERE id IN (SELECT id FROM log LIMIT 10)").fetchall()
    async with native(postgres_url) as shadow:
        await shadow.executemany("UPDATE users SET handle = $2 WHERE id = $1", batch)
        assert await values(shadow) == {"v0", "v1"}  # a state that the primary never had


async def test_hazard_25_what_one_snapshot_showed_appears_at_once(sqlite_path: str, postgres_url: str) -> None:
    async with (
        world(sqlite_path, postgres_url, fill) as here,
        native(postgres_url) as brake,
        native(postgres_url) as reader,
    ):
        here.mirror._settings = MirrorSettings(batch_rows=10)
        await brake.execute("BEGIN; SELECT FROM users WHERE id = 95 FOR UPDATE")
        await here.write("UPDATE users SET handle = 'v1'")
        await until(lambda: blocked(reader), "a mirror in the middle of its rows")
        assert await values(reader) == {"v0"}
        await brake.execute("COMMIT")
        await here.settled()
        assert await values(reader) == {"v1"}


async def test_hazard_25_while_a_table_is_copied_the_shadow_is_catching_up(sqlite_path: str, postgres_url: str) -> None:
    async with (
        world(sqlite_path, postgres_url, fill) as here,
        native(postgres_url) as brake,
        native(postgres_url) as reader,
    ):
        assert not here.mirror.catching_up
        await brake.execute("BEGIN; SELECT FROM users WHERE id = 95 FOR UPDATE")
        await here.mirror.copy_again(["users"])
        await until(lambda: blocked(reader), "a copy in the middle of its rows")
        assert here.mirror.catching_up
        await brake.execute("COMMIT")
        await here.settled()
        assert not here.mirror.catching_up


# -- 26: one hand ----------------------------------------------------------------------------------------------------


async def test_hazard_26_naive_a_copy_beside_the_mirror_leaves_an_old_row(sqlite_path: str, postgres_url: str) -> None:
    make(sqlite_path, "CREATE TABLE users (id INTEGER PRIMARY KEY, handle)", "INSERT INTO users VALUES (1, 'v0')")
    await run(postgres_url, "CREATE TABLE users (id int PRIMARY KEY, handle text)")
    upsert = "INSERT INTO users VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET handle = excluded.handle"
    async with native(postgres_url) as shadow:
        with direct(sqlite_path) as primary:
            copied = primary.execute("SELECT id, handle FROM users").fetchone()
            primary.execute("UPDATE users SET handle = 'v1'")
            mirrored = primary.execute("SELECT id, handle FROM users").fetchone()
        await shadow.execute(upsert, *mirrored)  # and its log entry is trimmed
        await shadow.execute(upsert, *copied)
        assert await values(shadow) == {"v0"}


async def test_hazard_26_a_repair_and_the_mirror_take_turns(
    sqlite_path: str, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world(sqlite_path, postgres_url, fill) as here, native(postgres_url) as reader:
        await here.spoil("users", upserts=[(1, "spoiled", None, None)])
        sync, has_read, go_on = here.source.sync, asyncio.Event(), asyncio.Event()

        async def slow_disk() -> None:
            if not has_read.is_set():
                has_read.set()
                await go_on.wait()
            await sync()

        monkeypatch.setattr(here.source, "sync", slow_disk)
        repairing = asyncio.create_task(here.mirror.reapply(here.table("users"), [(1,)]))
        await has_read.wait()
        await here.write("UPDATE users SET handle = 'v1' WHERE id = 1")
        assert not await here.mirror.caught_up(0.5)  # it waits for the repair, which has the row of before
        go_on.set()
        await repairing
        await here.settled()
        assert await values(reader, "id = 1") == {"v1"}


async def test_hazard_26_a_copy_and_the_mirror_take_turns(sqlite_path: str, postgres_url: str) -> None:
    async with (
        world(sqlite_path, postgres_url, fill) as here,
        native(postgres_url) as brake,
        native(postgres_url) as reader,
    ):
        await brake.execute("BEGIN; SELECT FROM users WHERE id = 95 FOR UPDATE")
        await here.mirror.copy_again(["users"])
        await until(lambda: blocked(reader), "a copy that has read the primary")
        await here.write("UPDATE users SET handle = 'v1'")
        await here.write("DELETE FROM users WHERE id = 7")
        await brake.execute("COMMIT")
        await here.settled()
        assert await values(reader) == {"v1"}
        assert await reader.fetchval("SELECT count(*) FROM users") == 99


# -- 27: what is on disk ---------------------------------------------------------------------------------------------


def stop_wal_writer(postgres: EmbeddedPostgres) -> None:
    """From now on, what is committed asynchronously stays in the server's memory."""
    for child in psutil.Process(postgres.pid).children():
        if "walwriter" in " ".join(child.cmdline()):
            child.send_signal(signal.SIGSTOP)
            return
    raise AssertionError("no WAL writer")


async def crash(postgres: EmbeddedPostgres) -> None:
    """Everything in the server's memory is lost."""
    signal_all(postgres, signal.SIGKILL)
    await postgres.start()


ASYNCHRONOUS = "SET synchronous_commit = off; INSERT INTO people VALUES ('a', 'a', NULL)"


async def test_hazard_27_naive_a_row_is_seen_and_then_gone(logical_server: EmbeddedPostgres) -> None:
    async with fresh_database(logical_server.url) as url:
        await run(url, "CREATE TABLE people (id text, handle text, about text)")
        stop_wal_writer(logical_server)
        async with native(url) as app, native(url) as mirror:
            await app.execute(ASYNCHRONOUS)
            assert await mirror.fetchval("SELECT count(*) FROM people") == 1  # and it would be applied now
            await crash(logical_server)
        async with native(url) as app:
            assert await app.fetchval("SELECT count(*) FROM people") == 0


async def test_hazard_27_after_a_sync_it_stays(logical_server: EmbeddedPostgres) -> None:
    async with fresh_database(logical_server.url) as url, ready(url, PRIMARY) as store:
        stop_wal_writer(logical_server)
        async with native(url) as app:
            await app.execute(ASYNCHRONOUS)
            async with store.snapshot() as snapshot:
                assert (await snapshot.pending()).count == 1
                await store.sync()
            await crash(logical_server)
        await store.open()
        async with store.snapshot() as snapshot:
            assert (await snapshot.pending()).count == 1
            assert await snapshot.scalar("SELECT handle FROM people") == "a"


async def test_hazard_27_our_own_commits_wait_for_the_disk_whatever_the_database_says(
    logical_server: EmbeddedPostgres,
) -> None:
    async with fresh_database(logical_server.url) as url, ready(url, SHADOW) as store:
        await run(
            url,
            "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET synchronous_commit = off', current_database()); END $$",
        )
        checks = {name: (ok, detail) for name, ok, detail in await store.probe()}
        assert not checks["durability"][0]
        fresh = PostgresStore(url, pool_size=2)  # its sessions begin under what the database says
        await fresh.open()
        fresh.serve_tables(TABLES)
        try:
            stop_wal_writer(logical_server)
            await fresh.prepare("s1")
            await crash(logical_server)
            assert await fresh.outcome("s1") is Outcome.PREPARED
            stop_wal_writer(logical_server)
            await fresh.receive(PRIMARY, "s1", 60)
            await crash(logical_server)
            assert await fresh.outcome("s1") is Outcome.COMMITTED
            stop_wal_writer(logical_server)
            await fresh.pool.execute("INSERT INTO people VALUES ('front', 'door', NULL)")
            await crash(logical_server)
        finally:
            await fresh.close()
        async with native(url) as app:
            assert await app.fetchval("SELECT handle FROM people") == "door"
            persistence = "SELECT DISTINCT relpersistence::text FROM pg_class WHERE relname ~ '^log_'"
            assert [row[0] for row in await app.fetch(persistence)] == ["p"]  # none is unlogged
