"""ORM-like statements over tables that cutover creates: Postgres answers as SQLite does."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

import pytest

from cutover.errors import StatementError
from cutover.settings import Settings
from tests.flow.dialect_world import World, world

SCHEMA = """
CREATE TABLE authors (
  id INTEGER PRIMARY KEY, name TEXT NOT NULL, email TEXT COLLATE NOCASE UNIQUE, age INTEGER, rating REAL,
  active BOOLEAN NOT NULL DEFAULT 1, joined DATETIME DEFAULT '2024-01-01 00:00:00', picture BLOB);
CREATE TABLE books (
  id INTEGER PRIMARY KEY AUTOINCREMENT, author_id INTEGER REFERENCES authors (id) ON DELETE CASCADE,
  title VARCHAR(100) NOT NULL, pages INTEGER CHECK (pages > 0), price REAL, tags TEXT);
CREATE TABLE ratings (book_id INTEGER NOT NULL, reader TEXT NOT NULL, stars INTEGER, PRIMARY KEY (book_id, reader));
CREATE INDEX books_by_author ON books (author_id);
CREATE VIEW long_books AS SELECT id, title, pages FROM books WHERE pages > 200;
"""

DATA = (
    "INSERT INTO authors (id, name, email, age, rating, active, picture) VALUES "
    "(1, 'Ada', 'ada@x.org', 36, 4.5, 1, x'00ff'), (2, 'bob', 'Bob@x.org', NULL, 3.0, 0, NULL), "
    "(3, 'Émile', NULL, 61, NULL, 1, x''), (4, 'ada', 'a2@x.org', 36, 1e20, 1, NULL)",
    "INSERT INTO books (author_id, title, pages, price, tags) VALUES "
    "(1, 'Notes', 90, 9.99, '[\"math\", \"old\"]'), (1, 'More Notes', 300, 12.0, '{\"a\": {\"b\": [1, 2.5, null]}}'), "
    "(2, '100% Wool', 210, NULL, NULL), (3, 'La_Bête', 450, 20.5, '[]'), (NULL, 'zero', 1, 0.0, '\"x\"')",
    "INSERT INTO ratings VALUES (1, 'x', 5), (1, 'y', 3), (2, 'x', NULL), (3, 'z', 1)",
)


@pytest.fixture
async def both(postgres_url: str) -> AsyncIterator[World]:
    async with world(postgres_url, SCHEMA, data=DATA) as made:
        yield made


READS = [
    "SELECT * FROM authors ORDER BY id",
    "SELECT name, age FROM authors ORDER BY age, name DESC",
    "SELECT group_concat(DISTINCT reader), group_concat(DISTINCT stars) FROM ratings",
    "SELECT id, lag(id, -1) OVER w, lead(id, 1) OVER w FROM authors WINDOW w AS (ORDER BY id)",
    "SELECT max(DISTINCT age), min(DISTINCT name), - max(DISTINCT + - 27), sum(DISTINCT age) FROM authors",
    'PRAGMA main.table_xinfo("authors")',
    "PRAGMA case_sensitive_like",
    'PRAGMA temp.table_info("authors")',
    "SELECT name FROM authors ORDER BY age DESC, id LIMIT 2",
    "SELECT name FROM authors ORDER BY name COLLATE NOCASE, id",
    "SELECT name AS n FROM authors ORDER BY n",
    "SELECT name, age FROM authors LIMIT 2",
    "SELECT id FROM authors ORDER BY id LIMIT -1 OFFSET 1",
    "SELECT id FROM authors ORDER BY id LIMIT 1, 2",
    "SELECT id FROM authors WHERE name LIKE 'A%'",
    "SELECT id FROM authors WHERE name NOT LIKE '%A%'",
    "SELECT title FROM books WHERE title LIKE '100\\% %' ESCAPE '\\'",
    "SELECT title FROM books WHERE title LIKE '%_B%'",
    "SELECT id FROM authors WHERE name GLOB '[A-Z]*'",
    "SELECT id FROM authors WHERE email = 'BOB@X.ORG'",
    "SELECT id FROM authors WHERE email IN ('BOB@X.ORG', 'nobody')",
    "SELECT id FROM authors WHERE active",
    "SELECT id FROM authors WHERE NOT active",
    "SELECT id FROM authors WHERE active = 1 AND age > '40'",
    "SELECT id FROM authors WHERE name = 10",
    "SELECT id FROM authors WHERE age = '36'",
    "SELECT id FROM authors WHERE age < 'abc'",
    "SELECT id FROM authors WHERE age = 36.0",
    "SELECT id FROM authors WHERE age IS NULL OR rating IS NULL",
    "SELECT id FROM authors WHERE age IS NOT 36",
    "SELECT id FROM authors WHERE age BETWEEN 30 AND 40 OR age NOT BETWEEN 0 AND 60",
    "SELECT id FROM authors WHERE id IN (1, 3, NULL)",
    "SELECT id FROM authors WHERE id NOT IN (1, 3)",
    "SELECT id FROM authors WHERE id IN (SELECT author_id FROM books WHERE pages > 100)",
    "SELECT id FROM authors WHERE id NOT IN (SELECT author_id FROM books WHERE author_id IS NOT NULL)",
    "SELECT id FROM authors a WHERE EXISTS (SELECT 1 FROM books b WHERE b.author_id = a.id AND b.pages > 200)",
    "SELECT id FROM authors WHERE joined >= '2024-01-01' AND joined < '2025'",
    "SELECT (SELECT count(*) FROM books b WHERE b.author_id = a.id) AS n, a.id FROM authors a ORDER BY n DESC, a.id",
    "SELECT a.name, b.title FROM authors a JOIN books b ON b.author_id = a.id ORDER BY b.id",
    "SELECT a.name, b.title FROM authors a LEFT JOIN books b ON b.author_id = a.id ORDER BY b.id, a.id",
    "SELECT a.name, b.title FROM authors a, books b WHERE b.author_id = a.id ORDER BY a.id, b.id",
    "SELECT * FROM books INNER JOIN ratings ON ratings.book_id = books.id ORDER BY books.id, reader",
    "SELECT b.*, r.stars FROM books b JOIN ratings r ON r.book_id = b.id ORDER BY 1, r.reader",
    "SELECT x.id, y.id FROM authors x JOIN authors y USING (age) ORDER BY x.id, y.id",
    "SELECT count(*), count(age), sum(age), avg(age), min(age), max(rating), total(age) FROM authors",
    "SELECT sum(rating), sum(price) FROM authors, books WHERE authors.id = books.author_id",
    "SELECT sum(age) FROM authors WHERE id > 100",
    "SELECT author_id, count(*) AS n, sum(pages) FROM books GROUP BY author_id HAVING n >= 1 ORDER BY author_id",
    "SELECT a.*, count(b.id) AS n FROM authors a LEFT JOIN books b ON b.author_id = a.id GROUP BY a.id ORDER BY a.id",
    "SELECT title, max(pages) FROM books",
    "SELECT author_id, title, min(pages) FROM books WHERE author_id IS NOT NULL GROUP BY author_id ORDER BY 1",
    "SELECT age, count(*) FROM authors GROUP BY 1 ORDER BY 2 DESC, 1",
    "SELECT count(DISTINCT age), count(DISTINCT name) FROM authors",
    "SELECT count(*) FILTER (WHERE active) FROM authors",
    "SELECT name, max(age) FILTER (WHERE age < 80) FROM authors",
    "SELECT group_concat(stars), group_concat(stars, '-') FROM (SELECT stars FROM ratings ORDER BY reader, book_id)",
    "SELECT DISTINCT age FROM authors ORDER BY age",
    "SELECT DISTINCT a.age, a.active FROM authors a ORDER BY a.age DESC, a.active",
    "SELECT name FROM authors UNION SELECT title FROM books ORDER BY 1 LIMIT 4",
    "SELECT id, 'a' AS kind FROM authors UNION ALL SELECT id, 'b' FROM books ORDER BY kind, id",
    "SELECT id FROM authors EXCEPT SELECT author_id FROM books",
    "SELECT id FROM authors INTERSECT SELECT author_id FROM books",
    "WITH old AS (SELECT * FROM authors WHERE age > 40) SELECT name, age + 1 FROM old",
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5) SELECT i FROM n ORDER BY i DESC",
    "SELECT name FROM (SELECT name, age FROM authors WHERE age IS NOT NULL) AS s WHERE s.age < 50 ORDER BY name",
    "SELECT title FROM long_books ORDER BY pages",
    "SELECT 7 / 2, 7.0 / 2, 7 % 3, -7 / 2, 1 / 0, 5 % 0, 2147483647 + 1, 1 << 40, ~5, 6 & 3, 6 | 1",
    "SELECT 1 = 1, 1 = 2, 1 = '1', 'a' < 'b', NULL = 1, NULL IS NULL, 1 IS NOT NULL, (1 > 0) + (2 > 1)",
    "SELECT 'a' || 1, 'b' || 1.5, 'c' || NULL, name || ':' || age FROM authors ORDER BY id",
    "SELECT upper(name), lower(name), length(name), substr(name, 2), substr(name, -2, 1), trim('  x ') FROM authors",
    "SELECT substr('abcdef', 0, 3), substr('abcdef', -3, 2), substr('abcdef', 3, -2), substr('abc', 10)",
    "SELECT coalesce(age, -1), ifnull(rating, 0), nullif(age, 36), iif(active, 'y', 'n') FROM authors ORDER BY id",
    "SELECT abs(-5), abs(-2.5), round(2.5), round(-2.567, 2), round(3), max(1, 2.5), min(3, 2), max(1, NULL)",
    "SELECT 9223372036854775807 + 1, -9223372036854775808 - 2, 9223372036854775807 * 2, -9223372036854775808 / -1",
    "SELECT 'abc' LIKE ('a%'), 'abc' NOT LIKE ('a%'), like('a%', 'abc'), NOT like('b', 'b'), 'x' GLOB ('x')",
    "SELECT abs(x), abs((SELECT -7)) FROM (SELECT nullif(-5, 3) AS x)",
    "SELECT replace('banana', 'an', 'AN'), instr('hello', 'll'), hex(x'0aff'), hex('ab'), typeof(1), typeof(1.0)",
    "SELECT typeof(name), typeof(age), typeof(rating), typeof(picture), typeof(active) FROM authors ORDER BY id",
    "SELECT CASE WHEN age > 40 THEN 'old' WHEN age IS NULL THEN NULL ELSE 'young' END FROM authors ORDER BY id",
    "SELECT CASE age WHEN 36 THEN 1 ELSE 2.5 END FROM authors ORDER BY id",
    "SELECT CAST('12abc' AS INTEGER), CAST(2.7 AS INTEGER), CAST(5 AS TEXT), CAST('3.5' AS REAL), CAST(7 AS REAL)",
    "SELECT picture, x'cafe', length(picture) FROM authors ORDER BY id",
    "SELECT date('2024-01-31', '+1 month'), datetime('2024-02-29 13:45', '-1 day'), strftime('%Y/%m', '2024-05-06')",
    "SELECT date(joined), time(joined), strftime('%s', joined), julianday('2024-01-01') FROM authors ORDER BY id",
    "SELECT json_extract(tags, '$[0]'), json_extract(tags, '$.a.b[1]'), tags ->> '$.a' FROM books ORDER BY id",
    "SELECT tags ->> '$.a.b[0]', tags -> '$.a' FROM books ORDER BY id",
    "SELECT row_number() OVER (ORDER BY pages), sum(pages) OVER (PARTITION BY author_id), id FROM books ORDER BY id",
    "SELECT id, lag(pages) OVER (ORDER BY id), rank() OVER w FROM books WINDOW w AS (ORDER BY author_id) ORDER BY id",
    'SELECT "name", `age`, [rating] FROM "authors" ORDER BY "id"',
    "SELECT rowid, _rowid_ FROM authors ORDER BY rowid",
    "SELECT main.authors.name FROM main.authors ORDER BY 1",
    "SELECT 1 AS a, 'x' AS \"B b\", NULL",
    "SELECT count(*), name || '!' FROM authors WHERE id = 1",
    "SELECT a.id FROM authors a WHERE (a.age, a.active) = (36, 1) ORDER BY a.id",
    "VALUES (1, 'a'), (2, NULL)",
    "SELECT stars FROM ratings ORDER BY stars DESC NULLS LAST, reader, book_id",
    "SELECT NULL OR 1, NULL AND 0, NOT NULL, 2 AND 3, 0 OR 0",
    "SELECT 'abc' IS 'abc', age IS NULL, active IS TRUE, NOT active FROM authors ORDER BY id",
    "SELECT 0.1 + 0.2, 1e3, 5 * 1.5, 10 - 2.5, -3.0, 9007199254740993, 0x1F",
    "SELECT max(name), min(title) FROM authors, books",
    "SELECT id FROM books WHERE price * 2 > pages / 10 ORDER BY id",
    "SELECT id FROM books INDEXED BY books_by_author WHERE author_id = 1 ORDER BY id",
]


async def test_reads(both: World) -> None:
    await both.all_same(READS)


WRITES: list[tuple[str, tuple[object, ...]]] = [
    ("INSERT INTO authors (name, email, age) VALUES (?, ?, ?)", ("Zoe", "z@x.org", 20)),
    ("INSERT INTO authors VALUES (?, ?, ?, ?, ?, ?, ?, ?)", (None, "Nul", None, None, None, 1, "2020-05-05", b"\x00")),
    ("INSERT INTO authors (id, name) VALUES (?, ?)", (100, "Hundred")),
    ("INSERT INTO authors (name) VALUES (?), (?)", ("after", "hundred")),
    ("INSERT INTO authors (id, name) VALUES (NULL, 'x') RETURNING id, name, active", ()),
    ("INSERT INTO authors (name, age, rating) VALUES (?, ?, ?)", ("kinds", "41", 3)),
    ("INSERT INTO authors (name, rating) VALUES (?, ?)", (12, "2.5")),
    ("INSERT INTO books (title, pages) SELECT name || ' story', id FROM authors WHERE age = ?", (36,)),
    (
        "INSERT INTO ratings VALUES (?, ?, ?) ON CONFLICT (book_id, reader) DO UPDATE SET stars = excluded.stars",
        (1, "x", 1),
    ),
    ("INSERT INTO ratings VALUES (?, ?, ?) ON CONFLICT DO NOTHING", (1, "x", 4)),
    (
        "INSERT INTO ratings VALUES (1, 'y', 2) ON CONFLICT (book_id, reader) DO UPDATE SET stars = stars + 9",
        (),
    ),
    (
        "INSERT INTO authors (name, email) VALUES ('dup', 'ADA@X.ORG') ON CONFLICT (email) DO UPDATE SET name = 'seen'",
        (),
    ),
    ("INSERT OR IGNORE INTO authors (name, email) VALUES ('dup', 'ada@x.org')", ()),
    ("INSERT OR IGNORE INTO authors (name) VALUES (?)", (None,)),
    ("INSERT OR REPLACE INTO ratings VALUES (?, ?, ?)", (1, "x", 2)),
    ("REPLACE INTO ratings (book_id, reader) VALUES (1, 'y')", ()),
    ("REPLACE INTO authors (id, name, email) VALUES (4, 'four', 'A2@x.org')", ()),
    ("UPDATE authors SET age = age + 1, name = upper(name) WHERE age IS NOT NULL", ()),
    ("UPDATE authors SET rating = ?, picture = ? WHERE id = ?", (None, b"abc", 1)),
    ("UPDATE authors SET rating = ? WHERE id = ?", (7, 2)),
    ("UPDATE authors SET active = NOT active WHERE id < 3 RETURNING id, active", ()),
    ("UPDATE books SET price = (SELECT avg(price) FROM books WHERE price IS NOT NULL) WHERE price IS NULL", ()),
    ("UPDATE books SET title = a.name FROM authors a WHERE a.id = books.author_id AND a.id = 1", ()),
    ("UPDATE books SET pages = 1, pages = 2 WHERE id = 1", ()),
    ("UPDATE authors SET name = 'none' WHERE id = 12345", ()),
    ("DELETE FROM ratings WHERE stars IS NULL RETURNING *", ()),
    ("DELETE FROM ratings WHERE book_id IN (SELECT id FROM books WHERE pages > ?)", (100,)),
    ("DELETE FROM authors WHERE id = ?", (3,)),
    ("INSERT INTO authors DEFAULT VALUES", ()),
    ("WITH n(x) AS (VALUES (7), (8)) INSERT INTO ratings SELECT x, 'cte', x FROM n", ()),
    ("DELETE FROM ratings", ()),
]


async def test_writes(both: World) -> None:
    failures = []
    for sql, args in WRITES:
        try:
            await both.same(sql, *args)  # type: ignore[arg-type]
        except StatementError as error:
            if "DEFAULT VALUES" not in sql:
                failures.append(f"{sql}\n    {error}")
        except AssertionError as error:
            failures.append(f"{sql}\n    {error}")
        for table in ("authors", "books", "ratings"):
            try:
                await both.same(f"SELECT * FROM {table} ORDER BY 1, 2")
            except AssertionError as error:
                failures.append(f"after {sql}\n    {error}")
                break
    assert not failures, "\n".join(failures[:6])


async def test_the_journal_is_that_of_the_file(both: World) -> None:
    for sql in ("PRAGMA journal_mode", "pragma main.journal_mode", "PRAGMA journal_mode = WAL"):
        answered = await both.on_postgres(sql)
        assert ([column.name for column in answered.columns], answered.rows) == (["journal_mode"], [("wal",)])
    for sql in ("SELECT * FROM pragma_journal_mode", "SELECT j.journal_mode FROM pragma_journal_mode() AS j"):
        assert (await both.on_postgres(sql)).rows == [("wal",)], sql


async def test_the_file_is_the_one_that_is_served(postgres_url: str, sqlite_path: str) -> None:
    settings = Settings(sqlite={"path": sqlite_path})
    rows = [(0, "main", os.path.realpath(sqlite_path)), (1, "temp", "")]
    async with world(postgres_url, "CREATE TABLE a (id INTEGER PRIMARY KEY)", settings=settings) as both:
        for sql in ("PRAGMA database_list", "SELECT * FROM pragma_database_list()"):
            assert (await both.on_postgres(sql)).rows == rows, sql
        asked = "SELECT d.file FROM pragma_database_list AS d WHERE d.name = 'main'"
        assert (await both.on_postgres(asked)).rows == [(rows[0][2],)]
        await both.refused("SELECT 1 WHERE 'x' IN pragma_journal_mode", "A PRAGMA as a function in such a place")


@pytest.mark.parametrize("name", ["page_count", "freelist_count", "data_version", "schema_version", "page_size"])
async def test_what_tells_of_the_file_itself_is_refused(both: World, name: str) -> None:
    for sql in (f"PRAGMA {name}", f"SELECT * FROM pragma_{name}()", f"SELECT {name} * 2 FROM pragma_{name}"):
        await both.refused(sql, f"PRAGMA {name}, which tells of SQLite's file,")


@pytest.mark.parametrize("name", ["foreign_keys", "defer_foreign_keys"])
async def test_functions_of_what_a_stream_has_set_are_refused(both: World, name: str) -> None:
    """The copy of the schema, which answers for others, has nothing of it."""
    await both.refused(f"SELECT {name} FROM pragma_{name}", f"The function pragma_{name}, unlike the PRAGMA,")


async def test_what_is_so_in_any_case_may_be_set(both: World) -> None:
    for sql in (
        "PRAGMA legacy_alter_table = OFF",
        "PRAGMA main.read_uncommitted = 0",
        "PRAGMA read_uncommitted = 1",
        "PRAGMA read_uncommitted(0)",
        "BEGIN",
        "PRAGMA read_uncommitted(no)",
    ):
        await both.same(sql)
    await both.same("ROLLBACK")


_NAME = "a_name_such_as_mappers_make_it_of_each_relation_on_the_way_to_the_column_"
LONG = [
    f"SELECT x.{_NAME}2, x.{_NAME}1 FROM (SELECT 1 AS {_NAME}1, 2 AS {_NAME}2) AS x",
    f"SELECT {_NAME}1.column1, {_NAME}2.column1 FROM (VALUES (1), (2)) AS {_NAME}1, (VALUES (3)) AS {_NAME}2",
    f"WITH {_NAME}1 AS (SELECT 1 AS é), {_NAME}2(é{_NAME}) AS (SELECT 2) SELECT * FROM {_NAME}1, {_NAME}2",
    f"WITH RECURSIVE {_NAME}1(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM {_NAME}1 WHERE n < 3) SELECT n FROM {_NAME}1",
    f"SELECT column1 AS {_NAME}1, count(*) AS {_NAME}2 FROM (VALUES (1), (2)) GROUP BY {_NAME}1 ORDER BY {_NAME}1 DESC",
    f"SELECT column1 AS {_NAME}1 FROM (VALUES (1), (2)) UNION SELECT 3 AS {_NAME}2 ORDER BY {_NAME}2 DESC",
    f"SELECT sum(column1) OVER {_NAME}1, count(*) OVER {_NAME}2 FROM (VALUES (1), (2)) "
    f"WINDOW {_NAME}1 AS (ORDER BY column1), {_NAME}2 AS ()",
]


async def test_names_that_are_longer_than_postgres_keeps(both: World) -> None:
    await both.all_same(LONG, ordered=True)
