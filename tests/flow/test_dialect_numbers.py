"""Numbers where integers and reals meet: beyond 2^53 a real stands between integers, and SQLite compares exactly."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from cutover.errors import StatementError
from tests.flow.dialect_world import World, world

EDGE = 1 << 53
SCHEMA = """
CREATE TABLE meters (id INTEGER PRIMARY KEY, serial BIGINT UNIQUE, ticks INT, level REAL, price NUMERIC, seen DATETIME);
CREATE TABLE probes (id INTEGER PRIMARY KEY, weight REAL, serial BIGINT);
"""
DATA = (
    f"INSERT INTO meters VALUES ({EDGE + 1}, {EDGE + 1}, 1, {EDGE}.0, 1.5, '2024-05-01'),"
    f" ({EDGE}, {EDGE}, 2, 2.5, 2, '2025-01-01 10:00'), (3, 9223372036854775807, 3, 9223372036854775807, 3.25, ''),"
    " (4, -9223372036854775808, 4, -1e300, 0.5, NULL), (5, 1152921504606846976, 5, 1152921504606846976, 9, 'soon'),"
    " (6, NULL, NULL, NULL, NULL, '1999-12-31')",
    f"INSERT INTO probes VALUES (1, {EDGE}.0, {EDGE + 1}), (2, 1152921504606846976, 1152921504606846977), (3, 3.0, 3),"
    " (4, 9223372036854775807, 9223372036854775807)",
)

REALS = [float(EDGE), 3.0, 2.5, -2.5, 1e300, -1e300, 9223372036854775808.0, -9223372036854775808.0,
         1152921504606846976.0, float("inf"), float("-inf"), -0.0]  # fmt: skip
INTEGERS = [EDGE + 1, EDGE, 3, 9223372036854775807, -9223372036854775808, 1152921504606846977, 1152921504606846976]


@pytest.fixture
async def both(postgres_url: str) -> AsyncIterator[World]:
    async with world(postgres_url, SCHEMA, data=DATA) as made:
        yield made


_TESTS = (
    "{0} = {1}, {0} <> {1}, {0} < {1}, {0} <= {1}, {0} > {1}, {0} >= {1}, {0} IS {1}, {0} IN ({1}), "
    "{0} BETWEEN {1} AND 1e301"
)


@pytest.mark.parametrize(("column", "values"), [("serial", REALS), ("level", INTEGERS), ("id", REALS)])
async def test_an_argument_of_the_other_kind_is_compared_exactly(
    both: World, column: str, values: list[float | int]
) -> None:
    tests = [*_TESTS.format(column, "?1").split(", "), f"{column} IN (?1, 7)"]
    for value in values:
        await both.same(f"SELECT id, {', '.join(tests)} FROM meters", value)
        more = f"NOT {column} IN (?1, 7)", f"?1 >= {column}", f"NOT ?1 = {column}", f"({column}, 1) = (?1, 1)"
        for test in [*tests, *more]:
            await both.same(f"SELECT id FROM meters WHERE {test}", value)


@pytest.mark.parametrize(("column", "values"), [("serial", REALS[:-3]), ("level", INTEGERS)])
async def test_so_is_a_literal(both: World, column: str, values: list[float | int]) -> None:
    for value in values:
        tests = _TESTS.format(column, repr(value)).split(", ")
        await both.same(f"SELECT id, {', '.join(tests)}, {column} IN ({value!r}, 7) FROM meters")


COLUMNS = [
    "SELECT p.id, m.id FROM probes AS p JOIN meters AS m ON m.serial = p.weight",
    "SELECT p.id, m.id FROM probes AS p JOIN meters AS m ON m.serial > p.weight",
    "SELECT id, serial = weight, serial > weight, serial <= weight, weight IS serial, weight <> serial FROM probes",
    "SELECT id FROM meters WHERE serial IN (SELECT weight FROM probes)",
    "SELECT id FROM probes WHERE weight IN (SELECT serial FROM meters)",
    "SELECT id FROM probes WHERE weight NOT IN (SELECT serial FROM meters WHERE serial IS NOT NULL)",
    "SELECT id, typeof(max(serial, weight)), typeof(min(serial, weight)), max(serial, weight) FROM probes",
    "SELECT id, CASE serial WHEN weight THEN 1 ELSE 2 END, nullif(serial, weight) FROM probes",
    "SELECT id FROM probes WHERE serial BETWEEN weight AND weight",
    "SELECT id FROM probes WHERE (serial, id) > (weight, id)",
    "SELECT id FROM probes WHERE abs(serial) = abs(weight)",
    "SELECT id FROM probes WHERE serial + 0 = weight AND serial + 0.0 = weight",
    "SELECT id FROM meters WHERE serial = '9007199254740992.0'",
]


async def test_columns_and_expressions_too(both: World) -> None:
    for sql in COLUMNS:
        await both.same(sql)


async def test_writes_find_their_rows_exactly(both: World) -> None:
    assert (await both.same("UPDATE meters SET ticks = ticks + 10 WHERE id = ?", float(EDGE))).affected == 1
    assert (await both.same("DELETE FROM meters WHERE serial = ? AND id > 5", float(EDGE + 2))).affected == 0
    assert (await both.same("DELETE FROM meters WHERE serial = ?", float(EDGE))).affected == 1


async def test_an_index_serves_the_argument_of_the_other_kind(both: World) -> None:
    async with both.pool.acquire() as connection, connection.transaction():
        await connection.execute("SET LOCAL enable_seqscan = off")
        for where in ("serial = ?", "serial < ?", "serial BETWEEN ? AND 100", "serial IN (?)", "serial = 7.0"):
            sql = f"SELECT id FROM meters WHERE {where}"
            made = both.executor.dialect.translate(sql, [5.0] * where.count("?"))
            given = made.command.arguments([5.0], lambda _: 0)
            plan = await connection.fetch(f"EXPLAIN {made.command.sql}", *given)
            assert "Index Cond" in "\n".join(row[0] for row in plan), (where, plan)


async def test_texts_in_a_column_that_makes_numbers_of_some(both: World) -> None:
    for given in ("2025", " 2025 ", "1e3", "2025-01-01 10:00", "", "soon", 2025, 1.5, None, b"x"):
        for test in (*_TESTS.replace("1e301", "'3'").format("seen", "?1").split(", "),
                     "seen IN (?1, 'soon')", "seen BETWEEN '1' AND ?1", "NOT seen > ?1", "?1 < seen", "?1 >= seen",
                     "seen NOT IN (?1)", "(seen, id) < (?1, 5)"):  # fmt: skip
            await both.same(f"SELECT id, {test} FROM meters", given)
            await both.same(f"SELECT id FROM meters WHERE {test}", given)


async def test_a_computed_text_beside_a_column_that_makes_numbers_of_some(both: World) -> None:
    """A year taken from a date is a number there, and so before each text."""
    for given in ("2025", " 2025 ", "1e3", "2025-01-01 10:00", "2025-06-01", "", "soon", "1.", None):
        for text in ("?1 || ''", "substr(?1, 1, 40)", "CASE WHEN id THEN ?1 END", "(SELECT ?1)", "CAST(?1 AS TEXT)"):
            for test in ("seen < {0}", "seen <= {0}", "seen > {0}", "seen >= {0}", "{0} < seen", "{0} >= seen",
                         "seen BETWEEN {0} AND {0}", "NOT seen > {0}", "seen = {0}", "seen IS NOT {0}",
                         "(seen, id) < ({0}, 5)", "(seen, id) > (SELECT {0}, 5)",
                         "seen COLLATE RTRIM > {0}", "seen > {0} COLLATE NOCASE"):  # fmt: skip
                where = test.format(f"({text})")
                await both.same(f"SELECT id, {where} FROM meters", given)
                await both.same(f"SELECT id FROM meters WHERE {where}", given)
    for text in (
        "strftime('%Y', 'now')",
        "date('2025-01-01')",
        "datetime('2025-01-01', '+1 day')",
        "substr(seen, 1, 4)",
    ):
        await both.same(f"SELECT id, seen > {text}, seen <= {text} FROM meters")


async def test_rows_with_a_text_column_beside_one_that_makes_numbers_of_some(postgres_url: str) -> None:
    schema = "CREATE TABLE t (id INTEGER PRIMARY KEY, at DATETIME, n TEXT);"
    data = ["INSERT INTO t VALUES (1, '2024-01-01', '4'), (2, '2024-01-01', '1.5'), (3, 'x', 'y'), (4, NULL, '4')"]
    async with world(postgres_url, schema, data=data) as both:
        for op in ("<", "<=", ">", ">=", "=", "<>", "IS"):
            for right in ("(id, at)", "(SELECT t.id, t.at)", "(SELECT o.id, o.at FROM t o WHERE o.id = t.id)"):
                await both.same(f"SELECT id, (id, n) {op} {right} FROM t")
                await both.same(f"SELECT id FROM t WHERE (id, n) {op} {right}")


ORDERS = "CREATE TABLE orders (id INTEGER PRIMARY KEY, total DECIMAL(30,10), fee NUMERIC, n INTEGER, r REAL);"
TARGET = """CREATE TABLE orders (id bigint PRIMARY KEY, total numeric(40,10), fee numeric, n bigint,
 r double precision);"""
LONG = ["123456789012345678901", "9223372036854775808", "-9223372036854779809", "9223372036854775807",
        "9223372036854775807.0", "12345678901234567890.5", "1e25", "0.1000000000000000055", "7.0", " 8 "]  # fmt: skip


@pytest.mark.parametrize("target", [TARGET, ""])
async def test_a_text_of_many_digits_becomes_the_number_that_sqlite_makes_of_it(postgres_url: str, target: str) -> None:
    async with world(postgres_url, ORDERS, target=target, data=["INSERT INTO orders (id) VALUES (1)"]) as both:
        for text in LONG:
            columns = ("total", "fee", "r")
            for column in columns:
                returning = f"RETURNING {column}, typeof({column})"
                await both.same(f"UPDATE orders SET {column} = ? {returning}", text)
                await both.same(
                    f"SELECT {column}, typeof({column}), {column} || '' FROM orders WHERE {column} = ?", text
                )
                await both.same(f"UPDATE orders SET {column} = '{text}' {returning}")
                await both.same(f"SELECT {column} FROM orders WHERE {column} = '{text}'")
                await both.same(f"UPDATE orders SET {column} = trim(?) {returning}", text)


async def test_a_text_of_the_highest_integer_is_one(both: World) -> None:
    for text in ("9223372036854775807", "-9223372036854775808", "+12", " 7.0 "):
        await both.same("UPDATE meters SET ticks = ? WHERE id = 4 RETURNING ticks", text)
        await both.same(f"UPDATE meters SET ticks = '{text}' WHERE id = 4 RETURNING ticks")
        await both.same("SELECT id FROM meters WHERE ticks = ?", text)
        await both.same("UPDATE meters SET ticks = trim(?) WHERE id = 4 RETURNING ticks", text)


async def test_a_numeric_that_no_real_is_reads_as_the_real_next_to_it(postgres_url: str) -> None:
    async with world(postgres_url, ORDERS, target=TARGET, data=["INSERT INTO orders (id) VALUES (1)"]) as both:
        for native, read in (("123456789012345678901", 1.2345678901234568e20), ("1.00000000000000000000001", 1.0)):
            await both.pool.execute(f"UPDATE orders SET fee = {native}")
            assert (await both.on_postgres("SELECT fee FROM orders")).rows == [(read,)]
            assert (await both.on_postgres("UPDATE orders SET n = 1 RETURNING fee")).rows == [(read,)]


async def test_an_answer_to_a_write_that_cannot_be_read_says_so(postgres_url: str) -> None:
    target = TARGET.replace("fee numeric", "fee date")
    async with world(postgres_url, ORDERS, target=target, data=["INSERT INTO orders (id) VALUES (1)"]) as both:
        await both.pool.execute("UPDATE orders SET fee = 'infinity'")
        with pytest.raises(StatementError, match="a value that SQLite has not"):
            await both.on_postgres("UPDATE orders SET n = 1 RETURNING fee")


async def test_a_decimal_column_holds_integers_and_reals(both: World) -> None:
    for given in (7, 7.0, "7", "7.0", 7.5, -3):
        await both.same("UPDATE meters SET price = ? WHERE id = 4 RETURNING price, typeof(price), price / 2", given)
        await both.same("SELECT price, typeof(price), price / 2, price || '' FROM meters WHERE price = ?", given)


@pytest.mark.parametrize("text", ["5.5", "9223372036854775808", "abc", "", "5", "5.0"])
async def test_a_text_that_is_no_integer_is_unequal_to_all_of_them(both: World, text: str) -> None:
    for test in ("ticks = ?", "ticks <> ?", "NOT (ticks = ?)", "ticks IN (?, 7)", "ticks NOT IN (?, 7)", "ticks IS ?"):
        await both.same(f"SELECT id, {test} FROM meters ORDER BY id", text)
        await both.same(f"SELECT id FROM meters WHERE {test} ORDER BY id", text)


SUMMED = """
CREATE TABLE sums (id INTEGER PRIMARY KEY, x REAL, i INTEGER, part INTEGER, n NUMERIC, t TEXT);
INSERT INTO sums VALUES (1, 0.3, 9223372036854775807, 1, 1, '1'), (2, 0.2, 1, 1, 0.5, '1.0'), (3, 0.1, -5, 1, 2, 'x'),
    (4, 0.3, 7, 2, 1e16, '0.1'), (5, 1e16, -9, 2, 1, '0.2'), (6, -1e16, 3, 2, -1e16, NULL)
