"""Errors are SQLite's: codes and texts that applications match on."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from cutover.errors import StatementError
from cutover.model.statement import Statement
from cutover.schema.sqltext import split
from tests.flow.dialect_world import World, world
from tests.flow.test_dialect_statements import DATA, SCHEMA


@pytest.fixture
async def both(postgres_url: str) -> AsyncIterator[World]:
    async with world(postgres_url, SCHEMA, data=DATA) as made:
        yield made


@pytest.mark.parametrize(
    ("sql", "args"),
    [
        ("INSERT INTO authors (id, name) VALUES (1, 'again')", ()),
        ("INSERT INTO authors (name, email) VALUES ('x', ?)", ("ADA@X.org",)),
        ("INSERT INTO ratings VALUES (1, 'x', 1)", ()),
        ("INSERT INTO authors (name) VALUES (NULL)", ()),
        ("UPDATE authors SET name = ? WHERE id = 1", (None,)),
        ("INSERT INTO authors (id, name) VALUES ('x', 'y')", ()),
        ("INSERT OR IGNORE INTO authors (id, name) VALUES (1.5, 'y')", ()),
        ("INSERT INTO authors (id, name) SELECT x'41', 'y'", ()),
        ("INSERT INTO authors (id, name) VALUES (?, 'y')", ("1e20",)),
        ("UPDATE authors SET id = 'x' WHERE id = 1", ()),
        ("UPDATE authors SET id = NULL", ()),
        ("UPDATE OR IGNORE authors SET id = ?", (None,)),
        ("INSERT INTO books (title, author_id) VALUES ('x', 77)", ()),
        ("SELECT * FROM nowhere", ()),
        ("SELECT name FROM authors LIMIT 'x'", ()),
        ("SELECT name FROM authors LIMIT ?", (float("inf"),)),
        ("SELECT name FROM authors LIMIT ?", (-(2.0**63),)),
        ("SELECT name FROM authors LIMIT 1 OFFSET ?", (1e300,)),
        ("SELECT name FROM authors LIMIT ?", ("1e300",)),
        ("SELECT nothing FROM authors", ()),
        ("SELEC 1", ()),
        ("SELECT no_function(1)", ()),
        ("INSERT INTO ratings VALUES (1, 2)", ()),
        ("SELECT ?", ()),
        ("SELECT nothing, ? FROM authors", ()),
        ("INSERT INTO authors (nothing) VALUES (?)", ()),
        ("ALTER TABLE authors ADD CONSTRAINT a_1 CHECK (?? > 0)", ()),
        ("CREATE TABLE authors (a DEFAULT (?))", ()),
        ("", ()),
        ("SELECT 1; SELECT 2", ()),
        ("COMMIT", ()),
        ("ROLLBACK", ()),
        ("RELEASE no_such_name", ()),
        ("ATTACH 'x' AS y", ()),
        ("REINDEX no_such_name", ()),
        ("ANALYZE no_such_name", ()),
        ("SELECT json_extract('{', '$')", ()),
        ("SELECT json_object('a', 1, 'b')", ()),
        ("SELECT json_object(id, name) FROM authors", ()),
        ("SELECT json_set('{}', '$.a')", ()),
        ("SELECT like('a', name, 'bc') FROM authors", ()),
        ("SELECT name LIKE ? FROM authors", ("é" * 25_001,)),
        ("SELECT name GLOB replace(hex(zeroblob(30000)), '00', 'aa') FROM authors", ()),
        (f"SELECT count(*) FROM authors WHERE name LIKE '{'a' * 50_001}'", ()),
    ],
)
async def test_the_same_error(both: World, sql: str, args: tuple[str | float | None, ...]) -> None:
    await both.same_error(sql, *args)


async def test_a_check_is_called_as_sqlite_calls_it(postgres_url: str) -> None:
    schema = """
    CREATE TABLE t (a INTEGER CHECK ("a" >= 0), b INTEGER CHECK ( `b"x` > 0 AND b > 0), c INTEGER CHECK (c > 0),
                    d TEXT CHECK ('it''s' < d), e INTEGER CONSTRAINT named CHECK ("e" > 0), f INTEGER CHECK (("f") > 0),
                    [b"x] INTEGER, CHECK ([a] < 100));
    """
    async with world(postgres_url, schema) as made:
        for column, value in (("a", -1), ("b", 0), ("c", 0), ("d", "a"), ("e", 0), ("f", 0), ("a", 100)):
            await made.same_error(f"INSERT INTO t ({column}) VALUES (?)", value)


async def test_of_two_unique_constraints_the_same_is_named(postgres_url: str) -> None:
    schema = "CREATE TABLE t (id INTEGER PRIMARY KEY, a INTEGER UNIQUE, b INTEGER UNIQUE, c INTEGER, UNIQUE (a, c));"
    async with world(postgres_url, schema, data=["INSERT INTO t VALUES (1, 1, 1, 1), (2, 2, 2, 2)"]) as made:
        for row in ("1, 1, 1, 1", "3, 1, 2, 1", "3, 1, 2, 3", "3, 3, 2, 3", "3, 1, 3, 2"):
            await made.same_error(f"INSERT INTO t VALUES ({row})")


@pytest.mark.parametrize(
    ("sql", "args", "code"),
    [
        ("INSERT INTO authors (name, age) VALUES ('x', ?)", ("not a number",), "SQLITE_MISMATCH"),
        ("INSERT INTO authors (name, age) VALUES ('x', ?)", (1.5,), "SQLITE_MISMATCH"),
        ("INSERT INTO authors (name) VALUES (?)", ("nul\x00",), "SQLITE_MISMATCH"),
        ("INSERT INTO authors (name, age) VALUES ('x', x'00')", (), "SQL_NOT_TRANSLATABLE"),
        ("UPDATE authors SET age = count(*) FROM books", (), "SQL_NOT_TRANSLATABLE"),
        ("UPDATE authors SET age = row_number() OVER () FROM books", (), "SQL_NOT_TRANSLATABLE"),
    ],
)
async def test_what_postgres_cannot_do_is_refused_clearly(
    both: World, sql: str, args: tuple[str | float, ...], code: str
) -> None:
    with pytest.raises(StatementError) as refused:
        await both.on_postgres(sql, *args)
    assert refused.value.code == code
    assert "not a number" not in refused.value.message
    assert await both.on_postgres("SELECT count(*) FROM authors WHERE name = 'x'")


async def test_questions_about_the_schema_are_answered_from_the_copy(both: World) -> None:
    await both.same("PRAGMA table_info(authors)")
    await both.same("PRAGMA foreign_key_list('books')")
    await both.same("SELECT name, type FROM sqlite_master WHERE type = ? ORDER BY name", "table")
    await both.same("SELECT name FROM pragma_table_info('books')")
    result = await both.on_postgres("CREATE TABLE IF NOT EXISTS authors (id)")
    assert result.affected == 0
    await both.on_postgres("CREATE INDEX IF NOT EXISTS books_by_author ON books (author_id)")
    await both.on_postgres("PRAGMA foreign_keys = ON")


async def test_questions_of_the_schema_and_of_data_at_once(both: World) -> None:
    for sql in (
        "SELECT p.name, a.id FROM pragma_table_info('books') AS p, authors a WHERE p.cid < a.id ORDER BY 2, p.cid",
        "SELECT (SELECT count(*) FROM pragma_index_list('books')), id FROM authors ORDER BY id",
        "SELECT sqlite_master.name, (SELECT count(*) FROM books) FROM main.sqlite_master WHERE type = 'view'",
        "SELECT m.name, b.title FROM sqlite_schema m LEFT JOIN books b ON b.title = m.name ORDER BY 1",
        "SELECT id FROM books WHERE EXISTS (SELECT 1 FROM sqlite_master WHERE name = 'none') OR id = 1",
        "SELECT count(*) FROM authors, pragma_table_info('none')",
        "SELECT \"notnull\", dflt_value, id FROM pragma_table_info('authors') JOIN authors ON id = cid ORDER BY id",
        "SELECT sqlite_master.name, id FROM sqlite_master, authors -- " + "a long text " * 60,
    ):
        await both.same(sql)
    for sql in (  # in SQLite's order, which reads the table first
        "SELECT p.name, a.id FROM pragma_table_info('books') AS p, authors AS a",
        "SELECT p.name, a.id FROM authors AS a, pragma_table_info('books') p LIMIT 4",
        "SELECT a.id, p.name FROM authors AS a JOIN pragma_table_info('books') p ON p.cid < a.id",
        "SELECT group_concat(p.name || a.id) FROM authors AS a, pragma_table_info('books') p",
        "SELECT group_concat(p.name || a.id) FROM authors AS a, pragma_table_info('books') p -- " + "a long text " * 60,
        "SELECT a.id, p.name FROM authors AS a LEFT JOIN pragma_table_info('books') p ON p.cid = a.id",
        "SELECT m.name, a.id FROM sqlite_master AS m, authors AS a LIMIT 2",
    ):
        await both.same(sql, ordered=True)
    await both.refused(
        "SELECT p.name, id FROM sqlite_master m, pragma_table_info(m.name) p, books",
        "of the schema and of data at once",
    )


async def test_describe(both: World) -> None:
    found = await both.session.describe("SELECT name AS n, age + 1 FROM authors WHERE id = :id AND age > ?")
    assert [column.name for column in found.columns] == ["n", "age + 1"]
    assert found.params == (":id", None)
    assert found.is_readonly
    written = await both.session.describe("INSERT INTO authors (name) VALUES (?) RETURNING id AS key, name")
    assert [column.name for column in written.columns] == ["key", "name"]
    assert not written.is_readonly
    with pytest.raises(StatementError, match="no such column"):
        await both.session.describe("SELECT missing FROM authors")


async def test_statement_timeout_leaves_the_session_usable(both: World) -> None:
    await both.session.sequence("BEGIN")
    await both.on_postgres("INSERT INTO authors (name) VALUES ('kept')")
    transaction = both.session._holding.transaction
    assert transaction is not None
    await transaction.connection.execute("SET LOCAL statement_timeout = '50ms'")
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    with pytest.raises(StatementError) as stopped:
        await both.on_postgres(endless)
    assert stopped.value.code == "SQLITE_INTERRUPT"
    await transaction.connection.execute("SET LOCAL statement_timeout = 0")  # the commit may take what it takes
    await both.session.sequence("COMMIT")
    assert (await both.on_postgres("SELECT count(*) FROM authors WHERE name = 'kept'")).rows == [(1,)]


async def test_a_value_that_no_row_is_given_is_no_error(both: World) -> None:
    for value in ("many", 1.5, "12.5"):
        for where in ("id = 77", "name = ?2 AND age > 5", "age IN (SELECT 5 WHERE 0)"):
            more = ("nobody",) if "?2" in where else ()
            assert (await both.same(f"UPDATE authors SET age = ?1 WHERE {where}", value, *more)).affected == 0
    with pytest.raises(StatementError, match="a text in a column of integers"):
        await both.on_postgres("UPDATE authors SET age = ? WHERE id = 1", "many")
    await both.same("UPDATE authors SET id = ? WHERE id = 77", "x")


async def test_the_column_is_named_that_cannot_hold_a_value(postgres_url: str) -> None:
    schema = """
        CREATE TABLE t (id INTEGER PRIMARY KEY, i INTEGER, r REAL, n DECIMAL(10, 2), b BOOLEAN, u INTEGER UNIQUE);
        CREATE TABLE s (x TEXT, y REAL)"""
    integers, reals, numbers = (f"in a column of {kind} cannot" for kind in ("integers", "reals", "numbers"))
    async with world(postgres_url, schema, data=["INSERT INTO t VALUES (1, 1, 1.5, 2, 1, 1)"]) as both:
        await both.same("INSERT INTO s VALUES ('word', 1.5)")
        for sql, told in (
            ("INSERT INTO t (i) VALUES (1.5)", f"column i: a real {integers}"),
            ("INSERT INTO t (u, i) SELECT 7, x FROM s", f"column i: a text {integers}"),
            ("INSERT INTO t (r, n) SELECT x, 1 FROM s", f"column r: a text {reals}"),
            ("INSERT INTO t (n) SELECT x FROM s", f"column n: a text {numbers}"),
            ("INSERT INTO t (b) SELECT x FROM s", f"column b: a text {integers}"),
            ("INSERT INTO t (i, u) SELECT y, y FROM s", f"column i or u: a real {integers}"),
            ("INSERT INTO t (i) SELECT x FROM s UNION ALL SELECT 5", f"column i: a text {integers}"),
            ("UPDATE t SET i = r, u = 5", f"column i: a real {integers}"),
            ("UPDATE t SET r = i || 'x'", f"column r: a text {reals}"),
            ("UPDATE t SET i = (SELECT x FROM s)", f"column i: a text {integers}"),
            (
                "INSERT INTO t (u, i) VALUES (1, 3) ON CONFLICT (u) DO UPDATE SET i = t.r",
                f"column i: a real {integers}",
            ),
        ):
            for around in ((), ("BEGIN", "ROLLBACK")):
                if around:
                    await both.same(around[0])
                with pytest.raises(StatementError, match=told) as found:
                    await both.on_postgres(sql)
                assert found.value.code == "SQLITE_MISMATCH"
                if around:
                    await both.same(around[1])
        with pytest.raises(StatementError, match="column n: text in a column of type numeric"):
            await both.on_postgres("UPDATE t SET n = ?", "word")


async def test_the_unique_key_that_sqlite_looks_at_first_is_named(postgres_url: str) -> None:
    schema = """
    CREATE TABLE k (a INTEGER PRIMARY KEY, b INT UNIQUE, c INT UNIQUE, d TEXT NOT NULL, e INT CHECK (e > 0));
    CREATE TABLE l (a TEXT NOT NULL PRIMARY KEY, b TEXT UNIQUE COLLATE NOCASE, c INT, UNIQUE (c, b));
    CREATE TABLE m (a INT PRIMARY KEY, b TEXT UNIQUE, c UNIQUE) WITHOUT ROWID;
    """
    async with world(postgres_url, "", store=True) as both:
        for sql in split(schema):
            await both.same(sql)
        for sql in ("INSERT INTO k VALUES (1, 1, 1, 'x', 1)", "INSERT INTO l VALUES ('a', 'b', 1)"):
            await both.same(sql)
        await both.on_postgres("INSERT INTO m VALUES (1, 'b', 1)")
        both.on_sqlite("INSERT INTO m VALUES (1, 'b', 1)")
        rows = (
            "(2, 1, 1, 'x', 1)",
            "(1, 1, 1, 'x', 1)",
            "(1, 1, 1, NULL, 0)",
            "(1, 1, 1, 'x', 0)",
            "(2, 2, 1, 'x', 1)",
        )
        for begin in (
            "",
            "CREATE UNIQUE INDEX kd ON k (d)",
            "CREATE UNIQUE INDEX ke ON k (lower(d)) WHERE b > 0",
            "BEGIN",
        ):
            await both.on_postgres(begin or "SELECT 1")
            both.on_sqlite(begin or "SELECT 1")
            for row in rows:
                await both.same_error(f"INSERT INTO k VALUES {row}")
            await both.same_error("INSERT INTO k (b, c, d) VALUES (?, ?, 'x') RETURNING a", 1, 1)
        await both.same("COMMIT")
        for row in ("('a', 'b', 1)", "('x', 'B', 1)", "('x', 'b', 2)"):
            await both.same_error(f"INSERT INTO l VALUES {row}")
        for row in ("(1, 'b', 1)", "(2, 'b', 1.0)", "(1, 'b', 2)"):
            await both.same_error(f"INSERT INTO m VALUES {row}")


async def test_a_strict_table_tells_what_it_does_not_take(postgres_url: str) -> None:
    schema = "CREATE TABLE s (id INTEGER PRIMARY KEY, i INTEGER, n INT, r REAL, t TEXT, b BLOB) STRICT"
    data = ("INSERT INTO s (i, n, r, t, b) VALUES ('5', 2.0, '2.5', 7, x'41'), (' 1e2 ', 1, 3, 0.5, NULL)",)
    values = ("1.5", "'x'", "x'41'", "'1.5'", "3", "'12'", "''", "NULL", "2.0", "9e99")
    async with world(postgres_url, schema, data=data) as made:
        for column in "inrtb":
            for value in values:
                sql = f"INSERT INTO s ({column}) VALUES ({value})"
                try:
                    await made.same(sql)
                except StatementError:
                    await made.same_error(sql)
                    await made.same_error(f"UPDATE OR IGNORE s SET {column} = {value}")
                    await made.same(f"UPDATE s SET {column} = {value} WHERE id < 0")
            for bound in (1.5, "x", b"A", "12", 3, None):
                sql = f"UPDATE s SET {column} = ? WHERE id = 1"
                try:
                    await made.same(sql, bound)
                except StatementError:
                    await made.same_error(sql, bound)
            await made.same("SELECT * FROM s ORDER BY id")
        await made.same_error("INSERT INTO s (i) SELECT t || 'x' FROM s")


async def test_the_unique_key_is_named_to_one_who_wants_no_rows(postgres_url: str) -> None:
    async with world(postgres_url, "CREATE TABLE t (a UNIQUE)", data=("INSERT INTO t VALUES (1)",)) as made:
        for begun in (False, True):
            if begun:
                await made.same("BEGIN")
            with pytest.raises(StatementError, match=r"^UNIQUE constraint failed: t\.a$"):
                await made.session.execute(Statement("INSERT INTO t VALUES (1)", want_rows=False))
        await made.same("ROLLBACK")


async def test_a_foreign_key_to_one_column_twice_is_told_with_the_first_row(postgres_url: str) -> None:
    async with world(postgres_url, "CREATE TABLE u (id INTEGER PRIMARY KEY, a INTEGER, UNIQUE (a, id))") as made:
        await made.same("CREATE TABLE x (a INTEGER, b INTEGER, FOREIGN KEY (a, b) REFERENCES u (id, id))")
        for sql in ("INSERT INTO x VALUES (1, 1)", "INSERT INTO x VALUES (NULL, NULL)", "DELETE FROM u"):
            await made.same_error(sql)
        await made.same("PRAGMA foreign_key_list(x)")


async def test_the_number_of_a_row_is_an_integer(postgres_url: str) -> None:
    """SQLite asks that before any constraint, and no conflict clause passes over it; of no row nothing is asked."""
    schema = """
    CREATE TABLE strict (id INTEGER NOT NULL PRIMARY KEY, n INTEGER);
    CREATE TABLE named (name TEXT PRIMARY KEY, n INTEGER NOT NULL);
    """
    async with world(
        postgres_url, schema, data=("INSERT INTO strict VALUES (1, 2)", "INSERT INTO named VALUES ('a', 1)")
    ) as both:
        for table, key in (("strict", "id"), ("named", "name")):
            await both.same(f"UPDATE {table} SET rowid = NULL WHERE n > 9 RETURNING rowid")
            for word in ("", "OR IGNORE", "OR FAIL"):
                await both.same_error(f"UPDATE {word} {table} SET rowid = NULL")
                await both.same_error(f"UPDATE {word} {table} SET rowid = ?", None)
                await both.same_error(f"UPDATE {word} {table} SET rowid = CASE n WHEN 9 THEN 7 END")
            upsert = (
                f"INSERT INTO {table} SELECT {key}, n FROM {table} WHERE true ON CONFLICT ({key}) DO UPDATE SET rowid"
            )
            await both.same_error(f"{upsert} = NULL")
            await both.same_error(f"{upsert} = nullif(n, n)")
        await both.same("UPDATE OR IGNORE named SET n = NULL")


@pytest.mark.parametrize("begun", ["SELECT 1 +", "SELECT (1", "SELECT * FROM", "INSERT INTO t VALUES (", "DELETE FROM"])
async def test_a_semicolon_that_comes_too_early(both: World, begun: str) -> None:
    for sql in (begun, f"{begun};", f"{begun} ; -- so;", f"{begun} -- not;", f" ; {begun} ;;"):
        await both.same_error(sql)
