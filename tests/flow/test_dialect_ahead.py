"""Long texts are translated on another thread, whichever way they come, and give what SQLite gives."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence

import pytest

from cutover.dialect import translator
from cutover.dialect.ahead import LONG
from cutover.dialect.catalog import Catalog
from cutover.dialect.translation import Translation
from cutover.dialect.typed import Kind, Refused
from cutover.model.statement import BatchResult, Statement, Step
from tests.flow.dialect_world import World, world

SCHEMA = "CREATE TABLE items (id INTEGER PRIMARY KEY, name TEXT, n INTEGER)"
MANY = 60
INSERT = "INSERT INTO items (name, n) VALUES " + ", ".join(["(?, ?)"] * MANY)
SELECT = "SELECT id, name FROM items WHERE " + " OR ".join(["(name = ? AND n > ?)"] * MANY)


@pytest.fixture
async def both(postgres_url: str) -> AsyncIterator[World]:
    async with world(postgres_url, SCHEMA) as made:
        yield made


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Long texts that were translated on the event loop."""
    found: list[str] = []
    translate, loop = translator.translate, threading.get_ident()

    def watched(sql: str, catalog: Catalog, kinds: Sequence[Kind]) -> Translation:
        if len(sql) > LONG and threading.get_ident() == loop:
            found.append(sql)
        return translate(sql, catalog, kinds)

    monkeypatch.setattr(translator, "translate", watched)
    return found


async def test_long_texts_are_translated_elsewhere_and_mean_the_same(both: World, here: list[str]) -> None:
    values = [value for number in range(MANY) for value in (f"name {number % 7}", number)]
    await both.same(INSERT, *values)
    await both.session.execute(Statement("BEGIN"))
    both.on_sqlite("BEGIN")
    await both.same(SELECT, *values, ordered=True)
    await both.same(INSERT, *list(range(2 * MANY)))  # other kinds of arguments: another translation
    await both.session.execute(Statement("COMMIT"))
    both.on_sqlite("COMMIT")
    await both.same("SELECT * FROM items ORDER BY id")
    assert here == []


async def test_long_texts_of_cursors_and_of_lone_statements_too(both: World, here: list[str]) -> None:
    values = tuple(value for number in range(MANY) for value in ("a", number))
    written = await both.executor.run((Step(Statement(INSERT, values)),))
    pieces = await both.executor.read_pieces((Step(Statement(SELECT, values)),))
    assert written.errors == [None]
    assert isinstance(pieces, BatchResult)
    assert pieces.results[0] is not None
    assert len(pieces.results[0].rows) == MANY - 1
    assert here == []


async def test_a_long_text_of_a_transaction_that_made_its_table(both: World, here: list[str]) -> None:
    await both.session.sequence("BEGIN; CREATE TABLE other (name TEXT, n INTEGER)")
    sql = INSERT.replace("items", "other")
    found = await both.session.execute(Statement(sql, tuple(["b", 2] * MANY)))
    await both.session.execute(Statement("COMMIT"))
    assert found.affected == MANY
    assert here == []


async def test_many_that_send_one_long_text_wait_for_one_translation(both: World) -> None:
    values = tuple(value for number in range(MANY) for value in ("a", number))
    steps = (Step(Statement(SELECT, values)),)
    found = await asyncio.gather(*(both.executor.run(steps) for _ in range(8)))
    assert all(each.errors == [None] for each in found)


@pytest.mark.parametrize("tail", ["AND load_extension(name)", "AND missing = 1", "AND (", "AND n MATCH 3"])
async def test_a_long_text_is_refused_as_a_short_one_is(both: World, here: list[str], tail: str) -> None:
    short = "SELECT id FROM items WHERE n > 0"
    long = short + " AND n <> 12345" * MANY
    codes = []
    for text in (short, long):
        found = (await both.executor.run((Step(Statement(f"{text} {tail}")),))).errors[0]
        assert found is not None
        codes.append((type(found) is Refused, found.code))
    assert codes[0] == codes[1]
    assert here == []


async def test_what_only_the_rows_show_is_translated_when_they_show_it(both: World) -> None:
    await both.same("INSERT INTO items (name, n) VALUES ('a', 9223372036854775807), ('b', 2)")
    long = " OR ".join(["n > 0"] * 100)
    await both.same(f"SELECT n + 1, name FROM items WHERE {long}", ordered=True)  # a real where 64 bits end
    await both.same_error(f"SELECT sum(n) FROM items WHERE {long}")
    await both.same(f"UPDATE OR REPLACE items SET id = id + 1 WHERE {long}")
    await both.same("SELECT * FROM items ORDER BY id")
