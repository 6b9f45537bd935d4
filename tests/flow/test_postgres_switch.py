"""The switch on Postgres: the fence, the commit point, the tombstone, and what follows."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import asyncpg
import pytest

from cutover.clock import monotonic
from cutover.errors import CaptureBroken, Fenced, FenceTimeout, StaleApplier, StoreError
from cutover.model.control import Control, Outcome, SwitchState
from cutover.model.table import Column, ForeignKey, Table
from cutover.stores.postgres.names import switch_name
from cutover.stores.postgres.store import PostgresStore
from tests.support.postgres import DEMOTING, PRIMARY, SHADOW, native, ready, run
from tests.support.samples import ITEMS, PEOPLE

WRITES = (
    "INSERT INTO people VALUES ('late', 'late', NULL)",
    "UPDATE people SET about = 'late'",
    "DELETE FROM people WHERE id = 'nobody'",
    "TRUNCATE people CASCADE",
    "COPY people FROM STDIN",
    "MERGE INTO people p USING (SELECT 'm') s (id) ON p.id = s.id WHEN NOT MATCHED THEN INSERT VALUES (s.id, s.id, '')",
)


async def refused(app: asyncpg.Connection, sql: str) -> str:
    """What the fence says to this write."""
    copying = sql.startswith("COPY")
    with pytest.raises(asyncpg.ReadOnlySQLTransactionError) as caught:
        await (app.copy_records_to_table("people", records=[("c", "c", None)]) if copying else app.execute(sql))
    return str(caught.value)


async def control(store: PostgresStore) -> Control:
    found = await store.control()
    assert found is not None
    return found


@pytest.mark.parametrize("isolation", ["read_committed", "repeatable_read", "serializable"])
async def test_a_snapshot_older_than_the_fence_does_not_pass_it(postgres_url: str, isolation: str) -> None:
    async with ready(postgres_url, PRIMARY) as store, native(postgres_url) as app:
        prepared = await app.prepare("INSERT INTO people VALUES ($1, $1, NULL)")
        await app.fetchval("SELECT 1")
        async with app.transaction(isolation=isolation):
            await app.fetchval("SELECT count(*) FROM people")
            await store.fence(DEMOTING, 60)
            savepoint = app.transaction()
            await savepoint.start()
            with pytest.raises(asyncpg.ReadOnlySQLTransactionError, match=r"cutover.*postgres.*epoch 2"):
                await prepared.fetch("late")
            await savepoint.rollback()
            await app.fetchval("SELECT count(*) FROM people")
        for sql in WRITES:
            assert "under way" in await refused(app, sql)
        assert (await control(store)).state is SwitchState.DEMOTING


async def test_the_fence_waits_for_writers_in_short_turns(postgres_url: str) -> None:
    async with ready(postgres_url, PRIMARY) as store, native(postgres_url) as slow, native(postgres_url) as other:
        await slow.execute("SET application_name = 'slow writer'; BEGIN; INSERT INTO people VALUES ('s', 's', NULL)")
        fencing = asyncio.create_task(store.fence(DEMOTING, 60))
        for n in range(20):  # others go on between the attempts
            await asyncio.wait_for(other.execute(f"INSERT INTO pairs VALUES ({n}, 'x', NULL)"), 30)
        assert not fencing.done()
        await slow.execute("COMMIT")
        await asyncio.wait_for(fencing, 30)
        assert (await store.lag())[0] == 21


async def test_a_fence_that_cannot_be_had_names_who_is_in_the_way(postgres_url: str) -> None:
    async with ready(postgres_url, PRIMARY) as store, native(postgres_url) as slow:
        await slow.execute("SET application_name = 'slow writer'; BEGIN; INSERT INTO people VALUES ('s', 's', NULL)")
        began = monotonic()
        with pytest.raises(FenceTimeout, match=f"pid {slow.get_server_pid()} .slow writer, .*idle in transaction"):
            await store.fence(DEMOTING, 0.5)
        assert monotonic() - began < 10
        assert await control(store) == PRIMARY
        await slow.execute("COMMIT")
        await run(postgres_url, "INSERT INTO people VALUES ('after', 'a', NULL)")


async def test_broken_capture_is_found_by_the_fence_itself(postgres_url: str) -> None:
    async with ready(postgres_url, PRIMARY) as store:
        await run(postgres_url, "DROP TRIGGER cutover_capture ON people")
        with pytest.raises(CaptureBroken, match="people"):
            await store.fence(DEMOTING, 60)
        assert await control(store) == PRIMARY
        await run(postgres_url, "INSERT INTO people VALUES ('a', 'a', NULL)")


async def test_a_taken_back_fence_lets_writers_go_on(postgres_url: str) -> None:
    async with ready(postgres_url, PRIMARY) as store:
        await store.fence(DEMOTING, 60)
        assert await store.check_capture() == []
        for _ in range(2):
            await store.release(PRIMARY)
            await run(postgres_url, "INSERT INTO pairs VALUES (1, 'x', NULL)", "DELETE FROM pairs")
        assert (await store.lag())[0] == 4
        assert await store.check_capture() == []


async def test_a_shadow_is_fenced_for_everybody_but_the_applier(postgres_url: str) -> None:
    async with ready(postgres_url, SHADOW) as store, native(postgres_url) as app:
        async with store.applier(1, 1, 1) as applier:
            await applier.apply(PEOPLE, [("a", "ann", None)], [])
        for sql in WRITES:
            said = await refused(app, sql)
            assert "write to the primary, sqlite (epoch 1)" in said
        # An old or invented flag opens nothing.
        await app.execute("SET cutover.applier = '7'")
        await refused(app, WRITES[0])
        assert await app.fetchval("SELECT count(*) FROM people") == 1
        with pytest.raises(Fenced):
            await store.create_tables(["INSERT INTO people VALUES ('x', 'x', NULL)"])


async def test_the_applier_flag_is_worthless_to_other_roles(postgres_url: str) -> None:
    role = "clever_" + postgres_url.rpartition("test_")[2][:8]
    async with ready(postgres_url, SHADOW):
        await run(postgres_url, f"CREATE ROLE {role} LOGIN", f"GRANT INSERT ON people TO {role}")
        try:
            async with native(postgres_url, user=role) as app:
                await app.execute("SET cutover.applier = '1'")
                await refused(app, WRITES[0])
        finally:
            await run(postgres_url, f"DROP OWNED BY {role}; DROP ROLE {role}")


async def test_a_promotion_commits_everything_at_once(postgres_url: str) -> None:
    async with ready(postgres_url, SHADOW) as store:
        async with store.applier(1, 1, 7) as applier:
            await applier.apply(PEOPLE, [("a", "ann", None)], [])
        await store.prepare("s1")
        await store.prepare("s1")
        assert await store.outcome("s1") is Outcome.PREPARED
        await store.receive(PRIMARY, "s1", 60)
        assert await store.outcome("s1") is Outcome.COMMITTED
        assert await control(store) == PRIMARY.but(applied_batch=7)
        assert await store.check_capture() == []
        await run(postgres_url, "INSERT INTO people VALUES ('b', 'bob', NULL)")
        async with store.snapshot() as snapshot:
            pending = await snapshot.pending()
        assert (pending.count, pending.whole) == (1, frozenset())
        await store.receive(PRIMARY, "s1", 60)  # the answer was lost, somebody asks again
        with pytest.raises(StaleApplier):
            async with store.applier(1, 1, 8):
                pass


async def test_sequences_go_past_the_highest_key_and_never_back(postgres_url: str) -> None:
    ddl = [
        "CREATE TABLE people (id text PRIMARY KEY, handle text NOT NULL, about text)",
        "CREATE TABLE serials (id serial PRIMARY KEY, n bigint DEFAULT 0)",
        "CREATE SEQUENCE apart START 1",
        "CREATE TABLE other (id bigint PRIMARY KEY DEFAULT nextval('apart'))",
    ]
    integer = Column("id", "INTEGER", "INTEGER", "id", "integer")
    serials = Table("serials", "public", "serials", (integer,), ("id",))
    big = Column("id", "INTEGER", "INTEGER", "id", "bigint")
    other = Table("other", "public", "other", (big,), ("id",))
    async with ready(postgres_url, SHADOW, ddl=ddl, tables=(other, serials)) as store:
        await run(postgres_url, "SELECT setval('apart', 500)")
        async with store.applier(1, 1, 1) as applier:
            await applier.apply(serials, [(1,), (41,)], [])
            await applier.apply(other, [(-5,), (17,)], [])
        assert all(ok for name, ok, _ in await store.probe() if name == "sequences")
        await store.prepare("s1")
        await store.receive(PRIMARY, "s1", 60)
        async with native(postgres_url) as app:
            assert await app.fetchval("INSERT INTO serials DEFAULT VALUES RETURNING id") == 42
            assert await app.fetchval("INSERT INTO other DEFAULT VALUES RETURNING id") == 501


async def test_only_a_prepared_switch_of_the_next_epoch_commits(postgres_url: str) -> None:
    async with ready(postgres_url, SHADOW) as store:
        with pytest.raises(StoreError, match="not prepared"):
            await store.receive(PRIMARY, "never", 60)
        await store.prepare("s1")
        with pytest.raises(StoreError, match="not prepared"):
            await store.receive(PRIMARY.but(epoch=3), "s1", 60)
        assert await store.tombstone("s1") is Outcome.ABORTED
        with pytest.raises(StoreError, match="not prepared"):
            await store.receive(PRIMARY, "s1", 60)
        with pytest.raises(StoreError, match="aborted"):
            await store.prepare("s1")
        assert await control(store) == SHADOW
        async with native(postgres_url) as app:
            await refused(app, WRITES[0])


async def test_a_commit_that_cannot_get_its_locks_changes_nothing(postgres_url: str) -> None:
    async with ready(postgres_url, SHADOW) as store, native(postgres_url) as app:
        await store.prepare("s1")
        await app.execute("SET application_name = 'indexer'; BEGIN; LOCK TABLE people IN SHARE MODE")
        with pytest.raises(FenceTimeout, match="indexer"):
            await store.receive(PRIMARY, "s1", 0.3)
        assert await store.outcome("s1") is Outcome.PREPARED
        assert await control(store) == SHADOW
        await app.execute("COMMIT")
        await store.receive(PRIMARY, "s1", 60)


async def test_a_tombstone_ends_a_commit_that_hangs(postgres_url: str) -> None:
    async with ready(postgres_url, SHADOW) as store, native(postgres_url) as app:
        await store.prepare("s1")
        await app.execute("BEGIN; LOCK TABLE people IN SHARE MODE")
        hanging = asyncio.create_task(store.receive(PRIMARY, "s1", 60))
        async with native(postgres_url) as watcher:
            deadline = monotonic() + 60
            while not await watcher.fetchval(
                "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1 AND wait_event_type = 'Lock'",
                switch_name("s1"),
            ):
                assert monotonic() < deadline
                await asyncio.sleep(0.01)
        assert await asyncio.wait_for(store.tombstone("s1"), 60) is Outcome.ABORTED
        with pytest.raises(StoreError):
            await hanging
        await app.execute("COMMIT")
        assert await store.outcome("s1") is Outcome.ABORTED
        assert await control(store) == SHADOW


async def test_a_tombstone_wins_over_a_commit_that_holds_its_row(postgres_url: str) -> None:
    async with ready(postgres_url, SHADOW) as store, native(postgres_url) as frozen:
        await store.prepare("s1")
        await frozen.execute(f"SET application_name = '{switch_name('s1')}'; BEGIN")
        await frozen.execute("UPDATE cutover.switches SET outcome = 'committed' WHERE switch_id = 's1'")
        assert await asyncio.wait_for(store.tombstone("s1"), 60) is Outcome.ABORTED
        assert await store.tombstone("s1") is Outcome.ABORTED


async def test_a_committed_switch_has_no_tombstone(postgres_url: str) -> None:
    async with ready(postgres_url, SHADOW) as store:
        await store.prepare("s1")
        await store.receive(PRIMARY, "s1", 60)
        assert await store.tombstone("s1") is Outcome.COMMITTED


async def test_there_and_back_again(postgres_url: str) -> None:
    async with ready(postgres_url, SHADOW) as store:
        for turn in range(3):
            epoch = 2 + 2 * turn
            await store.prepare(f"there-{turn}")
            await store.receive(PRIMARY.but(epoch=epoch), f"there-{turn}", 60)
            await run(postgres_url, f"INSERT INTO people VALUES ('p{turn}', 'p{turn}', NULL)")
            assert (await store.lag())[0] == 1
            await store.fence(DEMOTING.but(epoch=epoch), 60)
            await store.write_control(
                DEMOTING.but(epoch=epoch, state=SwitchState.COMMITTING), expect=DEMOTING.but(epoch=epoch)
            )
            back = SHADOW.but(epoch=epoch + 1)
            await store.settle(back)
            await store.settle(back)
            assert await control(store) == back
            assert await store.check_capture() == []
            assert await store.lag() == (0, None)
            async with native(postgres_url) as app:
                assert f"sqlite (epoch {epoch + 1})" in await refused(app, WRITES[0])
            async with store.applier(1, epoch + 1, None) as applier:
                await applier.apply(PEOPLE, [(f"q{turn}", f"q{turn}", None)], [])


async def test_finish_removes_all_but_the_record(postgres_url: str) -> None:
    finished = PRIMARY.but(state=SwitchState.FINISHED)
    async with ready(postgres_url, PRIMARY) as store:
        await store.prepare("s1")
        async with native(postgres_url) as app:
            await app.execute("CREATE SCHEMA cutover_temporary_0; CREATE TABLE cutover_temporary_0.left_over (a text)")
        await store.dismantle(finished, helpers=True)
        for _ in range(2):
            await store.dismantle(finished, helpers=False)
        assert await control(store) == finished
        assert await store.outcome("s1") is None
        async with native(postgres_url) as app:
            await app.execute("INSERT INTO people VALUES ('a', 'a', NULL); TRUNCATE people CASCADE")
            left = await app.fetch(
                "SELECT relname FROM pg_class WHERE relnamespace = 'cutover'::regnamespace AND relkind = 'r' ORDER BY 1"
            )
            assert [row[0] for row in left] == ["control"]
            assert await app.fetchval("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'cutover%'") == 1
            assert await app.fetchval("SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'cutover%'") == 0


async def test_the_control_row_is_compared_and_set(postgres_url: str) -> None:
    async with ready(postgres_url, PRIMARY) as store:
        await store.anchor(5, "hash-5")
        await store.anchor(4, "hash-4")
        await store.write_control(DEMOTING, expect=PRIMARY)
        assert await control(store) == DEMOTING.but(audit_sequence=5, audit_hash="hash-5")
        with pytest.raises(StaleApplier):
            await store.write_control(DEMOTING.but(epoch=9), expect=PRIMARY)
        await store.initialise(SHADOW)  # the standing row stays
        assert (await control(store)).epoch == 2
        with pytest.raises(StoreError, match="belongs to the pair pair-of-tests"):
            await store.initialise(PRIMARY.but(pair_id="strangers"))


async def test_probe_of_a_healthy_server(postgres_url: str) -> None:
    async with ready(postgres_url, SHADOW) as store:
        checks = {name: (ok, detail) for name, ok, detail in await store.probe()}
        assert all(ok for ok, _ in checks.values()), checks
        await run(
            postgres_url,
            "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET synchronous_commit = off', current_database()); END $$",
            "DROP TRIGGER cutover_fence ON people",
        )
        checks = {name: (ok, detail) for name, ok, detail in await store.probe()}
        assert {name for name, (ok, _) in checks.items() if not ok} == {"durability", "capture"}
        assert "synchronous_commit=off for every role" in checks["durability"][1]


async def test_a_foreign_key_that_postgres_lacks_is_told_and_one_put_aside_is_not(postgres_url: str) -> None:
    """It shuts no gate: an application's own migrations may have left it out on purpose."""
    keys = ForeignKey(("owner",), "people", ("id",)), ForeignKey(("label",), "people", ("handle",))
    async with ready(postgres_url, SHADOW, tables=(PEOPLE, replace(ITEMS, foreign_keys=keys))) as store:

        async def told() -> list[str]:
            return [
                detail.rpartition(": ")[2] for name, ok, detail in await store.probe() if name == "foreign keys" and ok
            ]

        assert await told() == ["items.label -> people.handle"]
        await run(postgres_url, "ALTER TABLE items ADD CONSTRAINT l FOREIGN KEY (label) REFERENCES people (handle)")
        assert await told() == []
        await run(
            postgres_url,
            """INSERT INTO cutover.suspended (kind, relation, name, definition)
            SELECT 'foreign_key', 'public.items', 'l', 'ALTER TABLE public.items ADD ' || pg_get_constraintdef(oid)
            FROM pg_constraint WHERE conname = 'l'""",
            "ALTER TABLE items DROP CONSTRAINT l",
        )
        assert await told() == []
        await run(postgres_url, "DELETE FROM cutover.suspended", "ALTER TABLE items DROP CONSTRAINT items_owner_fkey")
        assert await told() == ["items.owner -> people.id; items.label -> people.handle"]


