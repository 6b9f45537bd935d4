"""Section A on Postgres: who gets past a fence, who waits for it, and who waits behind it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import asyncpg
import pytest

from cutover.clock import monotonic
from cutover.dialect.executor import PostgresExecutor
from cutover.errors import CaptureBroken, FenceTimeout, StatementError
from cutover.metrics import Metrics
from cutover.model.control import Outcome
from cutover.model.statement import Statement
from cutover.settings import Settings
from cutover.stores.postgres.embedded import EmbeddedPostgres
from cutover.stores.postgres.store import PostgresStore
from tests.flow.dialect_world import world as dialect_world
from tests.support.postgres import DEMOTING, PRIMARY, SHADOW, native, ready, run
from tests.support.samples import PEOPLE, SQLITE_DDL, TABLES
from tests.support.servers import fresh_database
from tests.support.service import until

LEVELS = ("read_committed", "repeatable_read", "serializable")
ADD = "INSERT INTO people VALUES ('late', 'late', NULL)"


async def waiting(app: asyncpg.Connection, pid: int | None = None) -> bool:
    """Whether a session (this one, or any) waits for a lock."""
    sql = "SELECT count(*) FROM pg_locks WHERE NOT granted AND ($1::int IS NULL OR pid = $1)"
    return bool(await app.fetchval(sql, pid))


# -- 1, 2: the fence -------------------------------------------------------------------------------------------------

NAIVE_FENCE = """
CREATE TABLE t (id int PRIMARY KEY);
CREATE TABLE control (primary_store text);
INSERT INTO control VALUES ('postgres');
CREATE FUNCTION fence() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(1);
    IF (SELECT primary_store FROM control) <> 'postgres' THEN
        RAISE EXCEPTION 'fenced' USING ERRCODE = '25006';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER fence BEFORE INSERT ON t EXECUTE FUNCTION fence();"""


@pytest.mark.parametrize("isolation", LEVELS)
async def test_hazard_01_naive_a_control_row_is_read_in_the_old_snapshot(postgres_url: str, isolation: str) -> None:
    await run(postgres_url, NAIVE_FENCE)
    async with native(postgres_url) as app, native(postgres_url) as switch:
        transaction = app.transaction(isolation=isolation)
        await transaction.start()
        await app.fetchval("SELECT count(*) FROM t")
        await switch.execute("BEGIN; SELECT pg_advisory_xact_lock(1); UPDATE control SET primary_store = 'sqlite'")
        await switch.execute("COMMIT")
        if isolation == "read_committed":
            with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
                await app.execute("INSERT INTO t VALUES (1)")
            return
        await app.execute("INSERT INTO t VALUES (1)")
        await transaction.commit()  # acknowledged, after the last drain
        assert await switch.fetchval("SELECT count(*) FROM t") == 1


@pytest.mark.parametrize("isolation", LEVELS)
async def test_hazard_01_no_snapshot_is_old_enough_to_pass(postgres_url: str, isolation: str) -> None:
    async with ready(postgres_url, PRIMARY) as store, native(postgres_url) as app:
        transaction = app.transaction(isolation=isolation)
        await transaction.start()
        await app.fetchval("SELECT count(*) FROM people")
        await store.fence(DEMOTING, 60)
        with pytest.raises(asyncpg.ReadOnlySQLTransactionError, match="cutover"):
            await app.execute(ADD)
        await transaction.rollback()
        assert await app.fetchval("SELECT count(*) FROM people") == 0


async def test_hazard_01_nor_is_a_transaction_of_the_front_door(postgres_url: str) -> None:
    async with ready(postgres_url, PRIMARY) as store:
        executor = PostgresExecutor(
            store, lambda: TABLES, lambda: list(SQLITE_DDL), Metrics("test"), transaction_timeout=30
        )
        session = executor.session()
        await session.execute(Statement("BEGIN"))
        await session.execute(Statement("SELECT count(*) FROM people"))
        await store.fence(DEMOTING, 60)
        with pytest.raises(StatementError, match="cutover") as refused:
            await session.execute(Statement(ADD))
        assert refused.value.code == "SQLITE_BUSY"
        await session.close()
        await executor.close()
        async with native(postgres_url) as app:
            assert await app.fetchval("SELECT count(*) FROM people") == 0


@contextlib.asynccontextmanager
async def empty(url: str) -> AsyncIterator[tuple[PostgresStore, PostgresExecutor]]:
    """Postgres as primary without any table, and applications that may make some."""
    async with ready(url, PRIMARY, ddl=(), tables=()) as store:
        executor = PostgresExecutor(
            store, lambda: (), lambda: (), Metrics("test"), transaction_timeout=30, settings=Settings()
        )
        try:
            yield store, executor
        finally:
            await executor.close()


async def test_hazard_01_nor_does_a_schema_change(postgres_url: str) -> None:
    async with empty(postgres_url) as (store, executor), native(postgres_url) as app:
        session = executor.session()
        for sql in ("BEGIN", "SELECT random()"):
            await session.execute(Statement(sql))
        await store.fence(DEMOTING, 60)
        with pytest.raises(StatementError, match="database is locked") as refused:
            await session.execute(Statement("CREATE TABLE late (id INTEGER)"))
        assert refused.value.code == "SQLITE_BUSY"
        await session.close()
        assert await app.fetchval("SELECT to_regclass('late') IS NULL")


async def test_hazard_01_a_fence_waits_for_a_schema_change_which_meets_nothing_else(postgres_url: str) -> None:
    async with empty(postgres_url) as (store, executor), native(postgres_url) as app:
        session = executor.session()
        for sql in ("BEGIN", "CREATE TABLE one (id INTEGER)"):
            await session.execute(Statement(sql))
        async with asyncio.timeout(60):  # waits for nobody
            await store.anchor(7, "what is noted in the control row meanwhile")
        await session.execute(Statement("CREATE TABLE two (id INTEGER)"))
        fencing = asyncio.create_task(store.fence(DEMOTING, 30))
        await until(lambda: waiting(app), "a fence that waits for the schema change")
        await session.execute(Statement("COMMIT"))
        await session.close()
        with pytest.raises(CaptureBroken, match="not mapped"):  # the new tables are carried over first
            await fencing
        assert await store.control() == PRIMARY.but(
            audit_sequence=7, audit_hash="what is noted in the control row meanwhile"
        )


async def test_hazard_02_fence_and_control_row_stand_or_fall_together(postgres_url: str) -> None:
    async with ready(postgres_url, PRIMARY) as store, native(postgres_url) as app:
        await run(postgres_url, "DROP TRIGGER cutover_capture ON pairs")
        with pytest.raises(CaptureBroken):
            await store.fence(DEMOTING, 60)
        assert await store.control() == PRIMARY
        await app.execute(ADD)
        await store.install_capture()
        await store.fence(DEMOTING, 60)
        assert await store.control() == DEMOTING
        with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
            await app.execute("DELETE FROM people")


# -- 11: those who wait ----------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def idle_writer(url: str) -> AsyncIterator[asyncpg.Connection]:
    """A transaction that has written to `people` and does nothing more."""
    async with native(url, server_settings={"application_name": "idle writer"}) as app:
        await app.execute("BEGIN; INSERT INTO people VALUES ('idle', 'idle', NULL)")
        yield app


async def test_hazard_11_naive_everybody_queues_behind_one_idle_transaction(postgres_url: str) -> None:
    async with ready(postgres_url, PRIMARY), idle_writer(postgres_url), native(postgres_url) as switch:
        await switch.execute("BEGIN")
        fencing = asyncio.create_task(switch.execute("LOCK TABLE people IN SHARE ROW EXCLUSIVE MODE"))
        async with native(postgres_url, server_settings={"statement_timeout": "300ms"}) as other:
            await until(lambda: waiting(other), "a switch that waits")
            with pytest.raises(asyncpg.QueryCanceledError):
                await other.execute(ADD)
        fencing.cancel()
        await asyncio.gather(fencing, return_exceptions=True)


async def test_hazard_11_others_go_on_between_short_attempts_and_the_idle_one_is_named(postgres_url: str) -> None:
    async with ready(postgres_url, PRIMARY) as store, idle_writer(postgres_url) as idle:
        fencing = asyncio.create_task(store.fence(DEMOTING, 120))
        async with native(postgres_url, server_settings={"statement_timeout": "30s"}) as other:
            for number in range(5):
                await until(lambda: waiting(other), "an attempt")
                await other.execute("INSERT INTO people VALUES ($1, $1, NULL)", str(number))
        assert not fencing.done()
        fencing.cancel()
        await asyncio.gather(fencing, return_exceptions=True)
        with pytest.raises(FenceTimeout, match=f"pid {idle.get_server_pid()} .idle writer"):
            await store.fence(DEMOTING, 0.3)
        assert await store.control() == PRIMARY


async def test_hazard_11_a_prepared_transaction_is_seen_before_and_named(logical_server: EmbeddedPostgres) -> None:
    async with fresh_database(logical_server.url) as url, ready(url, PRIMARY) as store, native(url) as app:
        await app.execute(f"BEGIN; {ADD}; PREPARE TRANSACTION 'left behind'")
        try:
            checks = {name: (ok, detail) for name, ok, detail in await store.probe()}
            assert checks["transactions"] == (False, "1 prepared transactions")
            with pytest.raises(FenceTimeout, match="pg_prepared_xacts"):
                await store.fence(DEMOTING, 0.3)
        finally:
            await app.execute("ROLLBACK PREPARED 'left behind'")
        await store.fence(DEMOTING, 60)


# -- 12, 13: our own locks -------------------------------------------------------------------------------------------

LOCK = "SET lock_timeout = '200ms'; BEGIN; LOCK TABLE people IN SHARE ROW EXCLUSIVE MODE; COMMIT"


async def test_hazard_12_naive_a_prepare_outside_a_transaction_keeps_its_lock(postgres_url: str) -> None:
    async with ready(postgres_url, PRIMARY), native(postgres_url) as rehearsal, native(postgres_url) as switch:
        prepared = await rehearsal.prepare("DELETE FROM people")
        with pytest.raises(asyncpg.LockNotAvailableError):
            await switch.execute(LOCK)
        await switch.execute("ROLLBACK")
        await rehearsal.fetchval("SELECT 1")
        await switch.execute(LOCK)
        assert prepared


async def test_hazard_12_a_rehearsal_leaves_no_lock_in_the_pool(postgres_url: str) -> None:
    async with dialect_world(postgres_url, SQLITE_DDL[0], store=True) as both, native(postgres_url) as switch:
        await both.executor.rehearsal.ready()
        assert (await both.executor.rehearsal.rehearse("DELETE FROM people")).status == "ready"
        await switch.execute(LOCK)
        await both.session.describe("UPDATE people SET about = ?")
        await both.on_postgres("INSERT INTO people VALUES ('a', 'a', NULL)")
        with pytest.raises(StatementError):
            await both.on_postgres("INSERT INTO people VALUES ('a', 'a', NULL)")
        await switch.execute(LOCK)


async def test_hazard_13_naive_the_commits_ddl_fails_behind_an_index_being_made(postgres_url: str) -> None:
    async with ready(postgres_url, SHADOW), native(postgres_url) as app, native(postgres_url) as switch:
        await app.execute("BEGIN; CREATE INDEX IF NOT EXISTS by_about ON people (about)")
        with pytest.raises(asyncpg.LockNotAvailableError):
            await switch.execute(
                "SET lock_timeout = '200ms'; ALTER TABLE items ADD FOREIGN KEY (owner) REFERENCES people (id) NOT VALID"
            )


async def test_hazard_13_a_commit_without_its_locks_changes_nothing_and_is_repeated(postgres_url: str) -> None:
    async with ready(postgres_url, SHADOW) as store, native(postgres_url) as app, native(postgres_url) as reader:
        await store.prepare("s1")
        await app.execute(
            "SET application_name = 'indexer'; BEGIN; CREATE INDEX IF NOT EXISTS by_about ON people (about)"
        )
        with pytest.raises(FenceTimeout, match="indexer"):
            await store.receive(PRIMARY, "s1", 0.3)
        assert (await store.control(), await store.outcome("s1")) == (SHADOW, Outcome.PREPARED)
        await app.execute("COMMIT")
        await reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM people")
        await store.receive(PRIMARY, "s1", 60)  # a reader is in nobody's way
        assert await store.outcome("s1") is Outcome.COMMITTED


async def test_hazard_13_foreign_keys_are_silenced_and_not_detached_where_the_role_may(postgres_url: str) -> None:
    role = "may_" + postgres_url.rpartition("test_")[2][:8]
    database = postgres_url.rpartition("/")[2].partition("?")[0]
    await run(
        postgres_url,
        f"CREATE ROLE {role} LOGIN",
        f"GRANT CREATE ON SCHEMA public TO {role}",
        f"GRANT CREATE ON DATABASE {database} TO {role}",
        f"GRANT SET ON PARAMETER session_replication_role TO {role}",
    )
    theirs = postgres_url.replace("postgres@", f"{role}@", 1)
    keys = "SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND conrelid = 'items'::regclass"
    try:
        async with ready(theirs, SHADOW) as store, native(theirs) as app:
            assert await app.fetchval(keys) == 1
            async with store.applier(1, 1, 1) as applier:
                await applier.apply(TABLES[0], [(1, "nobody", None, None, None)], [])
                await applier.apply(PEOPLE, [("a", "a", None)], [])
            assert await app.fetchval("SELECT count(*) FROM items") == 1
    finally:
        await run(
            postgres_url,
            f"REVOKE SET ON PARAMETER session_replication_role FROM {role}",
            f"DROP OWNED BY {role} CASCADE",
            f"DROP ROLE {role}",
        )


async def test_hazard_13_the_fence_of_a_demotion_waits_no_longer_than_it_may(postgres_url: str) -> None:
    async with ready(postgres_url, PRIMARY) as store, native(postgres_url) as app:
        await app.execute("BEGIN; LOCK TABLE people IN SHARE UPDATE EXCLUSIVE MODE")  # as VACUUM does
        began = monotonic()
        with pytest.raises(FenceTimeout):
            await store.fence(DEMOTING, 0.4)
        assert monotonic() - began < 10
        await app.execute("COMMIT")
        await store.fence(DEMOTING, 60)
        assert await store.control() == DEMOTING
