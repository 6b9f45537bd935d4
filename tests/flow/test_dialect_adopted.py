"""A target that the application's own migrations made: native types, another collation, keys without a sequence."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from cutover.errors import StatementError
from tests.flow.dialect_world import World, world

SCHEMA = """
CREATE TABLE items (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, active BOOLEAN NOT NULL DEFAULT 1,
                    size INTEGER, meta TEXT, done BOOLEAN);
"""
TARGET = """
CREATE TABLE items (id bigint PRIMARY KEY, name varchar(10) COLLATE "POSIX" NOT NULL UNIQUE,
                    active boolean NOT NULL DEFAULT true, size integer, meta jsonb, done boolean);
"""


@pytest.fixture
async def both(postgres_url: str) -> AsyncIterator[World]:
    async with world(postgres_url, SCHEMA, target=TARGET, store=True) as made:
        yield made


async def test_native_types(both: World) -> None:
    await both.same("INSERT INTO items (name, active, size, meta) VALUES (?, ?, ?, ?)", "b", 1, 3, '{"k":[1,2]}')
    await both.same("INSERT INTO items (name, active, done) VALUES ('B', 0, NULL), ('a', TRUE, 1), ('é', FALSE, 0)")
    await both.same(
        "INSERT INTO items VALUES (NULL, ?, ?, ?, ?, ?), (NULL, '_', 1, 2, NULL, 0)", "z", 1, None, None, None
    )
    await both.same("SELECT * FROM items ORDER BY name")
    await both.same("SELECT name FROM items WHERE name > 'B' ORDER BY id")
    await both.same("SELECT min(name), max(name), min(active), sum(active), count(done) FROM items")
    await both.same("SELECT id FROM items WHERE active AND NOT coalesce(done, 0) ORDER BY id")
    await both.same("SELECT id FROM items WHERE active = ? AND done IS NULL ORDER BY id", 1)
    await both.same("SELECT id, active = 1, done + 1, size * 3000000000 FROM items ORDER BY id")
    await both.same("SELECT id FROM items WHERE active IN (0) ORDER BY done, id")
    await both.same("SELECT active, count(*) FROM items GROUP BY active ORDER BY active")
    await both.same("SELECT CASE WHEN active THEN done ELSE 2 END FROM items ORDER BY id")
    await both.same("SELECT json_extract(meta, '$.k[1]'), meta FROM items ORDER BY id")
    await both.same(
        "UPDATE items SET active = NOT active, done = (size > 1), size = size + 1 RETURNING id, active, done"
    )
    await both.same("UPDATE items SET done = ? WHERE id = 1", 0)
    await both.same("INSERT INTO items (id, name) SELECT id + 10, name || 'x' FROM items WHERE id < 3")
    await both.same("DELETE FROM items WHERE name IN (SELECT name FROM items WHERE active) RETURNING name")
    await both.same("SELECT * FROM items ORDER BY id")


async def test_what_the_columns_cannot_hold(both: World) -> None:
    for sql, value in (
        ("INSERT INTO items (name, active) VALUES ('x', ?)", 2),
        ("INSERT INTO items (name, size) VALUES ('x', ?)", 1 << 40),
        ("INSERT INTO items (name, meta) VALUES ('x', ?)", "{"),
        ("INSERT INTO items (name) VALUES (?)", "far too long a name"),
    ):
        with pytest.raises(StatementError) as refused:
            await both.on_postgres(sql, value)
        assert refused.value.code in ("SQLITE_MISMATCH", "SQLITE_TOOBIG"), sql
    assert (await both.on_postgres("SELECT count(*) FROM items")).rows == [(0,)]


WHOLE_SCHEMA = """
CREATE TABLE events (id INTEGER PRIMARY KEY, token TEXT, price DECIMAL, made DATETIME, day TEXT, span INTEGER,
                     mood TEXT, code CHAR(4), at TEXT);
"""
WHOLE_TARGET = """
CREATE TYPE "Mood" AS ENUM ('sad', 'ok');
CREATE TABLE events (id bigint PRIMARY KEY, token uuid, price numeric(10,2), made timestamptz, day date, span interval,
                     mood "Mood", code char(4), at time);
