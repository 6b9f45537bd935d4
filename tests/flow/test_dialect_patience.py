"""A schema change that waits for a table keeps nobody else waiting, and gives up as SQLite does."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from cutover.dialect import patience
from cutover.errors import StatementError
from cutover.model.statement import Not, Ok, Statement, Step
from tests.flow.dialect_world import World, world
from tests.support.postgres import native

SCHEMA = "CREATE TABLE parents(id INTEGER PRIMARY KEY, name TEXT)"
CHANGE = "ALTER TABLE parents ADD COLUMN more TEXT"
WAITED_FOR = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)"
WAITING = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND relation = $1::text::regclass)"


async def reading(connection: asyncpg.Connection) -> None:
    """A transaction of somebody's own that has read, and stands."""
    await connection.execute("BEGIN; SELECT * FROM parents")


async def until_waiting(observer: asyncpg.Connection, table: str = "parents") -> None:
    while not await observer.fetchval(WAITING, table):
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
        monkeypatch.setattr(patience, "PATIENCE", 60.0)
        await one.on_postgres(CHANGE)


async def busy(one: World, sql: str) -> None:
    with pytest.raises(StatementError) as told:
        await one.on_postgres(sql)
    assert told.value.code == "SQLITE_BUSY"


@pytest.mark.parametrize("others", [(), ("UPDATE mine SET name = 'f'",)], ids=["one", "several"])
@pytest.mark.parametrize("how", ["alone", "whole"])
async def test_a_write_gets_its_row_though_somebody_writes_it_natively_all_the_time(
    postgres_url: str, how: str, others: tuple[str, ...]
) -> None:
    """Each native transaction stands until somebody waits for it, so whoever waits for one meets a conflict."""
    schema, data = f"{SCHEMA}; CREATE TABLE mine(name TEXT)", ["INSERT INTO parents VALUES (1, '')"]
    async with world(postgres_url, schema, data=data, store=True) as one:
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
            write = "UPDATE parents SET name = name || 'f' WHERE id = 1"
            result = await one.executor.run(whole(*others, write) if how == "whole" else [Step(Statement(write))])
            assert result.errors[: len(others) + 2] == [None] * len(result.errors[: len(others) + 2])
        finally:
            done.set()
            await writer
        assert transactions <= 5
        found = (await one.on_postgres("SELECT name FROM parents")).rows[0][0]
        assert str(found).count("f") == 1
        assert str(found).count("n") == transactions


DATES = "CREATE TABLE dates (id INTEGER PRIMARY KEY, at DATETIME); CREATE TABLE notes (id INTEGER PRIMARY KEY)"
FIRST = "INSERT INTO dates (at) VALUES (5)"
"""For which Postgres writes the table anew: the column held texts."""


@pytest.mark.parametrize("sql", [FIRST, "ALTER TABLE dates ADD COLUMN more TEXT"], ids=["value", "schema"])
@pytest.mark.parametrize("how", ["alone", "whole", "interactive"])
async def test_a_stream_that_has_read_and_stands_gives_way(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch, sql: str, how: str
) -> None:
    monkeypatch.setattr(patience, "COURTESY", 0.1)
    async with world(postgres_url, DATES, data=["INSERT INTO dates (at) VALUES ('2024-05-06')"], store=True) as one:
        reader, elsewhere = one.executor.session(), one.executor.session()
        await reader.sequence("BEGIN; SELECT * FROM dates")
        await elsewhere.sequence("BEGIN; SELECT * FROM notes")
        if how == "alone":
            await one.on_postgres(sql)
        elif how == "whole":
            assert (await one.executor.run(whole(sql))).errors[:3] == [None] * 3
        else:
            await one.session.sequence(f"BEGIN IMMEDIATE; SELECT * FROM dates; {sql}; COMMIT")
        for session in (reader, elsewhere):  # to the latter it is another schema than it began with
            with pytest.raises(StatementError) as told:
                await session.execute(Statement("SELECT * FROM notes"))
            assert told.value.code == "SQLITE_BUSY"
            await session.execute(Statement("ROLLBACK"))
            assert (await session.execute(Statement("SELECT count(*) FROM dates WHERE id = 1"))).rows == [(1,)]
            await session.close()


def whole(*sql: str) -> list[Step]:
    """A transaction as libSQL's clients send one."""
    made = [Step(Statement("BEGIN")), *(Step(Statement(text), Ok(at)) for at, text in enumerate(sql))]
    made.append(Step(Statement("COMMIT"), Ok(len(made) - 1)))
    return [*made, Step(Statement("ROLLBACK"), Not(Ok(len(made) - 1)))]


@pytest.mark.parametrize("how", ["alone", "whole"])
async def test_a_first_value_waits_for_somebody_else_who_reads_and_lets_others_write(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(patience, "PATIENCE", 0.3)
    monkeypatch.setattr(patience, "ROUND", 0.3)
    async with world(postgres_url, DATES, data=["INSERT INTO dates (at) VALUES ('2024-05-06')"], store=True) as one:
        async with native(postgres_url) as other:
            await other.execute("BEGIN; SELECT * FROM dates")
            steps = [Step(Statement(FIRST))] if how == "alone" else whole(FIRST)
            waiting = asyncio.create_task(one.executor.run(steps))
            for _ in range(3):
                await until_waiting(other, "dates")
                await one.on_postgres("INSERT INTO notes DEFAULT VALUES")  # behind a round of it
            assert not waiting.done()
            await other.execute("COMMIT")
            assert (await waiting).errors[0] is None
        found = await one.on_postgres("SELECT at, typeof(at) FROM dates ORDER BY id")
        assert found.rows == [("2024-05-06", "text"), (5, "integer")]


@pytest.mark.parametrize("how", ["alone", "whole"])
async def test_a_first_value_waits_not_for_ever(postgres_url: str, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    for name in ("ROUND", "LASTING"):
        monkeypatch.setattr(patience, name, 0.2)
    async with world(postgres_url, DATES, store=True) as one, native(postgres_url) as other:
        await other.execute("BEGIN; SELECT * FROM dates")
        result = await one.executor.run([Step(Statement(FIRST))] if how == "alone" else whole(FIRST))
        assert [error.code for error in result.errors if error is not None] == ["SQLITE_BUSY"]
        await other.execute("COMMIT")
        assert (await one.executor.run([Step(Statement(FIRST))])).errors == [None]
        assert (await one.on_postgres("SELECT count(*) FROM dates")).rows == [(1,)]


async def test_transactions_that_bring_the_first_values_together_wait_not_for_each_other(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "ROUND", 0.5)
    async with world(postgres_url, DATES, data=["INSERT INTO dates (at) VALUES ('2024-05-06')"], store=True) as one:
        works = [whole("SELECT count(*) FROM dates", FIRST, "INSERT INTO dates (at) VALUES ('x')") for _ in range(4)]
        for result in await asyncio.gather(*map(one.executor.run, works)):
            assert result.errors == [None] * len(result.errors)
        assert (await one.on_postgres("SELECT count(*) FROM dates WHERE at = 5")).rows == [(4,)]
