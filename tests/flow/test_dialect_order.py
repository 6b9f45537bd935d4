"""Rows come in SQLite's order also where no ORDER BY asks for one: applications get used to it, and LIMIT shows it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from random import Random

import asyncpg
import pytest

from tests.flow.dialect_world import World, world

SCHEMA = """
CREATE TABLE t (id INTEGER PRIMARY KEY, b INTEGER, c TEXT, d REAL);
CREATE INDEX tb ON t (b);
CREATE INDEX tc ON t (c, b DESC);
CREATE TABLE u (x TEXT PRIMARY KEY, y INTEGER) WITHOUT ROWID;
CREATE TABLE down (a TEXT, b INTEGER, c TEXT, PRIMARY KEY (a, b DESC)) WITHOUT ROWID;
CREATE INDEX downc ON down (c);
CREATE TABLE m (id INTEGER PRIMARY KEY, n DECIMAL(10, 2), e INTEGER);
CREATE INDEX me ON m (e DESC);
CREATE TABLE w (p, q, r INTEGER);
CREATE TABLE way (a INTEGER, b INTEGER, long INTEGER);
CREATE INDEX ways ON way (a, long);
CREATE VIEW gathers AS SELECT c, count(*) AS k, group_concat(id) AS ids, avg(d) AS av FROM t GROUP BY c;
CREATE VIEW joined AS SELECT group_concat(t.id) AS g FROM w, t;
CREATE VIEW again AS SELECT ids, av FROM gathers WHERE k > 1;
CREATE VIEW found AS SELECT id, d, b FROM t WHERE b > 0;
CREATE VIEW asked AS
  SELECT id, (SELECT id FROM t AS o WHERE o.b > t.d) AS one, (SELECT id FROM t AS o WHERE c >= 'A') AS two FROM t
  WHERE id < (SELECT max(y) FROM (SELECT y * 3 AS y FROM u)) OR (SELECT c FROM t) IS NULL;
