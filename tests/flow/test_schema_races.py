"""Applications that change the schema while it is being read and mapped: it is looked at again, and nothing ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import count

import asyncpg
import pytest
from structlog.testing import capture_logs

from cutover.capture import CaptureWatch
from cutover.errors import SchemaChanged
from cutover.model.control import StoreName
from cutover.model.table import Table
from cutover.schema.postgres_schema import PostgresSchema, read_postgres_schema
from cutover.schema.sqlite_schema import SqliteSchema
from cutover.serve.following import Follower
from cutover.serve.spelling import Spelling
from cutover.settings import Settings
from cutover.stores.base import Store
from cutover.stores.postgres import catalog
from cutover.stores.postgres.link import Link
from cutover.stores.postgres.store import PostgresStore
from cutover.stores.sqlite.store import SqliteStore
from tests.flow.following_world import followed, unfollowed
from tests.support.postgres import PRIMARY as AS_PRIMARY
from tests.support.postgres import SHADOW, native, ready, run
from tests.support.service import until
from tests.support.sqlite_tables import mapped
from tests.support.sqlite_world import PRIMARY, direct, make, one, served

LASTING = "CREATE TABLE lasting(id INTEGER PRIMARY KEY)"


class Overtaken(SqliteStore):
    """A store whose file is changed as soon as its schema was read."""

    def __init__(self, path: str, *statements: str) -> None:
        super().__init__(path)
        self._statements = statements

    async def read_schema(self) -> SqliteSchema:
        schema = await super().read_schema()
        statements, self._statements = self._statements, ()
        make(self.path, *statements)
        return schema


@pytest.mark.parametrize(
    "change",
    [
        ["DROP TABLE brief"],
        ["ALTER TABLE brief DROP COLUMN loose"],
        ["DROP TABLE brief", "CREATE VIEW brief AS SELECT 1 AS one"],
        ["DROP TABLE brief", "CREATE TABLE brief(one TEXT PRIMARY KEY) WITHOUT ROWID"],
    ],
)
async def test_a_table_that_goes_while_it_is_mapped_is_looked_for_again(
    sqlite_path: str, postgres_url: str, change: list[str]
) -> None:
    make(
        sqlite_path,
        "CREATE TABLE lasting(id INTEGER PRIMARY KEY, name TEXT)",
        "CREATE TABLE brief(id INTEGER PRIMARY KEY, name TEXT, loose)",
        "INSERT INTO brief VALUES (1, 'a', 2)",
    )
    sqlite = Overtaken(sqlite_path, *change)
    await sqlite.open()
    try:
        async with ready(postgres_url, SHADOW, ddl=(), tables=()) as postgres:
            follower = Follower(Settings(), sqlite, postgres, lambda _: False)
            primary: StoreName = "sqlite"
            with pytest.raises(SchemaChanged, match="while its data were read"):
                await follower.follow(primary)
            found = await follower.follow(primary)
            assert "lasting" in {table.name for table in found.tables}
            await Spelling(sqlite).settle(found.tables)
    finally:
        await sqlite.close()


async def test_a_table_that_is_rebuilt_as_soon_as_it_was_created_is_followed(
    sqlite_path: str, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with followed(sqlite_path, postgres_url, LASTING, copied=False) as (
        follower,
        postgres,
    ):
        make(sqlite_path, "CREATE TABLE young(id INTEGER PRIMARY KEY, name TEXT NOT NULL, rest TEXT)")
        create = postgres.create_tables

        async def overtaken(statements: Sequence[str]) -> None:
            await create(statements)
            make(sqlite_path, "ALTER TABLE young DROP COLUMN name", "INSERT INTO young(rest) VALUES ('r')")

        monkeypatch.setattr(postgres, "create_tables", overtaken)
        found = await follower.follow("sqlite")
        assert found.stopped == {}
        assert {table.name: [column.name for column in table.columns] for table in found.tables} == {
            "lasting": ["id"],
            "young": ["id", "rest"],
        }


@pytest.mark.parametrize("placed", [True, False])
async def test_a_table_that_changes_as_soon_as_the_very_first_look_created_it_is_followed(
    sqlite_path: str, postgres_url: str, monkeypatch: pytest.MonkeyPatch, placed: bool
) -> None:
    """`placed`: whether there is room for a record of it by then."""
    make(sqlite_path, "CREATE TABLE young(id INTEGER PRIMARY KEY, name TEXT)")
    async with unfollowed(sqlite_path, postgres_url, placed=placed) as (sqlite, postgres):
        follower = Follower(Settings(), sqlite, postgres, lambda _: False)
        create = postgres.create_tables

        async def overtaken(statements: Sequence[str]) -> None:
            await create(statements)
            make(sqlite_path, "ALTER TABLE young ADD COLUMN one TEXT")

        monkeypatch.setattr(postgres, "create_tables", overtaken)
        seen = []
        for column in ("two", "three"):
            found = await follower.follow("sqlite")
            assert found.stopped == {}
            seen.append([each.name for table in found.tables for each in table.columns])
            make(sqlite_path, f"ALTER TABLE young ADD COLUMN {column} TEXT")
            if not placed and column == "two":
                await postgres.initialise(SHADOW)
        assert seen == [["id", "name", "one"], ["id", "name", "one", "two"]]


class Killed(Exception):
    """The process ends here."""


@pytest.mark.parametrize("placed", [True, False])
async def test_tables_that_a_kill_left_without_a_record_are_made_anew(
    sqlite_path: str, postgres_url: str, monkeypatch: pytest.MonkeyPatch, placed: bool
) -> None:
    """SQLite's may be others by then, and nothing tells what they were; what somebody else made stays as it is."""
    make(sqlite_path, "CREATE TABLE a(id INTEGER PRIMARY KEY)", "CREATE TABLE b(id INT PRIMARY KEY REFERENCES a(id))")
    await run(postgres_url, "CREATE TABLE theirs(id bigint PRIMARY KEY)", "COMMENT ON TABLE theirs IS 'theirs'")
    async with unfollowed(sqlite_path, postgres_url, placed=placed) as (sqlite, postgres):
        create = postgres.create_tables

        async def killed(statements: Sequence[str]) -> None:
            await create(statements)
            raise Killed

        with monkeypatch.context() as patched:
            patched.setattr(postgres, "create_tables", killed)
            with pytest.raises(Killed):
                await Follower(Settings(), sqlite, postgres, lambda _: False).follow("sqlite")
        make(sqlite_path, "ALTER TABLE a ADD COLUMN n TEXT", "ALTER TABLE b RENAME TO c")
        follower = Follower(Settings(), sqlite, postgres, lambda _: False)
        found = await follower.follow("sqlite")
        assert found.stopped == {}
        if not placed:
            await postgres.initialise(SHADOW)
        make(sqlite_path, "ALTER TABLE a ADD COLUMN m TEXT")
        for _ in range(2):  # the first record has no place yet
            found = await follower.follow("sqlite")
        there = await postgres.read_schema("public")
        assert {table.name: [column.name for column in table.columns] for table in there.tables} == {
            "a": ["id", "n", "m"],
            "c": ["id", "_rowid_"],
            "theirs": ["id"],
        }
        assert found.record is not None
        assert [each.made for each in found.record.tables] == [True, True]
    async with native(postgres_url) as connection:
        said = await connection.fetch("SELECT obj_description(oid) FROM pg_class WHERE relname IN ('a', 'c', 'theirs')")
        assert sorted(str(row[0]) for row in said) == ["None", "None", "theirs"]


