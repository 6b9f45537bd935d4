"""Section C: changes that went past capture, in the places where equal counts would hide them (35, and 9 again)."""

from __future__ import annotations

import sqlite3

import pytest

from cutover.errors import CaptureBroken
from cutover.model.control import BackfillProgress, SwitchState
from cutover.stores.postgres.store import PostgresStore
from tests.flow.compare_world import World, world
from tests.support.postgres import DEMOTING, PRIMARY, SHADOW, native, ready, run
from tests.support.service import until
from tests.support.sqlite_world import PRIMARY as SQLITE_PRIMARY
from tests.support.sqlite_world import SHADOW as SQLITE_SHADOW
from tests.support.sqlite_world import direct, make, one, served

TABLE = "CREATE TABLE t (k TEXT NOT NULL PRIMARY KEY, v)"


def past_the_triggers(path: str, table: str, *statements: str) -> None:
    """What SQLite's own recipe for schema changes does: triggers taken away, and put back as they were."""
    with direct(path) as application:
        application.execute("BEGIN IMMEDIATE")
        triggers = application.execute(
            "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = ? ORDER BY rowid", (table,)
        ).fetchall()
        for name, _ in triggers:
            application.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            application.execute(statement)
        for _, sql in triggers:
            application.execute(sql)
        application.execute("COMMIT")


def fill(connection: sqlite3.Connection) -> None:
    connection.execute("INSERT INTO users (id, handle) VALUES (1, 'one'), (2, 'two')")


async def handles(here: World) -> list[object]:
    """What the shadow has."""
    async with here.target.snapshot() as snapshot:
        return [row[1] for row in await snapshot.between(here.table("users"), None, None)]


DISABLED = (
    "ALTER TABLE users DISABLE TRIGGER USER; UPDATE users SET handle = 'past' WHERE id = 1; "
    "ALTER TABLE users ENABLE ALWAYS TRIGGER cutover_capture, ENABLE ALWAYS TRIGGER cutover_capture_truncate"
)


async def test_hazard_35_naive_equal_counts_hide_an_uncaptured_update(sqlite_path: str) -> None:
    make(sqlite_path, TABLE, "CREATE TABLE shadow (k, v)", "CREATE TABLE log (k)")
    make(sqlite_path, "CREATE TRIGGER capture AFTER UPDATE ON t BEGIN INSERT INTO log VALUES (NEW.k); END")
    make(sqlite_path, "INSERT INTO t VALUES ('a', 1)", "INSERT INTO shadow SELECT * FROM t")
    past_the_triggers(sqlite_path, "t", "UPDATE t SET v = 2")
    assert one(sqlite_path, "SELECT count(*) FROM log") == 0
    assert one(sqlite_path, "SELECT (SELECT count(*) FROM t) = (SELECT count(*) FROM shadow)") == 1
    assert one(sqlite_path, "SELECT (SELECT v FROM t) = (SELECT v FROM shadow)") == 0


# -- SQLite ----------------------------------------------------------------------------------------------------------


async def test_hazard_35_triggers_put_back_as_they_were_are_no_whole_capture(sqlite_path: str) -> None:
    make(sqlite_path, TABLE, "CREATE TABLE u (k TEXT NOT NULL PRIMARY KEY)", "INSERT INTO t VALUES ('a', 1)")
    async with served(sqlite_path, SQLITE_PRIMARY) as (store, _):
        before = await store.schema_fingerprint()
        make(sqlite_path, "VACUUM")  # renumbers what is in the schema
        assert await store.check_capture() == []
        assert await store.schema_fingerprint() == before
        past_the_triggers(sqlite_path, "t", "UPDATE t SET v = 2")
        assert await store.schema_fingerprint() != before
        assert any("table t " in problem for problem in await store.check_capture())
        with pytest.raises(CaptureBroken, match="table t "):
            await store.fence(SQLITE_PRIMARY.but(state=SwitchState.PROMOTING, switch_id="s1"), 60)
        await store.install_capture()
        assert await store.check_capture() == []
        async with store.snapshot() as snapshot:
            assert (await snapshot.pending()).whole == {"t"}


async def test_hazard_35_a_fence_put_back_as_it_was_is_a_breach(sqlite_path: str) -> None:
    make(sqlite_path, TABLE, "INSERT INTO t VALUES ('a', 1)")
    async with served(sqlite_path, SQLITE_SHADOW) as (store, _):
        async with store.applier(0, 1, 1) as applier:
            await applier.save_progress(BackfillProgress("t", "done", ("a",), 1, 1))
        past_the_triggers(sqlite_path, "t", "UPDATE t SET v = 'foreign'")
        with pytest.raises(CaptureBroken, match="table t "):
            async with store.applier(0, 1, 2):
                pass
        await store.prepare("s2")
        with pytest.raises(CaptureBroken, match="table t "):
            await store.receive(SQLITE_PRIMARY.but(epoch=2), "s2", 60)
        await store.install_capture()
        assert await store.progress() == {}