CREATE VIEW few AS SELECT * FROM t LIMIT 2;
CREATE VIEW fewest AS SELECT c, b FROM t LIMIT 3;
CREATE VIEW fewer AS SELECT id, d FROM few ORDER BY d DESC;
CREATE VIEW some AS SELECT b FROM t UNION SELECT y * 3 FROM u LIMIT 2;
CREATE VIEW several(k) AS SELECT b FROM t UNION ALL SELECT y FROM u LIMIT 4;
CREATE VIEW sorted AS SELECT id, b, d FROM t ORDER BY d DESC;
CREATE VIEW top AS SELECT id, b FROM t ORDER BY d DESC LIMIT 3;
"""

FOUND = "WITH RECURSIVE met(x, d) AS (SELECT 1, 0 UNION ALL SELECT b, d + 1 FROM way JOIN met ON a = x WHERE d < 4)"
"""A recursion over a join: SQLite takes one row after the other, and finds others in the order of the index."""

MET = "WITH RECURSIVE met(x) AS (SELECT 1 UNION SELECT b FROM way JOIN met ON a = x)"
"""The same without rows that were found before."""

DATA = (
    "INSERT INTO t VALUES (5, 3, 'x', 1.5), (1, 2, 'y', 2), (9, 2, 'x', NULL), (3, NULL, 'A', 0.5), (4, 3, NULL, 1.5)",
    "INSERT INTO u VALUES ('q', 2), ('a', 3), ('m', 2)",
    "INSERT INTO w VALUES (1, 'z', 3), (1.0, 'b', 3), ('1', x'00', 1), (NULL, 2, 2), (2, 2, 9)",
    "INSERT INTO way VALUES (1, 2, 3), (1, 3, 1), (2, 4, 1), (3, 4, 2), (4, 5, 1), (2, 5, 7)",
    "INSERT INTO down VALUES ('x', 1, 'p'), ('x', 3, 'p'), ('w', 2, 'q'), ('x', 2, 'q'), ('w', 7, 'r')",
    "INSERT INTO m VALUES (4, 2.5, 1), (3, 2.5, 2), (2, 0, 1), (1, -1, 2), (5, NULL, 1)",
    "UPDATE t SET d = 9 WHERE id = 1",
    "UPDATE w SET r = 7 WHERE r = 1",
)

STATEMENTS = [
    "SELECT `main`.`t`.`id` FROM `main`.`t` WHERE `main`.`t`.`c` IN ('x', 'A') LIMIT -1 OFFSET 0",
    "SELECT `main`.`u`.`x`, id FROM `main`.`u` JOIN Main.t ON b = y ORDER BY `main`.`t`.`d` LIMIT 2",
    "SELECT id FROM main.found LIMIT 2",
    "SELECT b, row_number() OVER () FROM (SELECT c, b FROM t LIMIT 3)",
    "SELECT b, ntile(2) OVER () FROM (SELECT c, b FROM t LIMIT 3) AS s",
    "SELECT b, sum(b) OVER (ORDER BY c ROWS 1 PRECEDING), lag(b) OVER () FROM (SELECT c, b FROM t LIMIT 3) AS t",
    "SELECT b, rank() OVER (ORDER BY b) FROM (SELECT c, b FROM t LIMIT 3) AS s ORDER BY c DESC",
    "SELECT max(b) FROM (SELECT b, ntile(2) OVER () FROM (SELECT c, b FROM t LIMIT 3 OFFSET 1) AS s)",
    "SELECT b, n FROM (SELECT b, row_number() OVER () AS n FROM (SELECT c, b FROM t LIMIT 4) AS s) WHERE n < 3",
    "WITH s AS (SELECT c, b FROM t LIMIT 3) SELECT b, row_number() OVER () FROM s",
    "SELECT id, row_number() OVER () FROM few",
    "SELECT b, row_number() OVER () FROM fewest",
    "SELECT b, row_number() OVER (PARTITION BY b) FROM (SELECT b, c FROM t ORDER BY c LIMIT 3) AS s",
    "SELECT b FROM (SELECT c, b FROM t LIMIT 3) AS s ORDER BY b",
    "SELECT DISTINCT b FROM (SELECT c, b FROM t LIMIT 3) AS s",
    "SELECT b, count(*) FROM (SELECT c, b FROM t LIMIT 3) AS s GROUP BY b",
    "SELECT s.b, u.x FROM (SELECT c, b FROM t LIMIT 3) AS s, u",
    "SELECT * FROM t LEFT JOIN (SELECT 3 AS b, 9 AS q) AS one USING (b)",
    "SELECT * FROM t NATURAL LEFT JOIN (SELECT 3 AS b, 9 AS q)",
    "SELECT t.id, most FROM (SELECT max(y) AS most FROM u), t WHERE t.b <= most",
    "SELECT t.id, one.x FROM t LEFT JOIN (SELECT DISTINCT x, y FROM u) AS one ON one.y = t.b AND one.x > 'm'",
    "SELECT a, b FROM way ORDER BY +2, (1)",
    "SELECT a, b, count(*) FROM way GROUP BY +2",
    "SELECT b FROM way GROUP BY (1) ORDER BY (+1) DESC",
    "SELECT a FROM way UNION ALL SELECT b FROM way ORDER BY +1",
    "SELECT * FROM t",
    "SELECT * FROM t WHERE b IN (3, 2)",
    "SELECT * FROM t WHERE b > 1 LIMIT 2",
    "SELECT b FROM t LIMIT 2",
    "SELECT * FROM w",
    "SELECT count(*), d FROM t GROUP BY d",
    "SELECT DISTINCT b, 4 FROM t WHERE b = 3 GROUP BY + 2.0",
    "SELECT c, count(*) FROM t GROUP BY c",
    "SELECT d > 1, count(*) FROM t GROUP BY 1",
    "SELECT max(r), p FROM w GROUP BY p",
    "SELECT b, count(*) FROM t GROUP BY b ORDER BY 2",
    "SELECT b, c, count(*) FROM t GROUP BY b, c",
    "SELECT b AS x, count(*) FROM t GROUP BY 1",
    "SELECT t.id, t.c, t.d, count(u.x) FROM t LEFT JOIN u ON t.b = u.y GROUP BY t.id, t.c, t.d",
    "SELECT t.d, t.id, count(m.n) FROM t LEFT JOIN m ON m.e = t.b GROUP BY 1, 2 HAVING count(*) < 9",
    "SELECT t.id, d > 1, count(m.n) FROM t LEFT JOIN m ON m.e = t.b GROUP BY 1, 2 ORDER BY 2",
    "SELECT u.y, m.id, count(*) FROM u JOIN m ON m.e = u.y GROUP BY m.id, u.y",
    "SELECT lower(c), id, count(*) FROM t GROUP BY 1, id",
    "SELECT d, count(*) FROM t GROUP BY d ORDER BY 2 DESC",
    "SELECT n, count(*) FROM m GROUP BY n LIMIT 2",
    "SELECT id FROM m WHERE n ORDER BY n DESC, 1",
    "SELECT id FROM m ORDER BY e",
    "SELECT id FROM m ORDER BY e DESC LIMIT 2",
    "SELECT e, count(*) FROM m GROUP BY e",
    "SELECT e, group_concat(id), n FROM m WHERE e > 0 GROUP BY e ORDER BY e",
    "SELECT e, group_concat(id), n FROM m GROUP BY e ORDER BY e DESC",
    "SELECT e AS k, group_concat(id), n FROM m GROUP BY 1 ORDER BY k",
    "SELECT long, count(*) FROM way WHERE a = 1 GROUP BY long",
    "SELECT long, a FROM way WHERE a = 2 ORDER BY a DESC LIMIT 1",
    "SELECT DISTINCT b, a FROM way WHERE a = 1 ORDER BY a",
    "SELECT b, count(*) FROM t WHERE c = 'x' GROUP BY b LIMIT 1",
    "SELECT c, b FROM t WHERE c = 'x' ORDER BY c DESC",
    "SELECT way.a, count(*) FROM t JOIN way ON way.a = t.id GROUP BY way.a",
    "SELECT d, way.b FROM t JOIN way ON way.a = t.id WHERE way.a = 1 ORDER BY 1",
    "SELECT e, group_concat(id), n FROM m GROUP BY e ORDER BY count(*) > 9",
    "SELECT c, b, group_concat(id), d FROM t GROUP BY c, b ORDER BY c, b DESC",
    "SELECT c, b, group_concat(id), d FROM t GROUP BY c, b ORDER BY c DESC, b",
    "SELECT c, b, group_concat(id), d FROM t GROUP BY c, b ORDER BY c DESC, b DESC",
    "SELECT c, b, group_concat(id), d FROM t GROUP BY 1, 2 ORDER BY 1 DESC",
    "SELECT DISTINCT d FROM t",
    "SELECT DISTINCT c FROM t LIMIT 2",
    "SELECT DISTINCT p FROM w",
    "SELECT DISTINCT y, b FROM u JOIN t ON y = b",
    "SELECT DISTINCT 1, 'x' FROM t",
    "SELECT DISTINCT c, d FROM t ORDER BY c",
    "SELECT DISTINCT d + 0, b FROM t ORDER BY 2 DESC",
    "SELECT DISTINCT d FROM t ORDER BY b + 0, c",
    "SELECT DISTINCT d FROM t ORDER BY b DESC LIMIT 2",
    "SELECT DISTINCT d FROM t ORDER BY id DESC",
    "SELECT DISTINCT d FROM t WHERE c = 'x' ORDER BY b",
    "SELECT DISTINCT t.d FROM t JOIN u ON t.b <> u.y ORDER BY u.y, t.c DESC",
    "SELECT DISTINCT count(*) FROM t GROUP BY d ORDER BY max(id) DESC",
    "SELECT DISTINCT 1 FROM t ORDER BY d",
    "SELECT id FROM t WHERE c = 'y' OR b = 3 LIMIT 2",
    "SELECT id FROM t WHERE (c < 'z' OR b > 2) AND id > 1",
    "SELECT d, count(*), id FROM t WHERE c > 'a' OR b = 3 GROUP BY d",
    "SELECT m.id, t.id FROM m LEFT JOIN t ON t.b = m.e OR t.c = m.n",
    "SELECT id FROM t WHERE b > 2 OR c = 'y' ORDER BY d > 1",
    "SELECT d IN (SELECT b FROM t), id FROM t ORDER BY 1",
    "SELECT u.x, t.id, t.c FROM u JOIN t ON t.d = u.y",
    "SELECT u.x, t.id FROM u LEFT JOIN t ON t.d = u.y + 0.5 AND t.b > 0",
    "SELECT p.id, q.* FROM t p JOIN t q ON p.d = q.d LIMIT 4",
    "SELECT p.id, q.id, q.c FROM t p JOIN t q USING (d) ORDER BY p.b",
    "SELECT m.id, t.id, t.c, row_number() OVER () FROM m JOIN t ON t.d = m.n - 1",
    "SELECT w.r, group_concat(q.p) FROM w JOIN w q ON w.r = q.r GROUP BY w.r",
    "SELECT (SELECT id FROM t WHERE b > 1), (SELECT id FROM t WHERE c > 'A'), (SELECT max(b) FROM t) FROM u",
    "SELECT x, (SELECT d FROM t WHERE b > y - 1 LIMIT 1 OFFSET 1), (SELECT DISTINCT d FROM t WHERE c >= x) FROM u",
    "SELECT (SELECT group_concat(id) FROM t WHERE b > 0), EXISTS (SELECT (SELECT id FROM t WHERE b > 2) FROM u)",
    "SELECT x FROM u WHERE (SELECT id FROM t WHERE b > 1) IN (SELECT (SELECT id FROM t WHERE b > 0) FROM u)",
    "SELECT (SELECT d FROM t UNION SELECT y FROM u), (SELECT id FROM t GROUP BY c), (VALUES (7), (8))",
    "SELECT CASE WHEN (SELECT id FROM t WHERE c > 'A') > y THEN (SELECT c FROM t WHERE b > 0) END FROM u ORDER BY 1, x",
    "WITH q(k) AS (SELECT (SELECT id FROM t WHERE b > 2)) SELECT k, (SELECT d FROM t WHERE c > 'A') FROM q",
    "UPDATE way SET long = (SELECT id FROM t WHERE b > 0) WHERE a = 4 RETURNING long",
    f"{MET} SELECT * FROM met",
    f"{MET} SELECT group_concat(x) FROM met WHERE x > 1",
    f"{MET} SELECT x, long FROM met JOIN way ON a = x",
    f"{MET} SELECT count(*), max(x) FROM met",
    "SELECT * FROM asked",
    "SELECT two FROM asked",
    "SELECT one, (SELECT id FROM t WHERE b > 1) FROM asked WHERE two > 0",
    "SELECT (SELECT id FROM t WHERE c > 'A'), a.two, a.one FROM (SELECT one, two FROM asked) AS a, u",
    "SELECT id FROM u, t WHERE id IN (SELECT two FROM asked WHERE one IS NOT NULL)",
    "WITH RECURSIVE c(x) AS (SELECT b FROM t UNION SELECT x + 1 FROM c WHERE x < 5) SELECT x FROM c",
    "WITH RECURSIVE c(x, l) AS (SELECT b, 0 FROM t UNION ALL SELECT x, l + 1 FROM c WHERE l < 2) SELECT * FROM c",
    "WITH RECURSIVE c(x) AS (SELECT d FROM t UNION SELECT b FROM c JOIN way ON a = x) SELECT x FROM c",
    "SELECT id FROM found ORDER BY d > 0",
    "SELECT d, count(*), id FROM found GROUP BY d",
    "SELECT group_concat(id), count(*), id FROM found",
    "SELECT DISTINCT d FROM found LIMIT 2",
    "SELECT f.id, m.id FROM found f JOIN m ON m.e <> f.b LIMIT 7",
    "SELECT q.id, m.id FROM m LEFT JOIN (SELECT id, b AS e FROM found WHERE d) AS q USING (e) ORDER BY m.n",
    "WITH q AS (SELECT id, d FROM found) SELECT d, id FROM q ORDER BY d = 1.5",
    "WITH q AS (SELECT id, d FROM found) SELECT q.*, y FROM q, u LIMIT 5",
    "WITH q(k, v) AS (VALUES (3, 'c'), (1, 'a'), (2, 'b')) SELECT k, v, y FROM q JOIN u ON y <> k LIMIT 4",
    "SELECT column1, y FROM (VALUES (3), (1), (2)), u",
    "SELECT DISTINCT column1 > 1 FROM (VALUES (3), (1), (2)) AS q",
    "SELECT * FROM (VALUES (3, 'c'), (1, 'a'), (2, 'b')) AS q JOIN t ON column1 >= b ORDER BY t.d",
    "SELECT DISTINCT c FROM t ORDER BY d",
    "SELECT DISTINCT c FROM t ORDER BY d DESC, id LIMIT 2",
    "SELECT DISTINCT c FROM t ORDER BY id DESC",
    "SELECT DISTINCT d FROM t ORDER BY b DESC",
    "SELECT DISTINCT d AS x, c FROM t ORDER BY lower(c) DESC, x",
    "SELECT DISTINCT id FROM t ORDER BY c COLLATE NOCASE DESC",
    "SELECT DISTINCT c FROM t ORDER BY (SELECT max(y) FROM u WHERE y = b), 1",
    "SELECT DISTINCT e FROM m ORDER BY n DESC LIMIT 3",
    "SELECT DISTINCT n FROM m ORDER BY e",
    "SELECT DISTINCT t.c, t.d FROM t JOIN u ON t.b = u.y ORDER BY u.x",
    "SELECT DISTINCT t.c FROM t LEFT JOIN m ON t.b = m.e WHERE t.id > 1 ORDER BY m.n, t.c LIMIT 2 OFFSET 1",
    "SELECT id FROM t ORDER BY d DESC",
    "SELECT id, c FROM t ORDER BY c DESC, d > 1",
    "SELECT x.id, y.id FROM t x JOIN t y ON y.c = x.c ORDER BY x.c DESC",
    "SELECT x.id, y.id FROM m x JOIN m y ON y.e > x.e ORDER BY x.e",
    "SELECT id FROM t ORDER BY b DESC LIMIT 2",
    "SELECT id FROM t ORDER BY c, b DESC",
    "SELECT p, q FROM w ORDER BY r",
    "SELECT d FROM t UNION SELECT y FROM u",
    "SELECT c FROM t UNION SELECT y FROM u LIMIT 3",
    "SELECT c FROM t EXCEPT SELECT 'x'",
    "SELECT * FROM t, u WHERE t.b = u.y",
    "SELECT * FROM u LEFT JOIN t ON t.b = u.y",
    "SELECT x FROM u",
    "SELECT row_number() OVER (), id FROM t",
    "SELECT id, sum(b) OVER (PARTITION BY c ORDER BY d ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM t",
    "SELECT id, rank() OVER (ORDER BY b), sum(b) OVER () FROM t",
    "SELECT b, count(*), rank() OVER (ORDER BY count(*)) FROM t GROUP BY b",
    "SELECT r, p FROM (SELECT p, r, row_number() OVER (PARTITION BY r) AS n FROM w) WHERE n = 1",
    "SELECT b, group_concat(c) FROM t GROUP BY b",
    "SELECT b, group_concat(DISTINCT c) FROM t GROUP BY b",
    "SELECT group_concat(DISTINCT d), json_group_array(DISTINCT c) FROM t WHERE c > ''",
    "SELECT r, group_concat(r) OVER (ORDER BY r) FROM w",
    "SELECT d, rank() OVER (ORDER BY d ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) FROM t",
    "SELECT DISTINCT c, sum(b) FROM t GROUP BY lower(c) LIMIT 2 OFFSET 1",
    "SELECT (SELECT c FROM t WHERE t.b = w.r) FROM w",
    "SELECT * FROM (SELECT DISTINCT d FROM t)",
    "SELECT * FROM (SELECT d, count(*) FROM t GROUP BY d) WHERE d > 1",
    "WITH q AS (SELECT d, count(*) AS n FROM t GROUP BY d) SELECT n FROM q",
    "SELECT b FROM t UNION ALL SELECT y FROM u",
    "SELECT b FROM t UNION SELECT y FROM u UNION ALL SELECT y FROM u",
    "SELECT b FROM t EXCEPT SELECT y FROM u UNION ALL SELECT y FROM u UNION ALL SELECT b FROM t LIMIT 4 OFFSET 1",
    "SELECT b, c FROM t UNION SELECT y, y FROM u ORDER BY 2",
    "SELECT c, b FROM t UNION SELECT y, y FROM u ORDER BY 1 DESC LIMIT 5",
    "SELECT * FROM (SELECT b FROM t UNION SELECT y FROM u)",
    f"{FOUND} SELECT * FROM met",
    f"{FOUND} SELECT x FROM met LIMIT 3",
    f"{FOUND} SELECT met.*, row_number() OVER () FROM met",
    f"{FOUND} SELECT d, group_concat(x) FROM met GROUP BY d",
    f"{FOUND} SELECT group_concat(x) FROM met",
    "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT 3 - x FROM c, way WHERE b = 3) SELECT x FROM c LIMIT 4",
    "SELECT b, id FROM t UNION ALL SELECT y, x FROM u ORDER BY 1",
    "SELECT c, b FROM t UNION ALL SELECT x, y FROM u UNION ALL SELECT 'x', 0 ORDER BY 1",
    "SELECT b, d FROM t UNION ALL SELECT y, 0 FROM u ORDER BY 1 DESC LIMIT 4",
    "SELECT t.id, u.x FROM t FULL JOIN u ON t.b = u.y",
    "SELECT t.id, u.x FROM u RIGHT JOIN t ON t.b = u.y AND t.id < 5",
    "SELECT m.id, t.id FROM m FULL JOIN t ON t.b = m.e LIMIT 6",
    "SELECT m.id, t.id FROM u JOIN m ON m.e = u.y RIGHT JOIN t ON t.b = m.id ORDER BY u.y",
    "SELECT group_concat(m.id), group_concat(t.id) FROM t FULL JOIN m ON t.id = m.id",
    "SELECT * FROM down",
    "SELECT b FROM down WHERE a = 'x' LIMIT 2",
    "SELECT b FROM down WHERE c = 'p'",
    "SELECT a, group_concat(b), (SELECT b FROM down WHERE a = o.a) FROM down AS o GROUP BY a",
    "SELECT a, b FROM down GROUP BY a, b",
    "SELECT x.b, y.b, row_number() OVER () FROM down AS x JOIN down AS y USING (a)",
    "DELETE FROM down WHERE a = 'x' AND b < 3 RETURNING b",
    "UPDATE down SET c = 'z' RETURNING a, b",
    "INSERT INTO w (p, r) SELECT c, b FROM t WHERE b > 0 RETURNING rowid, p, r",
    "SELECT rowid, * FROM w",
    "SELECT c, id, count(*) FROM t GROUP BY c, id",
    "SELECT e, id, count(*) FROM m GROUP BY id, e LIMIT 3",
    "UPDATE t SET c = id WHERE id > 1 RETURNING id, c",
    "UPDATE m SET n = 1 WHERE e < 3 RETURNING id, n, e",
    "DELETE FROM t WHERE b > 0 RETURNING *",
    "DELETE FROM m RETURNING n",
]


@pytest.fixture
async def both(postgres_url: str) -> AsyncIterator[World]:
    async with world(postgres_url, SCHEMA, data=DATA) as made:
        yield made


MERGED = [
    "SELECT b, c FROM t EXCEPT SELECT 1, 'x' UNION ALL SELECT e, n FROM m ORDER BY 1",
    "SELECT b, c FROM t UNION SELECT y, x FROM u UNION ALL SELECT y, x FROM u ORDER BY b DESC",
    "SELECT b, c FROM t UNION SELECT y AS z, x FROM u UNION ALL SELECT e, id FROM m ORDER BY z DESC LIMIT 5",
    "SELECT b, c FROM t INTERSECT SELECT b, c FROM t UNION ALL SELECT y, x FROM u UNION ALL SELECT 1, 2 ORDER BY 1",
    "SELECT b, id FROM t UNION ALL SELECT e, id FROM m ORDER BY 1 DESC LIMIT 7",
    "SELECT c, b, id FROM t UNION ALL SELECT x, y, 0 FROM u ORDER BY 1, 2 DESC",
    "SELECT b, c FROM t EXCEPT SELECT y, x FROM u UNION ALL SELECT y, x FROM u ORDER BY b COLLATE NOCASE DESC",
    "SELECT group_concat(c) FROM (SELECT b, c FROM t EXCEPT SELECT 1, 'x' UNION ALL SELECT y, x FROM u ORDER BY 1)",
]
"""What stands before the UNION ALLs is sorted by all of its columns, to find rows that are equal."""


CALLED_AS_A_TABLE = [
    "WITH t AS (SELECT id, b FROM main.t WHERE b > 0) SELECT * FROM t",
    "WITH t AS (SELECT id, b FROM main.t WHERE b > 0) SELECT * FROM t LIMIT 2",
    "WITH t AS (SELECT id, b FROM main.t ORDER BY d) SELECT * FROM t WHERE b > 2",
    "WITH t AS (SELECT id, b FROM main.t ORDER BY d DESC LIMIT 3) SELECT * FROM t ORDER BY b LIMIT 1",
    "WITH RECURSIVE t(n) AS (SELECT b FROM main.t WHERE b > 2 UNION ALL SELECT n + 9 FROM t WHERE n<9) SELECT * FROM t",
    "WITH u AS (SELECT id AS y FROM t) SELECT u.y, z.x FROM u JOIN main.u AS z ON z.y = u.y",
]
"""Common table expressions that have the name of a table, which is read by its full name."""

NAMED = [
    "SELECT b, -id AS b FROM t ORDER BY b",
    "SELECT b, -id AS b FROM t ORDER BY t.b, id",
    "SELECT b, -id AS b FROM t ORDER BY b LIMIT 2",
    "SELECT *, -id AS b FROM t ORDER BY b, id",
    "SELECT c, t.*, -id AS b FROM t ORDER BY c, id",
    "SELECT DISTINCT b, -id AS b FROM t ORDER BY b",
    "SELECT b, count(*) AS b FROM t GROUP BY c ORDER BY b, c",
    "SELECT rowid, -id AS rowid FROM t ORDER BY rowid",
    "SELECT b, row_number() OVER (ORDER BY d, id) AS b FROM t ORDER BY b",
    "SELECT b, -id AS b FROM t UNION ALL SELECT 4, 5 ORDER BY b",
    "SELECT b, -id AS b FROM t UNION SELECT 4, 5 ORDER BY b DESC",
    "SELECT way.b, id FROM t LEFT JOIN way USING (b) ORDER BY b, id, long",
    "SELECT DISTINCT way.b FROM t LEFT JOIN way USING (b) ORDER BY b",
    "SELECT t.b, long FROM t FULL JOIN way USING (b) ORDER BY b DESC, long, id",
]


async def test_a_query_that_is_called_as_the_table_that_it_reads(both: World) -> None:
    await both.all_same(CALLED_AS_A_TABLE, ordered=True)


async def test_order_by_a_name_is_by_what_as_has_given_else_by_the_column_in_from(both: World) -> None:
    await both.all_same(NAMED, ordered=True)


async def test_rows_that_were_sorted_stay_before_others_in_ties(both: World) -> None:
    await both.all_same(MERGED, ordered=True)


SORTED = [
    "SELECT group_concat(k) FROM (SELECT c AS k FROM t UNION SELECT b FROM t)",
    "SELECT group_concat(k), k > 3 FROM (SELECT id AS k FROM t EXCEPT SELECT y FROM u) AS one GROUP BY k > 3",
    "WITH one(k) AS (SELECT b FROM t UNION SELECT id FROM t) SELECT group_concat(k) FROM one",
    "SELECT k, row_number() OVER () FROM (SELECT c AS k FROM t UNION SELECT b FROM t)",
    "SELECT one.k, u.x FROM (SELECT b AS k FROM t UNION SELECT id FROM t) AS one JOIN u ON u.y < one.k LIMIT 4",
    "SELECT t.id, o.k FROM t LEFT JOIN (SELECT y AS k FROM u INTERSECT SELECT b FROM t) AS o ON o.k < t.id LIMIT 6",
]
"""Compounds whose rows SQLite tells apart by sorting them, read by others."""


async def test_rows_of_a_compound_come_sorted(both: World) -> None:
    await both.all_same(SORTED, ordered=True)


CUT = [
    "SELECT * FROM (SELECT * FROM t LIMIT 2) ORDER BY d",
    "SELECT one.b FROM (SELECT b, d FROM t WHERE id < 9 LIMIT 2) AS one ORDER BY one.d DESC, b",
    "SELECT * FROM (SELECT * FROM (SELECT * FROM t LIMIT 2)) ORDER BY d",
    "SELECT * FROM (SELECT * FROM (SELECT * FROM t LIMIT 2) ORDER BY d) ORDER BY id DESC",
    "SELECT b FROM (SELECT b, d FROM t LIMIT 3 OFFSET 1) ORDER BY d",
    "SELECT b FROM (SELECT b, d FROM t ORDER BY id LIMIT 2) ORDER BY d",
    "SELECT b FROM (SELECT b, d FROM t LIMIT 3) WHERE b > 1 ORDER BY d",
    "SELECT d FROM (SELECT d FROM t LIMIT 3) ORDER BY d LIMIT 2",
    "SELECT DISTINCT d FROM (SELECT d FROM t LIMIT 2) ORDER BY d",
    "SELECT sum(id) FROM (SELECT id FROM t LIMIT 2) ORDER BY 1",
    "SELECT id FROM (SELECT id FROM t LIMIT 2) UNION ALL SELECT 7 ORDER BY 1 DESC",
    "WITH few AS (SELECT * FROM t LIMIT 2) SELECT id FROM few ORDER BY d",
    "WITH few(k) AS MATERIALIZED (SELECT id FROM t LIMIT 2) SELECT k FROM few ORDER BY k DESC",
    "WITH few AS (SELECT * FROM t LIMIT 2) SELECT id FROM few WHERE id > (SELECT min(id) FROM few) ORDER BY d",
    "SELECT id, row_number() OVER (ORDER BY d) FROM (SELECT * FROM t LIMIT 2)",
    "SELECT id, row_number() OVER (ORDER BY d) FROM (SELECT * FROM t LIMIT 2) WHERE 1",
    "SELECT k, sum(k) OVER (PARTITION BY b ORDER BY k DESC) FROM (SELECT id AS k, b FROM t LIMIT 3) ORDER BY k LIMIT 2",
    "SELECT id FROM t WHERE id IN (SELECT id FROM (SELECT * FROM t LIMIT 2) ORDER BY d)",
    "SELECT (SELECT id FROM (SELECT * FROM t LIMIT 2) ORDER BY d), (SELECT id FROM t ORDER BY d DESC LIMIT 2)",
    "SELECT (SELECT id FROM t WHERE id > 1 LIMIT -1), (SELECT y FROM u UNION ALL SELECT 1 LIMIT 3)",
    "SELECT e FROM (SELECT DISTINCT e, n FROM m LIMIT 3), (SELECT 1)",
    "SELECT id FROM m WHERE n IN (SELECT max(n) FROM m GROUP BY n LIMIT 2)",
    "SELECT id FROM few ORDER BY d",
    "SELECT id FROM few AS f WHERE f.id > 1 ORDER BY f.d",
    "SELECT * FROM fewer",
    "SELECT * FROM fewer ORDER BY id DESC",
    "SELECT id, row_number() OVER (ORDER BY d) FROM few",
    "SELECT id FROM few JOIN u ON b = y ORDER BY d, x",
    "SELECT id FROM t WHERE id IN (SELECT id FROM few ORDER BY d)",
    "SELECT * FROM some ORDER BY b DESC",
    "SELECT * FROM several ORDER BY k",
    "SELECT * FROM several WHERE k > 2 ORDER BY k",
    "SELECT * FROM (SELECT id, b, d FROM t) ORDER BY b",
    "SELECT * FROM sorted",
    "SELECT * FROM sorted ORDER BY b",
    "SELECT sorted.id, x FROM sorted JOIN u ON b = y",
    "SELECT one.id, x FROM (SELECT id, b FROM t ORDER BY d DESC) AS one LEFT JOIN u ON b = y",
    "SELECT group_concat(id) FROM sorted ORDER BY 1",
    "SELECT id FROM top ORDER BY b",
    "WITH few AS (SELECT 3 AS id, 1 AS d) SELECT id FROM few ORDER BY d",
    "SELECT id FROM t WHERE b IN (SELECT b FROM t WHERE b > 2 LIMIT 2)",
    "SELECT id FROM t WHERE id IN (SELECT id FROM t WHERE c > 'A' LIMIT 2)",
    "SELECT id FROM t WHERE id IN (SELECT id FROM t ORDER BY c LIMIT 2)",
    "SELECT id FROM t WHERE (id, b) IN (SELECT id, b FROM t WHERE c IN (SELECT c FROM t LIMIT 2) LIMIT 2)",
    "SELECT id, (SELECT e FROM m LIMIT 1) FROM t WHERE b IN (SELECT e FROM m LIMIT 2) OR id IN (SELECT id FROM m)",
    "UPDATE t SET d = 0 WHERE id IN (SELECT id FROM t WHERE c >= 'A' LIMIT 2) RETURNING id",
    "DELETE FROM t WHERE id IN (SELECT id FROM t ORDER BY b DESC LIMIT 1)",
    "SELECT * FROM t",
]
"""LIMIT within: of which rows, only SQLite's way of making one query of two tells."""


