"""Section B: the shadow's own machinery (30), and rows that are equal and not the same (34)."""

from __future__ import annotations

import asyncpg
import pytest

from cutover.model.table import Column, Table
from cutover.model.values import Applied, Row
from tests.contract.conftest import World, as_shadow
from tests.support.postgres import PRIMARY, SHADOW, native, ready, run
from tests.support.samples import ITEMS, PEOPLE
from tests.support.sqlite_world import PRIMARY as SQLITE_PRIMARY
from tests.support.sqlite_world import SHADOW as SQLITE_SHADOW
from tests.support.sqlite_world import direct, make, one, served

# -- 30: machinery ---------------------------------------------------------------------------------------------------

COUNTING = "CREATE TRIGGER counting AFTER INSERT ON t BEGIN UPDATE t SET n = n + 1 WHERE k = NEW.k; END"
COUNTED = "CREATE TABLE t (k TEXT NOT NULL PRIMARY KEY, n INTEGER NOT NULL DEFAULT 0)"


def test_hazard_30_naive_triggers_and_cascades_act_on_applied_rows_on_sqlite(sqlite_path: str) -> None:
    make(
        sqlite_path,
        COUNTED,
        COUNTING,
        "CREATE TABLE child (id INTEGER PRIMARY KEY, k TEXT REFERENCES t (k) ON DELETE CASCADE)",
    )
    with direct(sqlite_path) as applier:
        applier.execute("PRAGMA foreign_keys = ON")
        applier.execute("INSERT INTO t VALUES ('a', 7)")
        assert applier.execute("SELECT n FROM t").fetchone() == (8,)
        applier.execute("INSERT INTO child VALUES (1, 'a')")
        applier.execute("BEGIN")
        applier.execute("DELETE FROM t WHERE k = 'a'")
        applier.execute("INSERT INTO t VALUES ('a', 9)")
        applier.execute("COMMIT")
        assert applier.execute("SELECT count(*) FROM child").fetchone() == (0,)


async def test_hazard_30_naive_triggers_and_cascades_act_on_applied_rows_on_postgres(postgres_url: str) -> None:
    await run(
        postgres_url,
        "CREATE TABLE t (k text PRIMARY KEY, n int)",
        "CREATE TABLE child (id int PRIMARY KEY, k text REFERENCES t (k) ON DELETE CASCADE)",
        "CREATE FUNCTION counting() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.n = NEW.n + 1; RETURN NEW; END $$",
        "CREATE TRIGGER counting BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION counting()",
        "INSERT INTO t VALUES ('a', 7)",
        "INSERT INTO child VALUES (1, 'a')",
        "BEGIN; DELETE FROM t WHERE k = 'a'; INSERT INTO t VALUES ('a', 9); COMMIT",
    )
    async with native(postgres_url) as app:
        assert await app.fetchrow("SELECT n, (SELECT count(*) FROM child) FROM t") == (10, 0)


async def test_hazard_30_no_cascade_acts_on_applied_rows(world: World) -> None:
    store = world.store
    await store.initialise(as_shadow(store))
    await store.install_capture()
    item: Row = (1, "a", None, None, None)
    async with store.applier(0, 1, 1) as applier:
        await applier.apply(PEOPLE, [("a", "one", None)], [])
        await applier.apply(ITEMS, [item], [])
    async with store.applier(0, 1, 2) as applier:
        await applier.apply(PEOPLE, [("b", "one", None), ("a", "two", None)], [])  # delete and insert
        await applier.apply(PEOPLE, [], [("a",)])
    assert await world.rows(ITEMS) == [item]


async def test_hazard_30_foreign_keys_of_the_file_do_not_act_on_applied_rows(sqlite_path: str) -> None:
    make(
        sqlite_path,
        COUNTED,
        "CREATE TABLE child (id INTEGER PRIMARY KEY, k TEXT REFERENCES t (k) ON DELETE CASCADE)",
    )
    async with served(sqlite_path, SQLITE_SHADOW) as (store, tables):
        async with store.applier(0, 1, 1) as applier:
            await applier.apply(tables["child"], [(1, "a")], [])  # before its parent
            await applier.apply(tables["t"], [("a", 7)], [])
        async with store.applier(0, 1, 2) as applier:
            await applier.apply(tables["t"], [], [("a",)])
        assert one(sqlite_path, "SELECT count(*) FROM child") == 1


