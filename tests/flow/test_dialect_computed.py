"""Generated columns are read as the expressions they stand for; UPDATE ... FROM changes a row in one way."""

from __future__ import annotations

from cutover.errors import StatementError
from tests.flow.dialect_world import World, world

SCHEMA = """
CREATE TABLE g (a INTEGER PRIMARY KEY, b INTEGER, c TEXT,
  d INTEGER GENERATED ALWAYS AS (a * 2), e TEXT AS (upper(c)) STORED);
CREATE TABLE k (a INTEGER, b INT, c TEXT COLLATE NOCASE, d INT AS (abs(b)), e AS (d * 10), f TEXT AS (a),
  g TEXT AS (c || '-' || coalesce(b, 0)) STORED, h INTEGER AS (a / 2.0));
CREATE INDEX kd ON k (d);
CREATE TABLE m (id INTEGER PRIMARY KEY, n INTEGER, q REAL, r REAL AS (n * 2) VIRTUAL, s REAL AS (n + 1) STORED,
  t AS (q * 2));
"""

STATEMENTS = [
    "INSERT INTO g (a, b, c) VALUES (1, 2, 'x'), (2, NULL, 'y')",
    "INSERT INTO k VALUES (1, 5, 'a'), (2, -3, 'B'), (3, NULL, 'A')",
    "SELECT * FROM g ORDER BY a",
    "SELECT d, e FROM g WHERE d > 2",
    "SELECT * FROM k ORDER BY d DESC",
    "SELECT d, typeof(e), typeof(f), g, h, typeof(h) FROM k WHERE e > 30 ORDER BY d",
    "SELECT g.d, k.e, k.g FROM g LEFT JOIN k ON k.d = g.b ORDER BY 1",
    "SELECT d, count(*), max(e) FROM k GROUP BY d ORDER BY d",
    "SELECT count(DISTINCT g), sum(d), avg(e) FROM k",
    "UPDATE k SET b = 7 WHERE d = 3 RETURNING d, e, g",
    "INSERT INTO g (b, c) VALUES (9, 'z') RETURNING *",
    "SELECT * FROM (SELECT * FROM k) WHERE g LIKE 'a%' ORDER BY a",
    "SELECT x.d FROM k AS x JOIN k AS y ON x.d = y.d ORDER BY 1",
    "DELETE FROM k WHERE e = 70 RETURNING g",
    "SELECT * FROM k ORDER BY a",
]
REALS = [
    "INSERT INTO m (n, q) VALUES (1, 2), (2, 2.5) RETURNING *, +r, -r",
    "INSERT INTO m (id, n) VALUES (1, 7) ON CONFLICT DO UPDATE SET n = 9 RETURNING r, s, q",
    "SELECT r, s FROM m ORDER BY n DESC",
    "SELECT r, s FROM m ORDER BY id DESC",
    "SELECT coalesce(r, 0), ifnull(r, n), CASE WHEN n > 1 THEN r ELSE q END, iif(n, r, s), r + 0 FROM m ORDER BY n",
    "SELECT t, q FROM m ORDER BY n DESC",
    "SELECT r + 1, r || '' FROM (SELECT r FROM m ORDER BY n DESC LIMIT 5)",
    "SELECT s FROM m UNION SELECT r FROM m",
    "SELECT r FROM m UNION ALL SELECT s FROM m ORDER BY 1",
    "SELECT q FROM (SELECT q FROM m UNION SELECT 1)",
    "DELETE FROM m RETURNING r, s, q",
]
"""Where rows are sorted or returned, SQLite gives whole reals that it has just computed as integers."""


async def test_generated_columns_are_read(postgres_url: str) -> None:
    async with world(postgres_url, SCHEMA) as both:
        for sql in STATEMENTS + REALS:
            await both.same(sql)
        for sql in ("INSERT INTO g (a, d) VALUES (5, 6)", "UPDATE k SET d = 5", "INSERT INTO g VALUES (1, 2, 'x', 4)"):
            await both.same_error(sql)