async def test_limit_within_takes_the_rows_that_it_takes_on_sqlite(both: World) -> None:
    await both.all_same(CUT, ordered=True)


async def test_order_that_nobody_asked_for(both: World) -> None:
    await both.all_same(STATEMENTS, ordered=True)


GROUPED = (
    "SELECT n, e FROM m GROUP BY n, e",
    "SELECT n, max(e) AS e FROM m GROUP BY n",
    "SELECT e AS n, count(*) AS e FROM m GROUP BY e",
    "SELECT DISTINCT e AS n, n AS e FROM m",
    "SELECT DISTINCT n, 5 AS e FROM m",
    "SELECT n, e FROM m UNION SELECT y, y FROM u",
    "SELECT n, e FROM m EXCEPT SELECT 1, 2",
    "SELECT n, e FROM m UNION ALL SELECT r, r FROM w",
    "SELECT n, e FROM m ORDER BY n DESC, id LIMIT 4",
    "SELECT n, id AS e FROM m WHERE e > 1",
)
"""What stands in FROM, and is not read as if it did not."""
SHOWN = "SELECT b AS p, id % 2 AS q FROM t UNION ALL SELECT y, 1 FROM u ORDER BY p DESC"
GATHERED = (
    f"SELECT max(q), p FROM ({SHOWN})",
    f"SELECT min(q), p FROM ({SHOWN}, q)",
    f"SELECT count(*), p FROM ({SHOWN})",
    f"SELECT q, p FROM ({SHOWN}) GROUP BY q",
    f"SELECT q AS r, upper(p), count(*) FROM ({SHOWN}) GROUP BY r",
    f"WITH s AS ({SHOWN} LIMIT 7) SELECT q, p, max(p) FROM s GROUP BY q",
    f"SELECT id FROM t WHERE b IN (SELECT p FROM ({SHOWN}) GROUP BY q)",
    "SELECT max(q), p FROM (SELECT b AS p, id % 2 AS q FROM t UNION ALL SELECT y, 1 FROM u)",
    "SELECT n, b FROM (SELECT b, count(*) AS n FROM t GROUP BY b ORDER BY max(id) DESC) GROUP BY n",
    *(f"SELECT group_concat(n), json_group_array(e) FROM ({query})" for query in GROUPED),
    *(f"SELECT n, row_number() OVER (), sum(e) OVER (ROWS 1 PRECEDING) FROM ({query})" for query in GROUPED),
    *(f"SELECT e, group_concat(n) FROM ({query}) GROUP BY e ORDER BY e" for query in GROUPED),
    *(f"WITH g AS ({query}) SELECT group_concat(n || ':' || e) FROM g WHERE n IS NOT NULL" for query in GROUPED),
    "WITH g AS (SELECT n, max(e) AS e FROM m GROUP BY n), h(s) AS (SELECT group_concat(n) FROM g GROUP BY e) "
    "SELECT group_concat(s, '|') FROM h",
    "WITH RECURSIVE q(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM q WHERE n < 9) "
    "SELECT n % 3, group_concat(n) FROM q GROUP BY n % 3",
    "WITH RECURSIVE q(n) AS (SELECT 9 UNION SELECT n - 1 FROM q WHERE n > 1) "
    "SELECT n % 2, json_group_array(n) FROM q GROUP BY 1 ORDER BY 1",
    "WITH RECURSIVE q(n) AS (SELECT 9 UNION ALL SELECT n - 1 FROM q WHERE n > 1) SELECT n, lag(n) OVER () FROM q",
    "SELECT id, (SELECT group_concat(y) FROM (SELECT y, count(*) FROM u GROUP BY y) WHERE y <= id) FROM t",
    "SELECT group_concat(b) FROM (SELECT b FROM found GROUP BY b)",
    "SELECT ids FROM gathers WHERE k > 0 ORDER BY av DESC",
    "SELECT 1, 'x' UNION ALL SELECT 2, group_concat(t.id) FROM w, t ORDER BY 1",
    "SELECT 1, 'x' UNION SELECT 2, group_concat(t.id) FROM w, t UNION ALL SELECT 3, group_concat(e) FROM m",
    "SELECT g FROM joined UNION ALL SELECT 'z' ORDER BY 1",
    "SELECT t.id, lag(t.id) OVER () FROM t UNION SELECT 1, 2 ORDER BY 1",
    "SELECT group_concat(t.id) FROM w, t EXCEPT SELECT group_concat(w.r) FROM w, t ORDER BY 1",
    "SELECT t.id, lag(t.id) OVER () FROM w, t UNION SELECT 1, group_concat(y) FROM u, m GROUP BY e ORDER BY 2, 1",
    "SELECT ids FROM again ORDER BY av, ids",
    "SELECT * FROM gathers",
    "SELECT DISTINCT e, sum(id) OVER (PARTITION BY n ORDER BY id) FROM m",
    "SELECT DISTINCT e, row_number() OVER (ORDER BY id DESC) FROM m",
    "SELECT DISTINCT e, count(*) OVER () FROM m LIMIT 1",
    "SELECT DISTINCT e, rank() OVER (ORDER BY sum(id)) FROM m GROUP BY e, n",
)


