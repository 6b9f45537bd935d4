"""Capture of direct writers, and snapshots of whatever a SQLite file can hold."""

from __future__ import annotations

import math
from contextlib import nullcontext

import pytest

from cutover.errors import CaptureBroken, SchemaChanged
from cutover.model.control import SwitchState
from cutover.schema.canonical import digest
from cutover.schema.codecs import codecs_for
from cutover.stores.sqlite.store import SqliteStore
from tests.support.sqlite_tables import mapped
from tests.support.sqlite_world import PRIMARY, direct, make, one, served, take


async def test_keys_are_matched_by_type_and_bytes(sqlite_path: str) -> None:
    make(sqlite_path, "CREATE TABLE t (k TEXT NOT NULL PRIMARY KEY COLLATE NOCASE, v TEXT)")
    async with served(sqlite_path, PRIMARY) as (store, tables):
        make(sqlite_path, "INSERT INTO t VALUES ('abc', 'x')")
        await take(store, tables["t"], 1)
        make(sqlite_path, "UPDATE t SET k = 'ABC'")
        async with store.snapshot() as snapshot:
            assert await snapshot.pending_keys(tables["t"], [("abc",), ("ABC",), ("Abc",)]) == {("abc",), ("ABC",)}
            assert await snapshot.rows(tables["t"], [("abc",), ("ABC",)]) == {("ABC",): ("ABC", "x")}
        assert await take(store, tables["t"], 2) == {("abc",): None, ("ABC",): ("ABC", "x")}


async def test_byte_order_under_another_collation(sqlite_path: str) -> None:
    make(sqlite_path, "CREATE TABLE t (k TEXT NOT NULL PRIMARY KEY COLLATE NOCASE, l INTEGER)")
    names = ["A", "B", "Z", "a1", "b1", "z1", "é"]
    make(sqlite_path, *(f"INSERT INTO t VALUES ('{name}', {number})" for number, name in enumerate(reversed(names))))
    async with served(sqlite_path, PRIMARY) as (store, tables), store.snapshot() as snapshot:
        table = tables["t"]
        assert [row[0] for row in await snapshot.between(table, None, None)] == names
        assert [row[0] for row in await snapshot.range(table, ("B",), 3)] == ["Z", "a1", "b1"]
        scanned = await snapshot.scan(table, None, 2, 10)
        assert [found.upper for found in scanned] == [("B",), ("a1",), ("z1",), ("é",)]
        found = await snapshot.digests(table, None, [one.upper for one in scanned[:-1]], tail=True)
        assert [(one.rows, one.digest) for one in found] == [(one.rows, one.digest) for one in scanned]
        assert (await snapshot.digests(table, ("B",), [("a1",)], tail=False))[0] == (2, scanned[1].digest)


async def test_null_keys_are_seen_in_the_first_range(sqlite_path: str) -> None:
    make(sqlite_path, "CREATE TABLE t (k TEXT, l INTEGER, PRIMARY KEY (k, l))")
    make(sqlite_path, "INSERT INTO t VALUES (NULL, 1), ('a', NULL), ('a', 1), ('b', NULL), ('b', 2)")
    async with served(sqlite_path, PRIMARY) as (store, tables), store.snapshot() as snapshot:
        table = tables["t"]
        everything = await snapshot.between(table, None, None)
        assert everything == [(None, 1), ("a", None), ("a", 1), ("b", None), ("b", 2)]
        for first in range(5):
            for last in range(first, 5):
                after = everything[first - 1] if first else None
                assert await snapshot.between(table, after, everything[last]) == everything[first : last + 1]
        assert await snapshot.rows(table, [("a", None)]) == {("a", None): ("a", None)}