async def test_hazard_30_triggers_rest_on_sqlite_and_come_back_with_the_commit(sqlite_path: str) -> None:
    make(sqlite_path, COUNTED, COUNTING)
    async with served(sqlite_path, SQLITE_SHADOW) as (store, tables):
        async with store.applier(0, 1, 1) as applier:
            await applier.apply(tables["t"], [("a", 7)], [])
        assert one(sqlite_path, "SELECT n FROM t") == 7
    async with served(sqlite_path, SQLITE_SHADOW) as (store, _):  # what was put aside is on disk
        await store.prepare("s")
        await store.receive(SQLITE_PRIMARY.but(epoch=2), "s", 60)
    assert one(sqlite_path, "SELECT sql FROM sqlite_master WHERE name = 'counting'") == COUNTING
    make(sqlite_path, "INSERT INTO t (k) VALUES ('b')")
    assert one(sqlite_path, "SELECT n FROM t WHERE k = 'b'") == 1


async def test_hazard_30_triggers_rest_on_postgres_and_come_back_with_the_commit(postgres_url: str) -> None:
    async with ready(postgres_url, SHADOW) as store, native(postgres_url) as app:
        await run(
            postgres_url,
            "CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN NEW.handle = upper(NEW.handle); RETURN NEW; END $$",
            "CREATE TRIGGER ordinary BEFORE INSERT ON people FOR EACH ROW EXECUTE FUNCTION shout()",
            "CREATE TRIGGER eager BEFORE UPDATE ON people FOR EACH ROW EXECUTE FUNCTION shout()",
            "ALTER TABLE people ENABLE ALWAYS TRIGGER eager",
        )
        await store.install_capture()
        async with store.applier(1, 1, 1) as applier:
            await applier.apply(PEOPLE, [("a", "ann", None)], [])
            await applier.apply(PEOPLE, [("a", "ann", "x")], [])
        assert await app.fetchval("SELECT handle FROM people") == "ann"
        await store.prepare("s1")
        await store.receive(PRIMARY, "s1", 60)
        await app.execute("INSERT INTO people VALUES ('b', 'bob', NULL)")
        await app.execute("UPDATE people SET about = 'y'")
        found = await app.fetch("SELECT handle FROM people ORDER BY id")
        assert [row[0] for row in found] == ["ANN", "BOB"]


# -- 34: equal and not the same --------------------------------------------------------------------------------------

UPSERT = """
INSERT INTO {table} AS t VALUES (1, {value})
ON CONFLICT (id) DO UPDATE SET v = excluded.v WHERE row(t.v) {differs} row(excluded.v)"""


@pytest.mark.parametrize(
    ("kind", "before", "after"),
    [("numeric", "1.0", "1.00"), ("double precision", "'0.0'", "'-0.0'"), ("jsonb", "'1.0'", "'1.00'")],
)
async def test_hazard_34_naive_is_distinct_from_overlooks_it(
    postgres_url: str, kind: str, before: str, after: str
) -> None:
    async with native(postgres_url) as app:
        await app.execute(f"CREATE TABLE t (id int PRIMARY KEY, v {kind}); INSERT INTO t VALUES (1, {before})")
        assert await app.execute(UPSERT.format(table="t", value=after, differs="IS DISTINCT FROM")) == "INSERT 0 0"
        assert await app.fetchval(f"SELECT v::text <> ({after})::{kind}::text FROM t")  # drift, for ever


async def test_hazard_34_naive_is_distinct_from_fails_on_json(postgres_url: str) -> None:
    async with native(postgres_url) as app:
        await app.execute("CREATE TABLE t (id int PRIMARY KEY, v json); INSERT INTO t VALUES (1, '1')")
        with pytest.raises(asyncpg.UndefinedFunctionError):
            await app.execute(UPSERT.format(table="t", value="'2'", differs="IS DISTINCT FROM"))


async def test_hazard_34_rows_are_compared_by_their_bytes(postgres_url: str) -> None:
    ddl = ["CREATE TABLE docs (id bigint PRIMARY KEY, raw json, doc jsonb, size double precision)"]
    columns = (
        Column("id", "INTEGER", "INTEGER", "id", "bigint"),
        Column("raw", "TEXT", "TEXT", "raw", "json"),
        Column("doc", "TEXT", "TEXT", "doc", "jsonb"),
        Column("size", "REAL", "REAL", "size", "double precision"),
    )
    docs = Table("docs", "public", "docs", columns, ("id",))
    versions: list[Row] = [
        (1, "[1]", '{"a":1}', 0.0),
        (1, "[ 1 ]", '{"a":1}', 0.0),
        (1, "[ 1 ]", '{"a":1.00}', 0.0),
        (1, "[ 1 ]", '{"a":1.00}', -0.0),
    ]
    async with ready(postgres_url, SHADOW, ddl=ddl, tables=(docs,)) as store:
        for row in versions:
            for expected in (Applied(upserted=1), Applied(unchanged=1)):
                async with store.applier(1, 1, None) as applier:
                    assert await applier.apply(docs, [row], []) == expected
            async with store.snapshot() as snapshot:
                assert [repr(found) for found in await snapshot.between(docs, None, None)] == [repr(row)]