async def test_what_is_gathered_comes_in_the_order_of_what_stands_in_from(both: World) -> None:
    await both.all_same(GATHERED, ordered=True)


EMPTY = """
CREATE TABLE e (n INTEGER PRIMARY KEY, v INTEGER, o INTEGER, d INTEGER);
CREATE TABLE i (n INTEGER PRIMARY KEY, v INTEGER, o INTEGER, d INTEGER);
CREATE INDEX iv ON i (v);
CREATE INDEX id ON i (d DESC);
CREATE INDEX io ON i (o, v);
"""


async def test_the_row_beside_an_extreme_of_nothing(postgres_url: str) -> None:
    """Where rows come in the order of the argument SQLite reads but one of them, otherwise all."""
    rows = "(1, NULL, 1, NULL), (2, NULL, 1, NULL), (4, NULL, 2, NULL)"
    data = [f"INSERT INTO {table} VALUES {rows}" for table in "ei"]
    async with world(postgres_url, EMPTY, data=data) as both:
        await both.all_same(
            f"SELECT n, {call} FROM {table} {rest}"
            for call in ("max(v)", "min(v)", "min(d)", "max(d)", "max(d), count(*)", "min(v), min(v) + 1")
            for table in "ei"
            for rest in (
                "",
                "WHERE v IS NULL",
                "WHERE d IS NULL AND o > 0",
                "WHERE +v IS NULL",
                "WHERE o = 1",
                "WHERE n < 4",
                "GROUP BY o",
                "HAVING count(*) > 0",
                "ORDER BY 2",
            )
        )