async def test_values_of_every_storage_class_are_digested(sqlite_path: str) -> None:
    make(sqlite_path, "CREATE TABLE t (k INTEGER PRIMARY KEY, v TEXT, x, r REAL)")
    values = [None, 0, -5, 2**63 - 1, 1.5, -0.0, 1e300, math.inf, "", "a;b:1", "nul\x00in", "ü😀", b"", b"\x00\xff"]
    with direct(sqlite_path) as application:
        application.executemany("INSERT INTO t (v, x, r) VALUES (?, ?, ?)", [(value, value, value) for value in values])
    async with served(sqlite_path, PRIMARY) as (store, tables), store.snapshot() as snapshot:
        rows = await snapshot.between(tables["t"], None, None)
        assert [row[2] for row in rows] == values
        (scanned,) = await snapshot.scan(tables["t"], None, 100, 1)
        assert scanned.digest == digest(rows, codecs_for(tables["t"]))
        per_row = await snapshot.scan(tables["t"], None, 1, 100)
        assert [found.digest for found in per_row] == [digest([row], codecs_for(tables["t"])) for row in rows]


async def test_a_json_column_is_digested_by_its_meaning(sqlite_path: str) -> None:
    make(sqlite_path, "CREATE TABLE t (k INTEGER PRIMARY KEY, v TEXT)")
    make(sqlite_path, """INSERT INTO t VALUES (1, '{"a":1,"b":[]}'), (2, '{"b": [], "a": 1}'), (3, 'no json')""")
    async with served(sqlite_path, PRIMARY, {"t.v": "jsonb"}) as (store, tables), store.snapshot() as snapshot:
        rows = await snapshot.between(tables["t"], None, None)
        scanned = await snapshot.scan(tables["t"], None, 1, 10)
        assert [found.digest for found in scanned] == [digest([row], codecs_for(tables["t"])) for row in rows]


async def test_text_that_is_not_utf8_is_read_and_found_again(sqlite_path: str) -> None:
    make(sqlite_path, "CREATE TABLE t (k TEXT NOT NULL PRIMARY KEY, v TEXT)")
    async with served(sqlite_path, PRIMARY) as (store, tables):
        table = tables["t"]
        make(
            sqlite_path,
            *(f"INSERT INTO t VALUES ('{number:03}', 'fine')" for number in range(15)),
            "INSERT INTO t VALUES (CAST(x'7aff' AS TEXT), CAST(x'eda080' AS TEXT))",
        )
        async with store.snapshot() as snapshot:
            rows = await snapshot.between(table, None, None)
            assert len(rows) == 16
            odd = table.key_of(rows[-1])
            assert await snapshot.rows(table, [odd]) == {odd: rows[-1]}
            assert (await snapshot.scan(table, None, 100, 1))[0].rows == 16
            assert await snapshot.pending_keys(table, [odd]) == {odd}
        found = await take(store, table, 1)
        assert len(found) == 16
        assert found[odd] == rows[-1]


async def test_a_rebuilt_table_is_captured_again_and_copied_again(sqlite_path: str) -> None:
    make(sqlite_path, "CREATE TABLE t (k TEXT NOT NULL PRIMARY KEY, v)", "CREATE TABLE u (k TEXT NOT NULL PRIMARY KEY)")
    async with served(sqlite_path, PRIMARY) as (store, tables):
        fingerprint = await store.schema_fingerprint()
        rebuild = (
            "CREATE TABLE t_new (k TEXT NOT NULL PRIMARY KEY, v)",
            "INSERT INTO t_new SELECT * FROM t",
            "DROP TABLE t",
            "ALTER TABLE t_new RENAME TO t",
        )
        for number in range(2):  # the second leaves a text like the first one's, but no triggers
            make(sqlite_path, *rebuild, "INSERT INTO t VALUES (hex(randomblob(4)), 1)")
            assert await store.schema_fingerprint() != fingerprint
            assert any("Table t " in text or "table t " in text for text in await store.check_capture())
            with pytest.raises(SchemaChanged) if number == 0 else nullcontext():  # the text is another, by its quotes
                async with store.snapshot():
                    pass
            with direct(sqlite_path) as application:
                store.serve_tables(mapped(application))
            await store.install_capture()
            assert await store.check_capture() == []
            fingerprint = await store.schema_fingerprint()
            async with store.snapshot() as snapshot:
                assert (await snapshot.pending()).whole == {"t"}
            await take(store, tables["t"], await _next_batch(store))
        make(sqlite_path, "INSERT INTO t VALUES ('new', 1)")
        assert await take(store, tables["t"], await _next_batch(store)) == {("new",): ("new", 1)}


