"""Writes are tried on both stores in one state: what differs is found, and nothing of them stays on either."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from typing import Any

import asyncpg
import pytest

from cutover.dialect import replayed_writes
from cutover.dialect.checking import Checks
from cutover.dialect.executor import PostgresExecutor
from cutover.dialect.replayed_writes import ReplayedWrites
from cutover.dialect.shadow_reads import ShadowReads
from cutover.dialect.shadow_writes import ShadowWrites
from cutover.errors import StatementError, StoreError
from cutover.metrics import Metrics
from cutover.model.statement import Statement
from cutover.model.values import SqlValue
from cutover.stores.postgres.store import PostgresStore
from tests.flow import compare_world

SCHEMA = """
CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT UNIQUE, n INTEGER CHECK (n < 1000));
CREATE TABLE numbered (id INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT DEFAULT CURRENT_TIMESTAMP, a INTEGER);
CREATE TABLE pets (name TEXT PRIMARY KEY, owner INTEGER REFERENCES people (id) ON DELETE CASCADE);
CREATE TABLE bare (a TEXT, b INTEGER);
INSERT INTO people VALUES (1, 'ann', 1), (7, 'bob', 2), (9, 'cy', 2);
INSERT INTO numbered (id, a) VALUES (40, 1);
DELETE FROM numbered;
CREATE TABLE below (id INTEGER PRIMARY KEY, a INTEGER);
INSERT INTO below VALUES (-5, 1), (-3, 1);
INSERT INTO pets VALUES ('rex', 7);
"""


class Tried:
    """Both stores, and a hand that offers writes and looks at what came of them."""

    def __init__(self, world: compare_world.World, executor: PostgresExecutor, url: str) -> None:
        self.world, self.executor, self.url = world, executor, url
        self.writes = ShadowWrites(Metrics("test"), world.mirror.level_copied, 1.0)

    async def came_of(self, sql: str, *args: SqlValue) -> dict[str, Any]:
        before = self.total(sql)
        self.writes.offer(Statement(sql, args))
        await self.until(lambda: self.total(sql) > before)
        found = self.writes.verdicts.of(sql)
        assert found is not None, sql
        return found

    def total(self, sql: str) -> int:
        """Verdicts on a text."""
        found = self.writes.verdicts.of(sql) or {}
        return sum(found.get(verdict, 0) for verdict in ("match", "mismatch", "inconclusive"))

    async def until(self, condition: Callable[[], bool]) -> None:
        """Replay; there may be no room for it at once, if the service itself writes to SQLite."""
        async with asyncio.timeout(60):
            await self.writes.replay(self.executor)
            while not condition():
                await asyncio.sleep(0.02)
                await self.writes.replay(self.executor)

    async def verdict(self, sql: str, *args: SqlValue) -> str:
        found = await self.came_of(sql, *args)
        return f"{found['latest']}: {found['reason']}" if found["reason"] else str(found["latest"])

    async def everything(self) -> list[Any]:
        """Rows, sequences and logs of both stores."""
        with closing(sqlite3.connect(self.world.sqlite.path)) as db:
            names = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY 1")]
            here = [sorted(db.execute(f'SELECT * FROM "{name}"').fetchall(), key=repr) for name in names]
        connection = await asyncpg.connect(self.url)
        try:
            tables = await connection.fetch(
                "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname IN ('public', 'cutover')"
            )
            found = [await connection.fetch(f"SELECT t::text FROM {name} t ORDER BY 1") for (name,) in sorted(tables)]
            places = await connection.fetch(
                "SELECT schemaname, sequencename, last_value FROM pg_sequences ORDER BY 1, 2"
            )
        finally:
            await connection.close()
        return [*here, *found, places]


@pytest.fixture
async def both(sqlite_path: str, postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Tried]:
    """Where a verdict does not depend on how soon a store answers."""
    for name in ("_HELD", "_SECONDS"):
        monkeypatch.setattr(replayed_writes, name, 60.0)

    def ddl() -> list[str]:
        with closing(sqlite3.connect(sqlite_path)) as db:
            return [sql for (sql,) in db.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL")]

    store = PostgresStore(postgres_url, pool_size=3)
    async with compare_world.world(sqlite_path, postgres_url, lambda _: None, schema=SCHEMA) as world:
        await store.open()
        executor = PostgresExecutor(store, lambda: world.tables, ddl, Metrics("test"), transaction_timeout=60)
        try:
            yield Tried(world, executor, postgres_url)
        finally:
            await executor.close()
            await store.close()


async def test_writes_are_compared_and_nothing_stays(both: Tried) -> None:
    before = await both.everything()
    for sql, args in (
        ("INSERT INTO people (name, n) VALUES (?, ?)", ("dan", 3)),
        ("INSERT INTO people (name, n) VALUES ('dan', 3), ('eve', 4) RETURNING id, name", ()),
        ("INSERT INTO people VALUES (700, 'far', 3)", ()),
        ("INSERT INTO numbered (a) VALUES (?) RETURNING id", (5,)),
        ("INSERT INTO bare SELECT name, n FROM people", ()),
        ("INSERT INTO people VALUES (7, 'bo', 3) ON CONFLICT (id) DO UPDATE SET name = excluded.name", ()),
        ("INSERT INTO people (name) VALUES ('ann'), ('new') ON CONFLICT (name) DO UPDATE SET n = n + 1", ()),
        ("UPDATE people SET n = n + 1 WHERE n = ? RETURNING id, n", (2,)),
        ("DELETE FROM people WHERE id = 7", ()),
        ("INSERT INTO pets VALUES ('tom', 7) ON CONFLICT (name) DO UPDATE SET owner = excluded.owner", ()),
        ("INSERT OR REPLACE INTO people VALUES (9, 'ann', 5)", ()),
        ("INSERT OR REPLACE INTO people (name, n) VALUES ('bob', 9), ('new', 7)", ()),
        ("INSERT OR FAIL INTO people (name) VALUES ('z1'), ('z2')", ()),
        (
            "INSERT INTO people (name, n) VALUES ('ann', 1), ('n', 2), ('cy', 3), ('n', 5) "
            "ON CONFLICT (name) DO UPDATE SET n = n + excluded.n RETURNING id, name, n",
            (),
        ),
        ("INSERT OR IGNORE INTO people (name) SELECT 'ann' UNION ALL SELECT 'k1' UNION ALL SELECT 'k2'", ()),
        ("INSERT OR IGNORE INTO numbered (id, a) VALUES (1, 1), (1, 2), (NULL, 3) RETURNING id", ()),
        ("INSERT INTO people VALUES (1, 'again', 1)", ()),  # both refuse it
        ("UPDATE people SET n = 1000", ()),
        ("INSERT INTO pets VALUES ('lost', 8)", ()),
        ("UPDATE OR ROLLBACK people SET n = 1000", ()),
        ("DELETE FROM nothing", ()),
    ):
        assert await both.verdict(sql, *args) == "match", sql
    texts = ("DELETE FROM pets", "UPDATE OR ROLLBACK people SET n = 1001", "DELETE FROM people", "DELETE FROM bare")
    for sql in texts:  # all of them in one transaction, which one of them ends
        both.writes.offer(Statement(sql))
    await both.until(lambda: all(both.total(sql) for sql in texts))
    assert await both.everything() == before
    assert both.writes.verdicts.summary() == {"match": 25, "mismatch": 0, "inconclusive": 0, "differing": 0}


async def test_keys_are_those_of_a_primary_also_beside_writers_of_the_table(both: Tried) -> None:
    """Such as the mirror: they hold locks, though they draw no key."""
    writer = await asyncpg.connect(both.url)
    try:
        await writer.execute("BEGIN; LOCK TABLE people IN ROW EXCLUSIVE MODE")
        for sql in (
            "INSERT INTO people (name) VALUES ('ann'), ('dan'), ('bob'), ('eve') "
            "ON CONFLICT (name) DO UPDATE SET n = n + 1 RETURNING id, name",
            "INSERT OR IGNORE INTO people (name) SELECT 'ann' UNION SELECT 'dan' ORDER BY 1 RETURNING id",
            "INSERT OR REPLACE INTO people (name, n) VALUES ('bob', 9), ('eve', 7) RETURNING id",
        ):
            assert await both.verdict(sql) == "match", sql
    finally:
        await writer.close()


async def test_a_row_that_the_mirror_applied_meanwhile_is_no_answer(
    both: Tried, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has the key that the next row had in the state that is compared, and unique keys know of it."""
    compared = ReplayedWrites._verdict
    states = 0

    async def late(self: ReplayedWrites, *asked: Any) -> Any:
        nonlocal states
        states += 1
        if states <= 3:
            await both.world.write("INSERT INTO people (n) VALUES (?1)", [(states,)])
            assert await both.world.mirror.caught_up(20)
        return await compared(self, *asked)

    monkeypatch.setattr(ReplayedWrites, "_verdict", late)
    for sql in ("INSERT INTO people (name) VALUES ('dan')", "INSERT OR REPLACE INTO people (name) VALUES ('eve')"):
        states = 0
        found = await both.came_of(sql)
        assert (found["match"], found["mismatch"], found["inconclusive"]) == (1, 0, 0), found
        assert states > 3