"""


async def test_types_that_only_their_codecs_know(postgres_url: str) -> None:
    async with world(postgres_url, WHOLE_SCHEMA, target=WHOLE_TARGET, store=True) as both:
        token = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"
        await both.same(
            "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            *(1, token, "10.50", "2024-02-29 10:00:00", "2024-02-29", 5, "ok", "abc", "10:00:00"),
        )
        await both.same(
            f"INSERT INTO events VALUES (2, '{token}', 7, '2024-02-29 10:00:00.5', NULL, -86400000001, 'sad', 'de',"
            " NULL)"
        )
        await both.same("SELECT * FROM events WHERE id = 1")
        await both.same("SELECT made AS at, price, count(*) OVER () FROM events ORDER BY id LIMIT 1")
        await both.same("UPDATE events SET price = ?, span = span WHERE id = 2 RETURNING id, price, token, span", 2.25)
        await both.same("SELECT e.token FROM (SELECT * FROM events) e WHERE e.id = 2")
        await both.same("SELECT id FROM events WHERE day IS NULL")
        await both.same("SELECT id FROM events WHERE token = ? AND day = '2024-02-29'", token)
        for other in (token.upper(), "no token", 7):
            await both.same("SELECT id FROM events WHERE token = ?", other)
        await both.same("SELECT id FROM events WHERE token IN (?, 'x') ORDER BY day DESC, token", token)
        await both.same("SELECT id, mood, code FROM events WHERE code = 'de' OR code = ? ORDER BY code", "abc")
        await both.same("SELECT a.id, b.id FROM events a JOIN events b ON a.token = b.token ORDER BY 1, 2")
        await both.same("SELECT a.id FROM events a JOIN events b USING (token) ORDER BY b.id, a.id")
        with pytest.raises(StatementError) as refused:
            await both.on_postgres("UPDATE events SET price = ?", 1.005)
        assert refused.value.code == "SQLITE_MISMATCH"


NATIVE_SCHEMA = """
CREATE TABLE sales (id INTEGER PRIMARY KEY, token TEXT, price DECIMAL, made DATETIME, day TEXT, mood TEXT, code CHAR(4),
                    at TEXT, seen INTEGER, qty INTEGER, rate REAL, utc TEXT);
CREATE TABLE other (id INTEGER PRIMARY KEY, made TEXT, token TEXT, n INTEGER, p REAL);
"""
NATIVE_TARGET = """
CREATE TYPE "Mood" AS ENUM ('sad', 'ok');
CREATE TABLE sales (id bigint PRIMARY KEY, token uuid, price numeric(10,2), made timestamptz, day date, mood "Mood",
                    code char(4), at time, seen timestamptz, qty smallint, rate numeric(12,3), utc timestamp);