"""
OVER_THE_END = [
    "SELECT sum(i) FROM sums",
    "SELECT sum(i) FROM sums WHERE id <> 2",
    "SELECT part, sum(i) FROM sums GROUP BY part",
    "SELECT sum(i) + 0.5 FROM sums",
    "SELECT sum(CASE WHEN id = 6 THEN 1.5 ELSE i END) FROM sums",
    "SELECT sum(i) OVER () FROM sums",
    "SELECT sum(DISTINCT i) FROM sums",
]
ADDED = [
    "SELECT sum(i) FROM sums WHERE id IN (1, 3, 5)",
    "SELECT part, sum(i) FROM sums WHERE id <> 2 GROUP BY part HAVING sum(i) > 0 ORDER BY part",
    "SELECT sum(CASE WHEN id = 1 THEN 1.5 ELSE i END) FROM sums",
    "SELECT id, sum(i) OVER (ORDER BY id DESC) FROM sums",
    "SELECT id, sum(i) OVER (ORDER BY id ROWS 1 PRECEDING) FROM sums WHERE id <> 2",
    "SELECT sum(DISTINCT x), total(DISTINCT x), avg(DISTINCT x) FROM sums",
    "SELECT sum(DISTINCT x), total(DISTINCT x), avg(DISTINCT x) FROM sums WHERE id < 4",
    "SELECT sum(DISTINCT i), total(DISTINCT i), avg(DISTINCT i), sum(DISTINCT i > 3) FROM sums WHERE id > 1",
    "SELECT sum(DISTINCT n), total(DISTINCT n), avg(DISTINCT n) FROM sums",
    "SELECT sum(DISTINCT t), total(DISTINCT t), avg(DISTINCT t) FROM sums",
    "SELECT sum(DISTINCT x), total(DISTINCT x), avg(DISTINCT x), sum(DISTINCT i) FROM sums WHERE id > 100",
    "SELECT part, sum(DISTINCT x) FILTER (WHERE id <> 2) FROM sums GROUP BY part ORDER BY part",
    "SELECT sum(i), sum(i > 3), sum(1), sum(NULL), sum(-id), sum(length(t)) FROM sums WHERE id > 1",
]


async def test_sums_are_added_in_the_order_of_reading_and_fail_on_the_way(postgres_url: str) -> None:
    async with world(postgres_url, SUMMED.split(";")[0], data=[SUMMED.split(";")[1].strip()]) as both:
        for sql in OVER_THE_END:
            await both.same_error(sql)
        for sql in ADDED:
            found = await both.on_postgres(sql)
            assert repr(found.rows) == repr(both.on_sqlite(sql).rows), sql  # to the last digit


NEGATIVE_ZERO = [
    "SELECT abs(-0.0), abs(x * -1), abs(x), abs('-0'), abs(x * -1 + 0) FROM zeros",
    "SELECT coalesce(-0.0, 1), ifnull(x * -1, 0), CASE id WHEN 1 THEN -0.0 ELSE id END, iif(0, 1, -0.0) FROM zeros",
    "SELECT CAST('-0.0' AS REAL), CAST('-0' AS REAL), CAST(t AS REAL), CAST('-x' AS REAL), CAST('' AS REAL) FROM zeros",
    "SELECT CAST('-0.0' AS NUMERIC), CAST(coalesce(-0.0, 1) AS REAL), CAST(coalesce(-0.0, 1) AS TEXT) FROM zeros",
    "SELECT sum(x * -1), total(x * -1), avg(x * -1), min(x * -1), max(x * -1), sum(DISTINCT x * -1) FROM zeros",
    "SELECT sum(CASE id WHEN 1 THEN -0.0 ELSE 0 END), total(CASE id WHEN 1 THEN -0.0 ELSE 0 END) FROM zeros",
    "SELECT sum(x * -1) OVER (ORDER BY id), total(x * -1) OVER (ORDER BY id ROWS 1 PRECEDING) FROM zeros",
    "SELECT round(-0.04, 1), round(-0.2), round(-1e-20, 5), round(-2.5), round(-1.005, 2), round(x * -1, 1) FROM zeros",
    "SELECT -x, -(x * -1), -coalesce(-0.0, 1), -coalesce(x, 1), -t, -'0.0', - 0 FROM zeros",
    "SELECT t * 1, t * 1.0, t + 0, t - 0, t / 1, coalesce(-0.0, 1) * 2, coalesce(-0.0, 1) + 0 FROM zeros WHERE id = 1",
    "SELECT max(-0.0, 0), min(0, -0.0), max(0.0, -0.0, 'a'), min(x * -1, 0.0), nullif(-0.0, 1) FROM zeros",
    "SELECT -0.0 UNION ALL SELECT 0",
    "SELECT coalesce(-0.0, 'a'), coalesce(x * -1, 'a'), coalesce(-0.0, 'a') || 'b' FROM zeros",
    "SELECT printf('%f %g %s %d', -0.0, x * -1, coalesce(-0.0, 1), -0.0), quote(x * -1), x * -1 || '' FROM zeros",
    "SELECT json_extract('[-0.0, -0]', '$[0]'), '[-0.0]' ->> 0, json_array(x * -1) FROM zeros",
    "SELECT x * -1 = 0, x * -1 < 0, x * -1 IN (0, 1), coalesce(-0.0, 1) = 0, typeof(coalesce(-0.0, 1)) FROM zeros",
]


async def test_zero_below_zero_keeps_its_sign_where_sqlite_keeps_it(postgres_url: str) -> None:
    schema = "CREATE TABLE zeros (id INTEGER PRIMARY KEY, x REAL, n NUMERIC, t TEXT)"
    data = ["INSERT INTO zeros VALUES (1, -0.0, -0.0, '-0.0'), (2, 0.0, 0.0, '0.0')"]
    async with world(postgres_url, schema, data=data) as both:
        stored = "SELECT * FROM zeros"
        for sql in [stored, *NEGATIVE_ZERO]:
            assert repr((await both.on_postgres(sql)).rows) == repr(both.on_sqlite(sql).rows), sql
        await both.same("UPDATE zeros SET x = x * -1, n = x * -1, t = x * -1")
        assert repr((await both.on_postgres(stored)).rows) == repr(both.on_sqlite(stored).rows)


PRINTED = [
    58135.25, 283.4747652200631, 1125899906842624.0, 5059.5, 1.2709897256693535e162, 7.766782856012597e275, 0.1, 1 / 3,
    2.675, 1.0049999999999997, 0.28499999999999992, 4503599627370495.5, 4503599627370497.5, 9007199254740993.0, 1e15,
    123456789012345678.0, 5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, 5.938729627404674e-11, 9999995.0,
    0.5, 25024463.25795318, 1e-7, 99999.95, 1e22, 1e23, 9.999999999999995e22, 0.0, 1234567.8901234567, 1e100,
]  # fmt: skip
FORMATS = ["%.0f", "%.2f", "%.3f", "%.15f", "%.17f", "%!.20f", "%.30f", "%e", "%.15e", "%#.16g", "%g", "%!g", "%08.3f"]


async def test_reals_have_the_digits_that_sqlite_computes(postgres_url: str) -> None:
    """In steps with 64 binary digits, each rounded: beyond 15 decimal ones they are not always the nearest."""
    async with world(postgres_url, "CREATE TABLE reals (id INTEGER PRIMARY KEY, x REAL)") as both:
        for number, value in enumerate([*PRINTED, *(-value for value in PRINTED)]):
            await both.same("INSERT INTO reals VALUES (?, ?)", number, value)
        asked = [f"printf('{one}', x)" for one in FORMATS]
        asked += [f"round(x, {places}) || ''" for places in (0, 1, 2, 5, 10, 12, 15, 16, 17, 30)]
        asked += [f"round(x, {places}) = x" for places in (12, 15, 20)]
        for one in (*asked, "x || ''", "CAST(x AS TEXT)"):
            sql = f"SELECT id, {one} FROM reals ORDER BY id"
            expected = both.on_sqlite(sql).rows
            assert (await both.on_postgres(sql)).rows == expected, sql