async def test_keys_go_on_from_the_highest_where_all_are_below_zero(both: Tried) -> None:
    before = await both.everything()
    for sql in ("INSERT INTO below (a) VALUES (2) RETURNING id", "INSERT INTO below (a) VALUES (2), (3), (4), (5)"):
        assert await both.verdict(sql) == "match"
    assert await both.everything() == before


async def test_what_is_left_open_is_no_mismatch(both: Tried) -> None:
    told = await both.verdict("INSERT INTO numbered (a) VALUES (1) RETURNING at, random()")
    assert told == "inconclusive: What it does may be another thing at each execution."
    connection = await asyncpg.connect(both.url)
    try:
        await connection.execute(
            "CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';"
            "CREATE TRIGGER noted AFTER DELETE ON pets FOR EACH ROW EXECUTE FUNCTION noted()"
        )
    finally:
        await connection.close()
    told = await both.verdict("DELETE FROM people WHERE id = 7")  # and, by a foreign key, the pet
    assert told == "inconclusive: What it writes has triggers of its own on Postgres, and what they do might stay."
    told = await both.verdict("DELETE FROM pets RETURNING (SELECT count(*) FROM pets)")
    assert told == "inconclusive: Not answered on Postgres (SQL_NOT_TRANSLATABLE)."