async def test_a_column_that_is_gone_as_soon_as_postgres_got_it_is_dropped_there(
    sqlite_path: str, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would stand there for ever, and a column of its name could never be made again."""
    async with followed(sqlite_path, postgres_url, "CREATE TABLE t(id INTEGER PRIMARY KEY)", copied=False) as (
        follower,
        postgres,
    ):
        make(sqlite_path, "ALTER TABLE t ADD COLUMN brief TEXT NOT NULL DEFAULT 'b'")
        alter = postgres.alter
        changes = [["ALTER TABLE t DROP COLUMN brief", "ALTER TABLE t ADD COLUMN other INT"], []]

        async def overtaken(table: str, statements: Sequence[str]) -> None:
            await alter(table, statements)
            make(sqlite_path, *(changes.pop(0) if changes else []))

        monkeypatch.setattr(postgres, "alter", overtaken)
        found = await follower.follow("sqlite")
        assert (found.stopped, found.unfinished) == ({}, False)
        assert [[column.name for column in table.columns] for table in found.tables] == [["id", "other"]]
        there = (await postgres.read_schema("public")).table("t")
        assert there is not None
        assert [column.name for column in there.columns] == ["id", "other"]


async def test_what_a_burst_of_changes_left_no_room_for_is_carried_over_with_the_next_look(
    sqlite_path: str, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A migration makes table after table, each with its indexes, faster than one look follows."""
    async with followed(sqlite_path, postgres_url, LASTING, copied=False) as (
        follower,
        postgres,
    ):
        make(sqlite_path, "CREATE TABLE t0(id INTEGER PRIMARY KEY, a TEXT)")
        create, made = postgres.create_tables, count(1)

        async def overtaken(statements: Sequence[str]) -> None:
            await create(statements)
            if (number := next(made)) < 8:
                make(sqlite_path, f"CREATE UNIQUE INDEX t{number - 1}_a ON t{number - 1}(a)")
                make(sqlite_path, f"CREATE TABLE t{number}(id INTEGER PRIMARY KEY, a TEXT)")

        monkeypatch.setattr(postgres, "create_tables", overtaken)
        looks = 0
        while (await follower.follow("sqlite")).unfinished:
            looks += 1
            assert looks < 5
        there = await postgres.read_schema("public")
        unique = {table.name: [index.name for index in table.indexes if index.unique] for table in there.tables}
        assert unique == {"lasting": ["lasting_pkey"]} | {
            f"t{n}": [*([f"t{n}_a"] if n < 7 else []), f"t{n}_pkey"] for n in range(8)
        }


async def test_formats_of_a_table_that_is_gone_are_asked_of_the_next_schema(sqlite_path: str) -> None:
    make(sqlite_path, "CREATE TABLE t(id INTEGER PRIMARY KEY, at TIMESTAMP)")
    async with served(sqlite_path, PRIMARY, {"t.at": "timestamp with time zone"}) as (store, tables):
        spelling = Spelling(store)
        await spelling.settle(tuple(tables.values()))
        make(sqlite_path, "DROP TABLE t")
        with pytest.raises(SchemaChanged):
            await spelling.learned()


@pytest.mark.parametrize(
    "change",
    [
        "DROP TABLE brief",
        "DROP INDEX brief_n",
        "DROP TRIGGER noticed ON brief",
    ],
)
async def test_a_definition_that_postgres_does_not_print_any_more(postgres_url: str, change: str) -> None:
    """As if the change had come between the snapshot and the printing."""
    reader, other = await asyncpg.connect(postgres_url), await asyncpg.connect(postgres_url)
    try:
        await other.execute(
            "CREATE TABLE brief(id bigint PRIMARY KEY, n bigint);"
            "CREATE INDEX brief_n ON brief(n);"
            "CREATE FUNCTION noop() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';"
            "CREATE TRIGGER noticed BEFORE INSERT ON brief FOR EACH ROW EXECUTE FUNCTION noop();"
        )
        async with reader.transaction(isolation="repeatable_read", readonly=True):
            await reader.execute("SELECT 1 FROM pg_database LIMIT 1")
            await other.execute(change)
            with pytest.raises((SchemaChanged, asyncpg.UndefinedTableError)):
                await read_postgres_schema(reader, "public")
        assert isinstance(await read_postgres_schema(reader, "public"), PostgresSchema)
    finally:
        await reader.close()
        await other.close()


async def test_a_table_that_goes_while_its_capture_is_checked(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with ready(postgres_url, AS_PRIMARY) as store:
        look = catalog.columns

        async def overtaken(link: Link, tables: Sequence[Table]) -> dict[int, dict[str, str]]:
            found = await look(link, tables)
            await run(postgres_url, "DROP TABLE items")
            return found

        assert await store.check_capture() == []
        monkeypatch.setattr(catalog, "columns", overtaken)
        assert [fault for fault in await store.check_capture() if "items" in fault]


@pytest.mark.parametrize(
    ("sql", "changed"),
    [("SELECT 'gone'::regclass", True), ("SELECT gone FROM pg_class", True), ("SELECT 1 / 0", False)],
)
async def test_what_postgres_says_of_an_object_that_is_gone(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch, sql: str, changed: bool
) -> None:
    async def read(connection: asyncpg.Connection, *_: object) -> None:
        await connection.execute(sql)

    monkeypatch.setattr("cutover.stores.postgres.store.read_again", read)
    store = PostgresStore(postgres_url)
    await store.open()
    try:
        with pytest.raises(Exception, match="PostgreSQL") as failed:
            await store.read_schema("public")
        assert isinstance(failed.value, SchemaChanged) is changed
    finally:
        await store.close()


@pytest.mark.parametrize("first", [lambda: SchemaChanged("again"), lambda: RuntimeError("unforeseen")])
async def test_the_watch_carries_over_later_what_it_could_not(
    sqlite_path: str, monkeypatch: pytest.MonkeyPatch, first: Callable[[], Exception]
) -> None:
    monkeypatch.setattr("cutover.capture._AFTER_UNKNOWN", 0.01)
    make(sqlite_path, "CREATE TABLE t(id INTEGER PRIMARY KEY)")
    async with served(sqlite_path, PRIMARY) as (store, _):
        tries = 0

        async def mend() -> None:
            nonlocal tries
            tries += 1
            if tries == 1:
                raise first()

        def stores() -> tuple[Store, Store]:
            return store, store

        watch = CaptureWatch(stores, mend, interval=0.01)
        watch.poke()
        running = asyncio.create_task(watch.run())
        try:
            await until(lambda: tries >= 2 or running.done(), "another try")
            assert not running.done()
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running


async def test_the_watch_sees_what_changes_while_it_carries_over(postgres_url: str) -> None:
    async with ready(postgres_url, AS_PRIMARY) as store:
        seen: list[bool] = []

        async def mend() -> None:
            seen.append((await store.read_schema("public")).table("late") is not None)
            if len(seen) == 1:
                await run(postgres_url, "CREATE TABLE late(id bigint PRIMARY KEY)")

        watch = CaptureWatch(lambda: (store, store), mend, interval=0.01, full_interval=3600)
        running = asyncio.create_task(watch.run())
        try:
            watch.poke()
            await until(lambda: seen[-1:] == [True] or running.done(), "the look at the late table")
            assert not running.done()
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running


async def test_the_watch_sees_what_came_before_its_first_look(sqlite_path: str) -> None:
    """In a file without tables nothing says which of them were mapped when capture was installed."""
    async with served(sqlite_path, PRIMARY) as (store, _):
        with direct(sqlite_path) as application:
            application.execute("CREATE TABLE early(id INTEGER PRIMARY KEY)")
        mended = asyncio.Event()

        async def mend() -> None:
            mended.set()

        watch = CaptureWatch(lambda: (store, store), mend, interval=0.01, full_interval=3600)
        running = asyncio.create_task(watch.run())
        try:
            await asyncio.wait_for(mended.wait(), 60)
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running


async def test_the_watch_waits_for_the_rest_behind_changes_of_the_front_door(sqlite_path: str) -> None:
    make(sqlite_path, "CREATE TABLE t(id INTEGER PRIMARY KEY)")
    async with served(sqlite_path, PRIMARY) as (store, _):
        mended = asyncio.Event()

        async def mend() -> None:
            mended.set()

        watch = CaptureWatch(lambda: (store, store), mend, interval=3600, full_interval=3600)
        running = asyncio.create_task(watch.run())
        try:
            watch.told()
            watch.told()
            await asyncio.wait_for(mended.wait(), 60)
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running


async def test_who_met_a_change_waits_for_a_look_that_maps_anew_only_if_there_is_one(sqlite_path: str) -> None:
    """A statement that fails by itself in the same words must not bring the mirror to a stop each time."""
    make(sqlite_path, "CREATE TABLE t(id INTEGER PRIMARY KEY)")
    async with served(sqlite_path, PRIMARY) as (store, _):
        mended = 0

        async def mend() -> None:
            nonlocal mended
            mended += 1

        watch = CaptureWatch(lambda: (store, store), mend, interval=3600, full_interval=3600)
        running = asyncio.create_task(watch.run())
        try:
            for _ in range(2):  # the second look finds what the first one mended
                await asyncio.wait_for(watch.looked(), 60)
            before = mended
            await asyncio.wait_for(asyncio.gather(watch.looked(), watch.looked()), 60)
            assert mended == before
            with direct(sqlite_path) as application:
                application.execute("CREATE TABLE other(id INTEGER PRIMARY KEY)")
            await asyncio.wait_for(watch.looked(), 60)
            assert mended == before + 1
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running


async def test_only_what_breaks_capture_is_a_warning(sqlite_path: str) -> None:
    make(sqlite_path, "CREATE TABLE t(id INTEGER PRIMARY KEY)")
    async with served(sqlite_path, PRIMARY) as (store, _):
        mended = asyncio.Event()

        async def mend() -> None:
            with direct(sqlite_path) as application:
                store.serve_tables(mapped(application))
            await store.install_capture()
            mended.set()

        async def told(sql: str) -> list[str]:
            """The levels of what was logged while a change was followed."""
            mended.clear()
            make(sqlite_path, sql)
            with capture_logs() as lines:
                watch = CaptureWatch(lambda: (store, store), mend, interval=0.01, full_interval=3600)
                watch.poke()
                running = asyncio.create_task(watch.run())
                await asyncio.wait_for(mended.wait(), 60)
                running.cancel()
                with suppress(asyncio.CancelledError):
                    await running
            return [line["log_level"] for line in lines if "being" in line["event"]]

        assert await told("ALTER TABLE t ADD COLUMN a TEXT") == ["info"]
        assert await told("CREATE INDEX by_a ON t(a)") == ["info"]
        trigger = one(sqlite_path, "SELECT max(name) FROM sqlite_master WHERE name LIKE '%\\_capture\\_%' ESCAPE '\\'")
        assert await told(f'DROP TRIGGER "{trigger}"') == ["warning"]