async def test_hazard_35_a_fence_of_our_own_and_its_end_break_nothing(sqlite_path: str) -> None:
    make(sqlite_path, TABLE, "INSERT INTO t VALUES ('a', 1)")
    async with served(sqlite_path, SQLITE_PRIMARY) as (store, _):
        before = await store.schema_fingerprint()
        for _ in range(2):
            await store.fence(SQLITE_PRIMARY.but(state=SwitchState.PROMOTING, switch_id="s1"), 60)
            assert await store.check_capture() == []
            assert await store.schema_fingerprint() == before
            await store.release(SQLITE_PRIMARY)
            assert await store.schema_fingerprint() == before


# -- Postgres --------------------------------------------------------------------------------------------------------


async def test_hazard_09_a_change_past_the_triggers_is_mirrored_without_any_other_write(
    sqlite_path: str, postgres_url: str
) -> None:
    async with world(sqlite_path, postgres_url, fill, primary="postgres") as here:
        await run(postgres_url, DISABLED)

        async def mirrored() -> bool:
            return await handles(here) == ["past", "two"]

        await until(mirrored, "the copy")


async def test_hazard_35_the_fence_finds_what_went_past_the_triggers(postgres_url: str) -> None:
    async with ready(postgres_url, PRIMARY) as store:
        await run(postgres_url, "INSERT INTO people VALUES ('a', 'a', NULL)")
        async with store.snapshot() as snapshot:
            await store.trim(await snapshot.pending(), 1)
        await run(postgres_url, DISABLED.replace("users", "people").replace("id = 1", "id = 'a'"))
        with pytest.raises(CaptureBroken, match="people"):
            await store.fence(DEMOTING, 60)
        await store.release(PRIMARY)
        async with store.snapshot() as snapshot:
            seen = await snapshot.pending()
        assert seen.whole == {"people"}
        await store.trim(seen, 2)
        assert await store.check_capture() == []
        await store.fence(DEMOTING, 60)


async def test_hazard_35_a_truncated_table_is_no_broken_capture(postgres_url: str) -> None:
    async with ready(postgres_url, PRIMARY) as store:
        await run(postgres_url, "TRUNCATE people CASCADE")
        assert await store.check_capture() == []
        await store.fence(DEMOTING, 60)
        async with store.snapshot() as snapshot:
            assert (await snapshot.pending()).whole == {"people", "items"}


async def switched(url: str, store: PostgresStore, sql: str) -> bool:
    """Whether the fingerprint changes with this."""
    before = await store.schema_fingerprint()
    await run(url, sql)
    return await store.schema_fingerprint() != before


async def test_hazard_09_a_fence_that_somebody_switched_on_is_noticed_within_a_second(postgres_url: str) -> None:
    """`pg_restore --disable-triggers` ends with ENABLE TRIGGER ALL, which fences a primary."""
    async with ready(postgres_url, PRIMARY) as store, native(postgres_url) as app:
        assert await switched(
            postgres_url, store, "ALTER TABLE people DISABLE TRIGGER ALL; ALTER TABLE people ENABLE TRIGGER ALL"
        )
        with pytest.raises(Exception, match="cutover"):
            await app.execute("INSERT INTO people VALUES ('a', 'a', NULL)")
        await store.install_capture()
        await app.execute("INSERT INTO people VALUES ('a', 'a', NULL)")


async def test_hazard_35_roles_and_fences_of_our_own_keep_the_fingerprint(postgres_url: str) -> None:
    async with ready(postgres_url, PRIMARY) as store:
        before = await store.schema_fingerprint()
        await store.fence(DEMOTING, 60)
        assert await store.schema_fingerprint() == before
        await store.release(PRIMARY)
        assert await store.schema_fingerprint() == before
        await store.settle(SHADOW.but(epoch=3))
        assert await store.schema_fingerprint() == before


# -- inside the pause ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("primary", ["sqlite", "postgres"])
async def test_hazard_35_a_schema_changed_since_the_verification_is_compared_in_the_pause(
    sqlite_path: str, postgres_url: str, primary: str
) -> None:
    async with world(sqlite_path, postgres_url, fill, primary=primary) as here:  # type: ignore[arg-type]
        assert (await here.comparator.verify()).state == "done"
        assert await here.comparator.quick_check(5) == []
        await here.mirror.stop()
        await here.spoil("users", upserts=[(1, "foreign", None, None)])
        if primary == "sqlite":
            await run(postgres_url, "ALTER TABLE users ADD COLUMN more text")
        else:
            make(sqlite_path, "CREATE INDEX by_handle ON users (handle)")
        assert await here.comparator.quick_check(5) == ["1 row of users drifted"]