async def test_what_only_rows_or_values_show_is_a_mismatch(both: Tried) -> None:
    await both.executor.rehearsal.ready()
    for sql, args, told in (
        ("INSERT INTO pets SELECT nullif(name, 'bob'), id FROM people", (), "refused: NULL in the key name"),
        ("UPDATE bare SET b = ? WHERE a = 'x' OR b IS NULL", (1.5,), ""),  # no row is there to be given it
        ("INSERT INTO bare VALUES ('x', ?)", (1.5,), "SQLite answers a change, Postgres SQLITE_MISMATCH."),
        ("INSERT INTO people (name, n) VALUES (?, 4)", ("a\0b",), "SQLite answers a change, Postgres SQLITE_MISMATCH."),
    ):
        assert (await both.executor.rehearsal.rehearse(sql, Statement(sql, args))).status == "ready"
        verdict = await both.verdict(sql, *args)
        assert verdict.startswith("mismatch: " if told else "match"), (sql, verdict)
        assert told in verdict


async def test_rows_in_quarantine_are_no_excuse_for_a_value_that_no_column_holds(both: Tried) -> None:
    with closing(sqlite3.connect(both.world.sqlite.path)) as db, db:
        db.execute("INSERT INTO bare VALUES ('kept back', 1.5)")
    told = await both.verdict("DELETE FROM bare")
    assert told == "inconclusive: Rows of bare are in quarantine, so the shadow does not have them."
    told = await both.verdict("INSERT INTO bare VALUES ('x', ?)", 2.5)
    assert told == "mismatch: SQLite answers a change, Postgres SQLITE_MISMATCH."


async def test_a_table_that_the_mirror_does_not_know_yet_proves_nothing(both: Tried) -> None:
    """Between the table's creation on Postgres and its copy the stores have it, and the mirror still goes without."""
    world, reads = both.world, ShadowReads(Metrics("test"), both.world.mirror.level_copied, 1.0)
    await both.executor.rehearsal.ready()
    await world.mirror.start(world.pair, tuple(table for table in world.tables if table.name != "pets"))
    await world.spoil("pets", deletes=[("rex",)])
    told = await both.verdict("UPDATE pets SET owner = 9")
    assert told == "inconclusive: Not all rows of pets are copied."
    read = Statement("SELECT name FROM pets")
    reads.offer(read)
    await reads.replay(both.executor)
    assert reads.open
    assert reads.verdicts.of(read.sql) is None
    await world.mirror.start(world.pair, world.tables)
    await world.mirror.copy_again(["pets"])
    await world.settled()
    await reads.replay(both.executor)
    found = reads.verdicts.of(read.sql)
    assert found is not None
    assert (found["match"], found["mismatch"], found["inconclusive"]) == (1, 0, 0)