async def test_a_table_that_was_left_out_for_a_while_is_copied_again(sqlite_path: str) -> None:
    make(sqlite_path, "CREATE TABLE t (k TEXT NOT NULL PRIMARY KEY, v)", "CREATE TABLE u (k TEXT NOT NULL PRIMARY KEY)")
    async with served(sqlite_path, PRIMARY) as (store, tables):
        store.serve_tables([tables["u"]])
        await store.install_capture()
        make(sqlite_path, "INSERT INTO t VALUES ('unseen', 1)")
        store.serve_tables([tables["t"], tables["u"]])
        await store.install_capture()
        async with store.snapshot() as snapshot:
            assert (await snapshot.pending()).whole == {"t"}


async def _next_batch(store: SqliteStore) -> int:
    control = await store.control()
    assert control is not None
    return control.trimmed_batch + 1


async def test_an_altered_trigger_stops_a_promotion(sqlite_path: str) -> None:
    make(sqlite_path, "CREATE TABLE t (k TEXT NOT NULL PRIMARY KEY)")
    async with served(sqlite_path, PRIMARY) as (store, _):
        name = one(sqlite_path, "SELECT name FROM sqlite_master WHERE type = 'trigger' LIMIT 1")
        make(sqlite_path, f"DROP TRIGGER {name}", f"CREATE TRIGGER {name} AFTER DELETE ON t BEGIN SELECT 1; END")
        with pytest.raises(CaptureBroken, match=str(name)):
            await store.fence(PRIMARY.but(state=SwitchState.PROMOTING), 60)
        assert await store.control() == PRIMARY
        make(sqlite_path, "INSERT INTO t VALUES ('not fenced')")


async def test_a_new_table_stops_a_promotion(sqlite_path: str) -> None:
    make(sqlite_path, "CREATE TABLE t (k TEXT NOT NULL PRIMARY KEY)")
    async with served(sqlite_path, PRIMARY) as (store, _):
        make(sqlite_path, "CREATE TABLE later (k TEXT NOT NULL PRIMARY KEY)")
        with pytest.raises(CaptureBroken, match="later"):
            await store.fence(PRIMARY.but(state=SwitchState.PROMOTING), 60)


async def test_the_log_grows_with_the_widest_key(sqlite_path: str) -> None:
    make(sqlite_path, "CREATE TABLE t (k TEXT NOT NULL PRIMARY KEY)")
    async with served(sqlite_path, PRIMARY) as (store, _):
        make(sqlite_path, "CREATE TABLE wide (a INT NOT NULL, b BLOB NOT NULL, c REAL NOT NULL, PRIMARY KEY (a, b, c))")
        with direct(sqlite_path) as application:
            tables = {table.name: table for table in mapped(application)}
        store.serve_tables(tuple(tables.values()))
        await store.install_capture()
        make(sqlite_path, "INSERT INTO wide VALUES (1, x'00ff', 2.0)")
        assert await take(store, tables["wide"], 1) == {(1, b"\x00\xff", 2.0): (1, b"\x00\xff", 2.0)}


async def test_a_deleted_sequence_does_not_lose_changes(sqlite_path: str) -> None:
    make(sqlite_path, "CREATE TABLE t (k TEXT NOT NULL PRIMARY KEY)")
    async with served(sqlite_path, PRIMARY) as (store, tables):
        make(sqlite_path, "INSERT INTO t VALUES ('a')")
        async with store.snapshot() as snapshot:
            pending = await snapshot.pending()
        await store.trim(pending, 1)
        make(sqlite_path, "DELETE FROM sqlite_sequence", "INSERT INTO t VALUES ('b')")
        await store.trim(pending, 1)
        assert await take(store, tables["t"], 2) == {("b",): ("b",)}


