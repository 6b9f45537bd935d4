"""LIMIT over rows in ties, of tables whose order SQLite alone knows: the same rows, or an error if it cuts."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from cutover.errors import StatementError
from cutover.settings import FrontSettings, PostgresSettings, Settings
from tests.flow.dialect_world import World, world

SCHEMA = """
CREATE TABLE users (
    id TEXT NOT NULL PRIMARY KEY, name TEXT, team INTEGER, email TEXT NOT NULL UNIQUE, code TEXT UNIQUE
);
CREATE INDEX by_team ON users (team);
CREATE VIEW members AS SELECT id, name FROM users WHERE team > 0;
CREATE TABLE orders (id INTEGER PRIMARY KEY, user TEXT, total INTEGER);
CREATE VIEW large AS SELECT id, total FROM orders WHERE total > 5;
CREATE TABLE tags (
    id TEXT NOT NULL PRIMARY KEY, label TEXT NOT NULL UNIQUE, slug TEXT NOT NULL COLLATE NOCASE,
    mail TEXT NOT NULL COLLATE NOCASE UNIQUE
);
CREATE UNIQUE INDEX by_slug ON tags (slug COLLATE BINARY);
"""
DATA = (
    "INSERT INTO users VALUES ('c', 'cc', 1, 'c@', NULL), ('a', 'aa', 1, 'a@', NULL), ('b', 'bb', 2, 'b@', 'x'),"
    " ('d', 'dd', 2, 'd@', 'y')",
    "INSERT INTO orders VALUES (1, 'b', 10), (2, 'a', 20), (3, 'c', 20), (4, 'a', 5)",
    "UPDATE users SET name = name || '' WHERE id = 'c'",
    "INSERT INTO tags VALUES ('b', 'X', 's', 'm'), ('a', 'x', 'S', 'n')",
)
"""The rows are not in the order of the key, and one has moved behind others on Postgres."""
WITHOUT = PostgresSettings(rowid="drop")
"""Postgres does not have the rowid that SQLite reads by."""


@pytest.fixture
async def both(postgres_url: str) -> AsyncIterator[World]:
    async with world(postgres_url, SCHEMA, data=DATA, settings=Settings(postgres=WITHOUT)) as made:
        yield made


WHOLE = [
    "SELECT * FROM users LIMIT 4",
    "SELECT * FROM users LIMIT 10 OFFSET 0",
    "SELECT * FROM users LIMIT -1",
    "SELECT * FROM users LIMIT 0",
    "SELECT * FROM users WHERE team = 1 LIMIT 2",
    "SELECT DISTINCT name FROM users LIMIT 4",
    "SELECT name FROM users UNION ALL SELECT name FROM users LIMIT 8",
    "SELECT 1 AS a FROM users LIMIT 1",
    "SELECT id FROM orders WHERE EXISTS (SELECT name FROM users WHERE users.id = orders.user LIMIT 1)",
    "SELECT id FROM orders WHERE user IN (SELECT id FROM users WHERE team = 1 LIMIT 2)",
    "SELECT count(*) FROM (SELECT * FROM users LIMIT 3)",
    "SELECT count(*) > 0, count() + 1 FROM (SELECT * FROM users LIMIT 3)",
    "SELECT count(counted) FROM (SELECT id AS counted FROM users LIMIT 3)",
    "SELECT count(ID), count(email), max(1) FROM (SELECT * FROM users LIMIT 3) AS s",
    "SELECT EXISTS (SELECT name FROM (SELECT * FROM users LIMIT 1))",
    "SELECT (SELECT name FROM users WHERE code = orders.total), (SELECT team FROM users WHERE name = 'cc') FROM orders",
    "SELECT * FROM (SELECT * FROM users LIMIT 9) WHERE team = 2",
    "SELECT * FROM users WHERE id = 'a' LIMIT 1",
    "SELECT * FROM users WHERE email = 'a@' LIMIT 1",
    "SELECT * FROM users WHERE name = 'aa' LIMIT 1",
    "SELECT * FROM users WHERE code IS NULL LIMIT 2",
    "SELECT * FROM tags WHERE label = 'x' COLLATE BINARY LIMIT 1",
    "SELECT * FROM tags WHERE slug = 's' COLLATE BINARY LIMIT 1",
    "SELECT * FROM tags WHERE mail = 'M' LIMIT 1",
]
SORTED = [
    "SELECT * FROM users ORDER BY id LIMIT 2",
    "SELECT * FROM users ORDER BY name DESC LIMIT 2 OFFSET 1",
    "SELECT id, team FROM users ORDER BY team, id LIMIT 1",
    "SELECT * FROM users ORDER BY team DESC, name LIMIT 1 OFFSET 2",
    "SELECT team FROM users ORDER BY team DESC LIMIT 1",
    "SELECT team, 1 FROM users WHERE team = 1 ORDER BY team LIMIT 1",
    "SELECT * FROM members ORDER BY name LIMIT 2",
    "SELECT DISTINCT team FROM users ORDER BY team LIMIT 1",
    "SELECT DISTINCT name FROM users ORDER BY lower(name) DESC LIMIT 2",
    "SELECT DISTINCT name, code FROM users ORDER BY code IS NULL, code, upper(name)",
    "SELECT team, count(*) FROM users GROUP BY team ORDER BY team LIMIT 1",
    "SELECT name, team FROM users UNION ALL SELECT name, team FROM users ORDER BY 1, 2 LIMIT 2",
    "SELECT orders.id, name FROM orders JOIN users ON users.id = user ORDER BY total DESC LIMIT 1",
    "SELECT orders.id, name FROM orders JOIN users ON users.id = user ORDER BY total LIMIT 3",
    "SELECT orders.id, (SELECT name FROM users WHERE team = orders.id ORDER BY name LIMIT 1) FROM orders ORDER BY 1",
    "SELECT orders.id, name FROM orders LEFT JOIN users ON team = orders.id ORDER BY orders.id, name LIMIT 3",
]
CUT = [
    "SELECT * FROM users LIMIT 2",
    "SELECT * FROM users LIMIT 2 OFFSET 2",
    "SELECT * FROM users LIMIT -1 OFFSET 1",
    "SELECT * FROM users ORDER BY team LIMIT 1",
    "SELECT * FROM users WHERE team = 1 LIMIT 1",
    "SELECT * FROM users WHERE code IS NULL LIMIT 1",
    "SELECT * FROM (SELECT * FROM users) LIMIT 2",
    "SELECT * FROM (SELECT * FROM users LIMIT 2)",
    "SELECT * FROM members LIMIT 1",
    "SELECT * FROM tags WHERE label = 'x' COLLATE NOCASE LIMIT 1",
    "SELECT * FROM tags WHERE slug = 's' LIMIT 1",
    "SELECT DISTINCT name FROM users LIMIT 1",
    "SELECT count(code) FROM (SELECT * FROM users LIMIT 2)",
    "SELECT count(*), max(id) FROM (SELECT * FROM users LIMIT 2)",
    "SELECT count(*) FILTER (WHERE team = 1) FROM (SELECT * FROM users LIMIT 2)",
    "SELECT count(email || code) FROM (SELECT * FROM users LIMIT 2)",
    "SELECT DISTINCT name, team FROM users ORDER BY team LIMIT 1",
    "SELECT DISTINCT name FROM users ORDER BY length(name) LIMIT 1",
    "SELECT name FROM users UNION ALL SELECT name FROM users LIMIT 3",
    "SELECT name, team FROM users UNION ALL SELECT name, team FROM users ORDER BY 2 LIMIT 1",
    "WITH c AS (SELECT * FROM users) SELECT name FROM c LIMIT 1",
    "SELECT id FROM orders WHERE user IN (SELECT id FROM users ORDER BY team LIMIT 1)",
    "SELECT (SELECT name FROM users WHERE team = orders.id LIMIT 1) FROM orders",
    "SELECT (SELECT name FROM users WHERE team = orders.id) FROM orders",
    "INSERT INTO orders (user) SELECT name FROM users LIMIT 1",
]


async def test_a_limit_that_does_not_cut_gives_the_same_rows(both: World) -> None:
    await both.all_same(WHOLE)


async def test_one_that_cuts_where_rows_are_told_apart_gives_them_in_order(both: World) -> None:
    await both.all_same(SORTED)


@pytest.mark.parametrize("sql", CUT)
async def test_one_that_cuts_between_rows_in_ties_is_an_error(both: World, sql: str) -> None:
    both.on_sqlite(sql)
    await both.refused(sql, "LIMIT between rows that ORDER BY does not tell apart")


async def test_a_limit_within_is_no_other_where_the_plan_tells_of_one_table_under_one_name_twice(both: World) -> None:
    joined = "SELECT orders.id, large.id FROM large JOIN orders ON large.total = orders.total"
    for sql in (
        f"{joined} LIMIT 2",
        f"SELECT * FROM ({joined} LIMIT 2)",
        f"WITH q AS ({joined}) SELECT * FROM q LIMIT 2",
    ):
        both.on_sqlite(sql)
        await both.refused(sql, "LIMIT between rows that ORDER BY does not tell apart")
    await both.same(f"SELECT * FROM ({joined} LIMIT 9)")
    await both.same(f"SELECT * FROM ({joined} ORDER BY orders.id, large.id LIMIT 2)", ordered=True)


async def test_an_argument_decides_where_it_cuts(both: World) -> None:
    sql = "SELECT id FROM users WHERE name > '' ORDER BY team LIMIT ? OFFSET ?"
    for limit, offset in ((2, 0), (2, 2), (4, 0), (-1, 2), (9, 9), (1 << 62, 0), (2, -3), (9223372036854775807, 0)):
        await both.same(sql, limit, offset, ordered=False)
    for limit, offset in ((1, 0), (3, 0), (1, 1), (-1, 3), (2, 1)):
        with pytest.raises(Exception, match="does not tell apart"):
            await both.on_postgres(sql, limit, offset)


async def test_any_of_them_are_taken_where_the_settings_say_so(postgres_url: str) -> None:
    settings = Settings(front=FrontSettings(limit_ties="any"), postgres=WITHOUT)
    async with world(postgres_url, SCHEMA, data=DATA, settings=settings) as both:
        for sql in CUT:
            expected, found = both.on_sqlite(sql), await both.on_postgres(sql)
            assert len(found.rows) == len(expected.rows), sql


async def test_none_is_an_error_where_postgres_has_the_rowids(postgres_url: str) -> None:
    async with world(postgres_url, SCHEMA, data=DATA) as both:
        await both.all_same([*WHOLE, *SORTED, *CUT], ordered=True)
        await both.all_same(["SELECT * FROM users ORDER BY team, team LIMIT 1"], ordered=True)


async def test_without_them_nobody_can_ask_for_one(both: World) -> None:
    await both.refused("SELECT rowid FROM users", "hidden rowid of table users")
    await both.refused("UPDATE OR IGNORE users SET email = 'b@'", "only SQLite knows")
    await both.refused("UPDATE OR REPLACE users SET id = 'z'", "only SQLite knows")
    await both.refused("DELETE FROM users LIMIT 1", "only SQLite knows")


async def test_distinct_rows_of_queries_whose_order_is_not_told(postgres_url: str) -> None:
    """Postgres finds equal rows by a hash, so what LIMIT would take of them is anything."""
    again = "SELECT t.id + 1, total FROM orders AS o JOIN t ON o.id = t.id + 1"
    found = f"(WITH RECURSIVE t(id, n) AS (SELECT 1, 20 UNION ALL {again}) SELECT * FROM t) AS x"
    joined = "(SELECT total FROM orders) AS a JOIN (SELECT id FROM orders) AS b ON a.total > b.id"
    async with world(postgres_url, SCHEMA, data=DATA) as both:
        for sql in (
            f"SELECT DISTINCT x.id FROM {found} LIMIT 2",
            f"SELECT DISTINCT n, x.id FROM {found} ORDER BY 1 DESC LIMIT 2",
            f"SELECT DISTINCT a.total FROM {joined} LIMIT 1",
        ):
            with pytest.raises(StatementError, match="LIMIT between rows"):
                await both.on_postgres(sql)
        await both.same(f"SELECT DISTINCT x.id FROM {found} LIMIT 9")
        await both.same(f"SELECT DISTINCT n, x.id FROM {found} ORDER BY 1, 2 LIMIT 2")
        await both.same(f"SELECT DISTINCT a.total FROM {joined} ORDER BY 1 LIMIT 1")


JOINED = """
CREATE TABLE a (id INTEGER PRIMARY KEY, k INTEGER, s TEXT);
CREATE TABLE b (id INTEGER PRIMARY KEY, k INTEGER, s TEXT);
CREATE TABLE c (k INTEGER, s TEXT);
CREATE VIEW pairs AS SELECT a.k, b.s FROM a FULL JOIN b ON b.k = a.k FULL JOIN c ON c.k = b.k;
"""
TO_JOIN = (
    "INSERT INTO a VALUES (1, 1, 'x'), (2, 1, 'y'), (3, 2, 'z'), (4, 9, 'u')",
    "INSERT INTO b VALUES (1, 3, 'x'), (2, 2, 'x'), (3, 1, 'z'), (4, 1, 'w')",
    "INSERT INTO c VALUES (1, 'p'), (1, 'q'), (4, 'r')",
)
OUTER = "a FULL JOIN b ON b.k = a.k FULL JOIN c ON c.k = b.k"


@pytest.mark.parametrize("rows", ["some", "all"])
async def test_rows_of_outer_joins_and_of_queries_beside_others(postgres_url: str, rows: str) -> None:
    limit = 2 if rows == "some" else 50
    async with world(postgres_url, JOINED, data=TO_JOIN) as both:
        for sql in (
            f"SELECT a.id, b.s FROM {OUTER} UNION ALL SELECT k, s FROM b LIMIT {limit}",
            f"SELECT DISTINCT q.s, b.s FROM pairs AS q CROSS JOIN b LIMIT {limit}",
            f"SELECT a.id, q.s FROM pairs AS q JOIN a ON a.k = q.k UNION ALL SELECT k, s FROM b LIMIT {limit}",
        ):
            if rows == "all":
                await both.same(sql)
            else:
                with pytest.raises(StatementError, match="LIMIT between rows that ORDER BY does not tell apart"):
                    await both.on_postgres(sql)


async def test_a_column_beside_aggregates_whose_row_only_sqlite_knows(postgres_url: str) -> None:
    async with world(postgres_url, JOINED, data=TO_JOIN) as both:
        for column in ("a.id", "b.s", "c.s"):
            for aggregate in ("count(*)", "max(a.k)"):
                with pytest.raises(StatementError, match="A column beside aggregates that is not grouped by"):
                    await both.on_postgres(f"SELECT a.k, {column}, {aggregate} FROM {OUTER} GROUP BY a.k")
        await both.all_same(
            [
                f"SELECT a.id, a.s, count(*) FROM {OUTER} WHERE a.k > 0 GROUP BY a.id",
                f"SELECT a.k, b.k, max(a.id), a.s FROM {OUTER} WHERE a.k < 9 GROUP BY a.k",
                f"SELECT b.k, b.s, sum(a.k) FROM {OUTER} GROUP BY b.id",
                "SELECT a.k, b.s, count(*) FROM a JOIN b ON b.k = a.k GROUP BY a.k",
            ]
        )


async def test_an_offset_over_distinct_rows_for_one_value(both: World) -> None:
    await both.refused("SELECT (SELECT DISTINCT team FROM users LIMIT 1 OFFSET 1)", "OFFSET over DISTINCT rows")
    await both.refused("SELECT EXISTS (SELECT DISTINCT team FROM users LIMIT 1 OFFSET 1)", "OFFSET over DISTINCT rows")
    await both.same("SELECT count(*) FROM (SELECT DISTINCT team FROM users LIMIT 1 OFFSET 1)")
    await both.same("SELECT (SELECT DISTINCT total FROM orders LIMIT 1)")


IN_ROWS = (
    "row_number() OVER (ORDER BY a.k)",
    "row_number() OVER ()",
    "ntile(2) OVER (ORDER BY a.k)",
    "lag(b.s) OVER (ORDER BY a.k)",
    "first_value(c.s) OVER (PARTITION BY a.k)",
    "last_value(b.id) OVER (ORDER BY a.k)",
    "group_concat(b.s) OVER (ORDER BY a.k)",
    "sum(b.id) OVER (ORDER BY a.k ROWS UNBOUNDED PRECEDING)",
)


@pytest.mark.parametrize("joined", [OUTER, "a, (SELECT s, k FROM c ORDER BY s) AS c, b"])
async def test_windows_among_rows_of_which_only_sqlite_knows_the_order(postgres_url: str, joined: str) -> None:
    async with world(postgres_url, JOINED, data=TO_JOIN) as both:
        for window in IN_ROWS:
            with pytest.raises(StatementError, match="A window that goes by the order of rows"):
                await both.on_postgres(f"SELECT a.k, b.id, c.s, {window} AS n FROM {joined}")
        with pytest.raises(StatementError, match="LIMIT between rows that ORDER BY does not tell apart"):
            await both.on_postgres(f"SELECT b.id, c.s, rank() OVER (ORDER BY a.k) FROM {joined} ORDER BY a.k LIMIT 1")
        told = [window.replace("a.k)", "a.k, a.id, b.id, c.s, c.k)") for window in IN_ROWS if "BY a.k)" in window]
        alike = [window.replace("b.id", "a.k").replace("b.s", "a.k").replace("c.s", "a.k") for window in IN_ROWS]
        by_peers = ("rank() OVER (ORDER BY a.k)", "count(*) OVER ()", "sum(b.id) OVER (ORDER BY a.k)")
        found = [f"SELECT a.k, b.id, c.s, {window} FROM {joined}" for window in (*told, *by_peers)]
        found += [f"SELECT a.k, {window} FROM {joined} WHERE a.k = 1" for window in alike]
        await both.all_same(found, ordered=False)


async def test_windows_over_rows_that_nothing_was_joined_to(postgres_url: str) -> None:
    async with world(postgres_url, JOINED, data=TO_JOIN) as both:
        for join in ("FULL", "RIGHT"):
            joined = f"a {join} JOIN b ON b.k = a.k"
            await both.all_same(f"SELECT a.id, b.id, {window.replace('c.', 'a.')} FROM {joined}" for window in IN_ROWS)


async def test_any_order_will_do_for_windows(postgres_url: str) -> None:
    settings = Settings(front=FrontSettings(limit_ties="any"))
    async with world(postgres_url, JOINED, data=TO_JOIN, settings=settings) as both:
        answer = await both.on_postgres(f"SELECT row_number() OVER (ORDER BY a.k) FROM {OUTER}")
        assert sorted(row[0] for row in answer.rows) == list(range(1, len(answer.rows) + 1))


async def test_a_where_around_passes_over_no_row_in_ties(both: World) -> None:
    await both.refused("SELECT id FROM (SELECT * FROM users LIMIT 2) WHERE id = 'c'", "LIMIT between rows")
    await both.refused("SELECT q.id FROM (SELECT * FROM users LIMIT 2) AS q JOIN orders ON user = q.id", "LIMIT b")


async def test_distinct_rows_of_windows_in_ties(postgres_url: str) -> None:
    sql = "SELECT DISTINCT a.k, b.id, row_number() OVER (ORDER BY a.s) AS n FROM a, b ORDER BY 1 DESC"
    async with world(postgres_url, JOINED, data=TO_JOIN) as both:
        await both.refused(f"{sql} LIMIT 2", "LIMIT between rows")
        await both.same(f"{sql} LIMIT 4", ordered=False)
        await both.same(f"{sql}, n LIMIT 2")