READ = Statement("SELECT substr(name, 1, 2) FROM people ORDER BY id")
WRITE = Statement("UPDATE people SET name = substr(name, 1, 2) RETURNING name")


@pytest.mark.parametrize("statement", [READ, WRITE], ids=["read", "write"])
async def test_what_differs_in_one_state_alone_differs_unless_the_schema_changed(
    both: Tried, statement: Statement
) -> None:
    """A change of the schema on its way to Postgres makes answers differ for a moment: it is asked once more."""
    connection = await asyncpg.connect(both.url)
    await both.executor.rehearsal.ready()
    right = await connection.fetchval("SELECT pg_get_functiondef('cutover.substr(text, bigint, bigint)'::regprocedure)")
    wrong = right.partition("RETURN ")[0] + "RETURN reverse(left(x, 4))"
    states = iter([(wrong, ""), (right, "CREATE INDEX by_n ON people (n)"), (wrong, ""), (right, "")])

    @asynccontextmanager
    async def level() -> AsyncIterator[Any]:
        helper, change = next(states)
        await connection.execute(helper)
        with closing(sqlite3.connect(both.world.sqlite.path, isolation_level=None, timeout=60)) as db:
            db.execute(change)
        async with both.world.mirror.level_copied() as state:
            yield state

    shadow = ShadowReads(Metrics("test"), level, 1.0) if statement is READ else ShadowWrites(Metrics("test"), level, 1)
    try:
        for expected in ((1, 0), (1, 1)):
            shadow.offer(statement)
            await shadow.replay(both.executor)
            if statement is WRITE:  # one state a turn
                assert (shadow.verdicts.of(statement.sql) or {"match": 0})["match"] == expected[1]
                await shadow.replay(both.executor)
            found = shadow.verdicts.of(statement.sql)
            assert found is not None
            assert (found["match"], found["mismatch"]) == expected
            assert shadow.open == (expected[1] > 0)
    finally:
        await connection.execute(right)
        await connection.close()


AS_MANY = "substr(name, 1, 2) IN ('bo', 'do')"
READ_AS_MANY = Statement(f"SELECT count(*) FROM people WHERE {AS_MANY}")
WRITE_AS_MANY = Statement(f"UPDATE people SET n = 3 WHERE {AS_MANY}")


@pytest.mark.parametrize(
    "statement", [READ, WRITE, READ_AS_MANY, WRITE_AS_MANY], ids=["read", "write", "read-as-many", "write-as-many"]
)
async def test_what_differed_with_rows_that_are_gone_is_not_mended(both: Tried, statement: Statement) -> None:
    """Also where SQLite's answer is the same with other rows, or the schema of other tables changed."""
    connection = await asyncpg.connect(both.url)
    await both.executor.rehearsal.ready()
    right = await connection.fetchval("SELECT pg_get_functiondef('cutover.substr(text, bigint, bigint)'::regprocedure)")
    shadow = (
        ShadowReads(Metrics("test"), both.world.mirror.level_copied, 1.0)
        if statement in (READ, READ_AS_MANY)
        else ShadowWrites(Metrics("test"), both.world.mirror.level_copied, 1.0)
    )

    async def differs(told: str) -> str | None:
        async with asyncio.timeout(60):
            while True:
                await shadow.replay(both.executor)
                found = shadow.verdicts.of(statement.sql) or {}
                if found.get("latest") == told:
                    return found["differs"]

    def on_sqlite(sql: str, *args: str) -> None:
        with closing(sqlite3.connect(both.world.sqlite.path, isolation_level=None, timeout=60)) as db:
            db.execute(sql, args)

    def renamed(name: str) -> None:
        on_sqlite("UPDATE people SET name = ? WHERE id = 7", name)

    async def another_schema(sql: str) -> None:
        on_sqlite(sql)
        both.executor.dialect.forget()
        await both.executor.rehearsal.ready()

    try:
        await connection.execute(right.partition("RETURN ")[0] + "RETURN replace(left(x, 2), 'bo', 'ob')")
        shadow.offer(statement)
        assert await differs("mismatch")
        renamed("dora")
        assert await differs("match"), "it was bob that it differed with"
        assert "other rows" in str((shadow.verdicts.of(statement.sql) or {})["reason"])
        renamed("bob")
        assert await differs("mismatch")
        assert shadow.verdicts.forget() == 0, "it differs now"
        renamed("dora")
        await another_schema("CREATE TABLE unrelated (a TEXT)")
        assert await differs("match")
        assert shadow.verdicts.forget() == 1
        assert (shadow.open, shadow.verdicts.summary()["differing"]) == (False, 0)
        renamed("bob")
        shadow.offer(statement)
        assert await differs("mismatch")
        renamed("dora")
        await another_schema("CREATE INDEX by_name_and_n ON people (name, n)")
        assert await differs("match") is None, "it is translated anew"
    finally:
        await connection.execute(right)
        await connection.close()


