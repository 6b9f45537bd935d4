"""last_insert_rowid() of tables whose rows Postgres does not number."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from contextlib import suppress

import pytest

from cutover.dialect.drawing import UNNUMBERED
from cutover.dialect.numbering import Number
from cutover.errors import StatementError
from cutover.model.statement import BatchResult, Statement, StatementResult, Step
from cutover.model.values import SqlValue
from cutover.settings import PostgresSettings, Settings
from tests.flow.dialect_world import World, world

_SCHEMA = """
CREATE TABLE word (name TEXT PRIMARY KEY, size INTEGER);
CREATE TABLE pair (a INTEGER, b TEXT, note TEXT CHECK (note <> 'no'), PRIMARY KEY (a, b));
CREATE TABLE mail (address TEXT NOT NULL UNIQUE, name TEXT, PRIMARY KEY (address, name));
CREATE TABLE bare (name TEXT PRIMARY KEY, size INTEGER) WITHOUT ROWID;
CREATE TABLE line (id INTEGER PRIMARY KEY, word TEXT REFERENCES word ON DELETE CASCADE);
CREATE TABLE leaf (id TEXT PRIMARY KEY, word TEXT REFERENCES word ON DELETE CASCADE);
"""
_WITHOUT = Settings(postgres=PostgresSettings(rowid="drop"))
_EITHER = pytest.mark.parametrize("settings", [None, _WITHOUT], ids=["numbered", "counted"])
_TOLD = "SELECT last_insert_rowid(), changes()"


async def _both(made: World, sql: str, *args: SqlValue) -> None:
    """The statement on both, and what a client is told of it."""
    sqlite, postgres = _outcome(None), _outcome(None)
    with suppress(StatementError):
        sqlite = _outcome(made.on_sqlite(sql, *args))
    with suppress(StatementError):
        postgres = _outcome(await made.on_postgres(sql, *args))
    assert (postgres, (await made.on_postgres(_TOLD)).rows) == (sqlite, made.on_sqlite(_TOLD).rows), sql


def _outcome(result: StatementResult | None) -> object:
    return None if result is None else (result.rows, result.affected)


def _script(chance: random.Random) -> Iterator[str]:
    """Statements alone and in transactions, which insert, replace, change and delete."""
    opened, saved = False, False
    for _ in range(50):
        if chance.random() < 0.2:
            if opened:
                opened, saved = False, False
                yield chance.choice(("COMMIT", "ROLLBACK"))
            else:
                opened = True
                yield "BEGIN"
        elif opened and chance.random() < 0.2:
            yield "ROLLBACK TO s" if saved else "SAVEPOINT s"
            saved = True
        else:
            yield _write(chance)
    if opened:
        yield "COMMIT"


def _write(chance: random.Random) -> str:
    name, other = (f"'{chance.choice('abcdefg')}'" for _ in range(2))
    number = chance.randrange(3)
    return chance.choice(
        (
            f"INSERT INTO word VALUES ({name}, {number})",
            f"INSERT INTO word VALUES ({name}, 1), ({other}, 2) ON CONFLICT DO NOTHING",
            f"INSERT OR IGNORE INTO word VALUES ({name}, 7)",
            f"INSERT OR REPLACE INTO word (name) VALUES ({name})",
            f"INSERT INTO word VALUES ({name}, 1) ON CONFLICT (name) DO UPDATE SET size = 9",
            f"INSERT INTO word VALUES ({name}, 1), ({other}, 1) ON CONFLICT (name) DO UPDATE SET size = 8 RETURNING 1",
            f"INSERT INTO leaf VALUES ({name}, {other})",
            f"INSERT INTO pair VALUES ({number}, {name}, 'x')",
            f"INSERT INTO pair VALUES ({number}, {name}, 'no')",
            f"INSERT INTO pair (b, a) VALUES ({name}, {number}) ON CONFLICT DO NOTHING",
            f"INSERT INTO mail VALUES ({name}, {other}) ON CONFLICT DO NOTHING",
            f"INSERT INTO bare VALUES ({name}, 1)",
            f"INSERT INTO line (word) VALUES ({name})",
            f"DELETE FROM word WHERE name = {name}",
            f"DELETE FROM pair WHERE a = {number}",
            f"DELETE FROM mail WHERE address = {name}",
            "DELETE FROM word",
            f"UPDATE word SET size = 5 WHERE name = {name}",
        )
    )


@_EITHER
@pytest.mark.parametrize("seed", [1, 2, 114])
async def test_a_client_that_is_alone_is_told_sqlites_numbers(
    postgres_url: str, seed: int, settings: Settings | None
) -> None:
    async with world(postgres_url, _SCHEMA, settings=settings) as made:
        for sql in _script(random.Random(seed)):  # no secret
            await _both(made, sql)


async def test_in_a_crowd_a_row_that_is_changed_has_no_number(postgres_url: str) -> None:
    async with world(postgres_url, _SCHEMA, settings=_WITHOUT) as made:
        await made.same("INSERT INTO word VALUES ('a', 1), ('b', 1), ('c', 1), ('d', 1)")
        texts = [
            f"INSERT INTO word VALUES ('{name}', {at}) ON CONFLICT (name) DO UPDATE SET size = excluded.size"
            for at in range(8)
            for name in "abcd"
        ]
        table = next(table for table in made.tables if table.name == "word")
        number = made.executor.dialect.keys.of(UNNUMBERED + table.sql)
        found = await asyncio.gather(*(made.executor.run([Step(Statement(text))]) for text in texts))
        assert [each.errors for each in found] == [[None]] * len(texts)
        assert isinstance(number, Number)
        assert number.crowded
        assert {each.results[0].last_insert_rowid for each in found if each.results[0]} == {None}


@_EITHER
async def test_a_row_that_is_passed_over_has_no_number(postgres_url: str, settings: Settings | None) -> None:
    async with world(postgres_url, _SCHEMA, settings=settings) as made:
        await made.same("INSERT INTO word VALUES ('a', 1)")
        for _ in range(4):  # by submit(), on whichever way it is at hand
            (outcome,) = await made.executor.submit([[Step(Statement("INSERT OR IGNORE INTO word VALUES ('a', 1)"))]])
            assert isinstance(outcome, BatchResult)
            assert outcome.results[0] is not None
            assert outcome.results[0].last_insert_rowid is None