async def test_the_first_column_decides_what_returning_makes_of_numbers(postgres_url: str) -> None:
    """To SQLite each column that is returned has the affinity of the first: integers are reals if that is REAL."""
    columns = "x REAL, g REAL AS (x - x), y REAL, h AS (x + y) STORED, n NUMERIC, t TEXT, i INTEGER"
    async with world(postgres_url, f"CREATE TABLE f ({columns}); CREATE TABLE l (k INTEGER, {columns})") as both:
        for table in ("f", "l"):
            for sql in (
                f"INSERT INTO {table} (x, y, n, t, i) VALUES (5, 6.0, 7, '8', 3) RETURNING *",
                f"INSERT INTO {table} (x, y, n, t) VALUES (5, 6.0, 7.5, 'a') RETURNING x, (y), g, h, n, t, rowid",
                f"UPDATE {table} SET x = x + 1 RETURNING *",
                f"UPDATE {table} SET x = x + 1 RETURNING g, h, g + 0, h + 0, +x, abs(x), i, (i), +i",
                f"DELETE FROM {table} RETURNING *",
            ):
                await both.same(sql)


async def test_update_from_changes_a_row_in_one_way(postgres_url: str) -> None:
    schema = """
    CREATE TABLE t (id INTEGER PRIMARY KEY, k INTEGER, s TEXT);
    CREATE TABLE f (id INTEGER PRIMARY KEY, k INTEGER, u TEXT);
    """
    rows = "(1, 1, 'p'), (2, 1, 'q'), (3, 2, 'r'), (4, 2, 'r'), (5, 9, 'm')"
    async with world(
        postgres_url, schema, data=(f"INSERT INTO t VALUES {rows}", f"INSERT INTO f VALUES {rows}")
    ) as both:
        for sql in (
            "UPDATE t SET s = f.u || t.id FROM f WHERE f.id = t.id AND f.k > 1 RETURNING *",
            "UPDATE t SET s = f.u, k = 3 FROM f WHERE f.k = t.k AND t.id = 3 RETURNING t.id, s",
            "UPDATE t SET s = n FROM (SELECT k, count(*) AS n FROM f GROUP BY k) AS c WHERE c.k = t.k RETURNING *",
            "UPDATE t SET s = f.u FROM (SELECT 4 AS x) AS c RIGHT JOIN f ON c.x = f.id WHERE f.id = t.id",
            "UPDATE t SET s = f.u FROM f NATURAL JOIN (SELECT 2 AS k) AS c WHERE f.id = t.id RETURNING *",
            "UPDATE t SET s = f.u || c.k FROM (SELECT 9 AS k) AS c NATURAL FULL JOIN f WHERE f.id = t.id",
            "UPDATE t SET s = c.x FROM f JOIN (SELECT 4 AS x) AS c ON c.x = f.id WHERE f.id = t.id RETURNING *",
            "UPDATE t SET k = 0 FROM f, f AS g WHERE f.id = t.id AND g.k = f.k",
            "SELECT * FROM t ORDER BY id",
        ):
            await both.same(sql)
        error = await _failure(both, "UPDATE t SET s = c.u FROM (SELECT * FROM f ORDER BY u) AS c WHERE c.k > t.k")
        assert "several rows of FROM" in error


