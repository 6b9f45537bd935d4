"""Statements that applications send are tried on Postgres before it is primary."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import product
from typing import Never

import pytest

from cutover.dialect import readiness
from cutover.dialect.readiness import StatementRegistry
from cutover.dialect.rehearsal import Rehearsed
from cutover.dialect.schema_trials import SchemaTrials
from cutover.dialect.shadow_reads import ShadowReads
from cutover.dialect.waiting import Waiting
from cutover.errors import StoreUnavailable
from cutover.metrics import Metrics
from cutover.model.statement import Statement
from cutover.settings import Settings, TableSettings
from tests.flow.dialect_world import World, world
from tests.flow.test_sqlite_temporary import CHANGE_COLUMN

SCHEMA = """
CREATE TABLE users (id INTEGER PRIMARY KEY, handle TEXT NOT NULL, n INTEGER);
CREATE TABLE bare (a TEXT PRIMARY KEY);
CREATE TABLE wares (id INTEGER PRIMARY KEY, sku TEXT UNIQUE, price INTEGER CHECK (price > 0));
"""


STATUSES = ("ready", "ready", "ready", "ready", "refused", "invalid", "ready", "ready")
"""Of the schema changes that are tried here."""


@pytest.fixture
async def both(postgres_url: str) -> AsyncIterator[World]:
    settings = Settings(tables={"bare": TableSettings(rowid="drop")})
    async with world(postgres_url, SCHEMA, store=True, settings=settings) as made:
        yield made


async def rehearsed(both: World, *statements: str) -> StatementRegistry:
    registry = StatementRegistry(Metrics("test"))
    for sql in statements:
        registry.seen(Statement(sql))
    task = asyncio.create_task(registry.run(lambda: both.executor))
    async with asyncio.timeout(60):
        while registry.summary()["unseen"]:
            await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    return registry


async def test_arguments_count_by_the_class_they_were_seen_with(both: World) -> None:
    sql = "INSERT INTO bare VALUES (date(?))"
    registry = StatementRegistry(Metrics("test"))
    registry.seen(Statement(sql, ("2024-02-29",)))
    task = asyncio.create_task(registry.run(lambda: both.executor))
    async with asyncio.timeout(60):
        while registry.summary()["unseen"]:
            await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    told = "Refused if a, which is in the key of table bare, would be NULL."
    assert [(row["status"], row["reason"]) for row in registry.rows()] == [("ready", told)]
    assert "2024" not in str(registry.rows())


async def test_arguments_of_another_class_are_rehearsed_again(both: World) -> None:
    sql = "SELECT id FROM users WHERE n = ?"
    registry = StatementRegistry(Metrics("test"))
    task = asyncio.create_task(registry.run(lambda: both.executor))
    try:
        for value, other in ((1, True), ("x", True), (None, True), (1.5, True), (2, False), ("y", False)):
            registry.seen(Statement(sql, (value,)))
            assert registry.summary()["unseen"] == other
            async with asyncio.timeout(60):
                while registry.summary()["unseen"]:
                    await asyncio.sleep(0.01)
            assert registry.summary()["ready"] == 1
    finally:
        task.cancel()
        await asyncio.wait({task})
    assert [(row["status"], row["count"]) for row in registry.rows()] == [("ready", 6)]


async def test_a_statement_is_only_as_ready_as_with_its_worst_arguments(both: World) -> None:
    registry = StatementRegistry(Metrics("test"))
    for value in (1, b"x", 2):
        registry.seen(Statement("SELECT sum(n + ?) FROM users", (value,)))
    tried: list[Statement | None] = []
    real = both.executor.rehearsal

    class Tries:
        async def ready(self) -> None:
            await real.ready()

        async def rehearse(self, sql: str, sample: Statement | None) -> Rehearsed:
            tried.append(sample)
            blob = sample is not None and isinstance(sample.args[0], bytes)
            return Rehearsed("refused", reason="a blob") if blob else Rehearsed("ready")

    both.executor.rehearsal = Tries()  # type: ignore[assignment]  # says what is wanted
    registry._executor = lambda: both.executor
    assert await registry.rehearse()
    assert [sample.args for sample in tried if sample] == [(0,), (b"",)]
    assert [(row["status"], row["reason"]) for row in registry.rows()] == [("refused", "a blob")]


async def test_each_status(both: World) -> None:
    async with both.executor._connections.lend() as native:
        await native.execute("ALTER TABLE bare DROP COLUMN a CASCADE")
    registry = await rehearsed(
        both,
        "SELECT * FROM users WHERE id = ? AND handle LIKE ?",
        "INSERT INTO users (handle, n) VALUES (?, ?)",
        "SELECT n FROM users LIMIT ? OFFSET ?",
        "SELECT ?, handle || ? FROM users",
        "UPDATE OR IGNORE users SET id = 1",
        "SELECT rowid FROM bare",
        "SELECT a FROM bare",
        "SELECT missing FROM users",
        "PRAGMA table_info(users)",
        "BEGIN",
        "CREATE TABLE later (x)",
    )
    rows = {row["sql"]: row for row in registry.rows()}
    assert {sql: row["status"] for sql, row in rows.items()} == {
        "SELECT * FROM users WHERE id = ? AND handle LIKE ?": "ready",
        "INSERT INTO users (handle, n) VALUES (?, ?)": "ready",
        "SELECT n FROM users LIMIT ? OFFSET ?": "ready",
        "SELECT ?, handle || ? FROM users": "ready",
        "UPDATE OR IGNORE users SET id = 1": "ready",
        "SELECT rowid FROM bare": "refused",
        "SELECT a FROM bare": "failing",
        "SELECT missing FROM users": "invalid",
        "PRAGMA table_info(users)": "ready",
    }
    assert "$1" in rows["INSERT INTO users (handle, n) VALUES (?, ?)"]["translation"]
    assert "hidden rowid" in rows["SELECT rowid FROM bare"]["reason"]
    assert "does not exist" in rows["SELECT a FROM bare"]["reason"]
    assert registry.rows()[0]["status"] in ("failing", "refused")
    summary = registry.summary()
    assert (summary["statements"], summary["ready"], summary["failing"]) == (9, 6, 2)


async def test_nothing_is_changed_and_no_lock_is_left(both: World) -> None:
    await rehearsed(both, "DELETE FROM users", "INSERT INTO users (handle) VALUES ('x')")
    async with both.executor._connections.lend() as native:
        held = "SELECT count(*) FROM pg_locks WHERE relation = 'public.users'::regclass"
        assert await native.fetchval(held) == 0
        assert await native.fetchval("SELECT count(*) FROM public.users") == 0


async def test_counts_and_the_limit() -> None:
    registry = StatementRegistry(Metrics("test"), limit=2)
    for sql in ("SELECT 1", "SELECT 1", "SELECT -1", "SELECT +1"):
        registry.seen(Statement(sql))
    assert [row["count"] for row in registry.rows()] == [2, 1]
    assert registry.summary()["beyond_limit"] == 1
    assert not await registry.rehearse()
    assert registry.summary()["unseen"] == 2


def test_combinations_that_are_not_rehearsed_are_told() -> None:
    registry = StatementRegistry(Metrics("test"))
    for args in product((1, "x", b"x", 1.5), repeat=6):
        registry.seen(Statement("SELECT ?, ?, ?, ?, ?, ?", args))
    (row,) = registry.rows()
    assert (row["count"], row["unrehearsed"], registry.summary()["partly"]) == (4096, 3072, 1)


async def test_texts_that_differ_in_literals_are_one_statement(both: World) -> None:
    texts = [f"SELECT id FROM users WHERE n = {number} AND handle <> 'x{number}'" for number in range(300)]
    registry = await rehearsed(both, *texts, "SELECT id FROM users WHERE n = 'a' AND handle <> 'x'")
    (row,) = registry.rows()
    assert (row["status"], row["count"], row["texts"]) == ("ready", 301, 66), "each of the first, then by classes"
    assert row["sql"] in texts


async def test_a_statement_is_as_ready_as_its_worst_text(both: World) -> None:
    good, bad = "SELECT printf('%d', n) FROM users", "SELECT printf('%y', n) FROM users"
    registry = await rehearsed(both, good, bad)
    (row,) = registry.rows()
    assert (row["sql"], row["status"]) == (bad, "refused")
    registry = await rehearsed(both, *(f"SELECT printf('{number} %d', n) FROM users" for number in range(70)))
    registry._executor = lambda: both.executor
    assert await registry.rehearse()
    assert registry.summary()["ready"] == 1
    registry.seen(Statement(bad))  # one of many: looked at for itself all the same
    assert await registry.rehearse()
    (row,) = registry.rows()
    assert (row["sql"], row["status"]) == (bad, "refused")


async def test_a_schema_change_has_all_rehearsed_again(both: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "_LOOK", 0.02)
    registry = StatementRegistry(Metrics("test"))
    registry.seen(Statement("SELECT id FROM users"))
    task = asyncio.create_task(registry.run(lambda: both.executor))
    try:
        async with asyncio.timeout(60):
            while not registry.summary()["ready"]:
                await asyncio.sleep(0.01)
            left = tuple(table for table in both.tables if table.name != "users")
            both.executor.dialect._tables = lambda: left
            while not registry.summary()["failing"]:  # nobody sends it, or asks for it
                await asyncio.sleep(0.01)
    finally:
        task.cancel()
        await asyncio.wait({task})


async def test_a_schema_change_leaves_nothing_ready(both: World) -> None:
    registry = await rehearsed(both, "SELECT id FROM users", "SELECT a FROM bare")
    assert registry.summary()["ready"] == 2
    real = both.executor.rehearsal

    class Fails:
        async def ready(self) -> None:
            await real.ready()

        async def rehearse(self, sql: str, sample: Statement | None) -> Rehearsed:
            raise StoreUnavailable("It went away.")

    both.executor.rehearsal = Fails()  # type: ignore[assignment]  # cut short
    both.executor.dialect.generation += 1
    assert not await registry.rehearse()
    assert (registry.summary()["unseen"], registry.summary()["ready"]) == (2, 0)
    both.executor.rehearsal = real
    assert await registry.rehearse()
    assert registry.summary()["ready"] == 2


async def test_the_first_of_each_sort_of_arguments_and_behind_each_change_of_the_schema_is_replayed(
    both: World,
) -> None:
    reads = ShadowReads(Metrics("test"), in_vain, 1e-9)
    registry = StatementRegistry(Metrics("test"), reads=reads)
    registry._executor = lambda: both.executor
    sql = "SELECT id FROM users WHERE n = ?"
    for value, waiting in ((1, 1), (2, 1), ("x", 2), (1.5, 3), (2.5, 3)):
        registry.seen(Statement(sql, (value,)))
        assert reads.waiting == waiting
    assert await registry.rehearse()
    reads._waiting = Waiting()
    registry.seen(Statement(sql, (3,)))
    assert reads.waiting == 0
    both.executor.dialect.generation += 1
    assert await registry.rehearse()
    registry.seen(Statement(sql, (4,)))
    assert (reads.waiting, registry.summary()["waiting"]) == (1, 1)
    full, reads._waiting.put = reads._waiting.put, lambda _: False  # type: ignore[method-assign]
    other = "SELECT handle FROM users"
    registry.seen(Statement(other))
    reads._waiting.put = full  # type: ignore[method-assign]
    assert reads.waiting == 1
    registry.seen(Statement(other))
    assert reads.waiting == 2, "there was no room for the first"


def in_vain() -> Never:
    raise AssertionError("nothing is replayed here")


async def test_schema_changes_are_told_and_not_made(both: World) -> None:
    ddl = both.executor.dialect.ddl or (
        "CREATE TABLE users (id INTEGER PRIMARY KEY, handle TEXT NOT NULL, n INTEGER)",
        "CREATE TABLE bare (a TEXT PRIMARY KEY)",
    )
    registry = StatementRegistry(Metrics("test"), changes=SchemaTrials(lambda: ddl))
    registry._executor = lambda: both.executor
    for sql in (
        "CREATE TABLE posts (id INTEGER PRIMARY KEY, author INTEGER REFERENCES users (id))",
        "CREATE INDEX by_author ON posts (author)",
        "ALTER TABLE users ADD COLUMN born TEXT",
        "ALTER TABLE users ADD COLUMN born TEXT",
        "CREATE TABLE IF NOT EXISTS users (x)",
        "CREATE TRIGGER t AFTER INSERT ON users BEGIN SELECT 1; END",
        "DROP TABLE missing",
        "ANALYZE",
        "DROP TABLE bare",
    ):
        registry.seen(Statement(sql))
    assert await registry.rehearse()
    rows = {row["sql"]: row for row in registry.schema_changes()}
    statuses = [(row["status"], row["count"]) for row in rows.values()]
    assert statuses == [(status, 2 if at == 2 else 1) for at, status in enumerate(STATUSES)]
    told = [row["translation"] or row["reason"] for row in rows.values()]
    assert "CREATE TABLE" in told[0]
    assert "CREATE INDEX" in told[1], "of the table that the statement before it makes"
    assert 'ADD COLUMN "born"' in told[2]
    assert told[3] == "It asks for nothing that is not there."
    assert "TRIGGER" in told[4]
    assert told[5] == "no such table: missing"
    assert told[7].endswith('DROP TABLE "public"."bare"')
    assert registry.summary()["statements"] == 0
    async with both.executor._connections.lend() as native:
        assert await native.fetchval("SELECT to_regclass('public.posts') IS NULL AND to_regclass('bare') IS NOT NULL")


async def test_a_table_made_again_in_another_shape_is_not_taken_for_what_postgres_has(both: World) -> None:
    """The mirror has not followed yet: in its place is the table of before, or there is none."""
    index = "CREATE INDEX by_handle ON users (handle, price)"
    again = ("CREATE TABLE users (handle TEXT NOT NULL, price REAL, PRIMARY KEY (handle, price))",)
    registry = StatementRegistry(Metrics("test"), changes=SchemaTrials(lambda: again))
    registry._executor = lambda: both.executor
    await both.on_postgres("SELECT 1")  # with which the schema is read
    both.executor.dialect.tables = ()
    for sql in (index, index, "ALTER TABLE users DROP COLUMN price", "DROP TABLE users"):
        registry.seen(Statement(sql))
    assert await registry.rehearse()
    assert [row["status"] for row in registry.schema_changes()] == ["ready", "invalid", "ready"]
    assert registry.summary()["changes_refused"] == 0


async def test_a_schema_change_that_was_refused_is_tried_again_with_another_mapping(both: World) -> None:
    await both.on_postgres("SELECT 1")  # with which the schema is read
    dialect = both.executor.dialect
    registry = StatementRegistry(Metrics("test"), changes=SchemaTrials(lambda: dialect.ddl))
    registry._executor = lambda: both.executor
    mapped, dialect.tables = dialect.tables, ()
    kept, dialect.settings = dialect.settings, Settings.model_validate({"tables": {"users": {"ignore": True}}})
    registry.seen(Statement("CREATE INDEX IF NOT EXISTS by_n ON users (n)"))
    assert await registry.rehearse()
    assert registry.summary()["changes_refused"] == 1
    dialect.tables, dialect.settings = mapped, kept
    dialect.generation += 1
    assert await registry.rehearse()
    assert [row["status"] for row in registry.schema_changes()] == ["ready"]


async def test_what_rows_may_still_make_impossible_is_told(both: World) -> None:
    check = "INSERT OR IGNORE INTO wares (sku, price) VALUES (?, ?)"
    twice = "INSERT INTO wares (sku) SELECT a FROM bare WHERE 1 ON CONFLICT (sku) DO UPDATE SET price = 1"
    known = "INSERT INTO wares (sku) SELECT handle FROM users WHERE 1 ON CONFLICT (sku) DO UPDATE SET price = 1"
    plain = "INSERT INTO wares (sku, price) VALUES (?, ?) ON CONFLICT (sku) DO UPDATE SET price = excluded.price"
    registry = await rehearsed(both, check, twice, known, plain, "INSERT OR IGNORE INTO bare VALUES (?)")
    told = {row["sql"]: (row["status"], row["reason"]) for row in registry.rows()}
    assert told[check] == told[known] == ("ready", None)
    assert "one key twice" in str(told[twice][1])
    assert told[plain] == ("ready", None)
    assert "would be NULL" in str(told["INSERT OR IGNORE INTO bare VALUES (?)"][1])


async def test_what_only_the_planner_refuses_is_not_ready(both: World) -> None:
    """A conflict clause on a key that Postgres has not: its PREPARE takes that."""
    upsert = "INSERT INTO wares (sku, price) VALUES (?, 1) ON CONFLICT (sku) DO UPDATE SET price = excluded.price"
    tables = "SELECT a.id FROM wares a FULL JOIN wares b ON a.id < b.id"
    assert [row["status"] for row in (await rehearsed(both, upsert)).rows()] == ["ready"]
    (index,) = await both.pool.fetchrow(
        "SELECT indexrelid::regclass::text FROM pg_index WHERE indrelid = 'wares'::regclass AND NOT indisprimary"
    )
    await both.pool.execute(f"DROP INDEX {index}")
    rows = (await rehearsed(both, upsert, tables)).rows()
    assert {row["status"] for row in rows} == {"failing"}, rows
    assert await both.pool.fetchval("SELECT count(*) FROM pg_locks WHERE relation = 'wares'::regclass") == 0


async def test_a_refused_schema_change_that_may_come_again_keeps_the_gate_shut(both: World) -> None:
    ddl = ("CREATE TABLE users (id INTEGER PRIMARY KEY)",)
    registry = StatementRegistry(Metrics("test"), changes=SchemaTrials(lambda: ddl))
    registry._executor = lambda: both.executor
    once, again = (
        f"CREATE TRIGGER {word} t AFTER INSERT ON users BEGIN SELECT 1; END" for word in ("", "IF NOT EXISTS")
    )
    for sql, refused in ((once, 0), ("CREATE TABLE IF NOT EXISTS users (x)", 0), (again, 1), (again, 1), (once, 2)):
        registry.seen(Statement(sql))
        assert await registry.rehearse()
        assert registry.summary()["changes_refused"] == refused


async def test_a_table_made_anew_through_a_temporary_one_is_ready(both: World) -> None:
    ddl = ("CREATE TABLE products (id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, price INTEGER)",)
    registry = StatementRegistry(Metrics("test"), changes=SchemaTrials(lambda: ddl))
    registry._executor = lambda: both.executor
    for sql in CHANGE_COLUMN:
        registry.seen(Statement(sql))
    assert await registry.rehearse()
    found = registry.schema_changes()
    assert [row["status"] for row in found] == ["ready"] * 4, found
    summary = registry.summary()
    assert (summary["failing"], summary["unseen"], summary["changes_refused"]) == (0, 0, 0), registry.rows()


async def test_what_is_done_to_a_temporary_table_is_judged_by_its_columns(both: World) -> None:
    ddl = ("CREATE TABLE products (id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, price INTEGER)",)
    registry = StatementRegistry(Metrics("test"), changes=SchemaTrials(lambda: ddl))
    registry._executor = lambda: both.executor
    registry.seen(Statement("CREATE TEMP TABLE held AS SELECT id, price FROM products"))
    registry.seen(Statement("INSERT INTO held VALUES (?, ?)", (1, 2)))
    registry.seen(Statement("SELECT price FROM held WHERE id > 1"))
    registry.seen(Statement("SELECT gone FROM held"))
    registry.seen(Statement("SELECT printf(price, id) FROM held"))
    assert await registry.rehearse()
    found = {row["sql"].split()[1]: row["status"] for row in registry.rows()}
    assert found == {"INTO": "ready", "price": "ready", "gone": "invalid", "printf(price,": "refused"}, registry.rows()