ADDED = [
    "SELECT sum(y), avg(y), total(y), sum(n), avg(n), total(n), sum(w), avg(w), total(w) FROM t",
    "SELECT g, sum(y), avg(y), total(n) FROM t GROUP BY g",
    "SELECT sum(y) FILTER (WHERE id > 2), sum(y * 0.1), sum(CASE WHEN g = 'a' THEN y ELSE 0 END) FROM t",
    "SELECT sum(y), avg(n) FROM t WHERE g = 'a'",
    "SELECT g, sum(p) FROM t JOIN o ON t_id = t.id GROUP BY g",
    "SELECT sum(p * y) FROM o JOIN t ON t_id = t.id WHERE t.g = 'a'",
    "SELECT g, sum(y) FROM t GROUP BY g HAVING sum(y) > 5 ORDER BY sum(y) DESC",
    "SELECT id, (SELECT sum(p) FROM o WHERE t_id = t.id) FROM t",
    "SELECT sum(s), avg(s), avg(a) FROM sums",
    "SELECT * FROM means",
    "SELECT sum(s), avg(s), total(s) FROM (SELECT x, sum(y) AS s FROM t GROUP BY x)",
    "SELECT sum(s), avg(s), total(s) FROM (SELECT y AS s FROM t ORDER BY x)",
    "SELECT sum(s), avg(s), total(s) FROM (SELECT DISTINCT y AS s FROM t)",
    "WITH c AS (SELECT x, sum(y) AS s FROM t GROUP BY x) SELECT sum(s) FROM c",
    "SELECT sum(y) FROM (SELECT y FROM t UNION ALL SELECT p FROM o)",
    "SELECT g, sum(y) OVER (PARTITION BY g), sum(y) OVER (ORDER BY g), sum(y) OVER (ORDER BY id) FROM t",
    "SELECT id, avg(y) OVER () FROM t",
]
"""Sums of reals, of which the last digit tells in which order they were added."""


async def test_reals_are_added_in_the_order_of_reading(postgres_url: str) -> None:
    schema = """
    CREATE TABLE t (id INTEGER PRIMARY KEY, x INTEGER, y REAL, n DECIMAL(10, 2), g TEXT, w TEXT);
    CREATE INDEX tg ON t (g);
    CREATE TABLE o (id INTEGER PRIMARY KEY, t_id INTEGER, p REAL);
    CREATE VIEW sums AS SELECT g, sum(y) AS s, avg(n) AS a FROM t GROUP BY g;
    CREATE VIEW means AS SELECT avg(s) AS m FROM (SELECT sum(y) AS s FROM t GROUP BY x);
    """
    chance = Random(5)
    prices = [round(chance.choice((0.1, 99.99, 1000.5, 1e6 / 3)) * chance.choice((1, 10, 0.01)), 3) for _ in range(60)]
    rows = [
        f"({at}, {chance.randrange(12)}, {price}, {price}, '{chance.choice('abcd')}', '{price}')"
        for at, price in enumerate(prices, 1)
    ]
    others = [f"({at}, {chance.randrange(30)}, {round(chance.random() * 100, 2)})" for at in range(1, 91)]
    data = [
        f"INSERT INTO t VALUES {', '.join(rows)}",
        f"INSERT INTO o VALUES {', '.join(others)}",
        "UPDATE t SET x = x + 1 WHERE id % 5 = 1",
        "UPDATE o SET t_id = t_id WHERE id % 7 = 2",
    ]
    async with world(postgres_url, schema, data=data) as both:
        different = [sql for sql in ADDED if both.on_sqlite(sql).rows != (await both.on_postgres(sql)).rows]
        assert different == []


JOINED = [
    "SELECT t.id, s.e FROM t JOIN (SELECT DISTINCT e FROM m) AS s ON s.e > t.b - 2 LIMIT 4",
    "SELECT t.id, s.e, k FROM t LEFT JOIN (SELECT e, count(*) AS k FROM m GROUP BY e) AS s ON s.e < t.b LIMIT 4",
    "SELECT a.c, s.e FROM (SELECT c, count(*) AS k FROM t GROUP BY c) AS a, (SELECT e, max(id) FROM m GROUP BY e) AS s",
    "SELECT t.id, s.e FROM (SELECT e FROM m ORDER BY id DESC LIMIT 3) AS s JOIN t ON s.e < t.b",
    "SELECT t.id, s.e FROM t JOIN (SELECT e FROM m UNION ALL SELECT y FROM u LIMIT 6) AS s ON s.e < t.b LIMIT 5",
    "SELECT t.id, s.k FROM t JOIN (SELECT e, row_number() OVER (ORDER BY n) AS k FROM m) AS s ON e < t.b ORDER BY t.b",
    "SELECT top.id, x FROM top JOIN u ON b = y",
    "SELECT t.id, top.b FROM t JOIN top ON top.b = t.b LIMIT 3",
    "SELECT s.e, t.id FROM (SELECT DISTINCT e FROM m) AS s RIGHT JOIN t ON s.e = t.b",
    "SELECT s.e, t.id FROM (SELECT e, count(*) FROM m GROUP BY e) AS s FULL JOIN t ON s.e = t.b LIMIT 5",
    "SELECT s.e, t.id FROM (SELECT e FROM m UNION SELECT y FROM u) AS s RIGHT JOIN t ON s.e = t.b",
    "SELECT s.e, t.id FROM t RIGHT JOIN (SELECT e, max(id) FROM m GROUP BY e) AS s ON s.e = t.b",
    "SELECT s.e, t.id FROM (SELECT e, n FROM m UNION SELECT y, 3 FROM u ORDER BY 2 DESC) AS s JOIN t ON s.e < t.b",
    "SELECT s.e, o.k FROM (SELECT e FROM m UNION SELECT y FROM u ORDER BY 1 DESC) AS s JOIN "
    "(SELECT b AS k, c FROM t EXCEPT SELECT 3, 'a' ORDER BY 2) AS o ON o.k > s.e",
]


