"""What an INSERT of one or several rows gives back, and the keys that its rows get."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from cutover.errors import StatementError
from cutover.settings import Settings
from tests.flow.dialect_world import World, world

SCHEMA = """
CREATE TABLE p (id INTEGER PRIMARY KEY, a TEXT UNIQUE, n INTEGER, r REAL, b BOOLEAN);
CREATE TABLE tag (name TEXT PRIMARY KEY, n INTEGER);
CREATE TABLE tree (id INTEGER PRIMARY KEY, parent INTEGER REFERENCES tree);
CREATE TABLE own (id INTEGER PRIMARY KEY, v TEXT);
CREATE TABLE shelf (id INTEGER PRIMARY KEY, a INTEGER UNIQUE, b INTEGER UNIQUE);
"""


@pytest.fixture
async def both(postgres_url: str) -> AsyncIterator[World]:
    settings = Settings.model_validate({"tables": {name: {"keys": "sqlite"} for name in ("tree", "own", "shelf")}})
    async with world(postgres_url, SCHEMA, settings=settings, store=True) as made:
        yield made


async def test_the_key_of_each_row_is_the_last_one_in_returning(both: World) -> None:
    await both.same("INSERT INTO p (a) VALUES ('x') RETURNING last_insert_rowid()")
    await both.same("INSERT INTO p (id, a) VALUES (50, 'y'), (60, 'z') RETURNING last_insert_rowid() + 1, a")
    await both.same("INSERT INTO tag SELECT 'k', last_insert_rowid()")
    await both.same("SELECT * FROM tag")
    await both.same("INSERT INTO tag VALUES ('q', 1) RETURNING last_insert_rowid()")
    upsert = "INSERT INTO tag VALUES ('q', 1) ON CONFLICT (name) DO UPDATE SET n = 2 RETURNING last_insert_rowid()"
    await both.refused(upsert, "in this RETURNING")
    await both.refused(
        "INSERT INTO p (n) VALUES (last_insert_rowid()), (last_insert_rowid())", "INSERT of several rows"
    )
    await both.refused("INSERT INTO p (n) SELECT last_insert_rowid() FROM tag", "INSERT of several rows")


async def test_the_lowest_integer_negated_is_a_real(both: World) -> None:
    await both.same("SELECT -(-9223372036854775808), typeof(-(-9223372036854775808)), -9223372036854775808 AS low")


async def test_values_of_any_class_go_where_they_fit(both: World) -> None:
    await both.same("INSERT INTO p (n, r, b) SELECT value, value, value FROM json_each('[0, 1, \"1\", null]')")
    await both.same("INSERT INTO p (r) VALUES (2)")
    await both.same("UPDATE p SET r = iif(r IS NULL, '7.5', r), n = iif(n IS NULL, '12', r + 1)")
    await both.same("SELECT * FROM p ORDER BY id")
    with pytest.raises(StatementError, match="a text in a column of reals") as told:
        await both.on_postgres("UPDATE p SET r = iif(id > 0, 'ADA', r)")
    assert told.value.code == "SQLITE_MISMATCH"
    await both.same("SELECT char(), length(char())")


async def test_counted_keys_go_on_within_a_select(both: World) -> None:
    await both.same("INSERT INTO own VALUES (3, 'a'), (5, 'b'), (NULL, 'c')")
    await both.same("INSERT INTO own SELECT NULL, v FROM own ORDER BY id")
    await both.same("INSERT INTO own SELECT CASE WHEN id > 6 THEN NULL ELSE id + 100 END, v FROM own ORDER BY id DESC")
    await both.same("INSERT INTO own SELECT CASE id WHEN 5 THEN 500 WHEN 3 THEN 300 END, v FROM own WHERE id < 9")
    await both.same("SELECT * FROM own ORDER BY id")


async def test_rows_that_refer_to_later_rows(both: World) -> None:
    await both.same("INSERT INTO tree VALUES (10, 11), (11, 10)")
    await both.same("INSERT INTO tree VALUES (?, ?), (?, ?)", 20, 21, 21, 20)
    await both.same("INSERT INTO tree VALUES (NULL, 20), (NULL, NULL)")
    await both.same("SELECT * FROM tree ORDER BY id")
    await both.same("INSERT OR IGNORE INTO tree SELECT parent, NULL FROM tree")


async def test_null_in_a_key_is_refused(both: World) -> None:
    await both.refused("INSERT INTO tag VALUES (NULL, 1)", "NULL in the key name of table tag")
    await both.refused("INSERT INTO tag (n) VALUES (1)", "NULL in the key name of table tag")
    with pytest.raises(StatementError, match=r"NULL in (a|the) key") as refused:
        await both.on_postgres("INSERT INTO tag VALUES (?, 1)", None)
    assert refused.value.code == "SQL_NOT_TRANSLATABLE"


async def test_limits_are_whole_numbers(both: World) -> None:
    await both.same("INSERT INTO own (v) VALUES ('a'), ('b'), ('c')")
    for fits in (2, 2.0, "2", -1):
        await both.same("SELECT v FROM own ORDER BY id LIMIT ? OFFSET 1", fits)
    for misfit in (None, 2.5, "a", b"2"):
        with pytest.raises(StatementError) as expected:
            both.on_sqlite("SELECT v FROM own LIMIT ?", misfit)
        with pytest.raises(StatementError) as told:
            await both.on_postgres("SELECT v FROM own LIMIT ?", misfit)
        assert told.value.code == expected.value.code == "SQLITE_MISMATCH", misfit
    with pytest.raises(StatementError, match="datatype mismatch"):
        await both.on_postgres("SELECT v FROM own LIMIT 1 OFFSET NULL")


async def test_columns_of_returning_have_their_names(both: World) -> None:
    await both.same("INSERT INTO main.p (a) VALUES ('x'), ('y') RETURNING id AS \"the id\", a || '!', `p`.`n`")
    await both.same("WITH w AS (SELECT 1 AS x) DELETE FROM p WHERE id IN (SELECT x FROM w) RETURNING id, n * 2")
    await both.same("WITH w AS (SELECT 'z' AS x) INSERT INTO \"main\".p (a) SELECT x FROM w RETURNING id, (SELECT 1)")
    await both.same("UPDATE OR IGNORE main.p SET n = 9 RETURNING *, rowid")


async def test_a_replaced_row_still_counts_for_the_next_key(both: World) -> None:
    await both.same("INSERT INTO shelf (a, b) VALUES (1, 1)")
    for sql in (
        "REPLACE INTO shelf (a, b) VALUES (5, 1)",
        "REPLACE INTO shelf (a, b) VALUES (5, 1)",
        "REPLACE INTO shelf VALUES (NULL, 5, 9)",
        "REPLACE INTO shelf (a, b) VALUES (9, 1), (9, 2), (10, 2)",
        "REPLACE INTO shelf (a, b) SELECT a, 70 FROM shelf",
    ):
        await both.same(sql)
        await both.same("SELECT * FROM shelf ORDER BY id")
