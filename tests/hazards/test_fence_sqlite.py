"""Section A on SQLite: what a fence of triggers stops, how it lets go, and the DDL that walks past it."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator

import pytest

from cutover.errors import CaptureBroken, StatementError
from cutover.metrics import Metrics
from cutover.model.control import BackfillProgress, SwitchState
from cutover.model.statement import Statement, Step
from cutover.stores.base import Member
from cutover.stores.sqlite.executor import SqliteExecutor
from cutover.write_through import WriteThrough
from tests.support.sqlite_tables import mapped
from tests.support.sqlite_world import PRIMARY, SHADOW, direct, make, one, served

PROMOTING = PRIMARY.but(state=SwitchState.PROMOTING, switch_id="s1")
TABLE = "CREATE TABLE t (k TEXT NOT NULL PRIMARY KEY, v)"
REBUILD = (
    "CREATE TABLE t_new (k TEXT NOT NULL PRIMARY KEY, v)",
    "INSERT INTO t_new SELECT * FROM t",
    "DROP TABLE t",
    "ALTER TABLE t_new RENAME TO t",
)


# -- 8: DDL ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "bypass",
    [REBUILD, ("DROP TRIGGER fence",), ("ALTER TABLE t ADD COLUMN more", "DROP TRIGGER fence")],
    ids=["rebuild", "drop", "alter"],
)
def test_hazard_08_naive_a_fence_of_triggers_is_walked_past_by_ddl(sqlite_path: str, bypass: tuple[str, ...]) -> None:
    make(sqlite_path, TABLE)
    make(sqlite_path, "CREATE TRIGGER fence BEFORE INSERT ON t BEGIN SELECT RAISE(ROLLBACK, 'fenced'); END")
    with pytest.raises(sqlite3.IntegrityError, match="fenced"):
        make(sqlite_path, "INSERT INTO t (k) VALUES ('a')")
    make(sqlite_path, *bypass, "INSERT INTO t (k) VALUES ('foreign')")
    assert one(sqlite_path, "SELECT k FROM t") == "foreign"
    assert one(sqlite_path, "SELECT count(*) FROM sqlite_master WHERE type = 'trigger'") == 0


def test_hazard_08_naive_a_dropped_table_logs_nothing(sqlite_path: str) -> None:
    make(sqlite_path, TABLE, "CREATE TABLE log (k)", "INSERT INTO t (k) VALUES ('a')")
    make(sqlite_path, "CREATE TRIGGER c AFTER DELETE ON t BEGIN INSERT INTO log VALUES (OLD.k); END", "DROP TABLE t")
    assert one(sqlite_path, "SELECT count(*) FROM log") == 0


async def test_hazard_08_a_breach_of_the_fence_stops_the_applier_and_is_mended(sqlite_path: str) -> None:
    make(sqlite_path, TABLE)
    async with served(sqlite_path, SHADOW) as (store, tables):
        async with store.applier(0, 1, 1) as applier:
            await applier.replace_range(tables["t"], None, None, [("a", 1)])
            await applier.save_progress(BackfillProgress("t", "done", ("a",), 1, 1))
        make(sqlite_path, *REBUILD, "INSERT INTO t VALUES ('foreign', 1)")
        with pytest.raises(CaptureBroken, match="table t"):
            async with store.applier(0, 1, 2):
                pass
        await store.install_capture()
        assert await store.progress() == {}  # copied again, which removes the foreign row
        async with store.applier(0, 1, 2) as applier:
            await applier.replace_range(tables["t"], None, None, [("a", 1)])
        assert one(sqlite_path, "SELECT group_concat(k) FROM t") == "a"
        with pytest.raises(sqlite3.IntegrityError, match="cutover"):
            make(sqlite_path, "DELETE FROM t")


@pytest.mark.parametrize("ddl", [REBUILD, ("DROP TABLE t",)], ids=["rebuild", "drop"])
async def test_hazard_08_the_fences_own_transaction_finds_uncaptured_ddl(
    sqlite_path: str, ddl: tuple[str, ...]
) -> None:
    make(sqlite_path, TABLE, "INSERT INTO t VALUES ('a', 1)")
    async with served(sqlite_path, PRIMARY) as (store, _):
        make(sqlite_path, *ddl)
        with pytest.raises(CaptureBroken, match="t"):
            await store.fence(PROMOTING, 60)
        assert await store.control() == PRIMARY
        assert one(sqlite_path, "SELECT count(*) FROM sqlite_master WHERE name LIKE '_cutover_fence%'") == 0


async def test_hazard_08_a_table_rebuilt_while_primary_is_copied_again(sqlite_path: str) -> None:
    make(sqlite_path, TABLE, "INSERT INTO t VALUES ('a', 1)")
    async with served(sqlite_path, PRIMARY) as (store, _):
        make(sqlite_path, *REBUILD, "UPDATE t SET v = 'uncaptured'")
        assert await store.check_capture()
        with direct(sqlite_path) as application:
            store.serve_tables(mapped(application))
        await store.install_capture()
        async with store.snapshot() as snapshot:
            assert (await snapshot.pending()).whole == {"t"}
        await store.fence(PROMOTING, 60)


# -- 15: how a refusal ends ------------------------------------------------------------------------------------------


def test_hazard_15_naive_raise_abort_keeps_the_write_lock(sqlite_path: str) -> None:
    make(sqlite_path, TABLE, "CREATE TABLE other (x)")
    make(sqlite_path, "CREATE TRIGGER fence BEFORE INSERT ON t BEGIN SELECT RAISE(ABORT, 'fenced'); END")
    with direct(sqlite_path) as refused, direct(sqlite_path) as switch:
        switch.execute("PRAGMA busy_timeout = 100")
        refused.execute("BEGIN")
        refused.execute("INSERT INTO other VALUES (1)")
        with pytest.raises(sqlite3.IntegrityError, match="fenced"):
            refused.execute("INSERT INTO t VALUES ('a', 1)")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            switch.execute("BEGIN IMMEDIATE")


def test_hazard_15_naive_raise_fail_keeps_half_a_statement(sqlite_path: str) -> None:
    make(sqlite_path, TABLE)
    make(
        sqlite_path,
        "CREATE TRIGGER fence BEFORE INSERT ON t WHEN NEW.k > 'a' BEGIN SELECT RAISE(FAIL, 'fenced'); END",
    )
    with direct(sqlite_path) as application, pytest.raises(sqlite3.IntegrityError, match="fenced"):
        application.execute("INSERT INTO t VALUES ('a', 1), ('b', 2)")
    assert one(sqlite_path, "SELECT count(*) FROM t") == 1


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT OR IGNORE INTO t VALUES ('b', 1)",
        "INSERT OR REPLACE INTO t VALUES ('a', 2)",
        "INSERT OR FAIL INTO t VALUES ('b', 2)",
        "INSERT INTO t VALUES ('a', 2) ON CONFLICT DO UPDATE SET v = 3",
        "UPDATE OR IGNORE t SET v = 5",
        "DELETE FROM t",
    ],
)
async def test_hazard_15_a_refused_writer_is_rolled_back_and_lets_go(sqlite_path: str, sql: str) -> None:
    make(sqlite_path, TABLE, "CREATE TABLE other (x)", "INSERT INTO t VALUES ('a', 1)")
    async with served(sqlite_path, PRIMARY) as (store, _):
        await store.fence(PROMOTING, 60)
        with direct(sqlite_path) as refused, direct(sqlite_path) as switch:
            switch.execute("PRAGMA busy_timeout = 100")
            refused.execute("BEGIN")
            refused.execute("SAVEPOINT inner_one")
            refused.execute("INSERT INTO other VALUES ('before')")
            with pytest.raises(sqlite3.IntegrityError, match=r"cutover.*epoch 1"):
                refused.execute(sql)
            assert not refused.in_transaction
            switch.execute("BEGIN IMMEDIATE")
            switch.execute("ROLLBACK")
            refused.execute("INSERT INTO other VALUES ('after')")  # the price: a careless client's next statements
        assert one(sqlite_path, "SELECT group_concat(x) FROM other") == "after"
        assert one(sqlite_path, "SELECT k || v FROM t") == "a1"


async def test_hazard_15_attached_and_prepared_before_makes_no_difference(sqlite_path: str, tmp_path: object) -> None:
    make(sqlite_path, TABLE)
    async with served(sqlite_path, PRIMARY) as (store, _):
        with direct(f"{tmp_path}/elsewhere.db") as application:
            application.execute("ATTACH ? AS app", (sqlite_path,))
            application.execute("INSERT INTO app.t VALUES (?, 1)", ("a",))
            await store.fence(PROMOTING, 60)
            with pytest.raises(sqlite3.IntegrityError, match="cutover"):
                application.execute("INSERT INTO app.t VALUES (?, 1)", ("b",))
            application.execute("INSERT INTO app.t SELECT * FROM app.t WHERE 0")  # no row, nothing to refuse


@pytest.fixture
async def way(sqlite_path: str) -> AsyncIterator[WriteThrough]:
    """The front door's way to a fenced file."""
    make(sqlite_path, TABLE)
    async with served(sqlite_path, PRIMARY) as (store, _):
        executor = SqliteExecutor(store, Metrics("test"), transaction_timeout=60)
        await store.fence(PROMOTING, 60)
        yield WriteThrough(Member(store, executor), epoch=1, metrics=Metrics("test"), hold_timeout=60)
        await executor.close()


async def test_hazard_15_through_the_front_door_it_is_busy_and_no_constraint(way: WriteThrough) -> None:
    with pytest.raises(StatementError, match="cutover") as refused:
        await way.run([Step(Statement("INSERT INTO t VALUES ('a', 1)"))])
    assert (refused.value.code, refused.value.retry) == ("SQLITE_BUSY", True)
    stream = way.stream()
    await stream.execute(Statement("BEGIN"))
    with pytest.raises(StatementError) as refused:
        await stream.execute(Statement("INSERT INTO t VALUES ('a', 1)"))
    assert refused.value.code == "SQLITE_BUSY"
    await stream.close()
