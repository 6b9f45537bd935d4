"""Capture and the change log on Postgres, against native writers."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from cutover.errors import CaptureBroken
from cutover.model.table import Column, Table
from cutover.model.values import Key, Row
from cutover.schema.objects_wanted import SchemaObject
from cutover.stores.postgres.names import log
from cutover.stores.postgres.store import PostgresStore
from cutover.stores.postgres.wanted import want
from tests.support.postgres import PRIMARY, SHADOW, native, ready, run
from tests.support.samples import ITEMS, PAIRS, PEOPLE


async def changes(store: PostgresStore, table: Table) -> dict[Key, Row | None]:
    async with store.snapshot() as snapshot:
        return {key: row async for chunk in snapshot.changed(table, 2) for key, row in chunk}


async def trim(store: PostgresStore, batch: int) -> None:
    async with store.snapshot() as snapshot:
        pending = await snapshot.pending()
    await store.trim(pending, batch)


async def test_every_kind_of_change_is_logged_with_the_transaction_that_made_it(postgres_url: str) -> None:
    async with ready(postgres_url, PRIMARY) as store:
        await run(
            postgres_url,
            "INSERT INTO people VALUES ('a', 'ann', NULL), ('b', 'bob', NULL), ('c', 'cid', NULL)",
            "INSERT INTO items (id, owner, size) VALUES (1, 'a', 0.5), (2, 'b', 1e300)",
        )
        await trim(store, 1)
        assert await store.lag() == (0, None)
        await run(
            postgres_url,
            "UPDATE people SET about = 'new' WHERE id = 'a'",
            "UPDATE people SET about = about",  # changes nothing
            "UPDATE people SET id = 'z' WHERE id = 'c'",
            "DELETE FROM people WHERE id = 'b'",  # cascades
        )
        assert await changes(store, PEOPLE) == {
            ("a",): ("a", "ann", "new"),
            ("c",): None,
            ("z",): ("z", "cid", None),
            ("b",): None,
        }
        assert await changes(store, ITEMS) == {(2,): None}
        async with store.snapshot() as snapshot:
            pending = await snapshot.pending()
            assert pending.count == 5
            assert pending.tables == {"people", "items"}
            assert pending.whole == frozenset()
            assert await snapshot.pending_keys(PEOPLE, [("a",), ("q",), ("x\x00",)]) == {("a",)}
        count, oldest = await store.lag()
        assert count == 5
        assert oldest == pytest.approx(pending.oldest_at)


async def test_a_rolled_back_change_leaves_no_entry(postgres_url: str) -> None:
    async with ready(postgres_url, PRIMARY) as store, native(postgres_url) as app:
        await app.execute("BEGIN; INSERT INTO people VALUES ('a', 'ann', NULL); ROLLBACK")
        await app.execute("BEGIN; SAVEPOINT s; INSERT INTO people VALUES ('b', 'bob', NULL); ROLLBACK TO s; COMMIT")
        assert await store.lag() == (0, None)


async def test_trim_removes_what_the_snapshot_saw_and_nothing_else(postgres_url: str) -> None:
    async with ready(postgres_url, PRIMARY) as store, native(postgres_url) as slow:
        # Begun first, with the lower transaction id, and committed after the snapshot was taken.
        await slow.execute("BEGIN; INSERT INTO people VALUES ('slow', 's', NULL)")
        await run(postgres_url, "INSERT INTO people VALUES ('quick', 'q', NULL)")
        async with store.snapshot() as snapshot:
            pending = await snapshot.pending()
            await slow.execute("SAVEPOINT inner_one; INSERT INTO people VALUES ('sub', 't', NULL); COMMIT")
            assert {key async for chunk in snapshot.changed(PEOPLE, 10) for key, _ in chunk} == {("quick",)}
        await store.trim(pending, 1)
        assert set(await changes(store, PEOPLE)) == {("slow",), ("sub",)}
        async with store.snapshot() as snapshot:
            everything = await snapshot.pending()
        await store.trim(everything, 1)  # a repeated batch number removes nothing
        assert (await store.lag())[0] == 2
        await store.trim(everything, 2)
        assert (await store.lag())[0] == 0
        control = await store.control()
        assert control is not None
        assert control.trimmed_batch == 2


async def test_truncate_marks_the_whole_table(postgres_url: str) -> None:
    async with ready(postgres_url, PRIMARY) as store:
        await run(postgres_url, "INSERT INTO pairs VALUES (1, 'x', NULL)")
        await trim(store, 1)
        await run(postgres_url, "TRUNCATE pairs")
        async with store.snapshot() as snapshot:
            pending = await snapshot.pending()
        assert pending.whole == {"pairs"}
        assert pending.count == 1
        await store.trim(pending, 2)
        async with store.snapshot() as snapshot:
            assert (await snapshot.pending()).whole == frozenset()


@pytest.mark.parametrize(
    "ddl",
    [
        "ALTER TABLE pairs ALTER COLUMN note TYPE text COLLATE \"C\" USING note || '!'",
        "ALTER TABLE pairs DISABLE TRIGGER USER; UPDATE pairs SET note = 'past'; "
        "ALTER TABLE pairs ENABLE ALWAYS TRIGGER cutover_capture, ENABLE ALWAYS TRIGGER cutover_capture_truncate",
    ],
)
async def test_changes_past_the_triggers_mark_the_whole_table_once(postgres_url: str, ddl: str) -> None:
    async with ready(postgres_url, PRIMARY) as store:
        await run(postgres_url, "INSERT INTO pairs VALUES (1, 'x', 'n')")
        await trim(store, 1)
        await run(postgres_url, ddl)
        async with store.snapshot() as snapshot:
            pending = await snapshot.pending()
        assert pending.whole == {"pairs"}
        await store.trim(pending, 2)
        async with store.snapshot() as snapshot:
            assert (await snapshot.pending()).whole == frozenset()


async def test_another_role_writes_without_rights_on_cutover(postgres_url: str) -> None:
    async with ready(postgres_url, PRIMARY) as store:
        role = "writer_" + postgres_url.rpartition("test_")[2][:8]
        await run(postgres_url, f"CREATE ROLE {role} LOGIN", f"GRANT INSERT, SELECT ON pairs TO {role}")
        try:
            async with native(postgres_url, user=role) as app:
                # A function of the writer's own in its way must not be called.
                await app.execute("SELECT set_config('cutover.applier', '1', false)")
                await app.execute("INSERT INTO pairs VALUES (1, 'x', NULL)")
            assert await changes(store, PAIRS) == {(1, "x"): (1, "x", None)}
        finally:
            await run(postgres_url, f"DROP OWNED BY {role}; DROP ROLE {role}")


async def test_lastval_of_the_application_is_its_own(postgres_url: str) -> None:
    async with ready(postgres_url, PRIMARY), native(postgres_url) as app:
        made = await app.fetchval("INSERT INTO items (label) VALUES ('x') RETURNING id")
        assert await app.fetchval("SELECT lastval()") == made


async def test_partitions_are_captured_and_fenced(postgres_url: str) -> None:
    ddl = [
        "CREATE TABLE notes (id bigint PRIMARY KEY, body text) PARTITION BY RANGE (id)",
        "CREATE TABLE notes_low PARTITION OF notes FOR VALUES FROM (0) TO (100)",
        "CREATE TABLE notes_high (body text, id bigint NOT NULL)",
        "ALTER TABLE notes ATTACH PARTITION notes_high FOR VALUES FROM (100) TO (200)",
    ]
    columns = (Column("id", "INTEGER", "INTEGER", "id", "bigint"), Column("body", "TEXT", "TEXT", "body", "text"))
    notes = Table("notes", "public", "notes", columns, ("id",))
    async with ready(postgres_url, PRIMARY, ddl=ddl, tables=(notes,)) as store:
        assert await store.check_capture() == []
        await run(postgres_url, "INSERT INTO notes VALUES (1, 'a')", "INSERT INTO notes_high VALUES ('b', 101)")
        await run(postgres_url, "UPDATE notes SET id = 150 WHERE id = 1")
        assert await changes(store, notes) == {(1,): None, (150,): (150, "a"), (101,): (101, "b")}
        await trim(store, 1)
        await run(postgres_url, "TRUNCATE notes_high")
        async with store.snapshot() as snapshot:
            assert (await snapshot.pending()).whole == {"notes"}
        await run(postgres_url, "CREATE TABLE notes_top PARTITION OF notes FOR VALUES FROM (200) TO (300)")
        assert any("notes_top" in fault for fault in await store.check_capture())
        await store.install_capture()
        assert await store.check_capture() == []
        await store.settle(SHADOW.but(epoch=3))
        for table in ("notes", "notes_low", "notes_high", "notes_top"):
            with pytest.raises(asyncpg.ReadOnlySQLTransactionError, match="sqlite"):
                await run(postgres_url, f"DELETE FROM {table}")


async def test_what_is_broken_is_named_and_repaired(postgres_url: str) -> None:
    async with ready(postgres_url, PRIMARY) as store:
        assert await store.check_capture() == []
        await run(
            postgres_url,
            "ALTER TABLE pairs DISABLE TRIGGER cutover_capture",
            "DROP TRIGGER cutover_fence ON items",
            f"CREATE OR REPLACE FUNCTION cutover.capture_{PEOPLE.id}() RETURNS trigger LANGUAGE plpgsql AS "
            "'BEGIN RETURN NULL; END'",
        )
        faults = " ".join(await store.check_capture())
        for word in ("pairs", "items", "people"):
            assert word in faults
        await run(postgres_url, "INSERT INTO people VALUES ('lost', 'l', NULL)")
        await store.install_capture()
        assert await store.check_capture() == []
        async with store.snapshot() as snapshot:
            assert (await snapshot.pending()).whole == {"pairs", "items", "people"}


async def test_a_missing_or_changed_column_is_said_not_papered_over(postgres_url: str) -> None:
    async with ready(postgres_url, PRIMARY) as store:
        before = await store.schema_fingerprint()
        await run(postgres_url, "ALTER TABLE people DROP COLUMN about")
        await run(postgres_url, "INSERT INTO people VALUES ('a', 'ann')", "UPDATE people SET handle = 'other'")
        assert await store.check_capture() == ['Column about of "public"."people" does not exist.']
        assert await store.schema_fingerprint() != before
        with pytest.raises(CaptureBroken, match="about"):
            await store.install_capture()


async def test_a_table_that_leaves_the_mapping_is_left_alone(postgres_url: str) -> None:
    async with ready(postgres_url, SHADOW) as store:
        with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
            await run(postgres_url, "INSERT INTO pairs VALUES (1, 'x', NULL)")
        store.serve_tables((ITEMS, PEOPLE))
        await store.install_capture()
        await run(postgres_url, "INSERT INTO pairs VALUES (1, 'x', NULL)")


async def test_a_table_that_the_front_door_made_keeps_its_capture_until_it_is_mapped(postgres_url: str) -> None:
    """Its triggers came with it. Taking them off would wait for its writers, and have its rows go by uncaptured."""
    made = SchemaObject("table", PAIRS.name, PAIRS.name, "CREATE TABLE pairs (of another text)")
    async with ready(postgres_url, PRIMARY) as store, native(postgres_url) as writer:
        await want(writer, [made])
        store.serve_tables((PEOPLE, ITEMS))
        async with writer.transaction():
            await writer.execute("INSERT INTO pairs VALUES (1, 2, 'kept')")
            assert await store.check_capture() == []
            await store.install_capture()
        assert await writer.fetchval(f"SELECT count(*) FROM {log(PAIRS)}") == 1
        await store.settled(await store.wanted())
        assert len(await store.check_capture()) == 3
        await store.install_capture()
        await writer.execute("INSERT INTO pairs VALUES (1, 3, 'not mapped')")
        assert await writer.fetchval(f"SELECT count(*) FROM {log(PAIRS)}") == 1


async def test_waiting_for_a_change(postgres_url: str) -> None:
    async with ready(postgres_url, PRIMARY) as store:
        assert not await store.wait_for_change(0.12)
        waiting = asyncio.create_task(store.wait_for_change(60))
        await run(postgres_url, "INSERT INTO pairs VALUES (1, 'x', NULL)")
        assert await asyncio.wait_for(waiting, 60)
        await trim(store, 1)
        waiting = asyncio.create_task(store.wait_for_change(60))
        store.wake()
        assert await asyncio.wait_for(waiting, 60)


_LENGTH = f"SELECT pg_relation_size('{log(PAIRS)}')"


async def test_a_large_trim_clears_up_behind_itself(postgres_url: str) -> None:
    async with ready(postgres_url, PRIMARY) as store, native(postgres_url) as app:
        await app.execute(f"ALTER TABLE {log(PAIRS)} SET (autovacuum_enabled = false)")  # its own would be in the way
        await app.execute("INSERT INTO pairs SELECT n, 'x', NULL FROM generate_series(1, 20000) n")
        length = await app.fetchval(_LENGTH)
        await trim(store, 1)
        await app.execute("UPDATE pairs SET b = 'y' WHERE a > 10000")  # two entries each
        await trim(store, 2)
        assert await app.fetchval(_LENGTH) == length
        await app.execute("INSERT INTO pairs SELECT n, 'x', NULL FROM generate_series(20001, 100000) n")
        await trim(store, 3)
        assert await app.fetchval(_LENGTH) == 0


async def test_clearing_up_does_not_wait_for_writers(postgres_url: str) -> None:
    waits = (
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'VacuumTruncate' AND backend_type = 'client backend'"
    )
    async with ready(postgres_url, PRIMARY) as store, native(postgres_url) as writer, native(postgres_url) as app:
        await app.execute("INSERT INTO pairs SELECT n, 'x', NULL FROM generate_series(1, 25000) n")
        await writer.execute(f"BEGIN; LOCK TABLE {log(PAIRS)} IN ROW EXCLUSIVE MODE")
        trimming = asyncio.create_task(trim(store, 1))
        while not trimming.done():
            assert await app.fetchval(waits) == 0
        await trimming
        assert await store.lag() == (0, None)
        # Of a long one it is tried, and given up.
        await app.execute("INSERT INTO pairs SELECT n, 'x', NULL FROM generate_series(25001, 120000) n")
        await trim(store, 2)
        assert await store.lag() == (0, None)
        assert await app.fetchval(_LENGTH) > 0


async def test_a_new_label_of_an_enum_is_a_change_of_the_schema(postgres_url: str) -> None:
    async with ready(postgres_url, PRIMARY) as store:
        await run(postgres_url, "CREATE TYPE mood AS ENUM ('sad')", "ALTER TABLE people ADD COLUMN mood mood")
        before = await store.schema_fingerprint()
        await run(postgres_url, "ALTER TYPE mood ADD VALUE 'happy'")
        assert await store.schema_fingerprint() != before