async def test_rows_of_queries_that_are_joined_come_in_their_order(both: World) -> None:
    await both.all_same(JOINED, ordered=True)
    refused = "LIMIT over such outer joins without an ORDER BY"
    joined = "SELECT t.id, m.id, x FROM t FULL JOIN m ON e = b FULL JOIN u ON y = e"
    await both.refused(f"{joined} LIMIT 3", refused)
    await both.same(f"{joined} ORDER BY 1, 2, 3 LIMIT 3")


EXTREMES = [
    "SELECT n, min(a), max(b) FROM t",
    "SELECT n, max(b), min(a), max(b) FROM t",
    "SELECT n, g, max(a), min(a) FROM t GROUP BY g",
    "SELECT max(a) - min(b), n FROM t",
    "SELECT min(b) - max(a), n, id FROM t GROUP BY g",
    "SELECT n, min(a) FROM t GROUP BY g ORDER BY max(b)",
    "SELECT n, min(a), id FROM t GROUP BY g HAVING max(b) > 0 ORDER BY min(b)",
    "SELECT g, min(a), max(b), count(*), sum(a) FROM t GROUP BY g",
    "SELECT g, min(n), max(n), min(a), max(a), min(b), max(b) FROM t GROUP BY g ORDER BY 1",
    "SELECT a, n, min(b), max(b) FROM t GROUP BY a",
    "SELECT id, max(a), min(a) FROM t WHERE a > 100",
    "SELECT max(b), min(g) FROM t WHERE a = 1",
    "SELECT max(a), n FROM t WHERE g = 'x'",
    "SELECT min(a), n FROM t WHERE g = 'y'",
    "SELECT max(b), n FROM t",
    "SELECT min(b), n FROM t WHERE b > 0",
    "SELECT max(a), n, count(*) FROM t WHERE g = 'x'",
    "SELECT max(a), n FROM t ORDER BY 1",
]
"""Bare columns come from the row of the last min() or max(), the first that is met; an index may be read backwards."""


async def test_bare_columns_beside_extremes(postgres_url: str) -> None:
    schema = """
    CREATE TABLE t (id INTEGER PRIMARY KEY, a INTEGER, b REAL, g TEXT COLLATE NOCASE, n TEXT);
    CREATE INDEX tg ON t (g, a);
    CREATE INDEX tb ON t (b DESC);
    """
    data = [
        "INSERT INTO t VALUES (1, 5, 3, 'x', 'q'), (2, 3, 9, 'X', 'w'), (3, 9, 1, 'x', 'e'), (4, NULL, 2, 'y', 'r'), "
        "(5, 1, NULL, 'Y', 't'), (6, NULL, NULL, 'z', 'y'), (7, NULL, NULL, 'Z', 'u'), (8, 5, 5, 'Y', 'i'), "
        "(9, 9, 9, 'x', 'o'), (10, 1, 1, 'y', 'p')",
        "UPDATE t SET n = n || '.' WHERE id IN (2, 3, 5, 8)",
    ]
    async with world(postgres_url, schema, data=data) as both:
        await both.all_same(EXTREMES, ordered=True)


TURNED = [
    "SELECT id FROM p WHERE s IN ('x', 'z') AND r > 1 ORDER BY r LIMIT 4 OFFSET 1",
    "SELECT r, k FROM p WHERE s IN ('x', 'z') AND r > 1 ORDER BY 1",
    "SELECT r, group_concat(id), s FROM p WHERE s IN ('x', 'z') AND r > 1 GROUP BY r",
    "SELECT s, count(*), group_concat(id) FROM p WHERE u IN (1, 2, 7) GROUP BY s ORDER BY s DESC",
    "SELECT k, id, min(r) FROM p WHERE s IN ('x', 'z') AND r > 1",
    "SELECT DISTINCT s, p.k FROM p JOIN u ON u.id = u WHERE u IN (1, 2, 7) ORDER BY 1 DESC LIMIT 3",
    "SELECT u.k, s, p.id FROM p JOIN u ON u.id = p.u WHERE p.u = 3 ORDER BY 1 DESC",
    "SELECT u.g, p.id FROM p JOIN u ON u.id = p.u WHERE p.u = 3 ORDER BY 1",
    "SELECT u, group_concat(id) FROM p WHERE u = 3 GROUP BY u ORDER BY u DESC",
    "SELECT s, k, id FROM p WHERE s = 'x' ORDER BY 1 DESC LIMIT 3",
    "SELECT s, count(*) FROM p WHERE u = 3 GROUP BY s",
    "SELECT u.g, s, count(*) FROM u JOIN p ON p.u = u.id GROUP BY u.g, u.id, s",
    "SELECT id, k FROM (SELECT * FROM p ORDER BY s LIMIT 15) WHERE r < 9 ORDER BY k",
    "SELECT DISTINCT k, u FROM (SELECT * FROM p ORDER BY s LIMIT 15) ORDER BY 1 LIMIT 4",
    "SELECT k, count(*), min(id) FROM some GROUP BY k",
    "SELECT count(*), sum(id) FROM some WHERE k > 1",
    "SELECT * FROM p WHERE s IN ('x', 'z') AND r > 1 ORDER BY 4 LIMIT 4",
    "SELECT p.*, u.* FROM p JOIN u ON u.id = p.u ORDER BY 8, 7, 3",
]
"""A sort of SQLite's turns round how the innermost loop reads, if that gives its rows in order each time it runs."""


async def test_loops_that_are_read_backwards(postgres_url: str) -> None:
    schema = """
    CREATE TABLE u (id INTEGER PRIMARY KEY, g TEXT, k INTEGER);
    CREATE TABLE p (id INTEGER PRIMARY KEY, u INTEGER, s TEXT, r REAL, k INTEGER);
    CREATE INDEX pu ON p (u, s);
    CREATE INDEX ps ON p (s, r DESC);
    CREATE UNIQUE INDEX ug ON u (g, id);
    CREATE VIEW some AS SELECT * FROM p ORDER BY s DESC, k LIMIT 14;
    """
    chance = Random(2)
    rows = (
        f"({at}, {chance.choice((1, 2, 3, 7, 40))}, '{chance.choice('xyz')}', {chance.choice((0.1, 2, 9))}, {at % 4})"
        for at in range(1, 50)
    )
    data = [
        "INSERT INTO u VALUES " + ", ".join(f"({at}, '{chance.choice('abc')}', {at % 3})" for at in range(1, 12)),
        f"INSERT INTO p VALUES {', '.join(rows)}",
        "UPDATE p SET k = k + 1 WHERE id % 3 = 1",
    ]
    async with world(postgres_url, schema, data=data) as both:
        await both.all_same(TURNED, ordered=True)


async def test_what_a_full_join_finds_comes_first_then_what_an_index_on_an_expression_reads(postgres_url: str) -> None:
    schema = """
    CREATE TABLE owners (id INTEGER PRIMARY KEY, name TEXT);
    CREATE INDEX owners_lower ON owners (lower(name));
    CREATE TABLE pets (id INTEGER PRIMARY KEY, name TEXT, owner INTEGER);
    """
    data = (
        "INSERT INTO owners VALUES (1, 'b'), (2, 'A'), (3, 'c')",
        "INSERT INTO pets VALUES (1, 'p', 2), (2, 'q', 1), (3, 'r', 2), (4, 's', NULL)",
        "UPDATE pets SET name = 'first' WHERE id = 1",
    )
    sql = "SELECT pets.id, owners.id FROM pets FULL JOIN owners ON owners.id = owner"
    async with world(postgres_url, schema, data=data) as both:
        await both.same(sql, ordered=True)
        await both.same("INSERT INTO owners VALUES (4, 'B')")
        await both.same(f"{sql} LIMIT 6", ordered=True)


INTERLEAVED = [
    "SELECT * FROM (SELECT b AS id, c AS k FROM t UNION ALL SELECT y, x FROM u) AS p ORDER BY p.id",
    "SELECT p.k FROM (SELECT b AS id, c AS k FROM t UNION ALL SELECT y, x FROM u) AS p ORDER BY id DESC LIMIT 3",
    "SELECT * FROM (SELECT id, c FROM t UNION ALL SELECT y, x FROM u UNION ALL SELECT e, n FROM m) ORDER BY 1",
    "SELECT c FROM (SELECT id, c FROM t UNION ALL SELECT y, x FROM u) WHERE c > 'a' ORDER BY abs(id) > 2 LIMIT 4",
    "WITH p(i, j) AS (SELECT id, c FROM t WHERE b > 0 UNION ALL SELECT y, x FROM u) SELECT * FROM p ORDER BY i",
    "SELECT j, k FROM both ORDER BY i",
    "SELECT j FROM both WHERE i > 1 ORDER BY length(j), i LIMIT 4",
]
"""As mappers of class hierarchies ask (polymorphic unions): ties between the SELECTs of a UNION ALL, and within one."""


