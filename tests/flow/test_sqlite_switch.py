"""The SQLite file fenced, applied to as shadow, and made primary again."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import time

import pytest

from cutover.errors import (
    CaptureBroken,
    FenceTimeout,
    StoreUnavailable,
)
from cutover.model.control import BackfillProgress, SwitchState
from cutover.model.values import Row
from tests.support.sqlite_world import PRIMARY, SHADOW, direct, make, one, served

# -- the fence -----------------------------------------------------------------------------------------------


async def test_the_fence_waits_no_longer_than_it_may_and_names_who_holds_it(sqlite_path: str) -> None:
    make(sqlite_path, "CREATE TABLE t (k TEXT NOT NULL PRIMARY KEY)")
    script = (
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None); c.execute('BEGIN IMMEDIATE'); "
        "print('held', flush=True); sys.stdin.readline(); c.execute('ROLLBACK')"
    )
    command = [sys.executable, "-c", script, sqlite_path]
    async with served(sqlite_path, PRIMARY) as (store, _):
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"held\n"
            began = time.monotonic()
            with pytest.raises(FenceTimeout, match=f"pid {process.pid}"):
                await store.fence(PRIMARY.but(state=SwitchState.PROMOTING), 0.3)
            assert 0.25 < time.monotonic() - began < 10
            assert process.pid in [pid for pid, _ in store.holders()]
            assert await store.control() == PRIMARY
            process.communicate(b"\n")
        await store.fence(PRIMARY.but(state=SwitchState.PROMOTING), 60)


async def test_the_fence_waits_for_this_processs_writers_too(sqlite_path: str) -> None:
    async with served(sqlite_path, PRIMARY) as (store, _), store.writer_turn:
        with pytest.raises(FenceTimeout):
            await store.fence(PRIMARY.but(state=SwitchState.PROMOTING), 0.1)


async def test_a_fence_that_does_not_stand_is_lifted_without_the_write_lock(sqlite_path: str) -> None:
    make(sqlite_path, "CREATE TABLE t (k TEXT NOT NULL PRIMARY KEY)")
    steady = PRIMARY.but(switch_id="the one that brought it here")
    async with served(sqlite_path, steady, busy_timeout=0.2) as (store, _):
        with direct(sqlite_path) as application:
            application.execute("BEGIN IMMEDIATE")
            with pytest.raises(FenceTimeout):
                await store.fence(PRIMARY.but(state=SwitchState.PROMOTING, switch_id="s"), 0.1)
            await store.release(steady.but(switch_id=None))
            assert await store.control() == steady
            application.execute("ROLLBACK")
            await store.fence(PRIMARY.but(state=SwitchState.PROMOTING, switch_id="s"), 60)
            application.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreUnavailable):  # this one stands, and to lift it takes the lock
                await store.release(steady.but(switch_id=None))
            application.execute("ROLLBACK")
        await store.release(steady.but(switch_id=None))
        make(sqlite_path, "INSERT INTO t VALUES ('a')")


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO t VALUES ('b', 1)",
        "INSERT OR IGNORE INTO t VALUES ('b', 1)",
        "INSERT OR REPLACE INTO t VALUES ('a', 2)",
        "INSERT INTO t VALUES ('a', 2) ON CONFLICT DO UPDATE SET v = 3",
        "UPDATE OR IGNORE t SET v = 5",
        "DELETE FROM t",
    ],
)
async def test_a_fenced_writer_is_rolled_back_and_told_why(sqlite_path: str, sql: str) -> None:
    make(sqlite_path, "CREATE TABLE t (k TEXT NOT NULL PRIMARY KEY, v)", "INSERT INTO t VALUES ('a', 1)")
    async with served(sqlite_path, PRIMARY) as (store, _):
        with direct(sqlite_path) as application:
            application.execute("CREATE TABLE other (x)")
            await store.install_capture()
            await store.fence(PRIMARY.but(state=SwitchState.PROMOTING), 60)
            application.execute("BEGIN")
            application.execute("INSERT INTO other VALUES (1)")
            with pytest.raises(
                sqlite3.IntegrityError, match=r"cutover: a switch .* epoch 1.*under way|under way"
            ) as error:
                application.execute(sql)
            assert "postgres" in str(error.value)
            assert not application.in_transaction
            assert application.execute("SELECT * FROM t").fetchall() == [("a", 1)]


async def test_statements_prepared_before_the_fence_are_refused(sqlite_path: str) -> None:
    make(sqlite_path, "CREATE TABLE t (k INTEGER PRIMARY KEY)")
    async with served(sqlite_path, PRIMARY) as (store, _):
        with direct(sqlite_path) as application:
            application.execute("INSERT INTO t DEFAULT VALUES")
            application.execute("BEGIN")
            application.execute("SELECT * FROM t").fetchall()
            await store.fence(PRIMARY.but(state=SwitchState.PROMOTING), 60)
            with pytest.raises(sqlite3.Error, match=r"cutover|locked"):
                application.execute("INSERT INTO t DEFAULT VALUES")
        assert one(sqlite_path, "SELECT count(*) FROM t") == 1


# -- as shadow -----------------------------------------------------------------------------------------------

WITH_TRIGGER = (
    "CREATE TABLE t (k TEXT NOT NULL PRIMARY KEY, n INTEGER NOT NULL DEFAULT 0)",
    "CREATE TRIGGER counting AFTER INSERT ON t BEGIN UPDATE t SET n = n + 1 WHERE k = NEW.k; END",
)


async def test_application_triggers_rest_while_shadow_and_come_back(sqlite_path: str) -> None:
    make(sqlite_path, *WITH_TRIGGER)
    text = one(sqlite_path, "SELECT sql FROM sqlite_master WHERE name = 'counting'")
    async with served(sqlite_path, SHADOW) as (store, tables):
        async with store.applier(0, 1, 1) as applier:
            await applier.apply(tables["t"], [("a", 7)], [])
        assert one(sqlite_path, "SELECT n FROM t") == 7
        # An application that makes its triggers at each start must not make the shadow act.
        make(sqlite_path, WITH_TRIGGER[1])
        async with store.applier(0, 1, 2) as applier:
            await applier.apply(tables["t"], [("b", 7)], [])
        assert one(sqlite_path, "SELECT n FROM t WHERE k = 'b'") == 7
        await store.prepare("s")
        await store.receive(PRIMARY.but(epoch=2), "s", 60)
        assert one(sqlite_path, "SELECT sql FROM sqlite_master WHERE name = 'counting'") == text
        make(sqlite_path, "INSERT INTO t (k) VALUES ('c')")
        assert one(sqlite_path, "SELECT n FROM t WHERE k = 'c'") == 1


async def test_a_suspended_trigger_is_looked_for_again_after_a_rollback(sqlite_path: str) -> None:
    make(sqlite_path, *WITH_TRIGGER)
    async with served(sqlite_path, SHADOW) as (store, tables):
        make(sqlite_path, WITH_TRIGGER[1])
        with pytest.raises(RuntimeError, match="midway"):
            async with store.applier(0, 1, 1):
                raise RuntimeError("midway")
        async with store.applier(0, 1, 1) as applier:
            await applier.apply(tables["t"], [("a", 7)], [])
        assert one(sqlite_path, "SELECT n FROM t") == 7


async def test_a_breached_fence_stops_the_applier_and_the_table_is_copied_again(sqlite_path: str) -> None:
    make(sqlite_path, "CREATE TABLE t (k TEXT NOT NULL PRIMARY KEY, v)")
    async with served(sqlite_path, SHADOW) as (store, tables):
        async with store.applier(0, 1, 1) as applier:
            await applier.replace_range(tables["t"], None, None, [("a", 1)])
            await applier.save_progress(BackfillProgress("t", "done", ("a",), 1, 1))
        make(
            sqlite_path,
            "CREATE TABLE t_new (k TEXT NOT NULL PRIMARY KEY, v)",
            "DROP TABLE t",
            "ALTER TABLE t_new RENAME TO t",
            "INSERT INTO t VALUES ('foreign', 1)",
        )
        with pytest.raises(CaptureBroken, match="fence of table t"):
            async with store.applier(0, 1, 2):
                pass
        await store.install_capture()
        assert await store.check_capture() == []
        assert await store.progress() == {}
        with pytest.raises(sqlite3.IntegrityError, match="cutover"):
            make(sqlite_path, "INSERT INTO t VALUES ('refused', 1)")
        async with store.applier(0, 1, 2) as applier:
            await applier.replace_range(tables["t"], None, None, [("a", 1)])
        assert one(sqlite_path, "SELECT k FROM t") == "a"


async def test_constraints_put_single_rows_into_quarantine(sqlite_path: str) -> None:
    make(sqlite_path, "CREATE TABLE t (k TEXT NOT NULL PRIMARY KEY, n INTEGER NOT NULL CHECK (n > 0), h TEXT UNIQUE)")
    async with served(sqlite_path, SHADOW) as (store, tables):
        rows: list[Row] = [("a", 1, "x"), ("b", -1, "y"), ("c", None, "z"), ("d", 2, "x"), ("e", 3, "e")]
        async with store.applier(0, 1, 1) as applier:
            done = await applier.apply(tables["t"], rows, [])
        assert (done.upserted, done.quarantined) == (2, 3)
        reasons = {held.key: held.reason for held in await store.quarantined()}
        assert "CHECK" in reasons["b",]
        assert "NOT NULL" in reasons["c",]
        assert "UNIQUE" in reasons["d",]


async def test_a_value_that_the_column_would_change_is_quarantined(sqlite_path: str) -> None:
    make(sqlite_path, "CREATE TABLE t (k TEXT NOT NULL PRIMARY KEY, n NUMERIC, r REAL)")
    types = {"t.n": "text"}
    async with served(sqlite_path, SHADOW, types) as (store, tables):
        rows: list[Row] = [
            ("a", "12", 1.0),
            ("b", "twelve", 1.0),
            ("c", " 1e3 ", 1.0),
            ("d", None, -0.0),
            ("e", "", 2.5),
        ]
        async with store.applier(0, 1, 1) as applier:
            await applier.apply(tables["t"], rows, [])
        assert {held.key for held in await store.quarantined()} == {("a",), ("c",), ("d",)}
        async with store.snapshot() as snapshot:
            assert await snapshot.between(tables["t"], None, None) == [rows[1], rows[4]]


async def test_json_of_the_same_meaning_is_left_as_it_was_written(sqlite_path: str) -> None:
    make(sqlite_path, "CREATE TABLE t (k TEXT NOT NULL PRIMARY KEY, j TEXT, v)")
    async with served(sqlite_path, SHADOW, {"t.j": "jsonb"}) as (store, tables):
        table = tables["t"]
        async with store.applier(0, 1, 1) as applier:
            await applier.apply(table, [("a", '{"b": 1, "a": []}', 1)], [])
            again = await applier.apply(table, [("a", '{"a":[],"b":1.0}', 1)], [])
            assert (again.unchanged, again.upserted) == (1, 0)
            await applier.apply(table, [("a", '{"a":[],"b":1}', 2)], [])
        assert one(sqlite_path, "SELECT j || v FROM t") == '{"b": 1, "a": []}2'


async def test_type_changes_are_applied(sqlite_path: str) -> None:
    make(sqlite_path, "CREATE TABLE t (k TEXT NOT NULL PRIMARY KEY, v)")
    async with served(sqlite_path, SHADOW) as (store, tables):
        for value in (1, 1.0, "1", b"1", 0.0, -0.0, None):
            async with store.applier(0, 1, None) as applier:
                assert (await applier.apply(tables["t"], [("a", value)], [])).upserted == 1
            async with store.snapshot() as snapshot:
                ((_, found),) = await snapshot.between(tables["t"], None, None)
            assert (type(found), str(found)) == (type(value), str(value))


async def test_a_key_changes_its_case_in_a_nocase_column(sqlite_path: str) -> None:
    make(sqlite_path, "CREATE TABLE t (k TEXT NOT NULL PRIMARY KEY COLLATE NOCASE, v)")
    async with served(sqlite_path, SHADOW) as (store, tables):
        async with store.applier(0, 1, None) as applier:
            await applier.apply(tables["t"], [("abc", 1)], [])
        async with store.applier(0, 1, None) as applier:
            await applier.apply(tables["t"], [("ABC", 1)], [("abc",)])
        assert one(sqlite_path, "SELECT k FROM t") == "ABC"
        assert await store.quarantined() == []


async def test_a_cancelled_applier_leaves_nothing(sqlite_path: str) -> None:
    make(sqlite_path, "CREATE TABLE t (k INTEGER PRIMARY KEY, v)")
    async with served(sqlite_path, SHADOW) as (store, tables):
        entered = asyncio.Event()

        async def mirror() -> None:
            async with store.applier(0, 1, 1) as applier:
                entered.set()
                for number in range(1000):
                    await applier.apply(tables["t"], [(number * 100 + n, "x") for n in range(100)], [])

        task = asyncio.create_task(mirror())
        await entered.wait()
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert one(sqlite_path, "SELECT count(*) FROM t") == 0
        assert one(sqlite_path, "SELECT applying FROM _cutover_control") == 0
        assert await store.write(lambda c: c.execute("PRAGMA foreign_keys").fetchone()[0]) == 1


async def test_sequences_stand_above_the_highest_key(sqlite_path: str) -> None:
    make(sqlite_path, "CREATE TABLE t (k INTEGER PRIMARY KEY AUTOINCREMENT, v)", "INSERT INTO t (v) VALUES (1)")
    async with served(sqlite_path, SHADOW) as (store, tables):
        async with store.applier(0, 1, 1) as applier:
            await applier.apply(tables["t"], [(500, "x")], [(1,)])
        with direct(sqlite_path) as application:
            application.execute("DELETE FROM sqlite_sequence")
        await store.prepare("s")
        await store.receive(PRIMARY.but(epoch=2), "s", 60)
        make(sqlite_path, "INSERT INTO t (v) VALUES ('next')")
        assert one(sqlite_path, "SELECT max(k) FROM t") == 501


async def test_a_table_whose_parent_a_migration_makes_anew_can_be_written(sqlite_path: str) -> None:
    """Between DROP TABLE and ALTER TABLE ... RENAME the way back is open, as it is before and behind."""
    made = "CREATE TABLE {} (id INTEGER PRIMARY KEY)"
    make(sqlite_path, made.format("p"), "CREATE TABLE c (id INTEGER PRIMARY KEY, p INTEGER REFERENCES p (id))")
    async with served(sqlite_path, SHADOW) as (store, tables):
        make(sqlite_path, made.format("new_p"), "DROP TABLE p")
        store.serve_tables((tables["c"],))
        assert ("writing", True, "each table can be written by this service") in await store.probe()