async def test_a_default_that_calls_a_function_is_not_called_by_capture(sqlite_path: str) -> None:
    make(
        sqlite_path,
        "CREATE TABLE t (id TEXT NOT NULL PRIMARY KEY DEFAULT (lower(hex(randomblob(8)))), v TEXT)",
        "CREATE TABLE u (id TEXT NOT NULL PRIMARY KEY DEFAULT (of_the_application()), v TEXT)",
    )
    async with served(sqlite_path, PRIMARY) as (store, tables):
        make(sqlite_path, "INSERT INTO t (v) VALUES ('a')", "INSERT OR REPLACE INTO t VALUES (NULL, 'b')")
        assert {row[1] for row in (await take(store, tables["t"], 1)).values() if row} == {"a", "b"}
        make(sqlite_path, "INSERT INTO u VALUES ('key', 'x')", "UPDATE u SET v = 'y'")
        assert await take(store, tables["u"], 2) == {("key",): ("key", "y")}


async def test_what_is_passed_over_shows_no_more_though_it_is_there(sqlite_path: str) -> None:
    make(sqlite_path, "CREATE TABLE t (k TEXT NOT NULL PRIMARY KEY)")
    async with served(sqlite_path, PRIMARY) as (store, tables):
        make(sqlite_path, "INSERT INTO t VALUES ('a'), ('b')")
        async with store.snapshot() as snapshot:
            pending = await snapshot.pending()
        assert store.pass_over(pending)
        assert await store.lag() == (0, None)
        make(sqlite_path, "INSERT INTO t VALUES ('c')")
        assert (await store.lag())[0] == 1
        async with store.snapshot() as snapshot:
            after = await snapshot.pending()
            assert (after.count, after.batch) == (1, pending.batch + 1)
            assert await snapshot.pending_keys(tables["t"], [("a",), ("c",)]) == {("c",)}
            assert [keys async for keys in snapshot.changed(tables["t"], 9)] == [[(("c",), ("c",))]]
        assert one(sqlite_path, "SELECT count(*) FROM _cutover_log") == 3
        await store.trim(after, after.batch)
        assert one(sqlite_path, "SELECT count(*) FROM _cutover_log") == 0


async def test_a_file_knows_the_batches_it_could_have_shown(sqlite_path: str) -> None:
    make(sqlite_path, "CREATE TABLE t (k TEXT NOT NULL PRIMARY KEY)")
    async with served(sqlite_path, PRIMARY) as (store, _):
        for number in range(3):
            make(sqlite_path, f"INSERT INTO t VALUES ({number})")
        control = await store.control()
        assert control is not None
        assert (control.trimmed_batch, control.newest_batch) == (0, 3)
        async with store.snapshot() as snapshot:
            pending = await snapshot.pending()
        await store.trim(pending, 7)
        make(sqlite_path, "INSERT INTO t VALUES ('x')")
        control = await store.control()
        assert control is not None
        assert (control.trimmed_batch, control.newest_batch) == (7, 8)


async def test_too_many_entries_are_not_passed_over(sqlite_path: str) -> None:
    make(sqlite_path, "CREATE TABLE t (k INTEGER PRIMARY KEY)")
    async with served(sqlite_path, PRIMARY) as (store, _):
        numbers = "WITH n(k) AS (SELECT 1 UNION ALL SELECT k + 1 FROM n WHERE k < 10000)"
        make(sqlite_path, f"INSERT INTO t {numbers} SELECT k FROM n")
        async with store.snapshot() as snapshot:
            assert not store.pass_over(await snapshot.pending())


async def test_another_processs_commit_is_noticed_at_once(sqlite_path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cutover.stores.sqlite.watch._BACKSTOP", 120.0)
    make(sqlite_path, "CREATE TABLE t (k INTEGER PRIMARY KEY)")
    async with served(sqlite_path, PRIMARY) as (store, _):
        with direct(sqlite_path) as application:
            for _ in range(5):
                while await store.wait_for_change(0.2):
                    pass
                application.execute("INSERT INTO t DEFAULT VALUES")
                assert await store.wait_for_change(60)  # before the backstop could have helped