CREATE INDEX ON sales (made);
CREATE INDEX ON sales (price);
"""
TOKEN = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"
ROWS = (
    (1, TOKEN, 10.5, "2024-02-29 10:00:00", "2024-02-29", "ok", "abc", "10:00:00", 1700000000, 3, 1.25),
    (2, "b" + TOKEN[1:], 7, "2024-03-01 10:00:00.500000", "2024-03-01", "sad", "de", "11:00:00", 1700000001, 2, None),
    (3, None, 1.1, "2023-03-01 10:00:00", "2023-03-01", "sad", "de", None, 1600000001, 1, -2.5),
)
READS: tuple[tuple[str | float, ...], ...] = (
    ("SELECT id FROM sales WHERE made > '2024'",),
    *(
        (f"SELECT id FROM sales WHERE made {op} ?", given)
        for op in ("<", "<=", ">", ">=", "=", "<>")
        for given in ("2024-02-29 10:00:00", "2024-03-01", "2024-03-01 10:00:00.5", "", "zzz", 5, 2.5)
    ),
    *(
        (f"SELECT id FROM sales WHERE price {op} ?", given)
        for op in ("<", "<=", ">", ">=", "=", "<>")
        for given in (1.1, 7, 10.5, "10.5", "abc", 1e300)
    ),
    *(
        (f"SELECT id FROM sales WHERE seen {op} ?", given)
        for op in ("<", ">=", "=")
        for given in (1700000000, 1.5, "x")
    ),
    ("SELECT id FROM sales WHERE made BETWEEN ? AND ?", "2024-02-01", "2024-03-01T"),
    ("SELECT id FROM sales WHERE price BETWEEN 1 AND 7.5",),
    ("SELECT id FROM sales WHERE price IN (?, ?) OR mood IN ('ok', 'zzz')", 7, 1.1),
    ("SELECT min(made), max(made), max(price), min(day), sum(price), avg(price), sum(rate) FROM sales",),
    ("SELECT day, count(*) FROM sales GROUP BY day ORDER BY day",),
    ("SELECT made, sum(price) FROM sales GROUP BY made ORDER BY made DESC",),
    ("SELECT price * qty, price + 1, price / 2, -price, round(price, 1), price || 'x' FROM sales ORDER BY price",),
    ("SELECT s.id, o.id FROM sales s JOIN other o ON s.made = o.made AND s.token = o.token AND s.price = o.p",),
    ("SELECT s.id FROM sales s JOIN other o ON s.price = o.n WHERE s.made IN (SELECT made FROM sales)",),
    ("SELECT id FROM sales WHERE token LIKE 'A0%' OR day LIKE '2023-%' ORDER BY mood, code, id",),
    ("SELECT date(made), strftime('%Y', day), length(token), upper(mood), at || '!' FROM sales ORDER BY id",),
    ("SELECT seen + 1, typeof(seen), typeof(made), typeof(price), rate + 1, rate > 0 FROM sales ORDER BY at, id",),
    ("SELECT coalesce(token, 'none'), CASE WHEN price > 5 THEN price ELSE 0 END FROM sales ORDER BY id",),
    ("SELECT made FROM sales UNION SELECT made FROM other ORDER BY 1",),
    ("SELECT id FROM sales WHERE day = date(made) AND made < datetime('now') AND at > '1'",),
)


async def test_native_types_in_expressions(postgres_url: str) -> None:
    async with world(postgres_url, NATIVE_SCHEMA, target=NATIVE_TARGET, store=True) as both:
        for row in ROWS:
            await both.same(f"INSERT INTO sales VALUES ({', '.join('?' * len(row))}, NULL)", *row)
        await both.same("INSERT INTO other VALUES (1, '2024-02-29 10:00:00', ?, 7, 10.5)", TOKEN)
        for sql, *given in READS:
            await both.same(str(sql), *given)
        for sql in (
            "UPDATE sales SET price = price * 2, utc = made WHERE id = 1",
            "UPDATE sales SET made = datetime(made, '+1 day'), day = date(day, '+1 month') WHERE id <> 2",
            "INSERT INTO sales (made, price) SELECT made, p FROM other",
            "UPDATE sales SET price = price + qty RETURNING id, price",
            "DELETE FROM sales WHERE made > '2024-03-01' AND price > 20",
            "SELECT * FROM sales ORDER BY id",
        ):
            await both.same(sql)
        await both.on_postgres("UPDATE sales SET made = CURRENT_TIMESTAMP, utc = datetime('now')")
        for sql in (
            "UPDATE sales SET price = price / 7.1",
            "UPDATE sales SET day = made",
            "UPDATE sales SET utc = 'n' || id",
        ):
            with pytest.raises(StatementError) as refused:
                await both.on_postgres(sql)
            assert refused.value.code == "SQLITE_MISMATCH", sql


async def test_comparisons_with_native_types_use_their_indexes(postgres_url: str) -> None:
    async with world(postgres_url, NATIVE_SCHEMA, target=NATIVE_TARGET, store=True) as both:
        fill = (
            "INSERT INTO sales (id, price, made) SELECT n, n / 100.0, '2000-01-01'::timestamptz + n * interval '1 hour'"
        )
        await both.pool.execute(f"{fill} FROM generate_series(1, 5000) AS numbers(n)")
        await both.pool.execute("ANALYZE sales")
        for condition in ("made > ? AND made <= ?", "made BETWEEN ? AND ?", "price = ?", "price IN (?, ?)"):
            lines = await both.executor.plan(f"SELECT id FROM sales WHERE {condition}")
            assert any("using sales_" in line for line in lines), (condition, lines)
        await both.pool.execute("UPDATE sales SET token = lpad(to_hex(id), 32, '0')::uuid")
        await both.pool.execute("CREATE INDEX ON sales (token); ANALYZE sales")
        for sql, *given in (
            ("SELECT id FROM sales WHERE made > ? ORDER BY made LIMIT 5", "2000-02-01 00:00:00"),
            ("SELECT id FROM sales WHERE made BETWEEN ? AND 'x' ORDER BY made DESC LIMIT 5", "2000-02-01 00:00:00"),
            (
                "SELECT id FROM sales WHERE price < ? OR (price = ?1 AND id < 9) ORDER BY price DESC, id DESC LIMIT 5",
                30.5,
            ),
            ("SELECT id FROM sales WHERE price IS NOT NULL ORDER BY price LIMIT 5",),
            ("SELECT max(made), min(price) || '' FROM sales",),
            ("SELECT min(made) FROM sales WHERE made > ?", "2000-02-01"),
            ("SELECT id FROM sales WHERE price = ?", "5.50"),
            ("SELECT id FROM sales WHERE price > ? AND price <= ?", "49.90", "x"),
            ("SELECT id FROM sales WHERE price IS ?", 5.5),
            ("SELECT id FROM sales WHERE ? IS token", TOKEN.replace("-", "")),
            ("SELECT id FROM sales WHERE token IN (SELECT token FROM sales WHERE id = ?)", 7),
            ("UPDATE sales SET qty = 1 WHERE token = ?", TOKEN),
            ("DELETE FROM sales WHERE made < ?", "2000-01-01 02:00:00"),
        ):
            command = both.executor.dialect.translate(sql, given).command
            arguments = command.arguments(given, lambda _: 0)
            plan = [row[0] for row in await both.pool.fetch(f"EXPLAIN {command.sql}", *arguments)]
            assert not any("Seq Scan" in line for line in plan), (sql, plan)
            assert "LIMIT" not in sql or not any("Sort  " in line and "Incr" not in line for line in plan), (sql, plan)


async def test_where_tells_which_columns_have_no_null(postgres_url: str) -> None:
    async with world(postgres_url, NATIVE_SCHEMA, target=NATIVE_TARGET, store=True) as both:
        insert = "INSERT INTO sales (id, price, made) VALUES (?, ?, ?)"
        for row in ((1, None, None), (2, 5, "2024-01-01 00:00:00"), (3, None, "2023-01-01 00:00:00"), (4, 7, None)):
            await both.same(insert, *row)
        for test in (
            *(
                "price > 1",
                "NOT price > 9",
                "price IS NOT NULL",
                "price IS NOT 7",
                "price IN (5, 7)",
                "price NOT IN (7)",
            ),
            *("price NOT IN (SELECT price FROM sales WHERE id = 9)", "price > 1 OR made > '2'", "price LIKE '%'"),
            *("price NOT LIKE '6'", "(price, id) > (1, 1)", "(id, price) > (1, 1)", "(price, id) <> (5, 2)"),
            *("price BETWEEN 1 AND 9", "price > 1 OR (price = 5 AND id > 1)", "coalesce(price, 1) = 1", "price"),
        ):
            for order in (
                "price, id",
                "price DESC, id",
                "made, id",
                "price DESC NULLS FIRST, id",
                "price NULLS LAST, id",
            ):
                await both.same(f"SELECT id, price, price IS NULL FROM sales WHERE {test} ORDER BY {order} LIMIT 3")
        await both.same(
            "SELECT a.id, b.price FROM sales a LEFT JOIN sales b ON b.id = a.id + 1 WHERE b.price > 1 ORDER BY b.price"
        )


async def test_extremes_and_members_of_native_types(postgres_url: str) -> None:
    async with world(postgres_url, NATIVE_SCHEMA, target=NATIVE_TARGET, store=True) as both:
        for row in ROWS:
            await both.same(f"INSERT INTO sales VALUES ({', '.join('?' * len(row))}, NULL)", *row)
        for column in ("made", "day", "price", "seen", "rate", "at", "token"):
            for sql in (
                "SELECT min({0}), max({0}), typeof(max({0})), max({0}) FILTER (WHERE id > 1) || '' FROM sales",
                "SELECT mood, max({0}) FROM sales GROUP BY mood HAVING max({0}) > '1' OR max({0}) = '7' ORDER BY 1",
                "SELECT id, max({0}) FROM sales",
                "SELECT id, min({0}) OVER (ORDER BY id ROWS 1 PRECEDING) FROM sales ORDER BY id",
                "SELECT id FROM sales WHERE {0} IN (SELECT {0} FROM sales WHERE id <> 2) ORDER BY id",
                "SELECT id, {0} NOT IN (SELECT max({0}) FROM sales GROUP BY mood) FROM sales ORDER BY id",
                "SELECT id FROM sales WHERE {0} = (SELECT max({0}) FROM sales)",
            ):
                await both.same(sql.format(column))
        for given in ("10.50", " 7 ", "abc", "", "1e1", "99999999999999999999", "inf"):
            for op in ("=", "<>", "<", ">=", "IS"):
                await both.same(f"SELECT id, price {op} ?, ?1 {op} price FROM sales ORDER BY id", given)
                await both.same(f"SELECT id FROM sales WHERE NOT price {op} ? ORDER BY id", given)


async def test_an_integer_that_no_real_is_does_not_become_one(postgres_url: str) -> None:
    target = "CREATE TABLE prices (id bigint PRIMARY KEY, price double precision)"
    async with world(
        postgres_url, "CREATE TABLE prices (id INTEGER PRIMARY KEY, price NUMERIC)", target=target
    ) as made:
        insert = "INSERT INTO prices VALUES (?, ?)"
        for key, price in enumerate((1 << 53, -(1 << 53), (1 << 53) + 2, 7, 0.5, None)):
            await made.on_postgres(insert, key, price)
        for price in ((1 << 53) + 1, -(1 << 53) - 1, (1 << 63) - 1):
            with pytest.raises(StatementError) as refused:
                await made.on_postgres(insert, 9, price)
            assert refused.value.code == "SQLITE_MISMATCH"
        with pytest.raises(StatementError):
            await made.on_postgres("UPDATE prices SET price = id + 9007199254740993")
        rows = (await made.on_postgres("SELECT price FROM prices ORDER BY id")).rows
        assert [row[0] for row in rows] == [float(1 << 53), -float(1 << 53), float((1 << 53) + 2), 7.0, 0.5, None]


DOUBLES = "CREATE TABLE {}(id {} PRIMARY KEY, price {}, n {}, r double precision)"


async def test_doubles_for_columns_that_hold_integers_too(postgres_url: str) -> None:
    schema = f"{DOUBLES.format('p', 'INTEGER', 'NUMERIC', 'INTEGER')};"
    target = f"{DOUBLES.format('p', 'bigint', 'double precision', 'double precision')};"
    async with world(postgres_url, schema, target=target, store=True) as doubles:
        for sql in (
            "INSERT INTO p VALUES (1, 7, 7, 7), (2, 2.5, 3, 2.5), (3, NULL, NULL, NULL), (4, 9.0, -0.0, 9)",
            "SELECT *, price / 2, n / 2, r / 2, typeof(price), price || '' FROM p ORDER BY id",
            "SELECT id FROM p WHERE price >= 2.5 AND n IN (3, 7.0) ORDER BY price DESC",
            "SELECT price, count(*), sum(n), max(r) FROM p GROUP BY price",
            "SELECT x FROM (SELECT price AS x FROM p UNION SELECT r FROM p) ORDER BY x",
            "UPDATE p SET price = price + 1, n = n * 2 WHERE price IS NOT NULL RETURNING *",
        ):
            await doubles.same(sql)
