"""Statements that meet a change of the schema: what they are told is that of one schema, never of two, and no error."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from cutover.dialect.dialect import Dialect
from cutover.errors import StatementError
from cutover.model.statement import BatchResult, Not, Ok, Statement, Step
from cutover.settings import Settings
from tests.flow.dialect_world import World, world

SCHEMA = "CREATE TABLE sw (id INTEGER PRIMARY KEY, v INTEGER); CREATE TABLE acc (id INTEGER PRIMARY KEY, n INTEGER)"
DATA = ("INSERT INTO sw VALUES (5, 7)", "INSERT INTO acc VALUES (1, 1)")
ANEW = [
    (
        "BEGIN",
        "DROP TABLE sw",
        f"CREATE TABLE sw (id INTEGER PRIMARY KEY, v {kind})",
        "INSERT INTO sw VALUES (5, 7)",
        "COMMIT",
    )
    for kind in ("TEXT", "REAL", "INTEGER")
]
ALTERED = [
    (sql,)
    for sql in (
        "ALTER TABLE acc ADD COLUMN d TEXT DEFAULT 'x'",
        "ALTER TABLE acc RENAME COLUMN d TO e",
        "ALTER TABLE acc DROP COLUMN e",
    )
]


@pytest.mark.parametrize(
    ("changes", "sql", "answers"),
    [
        (ANEW, "SELECT v, typeof(v) FROM sw WHERE id = ?", {((7, "integer"),), (("7", "text"),), ((7.0, "real"),)}),
        (ANEW, "SELECT sum(v), typeof(sum(v)) FROM sw WHERE id = ?", {((7, "integer"),), ((7.0, "real"),)}),
        (ALTERED, "SELECT * FROM acc WHERE id + 4 = ?", {((1, 1),), ((1, 1, "x"),)}),
    ],
    ids=["value", "sum", "star"],
)
async def test_reads_beside_a_change(
    postgres_url: str, changes: list[tuple[str, ...]], sql: str, answers: set[object]
) -> None:
    async with world(postgres_url, SCHEMA, data=DATA, store=True) as both:
        over = False

        async def read() -> None:
            while not over:
                found = await both.executor.run([Step(Statement(sql, (5,)))])
                seen.append(answer_of(found))

        seen: list[object] = []
        readers = [asyncio.create_task(read()) for _ in range(4)]
        try:
            for _ in range(3):
                for change in changes:
                    await change_schema(both, change)
        finally:
            over = True
        await asyncio.gather(*readers)
        assert seen
        assert not [one for one in seen if not any(one == each and repr(one) == repr(each) for each in answers)]


def answer_of(found: BatchResult) -> object:
    """The rows, or the error."""
    return found.errors[0] if found.results[0] is None else tuple(found.results[0].rows)


async def change_schema(both: World, change: tuple[str, ...]) -> None:
    """In a transaction of its own, which waits for readers."""
    session = both.executor.session()
    try:
        for sql in change:
            await session.execute(Statement(sql))
    finally:
        await session.close()


@pytest.mark.parametrize("way", ["session", "batch", "statement"])
async def test_writes_beside_a_change(postgres_url: str, way: str) -> None:
    """RETURNING tells of the column that is there when the write is made, also where it waited for the change."""
    write = "UPDATE sw SET v = 7 WHERE id = ? RETURNING v, typeof(v)"
    changes = ANEW
    answers = {((7, "integer"),), (("7", "text"),), ((7, "real"),)}  # SQLite keeps a whole real so
    if way == "statement":
        write, changes = "UPDATE acc SET n = 1 WHERE id = ? RETURNING *", ALTERED
        answers = {((1, 1),), ((1, 1, "x"),)}
    async with world(postgres_url, SCHEMA, data=DATA, store=True) as both:
        over = False

        async def writing(key: int) -> None:
            while not over:
                found = await both.executor.run([Step(Statement(write, (key,)))])
                seen.append(answer_of(found))

        seen: list[object] = []
        writers = [asyncio.create_task(writing(1 if way == "statement" else 5)) for _ in range(4)]
        try:
            for _ in range(4):
                for change in changes:
                    await _changed(both, change, way)
        finally:
            over = True
        await asyncio.gather(*writers)
        assert seen
        wrong = [one for one in seen if not any(one == each and repr(one) == repr(each) for each in answers)]
        assert not wrong, (len(wrong), len(seen), wrong[:3])


async def _changed(both: World, change: tuple[str, ...], way: str) -> None:
    if way == "session":
        await change_schema(both, change)
        return
    steps = [Step(Statement(sql)) for sql in change]
    if way == "batch":  # as clients send a whole transaction
        steps = [Step(Statement(sql), Ok(at - 1) if at else None) for at, sql in enumerate(change)]
        steps.append(Step(Statement("ROLLBACK"), Not(Ok(len(steps) - 1))))
    found = await both.executor.run(steps)
    assert not any(found.errors[: len(change)]), found.errors


async def test_a_write_is_made_between_two_that_change_the_schema(postgres_url: str) -> None:
    """However many wait to change it: what is translated anew only to wait behind the next would never be through."""
    change = "ALTER TABLE sw ADD COLUMN {} INTEGER"
    async with world(postgres_url, SCHEMA, data=DATA, store=True) as both:
        first, second = both.executor.session(), both.executor.session()
        try:
            for sql in ("BEGIN IMMEDIATE", change.format("one")):
                await first.execute(Statement(sql))
            write = asyncio.create_task(both.executor.run([Step(Statement("UPDATE sw SET v = 8 WHERE id = 1"))]))
            await _waiting(both)
            begun = asyncio.create_task(second.execute(Statement("BEGIN IMMEDIATE")))
            await first.execute(Statement("COMMIT"))
            await begun
            await second.execute(Statement(change.format("two")))
            found = await asyncio.wait_for(write, 60)
            assert found.errors == [None]
            await second.execute(Statement("COMMIT"))
        finally:
            await first.close()
            await second.close()


@pytest.mark.parametrize("within", [False, True], ids=["alone", "transaction"])
@pytest.mark.parametrize(
    ("change", "sql"),
    [
        ("ALTER TABLE sw DROP COLUMN v", "SELECT v FROM sw WHERE id = ?"),
        ("ALTER TABLE sw DROP COLUMN v", "UPDATE sw SET v = 1 WHERE id = ?"),
        ("DROP TABLE sw", "DELETE FROM sw WHERE id = ?"),
    ],
    ids=["read", "write", "table"],
)
async def test_what_was_dropped_natively_is_told_as_a_change_of_the_schema(
    postgres_url: str, change: str, sql: str, *, within: bool
) -> None:
    """Until it is read again; a transaction goes on behind it, as on SQLite."""
    async with world(postgres_url, SCHEMA, data=DATA, store=True) as both:
        async with both.pool.acquire() as connection:
            await connection.execute(change)
        if within:
            await both.on_postgres("BEGIN")
            await both.on_postgres("UPDATE acc SET n = 2")
        with pytest.raises(StatementError, match=r"^database schema has changed: ") as told:
            await both.on_postgres(sql, 5)
        assert told.value.code == "SQLITE_SCHEMA"
        if within:
            await both.on_postgres("COMMIT")
            assert (await both.on_postgres("SELECT n FROM acc")).rows == [(2,)]


async def _waiting(both: World) -> None:
    """A write waits for who has the turn."""
    turn = both.executor._connections.turns._turn
    while not turn._waiters:
        await asyncio.sleep(0)


class Overtaken:
    """A connection, of which the first question for changes that SQLite lacks is followed by such a change."""

    def __init__(self, connection: Any, change: Callable[[], Awaitable[object]]) -> None:  # a proxy
        self._connection, self._change = connection, change
        self.overtaken = False

    def __getattr__(self, name: str) -> Any:  # as the driver's
        return getattr(self._connection, name)

    async def fetch(self, sql: str, *args: object) -> Any:  # as the driver's
        found = await self._connection.fetch(sql, *args)
        if "FROM cutover.wanted" in sql and not self.overtaken:
            self.overtaken = True
            await self._change()
        return found


@pytest.mark.parametrize("read_meanwhile", [False, True], ids=["told", "read"])
async def test_a_change_that_is_made_while_the_schema_is_read_is_not_forgotten(
    postgres_url: str, *, read_meanwhile: bool
) -> None:
    """Its own connection was told that it is committed: its next statement has to find the table."""
    async with world(postgres_url, SCHEMA, store=True) as both:
        await both.same("CREATE TABLE early (id INTEGER PRIMARY KEY)")
        texts = [row[0] for row in both.on_sqlite("SELECT sql FROM sqlite_master ORDER BY rowid").rows]
        dialect = Dialect(lambda: both.tables, lambda: texts, settings=Settings())

        async def change() -> None:
            await both.same("CREATE TABLE late (id INTEGER PRIMARY KEY)")
            dialect.forget()  # as the transaction says that made it
            if read_meanwhile:
                async with both.pool.acquire() as another:
                    await dialect.renew(another)

        async with both.pool.acquire() as connection:
            slow = Overtaken(connection, change)
            await dialect.renew(slow)  # type: ignore[arg-type]  # a connection in all that is asked of it
        assert slow.overtaken
        assert dialect.is_current
        assert [column.name for column in dialect.checks.check("SELECT * FROM late").description.columns] == ["id"]
