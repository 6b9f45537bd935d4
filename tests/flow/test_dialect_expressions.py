"""Expressions, compounds, CTEs and groups in SELECT: Postgres answers as SQLite does, or the translator refuses."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from cutover.dialect.patterns import LIKE_NO_BLOB
from cutover.errors import StatementError
from tests.flow.dialect_world import World, world

SCHEMA = """
CREATE TABLE t (id INTEGER PRIMARY KEY, i INTEGER, r REAL, s TEXT, c TEXT COLLATE NOCASE, b BOOLEAN NOT NULL, k BLOB);
CREATE TABLE u (id INTEGER PRIMARY KEY, t_id INTEGER, w TEXT COLLATE RTRIM);
CREATE VIEW v AS SELECT i, s FROM t WHERE b;
"""

DATA = (
    "INSERT INTO t (i, r, s, c, b, k) VALUES (1, 1.0, 'a', 'A', 1, x'00'), (2, 2.5, 'B', 'b', 0, x'61'), "
    "(NULL, NULL, NULL, NULL, 1, NULL), (10, -1.5, '10', '10', 0, x''), (2, 2.0, 'a%', 'B', 1, x'6161')",
    "INSERT INTO u (t_id, w) VALUES (1, 'a '), (1, 'a'), (2, NULL), (NULL, 'B  ')",
)


@pytest.fixture
async def both(postgres_url: str) -> AsyncIterator[World]:
    async with world(postgres_url, SCHEMA, data=DATA, store=True) as made:
        yield made


SAME = [
    "SELECT 1e-7, 1 - 1e-7, 2.5E+3, .5e-1, 0x1e-7, -9223372036854775808",
    "SELECT (1, 2) IN (), NULL NOT IN ()",
    "WITH a AS (SELECT * FROM u), u AS (SELECT 7 AS z) SELECT * FROM a",
    "WITH a AS (SELECT z + 1 AS y FROM u), u AS (SELECT w + 1 AS z FROM c), c AS (SELECT 1 AS w) SELECT * FROM a, u",
    "WITH a AS (SELECT i FROM t), u AS (SELECT i FROM a) SELECT * FROM u ORDER BY 1",
    "WITH x(q, r) AS (SELECT i FROM t), y AS (SELECT 2 AS v) SELECT 2 IN y, (SELECT v FROM y)",
    "WITH RECURSIVE u AS (SELECT 1 UNION ALL SELECT * FROM u) SELECT 1",
    "SELECT 1 LIKE 2 = 3 LIKE 4, 1 = 2 LIKE 3 LIKE 4, 1 LIKE 2 IS 3 < 4, 1 < 2 LIKE 3 < 4, 2 == 2 LIKE 1, 0 LIKE 0 < 2",
    "SELECT 5 BETWEEN 4 AND 8 < 3, 1 NOT LIKE 2 < 3, 1 < 2 IN (1), 3 IN (1) < 1, 2 < 1 BETWEEN 1 AND 2",
    "SELECT 'a' LIKE 'A' ESCAPE 'x' = 1, 1 = 0 LIKE '0' ESCAPE '!', NOT 1 LIKE 2 < 3, 1 BETWEEN 2 AND 3 LIKE 4",
    "SELECT i = id LIKE s, i < id LIKE '1', s LIKE i < id, i NOT BETWEEN 0 AND id < 2, c GLOB i >= 1 FROM t",
    "SELECT i < 3 LIKE 1, i = 10 BETWEEN 0 AND 2, i BETWEEN 1 AND 2 < 3 FROM t",
    "SELECT id FROM t WHERE i = id LIKE '1' OR s LIKE i < id AND id = 2 IN (1)",
    "SELECT id FROM t WHERE i IN (SELECT id FROM u UNION ALL SELECT 10)",
    "SELECT id FROM t WHERE (i, s) IN (SELECT 1, 'a' UNION SELECT 2, 'B')",
    "SELECT id FROM t WHERE i IN (VALUES (1), (2))",
    "SELECT id FROM t WHERE (id, i) IN (VALUES (1, 1), (2, 3))",
    "SELECT id FROM t WHERE i IN (SELECT i FROM v)",
    "SELECT id FROM t WHERE (i, s) IN v",
    "SELECT nullif(coalesce(c, ''), 'a'), nullif('a', ifnull(c, '')), nullif(likely(c), 'a'), nullif(c, 'a') FROM t",
    "SELECT min(coalesce(c, ''), 'a'), max(ifnull(c, ''), 'B'), nullif(coalesce(c COLLATE NOCASE, ''), 'a') FROM t",
    "SELECT x = 'a', nullif(x, 'b'), x IN ('a', 'b') FROM (SELECT coalesce(c, '') AS x FROM t)",
    "SELECT id, x FROM (SELECT id, ifnull(c, '') AS x FROM t) WHERE x < 'a' OR x = 'b' ORDER BY x DESC, id",
    "SELECT x, count(*) FROM (SELECT likely(c) AS x FROM t) GROUP BY x ORDER BY 1",
    "SELECT id FROM t WHERE i NOT IN ()",
    "SELECT i IN (2, CASE WHEN b THEN NULL END), -2 IN (CASE WHEN b THEN NULL END, NULL, i) FROM t",
    "SELECT r IN (1.0, coalesce(NULL, NULL)), s IN ('a', CASE WHEN 1 THEN NULL END), k IN (x'61', max(NULL, 1)) FROM t",
    "SELECT id FROM t WHERE i NOT IN (1, nullif(NULL, 3)) OR i IN (NULL, CASE i WHEN 2 THEN NULL END, 10)",
    "SELECT 'a' 'b', 1 'x'",
    'SELECT "nope", \'x\' AS "a b"',
    "SELECT c, count(*) FROM t GROUP BY c ORDER BY c",
    "SELECT c, s, count(*) FROM t GROUP BY c ORDER BY 1",
    "SELECT DISTINCT c FROM t ORDER BY c",
    "SELECT DISTINCT c COLLATE BINARY FROM t ORDER BY 1 COLLATE NOCASE, 1",
    "SELECT DISTINCT s, i FROM t ORDER BY i DESC, s NULLS LAST",
    "SELECT DISTINCT i + 1 FROM t ORDER BY i + 1 DESC",
    "SELECT s FROM t UNION SELECT w COLLATE BINARY FROM u ORDER BY s",
    "SELECT s, i FROM t UNION ALL SELECT w, id FROM u ORDER BY w, i",
    "SELECT i + 1 FROM t UNION ALL SELECT id FROM u ORDER BY i + 1",
    "SELECT i AS x FROM t UNION SELECT id AS y FROM u ORDER BY y DESC LIMIT 3",
    "SELECT 1 UNION SELECT 2 INTERSECT SELECT 2 EXCEPT SELECT 5 UNION ALL SELECT 2",
    "SELECT * FROM t GROUP BY b",
    "SELECT *, count(*) FROM t GROUP BY id",
    "SELECT i, r, count(*) FROM t GROUP BY i ORDER BY i",
    "SELECT (SELECT i FROM t ORDER BY id)",
    "SELECT i FROM t ORDER BY id LIMIT (SELECT 2) OFFSET 1 + 1",
    "SELECT i FROM t ORDER BY id LIMIT '2'",
    "SELECT id FROM t ORDER BY id LIMIT 2.0",
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 5) SELECT i FROM n",
    "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 5) SELECT sum(i) FROM n",
    "WITH RECURSIVE n(i, s) AS (SELECT 1, 'a' UNION ALL SELECT i + 1, s || i FROM n WHERE i < 5) SELECT * FROM n",
    "WITH RECURSIVE tree(id, depth) AS (SELECT id, 0 FROM t WHERE id = 1 UNION ALL SELECT t.id, depth + 1 "
    "FROM t JOIN tree ON t.id = tree.id + 1) SELECT * FROM tree ORDER BY depth DESC",
    "WITH a AS (SELECT 1 AS x), b AS (SELECT x + 1 AS y FROM a) SELECT * FROM a, b",
    "WITH a AS MATERIALIZED (SELECT 1 AS x), b AS NOT MATERIALIZED (SELECT 2 AS y) SELECT * FROM a, b",
    "WITH a(x) AS (SELECT i FROM t) SELECT (WITH b AS (SELECT max(x) AS m FROM a) SELECT m FROM b)",
    "WITH t AS (SELECT 1 AS id) SELECT * FROM t",
    "WITH n(i) AS (SELECT 1 UNION ALL SELECT i * 2 FROM n WHERE i < 100) SELECT max(i) FROM n",
    "VALUES (1, 'a'), (2.5, x'00'), ('x', NULL)",
    "SELECT * FROM (VALUES (1, 'a'), (2, 'b')) ORDER BY column1 DESC",
    "SELECT column2 FROM (VALUES (1, 'a'), (2, 'b')) AS q",
    "SELECT 1 < 2 < 3, 3 > 2 > 1, 1 = 1 = 1, 2 IS 2 IS 1",
    "SELECT i IS s, i IS NOT NULL, s IS 'a', k IS x'00', r IS 1, b IS TRUE, s IS NOT FALSE, i IS NOT DISTINCT "
    "FROM 1 FROM t ORDER BY id",
    "SELECT i BETWEEN '1' AND 5, s BETWEEN 1 AND 'b', k BETWEEN x'00' AND 'z', NULL BETWEEN 1 AND 2 FROM t ORDER BY id",
    "SELECT CASE i WHEN '1' THEN 'one' WHEN 2 THEN 2 ELSE k END FROM t ORDER BY id",
    "SELECT CASE s WHEN 10 THEN 1 ELSE 0 END, CASE WHEN s THEN 1 END FROM t ORDER BY id",
    "SELECT max(s, i), min(k, s), max(c, s), max(i, r) FROM t ORDER BY id",
    "SELECT max(k), min(k), max(c), min(c), min(coalesce(i, s)) FROM t",
    "SELECT coalesce(k, i, s) AS x FROM t ORDER BY x, id",
    "SELECT max(coalesce(s, i)) OVER (ORDER BY id) FROM t ORDER BY id",
    "SELECT CAST(s AS BLOB), CAST(k AS INTEGER), CAST(i AS VARCHAR(3)), CAST(r AS DECIMAL(5, 2)), CAST(s AS "
    "UNSIGNED BIG INT) FROM t ORDER BY id",
    "SELECT (1, 2) < (1, '3'), (1, NULL) = (2, 3), (1, 'a') IS (1, 'a'), (i, s) >= (2, 'B') FROM t ORDER BY id",
    "SELECT id FROM t WHERE (i, c) = (2, 'B') ORDER BY id",
    "SELECT id FROM t WHERE (id, i) = (SELECT 2, 2)",
    "SELECT (s, i + r) <> (SELECT s, s FROM t LIMIT 1), (i, s) = (SELECT '1', 'a'), (r, i) < (SELECT i, s FROM t) "
    "FROM t",
    "SELECT (c, i) >= (SELECT s, r FROM t), (i, c) IS NOT (SELECT 1.0, 'a'), (k, b) > (SELECT s, '1' FROM t) FROM t",
    "SELECT (i, s) IS (SELECT 1, 2 WHERE 0), (i, s) = (SELECT 1, 2 WHERE 0), (i, s) IS NOT (SELECT w, 2 FROM u) FROM t",
    "SELECT id FROM t AS o WHERE (id, c) = (SELECT max(id) + 0.0, o.s FROM t WHERE t.i = o.i)",
    "SELECT id, (i, s) BETWEEN (1, 'b') AND (2.0, 3), (r, c) NOT BETWEEN ('1', i) AND (s, 'b') FROM t",
    "SELECT CASE (i, s) WHEN (SELECT '1', 'a') THEN 'one' WHEN (2, 'B') THEN 'two' ELSE 'none' END FROM t",
    "SELECT k + 1, -k, k || 'x', NOT k FROM t WHERE id > 1 ORDER BY id",
    "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name",
    "SELECT m.name, p.name FROM sqlite_master m JOIN pragma_table_info(m.name) p ORDER BY 1, 2",
    "SELECT +i, + s, -s FROM t ORDER BY id",
    "SELECT i FROM t WHERE +s = 10",
    "SELECT i AS a FROM t WHERE a > 1 ORDER BY a",
    "SELECT i AS r FROM t WHERE r > 2 ORDER BY r",
    "SELECT upper(s) AS s2, count(*) FROM t GROUP BY s2 HAVING s2 > 'A' ORDER BY s2",
    "SELECT i % 2 AS p, sum(r) AS t FROM t GROUP BY p HAVING t > 0 ORDER BY t DESC",
    "SELECT count(*) FROM t GROUP BY 'x'",
    "SELECT i FROM t ORDER BY 'x', id",
    "SELECT i FROM t ORDER BY -id",
    "SELECT i FROM t ORDER BY i IS NULL, i DESC",
    "SELECT i FROM t ORDER BY CASE WHEN i IS NULL THEN 1 ELSE 0 END, i, id",
    "SELECT rowid, * FROM t ORDER BY rowid DESC",
    "SELECT a.id FROM t a LEFT JOIN u b ON a.i = b.t_id WHERE b.id IS NULL",
    "SELECT exists (SELECT 1 FROM u WHERE t_id = t.i) + 1 FROM t ORDER BY id",
    "SELECT t.* FROM t, v WHERE t.i = v.i ORDER BY t.id",
    "SELECT id FROM t WHERE s = 'a' COLLATE NOCASE OR c = 'a' COLLATE BINARY",
    "SELECT id FROM t WHERE c IN ('a', 'B') AND c BETWEEN 'a' AND 'c'",
    "SELECT id FROM u WHERE w = 'a' AND w IN ('a', 'b')",
    "SELECT id FROM t WHERE c LIKE 'a' OR c = upper('a')",
    "SELECT x.c FROM (SELECT c FROM t) AS x WHERE x.c = 'a'",
    "SELECT (SELECT c FROM t WHERE id = 1) = 'a', (SELECT i FROM t WHERE id = 1) = '1'",
    "SELECT x.y = '1' FROM (SELECT i AS y FROM t WHERE id = 1) AS x",
    "SELECT x.y = '2' FROM (SELECT i + 1 AS y FROM t WHERE id = 1) AS x",
    "SELECT CAST(i AS TEXT) = 1, CAST(s AS INTEGER) = '10', i || '' = 1 FROM t ORDER BY id",
    "SELECT count(*) FILTER (WHERE i > 1), sum(i) FILTER (WHERE s LIKE 'a%') FROM t",
    "SELECT t.id FROM t JOIN t AS u ON v.id = u.id AND u.i > 0 JOIN t AS v ON v.id = t.id ORDER BY t.id",
    "SELECT t.id FROM t JOIN t AS u ON v.i = u.i, t AS v ORDER BY t.id, u.id, v.id",
    "SELECT i IN () AS none, count(*) FROM t GROUP BY 1, i NOT IN () ORDER BY 1, i IN ()",
    "SELECT DISTINCT s IN (), rank() OVER (ORDER BY i IN ()) FROM t ORDER BY 1",
    "SELECT i IS DISTINCT FROM coalesce(c, 1), s IS NOT DISTINCT FROM upper(s) FROM t ORDER BY id",
    "SELECT + sum(i) FILTER (WHERE + i > 1) + 1, - + count ( * ) OVER w FROM t GROUP BY i WINDOW w AS ()",
    "SELECT (SELECT sum(t.i)) FROM t",
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5 ORDER BY 1 DESC) SELECT i FROM n",
    "SELECT id, (SELECT count(t.i) FROM u) FROM t GROUP BY id",
    "SELECT id, sum(i) OVER w, count(*) OVER (PARTITION BY c ORDER BY id ROWS BETWEEN 1 PRECEDING AND CURRENT "
    "ROW) FROM t WINDOW w AS (ORDER BY id) ORDER BY id",
]


async def test_the_same_rows(both: World) -> None:
    await both.all_same(SAME)


UNITED = (
    "SELECT count(*), max(a), sum(a) FROM (SELECT a FROM m UNION SELECT c FROM m)",
    "SELECT typeof(a), count(*) FROM (SELECT a FROM m UNION SELECT c FROM m) GROUP BY 1 ORDER BY 1",
    "SELECT count(*), typeof(max(a)) FROM (SELECT a FROM m INTERSECT SELECT c FROM m)",
    "SELECT count(*), typeof(max(a)) FROM (SELECT c AS a FROM m EXCEPT SELECT a FROM m)",
    "SELECT typeof(a) FROM (SELECT a FROM m UNION SELECT c FROM m) WHERE a > 0",
)


async def test_rows_that_are_equal_without_being_the_same_are_united_within_a_query(both: World) -> None:
    for sql in (
        "CREATE TABLE m (a, c)",
        "INSERT INTO m VALUES (1, 2.0), (1.0, 2), ('1', 3), (NULL, 2), (2, x'32')",
        *UNITED,
    ):
        await both.same(sql)


async def test_arguments_within_what_can_only_be_null(both: World) -> None:
    sql = "SELECT id FROM t WHERE (i IN (2, CASE WHEN id = ?1 THEN NULL END, ?2)) IS NULL"
    for argument in (1, None, "a"):
        await both.same(sql, argument, 10)
        await both.same(sql, 1, argument)


async def test_rows_with_a_text_beside_a_date(both: World) -> None:
    """Such a text is a number if it looks like one, also as the last of a row."""
    await both.same("CREATE TABLE d (id INTEGER PRIMARY KEY, n BOOLEAN, s TEXT, at DATETIME)")
    await both.same(
        "INSERT INTO d (n, s, at) VALUES (0, '2025', '2024-01-31'), (1, '2024', '2024-01-31'), (1, 'x', '2024-01-31'),"
        " (0, '', '2024-01-31'), (NULL, '1.5', '2024-01-31'), (1, NULL, '2024-01-31')"
    )
    for op in ("=", "<>", "<", "<=", ">", ">=", "IS"):
        await both.same(f"SELECT id, (n, s) {op} (n, at), (1, at) {op} (n, s) FROM d ORDER BY id")
        await both.same(f"SELECT id FROM d WHERE (0, s) {op} (SELECT 0, at FROM d WHERE id = 2) ORDER BY id")


LIKE_A_BLOB = (
    "SELECT k LIKE 'a', k LIKE NULL, k GLOB 'a*', s LIKE k, s GLOB k, i LIKE k, NULL LIKE k, k LIKE k FROM t",
    "SELECT s LIKE 'A%', k LIKE 'a%', i LIKE '1%', r LIKE '2.5', s LIKE NULL, s GLOB 'a*', c GLOB '[ab]' "
    "FROM t WHERE id > 1 ORDER BY id",
    "SELECT x'61' LIKE 'a'",
    "SELECT a LIKE '1', a GLOB '*', 'x' LIKE a, a LIKE a, NULL LIKE a, a LIKE NULL, like(a, '1'), glob('1*', a) FROM d",
    "SELECT id FROM t WHERE k NOT LIKE 'a' OR NOT s GLOB k ORDER BY id",
    "SELECT a LIKE ?, ? LIKE a, ? GLOB '*' FROM d",
    "SELECT k LIKE '1!%' ESCAPE '!', a LIKE '!1' ESCAPE '!' FROM t, d",
)


async def test_a_blob_is_like_what_sqlite_was_built_to_find(both: World) -> None:
    for sql in ("CREATE TABLE d (a)", "INSERT INTO d VALUES (1), ('1'), (x'31'), (NULL), (x'00FF'), (1.5)"):
        await both.same(sql)
    for sql in LIKE_A_BLOB:
        for value in ("1", b"1", None, 1) if "?" in sql else (None,):
            arguments = (value,) * sql.count("?")
            if LIKE_NO_BLOB:
                await both.same(sql, *arguments)
            elif value is None:
                await both.refused(sql, "on a blob")


REFUSED = [
    "WITH c(y) AS (SELECT r FROM t UNION ALL SELECT 3 UNION ALL SELECT s FROM t) SELECT y FROM c",
    "WITH c(y) AS (SELECT r FROM t UNION SELECT i FROM t EXCEPT SELECT w FROM u) SELECT y FROM c",
    "SELECT (SELECT max(i) FROM u WHERE u.t_id = t.i) FROM t",
    "SELECT i FROM t WHERE i IN (SELECT 'a' FROM u UNION SELECT w FROM u)",
    "SELECT i <> 3 NOT IN (1) FROM t",
]


async def test_what_has_no_translation_is_refused_by_name(both: World) -> None:
    for sql in REFUSED:
        both.on_sqlite(sql)
        with pytest.raises(StatementError) as caught:
            await both.on_postgres(sql)
        assert caught.value.code == "SQL_NOT_TRANSLATABLE", sql


async def test_comments_behind_the_last_expression_are_in_its_name(both: World) -> None:
    for sql in (
        "/* SELECT 2 */ SELECT 1 /* from='app' */",
        "SELECT 1, count(*) -- of all\n ; -- and more",
        "SELECT id + 1 /* here */ FROM t /* there */",
        "SELECT (SELECT 1) AS one /* named */",
        "SELECT 1 /* open",
        "SELECT 1; /* behind */",
    ):
        await both.same(sql)
    found = await both.same("SELECT 1 /* 'tracer'; */ ;")
    assert [column.name for column in found.columns] == ["1 /* 'tracer'; */"]


async def test_what_no_row_decides_leaves_one_row_of_aggregates(both: World) -> None:
    """A value that is known without them takes the place of the calls; what SQLite itself forgets is no call."""
    known = (
        *("coalesce(5, count(*))", "ifnull('x', group_concat(s))", "NULL IN (count(*))", "NULL = max(i)"),
        *("NULL LIKE count(*)", "printf('x', count(*))", "NULL BETWEEN count(*) AND 2", "nullif(NULL, count(*))"),
        *("count(*) IN ()", "0 AND count(*)", "count(*) > 1 AND (0)", "(0 AND i) AND count(*)", "NULL AND count(*)"),
    )
    for where in ("", " WHERE id > 100"):
        await both.all_same(f"SELECT {one} FROM t{where}" for one in known)
    await both.all_same(
        (
            "SELECT (SELECT coalesce(5, count(*)) FROM t)",
            "SELECT (SELECT coalesce(5, count(t.id)) FROM u) FROM t",
            "SELECT DISTINCT coalesce(5, count(*)) FROM t",
            "SELECT coalesce(5, count(*)), s FROM t",
            "SELECT id FROM u WHERE 5 IN (SELECT coalesce(5, count(*)) FROM t WHERE id > 100)",
            "SELECT coalesce(5, count(*)) FROM t GROUP BY c ORDER BY 1",
        )
    )
