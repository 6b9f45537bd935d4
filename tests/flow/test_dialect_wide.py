"""Where 64 bits or a double end SQLite goes on: integers become reals, reals become infinite."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from cutover.model.statement import Statement, Step
from tests.flow.dialect_world import World, world

MOST, LEAST = (1 << 63) - 1, -(1 << 63)
SCHEMA = """CREATE TABLE n (id INTEGER PRIMARY KEY, i INTEGER, r REAL, t TEXT);
CREATE TABLE sales (id INTEGER PRIMARY KEY, price NUMERIC);"""
DATA = (
    f"INSERT INTO n VALUES (1, {MOST}, 1e308, 'a'), (2, {LEAST}, -1e308, 'b'), (3, 7, 1e-200, '9223372036854775807'),"
    " (4, 3037000500, 1e300, 'c'), (5, NULL, NULL, NULL), (6, 0, 0.0, '')",
)


@pytest.fixture
async def both(postgres_url: str) -> AsyncIterator[World]:
    async with world(postgres_url, SCHEMA, data=DATA) as made:
        yield made


EXPRESSIONS = [
    "i + 1", "i - 1", "i * i", "i * 2 / 2", "i / -1", "-i", "1 - i", "i + i - i", "i * 31 + 7", "i + i % 7",
    "typeof(i * i)", "r * 10", "r * r", "r + r", "r - -r", "r / 1e-10", "r / -1e-10", "r * 10 - r * 10",
    "r * 10 IS NULL", "i * r", "t + 1", "CASE WHEN i * 2 > 0 THEN 'more' ELSE 'less' END", "i * i > 5",
    "i + 1 = 9223372036854775808.0", "i + 1 BETWEEN 1 AND 9", "coalesce(i * i, 'x')", "abs(i / 2) * 4",
    "CAST(i * 2 AS INTEGER)", "CAST(i * 2 AS TEXT)", "i * 2 || 'x'", "max(i * 2, r)",
]  # fmt: skip


async def test_expressions(both: World) -> None:
    for expression in EXPRESSIONS:
        await both.same(f"SELECT id, {expression} FROM n ORDER BY id")


async def test_each_digit_of_what_became_a_real(both: World) -> None:
    """SQLite makes reals of the two integers, and computes with those: the exact result may be another real."""
    rows = f"(VALUES ({(1 << 53) + 1}), ({MOST - 1537}), ({LEAST + 2561}), ({MOST}))"
    for expression in ("i * i", "i * i * i", "i * 1025", "i + (i - 513)", "i - (511 - i)", "-i * i"):
        sql = f"SELECT {expression} FROM (SELECT CAST(column1 AS INTEGER) AS i FROM {rows}) WHERE i <> 0"
        expected, found = both.on_sqlite(sql), await both.on_postgres(sql)
        assert found.rows == expected.rows, sql


QUERIES = [
    "SELECT sum(r), avg(r), total(r) FROM n WHERE r > 0 AND id = 1 OR r = 1e308",
    "SELECT sum(r * 10), avg(r * 10), total(r * 10), max(r * 10) FROM n",
    "SELECT sum(a.r), avg(a.r), total(a.r) FROM n AS a, n AS b WHERE a.id = 1",
    "SELECT b.id, avg(a.r), total(a.r) FROM n AS a, n AS b, n AS c WHERE a.id = 1 GROUP BY b.id ORDER BY b.id",
    "SELECT sum(i * 2), avg(i * 2) FROM n",
    "SELECT id FROM n WHERE i * 2 > 100 ORDER BY i * 2, id",
    "SELECT id FROM n WHERE i = 9223372036854775806 + ?1 AND i + ?1 > 0",
    "SELECT i * 2 FROM n UNION SELECT r FROM n ORDER BY 1",
    "SELECT DISTINCT i * i FROM n ORDER BY 1",
    "SELECT id, sum(r * 10) OVER (ORDER BY id) FROM n ORDER BY id",
    "WITH RECURSIVE c (k, x) AS (SELECT 1, 3 UNION ALL SELECT k + 1, x * 10 FROM c WHERE k < 25) SELECT k, x FROM c",
    "SELECT ?1 + 9223372036854775807, -9223372036854775807 - ?1 - ?1",
]


async def test_queries(both: World) -> None:
    for sql in QUERIES:
        await both.same(sql, *[1][: sql.count("?1")])


async def test_sqlites_own_ends_stay(both: World) -> None:
    await both.same_error("SELECT sum(i) FROM n WHERE id IN (1, 4)")
    await both.same_error("SELECT abs(i) FROM n WHERE id = 2")
    await both.same_error("SELECT i * 2, abs(i) FROM n WHERE id = 2")


async def test_a_write_that_goes_beyond(both: World) -> None:
    await both.same("UPDATE n SET r = i * 2.0 + r, t = i + 1 WHERE id = 1 RETURNING r, t")
    await both.same("UPDATE n SET t = 'big' WHERE i + i > 100 RETURNING id")
    await both.same("INSERT INTO n (r, t) SELECT i * 2, i * 2 FROM n WHERE id < 3")
    await both.same("SELECT * FROM n ORDER BY id")


async def test_a_whole_number_of_a_column_that_would_become_a_real_is_an_error(both: World) -> None:
    before = (await both.on_postgres("SELECT i FROM n ORDER BY id")).rows
    with pytest.raises(Exception, match="datatype mismatch"):
        await both.on_postgres("UPDATE n SET i = i + 1 WHERE id = 1")
    assert (await both.on_postgres("SELECT i FROM n ORDER BY id")).rows == before


async def test_in_a_transaction_and_in_pieces(both: World) -> None:
    await both.session.execute(Statement("BEGIN"))
    await both.on_postgres("UPDATE n SET t = 'kept' WHERE id = 3")
    assert (await both.on_postgres("SELECT i + 1 FROM n WHERE id = 1")).rows == [(float(1 << 63),)]
    await both.session.execute(Statement("COMMIT"))
    assert (await both.on_postgres("SELECT t FROM n WHERE id = 3")).rows == [("kept",)]
    step = Step(Statement("SELECT id, i * 2 FROM n ORDER BY id"))
    read = await both.executor.read_pieces([step])
    expected = both.on_sqlite(step.statement.sql)
    assert getattr(read, "results", None) is not None
    assert read.results[0].rows == expected.rows  # type: ignore[union-attr]  # asserted above
    assert (await both.executor.run([step])).results[0].rows == expected.rows  # type: ignore[union-attr]  # has rows


async def test_a_sum_of_whole_reals_that_no_integer_holds(both: World) -> None:
    await both.same("INSERT INTO sales VALUES (1, 1e300), (2, 5), (3, 0.5), (4, NULL)")
    for what in ("sum(price)", "avg(price)", "total(price)", "sum(DISTINCT price)", "sum(price) FILTER (WHERE id < 3)"):
        await both.same(f"SELECT {what} FROM sales")
        await both.same(f"SELECT {what} FROM sales WHERE id = 1")
    await both.same("SELECT id, sum(price) OVER (ORDER BY id) FROM sales ORDER BY id")


async def test_what_infinite_numbers_make_undefined_is_null(both: World) -> None:
    await both.same("INSERT INTO sales VALUES (1, 0.5)")
    await both.same("SELECT typeof(-0.0 * 9e999), typeof(9e999 - 9e999), typeof(1.5), -0.0 * 9e999 IS NULL")
    await both.same("SELECT typeof(price * 0.0 * 9e999), coalesce(price * 0.0 * 9e999, 5), typeof(price) FROM sales")


async def test_of_no_rows_it_does_not_matter_which_are_passed_over(both: World) -> None:
    for limit, offset in ((0, None), (0, "x"), (0, 1.5), (2, "1"), (-1, 1)):
        await both.same("SELECT id FROM n ORDER BY id LIMIT ? OFFSET ?", limit, offset)
    await both.same("SELECT id FROM n LIMIT 0 OFFSET NULL")
    for offset in (None, "x", 1.5):
        await both.same_error("SELECT id FROM n ORDER BY id LIMIT ? OFFSET ?", 1, offset)


async def test_sums_of_integers_as_reals_are_rounded_as_sqlite_rounds_them(postgres_url: str) -> None:
    """Past 2^53 the order tells, and what leaves a frame leaves digits behind."""
    whole = "CAST(total({0}){1} AS INTEGER), CAST(avg({0}){1} AS INTEGER)"
    async with world(postgres_url, "CREATE TABLE t (id INTEGER PRIMARY KEY, i INTEGER, g INTEGER)") as both:
        await both.same(
            "INSERT INTO t VALUES (10, 9007199254740992, 1), (9, 1, 1), (8, 1, 1), (7, 3, 1), (1, NULL, 5), (11, 1, 6),"
            " (6, 9223372036854775807, 3), (5, 9223372036854775807, 3), (3, -9223372036854775808, 4), (4, 1, 3),"
            " (2, -9223372036854775808, 4), (13, 1700000000001, 7), (14, 1700000000002, 7)"
        )
        await both.all_same(
            [
                f"SELECT {whole.format('i', '')} FROM t",
                f"SELECT g, {whole.format('i', '')}, avg(id), count(*) FROM t GROUP BY g",
                f"SELECT {whole.format('i', ' FILTER (WHERE g = 1)')}, avg(i) FILTER (WHERE g > 5) FROM t",
                "SELECT total(i), avg(i), total(i > 2), avg(i > 2), total(1), avg(NULL) FROM t WHERE g = 5",
                f"SELECT {whole.format('i', '')} FROM (SELECT i FROM t ORDER BY id DESC)",
                f"SELECT {whole.format('i', ' OVER (ORDER BY id ROWS 2 PRECEDING)')} FROM t",
                "SELECT (SELECT total(q.id + t.id) FROM t AS q), avg(DISTINCT g) FROM t GROUP BY id",
                "SELECT g FROM t GROUP BY g HAVING avg(i) > 1 ORDER BY total(i)",
            ],
            ordered=True,
        )


async def test_of_both_zeros_the_first_is_the_least_and_the_greatest(postgres_url: str) -> None:
    turned = "CASE id WHEN {} THEN r * 1 ELSE r * -1 END"
    async with world(postgres_url, "CREATE TABLE t (id INTEGER PRIMARY KEY, r REAL)") as both:
        await both.same("INSERT INTO t VALUES (1, 0.0), (2, -0.0), (3, NULL), (4, 1.5), (5, -1.5)")
        for value in (turned.format(1), turned.format(2), "r * 0", "-r", "round(r * -0.1)", "r"):
            for rest in ("FROM t", "FROM t WHERE id < 3", "FROM t GROUP BY id < 3", "FROM t WHERE id = 3"):
                sql = f"SELECT min({value}), max({value}) {rest}"
                assert repr((await both.same(sql)).rows) == repr(both.on_sqlite(sql).rows), sql
            over = f"SELECT min({value}) OVER w, max({value}) OVER w FROM t WINDOW w AS (ORDER BY id ROWS 1 PRECEDING)"
            assert repr((await both.same(over)).rows) == repr(both.on_sqlite(over).rows), over
