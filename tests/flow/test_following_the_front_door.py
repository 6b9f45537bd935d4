"""What applications changed in Postgres's schema through the front door comes to SQLite, though not always at once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import asyncpg
import pytest

from cutover.errors import SchemaChanged
from cutover.model.control import StoreName
from cutover.schema.objects_wanted import SchemaObject, memory
from cutover.schema.postgres_schema import PostgresSchema
from cutover.serve.followed import Followed
from cutover.serve.following import Follower
from cutover.serve.gone import forget_gone
from cutover.settings import Settings
from cutover.stores.postgres.store import PostgresStore
from cutover.stores.postgres.wanted import want
from cutover.stores.sqlite.store import SqliteStore
from tests.support.postgres import SHADOW, native, ready
from tests.support.sqlite_world import PRIMARY, make, one

AS_SHADOW: StoreName = "sqlite"
AS_PRIMARY: StoreName = "postgres"


PLAIN = "CREATE TABLE t(id INTEGER PRIMARY KEY, a INT)"
WITH_COLUMN = "CREATE TABLE t(id INTEGER PRIMARY KEY, a INT, q TEXT)"


@dataclass
class World:
    """A file and a database with the same tables, followed from Postgres."""

    path: str
    url: str
    sqlite: SqliteStore
    postgres: PostgresStore
    follower: Follower

    async def changed(self, *changes: SchemaObject, on_postgres: str = "") -> None:
        """As the front door leaves it: made on Postgres, and noted for SQLite."""
        connection = await asyncpg.connect(self.url)
        try:
            async with connection.transaction():
                if on_postgres:
                    await connection.execute(on_postgres)
                await want(connection, changes)
        finally:
            await connection.close()

    async def follow(self) -> Followed:
        """With the mapping in force."""
        state = await self.follower.follow(AS_PRIMARY)
        self.follower.in_force(state)
        return state


@asynccontextmanager
async def world(path: str, url: str, *statements: str) -> AsyncIterator[World]:
    make(path, *statements)
    sqlite = SqliteStore(path)
    await sqlite.open()
    try:
        await sqlite.initialise(PRIMARY)
        async with ready(url, SHADOW, ddl=(), tables=()) as postgres:
            follower = Follower(Settings(), sqlite, postgres, lambda _: True)
            await follower.follow(AS_SHADOW)
            yield World(path, url, sqlite, postgres, follower)
    finally:
        await sqlite.close()


async def test_an_index_that_rows_stand_in_the_way_of_comes_when_they_are_gone(
    sqlite_path: str, postgres_url: str
) -> None:
    rows = "INSERT INTO t VALUES (1, 5), (2, 5)"
    async with world(sqlite_path, postgres_url, "CREATE TABLE t(id INTEGER PRIMARY KEY, a INT)", rows) as found:
        text = "CREATE UNIQUE INDEX t_a ON t(a)"
        other = SchemaObject("view", "v", "v", "CREATE VIEW v AS SELECT a FROM t")
        await found.changed(SchemaObject("index", "t_a", "t", text), other, on_postgres=text)
        assert await found.follower.uncarried() == ["index t_a", "view v"]
        state = await found.follow()
        assert state.waiting == {"t"}
        assert state.stopped == {}
        assert await found.follower.uncarried() == ["index t_a"]
        make(sqlite_path, "UPDATE t SET a = id")  # as the mirror does
        state = await found.follow()
        assert state.waiting == set()
        assert one(sqlite_path, "SELECT sql FROM sqlite_master WHERE name = 't_a'") == text
        assert await found.follower.uncarried() == []


@pytest.mark.parametrize(
    "again",
    [
        ["DROP TABLE t", "CREATE TABLE t(id INTEGER PRIMARY KEY, body TEXT)"],
        ["CREATE TABLE new_t(a TEXT, b INT, id INTEGER PRIMARY KEY)", "INSERT INTO new_t(a, b) SELECT a, b FROM t",
         "DROP TABLE t", "ALTER TABLE new_t RENAME TO t"],
        ["DROP TABLE t", "CREATE TABLE t(a TEXT, b INT)"],
        ["ALTER TABLE t RENAME COLUMN a TO c"],
    ],
)  # fmt: skip
async def test_a_table_with_another_key_is_made_anew_on_postgres(
    sqlite_path: str, postgres_url: str, again: list[str]
) -> None:
    schema = "CREATE TABLE t(a TEXT NOT NULL, b INT NOT NULL, PRIMARY KEY(a, b))"
    async with world(sqlite_path, postgres_url, schema) as found:
        await found.changed(on_postgres="INSERT INTO t VALUES ('x', 1)")
        make(sqlite_path, *again)
        state = await found.follower.follow(AS_SHADOW)
        assert state.stopped == {}
        assert [table.name for table in state.tables] == ["t"]
        there = state.target.table("t")
        assert there is not None
        (table,) = state.tables
        assert any(
            index.unique and set(index.columns) == {one.target for one in table.key_columns} for index in there.indexes
        )
        async with native(postgres_url) as connection:
            rows = await connection.fetchval("SELECT count(*) FROM t")
        assert rows == int("RENAME COLUMN" in again[0]), "a key that only has another name keeps its rows"
        assert (await found.follower.follow(AS_SHADOW)).done == []


@pytest.mark.parametrize(
    ("again", "unique"), [("a TEXT, b INT", 0), ("a TEXT PRIMARY KEY, b INT", 1), ("a TEXT UNIQUE, b INT", 1)]
)
async def test_a_key_that_may_be_null_goes_with_the_table_that_had_it(
    sqlite_path: str, postgres_url: str, again: str, unique: int
) -> None:
    """The hidden rowid is the key of a table that the front door made, and the declared one an index beside it."""
    text = "CREATE TABLE u(a TEXT PRIMARY KEY, b INT)"
    there = """CREATE TABLE u(
            _rowid_ bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, a text COLLATE "C", b bigint);
        CREATE UNIQUE INDEX u_a_key ON u(a NULLS FIRST)"""
    async with world(sqlite_path, postgres_url, PLAIN) as found:
        await found.changed(SchemaObject("table", "u", "u", text), on_postgres=there)
        for _ in range(2):
            state = await found.follow()
        assert sorted(table.name for table in state.tables) == ["t", "u"]
        make(sqlite_path, "DROP TABLE u", f"CREATE TABLE u({again})")
        await found.follower.follow(AS_SHADOW)
        found_there = (await found.follower.follow(AS_SHADOW)).target.table("u")
        assert found_there is not None
        assert sum(index.unique and not index.primary for index in found_there.indexes) == unique


async def test_what_is_in_quarantine_of_a_table_goes_when_the_primary_has_it_no_more(
    sqlite_path: str, postgres_url: str
) -> None:
    async with world(sqlite_path, postgres_url, PLAIN, "CREATE TABLE u(id INTEGER PRIMARY KEY)") as found:
        sqlite = found.sqlite
        held = "INSERT INTO _cutover_quarantine VALUES ('t', '[]', 'no room', 1), ('u', '[]', 'no room', 1)"
        make(sqlite_path, held)
        await forget_gone(await found.follow(), AS_PRIMARY, sqlite)
        assert len(await sqlite.quarantined()) == 2
        await found.changed(on_postgres="DROP TABLE t")
        await forget_gone(await found.follow(), AS_PRIMARY, sqlite)
        assert [row.table for row in await sqlite.quarantined()] == ["u"]


async def test_what_is_in_quarantine_on_postgres_goes_with_a_table_of_sqlite(
    sqlite_path: str, postgres_url: str
) -> None:
    async with world(sqlite_path, postgres_url, PLAIN, "CREATE TABLE u(id INTEGER PRIMARY KEY)") as found:
        await found.changed(
            on_postgres="INSERT INTO cutover.quarantine (table_name, key, reason) "
            "VALUES ('t', '[]', 'no room'), ('u', '[]', 'no room')"
        )
        make(sqlite_path, "DROP TABLE t")
        await forget_gone(await found.follower.follow(AS_SHADOW), AS_SHADOW, found.postgres)
        assert [row.table for row in await found.postgres.quarantined()] == ["u"]


async def test_a_column_that_came_and_went_through_the_front_door_is_gone_on_sqlite(
    sqlite_path: str, postgres_url: str
) -> None:
    async with world(sqlite_path, postgres_url, PLAIN) as found:
        await found.changed(SchemaObject("table", "t", "t", WITH_COLUMN), on_postgres="ALTER TABLE t ADD q text")
        await found.follow()
        await found.changed(SchemaObject("table", "t", "t", PLAIN), on_postgres="ALTER TABLE t DROP q")
        state = await found.follow()
        assert state.stopped == {}
        assert one(sqlite_path, "SELECT sql FROM sqlite_master WHERE name = 't'") == PLAIN
        assert (await found.follow()).stopped == {}
        assert await found.follower.uncarried() == []


async def test_indexes_of_a_table_that_was_made_again_are_looked_at_in_the_order_of_the_new_ones(
    sqlite_path: str, postgres_url: str
) -> None:
    """As Django alters a table: the indexes have the texts that they had, and another order."""
    indexes = "CREATE INDEX t_a ON t (a)", "CREATE INDEX t_id ON t (id)"
    async with world(sqlite_path, postgres_url, PLAIN, *indexes) as found:
        await found.changed(
            SchemaObject("index", "t_id", "t", indexes[1]),
            SchemaObject("table", "t", "t", WITH_COLUMN),
            SchemaObject("index", "t_a", "t", indexes[0]),
            on_postgres="ALTER TABLE t ADD q text",
        )
        state = await found.follow()
        assert state.stopped == {}
        assert one(sqlite_path, "SELECT group_concat(name) FROM pragma_index_list('t')") == "t_a,t_id"
        for _ in range(2):
            await found.follow()
        assert await found.postgres.wanted() == []


async def test_a_column_that_goes_again_while_the_schemas_are_read(
    sqlite_path: str, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Postgres is read with the column, what is noted without it: nothing is left that nobody would drop again."""
    async with world(sqlite_path, postgres_url, PLAIN) as found:
        await found.changed(SchemaObject("table", "t", "t", WITH_COLUMN), on_postgres="ALTER TABLE t ADD q text")
        read, times = found.postgres.read_schema, 0

        async def overtaken(schema: str) -> PostgresSchema:
            nonlocal times
            times += 1
            seen = await read(schema)
            if times == 1:
                await found.changed(SchemaObject("table", "t", "t", PLAIN), on_postgres="ALTER TABLE t DROP q")
            return seen

        monkeypatch.setattr(found.postgres, "read_schema", overtaken)
        for _ in range(3):
            state = await found.follow()
        assert [table.name for table in state.tables] == ["t"]
        assert one(sqlite_path, "SELECT sql FROM sqlite_master WHERE name = 't'") == PLAIN
        assert await found.postgres.wanted() == []


