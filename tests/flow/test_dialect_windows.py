"""Windows whose ORDER BY leaves ties: rows come as the windows behind and SQLite's reading give them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from cutover.errors import StatementError
from tests.flow.dialect_world import World, world

SCHEMA = """
CREATE TABLE down (id INTEGER PRIMARY KEY, g TEXT, v INTEGER, r REAL);
CREATE INDEX down_v ON down (v DESC);
CREATE TABLE mixed (id INTEGER PRIMARY KEY, g TEXT, v INTEGER, r REAL);
CREATE INDEX mixed_gv ON mixed (g DESC, v);
CREATE TABLE shares (id INTEGER PRIMARY KEY, n DECIMAL);
CREATE TABLE part (id INTEGER PRIMARY KEY, n INTEGER, s TEXT);
CREATE INDEX part_n ON part (n);
"""

DATA = (
    "INSERT INTO down VALUES (1,'b',3,1),(2,'a',1,2.5),(3,'b',NULL,3),(4,'a',3,0),(5,'c',2,-1),(6,'b',1,7)",
    "INSERT INTO mixed SELECT * FROM down",
    "INSERT INTO shares (n) VALUES (1), (2.5), (3), (4), (5)",
    "UPDATE mixed SET r = r WHERE id < 4",
    "INSERT INTO part (n, s) VALUES (1,'z'),(2,'yyy'),(1,'xxxx'),(NULL,'n'),(2,'q'),(2,'bbb'),(1,'t'),(2,NULL)",
)

WINDOWS = [
    "SELECT id, group_concat(id) OVER (win ROWS 1 PRECEDING) FROM down WINDOW win AS (PARTITION BY g)",
    "SELECT id, group_concat(id) OVER (win ORDER BY v) FROM down WINDOW win AS (PARTITION BY g) ORDER BY id",
    "SELECT id, row_number() OVER win FROM down WINDOW base AS (PARTITION BY g), win AS (base ORDER BY v) ORDER BY id",
    "SELECT id, group_concat(id) OVER (PARTITION BY n ORDER BY length(s)) FROM part",
    "SELECT id, nth_value(id, 3) OVER (PARTITION BY n ORDER BY length(s)) FROM part ORDER BY 2",
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
    "SELECT id, last_value('a') OVER (ORDER BY id), lag('b') OVER (ORDER BY v), first_value(NULL) OVER () FROM down",
    "SELECT g, row_number() OVER (ORDER BY g) FROM (SELECT g, v FROM mixed) AS mixed",
    "SELECT id, first_value(id) OVER (ORDER BY g GROUPS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) FROM down",
    "SELECT id, first_value(id) OVER (ORDER BY v RANGE BETWEEN UNBOUNDED PRECEDING AND 1 FOLLOWING) FROM mixed",
    "SELECT id, lead(id) OVER (ORDER BY v RANGE 1 PRECEDING), ntile(2) OVER (ORDER BY v RANGE 0 PRECEDING) FROM mixed",
    "SELECT id, count(*) OVER (PARTITION BY 7, g ORDER BY 8), sum(v) OVER (PARTITION BY 9) FROM mixed",
    "SELECT id, group_concat(id) OVER (ORDER BY g, r), group_concat(id) OVER (), nth_value(id, 2) OVER () FROM down",
    "SELECT g, last_value(v) OVER (ORDER BY g), lag(r) OVER (ORDER BY g) FROM (SELECT g, v, r FROM mixed) AS one",
    "SELECT g, group_concat(r) OVER (PARTITION BY g) FROM (SELECT g, r FROM down WHERE v > 1)",
    "SELECT id, row_number() OVER w1, lag(id) OVER w2 FROM down WINDOW w1 AS (ORDER BY v), w2 AS (PARTITION BY g)",
]


@pytest.fixture
async def both(postgres_url: str) -> AsyncIterator[World]:
    async with world(postgres_url, SCHEMA, data=DATA, store=True) as made:
        yield made


async def test_ties_in_windows_come_as_on_sqlite(both: World) -> None:
    for sql in WINDOWS:
        await both.same(sql, ordered=True)


RANGES = (
    "SELECT a, sum(a) OVER (ORDER BY b RANGE BETWEEN 10 PRECEDING AND 10 FOLLOWING) FROM any ORDER BY b, a",
    "SELECT a, count(*) OVER (ORDER BY b DESC RANGE BETWEEN UNBOUNDED PRECEDING AND 10 FOLLOWING) FROM any ORDER BY a",
    "SELECT a, group_concat(b) OVER (ORDER BY b RANGE BETWEEN 0.2 PRECEDING AND 30.5 FOLLOWING EXCLUDE TIES) FROM any",
    "SELECT a, sum(b) OVER (PARTITION BY a % 2 ORDER BY b RANGE BETWEEN 30 PRECEDING AND 0.1 FOLLOWING) FROM any",
    "SELECT id, sum(v) OVER (ORDER BY v RANGE BETWEEN 0.5 PRECEDING AND 1.5 FOLLOWING) FROM down ORDER BY id",
    "SELECT a, nth_value(a, '2') OVER (ORDER BY a), nth_value(a, 1.0) OVER (ORDER BY a) FROM any",
    "SELECT a, ntile(2.9) OVER (ORDER BY a), ntile('2') OVER (ORDER BY a) FROM any",
    "SELECT nth_value(a, 0) OVER (), ntile(0) OVER () FROM any WHERE 0",
)
WRONG = ("nth_value(a, 0)", "nth_value(a, 1.5)", "nth_value(a, NULL)", "nth_value(a, 'x')", "nth_value(a, -1)",
         "ntile(0)", "ntile(-1)", "ntile(NULL)", "ntile('x')")  # fmt: skip


OVER_JOINS = [
    "SELECT m.r, min(d.v) OVER (PARTITION BY m.g ORDER BY d.r DESC) FROM down AS d JOIN mixed AS m USING (id)",
    "SELECT d.id, rank() OVER (ORDER BY v) FROM down AS d JOIN shares AS s ON s.id = d.id",
    "SELECT d.id, rank() OVER (ORDER BY v DESC) FROM down AS d JOIN shares AS s ON s.id = d.id",
    "SELECT d.id, s.id, sum(v) OVER (ORDER BY g ROWS 1 PRECEDING) FROM mixed AS d JOIN shares AS s ON s.id <= v",
    "SELECT d.id, s.id, count(*) OVER (PARTITION BY v, s.id) FROM down AS d JOIN shares AS s ON s.id = d.v",
]


GROUPED = [
    "g, avg(v), rank() OVER (ORDER BY avg(v)), row_number() OVER () FROM down GROUP BY g",
    "g, avg(v), row_number() OVER (), rank() OVER (ORDER BY avg(v)) FROM down GROUP BY g",
    "g, row_number() OVER (ORDER BY max(v) DESC), lag(g) OVER (ORDER BY max(v)) FROM down GROUP BY g ORDER BY 1 DESC",
    "g, group_concat(g) OVER (), ntile(2) OVER (ORDER BY count(*)) FROM down GROUP BY g ORDER BY 1 DESC",
    "g, row_number() OVER (), row_number() OVER (ORDER BY count(DISTINCT g) DESC) FROM down GROUP BY g",
    "s || n, row_number() OVER (), rank() OVER (ORDER BY max(n) > 0 DESC) FROM part GROUP BY s || n",
    "n, row_number() OVER (PARTITION BY n IS NULL), count(*) AS c FROM part GROUP BY n ORDER BY c LIMIT 2",
    "n, count(*), sum(count(*)) OVER (ORDER BY n > 1 ROWS 1 PRECEDING) FROM part GROUP BY n",
    "g, v, row_number() OVER (ORDER BY g DESC), first_value(v) OVER (ORDER BY g DESC) FROM mixed GROUP BY g, v",
    "g, v, last_value(v) OVER (PARTITION BY g), row_number() OVER (ORDER BY count(*), g DESC) FROM mixed GROUP BY v, g",
]


async def test_groups_that_windows_leave_in_ties_come_as_sqlite_makes_them(both: World) -> None:
    await both.all_same([f"SELECT {sql}" for sql in GROUPED], ordered=True)


async def test_windows_over_joins_give_their_rows_in_sqlites_order(both: World) -> None:
    await both.all_same(OVER_JOINS, ordered=True)


async def test_range_goes_by_what_has_no_type_while_it_is_a_number(both: World) -> None:
    await both.same("CREATE TABLE any (a INTEGER, b)")
    await both.same(
        "INSERT INTO any VALUES (1, 74), (2, 41), (3, 74.0), (4, 0.1), (5, 0.3), (6, NULL), (7, 50), (8, 1.1)"
    )
    await both.all_same(RANGES)
    for call in WRONG:
        await both.same_error(f"SELECT {call} OVER (ORDER BY a) FROM any")
    await both.same("INSERT INTO any VALUES (9, 'x')")
    with pytest.raises(StatementError, match="a text or a blob that RANGE with an offset goes by"):
        await both.on_postgres("SELECT sum(a) OVER (ORDER BY b RANGE 1 PRECEDING) FROM any")


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


async def test_equal_values_in_frames_that_slide(postgres_url: str) -> None:
    """SQLite keeps the last of equal values there, the first in any other frame, and ignores FILTER of min()."""
    schema = "CREATE TABLE t (n INTEGER PRIMARY KEY, z TEXT COLLATE NOCASE, d DECIMAL, v)"
    data = (
        "INSERT INTO t VALUES (1,'a',1,1), (2,'A',1.0,1.0), (3,'b',2.5,'x')",
        "INSERT INTO t VALUES (4,'B',2,'X'), (5,NULL,NULL,NULL), (6,'a',2.0,1)",
    )
    frames = (
        "ORDER BY n ROWS BETWEEN 1 PRECEDING AND CURRENT ROW",
        "ORDER BY n ROWS BETWEEN 2 PRECEDING AND 1 FOLLOWING",
        "ORDER BY n ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING",
        "ORDER BY n ROWS BETWEEN UNBOUNDED PRECEDING AND 1 FOLLOWING",
        "ORDER BY n ROWS BETWEEN 1 PRECEDING AND 2 FOLLOWING EXCLUDE CURRENT ROW",
        "ORDER BY z ROWS 1 PRECEDING",
        "ORDER BY z GROUPS 1 PRECEDING",
        "ORDER BY n RANGE BETWEEN 2 PRECEDING AND CURRENT ROW",
        "PARTITION BY z ORDER BY n ROWS 1 PRECEDING",
        "ORDER BY z",
        "",
    )
    calls = ("max(z)", "min(z)", "max(d + 0)", "min(d * 1)", "max(v)", "min(v COLLATE NOCASE)", "group_concat(z)")
    calls = (*calls, "min(n) FILTER (WHERE n > 2)", "max(d) FILTER (WHERE d < 2)", "count(n) FILTER (WHERE n > 2)")
    async with world(postgres_url, schema, data=data) as both:
        await both.all_same(f"SELECT n, {call} OVER ({frame}) FROM t" for call in calls for frame in frames)
        await both.same("INSERT INTO t (z) VALUES ('')")
        await both.same("SELECT group_concat(z) OVER (ORDER BY n) FROM t")
        with pytest.raises(StatementError, match="empty text in a frame that slides"):
            await both.on_postgres("SELECT group_concat(z) OVER (ORDER BY n ROWS 1 PRECEDING) FROM t")


async def test_sums_of_reals_keep_what_taking_back_leaves(postgres_url: str) -> None:
    """SQLite subtracts what leaves a frame; the last digits stay, also where nothing is left to add up."""
    numbers = (1000.5, None, 0.1, None, None, 0.7, 99.99, 3.3, 1e-3, 12345.678, 0.2, None, None, None, 0.3)
    rows = (f"({at}, {number or 'NULL'}, {number or at}, 'a{at % 2}')" for at, number in enumerate(numbers))
    frames = (
        "ORDER BY id ROWS BETWEEN 2 PRECEDING AND CURRENT ROW",
        "ORDER BY id ROWS BETWEEN 2 PRECEDING AND 1 FOLLOWING",
        "ORDER BY id ROWS BETWEEN 2 PRECEDING AND 1 PRECEDING",
        "ORDER BY id DESC ROWS 1 PRECEDING",
        "PARTITION BY g ORDER BY id ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING",
        "ORDER BY id RANGE BETWEEN 3 PRECEDING AND CURRENT ROW",
    )
    calls = ("sum(y)", "avg(y)", "total(y)", "sum(n)", "avg(n)", "sum(y) FILTER (WHERE id > 2)", "avg(y * 1.1)")
    data = [f"INSERT INTO t VALUES {', '.join(rows)}"]
    schema = "CREATE TABLE t (id INTEGER PRIMARY KEY, y REAL, n NUMERIC, g TEXT)"
    async with world(postgres_url, schema, data=data) as both:
        different = []
        for frame in frames:
            windows = ", ".join(f"{call} OVER ({frame})" for call in calls)
            sql = f"SELECT id, {windows} FROM t ORDER BY id"
            if both.on_sqlite(sql).rows != (await both.on_postgres(sql)).rows:
                different.append(sql)
        assert different == []
        for frame in (
            "ORDER BY id ROWS BETWEEN 1 FOLLOWING AND 3 FOLLOWING",
            "ORDER BY g GROUPS BETWEEN CURRENT ROW AND CURRENT ROW",
            "ORDER BY g RANGE BETWEEN CURRENT ROW AND CURRENT ROW",
            "ORDER BY g GROUPS BETWEEN 1 PRECEDING AND 1 PRECEDING",
        ):
            for call in ("sum(y)", "avg(n)", "total(y)"):
                await both.refused(
                    f"SELECT {call} OVER ({frame}) FROM t", "of reals in a frame that has no row in common"
                )
            await both.same(f"SELECT id, sum(id) OVER ({frame}), count(y) OVER ({frame}) FROM t ORDER BY id")


async def test_a_value_of_a_frame_that_the_row_is_not_in_without_its_ties(postgres_url: str) -> None:
    data = ["INSERT INTO t VALUES (1, 'x'), (2, 'x'), (3, 'x'), (4, 'y'), (5, 'y'), (6, 'y'), (7, 'z')"]
    behind, before = "1 FOLLOWING AND UNBOUNDED FOLLOWING", "UNBOUNDED PRECEDING AND 1 PRECEDING"
    async with world(postgres_url, "CREATE TABLE t (id INTEGER PRIMARY KEY, g TEXT)", data=data) as both:
        for call in ("first_value(id)", "last_value(id)", "nth_value(id, 2)"):
            for frame in (behind, before):
                over = f"{call} OVER (ORDER BY g ROWS BETWEEN {frame} EXCLUDE"
                await both.refused(f"SELECT {over} TIES) FROM t", "that the row itself may not be in")
                await both.same(f"SELECT {over} GROUP) FROM t")
            around = "BETWEEN 2 PRECEDING AND UNBOUNDED FOLLOWING EXCLUDE TIES"
            await both.same(f"SELECT {call} OVER (ORDER BY g ROWS {around}) FROM t")
        await both.same(f"SELECT sum(id) OVER (ORDER BY g ROWS BETWEEN {behind} EXCLUDE TIES) FROM t")


async def test_a_collation_of_the_rows_is_none_of_what_is_computed_of_them(postgres_url: str) -> None:
    data = ["INSERT INTO t VALUES ('a', 'Z'), ('b', 'a'), ('c', 'B')"]
    async with world(postgres_url, "CREATE TABLE t (k TEXT, p TEXT)", data=data) as both:
        await both.all_same(
            f"SELECT p FROM t ORDER BY {term}"
            for term in (
                "group_concat(p) OVER (ORDER BY k COLLATE NOCASE ROWS CURRENT ROW)",
                "group_concat(p COLLATE NOCASE) OVER (ORDER BY k ROWS CURRENT ROW)",
                "group_concat(p) FILTER (WHERE p COLLATE NOCASE <> '') OVER (ORDER BY k ROWS CURRENT ROW)",
                "first_value(p) OVER (PARTITION BY p COLLATE NOCASE) || 'x'",
            )
        )
        await both.same("SELECT min(p) FILTER (WHERE p COLLATE NOCASE <> '') AS m FROM t GROUP BY k ORDER BY m")
