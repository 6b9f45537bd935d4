"""Sections A and B on Postgres: TRUNCATE, rewrites, switched triggers, partitions and logical replication."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from cutover.model.control import Control
from cutover.model.table import Column, Table
from cutover.model.values import Key, Pending, Row
from cutover.stores.postgres.embedded import EmbeddedPostgres
from cutover.stores.postgres.store import PostgresStore
from tests.support.postgres import DEMOTING, PRIMARY, SHADOW, native, ready, run
from tests.support.samples import PAIRS, PEOPLE, PEOPLE_POSTGRES
from tests.support.servers import fresh_database
from tests.support.service import until

NAIVE_CAPTURE = """
CREATE TABLE t (id int PRIMARY KEY, v varchar(20));
CREATE TABLE log (id int);
CREATE FUNCTION capture() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO log VALUES (coalesce(NEW.id, OLD.id)); RETURN NULL; END $$;
INSERT INTO t SELECT n, 'v' FROM generate_series(1, 5) n;
CREATE TRIGGER capture AFTER INSERT OR UPDATE OR DELETE ON t FOR EACH ROW EXECUTE FUNCTION capture();"""

PAST_THE_TRIGGERS = {
    "truncate": "TRUNCATE {table}",
    "rewrite": "ALTER TABLE {table} ALTER COLUMN {column} TYPE {type} USING {column} || '!'",
    "default": "ALTER TABLE {table} ADD COLUMN more text DEFAULT 'everywhere'",
    "disabled": "ALTER TABLE {table} DISABLE TRIGGER USER; UPDATE {table} SET {column} = 'past'; "
    "ALTER TABLE {table} ENABLE TRIGGER USER",
}


@pytest.mark.parametrize("ddl", PAST_THE_TRIGGERS)
async def test_hazard_09_naive_row_triggers_do_not_see_it(postgres_url: str, ddl: str) -> None:
    await run(postgres_url, NAIVE_CAPTURE)
    async with native(postgres_url) as app:
        before = await app.fetch("SELECT * FROM t")
        await app.execute(PAST_THE_TRIGGERS[ddl].format(table="t", column="v", type="varchar(50)"))
        assert await app.fetch("SELECT * FROM t") != before
        assert await app.fetchval("SELECT count(*) FROM log") == 0


async def pending(store: PostgresStore) -> Pending:
    async with store.snapshot() as snapshot:
        return await snapshot.pending()


@pytest.mark.parametrize("ddl", PAST_THE_TRIGGERS)
async def test_hazard_09_the_table_is_known_to_have_changed_as_a_whole(postgres_url: str, ddl: str) -> None:
    async with ready(postgres_url, PRIMARY) as store:
        await run(postgres_url, "INSERT INTO pairs VALUES (1, 'x', 'n')")
        await store.trim(await pending(store), 1)
        assert (await pending(store)).whole == frozenset()
        await run(postgres_url, PAST_THE_TRIGGERS[ddl].format(table="pairs", column="note", type='text COLLATE "C"'))
        seen = await pending(store)
        assert seen.whole == {"pairs"}
        await store.trim(seen, 2)
        assert (await pending(store)).whole == frozenset()


async def test_hazard_09_naive_a_partition_is_another_door(postgres_url: str) -> None:
    await run(
        postgres_url,
        "CREATE TABLE t (id int) PARTITION BY RANGE (id); CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (9)",
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'fenced' USING ERRCODE = '25006'; END $$",
        "CREATE TRIGGER fence BEFORE INSERT ON t EXECUTE FUNCTION refuse(); ALTER TABLE t ENABLE ALWAYS TRIGGER fence",
    )
    with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
        await run(postgres_url, "INSERT INTO t VALUES (1)")
    await run(postgres_url, "INSERT INTO t1 VALUES (1)")


async def test_hazard_09_every_partition_has_capture_and_fence(postgres_url: str) -> None:
    ddl = [
        "CREATE TABLE notes (id bigint PRIMARY KEY, body text) PARTITION BY RANGE (id)",
        "CREATE TABLE notes_low PARTITION OF notes FOR VALUES FROM (0) TO (100)",
    ]
    columns = (Column("id", "INTEGER", "INTEGER", "id", "bigint"), Column("body", "TEXT", "TEXT", "body", "text"))
    notes = Table("notes", "public", "notes", columns, ("id",))
    async with ready(postgres_url, PRIMARY, ddl=ddl, tables=(notes,)) as store:
        await run(postgres_url, "INSERT INTO notes_low VALUES (1, 'a')")
        assert (await pending(store)).tables == {"notes"}
        await store.fence(DEMOTING, 60)
        for table in ("notes", "notes_low"):
            with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
                await run(postgres_url, f"INSERT INTO {table} VALUES (2, 'b')")


# -- logical replication ---------------------------------------------------------------------------------------------


@asynccontextmanager
async def feed(server: str, url: str) -> AsyncIterator[asyncpg.Connection]:
    """A publisher of `people`, and a subscription to it in the database at `url`, in the same server."""
    async with fresh_database(server) as publisher, native(publisher) as source:
        await source.execute(PEOPLE_POSTGRES + "; CREATE PUBLICATION p FOR TABLE people")
        slot = "slot_" + url.rpartition("test_")[2][:8]
        await source.fetch("SELECT pg_create_logical_replication_slot($1, 'pgoutput')", slot)
        host = url.partition("host=")[2].partition("&")[0].replace("%2F", "/")
        database = publisher.rpartition("/")[2].partition("?")[0]
        await run(
            url,
            f"CREATE SUBSCRIPTION feed CONNECTION 'host={host} port=5432 user=postgres dbname={database}' "
            f"PUBLICATION p WITH (create_slot = false, slot_name = '{slot}', copy_data = false)",
        )
        try:
            yield source
        finally:
            await run(url, "ALTER SUBSCRIPTION feed DISABLE")
            await run(url, "ALTER SUBSCRIPTION feed SET (slot_name = NONE)", "DROP SUBSCRIPTION feed")
            drop = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = $1"
            await until(lambda: _dropped(source, drop, slot), "the end of the replication")


async def _dropped(source: asyncpg.Connection, drop: str, slot: str) -> bool:
    try:
        await source.fetch(drop, slot)
    except asyncpg.ObjectInUseError:
        return False
    return True


async def _count(app: asyncpg.Connection, sql: str) -> int:
    return int(await app.fetchval(sql))


async def test_hazard_09_naive_a_replication_worker_passes_statement_triggers(logical_server: EmbeddedPostgres) -> None:
    async with fresh_database(logical_server.url) as url, native(url) as app:
        await app.execute(
            PEOPLE_POSTGRES
            + """; CREATE TABLE log (id text);
            CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
                $$ BEGIN RAISE EXCEPTION 'fenced' USING ERRCODE = '25006'; END $$;
            CREATE TRIGGER fence BEFORE INSERT ON people EXECUTE FUNCTION refuse();
            ALTER TABLE people ENABLE ALWAYS TRIGGER fence;
            CREATE FUNCTION capture() RETURNS trigger LANGUAGE plpgsql AS
                $$ BEGIN INSERT INTO public.log VALUES (NEW.id); RETURN NULL; END $$;
            CREATE TRIGGER capture AFTER INSERT ON people FOR EACH ROW EXECUTE FUNCTION capture();"""
        )
        async with feed(logical_server.url, url) as source:
            await source.execute("INSERT INTO people VALUES ('r', 'r', NULL)")
            await until(lambda: _count(app, "SELECT count(*) FROM people"), "a row through the fence")
            assert await _count(app, "SELECT count(*) FROM log") == 0


async def _replicated(url: str, control: Control, server: str, expect: str) -> list[Row]:
    """What a replicated row comes to: people rows after `expect` (SQL) became true."""
    async with ready(url, control) as store, native(url) as app, feed(server, url) as source:
        await store.install_capture()
        await source.execute("INSERT INTO people VALUES ('r', 'r', NULL)")
        await until(lambda: _count(app, expect), expect)
        if control is PRIMARY:
            async with store.snapshot() as snapshot:
                keys: list[Key] = [key async for rows in snapshot.changed(PEOPLE, 10) for key, _ in rows]
            assert keys == [("r",)]
        return [tuple(row) for row in await app.fetch("SELECT id FROM people")]


async def test_hazard_09_a_replication_worker_is_captured(logical_server: EmbeddedPostgres) -> None:
    async with fresh_database(logical_server.url) as url:
        rows = await _replicated(url, PRIMARY, logical_server.url, "SELECT count(*) FROM people")
        assert rows == [("r",)]


async def test_hazard_09_a_replication_worker_is_fenced(logical_server: EmbeddedPostgres) -> None:
    async with fresh_database(logical_server.url) as url:
        failed = "SELECT apply_error_count FROM pg_stat_subscription_stats WHERE subname = 'feed'"
        assert await _replicated(url, SHADOW, logical_server.url, failed) == []


# -- 10: rewrites under a snapshot -----------------------------------------------------------------------------------

REWRITES = {
    "type": "ALTER TABLE {table} ALTER COLUMN {column} TYPE varchar(50) USING {column} || '!'",
    "truncate": "TRUNCATE {table}",
}


@pytest.mark.parametrize("ddl", REWRITES)
async def test_hazard_10_naive_a_rewritten_table_reads_as_empty(postgres_url: str, ddl: str) -> None:
    await run(postgres_url, NAIVE_CAPTURE, "UPDATE t SET v = 'w'")
    async with native(postgres_url) as mirror:
        await mirror.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        assert await mirror.fetchval("SELECT count(*) FROM log") == 5
        await run(postgres_url, REWRITES[ddl].format(table="t", column="v"))
        assert await mirror.fetchval("SELECT count(*) FROM t") == 0  # five keys without a row: five deletes


@pytest.mark.parametrize("ddl", REWRITES)
async def test_hazard_10_a_rewrite_waits_until_the_snapshot_was_read(postgres_url: str, ddl: str) -> None:
    async with ready(postgres_url, PRIMARY) as store:
        await run(postgres_url, "INSERT INTO pairs SELECT n, 'x', 'n' FROM generate_series(1, 5) n")
        async with store.snapshot() as snapshot, native(postgres_url) as watcher:
            rewriting = asyncio.create_task(run(postgres_url, REWRITES[ddl].format(table="pairs", column="note")))
            await until(
                lambda: _count(watcher, "SELECT count(*) FROM pg_locks WHERE NOT granted"), "a rewrite that waits"
            )
            found = {key: row async for rows in snapshot.changed(PAIRS, 2) for key, row in rows}
            assert found == {(n, "x"): (n, "x", "n") for n in range(1, 6)}
        await asyncio.wait_for(rewriting, 10)


async def test_hazard_10_a_snapshot_that_waits_keeps_no_schema_change_waiting(postgres_url: str) -> None:
    """The change has one table, the snapshot the other: neither would ever get on."""
    async with ready(postgres_url, PRIMARY) as store, native(postgres_url) as app:
        for one, other in (("people", "pairs"), ("pairs", "people")):
            await app.execute(f"BEGIN; LOCK TABLE {one}; SET LOCAL lock_timeout = '700ms'")
            opening = asyncio.create_task(pending(store))
            await until(lambda: waiting(postgres_url), "a snapshot that waits")
            await app.execute(f"ALTER TABLE {other} ADD COLUMN more text")
            await app.execute("ROLLBACK")
            assert (await opening).count == 0


async def waiting(url: str) -> bool:
    async with native(url) as connection:
        return bool(await connection.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"))