async def test_rows_in_ties_come_select_by_select(postgres_url: str) -> None:
    view = "CREATE VIEW both(i, j, k) AS SELECT b, c, 1 FROM t UNION ALL SELECT y, x, 2 FROM u"
    async with world(postgres_url, f"{SCHEMA}{view};", data=DATA) as both:
        await both.all_same(INTERLEAVED, ordered=True)


SHARED = "WITH g AS (SELECT c, count(*) AS n FROM t GROUP BY c) "
KEPT = [
    f"{SHARED}SELECT * FROM g AS x LEFT JOIN g AS y ON x.n = y.n",
    f"{SHARED}SELECT * FROM g JOIN g AS h ON g.n = h.n LIMIT 3",
    f"{SHARED}SELECT * FROM g WHERE n > 1 UNION ALL SELECT * FROM g LIMIT 4",
    f"{SHARED}SELECT * FROM g WHERE n <= (SELECT max(n) FROM g)",
    f"{SHARED}SELECT c, (SELECT count(*) FROM g AS o WHERE o.n >= g.n) FROM g",
    f"{SHARED}, h AS (SELECT * FROM g WHERE n > 1) SELECT * FROM h, g",
    f"SELECT * FROM ({SHARED}SELECT y.c FROM g AS x JOIN g AS y ON x.n = y.n) LIMIT 3",
    f"INSERT INTO way(a, b) {SHARED}SELECT x.n, y.n * 10 FROM g AS x JOIN g AS y ON x.c > y.c",
    "SELECT * FROM way",
    "WITH g(p, q) AS (SELECT id, d FROM t ORDER BY d DESC LIMIT 4) SELECT * FROM g WHERE q >= (SELECT min(q) FROM g)",
    "WITH g AS (SELECT b FROM t UNION ALL SELECT y FROM u) SELECT * FROM g AS x JOIN g AS y ON x.b = y.b",
    "WITH g AS (SELECT id, d FROM found) SELECT x.id, y.id FROM g AS x JOIN g AS y ON x.d = y.d",
    "WITH g AS (SELECT id, b FROM found WHERE d < 9) SELECT x.id, y.id FROM g AS x, g AS y WHERE x.b < y.b LIMIT 5",
    "WITH g AS (SELECT t.id, u.x FROM t LEFT JOIN u ON b = y) SELECT * FROM g JOIN g AS h USING (id)",
    "WITH g AS (SELECT count(*) AS n FROM t) SELECT * FROM g, g AS h, u LIMIT 2",
]
"""SQLite keeps the rows of a CTE that is read more than once."""


async def test_joins_within_queries_are_gathered_in_the_order_of_reading(postgres_url: str) -> None:
    schema = "CREATE TABLE t (id INTEGER PRIMARY KEY, k TEXT, m INTEGER); CREATE TABLE u (x INTEGER, y INTEGER);"
    data = [
        "INSERT INTO t VALUES (5, 'e', 1), (3, 'c', 2), (1, 'a', 3), (4, 'd', 4), (2, 'b', 5)",
        "INSERT INTO u VALUES (2, 1), (1, 2), (3, 3)",
        "UPDATE t SET m = m + 1 WHERE id IN (1, 3)",
        "UPDATE u SET y = y + 1 WHERE x = 2",
    ]
    async with world(postgres_url, schema, data=data) as made:
        gathered = "SELECT group_concat(k) AS g FROM u, t"
        await made.all_same(
            [
                f"SELECT * FROM ({gathered} UNION ALL SELECT 'q') ORDER BY 1",
                f"WITH c AS ({gathered} UNION ALL SELECT k FROM t) SELECT * FROM c ORDER BY g DESC",
                f"SELECT * FROM (SELECT y > 1 AS x, g FROM u, ({gathered}) UNION ALL SELECT m, k FROM t) ORDER BY 1",
                "SELECT * FROM (SELECT y, group_concat(k) FROM u, t GROUP BY y UNION ALL VALUES (1, 2)) ORDER BY 1",
                "SELECT * FROM (SELECT sum(m * 0.1) FROM u, t UNION ALL SELECT avg(m) FROM t) ORDER BY 1",
                f"SELECT y, (SELECT g FROM t, ({gathered}) LIMIT 1) FROM u",
                f"SELECT * FROM t WHERE (SELECT max(g) FROM (SELECT g FROM u, ({gathered}) AS z)) < 'b'",
            ],
            ordered=True,
        )


async def test_selects_of_union_all_are_joined_one_after_the_other(postgres_url: str) -> None:
    """Each by itself, in whichever order of the loops serves it; of which LIMIT does not rely."""
    schema = "".join(f"CREATE TABLE {name} (id INTEGER PRIMARY KEY, k INTEGER, s TEXT);" for name in "abc")
    view = "CREATE VIEW both AS SELECT k, s FROM a UNION ALL SELECT k, s FROM b WHERE s <> 'w'"
    pairs = ((1, 3, "x"), (2, 1, "y"), (3, 2, "x"), (4, 5, "z"), (5, 3, "w"), (6, None, "x"))
    rows = ", ".join(f"({number}, {'NULL' if k is None else k}, '{s}')" for number, k, s in pairs)
    data = [
        *(
            f"INSERT INTO {name} SELECT column1, (column2 + {at}) % 5, column3 FROM (VALUES {rows})"
            for at, name in enumerate("abc")
        ),
        *(f"UPDATE {name} SET s = s WHERE id % 3 = 1" for name in "abc"),
    ]
    compound = "SELECT k, s FROM a UNION ALL SELECT k, s FROM b WHERE s <> 'w'"
    async with world(postgres_url, f"{schema} CREATE INDEX ck ON c (k, s); {view}", data=data) as made:
        for begins, called in (("", f"({compound})"), (f"WITH u AS ({compound}) ", "u"), ("", "both")):
            await made.all_same(
                [
                    f"{begins}SELECT u.s, c.id FROM {called} AS u JOIN c ON c.k = u.k",
                    f"{begins}SELECT * FROM c LEFT JOIN {called} AS u ON c.k = u.k AND u.s > 'w'",
                    f"{begins}SELECT u.s, z.s FROM {called} AS u, c AS z WHERE u.k > 1",
                    f"{begins}SELECT u.k, c.id FROM {called} AS u CROSS JOIN c ON c.s = u.s ORDER BY u.k",
                    f"{begins}SELECT u.k, c.k, z.s FROM c JOIN {called} AS u ON c.s = u.s JOIN c AS z ON z.k = u.k",
                ],
                ordered=True,
            )
            await made.refused(
                f"{begins}SELECT u.s, c.id FROM {called} AS u JOIN c ON c.k = u.k LIMIT 3", "LIMIT between"
            )


async def test_a_query_that_is_read_more_than_once_has_its_rows_in_one_order(postgres_url: str) -> None:
    async with world(postgres_url, SCHEMA, data=DATA) as both:
        await both.all_same(KEPT, ordered=True)


COMPUTED = [
    "SELECT id FROM t WHERE abs(b) > 0 LIMIT 3",
    "SELECT id FROM t WHERE abs(b) IN (1, 3)",
    "SELECT id FROM t ORDER BY abs(b) LIMIT 4",
    "SELECT id FROM t ORDER BY abs(b) DESC LIMIT 4",
    "SELECT id FROM t WHERE lower(c) >= 'b' LIMIT 3",
    "SELECT id FROM t ORDER BY lower(c)",
    "SELECT DISTINCT lower(c) FROM t",
    "SELECT lower(c), group_concat(id) FROM t GROUP BY lower(c)",
    "SELECT t.id, u.x FROM u LEFT JOIN t ON abs(t.b) = u.y LIMIT 4",
    "SELECT * FROM (SELECT id, b FROM t WHERE abs(b) > 0) LIMIT 3",
    "SELECT id FROM t WHERE abs(b) = 2 OR lower(c) = 'x'",
    "SELECT group_concat(id) FROM t WHERE abs(b) > 0",
    "SELECT max(abs(b)), id FROM t",
    "SELECT min(abs(b)), id FROM t",
    'SELECT max(ABS("b")), id FROM t AS x',
    "SELECT max(abs(b)), id FROM t WHERE abs(b) < 3",
    "SELECT max(abs(b)), id FROM t WHERE abs(b) = 1",
    "SELECT max(abs(b)), id FROM t WHERE abs(b) IS NULL",
    "SELECT min(abs(b)), id FROM t WHERE b IS NULL",
    "SELECT max(lower(c)), id FROM t",
]


async def test_an_index_on_an_expression_is_an_order_of_reading(postgres_url: str) -> None:
    tables = "".join(f"{one};" for one in SCHEMA.split(";") if "TABLE" in one)
    indexes = "CREATE INDEX absolute ON t (abs(b)); CREATE INDEX lowered ON t (lower(c), b DESC);"
    rows = "INSERT INTO t VALUES (11, -2, 'X', 1), (7, -3, 'Y', 2), (6, 1, 'a', 3), (8, -1, 'B', 4)"
    async with world(postgres_url, tables + indexes, data=[*DATA, rows]) as both:
        await both.all_same(COMPUTED, ordered=True)