async def test_arguments_of_other_classes_are_looked_at_each_for_themselves(both: Tried) -> None:
    """What one kind of value matches with says nothing of another, nor does its mending."""
    sql = "UPDATE people SET n = ? WHERE id = 1"
    for value in (7, "seven", "12"):
        both.writes.offer(Statement(sql, (value,)))
    assert both.writes.waiting == 2
    await both.until(lambda: both.total(sql) == 2)
    found = both.writes.verdicts.of(sql)
    assert found is not None
    assert (found["match"], found["mismatch"]) == (1, 1)
    assert "SQLITE_MISMATCH" in str(found["differs"])
    both.writes.offer(Statement(sql, (8,)))
    await both.until(lambda: (both.writes.verdicts.of(sql) or {})["match"] == 2)
    assert both.writes.verdicts.summary()["differing"] == 1


async def test_a_read_that_its_rows_make_impossible_differs(both: Tried) -> None:
    """It has a translation, and would fail on Postgres all the same."""
    with closing(sqlite3.connect(both.world.sqlite.path, timeout=60)) as db, db:
        db.execute("INSERT INTO pets VALUES ('ada', 9)")
    await both.world.settled()
    reads = ShadowReads(Metrics("test"), both.world.mirror.level_copied, 1.0)
    one, none = Statement("SELECT * FROM pets LIMIT ?", (1,)), Statement("SELECT load_extension(name) FROM pets")
    for statement in (one, none):
        reads.offer(statement)
    await reads.replay(both.executor)
    assert (reads.verdicts.of(one.sql) or {})["differs"].startswith(
        "With these values or rows it is refused: LIMIT between"
    )
    assert (reads.verdicts.of(none.sql) or {"latest": None})["latest"] in (None, "match", "inconclusive")


async def test_there_is_room_for_the_first_of_many_texts(both: Tried) -> None:
    """An application that has just started sends hundreds; what is dropped is to come another time."""
    reads = ShadowReads(Metrics("test"), both.world.mirror.level_copied, 1.0)
    texts = [f"SELECT name AS c{number} FROM people" for number in range(300)]
    assert all(reads.offer(Statement(text)) for text in texts)
    await reads.replay(both.executor)
    assert reads.verdicts.summary()["match"] == 300
    large = "x" * 60_000
    kept = [reads.offer(Statement("SELECT ? AS c" + str(number), (large,))) for number in range(300)]
    assert kept[0]
    assert not kept[-1]


async def test_a_write_to_a_table_that_postgres_statements_do_not_know_yet_is_tried_later(
    both: Tried, monkeypatch: pytest.MonkeyPatch
) -> None:
    sql = "UPDATE people SET n = 3 WHERE id = 1"
    await both.executor.rehearsal.ready()

    def unknown(_: str) -> Any:
        raise StatementError("no such table: people", "SQLITE_UNKNOWN")

    with monkeypatch.context() as patched:
        patched.setattr(Checks, "check", lambda _, sql: unknown(sql))
        both.writes.offer(Statement(sql))
        await both.writes.replay(both.executor)
    assert both.total(sql) == 0
    await both.until(lambda: both.total(sql) == 1)
    assert both.writes.verdicts.summary()["match"] == 1
    assert await both.verdict("UPDATE missing SET n = 3") == "match", "SQLite has none either"


async def test_a_write_that_differs_is_found_and_clears_when_it_is_mended(both: Tried) -> None:
    sql = "UPDATE people SET n = n + 1 WHERE name < 'c'"
    connection = await asyncpg.connect(both.url)
    try:
        await connection.execute("ALTER TABLE people ADD CONSTRAINT odd CHECK (n <> 3)")
        assert await both.verdict(sql) == "mismatch: SQLite answers a change, Postgres SQLITE_CONSTRAINT."
        assert both.writes.verdicts.summary()["differing"] == 1
        await connection.execute("ALTER TABLE people DROP CONSTRAINT odd")
    finally:
        await connection.close()
    await both.until(lambda: both.writes.verdicts.summary()["differing"] == 0)
    found = both.writes.verdicts.of(sql)
    assert found is not None
    assert (found["latest"], found["differs"], found["mismatch"]) == ("match", None, 1)


