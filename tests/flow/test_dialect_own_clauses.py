"""Constraints with an ON CONFLICT clause of their own: a statement without such a word goes by them, as on SQLite."""

from __future__ import annotations

import pytest

from cutover.errors import StatementError
from tests.flow.dialect_world import World, world

SCHEMA = """
CREATE TABLE skips (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE ON CONFLICT IGNORE, n INT NOT NULL DEFAULT 5,
                    CHECK (n < 100));
CREATE TABLE takes (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE ON CONFLICT REPLACE, n INT NOT NULL DEFAULT 5);
CREATE TABLE filled (a INT NOT NULL ON CONFLICT REPLACE DEFAULT 3, b TEXT NOT NULL ON CONFLICT IGNORE, c INT NOT NULL);
CREATE TABLE keyed (k TEXT NOT NULL PRIMARY KEY ON CONFLICT REPLACE, v INT);
CREATE TABLE stops (k TEXT, v INT, CONSTRAINT once UNIQUE (k) ON CONFLICT FAIL);
CREATE TABLE undoes (k TEXT UNIQUE ON CONFLICT ROLLBACK, v INT UNIQUE, w INT NOT NULL ON CONFLICT ROLLBACK);
CREATE TABLE pairs (a INT, b INT, PRIMARY KEY (a, b) ON CONFLICT IGNORE) WITHOUT ROWID;
CREATE TABLE twins (a INT, b INT, c INT, UNIQUE (a, b) ON CONFLICT REPLACE);
CREATE TABLE mixed (a INT UNIQUE ON CONFLICT IGNORE, b INT UNIQUE ON CONFLICT REPLACE);
CREATE TABLE parts (a INT UNIQUE ON CONFLICT FAIL, b INT UNIQUE ON CONFLICT REPLACE);
CREATE TABLE nulls (a INT UNIQUE, b INT NOT NULL ON CONFLICT REPLACE DEFAULT 1 UNIQUE ON CONFLICT REPLACE);
"""

STATEMENTS = (
    "INSERT INTO skips (name) VALUES ('a'), ('b'), ('a')",
    "!INSERT INTO skips (name) VALUES (NULL)",
    "!INSERT INTO skips (name, n) VALUES ('a', 500)",
    "INSERT INTO skips (name) VALUES ('c') RETURNING id",
    "INSERT INTO skips (name) VALUES ('c') RETURNING id",
    "INSERT INTO skips (name) SELECT name || 'x' FROM skips",
    "INSERT INTO skips (name) SELECT name FROM skips",
    "UPDATE skips SET n = 6",
    "!INSERT OR ABORT INTO skips (name) VALUES ('a')",
    "!INSERT OR FAIL INTO skips (name) VALUES ('new'), ('a'), ('newer')",
    "INSERT OR REPLACE INTO skips (name) VALUES ('a')",
    "INSERT INTO skips (name) VALUES ('a') ON CONFLICT (name) DO UPDATE SET n = n + 1",
    "INSERT INTO takes (name) VALUES ('a'), ('b'), ('a')",
    "INSERT INTO takes (name) VALUES ('b')",
    "!INSERT INTO takes (name, n) VALUES ('b', NULL)",
    "INSERT INTO takes (name) SELECT name FROM takes",
    "INSERT INTO takes (id, name) VALUES (NULL, 'b') RETURNING *",
    "UPDATE takes SET name = 'a' WHERE name = 'b'",
    "UPDATE takes SET n = n + 1",
    "INSERT INTO filled VALUES (NULL, 'x', 1), (2, NULL, 2), (NULL, 'y', 3)",
    "!INSERT INTO filled VALUES (NULL, 'x', NULL)",
    "INSERT INTO filled SELECT NULL, b, c FROM filled",
    "INSERT INTO filled SELECT nullif(a, 3), nullif(b, 'x'), c FROM filled",
    "INSERT INTO filled (b, c) VALUES ('q', 1)",
    "INSERT INTO filled (a, c) VALUES (1, 1)",
    "UPDATE filled SET a = NULL WHERE c = 1",
    "UPDATE filled SET b = NULL WHERE c = 1",
    "!UPDATE filled SET c = NULL WHERE c = 1",
    "INSERT INTO keyed VALUES ('a', 1), ('b', 2), ('a', 3)",
    "INSERT INTO keyed VALUES ('a', 9) ON CONFLICT (k) DO UPDATE SET v = v + excluded.v",
    "INSERT INTO keyed VALUES ('a', 9) ON CONFLICT DO NOTHING",
    "INSERT OR IGNORE INTO keyed VALUES ('a', 99)",
    "UPDATE keyed SET k = 'b' WHERE k = 'a'",
    "!INSERT INTO stops VALUES ('a', 1), ('b', 2), ('a', 3), ('c', 4)",
    "!UPDATE stops SET k = 'z'",
    "INSERT INTO pairs VALUES (1, 1), (1, 2), (1, 1)",
    "INSERT INTO twins VALUES (1, 2, 3)",
    "INSERT INTO twins VALUES (1, 2, 4)",
    "INSERT OR IGNORE INTO twins VALUES (1, 2, 5)",
    "INSERT INTO mixed VALUES (1, 1), (1, 2), (2, 1)",
    "INSERT INTO mixed VALUES (2, 5) ON CONFLICT (a) DO UPDATE SET b = 7",
    "INSERT INTO mixed VALUES (3, 7) ON CONFLICT (a) DO NOTHING",
    "!INSERT INTO skips (id, name) SELECT max(id), 'new' FROM skips",
    "INSERT INTO skips (id, name) VALUES (100, 'a')",
    "INSERT INTO undoes VALUES ('a', 1, 1)",
    "BEGIN",
    "INSERT INTO undoes VALUES ('b', 2, 2)",
    "!INSERT INTO undoes VALUES ('c', 2, 2)",
    "!INSERT INTO undoes VALUES ('a', 3, 2)",
    "!COMMIT",
    "BEGIN",
    "INSERT INTO undoes VALUES ('b', 2, 2)",
    "!INSERT INTO undoes VALUES ('c', 3, NULL)",
    "!COMMIT",
    "BEGIN",
    "INSERT INTO undoes VALUES ('d', 2, 2)",
    "!INSERT OR ABORT INTO undoes VALUES ('a', 3, 2)",
    "!UPDATE undoes SET k = 'a'",
    "!COMMIT",
)
TABLES = ("skips", "takes", "filled", "keyed", "stops", "undoes", "pairs", "twins", "mixed")


