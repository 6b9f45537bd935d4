"""SELECT in its shapes: joins, subqueries, compounds, CTEs. Postgres answers as SQLite does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from cutover.errors import StatementError
from tests.flow.dialect_world import World, world

SCHEMA = """
CREATE TABLE a (id INTEGER PRIMARY KEY, x INTEGER, n TEXT);
CREATE TABLE b (id INTEGER PRIMARY KEY, x INTEGER, m TEXT COLLATE NOCASE);
CREATE TABLE c (id INTEGER PRIMARY KEY, x INTEGER, m TEXT);
"""

DATA = (
    "INSERT INTO a VALUES (1, 1, 'a'), (2, 2, 'b'), (3, NULL, 'c'), (4, 4, 'd')",
    "INSERT INTO b VALUES (1, 1, 'A'), (2, 3, 'B'), (3, NULL, 'c'), (5, 4, 'D')",
    "INSERT INTO c VALUES (1, 1, 'a'), (2, 3, 'x'), (6, 9, 'c'), (7, 5, 'd')",
)


@pytest.fixture
async def both(postgres_url: str) -> AsyncIterator[World]:
    async with world(postgres_url, SCHEMA, data=DATA) as made:
        yield made


JOINS = [
    "SELECT * FROM a RIGHT JOIN b USING (x)",
    "SELECT * FROM a FULL JOIN b USING (x)",
    "SELECT x, a.x, b.x FROM a FULL JOIN b USING (x)",
    "SELECT * FROM a NATURAL FULL JOIN b",
    "SELECT * FROM a NATURAL LEFT JOIN b NATURAL LEFT JOIN c",
    "SELECT * FROM a FULL JOIN b USING (id) FULL JOIN c USING (id)",
    "SELECT id FROM a FULL JOIN b USING (id) LEFT JOIN c USING (id)",
    "SELECT id FROM a RIGHT JOIN b USING (id) FULL JOIN c USING (id) WHERE id > 2",
    "SELECT * FROM a LEFT JOIN (b JOIN c ON b.x = c.x) ON a.x = b.x",
    "SELECT * FROM a, (b, c) WHERE a.x = b.x AND c.id = 1",
    "SELECT a.id, b.id FROM a LEFT JOIN (b NATURAL JOIN c) USING (id)",
    "SELECT * FROM (a)",
    "SELECT z.id FROM (a) AS z",
    "SELECT * FROM (a JOIN b USING (id)) LEFT JOIN c ON c.id = b.id",
    "SELECT count(*) FROM a, a",
    "SELECT * FROM (SELECT max(x) FROM a)",
    "SELECT * FROM (SELECT 345 UNION ALL SELECT x FROM a)",
    "SELECT * FROM (SELECT x, x FROM a)",
    "SELECT * FROM ((SELECT 1 AS id) AS q JOIN b ON q.id = b.id)",
    "SELECT * FROM ((a))",
    "SELECT * FROM a JOIN ((b) JOIN c USING (id)) USING (id)",
    "SELECT * FROM a FULL JOIN b ON a.n = b.m",
    "SELECT * FROM a FULL JOIN b ON 1",
    "SELECT * FROM a RIGHT JOIN b ON a.x = b.x RIGHT JOIN c ON c.x = b.x",
    "SELECT * FROM a CROSS JOIN b USING (id)",
    "SELECT * FROM a AS t JOIN (SELECT id, count(*) AS n FROM b GROUP BY id) AS u ON u.id = t.id",
    "SELECT b.* FROM a RIGHT JOIN b USING (x)",
    "SELECT a.*, x FROM a FULL JOIN b USING (x)",
    "SELECT * FROM a, b ON a.x = b.x WHERE a.id IN (1, 2)",
    "SELECT a.id, a.x + 1 AS more, b.m FROM a LEFT JOIN b ON b.id = more",
    "SELECT * FROM a, b AS z USING (id), c ON c.x = z.x",
    "SELECT a.id, b.id FROM a LEFT JOIN (b, c ON c.x = b.x) ON a.x = b.x",
    "SELECT max(s.id, 2) FROM (SELECT a.id FROM a, b ON b.id = a.id) AS s, c ON 1",
]


async def test_joins(both: World) -> None:
    await both.all_same(JOINS)


NAMED = [
    "SELECT (SELECT m AS n FROM b WHERE n = 'a' LIMIT 1) FROM a",
    "SELECT id, (SELECT b.id + x AS n FROM b WHERE n > 2 ORDER BY n LIMIT 1) FROM a",
    "SELECT (SELECT upper(n) AS n FROM b LIMIT 1) FROM a",
    "SELECT (SELECT max(n) AS n FROM b) FROM a",
    "SELECT (SELECT max(n) || 'x' AS n FROM b WHERE m = 'A') FROM a",
    "SELECT id FROM a WHERE ('A', 'a') IN (SELECT 'A' AS n, n FROM b)",
    "SELECT id, (SELECT count(b.id) AS id FROM b) FROM a",
    "SELECT upper(n) AS u, length(n) AS l FROM a WHERE l = 1 AND u > 'A' ORDER BY u",
    "SELECT count(x) AS k FROM a HAVING k > 2 ORDER BY k",
]


async def test_a_name_that_as_gives_is_none_within_the_columns_of_the_result(both: World) -> None:
    await both.all_same(NAMED)


KEYLESS = """
CREATE TABLE one (a INTEGER, b INTEGER);
CREATE TABLE two (b INTEGER, c INTEGER);
CREATE TABLE three (c INTEGER, d INTEGER);
"""


async def test_natural_joins_do_not_share_hidden_rowids(postgres_url: str) -> None:
    data = (
        "INSERT INTO one VALUES (1, 11), (2, 22), (3, 33)",
        "INSERT INTO two VALUES (11, 111), (33, 333), (44, 444)",
        "INSERT INTO three VALUES (111, 1111), (444, 4444)",
    )
    async with world(postgres_url, KEYLESS, data=data) as both:
        await both.all_same(
            [
                "SELECT * FROM one NATURAL JOIN two NATURAL LEFT OUTER JOIN three",
                "SELECT * FROM one NATURAL JOIN two",
                "SELECT * FROM two NATURAL FULL JOIN three",
            ],
        )


GROUPS = [
    "SELECT id, CASE (id, n) WHEN (1, 'a') THEN 'one' WHEN (2, NULL) THEN 'no' WHEN (2, 'b') THEN 'two' END FROM a",
    "SELECT max(DISTINCT - x) FROM a",
    "SELECT n, max(nullif(x, x)) FROM a",
    "SELECT id % 2, n, min(nullif(x, 2)), (SELECT n) FROM a GROUP BY 1",
    "SELECT n, max(nullif(x, x)) FILTER (WHERE id > 9) FROM a",
    "SELECT *, max(x) FROM a WHERE x IS NULL OR x > 2 GROUP BY x",
    "SELECT n, min(DISTINCT x + 1) FROM a",
]


async def test_groups(both: World) -> None:
    await both.all_same(GROUPS)


COLLATIONS = [
    "SELECT * FROM (SELECT 'A' AS t UNION ALL SELECT m FROM b) WHERE t = 'b'",
    "SELECT * FROM (SELECT 'A' AS t UNION SELECT m FROM b) WHERE t = 'd'",
    "SELECT * FROM (SELECT m AS t FROM b UNION ALL SELECT 'A') WHERE t = 'a'",
    "WITH s (t) AS (SELECT n FROM a UNION ALL SELECT m FROM b) SELECT t, count(*) FROM s GROUP BY t ORDER BY t",
    "SELECT n FROM a WHERE n || '' IN (SELECT 'A' COLLATE NOCASE UNION SELECT 'B')",
    "SELECT n FROM a WHERE n || '' IN (SELECT 'A' UNION SELECT 'B' COLLATE NOCASE)",
    "SELECT * FROM (VALUES ('A'), ('a' COLLATE NOCASE)) WHERE column1 = 'a'",
    "SELECT * FROM (VALUES ('A' COLLATE NOCASE), ('a')) WHERE column1 = 'a'",
    "VALUES ('A'), ('a' COLLATE NOCASE) UNION VALUES ('b'), ('B')",
    "SELECT id FROM a WHERE x - 1.5 IS TRUE COLLATE NOCASE",
    "SELECT 0.5 IS (TRUE), 0.5 IS NOT TRUE COLLATE NOCASE, NULL IS NOT (FALSE COLLATE BINARY), 2 IS (NOT TRUE)",
]


async def test_where_a_collation_is_seen(both: World) -> None:
    await both.all_same(COLLATIONS)


REFUSED = [
    "SELECT * FROM a FULL JOIN b ON a.x > b.x",
    'SELECT max("max(x)") FROM (SELECT max(x) FROM a)',
    "SELECT * FROM a FULL JOIN (b JOIN c USING (id)) USING (id)",
]


LONG = [
    "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 20000) SELECT max(x) AS m, 1 FROM c",
    "WITH RECURSIVE d(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM d WHERE x < 300) "
    "SELECT count(*) AS total, 1 AS total, min(a.x) FROM d a JOIN d b ON a.x < b.x -- many",
]


async def test_columns_have_their_names_however_long_a_statement_runs(both: World) -> None:
    await both.all_same(LONG)


async def test_what_has_no_translation_is_refused_by_name(both: World) -> None:
    for sql in REFUSED:
        both.on_sqlite(sql)
        with pytest.raises(StatementError) as caught:
            await both.on_postgres(sql)
        assert caught.value.code == "SQL_NOT_TRANSLATABLE", sql


SALES = "CREATE TABLE sales (id INTEGER PRIMARY KEY, total NUMERIC, balance DECIMAL(10, 2))"
THROUGH_CTES = (
    "WITH o AS (SELECT id, total AS t FROM sales) SELECT id FROM o WHERE t = 10",
    "WITH o AS (SELECT total AS t FROM sales) SELECT t, typeof(t) FROM o ORDER BY t",
    "WITH o AS (SELECT total AS t FROM sales) SELECT DISTINCT t FROM o",
    "WITH o AS (SELECT * FROM sales) SELECT id, CASE WHEN total > 10 THEN 'big' ELSE 'small' END FROM o",
    "WITH o AS (SELECT total AS t FROM sales) SELECT sum(t), t + 1, t || '' FROM o GROUP BY t",
    "WITH o AS (SELECT total AS t FROM sales) SELECT t FROM o WHERE t IN (10, '100') OR t BETWEEN 9 AND 9.7",
    "WITH x AS (SELECT balance AS m FROM sales WHERE id = 2) SELECT sales.id FROM sales, x WHERE balance >= m",
    "WITH x AS (SELECT balance AS m FROM sales), y AS (SELECT m FROM x) SELECT max(m), avg(m), count(m) FROM y",
    "WITH c AS (SELECT total AS t FROM sales UNION SELECT balance FROM sales) SELECT t FROM c WHERE t > 10",
    "WITH o AS (SELECT id, total AS t FROM sales) DELETE FROM sales WHERE id IN (SELECT id FROM o WHERE t < 9.7)",
    "WITH o AS (SELECT id, balance FROM sales) UPDATE sales SET total = 7 WHERE id IN "
    "(SELECT id FROM o WHERE balance >= 12.5) RETURNING id, total",
    "INSERT INTO sales (total) WITH o AS (SELECT * FROM sales) SELECT balance + 1 FROM o WHERE total = 10 RETURNING *",
)


async def test_decimals_through_ctes(postgres_url: str) -> None:
    async with world(postgres_url, SALES) as both:
        await both.same("INSERT INTO sales VALUES (1, 10, 1), (2, 9.5, 12.5), (3, 100, 13)")
        for sql in THROUGH_CTES:
            await both.same(sql)


async def test_a_chain_of_forty_tables_is_read_along_its_conditions(both: World) -> None:
    """Written as they come, eight at a time are joined without a condition between them: more rows than ever end."""
    for table in "abc":
        rows = ", ".join(f"({at}, {at * 7 % 16 + 20}, 'm{at}')" for at in range(20, 36))
        await both.same(f"INSERT INTO {table} VALUES {rows}")
    written = [f"{name} AS t{at}" for at, name in enumerate("abc" * 14)]
    links = [f"t{at}.x = t{at + 1}.id" if at % 2 else f"t{at + 1}.id = t{at}.x" for at in range(len(written) - 1)]
    shuffle = sorted(range(len(written)), key=lambda at: at * 7919 % 1009 * 31 % 101)
    tables = ", ".join(written[at] for at in shuffle)
    tests = " AND ".join([*(links[at] for at in shuffle if at < len(links)), "t0.id = 21"])
    async with asyncio.timeout(60):
        found = await both.same(f"SELECT *, t40.id FROM {tables} WHERE {tests}")
        await both.same(f"SELECT count(*) FROM a WHERE EXISTS (SELECT 1 FROM {tables} WHERE {tests} AND t9.id = a.id)")
        await both.same(f"UPDATE c SET m = t9.n FROM {tables} WHERE {tests} AND t33.id = c.id")
    assert len(found.rows) == 1


async def test_names_within_a_query_may_hide_those_around_it(postgres_url: str) -> None:
    schema = """
    CREATE TABLE a (id INTEGER PRIMARY KEY, name TEXT);
    CREATE TABLE b (id INTEGER PRIMARY KEY, name TEXT, m TEXT);
    CREATE TABLE c (id INTEGER PRIMARY KEY, name TEXT);
    """
    data = (
        "INSERT INTO b VALUES (1, 'x', 'y'), (2, 'z', 'w'), (3, NULL, 'x')",
        "INSERT INTO c VALUES (1, 'x'), (2, 'y')",
    )
    async with world(postgres_url, schema, data=data) as made:
        await made.all_same(
            [
                "SELECT id FROM b AS q WHERE NOT EXISTS (SELECT 1 FROM c AS q WHERE q.name = q.m)",
                "SELECT id FROM b AS q WHERE EXISTS (SELECT 1 FROM c AS q WHERE name = m)",
                "SELECT id, (SELECT q.m || max(q.name) FROM c AS q) FROM b AS q",
                "SELECT id FROM b WHERE m IN (SELECT b.name FROM c AS b WHERE b.m > 'a')",
                "SELECT id FROM b AS q WHERE EXISTS"
                " (SELECT 1 FROM c AS q WHERE EXISTS (SELECT 1 FROM a AS q WHERE q.m = q.name))",
                "SELECT q.m, (SELECT q.m FROM (SELECT q.m FROM c AS q)) FROM b AS q",
                "SELECT q.id FROM b AS q GROUP BY q.id HAVING EXISTS (SELECT 1 FROM c AS q WHERE q.name = q.m)",
                "WITH q AS (SELECT * FROM b) SELECT id FROM q WHERE EXISTS (SELECT 1 FROM c AS q WHERE q.name = q.m)",
                "INSERT INTO a SELECT id, m FROM b AS q WHERE EXISTS (SELECT 1 FROM c AS q WHERE q.name = q.m)",
                "UPDATE b SET name = (SELECT b.name FROM c AS b WHERE b.name = b.m)",
                "UPDATE OR IGNORE b SET id = id + (SELECT count(*) FROM c AS b WHERE b.name = b.m)",
                "INSERT INTO b (id, m) VALUES (3, 'q') ON CONFLICT (id) DO UPDATE"
                " SET m = (SELECT b.name FROM c AS b WHERE b.name <> b.m ORDER BY 1)",
                "DELETE FROM b WHERE EXISTS (SELECT 1 FROM c AS b WHERE b.name = b.m AND b.id < 5)",
                "SELECT * FROM a",
                "SELECT * FROM b",
            ]
        )


async def test_columns_of_views_have_the_names_that_sqlite_gives_them(postgres_url: str) -> None:
    schema = """
    CREATE TABLE t (id INTEGER PRIMARY KEY, n TEXT);
    CREATE TABLE h (a TEXT, n TEXT);
    CREATE VIEW by_key AS SELECT oid, n FROM t;
    CREATE VIEW by_rowid AS SELECT _rowid_, * FROM h;
    CREATE VIEW both AS SELECT t.oid, h.oid, n FROM t JOIN h USING (n);
    CREATE VIEW computed AS SELECT OID AS q, ROWID + 1, upper(n), id, id FROM t;
    CREATE VIEW compound AS SELECT oid FROM t UNION SELECT rowid FROM h;
    """
    data = ("INSERT INTO t VALUES (1, 'a'), (2, 'b')", "INSERT INTO h VALUES ('x', 'a')")
    async with world(postgres_url, schema, data=data) as made:
        await made.all_same(
            [
                *(f"SELECT * FROM {view}" for view in ("by_key", "by_rowid", "both", "computed", "compound")),
                "SELECT id FROM by_key",
                "SELECT x.*, y.rowid FROM by_key AS x JOIN by_rowid AS y USING (n)",
                'SELECT id, "rowid" FROM both',
                'SELECT q, "ROWID + 1", "upper(n)", "id:1" FROM computed ORDER BY "ROWID + 1" DESC',
                "SELECT id FROM compound ORDER BY id DESC",
                "CREATE VIEW later AS SELECT rowid, n FROM t",
                "SELECT id FROM later",
            ]
        )