async def test_what_was_prepared_before_a_table_changed_is_prepared_anew(both: Tried) -> None:
    """A column that became another type on Postgres made each statement with its values look as if it failed there."""
    write, read = Statement("UPDATE pets SET owner = 7 RETURNING name"), Statement("SELECT name FROM pets")
    connection, rehearsal = await asyncpg.connect(both.url), both.executor.rehearsal
    try:
        for kind in ("varchar(50)", "varchar(60)", "text"):
            await connection.execute(f'ALTER TABLE pets ALTER COLUMN name TYPE {kind} COLLATE "C"')
            async with connection.transaction(isolation="repeatable_read"):
                snapshot = await connection.fetchval("SELECT pg_export_snapshot()")
                for _ in range(2):
                    seen = await rehearsal.read(snapshot, read, 5)
                    made = await rehearsal.write(snapshot, write, 5, None)
                    assert [timed.result.rows for timed in (seen, made) if timed] == [[("rex",)]] * 2
    finally:
        await connection.close()


async def test_nothing_is_replayed_or_applied_while_tables_are_mapped_anew(
    both: Tried, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A column that was just carried over would have its default on the shadow, and each read of it would differ."""
    world, reads = both.world, ShadowReads(Metrics("test"), both.world.mirror.level_copied, 1.0)
    await both.executor.rehearsal.ready()
    read = Statement("SELECT name FROM pets")
    await world.mirror.stop()
    with closing(sqlite3.connect(world.sqlite.path)) as db:
        db.execute("UPDATE pets SET owner = 9")
        db.commit()
    reads.offer(read)
    with monkeypatch.context() as patched:
        patched.setattr("cutover.shadow.mirror._STARTS_WITHIN", 0.05)
        with pytest.raises(StoreError, match="stopped"):
            await reads.replay(both.executor)
    assert reads.verdicts.of(read.sql) is None
    connection = await asyncpg.connect(both.url)
    try:
        assert await connection.fetchval("SELECT owner FROM pets") == 7
        waiting = asyncio.create_task(reads.replay(both.executor))
        await asyncio.sleep(0)
        await world.mirror.start(world.pair, world.tables)
        await waiting  # no error: what is asked for just then is told a moment later
        async with asyncio.timeout(60):
            while reads.verdicts.of(read.sql) is None:
                await reads.replay(both.executor)
        assert await connection.fetchval("SELECT owner FROM pets") == 9
    finally:
        await connection.close()
    assert reads.verdicts.summary()["match"] == 1


async def test_nobody_is_kept_waiting(both: Tried, monkeypatch: pytest.MonkeyPatch) -> None:
    sql = "UPDATE people SET n = 5"
    with closing(sqlite3.connect(both.world.sqlite.path, isolation_level=None, timeout=0)) as db:
        db.execute("BEGIN IMMEDIATE")
        both.writes.offer(Statement(sql))
        await both.writes.replay(both.executor)
        assert both.writes.verdicts.of(sql) is None, "it waits for a better moment"
        db.execute("COMMIT")
    async with both.world.sqlite.writer_turn:
        await both.writes.replay(both.executor)
        assert both.writes.verdicts.of(sql) is None
    connection = await asyncpg.connect(both.url)
    try:
        async with connection.transaction():
            await connection.execute("SET LOCAL cutover.applier = '1'")
            await connection.execute("SELECT FROM people WHERE id = 7 FOR UPDATE")
            assert await both.verdict(sql) == "inconclusive: Not answered on Postgres (SQLITE_BUSY)."
    finally:
        await connection.close()
    monkeypatch.setattr(replayed_writes, "_HELD", 0.05)
    endless = "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) DELETE FROM people WHERE id IN r"
    told = await both.verdict(endless)
    assert told == "inconclusive: Not answered on SQLite within the limits of a replay (SQLITE_INTERRUPT)."
    with closing(sqlite3.connect(both.world.sqlite.path, isolation_level=None, timeout=0)) as db:
        db.execute("BEGIN IMMEDIATE")
        assert db.execute("SELECT sum(n) FROM people").fetchone() == (5,)