async def test_sync_flushes_what_an_asynchronous_writer_left(postgres_url: str) -> None:
    async with ready(postgres_url, PRIMARY) as store, native(postgres_url) as app:
        await app.execute("SET synchronous_commit = off; INSERT INTO people VALUES ('a', 'a', NULL)")
        reached = await app.fetchval("SELECT pg_current_wal_insert_lsn()::text")
        await store.sync()
        assert await app.fetchval("SELECT pg_current_wal_flush_lsn() >= $1::text::pg_lsn", reached)


async def test_identity_is_the_servers(postgres_url: str) -> None:
    async with ready(postgres_url, SHADOW) as store, native(postgres_url) as app:
        identity = await store.identity()
        assert identity.system == str(await app.fetchval("SELECT system_identifier FROM pg_control_system()"))
        assert identity.timeline == 1


async def test_tables_that_logical_replication_writes_get_a_row_fence(postgres_url: str) -> None:
    async with ready(postgres_url, SHADOW) as store:
        await run(
            postgres_url,
            "CREATE SUBSCRIPTION feed CONNECTION 'host=nowhere' PUBLICATION p WITH (connect = false, slot_name = NONE)",
            "SET allow_system_table_mods = on; INSERT INTO pg_subscription_rel "
            "SELECT oid, 'people'::regclass, 'r', NULL FROM pg_subscription WHERE subname = 'feed'",
        )
        try:
            assert any("cutover_fence_row" in fault for fault in await store.check_capture())
            await store.install_capture()
            await run(postgres_url, "ALTER TABLE people DISABLE TRIGGER cutover_fence")
            async with native(postgres_url) as app:
                await refused(app, WRITES[0])
            async with store.applier(1, 1, None) as applier:
                await applier.apply(PEOPLE, [("a", "ann", None), ("b", "bob", None)], [])
                await applier.apply(PEOPLE, [("a", "ann", "x")], [("b",)])
            async with native(postgres_url) as app:
                assert await app.fetchval("SELECT string_agg(id || about, '') FROM people") == "ax"
        finally:
            await run(
                postgres_url,
                "SET allow_system_table_mods = on; DELETE FROM pg_subscription_rel "
                "WHERE srsubid = (SELECT oid FROM pg_subscription WHERE subname = 'feed')",
                "DROP SUBSCRIPTION feed",
            )
