"""PRAGMA foreign_keys = OFF where Postgres's role may not put its foreign keys aside: nothing happens unheard of."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import asyncpg
import pytest

from cutover.errors import StatementError
from cutover.settings import Settings
from tests.flow.dialect_world import World, world

SCHEMA = """
CREATE TABLE parents (id INTEGER PRIMARY KEY, code TEXT UNIQUE, n INTEGER);
CREATE TABLE pairs (a INTEGER, b INTEGER, PRIMARY KEY (a, b));
CREATE TABLE singles (a INTEGER, b INTEGER,
                      FOREIGN KEY (a, b) REFERENCES pairs (a, b) ON UPDATE SET NULL ON DELETE CASCADE);
CREATE TABLE children (id INTEGER PRIMARY KEY, parent INTEGER REFERENCES parents (id) ON DELETE CASCADE,
                       code TEXT REFERENCES parents (code) ON UPDATE CASCADE);
"""
DATA = ("INSERT INTO parents VALUES (1, 'a', 1), (2, 'b', 2)", "INSERT INTO children VALUES (1, 1, 'a'), (2, 2, NULL)")
REBUILD = """PRAGMA foreign_keys = OFF
BEGIN
CREATE TABLE made (id INTEGER PRIMARY KEY, code TEXT UNIQUE, n TEXT)
INSERT INTO made SELECT * FROM parents
DROP TABLE parents
ALTER TABLE made RENAME TO parents
COMMIT
PRAGMA foreign_key_check
SELECT * FROM parents
PRAGMA foreign_keys = ON"""


@pytest.fixture
async def both(postgres_url: str) -> AsyncIterator[World]:
    role = "plain_" + postgres_url.rpartition("test_")[2][:8]
    connection = await asyncpg.connect(postgres_url)
    try:
        await connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{role}'; GRANT CREATE ON SCHEMA public TO {role}")
        database = await connection.fetchval("SELECT format('%I', current_database())")
        await connection.execute(f"GRANT CREATE ON DATABASE {database} TO {role}")
        place = urlsplit(postgres_url)
        theirs = place._replace(netloc=f"{role}:{role}@{place.netloc.rpartition('@')[2]}").geturl()
        async with world(theirs, SCHEMA, settings=Settings(), data=DATA, store=True) as made:
            yield made
    finally:
        await connection.execute(f"DROP OWNED BY {role} CASCADE; DROP ROLE {role}")
        await connection.close()


async def test_a_key_that_would_act_is_refused(both: World) -> None:
    await both.same("PRAGMA foreign_keys = OFF")
    for sql in (
        "DELETE FROM parents WHERE id = 1",
        "REPLACE INTO parents VALUES (1, 'a', 5)",
        "UPDATE parents SET code = 'c' WHERE id = 1",
        "UPDATE parents SET n = 1, (n, code) = (2, 'x')",
        "DELETE FROM pairs",
        "UPDATE pairs SET b = 3",
    ):
        await both.refused(sql, r"under PRAGMA foreign_keys = OFF.* GRANT SET ON PARAMETER")
    await both.same("UPDATE parents SET n = n + 1")
    await both.same("DELETE FROM children WHERE id = 2")
    await both.same("INSERT INTO parents VALUES (3, 'c', 3)")
    await both.same("SELECT * FROM children")
    with pytest.raises(StatementError, match=re.escape("FOREIGN KEY constraint failed: PostgreSQL goes on checking")):
        await both.on_postgres("INSERT INTO children (parent) VALUES (77)")
    await both.same("PRAGMA foreign_keys = ON")
    await both.same_error("INSERT INTO children (parent) VALUES (77)")
    await both.same("DELETE FROM parents WHERE id = 1")
    await both.same("SELECT * FROM children")


async def test_a_table_is_rebuilt_all_the_same(both: World) -> None:
    for sql in REBUILD.splitlines():
        await both.same(sql)
    await both.same("DELETE FROM parents WHERE id = 2")
    await both.same("SELECT * FROM children")