async def test_a_column_of_another_type_stays_noted_until_its_mapping_is_in_force(
    sqlite_path: str, postgres_url: str
) -> None:
    """SQLite has the text already, so there is nothing to carry; but statements go by the note until then."""
    async with world(sqlite_path, postgres_url, PLAIN) as found:
        same = SchemaObject("table", "t", "t", PLAIN)
        await found.changed(same, on_postgres="ALTER TABLE t ALTER a TYPE numeric")
        await found.follower.follow(AS_PRIMARY)
        await found.follower.follow(AS_PRIMARY)
        assert [each.name for each in await found.postgres.wanted()] == ["t"]
        await found.follow()
        await found.changed(same, on_postgres="ALTER TABLE t ALTER a TYPE text")
        await found.follower.follow(AS_PRIMARY)
        assert [each.name for each in await found.postgres.wanted()] == ["t"], "it is another one by now"
        for _ in range(2):
            await found.follow()
        assert await found.postgres.wanted() == []


async def test_a_table_that_is_made_again_while_others_are_taken_over_gets_no_second_index(
    sqlite_path: str, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Postgres has the new constraint, SQLite still the old table: the index that stands for it is not a change of
    Postgres's own, and would go over into the table that comes."""
    unique = "CREATE TABLE t(id INTEGER PRIMARY KEY, a INT UNIQUE)"
    async with world(sqlite_path, postgres_url, PLAIN) as found:
        other = SchemaObject("table", "o", "o", "CREATE TABLE o(id INTEGER PRIMARY KEY)")
        await found.changed(other, on_postgres="CREATE TABLE o(id bigint PRIMARY KEY)")
        take, times = found.sqlite.take_schema_over, 0

        async def overtaken(changes: Sequence[SchemaObject]) -> None:
            nonlocal times
            times += 1
            await take(changes)
            if times == 1:
                again = "DROP TABLE t; CREATE TABLE t(id bigint PRIMARY KEY, a bigint UNIQUE)"
                await found.changed(SchemaObject("table", "t", "t", unique), on_postgres=again)

        monkeypatch.setattr(found.sqlite, "take_schema_over", overtaken)
        for _ in range(3):
            state = await found.follow()
        assert sorted(table.name for table in state.tables) == ["o", "t"]
        made = "SELECT group_concat(sql, '; ') FROM sqlite_master WHERE tbl_name = 't' AND type IN ('table', 'index')"
        assert one(sqlite_path, made) == unique
        assert await found.postgres.wanted() == []


async def test_what_analyze_makes_comes_to_sqlite_and_goes_there(sqlite_path: str, postgres_url: str) -> None:
    listed = "SELECT count(*) FROM sqlite_master WHERE name = 'sqlite_stat1'"
    async with world(sqlite_path, postgres_url, PLAIN) as found:
        await found.follow()
        for text, there in (("ANALYZE sqlite_schema", 1), ("", 0)):
            await found.changed(SchemaObject("statistics", "sqlite_stat1", "sqlite_stat1", text))
            for _ in range(2):
                state = await found.follow()
                assert not state.stopped
            assert one(sqlite_path, listed) == there
            assert await found.postgres.wanted() == []


async def test_a_change_stays_noted_until_statements_are_read_by_a_schema_that_has_it(
    sqlite_path: str, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite has it already, and the look that gave it failed, as they do beside clients that go on changing tables:
    a table would be gone for statements until the next one came to its end."""
    async with world(sqlite_path, postgres_url, PLAIN) as found:
        await found.follow()
        other = SchemaObject("table", "o", "o", "CREATE TABLE o(id INTEGER PRIMARY KEY)")
        await found.changed(other, on_postgres="CREATE TABLE o(id bigint PRIMARY KEY)")

        async def fails(*_: object) -> None:
            raise SchemaChanged("The schema changed while it was read.")

        for _ in range(2):
            with monkeypatch.context() as patch:
                patch.setattr(found.follower._records, "keep", fails)  # the last step of a look
                with pytest.raises(SchemaChanged):
                    await found.follow()
            assert one(sqlite_path, "SELECT count(*) FROM sqlite_master WHERE name = 'o'") == 1
            assert [each.sql for each in await found.postgres.wanted()] == [other.sql]
        for _ in range(2):
            await found.follow()
        assert await found.postgres.wanted() == []


def test_a_schema_of_nothing_that_can_be_made_is_an_empty_one() -> None:
    """What is left when everything was dropped: SQLite keeps the table of its AUTOINCREMENT keys."""
    db = memory(["CREATE TABLE sqlite_sequence(name,seq)"])
    assert db.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
    db.close()
