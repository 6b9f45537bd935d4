"""Values that are equal without being the same, 1 and 1.0 or texts under a collation: the same of them stays."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from cutover.errors import StatementError
from tests.flow.dialect_world import World, world

SCHEMA = """
CREATE TABLE whole (a INTEGER);
CREATE TABLE part (b REAL);
CREATE TABLE names (id INTEGER PRIMARY KEY, name TEXT COLLATE NOCASE, share NUMERIC);
CREATE TABLE loose (id INTEGER PRIMARY KEY, a, b INTEGER);
CREATE TABLE days (day DATETIME, note TEXT);
"""

DATA = (
    "INSERT INTO whole VALUES (1), (2), (3)",
    "INSERT INTO part VALUES (1), (2.5), (3)",
    "INSERT INTO names VALUES (1, 'a', 1), (2, 'B', 2.5), (3, 'A', 3), (4, 'b', NULL)",
    "INSERT INTO loose VALUES (1, 1.0, 5), (2, 1, 6), (3, 'x', 7), (4, 2, 8), (5, 2, 9), (6, NULL, 1)",
    "INSERT INTO days VALUES ('2024-05-05', '12')",
)


@pytest.fixture
async def both(postgres_url: str) -> AsyncIterator[World]:
    async with world(postgres_url, SCHEMA, data=DATA) as made:
        yield made


COMPOUNDS = [
    "VALUES ('B') UNION SELECT name FROM names WHERE id > 2 ORDER BY 1 LIMIT 2",
    "VALUES (2.0), (2), (1), (1.0) UNION VALUES (3.0), (3), (1)",
    "SELECT count(*) FROM (VALUES (1, 2) UNION SELECT a, a FROM whole)",
    "SELECT name || '' FROM names WHERE id = 3 UNION SELECT name FROM names WHERE id = 1",
    "SELECT b FROM part UNION ALL SELECT a FROM whole INTERSECT SELECT b FROM part ORDER BY 1",
    "SELECT a FROM whole UNION ALL SELECT b FROM part ORDER BY 1",
    "SELECT * FROM (SELECT b FROM part UNION ALL SELECT a FROM whole ORDER BY 1 LIMIT 3)",
    "SELECT a FROM whole UNION SELECT b FROM part",
    "SELECT b FROM part UNION SELECT a FROM whole",
    "SELECT b FROM part UNION SELECT a FROM whole ORDER BY 1 DESC",
    "SELECT a FROM whole INTERSECT SELECT b FROM part",
    "SELECT b FROM part INTERSECT SELECT a FROM whole ORDER BY 1",
    "SELECT b FROM part EXCEPT SELECT a FROM whole",
    "SELECT share FROM names UNION SELECT b FROM part",
    "SELECT a FROM whole UNION ALL SELECT b FROM part UNION SELECT a FROM whole",
    "SELECT 1 UNION SELECT 1.0 UNION ALL SELECT 1",
    "SELECT 1 AS n UNION SELECT 1.0 LIMIT 1",
    "SELECT name FROM names UNION SELECT name FROM names",
    "SELECT name FROM names UNION SELECT 'A' ORDER BY 1",
    "SELECT name, id > 2 FROM names UNION SELECT 'x', 0 ORDER BY name DESC, 2",
    "SELECT name FROM names INTERSECT SELECT 'A'",
    "SELECT name FROM names EXCEPT SELECT 'a'",
    "SELECT 'a' UNION SELECT name FROM names ORDER BY 1",
    "SELECT 'a' COLLATE NOCASE UNION SELECT 'A'",
    "SELECT note FROM days UNION SELECT name FROM names",
    "SELECT name FROM names WHERE id IN (SELECT a FROM whole UNION SELECT b FROM part)",
]

STORED = [
    "SELECT x FROM (SELECT b AS x FROM part UNION ALL SELECT a FROM whole)",
    "SELECT x FROM (SELECT a AS x FROM whole UNION ALL SELECT b FROM part)",
    "WITH c AS (SELECT b AS x FROM part UNION ALL SELECT a FROM whole) SELECT x FROM c",
    "SELECT x, count(*) FROM (SELECT b AS x FROM part UNION ALL SELECT a FROM whole) GROUP BY x",
    "SELECT max(x), min(x) FROM (SELECT a AS x FROM whole UNION ALL SELECT b FROM part)",
    "SELECT max(CASE WHEN id > 2 THEN share * 1.0 ELSE 3 END) FROM names",
    "SELECT x FROM (SELECT a AS x FROM whole UNION ALL SELECT name FROM names)",
]

GROUPED = [
    "SELECT a, count(*) FROM loose GROUP BY a ORDER BY a",
    "SELECT a, max(b) FROM loose GROUP BY a",
    "SELECT a, min(b), max(b) FROM loose WHERE id > 2 GROUP BY a",
    "SELECT a + 0 AS z, min(b) FROM loose GROUP BY z ORDER BY z",
    "SELECT CASE WHEN b > 5 THEN 1 ELSE 1.0 END AS q, count(*) FROM loose GROUP BY q",
]

COLLATED = [
    "SELECT x FROM (SELECT 'a' COLLATE NOCASE AS x) WHERE x = 'A'",
    "SELECT x, id FROM (SELECT name || '' AS x FROM names) JOIN names ON x = name",
    "SELECT id FROM (SELECT name || '' AS x FROM names) JOIN names ON name = x",
    "SELECT x FROM (SELECT 'a' COLLATE NOCASE AS x UNION ALL SELECT 'B') ORDER BY x",
    "SELECT 'a' IN ('A' COLLATE NOCASE), 'a' IN ('A' COLLATE NOCASE, 'q'), 'a' IN (upper('a') COLLATE NOCASE)",
    "SELECT name IN ('a' COLLATE BINARY), name NOT IN (('A' COLLATE BINARY)) FROM names",
    "SELECT name IN ('a' COLLATE BINARY, 'q') FROM names",
    "SELECT 'a ' IN (CAST('a' AS TEXT) COLLATE RTRIM), 'a ' IN ((SELECT 'a') COLLATE RTRIM), 1 IN ('1' COLLATE NOCASE)",
]


async def test_the_same_of_equal_values_stays(both: World) -> None:
    for sql in COMPOUNDS + STORED + GROUPED + COLLATED:
        await both.same(sql)


async def test_distinct_values_that_are_the_same_number_are_added_up_each(both: World) -> None:
    both.on_sqlite("CREATE TABLE spelled (a, t TEXT, n TEXT COLLATE NOCASE, k BLOB)")
    await both.on_postgres("CREATE TABLE spelled (a, t TEXT, n TEXT COLLATE NOCASE, k BLOB)")
    rows = "('10', '1', '1e1', x'31'), (10, '1.0', '1E1', x'3130'), (10.0, '01', 'x', NULL), ('x', '1', NULL, x'31')"
    await both.same(f"INSERT INTO spelled VALUES {rows}")
    for name in ("sum", "avg", "total"):
        each = ", ".join(f"{name}(DISTINCT {column})" for column in ("a", "t", "n", "k", "'a'", "t || ''"))
        await both.same(f"SELECT {each}, {name}(DISTINCT t) FILTER (WHERE a > 10) FROM spelled")
        await both.same(f"SELECT {each} FROM spelled WHERE a < 0")
    await both.same("SELECT * FROM (SELECT DISTINCT abs(a) AS one FROM spelled) AS d, (SELECT 1)")


async def test_which_of_several_stays_is_refused_where_it_is_not_known(both: World) -> None:
    with pytest.raises(StatementError, match="group_concat"):
        await both.on_postgres(
            "SELECT group_concat(DISTINCT x) FROM (SELECT a AS x FROM whole UNION ALL SELECT b FROM part)"
        )
    with pytest.raises(StatementError, match="equal values of a group"):
        await both.on_postgres("SELECT a, min(b), max(b) FILTER (WHERE b IS NOT NULL) FROM loose GROUP BY a")
    await both.same("SELECT a, min(b), max(b) FROM loose GROUP BY a", ordered=True)
    with pytest.raises(StatementError, match="values of several types"):
        await both.on_postgres(
            "WITH c AS (SELECT a AS x FROM whole UNION ALL SELECT b FROM part) SELECT c.x FROM c JOIN c AS d USING (x)"
        )


async def test_of_equal_keys_of_a_group_the_one_stays_whose_row_the_last_extreme_is_of(both: World) -> None:
    for extremes in ("min(b), max(b)", "max(b), min(b)", "min(b)", "count(*), max(b)"):
        await both.same(f"SELECT a, {extremes} FROM loose GROUP BY a ORDER BY 1")


async def test_a_computed_text_that_would_become_a_number_becomes_one(both: World) -> None:
    for sql in (
        "INSERT INTO days (day) VALUES (date('2024-05-05', '+1 day'))",
        "INSERT INTO days (day) VALUES ('20' || '24'), (strftime('%Y', '2024-05-05'))",
        "UPDATE days SET day = note WHERE note IS NOT NULL",
        "SELECT day, typeof(day) FROM days ORDER BY day",
    ):
        await both.same(sql)


async def test_distinct_of_anything_under_a_collation(postgres_url: str) -> None:
    schema = "CREATE TABLE folds (a COLLATE NOCASE, b)"
    rows = "('x', 1), ('X', 1), (1, 2), (1.0, 2), ('y', NULL), (NULL, 3), (x'61', 4)"
    async with world(postgres_url, schema, data=[f"INSERT INTO folds VALUES {rows}"]) as both:
        await both.all_same(
            (
                "SELECT DISTINCT a FROM folds",
                "SELECT DISTINCT a, b FROM folds",
                "SELECT DISTINCT a FROM folds ORDER BY a",
                "SELECT DISTINCT a FROM folds ORDER BY b DESC, a LIMIT 3",
                "SELECT DISTINCT a FROM (SELECT a FROM folds WHERE b > 0)",
                "SELECT count(*) FROM (SELECT DISTINCT a FROM folds)",
            ),
            ordered=True,
        )


async def test_any_of_equal_values_will_do_for_in(postgres_url: str) -> None:
    schema = "CREATE TABLE v (a TEXT, b)"
    rows = "('a', '0'), ('b', '1'), ('c', '2'), ('d', '3'), ('e', 1), ('f', 1.0)"
    async with world(postgres_url, schema, data=[f"INSERT INTO v VALUES {rows}"]) as both:
        await both.all_same(
            (
                "SELECT a FROM v WHERE b IN (SELECT b FROM v WHERE a <= 'b' UNION SELECT '3' ORDER BY 1 DESC LIMIT 1)",
                "SELECT a FROM v WHERE b IN (SELECT b FROM v UNION SELECT 1.0)",
                "SELECT a FROM v WHERE b NOT IN (SELECT b FROM v WHERE a > 'd' UNION SELECT a FROM v)",
                "SELECT a FROM v WHERE b IN (SELECT b FROM v WHERE a > 'a' INTERSECT SELECT b FROM v WHERE a < 'f')",
                "SELECT a FROM v WHERE b IN (SELECT b FROM v WHERE a > 'a' EXCEPT SELECT b FROM v WHERE a = 'e')",
                "SELECT 1.5 IN (SELECT b FROM v UNION SELECT b + 0.5 FROM v)",
            )
        )
        await both.refused(
            "SELECT a FROM v WHERE a IN (SELECT b FROM v UNION SELECT 'a')", "equal without being the same"
        )


ZEROS = [
    "SELECT 0.0 UNION SELECT -0.0",
    "SELECT -0.0 UNION SELECT 0.0",
    "SELECT total(b) FROM part WHERE b > 5 UNION SELECT -0.0",
    "SELECT b * (id - 2) FROM part JOIN names ON id < 4 UNION SELECT b * (id - 2) FROM part JOIN names ON id > 4",
    "SELECT b - 1 FROM part UNION SELECT (b - 1) * -1 FROM part",
    "SELECT (b - 1) * -1 FROM part UNION SELECT b - 1 FROM part",
    "SELECT (b - 1) * -1 FROM part INTERSECT SELECT 0.0",
    "SELECT (b - 1) * -1 FROM part EXCEPT SELECT 9.0",
    "SELECT b - 1 FROM part UNION SELECT (b - 1) * -1 FROM part ORDER BY 1 DESC",
    "WITH RECURSIVE r (x) AS (SELECT -0.0 UNION SELECT x * -1 FROM r) SELECT x FROM r",
    "SELECT id FROM names WHERE share - 1 IN (SELECT b * -1 + 1 FROM part UNION SELECT 0.5)",
]


async def test_a_row_with_nulls_that_is_not_found_is_unknown_by_the_collations_on_the_left(postgres_url: str) -> None:
    columns = "id INTEGER PRIMARY KEY, a INTEGER, n TEXT COLLATE NOCASE, r TEXT COLLATE RTRIM, p TEXT"
    schema = f"CREATE TABLE pairs ({columns})"
    data = ["INSERT INTO pairs VALUES (1, 1, 'ab', 'q', 'AB'), (2, NULL, 'x', 'x ', 'Ab'), (3, 2, NULL, 'ab ', 'ab')"]
    async with world(postgres_url, schema, data=data) as both:
        await both.all_same(
            [
                f"SELECT id, (a, {one}) {test} (SELECT a, {other} FROM pairs WHERE id <> {left}) FROM pairs ORDER BY id"
                for one in ("'AB'", "'ab'", "p", "n", "r", "upper(n)", "p COLLATE NOCASE", "'x'")
                for other in ("n", "r", "p", "p COLLATE NOCASE")
                for test in ("IN", "NOT IN")
                for left in (0, 2)
            ]
        )
        await both.same("SELECT id FROM pairs WHERE (a, 'AB') NOT IN (SELECT 1, n FROM pairs) ORDER BY id")
        await both.same("SELECT id FROM pairs WHERE (a, p) IN (SELECT a, n FROM pairs) ORDER BY id")
        await both.same("SELECT (max(a), 'AB') NOT IN (SELECT a, n FROM pairs) FROM pairs GROUP BY id ORDER BY id")


async def test_of_two_zeros_the_same_stays(both: World) -> None:
    await both.all_same(ZEROS, ordered=True)


FOLDED = """
CREATE TABLE one (id INTEGER PRIMARY KEY, n TEXT COLLATE NOCASE, m INTEGER);
CREATE TABLE two (id INTEGER PRIMARY KEY, n TEXT COLLATE NOCASE, m INTEGER);
CREATE VIEW both_once AS SELECT n, m FROM one UNION SELECT n, m FROM two;
CREATE VIEW both_all AS SELECT n, m FROM one UNION ALL SELECT n, m FROM two;
INSERT INTO one VALUES (1, 'x', 5), (2, 'X', 3), (3, 'b', 1), (4, 'Bb', 2), (5, 'zz', 9);
INSERT INTO two VALUES (1, 'B', 5), (2, 'bB', 1), (3, 'Zz', 4), (4, 'x', 7), (5, 'ZZ', 1);
"""


async def test_of_equal_texts_of_a_query_groups_and_extremes_take_the_one_that_sqlite_meets(postgres_url: str) -> None:
    *schema, one, two = (text for text in FOLDED.split(";\n") if text.strip())
    asked = (
        "SELECT n, count(*) FROM {} GROUP BY n",
        "SELECT n FROM {} GROUP BY n ORDER BY n",
        "SELECT min(n), max(n) FROM {}",
        "SELECT n, max(m) FROM {} GROUP BY n",
        "SELECT max(n) FROM {} GROUP BY m > 3",
        "SELECT n, min(m) FROM {} GROUP BY 1 HAVING count(*) > 1",
        "SELECT upper(n) u, min(n) FROM {} GROUP BY u",
        "SELECT min(n COLLATE NOCASE) FROM {}",
    )
    queries = (
        *("both_once", "both_all", "(SELECT DISTINCT n, m FROM two)", "(SELECT n, m FROM one ORDER BY m)"),
        "(SELECT n, m FROM two UNION ALL SELECT n, m FROM one)",
        "(SELECT n, m FROM one WHERE m > 1 UNION SELECT n, m FROM two ORDER BY 2 LIMIT 7)",
        "(SELECT n, max(m) AS m FROM two GROUP BY m)",
        "(SELECT n COLLATE BINARY AS n, m FROM one UNION SELECT n, m FROM two)",
    )
    async with world(postgres_url, ";\n".join(schema), data=(one, two)) as made:
        await made.all_same([sql.format(query) for query in queries for sql in asked], ordered=True)


MADE_OF_IT = ["coalesce(name, '')", "ifnull(name, note)", "coalesce(name COLLATE NOCASE, '')", "likely(name)",
              "upper(name)", "+name", "(name)", "name || ''", "max(name, '')", "iif(1, name, '')", "CAST(name AS TEXT)",
              "CASE WHEN 1 THEN name COLLATE NOCASE END", "(SELECT name)", "note COLLATE NOCASE"]  # fmt: skip
READ_BY = ["SELECT id FROM names WHERE {0} = 'A'", "SELECT id FROM (SELECT id, {0} q FROM names) WHERE q = 'A'",
           "WITH a AS MATERIALIZED (SELECT id, {0} q FROM names) SELECT id FROM a WHERE q < 'B'",
           "SELECT count(*) FROM (SELECT {0} q FROM names) GROUP BY q",
           "SELECT DISTINCT q FROM (SELECT {0} q FROM names)",
           "SELECT id FROM (SELECT id, {0} q FROM names) ORDER BY q, id",
           "SELECT id FROM names WHERE 'A' IN (SELECT {0})",
           "SELECT id FROM (SELECT id, {0} q FROM names UNION ALL SELECT 9, 'A') WHERE q = 'a'",
           "SELECT m FROM (SELECT max({0}) m FROM names GROUP BY id) WHERE m = 'A'",
           "SELECT id, rank() OVER (ORDER BY q) FROM (SELECT id, {0} q FROM names)"]  # fmt: skip


async def test_a_call_has_no_collation_behind_its_query_either(postgres_url: str) -> None:
    """SQLite compares `coalesce(name, '')` bytewise, also where a subquery names it; a column keeps its collation."""
    schema = "CREATE TABLE names (id INTEGER PRIMARY KEY, name TEXT COLLATE NOCASE, note TEXT);"
    data = ["INSERT INTO names VALUES (1, 'a', 'a'), (2, 'A', 'A'), (3, 'b', NULL), (4, NULL, 'x')"]
    async with world(postgres_url, schema, data=data) as made:
        await made.all_same(read.format(one) for one in MADE_OF_IT for read in READ_BY)


async def test_a_cast_keeps_the_collation_of_what_is_cast(postgres_url: str) -> None:
    schema = "CREATE TABLE n (id INTEGER PRIMARY KEY, k TEXT COLLATE NOCASE, r TEXT COLLATE RTRIM, x TEXT);"
    data = ("INSERT INTO n VALUES (1, 'a', 'a ', 'B'), (2, 'A', 'a', 'b'), (3, 'b', 'b', 'C'), (4, '7', '7 ', '7')",)
    found = []
    for kind in ("TEXT", "NUMERIC", "INTEGER", "REAL", "BLOB"):
        for inner in ("k", "r", "k COLLATE BINARY", "x COLLATE NOCASE", "CAST(k AS TEXT)", "k || ''"):
            cast = f"CAST({inner} AS {kind})"
            found += [
                f"SELECT {cast} FROM n UNION SELECT x FROM n",
                f"SELECT {cast} FROM n UNION ALL SELECT x FROM n ORDER BY 1",
                f"SELECT x FROM n UNION SELECT {cast} FROM n",
                f"SELECT DISTINCT {cast} FROM n",
                f"SELECT id FROM n WHERE 'A' = {cast}",
                f"SELECT id FROM n ORDER BY {cast} DESC, id",
            ]
            if kind != "REAL":  # reals and texts in one column are refused beside others
                found.append(f"SELECT * FROM (SELECT {cast} AS v FROM n UNION ALL SELECT x FROM n) WHERE v = 'b'")
    async with world(postgres_url, schema, data=data) as both:
        await both.all_same(found)