async def test_update_from_takes_the_last_of_several_rows_as_sqlite_reads_them(postgres_url: str) -> None:
    schema = """
    CREATE TABLE t (id INTEGER PRIMARY KEY, k INTEGER, s TEXT);
    CREATE TABLE f (id INTEGER PRIMARY KEY, k INTEGER, u TEXT, w REAL); CREATE INDEX f_k ON f (k, w DESC);
    CREATE TABLE g (name TEXT PRIMARY KEY, f INTEGER); CREATE INDEX g_f ON g (f);
    """
    data = (
        "INSERT INTO t VALUES (1, 1, 'p'), (2, 1, 'q'), (3, 2, 'r'), (4, 2, 'r'), (5, NULL, 'm')",
        "INSERT INTO f VALUES (1, 1, 'a', 2), (2, 2, 'b', 9), (3, 1, 'c', NULL), (4, 2, 'd', 1), (5, 1, 'e', 7)",
        "INSERT INTO g VALUES ('z', 1), ('b', 4), ('y', 3), ('a', 2), ('c', 4), ('x', 5)",
    )
    async with world(postgres_url, schema, data=data) as both:
        for sql in (
            "UPDATE t SET s = f.u FROM f WHERE f.k = t.k",
            "UPDATE t SET s = f.u || w, k = f.id FROM f WHERE f.k = t.id AND w IS NOT NULL",
            "UPDATE t SET s = g.name FROM f JOIN g ON g.f = f.id WHERE f.k >= t.k",
            "UPDATE t SET s = g.name FROM f LEFT JOIN g ON g.f = f.k WHERE f.id > t.id RETURNING id, s",
            "UPDATE t SET s = o.s || o.id FROM t AS o WHERE o.k > t.id",
            "UPDATE g SET f = t.id FROM t, f WHERE f.id > g.f",
        ):
            await both.same(sql)
            await both.same("SELECT * FROM t ORDER BY id")
            await both.same("SELECT * FROM g ORDER BY name")


async def _failure(both: World, sql: str) -> str:
    try:
        await both.on_postgres(sql)
    except StatementError as error:
        return error.message
    return ""


FIRST = ("k INTEGER PRIMARY KEY", "k INTEGER", "k REAL", "k TEXT", "k TEXT COLLATE NOCASE", "k NUMERIC", "k BLOB")


async def test_returning_compares_by_the_first_column(postgres_url: str) -> None:
    """SQLite takes affinity and collation of a table's first column for those of each column that RETURNING names."""
    rest = "t TEXT, c TEXT COLLATE NOCASE, n INTEGER, r REAL, g TEXT GENERATED ALWAYS AS (t || '0') VIRTUAL"
    schema = "".join(f"CREATE TABLE f{at} ({first}, {rest});" for at, first in enumerate(FIRST))
    tests = (
        "t = '05', t = 5, t IN ('05', 'x'), t BETWEEN '04' AND '06', t < '10', t IS '5.0', t <> '05', k IN ('1')",
        "CASE t WHEN '05' THEN 1 ELSE 0 END, CASE n WHEN '7' THEN 1 END, n BETWEEN '6' AND '8', (t) = '05'",
        "c = 'aB', c BETWEEN 'ab' AND 'ab', CASE c WHEN 'ab' THEN 1 END, c IN ('ab'), c < 'B', t = c, c < t",
        "c COLLATE NOCASE = 'ab', c COLLATE BINARY = 'ab', min(c, 'AC'), k = '01', +t = '05', t || '' = '05'",
        "n = '07', n = '7', n < 'a', n = 7, n < t, n IN (7, '7'), r = '2.50', r = '2.5', r > t, rowid = '01'",
        "g = '050', g = '50', g = 50, typeof(t), typeof(g), t, c, n, (SELECT t = '05'), CAST(t AS TEXT) = '05'",
    )
    async with world(postgres_url, schema) as both:
        for at in range(len(FIRST)):
            key = "x'01'" if FIRST[at] == "k BLOB" else "1"
            for number, row in enumerate(("'5', 'Ab', 7, 2.5", "'x', '9', 5, 5.5", "NULL, '', NULL, NULL")):
                value = key if "PRIMARY" not in FIRST[at] else str(number + 1)
                insert = f"INSERT INTO f{at} (k, t, c, n, r) VALUES ({value}, {row}) RETURNING {tests[number]}"
                await both.same(insert)
            await both.all_same(f"UPDATE f{at} SET n = n RETURNING {test}" for test in tests)
            await both.same(f"DELETE FROM f{at} RETURNING {tests[0]}, {tests[2]}")
