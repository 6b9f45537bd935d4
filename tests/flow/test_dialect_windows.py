"""Windows whose ORDER BY leaves ties: rows come as the windows behind and SQLite's reading give them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.flow.dialect_world import World, world

SCHEMA = """
CREATE TABLE down (id INTEGER PRIMARY KEY, g TEXT, v INTEGER, r REAL);
CREATE INDEX down_v ON down (v DESC);
CREATE TABLE mixed (id INTEGER PRIMARY KEY, g TEXT, v INTEGER, r REAL);
CREATE INDEX mixed_gv ON mixed (g DESC, v);
CREATE TABLE shares (id INTEGER PRIMARY KEY, n DECIMAL);
"""

DATA = (
    "INSERT INTO down VALUES (1,'b',3,1),(2,'a',1,2.5),(3,'b',NULL,3),(4,'a',3,0),(5,'c',2,-1),(6,'b',1,7)",
    "INSERT INTO mixed SELECT * FROM down",
    "INSERT INTO shares (n) VALUES (1), (2.5), (3), (4), (5)",
)

WINDOWS = [
    "SELECT id, group_concat(id) OVER (win ROWS 1 PRECEDING) FROM down WINDOW win AS (PARTITION BY g)",
    "SELECT id, group_concat(id) OVER (win ORDER BY v) FROM down WINDOW win AS (PARTITION BY g) ORDER BY id",
    "SELECT id, row_number() OVER win FROM down WINDOW base AS (PARTITION BY g), win AS (base ORDER BY v) ORDER BY id",
    "SELECT id, row_number() OVER (ORDER BY v) FROM down",
    "SELECT * FROM (SELECT id, sum(v) OVER (PARTITION BY v > 2 ORDER BY v DESC ROWS 1 PRECEDING) FROM down)",
    "SELECT id, row_number() OVER (ORDER BY v DESC) FROM down",
    "SELECT id, row_number() OVER (ORDER BY g) FROM mixed",
    "SELECT id, row_number() OVER (PARTITION BY g) FROM mixed",
    "SELECT id, lag(id) OVER (PARTITION BY g ORDER BY v DESC) FROM mixed",
    "SELECT id, first_value(id) OVER (ORDER BY v) FROM down",
    "SELECT id, last_value(id) OVER (ORDER BY v), nth_value(id, 2) OVER (ORDER BY v) FROM down",
    "SELECT id, group_concat(id) OVER (ORDER BY v DESC) FROM down",
    "SELECT id, row_number() OVER (ORDER BY r), row_number() OVER (ORDER BY v), count(*) OVER (ORDER BY g) FROM down",
    "SELECT id, row_number() OVER (ORDER BY v) AS a, row_number() OVER (ORDER BY r, id) AS b FROM down ORDER BY a",
    "SELECT id, row_number() OVER (ORDER BY v) AS a, row_number() OVER (ORDER BY g) AS b FROM mixed ORDER BY 3, 2",
    "SELECT sum(n) OVER w, sum(n) FILTER (WHERE id > 2) OVER w FROM shares WINDOW w AS (ORDER BY id ROWS 1 PRECEDING)",
    "SELECT id, first_value(id) OVER (ORDER BY v GROUPS 1 PRECEDING) FROM down",
    "SELECT id, first_value(id) OVER (ORDER BY g RANGE BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING) FROM mixed",
    "SELECT id, first_value(id) OVER (ORDER BY v ROWS UNBOUNDED PRECEDING EXCLUDE TIES) FROM down",
    "SELECT id, sum(id) OVER (ORDER BY g ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING EXCLUDE GROUP) FROM down",
    "SELECT id FROM down WHERE id IN (SELECT id FROM down ORDER BY g LIMIT 2)",
    "SELECT id, row_number() OVER w1, lag(id) OVER w2 FROM down WINDOW w1 AS (ORDER BY v), w2 AS (PARTITION BY g)",
]


@pytest.fixture
async def both(postgres_url: str) -> AsyncIterator[World]:
    async with world(postgres_url, SCHEMA, data=DATA) as made:
        yield made


async def test_ties_in_windows_come_as_on_sqlite(both: World) -> None:
    for sql in WINDOWS:
        await both.same(sql, ordered=True)


async def test_reals_come_back_as_they_are_kept(both: World) -> None:
    for sql in (
        "INSERT INTO down (r) VALUES (1), (2.5), (-0.0), (1e15) RETURNING r, r / 2, typeof(r), r AS again",
        "UPDATE down SET r = r + 1 RETURNING *",
        "INSERT INTO down (id, r) VALUES (1, 5) ON CONFLICT (id) DO UPDATE SET r = excluded.r + 2 RETURNING r",
        "DELETE FROM down WHERE id < 3 RETURNING r",
        "INSERT INTO down (id, r) VALUES (20, 1e19) RETURNING id, r",
    ):
        await both.same(sql)


async def test_a_statement_that_failed_changed_nothing(both: World) -> None:
    await both.same("UPDATE down SET g = 'x' WHERE id < 3")
    await both.same_error("INSERT INTO down (id) VALUES (3)")
    await both.same("SELECT changes()")
    for sql in ('ROLLBACK TO "Not There"', "RELEASE Neither"):
        await both.same_error(sql)
    await both.same("SAVEPOINT One")
    await both.same_error("RELEASE Two")
    await both.same("RELEASE ONE")