async def test_arms_come_one_after_the_other_though_workers_may_read_them(postgres_url: str) -> None:
    """As they do where tables are large; here it is enough that they cost nothing."""
    tables = [f"arm{number}" for number in range(5)]
    schema = "".join(f"CREATE TABLE {table} (id INTEGER PRIMARY KEY, n INTEGER);" for table in tables)
    numbers = "WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < 300)"
    native = await asyncpg.connect(postgres_url)
    try:
        name = await native.fetchval("SELECT quote_ident(current_database())")
        await native.execute(f"ALTER DATABASE {name} SET parallel_setup_cost = 0")
    finally:
        await native.close()
    data = [f"{numbers} INSERT INTO {table} SELECT i, i FROM s" for table in tables]
    async with world(postgres_url, schema, data=data, store=True) as both:
        counted = [f"SELECT '{table}' AS t, count(*) FROM {table} WHERE n > 7" for table in tables]
        await both.same("SELECT 'none' AS t, 0 UNION ALL " + " UNION ALL ".join(counted), ordered=True)
        found = [f"SELECT '{table}' AS t, id FROM {table} WHERE n % 50 = 7" for table in tables]
        await both.same(" UNION ALL ".join(found), ordered=True)


async def test_rows_that_are_changed_from_others_come_by_their_key(postgres_url: str) -> None:
    schema = """
CREATE TABLE person (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT, n INTEGER DEFAULT 0);
CREATE TABLE pet (id INTEGER PRIMARY KEY, name TEXT, owner INTEGER);
CREATE INDEX pet_owner ON pet (owner);"""
    data = (
        "INSERT INTO person (name) VALUES ('c'), ('b'), ('a'), ('d')",
        "INSERT INTO pet VALUES (1, 'r', 4), (2, 's', 2), (3, 't', 1), (4, 'u', 3), (5, 'v', NULL)",
    )
    async with world(postgres_url, schema, data=data) as both:
        await both.same("UPDATE person SET n = 1 WHERE id IN (1, 3)")  # Postgres has them behind the others now
        await both.same("UPDATE pet SET name = name || '!' WHERE id IN (2, 3)")
        for sql in (
            "UPDATE person SET n = n + 1 FROM pet WHERE pet.owner = person.id RETURNING id, n",
            "WITH p AS (SELECT * FROM pet) UPDATE person SET name = p.name FROM p WHERE p.owner = person.id "
            "RETURNING *",
            "UPDATE pet AS z SET name = p.name FROM person p LEFT JOIN pet o ON o.id = p.id WHERE p.id = z.owner "
            "RETURNING id, name",
            "UPDATE person SET name = s.name FROM (SELECT * FROM pet ORDER BY id DESC) s WHERE s.owner = person.id "
            "RETURNING person.id, person.name",
            "WITH n AS (SELECT name FROM person) INSERT INTO person (name) SELECT n.name FROM n JOIN pet ON 1 = 1 "
            "WHERE pet.id = 4 RETURNING id, name",
            "WITH n AS (SELECT id, name FROM person WHERE id < 4) INSERT INTO pet (name) SELECT name FROM n UNION ALL "
            "SELECT name FROM n RETURNING id, name",
            "WITH n AS (SELECT count(*) AS c FROM pet) INSERT INTO person (name) SELECT name FROM pet WHERE id < 4 "
            "RETURNING id, (SELECT c FROM n)",
        ):
            await both.same(sql, ordered=True)


BOTH = "SELECT b, c FROM t WHERE id > 90 UNION ALL SELECT y, x FROM u LIMIT 3"
INDEXED = "SELECT b, c FROM t WHERE b > 0 LIMIT 3"
WITHIN = [
    f"WITH q AS ({BOTH}) SELECT * FROM q JOIN m ON m.e = q.b",
    f"WITH q AS ({INDEXED}) SELECT * FROM m LEFT JOIN q ON m.e = q.b",
    f"WITH q AS ({INDEXED}) SELECT id FROM m WHERE e IN (SELECT b FROM q)",
    f"WITH q AS ({BOTH}) SELECT id FROM m WHERE e IN (SELECT b FROM q)",
    f"WITH q AS ({BOTH}) SELECT (SELECT count(*) FROM q WHERE q.b = m.e) FROM m",
    f"SELECT m.id, q.c FROM m JOIN ({INDEXED}) AS q ON m.e = q.b",
    f"SELECT id FROM m WHERE EXISTS (SELECT 1 FROM ({BOTH}) AS q WHERE q.b = m.e)",
    f"SELECT id FROM m WHERE e IN (SELECT q.b FROM ({BOTH}) AS q JOIN t ON t.id = q.b)",
    f"SELECT (SELECT max(c) FROM ({BOTH})), id FROM m",
    f"SELECT * FROM (WITH q AS ({INDEXED}) SELECT q.*, m.id FROM q JOIN m ON m.e = q.b) ORDER BY 1, 2, 3",
    "WITH q AS (SELECT b, count(*) AS n FROM t GROUP BY b) SELECT * FROM q JOIN m ON m.e >= q.b",
    "WITH q AS (SELECT b, count(*) AS n FROM t GROUP BY b ORDER BY n DESC) SELECT * FROM q JOIN m ON m.e >= q.b",
    "SELECT * FROM (SELECT b, count(*) AS n FROM t GROUP BY b ORDER BY n DESC) AS q ORDER BY b IS NULL",
    "WITH q AS (SELECT DISTINCT b FROM t) SELECT * FROM q RIGHT JOIN m ON m.e = q.b",
    f"DELETE FROM m WHERE e IN ({BOTH.replace(', c', '').replace(', x', '')})",
    "SELECT * FROM m",
    f"WITH q AS ({INDEXED}) INSERT INTO m (n, e) SELECT t.id, q.b FROM q JOIN t ON t.b = q.b",
    "SELECT * FROM m",
]
"""Which rows LIMIT takes within others is told by the plan of the whole."""


async def test_limit_of_a_query_within_others_takes_the_rows_that_it_takes_on_sqlite(postgres_url: str) -> None:
    moved = ("UPDATE u SET y = y WHERE y = 1", "UPDATE t SET c = c WHERE id < 3")
    async with world(postgres_url, SCHEMA, data=[*DATA, *moved]) as both:
        await both.all_same(WITHIN, ordered=True)


GROUPED = "SELECT b, count(*) AS n FROM t GROUP BY b"
TIED = [
    f"SELECT * FROM ({GROUPED}) AS q ORDER BY n",
    f"SELECT * FROM ({GROUPED} ORDER BY max(id) DESC) AS q ORDER BY b IS NULL",
    f"SELECT n FROM ({GROUPED}) WHERE b > 0 ORDER BY n DESC LIMIT 2",
    f"WITH q AS ({GROUPED}) SELECT * FROM q ORDER BY n > 1",
    f"SELECT DISTINCT n FROM ({GROUPED} ORDER BY max(id) DESC)",
    f"SELECT * FROM (SELECT * FROM ({GROUPED}) ORDER BY n DESC) ORDER BY b IS NULL",
    f"SELECT id FROM t WHERE b IN (SELECT b FROM ({GROUPED}) ORDER BY n LIMIT 2)",
    "SELECT c, k FROM gathers ORDER BY k",
    "SELECT * FROM (SELECT DISTINCT b, c FROM t) ORDER BY b",
    "SELECT id FROM t ORDER BY b DESC, b",
    "SELECT id, last_value(c) OVER (ORDER BY b, b), group_concat(id) OVER (ORDER BY b, b GROUPS 1 PRECEDING) FROM t",
    "SELECT * FROM (SELECT b, c, row_number() OVER (ORDER BY c DESC) AS r FROM t) ORDER BY b",
    f"INSERT INTO w (r) SELECT n FROM ({GROUPED}) ORDER BY n",
    "SELECT rowid, r FROM w",
]
"""Rows of a query in FROM that ORDER BY leaves in ties stay as the query gives them."""


async def test_ties_of_a_grouped_query_stay_in_the_order_of_its_groups(both: World) -> None:
    await both.all_same(TIED, ordered=True)


async def test_records_that_sqlite_takes_over_as_they_are_come_by_their_key(postgres_url: str) -> None:
    """INSERT ... SELECT * between tables of one shape, of which SQLite's plan says nothing."""
    shape = "(id INTEGER PRIMARY KEY, n INTEGER)"
    schema = (
        f"CREATE TABLE old {shape}; CREATE TABLE new {shape}; CREATE TABLE loose (a TEXT); CREATE TABLE more (a TEXT);"
    )
    async with world(postgres_url, schema) as both:
        await both.same("INSERT INTO old (n) VALUES (1), (2), (3), (4)")
        await both.same("INSERT INTO loose VALUES ('a'), ('b'), ('c')")
        for table in ("old", "loose"):  # what is changed is the last that Postgres has
            await both.same(f"UPDATE {table} SET rowid = rowid WHERE rowid = 2")
        copied = await both.same("INSERT INTO new SELECT * FROM old")
        assert copied.last_insert_rowid == both.on_sqlite("SELECT last_insert_rowid()").rows[0][0] == 4
        await both.same("INSERT INTO main.more SELECT * FROM loose AS l;")
        await both.same("SELECT rowid, a FROM more", ordered=True)
