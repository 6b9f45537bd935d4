"""Aggregates of an outer query inside of its subqueries, and NUMERIC columns wherever a query passes them on."""

from __future__ import annotations

import pytest

from cutover.errors import StatementError
from tests.flow.dialect_world import typed_rows, world

SCHEMA = """
CREATE TABLE a (id INTEGER PRIMARY KEY, k INTEGER, s TEXT, n NUMERIC);
CREATE TABLE b (id INTEGER PRIMARY KEY, k INTEGER, u TEXT);
"""

DATA = (
    "INSERT INTO a VALUES (1, 1, 'x''yz', 1.5e300), (2, 1, 'y', 2.5), (3, 2, 'z', 3), (4, NULL, 'q', NULL)",
    "INSERT INTO b VALUES (1, 1, 'p'), (2, 1, 'q'), (3, 2, 'r'), (4, 2, 'a'), (5, 9, 'm')",
)

OUTER = [
    "SELECT (SELECT sum(a.k) FROM b) FROM a",
    "SELECT a.id, (SELECT max(a.k + b.id) FROM b) FROM a",
    "SELECT a.id, (SELECT sum(a.k) FROM b) FROM a",
    "SELECT (SELECT count(a.id) FROM b WHERE b.k = 77) FROM a",
    "SELECT s, (SELECT group_concat(a.s) FROM b LIMIT 1) FROM a",
    "SELECT (SELECT sum(a.k) + count(*) FROM b) FROM a",
    "SELECT k, (SELECT sum(a.id) FROM b WHERE b.id = a.k) FROM a GROUP BY k",
    "SELECT k FROM a GROUP BY k HAVING (SELECT sum(a.id)) > 2",
    "SELECT k FROM a GROUP BY k ORDER BY (SELECT sum(a.id) FROM b) DESC",
    "SELECT (SELECT min(a.s) FROM b WHERE b.u > 'a'), (SELECT max(a.s)) FROM a",
    "SELECT (SELECT (SELECT sum(a.k) FROM b) FROM b) FROM a",
    "SELECT (SELECT count(*) FROM b WHERE b.k < sum(a.k)) FROM a",
    "SELECT (SELECT count(k) FROM b WHERE b.id > a.id) FROM a",
]

NUMERIC = [
    "SELECT n, typeof(n), n || '' FROM a ORDER BY id",
    "SELECT n, max(k) FROM a",
    "SELECT s, n FROM a GROUP BY s HAVING n > 1 ORDER BY n",
    "WITH c AS (SELECT n, id FROM a) SELECT n, count(*) FROM c GROUP BY n ORDER BY n",
    "WITH c AS (SELECT n FROM a), d AS (SELECT n AS m FROM c) SELECT m FROM d UNION ALL SELECT n FROM c",
    "WITH RECURSIVE c (x, i) AS (SELECT n, 1 FROM a WHERE id = 2 UNION ALL SELECT x + 1, i + 1 FROM c WHERE i < 4) "
    "SELECT x, i FROM c",
    "SELECT CASE WHEN id > 1 THEN 'x' ELSE n END FROM a",
]

FORMATS = [
    "SELECT printf('%.3c|%5c|%.0c', s, s, s), printf('%.2Q|%.1q|%8.3w', s, s, s) FROM a",
    "SELECT printf('%.2Q|%.3q', NULL, NULL), printf('%.*f', 3, 2.5), printf('%*.*f', 10, 2, 7), printf('%.*d', -4, 7)",
]


async def test_aggregates_of_an_outer_query_and_numeric_columns(postgres_url: str) -> None:
    async with world(postgres_url, SCHEMA, data=DATA) as both:
        for sql in OUTER + NUMERIC + FORMATS:
            await both.same(sql)
        with pytest.raises(StatementError, match="several calls of min"):
            await both.on_postgres("SELECT a.id, (SELECT max(a.k) FROM b) FROM a")


async def test_a_condition_that_names_what_stands_to_its_right(postgres_url: str) -> None:
    async with world(postgres_url, SCHEMA, data=DATA) as both:
        ahead = "SELECT a.id FROM a JOIN b ON c.k = b.k LEFT JOIN b AS c ON c.id = a.id"
        await both.refused(ahead, "ON that names what stands to its right, beside an outer join, .* into WHERE")
        moved = "SELECT a.id FROM a JOIN b LEFT JOIN b AS c ON c.id = a.id WHERE c.k = b.k"
        told = typed_rows(await both.same(moved), in_order=False)
        assert typed_rows(both.on_sqlite(ahead), in_order=False) == told
        await both.same(
            "SELECT a.id FROM a JOIN b ON EXISTS (SELECT 1 FROM b AS c WHERE c.k = a.k) LEFT JOIN b AS c ON c.id = a.id"
        )
        await both.same_error("SELECT a.id FROM a LEFT JOIN b ON c.k = b.k JOIN b AS c")
