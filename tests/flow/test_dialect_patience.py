"""A schema change that waits for a table keeps nobody else waiting, and gives up as SQLite does."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from cutover.dialect import patience
from cutover.errors import StatementError
from tests.flow.dialect_world import World, world
from tests.support.postgres import native

SCHEMA = "CREATE TABLE parents(id INTEGER PRIMARY KEY, name TEXT)"
CHANGE = "ALTER TABLE parents ADD COLUMN more TEXT"
WAITED_FOR = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)"
WAITING = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND relation = 'parents'::regclass)"


async def reading(connection: asyncpg.Connection) -> None:
    """A transaction of somebody's own that has read, and stands."""
    await connection.execute("BEGIN; SELECT * FROM parents")


async def until_waiting(observer: asyncpg.Connection) -> None:
    while not await observer.fetchval(WAITING):
        await asyncio.sleep(0.005)


async def test_readers_pass_a_change_that_waits(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "PATIENCE", 60.0)
    async with world(postgres_url, SCHEMA, store=True) as one, native(postgres_url) as other:
        await reading(other)
        changing = asyncio.create_task(one.on_postgres(CHANGE))
        async with native(postgres_url) as reader:
            await until_waiting(reader)
            assert await reader.fetch("SELECT * FROM parents") == []
        assert not changing.done()
        await other.execute("ROLLBACK")
        await changing
        await one.on_postgres("INSERT INTO parents(more) VALUES ('x')")
        assert (await one.on_postgres("SELECT more FROM parents")).rows == [("x",)]


async def test_a_change_that_waited_in_vain_undoes_itself_alone(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "PATIENCE", 0.3)
    async with world(postgres_url, f"{SCHEMA}; CREATE TABLE notes(id INTEGER PRIMARY KEY)", store=True) as one:
        async with native(postgres_url) as other:
            await reading(other)
            await busy(one, CHANGE)
            for sql in ("BEGIN", "INSERT INTO notes VALUES (1)", "ALTER TABLE notes ADD COLUMN v TEXT"):
                await one.on_postgres(sql)
            await busy(one, CHANGE)
            await one.on_postgres("COMMIT")
        assert (await one.on_postgres("SELECT * FROM notes")).rows == [(1, None)]
        await one.on_postgres(CHANGE)


async def busy(one: World, sql: str) -> None:
    with pytest.raises(StatementError) as told:
        await one.on_postgres(sql)
    assert told.value.code == "SQLITE_BUSY"


async def test_a_write_gets_its_row_though_somebody_writes_it_natively_all_the_time(postgres_url: str) -> None:
    """Each native transaction stands until somebody waits for it, so whoever waits for one meets a conflict."""
    async with world(postgres_url, SCHEMA, data=["INSERT INTO parents VALUES (1, '')"], store=True) as one:
        done, transactions = asyncio.Event(), 0

        async def writing() -> None:
            nonlocal transactions
            async with native(postgres_url) as writer, native(postgres_url) as observer:
                while not done.is_set():
                    await writer.execute("BEGIN; UPDATE parents SET name = name || 'n'")
                    transactions += 1
                    begun.set()
                    while not done.is_set() and not await observer.fetchval(WAITED_FOR):
                        await asyncio.sleep(0.005)
                    await writer.execute("COMMIT")

        begun = asyncio.Event()
        writer = asyncio.create_task(writing())
        try:
            await begun.wait()
            await one.on_postgres("UPDATE parents SET name = name || 'f' WHERE id = 1")
        finally:
            done.set()
            await writer
        assert transactions <= 5
        found = (await one.on_postgres("SELECT name FROM parents")).rows[0][0]
        assert str(found).count("f") == 1
        assert str(found).count("n") == transactions