async def _same(both: World, sql: str) -> None:
    await (both.same_error(sql[1:]) if sql.startswith("!") else both.same(sql))
    for table in TABLES if not sql.startswith("!") or "COMMIT" in sql else ():
        await both.same(f"SELECT * FROM {table} ORDER BY 1, 2")


async def test_a_constraint_says_what_becomes_of_a_conflict(postgres_url: str) -> None:
    async with world(postgres_url, SCHEMA) as both:
        for sql in STATEMENTS:
            await _same(both, sql)
        assert (await both.same("SELECT count(*) FROM undoes")).rows == [(1,)]


@pytest.mark.parametrize(
    ("sql", "match"),
    [
        ("UPDATE mixed SET a = 1, b = 1", "clauses of constraints of the table mixed, which differ"),
        ("UPDATE skips SET name = 'a'", "clauses of constraints of the table skips, which differ"),
        ("INSERT INTO parts VALUES (1, 1), (2, 2)", "clauses of constraints of the table parts, which differ"),
        ("INSERT INTO nulls VALUES (1, 1)", "NOT NULL with an ON CONFLICT clause of its own"),
    ],
)
async def test_clauses_that_differ_are_refused(postgres_url: str, sql: str, match: str) -> None:
    async with world(postgres_url, SCHEMA) as both:
        with pytest.raises(StatementError, match=match):
            await both.on_postgres(sql)


async def test_or_ignore_beside_on_conflict_is_for_the_other_constraints(postgres_url: str) -> None:
    schema = "CREATE TABLE u (a INTEGER PRIMARY KEY, b TEXT UNIQUE NOT NULL, c INT CHECK (c < 9))"
    async with world(postgres_url, schema) as both:
        for sql in (
            "INSERT OR IGNORE INTO u VALUES (1, 'a', 1), (2, 'b', 2) ON CONFLICT (b) DO NOTHING",
            "INSERT OR IGNORE INTO u VALUES (1, 'z', 1), (3, NULL, 3), (4, 'd', 99), (5, 'a', 5), (6, 'f', 6) "
            "ON CONFLICT (b) DO NOTHING",
            "INSERT OR IGNORE INTO u (b, c) VALUES ('a', 5), ('x', 99), ('q', 1) "
            "ON CONFLICT (b) DO UPDATE SET c = c + 1",
            "INSERT OR ABORT INTO u (b, c) VALUES ('a', 5) ON CONFLICT (b) DO UPDATE SET c = c + 1",
        ):
            await both.same(sql)
            await both.same("SELECT * FROM u ORDER BY a")
        await both.same("INSERT OR IGNORE INTO u VALUES (1, 'a', 5), (1, 'w', 6) ON CONFLICT (b) DO UPDATE SET c = 1")
        await both.same("SELECT * FROM u ORDER BY a")
        for sql in (
            "INSERT OR IGNORE INTO u VALUES (9, 'a', 5) ON CONFLICT (b) DO UPDATE SET c = 99",
            "INSERT OR IGNORE INTO u VALUES (9, 'a', 99) ON CONFLICT (b) DO UPDATE SET c = 1",
        ):
            await both.refused(sql, "DO UPDATE of a row that a CHECK or NOT NULL forbids")
        await both.same_error("INSERT OR IGNORE INTO u VALUES (9, 'a', 5) ON CONFLICT (b) DO UPDATE SET b = 'b'")
