"""Automatic keys behind those that an upsert moved, and at the end of the numbers."""

from __future__ import annotations

import pytest

from tests.flow.dialect_world import World, world

_SCHEMA = """
CREATE TABLE plain (id INTEGER PRIMARY KEY, name TEXT UNIQUE, size INTEGER);
CREATE TABLE auto (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE, size INTEGER);
"""
_FILLED = [
    f"INSERT INTO {table} (id, name) VALUES (1, 'a'), (2, 'b'), (5, 'c'), (9, 'd')" for table in ("plain", "auto")
]
_MOVES = (
    "INSERT INTO {0} (name) VALUES ('b') ON CONFLICT (name) DO UPDATE SET id = 50",
    "INSERT INTO {0} (id, name) VALUES (33, 'c') ON CONFLICT (name) DO UPDATE SET id = excluded.id",
    "INSERT INTO {0} (name) VALUES ('d') ON CONFLICT (name) DO UPDATE SET id = 3",
    "INSERT INTO {0} (name) VALUES ('e'), ('b'), ('f') ON CONFLICT (name) DO UPDATE SET id = 50",
    "INSERT INTO {0} (name) SELECT name FROM (SELECT 'e' AS name UNION ALL SELECT 'b' UNION ALL SELECT 'f') "
    "WHERE true ORDER BY name DESC ON CONFLICT (name) DO UPDATE SET (size, rowid) = (7, 50)",
)


@pytest.mark.parametrize("table", ["plain", "auto"])
async def test_an_upsert_that_moves_a_key(postgres_url: str, table: str) -> None:
    async with world(postgres_url, _SCHEMA, data=_FILLED) as made:
        for begin, end in (("", ""), ("BEGIN", "COMMIT"), ("BEGIN", "ROLLBACK")):
            for move in _MOVES:
                for sql in (
                    begin,
                    move.format(table),
                    f"INSERT INTO {table} (name) VALUES ('y') RETURNING id",
                    end,
                    f"INSERT INTO {table} (name) VALUES ('z') RETURNING id",
                    f"SELECT * FROM {table} ORDER BY id",
                    f"DELETE FROM {table}",
                    f"DELETE FROM sqlite_sequence WHERE name = '{table}'",
                    next(filled for filled in _FILLED if table in filled),
                ):
                    if sql:
                        await made.same(sql)


_END = 2**63 - 1
_TO_THE_END = (
    (f"INSERT INTO {{0}} (id) VALUES ({_END - 1})", "INSERT INTO {0} (name) VALUES ('x') RETURNING id"),
    (f"INSERT INTO {{0}} (id) VALUES ({_END})",),
    (f"INSERT INTO {{0}} (id) SELECT {_END}",),
)
_ONE_MORE = "INSERT INTO {0} (name) VALUES ('y') RETURNING id"


@pytest.mark.parametrize("table", ["plain", "auto"])
@pytest.mark.parametrize("end", ["", "COMMIT", "ROLLBACK"])
async def test_the_last_key_of_all_is_no_end_but_to_autoincrement(postgres_url: str, table: str, end: str) -> None:
    async with world(postgres_url, _SCHEMA, data=_FILLED) as made:
        for to_the_end in _TO_THE_END:
            emptied = f"DELETE FROM {table} WHERE id > 9"
            for sql in ("BEGIN" if end else "", *to_the_end, emptied, end):
                if sql:
                    await made.same(sql.format(table))
            again = (
                _ONE_MORE,
                "INSERT OR IGNORE INTO {0} (name) SELECT name FROM (SELECT 'y' AS name UNION ALL SELECT 'z') "
                "WHERE true ORDER BY name RETURNING id",
                _ONE_MORE.replace("'y'", "'w'"),
            )
            for sql in again:
                if table == "auto" and end != "ROLLBACK":
                    await _used_up(made, sql.format(table))
                else:
                    await made.same(sql.format(table))
            for sql in (emptied, f"DELETE FROM sqlite_sequence WHERE name = '{table}'", _ONE_MORE, emptied):
                await made.same(sql.format(table))


async def _used_up(made: World, sql: str) -> None:
    failed = await made.same_error(sql)
    assert (failed.code, failed.message) == ("SQLITE_FULL", "database or disk is full")


async def test_the_others_go_on_beside_the_last_key_of_all(postgres_url: str) -> None:
    """Where SQLite would pick at random."""
    async with world(postgres_url, _SCHEMA, data=_FILLED) as made:
        await made.same("INSERT INTO plain (name) VALUES ('x')")
        for given, keys in (
            ("SELECT name FROM auto WHERE id < 3 UNION SELECT 'o' ORDER BY name", [11]),
            ("VALUES ('a'), ('m'), ('n')", [12, 13]),
        ):
            await made.on_postgres(f"DELETE FROM plain WHERE id = {_END}")
            await made.on_postgres(f"INSERT INTO plain (id) VALUES ({_END})")
            found = await made.on_postgres(f"INSERT OR IGNORE INTO plain (name) {given} RETURNING id")
            assert [row[0] for row in found.rows] == keys


_RAISES = (
    "UPDATE {0} SET id = 20 WHERE name = 'd'",
    "UPDATE {0} SET rowid = rowid + 22 WHERE id = 9",
    "INSERT INTO {0} (name) VALUES ('d') ON CONFLICT (name) DO UPDATE SET id = 20",
    "UPDATE OR IGNORE {0} SET id = id + 11 WHERE name = 'd'",
    "UPDATE OR REPLACE {0} SET id = 20 WHERE name = 'd'",
)


@pytest.mark.parametrize("table", ["plain", "auto"])
@pytest.mark.parametrize("begin", ["", "BEGIN"])
async def test_no_automatic_key_of_a_native_writer_meets_one_that_was_moved(
    postgres_url: str, table: str, begin: str
) -> None:
    async with world(postgres_url, _SCHEMA, data=_FILLED) as made, made.pool.acquire() as native:
        for move in _RAISES:
            if begin:
                await made.same(begin)
            await made.same(move.format(table))
            if begin:
                await made.same("COMMIT")
            moved = (await made.on_postgres(f"SELECT max(id) FROM {table}")).rows[0][0]
            given = [await native.fetchval(f"INSERT INTO {table} (name) VALUES ($1) RETURNING id", n) for n in "xyz"]
            assert moved < given[0] < given[1] < given[2]
            for sql in (f"DELETE FROM {table}", f"DELETE FROM sqlite_sequence WHERE name = '{table}'"):
                await made.on_postgres(sql)
                made.on_sqlite(sql)
            await made.same(next(filled for filled in _FILLED if table in filled))


@pytest.mark.parametrize("table", ["plain", "auto"])
async def test_a_key_that_was_moved_and_undone_is_given_again(postgres_url: str, table: str) -> None:
    async with world(postgres_url, _SCHEMA, data=_FILLED) as made:
        for sql in ("BEGIN", f"UPDATE {table} SET id = 20 WHERE id = 9", "ROLLBACK"):
            await made.same(sql)
        await made.same(f"INSERT INTO {table} (name) VALUES ('y') RETURNING id")
        await made.same(f"UPDATE {table} SET id = 30 WHERE id = 9")
        await made.same(f"UPDATE {table} SET id = 12 WHERE id = 30")
        await made.same("SELECT * FROM sqlite_sequence ORDER BY name")
        await made.same(f"INSERT INTO {table} (name) VALUES ('z') RETURNING id")
