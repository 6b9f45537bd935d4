"""Section A: processes that are frozen in the middle of a commit or of an apply, and wake up later."""

from __future__ import annotations

import asyncio
import signal

import asyncpg
import pytest

from cutover.clock import monotonic
from cutover.errors import FenceTimeout, OwnedElsewhere, StaleApplier
from cutover.model.control import Outcome
from cutover.stores.postgres.names import switch_name
from cutover.stores.postgres.store import PostgresStore
from cutover.stores.sqlite.owner import owner_lock_path
from cutover.stores.sqlite.store import SqliteStore
from tests.hazards.victim import go_on, said, victim
from tests.support.postgres import PRIMARY, SHADOW, native, ready, run
from tests.support.samples import PEOPLE, SQLITE_DDL, TABLES
from tests.support.service import until
from tests.support.sqlite_world import make, one

# -- 5: a commit that may still happen -------------------------------------------------------------------------------


async def test_hazard_05_naive_an_abort_waits_for_a_frozen_commit(postgres_url: str) -> None:
    await run(postgres_url, "CREATE TABLE switches (switch_id text PRIMARY KEY, outcome text)")
    async with native(postgres_url) as frozen, native(postgres_url) as abort:
        await frozen.execute("BEGIN; INSERT INTO switches VALUES ('s1', 'committed')")
        await abort.execute("SET lock_timeout = '300ms'")
        with pytest.raises(asyncpg.LockNotAvailableError):  # without a timeout: for as long as the other sleeps
            await abort.execute("INSERT INTO switches VALUES ('s1', 'aborted')")


async def _blocked(app: asyncpg.Connection, name: str) -> bool:
    sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1 AND wait_event_type = 'Lock'"
    return bool(await app.fetchval(sql, name))


@pytest.mark.parametrize("tombstone_first", [True, False])
async def test_hazard_05_a_frozen_commit_is_ended_or_ends_by_itself(postgres_url: str, tombstone_first: bool) -> None:
    async with ready(postgres_url, SHADOW) as store, native(postgres_url) as app, native(postgres_url) as watcher:
        await store.prepare("s1")
        await app.execute("BEGIN; LOCK TABLE people IN SHARE MODE")
        with victim("receive", postgres_url) as process:
            await until(lambda: _blocked(watcher, switch_name("s1")), "a commit that waits for its locks")
            process.send_signal(signal.SIGSTOP)
            if tombstone_first:
                assert await asyncio.wait_for(store.tombstone("s1"), 60) is Outcome.ABORTED
                await app.execute("COMMIT")
            else:  # it was sent as one call, so nothing of it needs its sender any more
                await app.execute("COMMIT")
                await until(lambda: _outcome_is(store, Outcome.COMMITTED), "the commit without its sender")
                assert await store.tombstone("s1") is Outcome.COMMITTED
            process.send_signal(signal.SIGCONT)
            assert await said(process) == ("PostgresAway" if tombstone_first else "done")
        control = await store.control()
        assert control is not None
        assert control.primary == ("sqlite" if tombstone_first else "postgres")


async def _outcome_is(store: PostgresStore, outcome: Outcome) -> bool:
    return await store.outcome("s1") is outcome


# -- 7: an applier that wakes up ------------------------------------------------------------------------------------


async def test_hazard_07_naive_a_generation_read_at_the_start_protects_nothing(postgres_url: str) -> None:
    await run(
        postgres_url,
        "CREATE TABLE control (generation int); INSERT INTO control VALUES (1)",
        "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'v0')",
    )
    async with native(postgres_url) as old, native(postgres_url) as newer:
        await old.execute("BEGIN")
        assert await old.fetchval("SELECT generation FROM control") == 1  # and here it is frozen
        await newer.execute("UPDATE control SET generation = 2")
        await newer.execute("UPDATE t SET v = 'v2'")
        await old.execute("UPDATE t SET v = 'v1'; COMMIT")
        assert await newer.fetchval("SELECT v FROM t") == "v1"  # the older row, for ever


async def test_hazard_07_a_takeover_ends_an_applier_frozen_on_postgres(postgres_url: str) -> None:
    async with ready(postgres_url, SHADOW) as store, native(postgres_url) as app:
        with victim("apply", postgres_url) as process:
            assert await said(process) == "applied"
            process.send_signal(signal.SIGSTOP)
            began = monotonic()
            await asyncio.wait_for(store.take_over(2), 60)
            assert monotonic() - began < 20
            async with store.applier(2, 1, 1) as applier:
                await applier.apply(PEOPLE, [("a", "new", None)], [])
            process.send_signal(signal.SIGCONT)
            go_on(process)
            assert await said(process) in {"PostgresAway", "StaleApplier"}
        assert [tuple(row) for row in await app.fetch("SELECT id, handle FROM people")] == [("a", "new")]


async def test_hazard_07_an_owner_frozen_on_the_file_is_never_taken_over(sqlite_path: str) -> None:
    make(sqlite_path, *SQLITE_DDL)
    store = SqliteStore(sqlite_path, owner_lock=owner_lock_path(sqlite_path))
    await store.open()
    store.serve_tables(TABLES)
    await store.initialise(PRIMARY.but(epoch=1))
    await store.install_capture()
    await store.close()
    with victim("apply", sqlite_path) as process:
        assert await said(process) == "applied"
        process.send_signal(signal.SIGSTOP)
        with pytest.raises(OwnedElsewhere, match=f"pid {process.pid}"):
            await store.open()
        process.kill()
        process.wait()
    await store.open()
    await store.take_over(2)
    with pytest.raises(StaleApplier):
        async with store.applier(1, 1, 1):
            pass
    async with store.applier(2, 1, 1) as applier:
        await applier.apply(PEOPLE, [("a", "new", None)], [])
    await store.close()
    assert one(sqlite_path, "SELECT group_concat(id || handle) FROM people") == "anew"


async def test_hazard_07_a_promotion_does_not_commit_over_an_apply_of_the_old_direction(postgres_url: str) -> None:
    async with ready(postgres_url, SHADOW) as store:
        await store.prepare("s1")
        async with store.applier(1, 1, 1) as applier:
            await applier.apply(PEOPLE, [("a", "late", None)], [])
            with pytest.raises(FenceTimeout):
                await store.receive(PRIMARY, "s1", 0.3)
        await store.receive(PRIMARY, "s1", 60)
        with pytest.raises(StaleApplier):
            async with store.applier(1, 1, 2):
                pass
