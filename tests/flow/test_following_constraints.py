"""What SQLite demands of rows that Postgres has no words for: it is demanded there, too, or its writes are refused."""

from __future__ import annotations

import asyncpg
import pytest

from cutover.dialect.catalog import Catalog
from cutover.dialect.translator import Translator
from cutover.dialect.typed import Refused
from cutover.schema.postgres_schema import PostgresSchema
from cutover.serve import carrying
from cutover.serve.following import Follower
from tests.flow.following_world import followed
from tests.support.postgres import native, run
from tests.support.sqlite_world import make

CHECKED = """CREATE TABLE {}(id INTEGER PRIMARY KEY, j TEXT CHECK (json_valid(j) OR j IS NULL),
    d TEXT CHECK (date(d) IS d), n INT NOT NULL DEFAULT 1 CHECK (n & 1 = 1), CHECK (length(d) < n + 20))"""


async def translator(follower: Follower) -> Translator:
    return Translator(Catalog.of((await follower.follow("sqlite")).tables))


def refused(one: Translator, match: str, *statements: str) -> None:
    for sql in statements:
        with pytest.raises(Refused, match=match):
            one.translate(sql, ())


async def test_checks_that_call_functions_of_sqlites_stand_on_postgres(sqlite_path: str, postgres_url: str) -> None:
    """Of tables that cutover makes, at once and later, also where somebody dropped them."""
    async with followed(sqlite_path, postgres_url, CHECKED.format("t"), copied=True) as (follower, _):
        make(sqlite_path, CHECKED.format("later"), "ALTER TABLE t ADD COLUMN k TEXT CHECK (json_type(k) = 'array')")
        await run(postgres_url, "ALTER TABLE t DROP CONSTRAINT t_j_check")
        await follower.follow("sqlite")
        found = await follower.follow("sqlite")
        assert [(table.name, table.unkept) for table in found.tables] == [("later", ()), ("t", ())]
        assert not found.done
        assert {table.name: len(table.checks) for table in found.target.tables} == {"t": 5, "later": 4}
        async with native(postgres_url) as connection:
            for table in ("t", "later"):
                await connection.execute(f"INSERT INTO {table}(id, j, d) VALUES (1, '[1]', '2024-01-02')")
                for wrong in ("j = '[1'", "d = '2024-1-2'", "n = 2", "n = -11"):
                    with pytest.raises(asyncpg.CheckViolationError):
                        await connection.execute(f"UPDATE {table} SET {wrong}")


async def test_columns_that_are_called_as_words_of_postgres(sqlite_path: str, postgres_url: str) -> None:
    schema = """
    CREATE TABLE t (
      id INTEGER PRIMARY KEY, c INTEGER CHECK (c IS NOT 4), text TEXT, lower TEXT, q TEXT,
      d TEXT COLLATE NOCASE CHECK (d <> 'q'))"""
    async with followed(sqlite_path, postgres_url, schema, copied=True) as (follower, _):
        found = await follower.follow("sqlite")
        assert [(table.name, table.unkept) for table in found.tables] == [("t", ())]


async def test_writes_that_a_constraint_is_about_which_an_adopted_table_lacks(
    sqlite_path: str, postgres_url: str
) -> None:
    await run(
        postgres_url,
        "CREATE TABLE t(id bigint PRIMARY KEY, j text, d text, n bigint NOT NULL DEFAULT 1 CHECK (n % 2 = 1))",
        "CREATE TABLE u(id bigint PRIMARY KEY, a text CHECK (a IS NOT NULL), b boolean, c varchar(9), n bigint)",
        "ALTER TABLE u ADD m smallint",
    )
    native_types = "CREATE TABLE u(id INTEGER PRIMARY KEY, a TEXT NOT NULL, b BOOLEAN CHECK (b IN (0, 1)), "
    native_types += "c TEXT CHECK (length(c) < 10), n INT NOT NULL, m INT CHECK (m >= 0))"
    async with followed(sqlite_path, postgres_url, CHECKED.format("t"), native_types, copied=True) as (follower, _):
        one = await translator(follower)
        refused(one, r"lacks CHECK \(json_valid", "INSERT INTO t(id) VALUES (1)", "UPDATE t SET J = NULL")
        refused(one, r"lacks CHECK \(date", "UPDATE t SET d = '2024-01-01'")
        refused(one, r"lacks CHECK \(length", "UPDATE t SET n = 3")
        refused(one, "lacks NOT NULL of n", "UPDATE u SET n = 3")
        refused(one, r"lacks CHECK \(m >= 0", "UPDATE u SET m = 3", "REPLACE INTO u VALUES (1, 'a', 1, 'c', 2, 3)")
        for sql in ("UPDATE t SET id = 3", "DELETE FROM t", "UPDATE u SET b = 1, a = 'x', c = 'y'"):
            one.translate(sql, ())
        await run(
            postgres_url,
            "ALTER TABLE u ALTER COLUMN n SET NOT NULL, ADD CHECK (0 <= m)",
            "ALTER TABLE t ADD CHECK (j ~ '^[[{]'), ADD CHECK (d ~ '^....-..-..$'), ADD CHECK (length(d) < n + 20)",
        )
        one = await translator(follower)
        for sql in ("INSERT INTO t(id) VALUES (1)", "UPDATE t SET j = NULL", "UPDATE u SET n = 3, m = 3"):
            one.translate(sql, ())


async def test_checks_of_storage_classes_are_kept_by_types(sqlite_path: str, postgres_url: str) -> None:
    await run(postgres_url, "CREATE TABLE t(id bigint PRIMARY KEY, n bigint, s text NOT NULL, r text, x bigint)")
    table = "CREATE TABLE t(id INTEGER PRIMARY KEY, n INT CHECK (n IS NULL OR typeof(n) = 'integer'), "
    table += "s TEXT NOT NULL CHECK (TYPEOF(\"s\") = 'text'), r TEXT CHECK (typeof(r) = 'text'), "
    table += "x INT CHECK (typeof(x) <> 'text' AND x <> 999))"
    async with followed(sqlite_path, postgres_url, table, copied=True) as (follower, _):
        one = await translator(follower)
        refused(one, r"lacks CHECK \(typeof\(r", "UPDATE t SET r = 'x'")
        refused(one, r"lacks CHECK \(typeof\(x", "UPDATE t SET x = 999")
        one.translate("UPDATE t SET n = 3, s = 'x'", ())


async def test_writes_that_a_foreign_key_is_about_which_postgres_cannot_have(
    sqlite_path: str, postgres_url: str
) -> None:
    """It tells texts apart that SQLite takes for the same."""
    tables = (
        "CREATE TABLE parents(id INTEGER PRIMARY KEY, name TEXT COLLATE NOCASE UNIQUE, n INT)",
        "CREATE TABLE children(id INTEGER PRIMARY KEY, name TEXT REFERENCES parents(name) ON DELETE CASCADE, n INT)",
    )
    async with followed(sqlite_path, postgres_url, *tables, copied=True) as (follower, _):
        one = await translator(follower)
        told = r"lacks FOREIGN KEY \(name\) REFERENCES parents"
        refused(one, told, "INSERT INTO children(n) VALUES (1)", "UPDATE children SET name = 'x'")
        refused(
            one, told, "DELETE FROM parents", "UPDATE parents SET name = 'x'", "REPLACE INTO parents(id) VALUES (1)"
        )
        for sql in ("INSERT INTO parents(name) VALUES ('x')", "UPDATE parents SET n = 1", "UPDATE children SET n = 1"):
            one.translate(sql, ())
        one.translate("DELETE FROM children", ())


async def test_checks_that_a_migration_leaves_out_go_though_postgres_has_other_words_for_them(
    sqlite_path: str, postgres_url: str
) -> None:
    """Of several about one column those that stay are there afterwards; what somebody else added is left alone."""
    gone = ("date(d) IS d", "n & 1 = 1", "json_valid(j)", "max(n, 3) > 2", "n > 1e3", "j COLLATE NOCASE <> 'x'")
    columns = "id INTEGER PRIMARY KEY, j TEXT, d TEXT, n INT"
    tables = [f"CREATE TABLE t{at}({columns}, CHECK ({check}))" for at, check in enumerate(gone)]
    tables.append(f"CREATE TABLE several({columns}, CHECK (n & 1 = 1), CHECK (n & 4 = 4), CHECK (n < 100))")
    tables.append(f"CREATE TABLE theirs({columns}, CHECK (n & 1 = 1))")
    async with followed(sqlite_path, postgres_url, *tables, copied=True) as (follower, _):
        await run(postgres_url, "ALTER TABLE theirs ADD CHECK (n > 0)")
        names = [f"t{at}" for at in range(len(gone))]
        for name, rest in [*((name, "") for name in names), ("several", ", CHECK (n & 4 = 4)"), ("theirs", "")]:
            moved = f"ALTER TABLE new RENAME TO {name}"
            make(sqlite_path, f"CREATE TABLE new({columns}{rest})", f"DROP TABLE {name}", moved)
        await follower.follow("sqlite")
        found = await follower.follow("sqlite")
        assert {table.name: len(table.checks) for table in found.target.tables if table.checks} == {
            "several": 1,
            "theirs": 2,
        }
        async with native(postgres_url) as connection:
            await connection.execute("INSERT INTO several(id, n) VALUES (1, 108)")
            with pytest.raises(asyncpg.CheckViolationError):
                await connection.execute("INSERT INTO several(id, n) VALUES (2, 3)")


async def test_a_foreign_key_that_gets_other_actions_stays(sqlite_path: str, postgres_url: str) -> None:
    child = "CREATE TABLE {}(id INTEGER PRIMARY KEY, p INT REFERENCES parents{}, q INT REFERENCES parents)"
    parents = "CREATE TABLE parents(id INTEGER PRIMARY KEY)"
    async with followed(sqlite_path, postgres_url, parents, child.format("c", ""), copied=True) as (follower, _):
        for actions in (" ON DELETE CASCADE", " ON DELETE SET NULL ON UPDATE CASCADE", ""):
            make(sqlite_path, child.format("new", actions), "DROP TABLE c", "ALTER TABLE new RENAME TO c")
            found = (await follower.follow("sqlite")).target.table("c")
            assert found is not None
            told = {key.columns: key.definition.partition("parents(id)")[2] for key in found.foreign_keys}
            assert set(told) == {("p",), ("q",)}
            assert set(told["p",].removesuffix(" DEFERRABLE").split(" ON ")) == set(actions.split(" ON "))


_NUMBERED = (
    "CREATE TABLE groups(number INTEGER PRIMARY KEY, name TEXT)",
    "CREATE TABLE students(id INTEGER PRIMARY KEY, name TEXT, g INTEGER REFERENCES groups)",
)
_NAMED = (
    "CREATE TABLE groups(number TEXT PRIMARY KEY NOT NULL, name TEXT)",
    "CREATE TABLE students(id INT PRIMARY KEY NOT NULL, name TEXT, g TEXT REFERENCES groups)",
)
_OTHER_PARENTS = {
    "its type": (_NUMBERED, _NAMED[0], "CREATE TABLE students(id INTEGER PRIMARY KEY, g TEXT REFERENCES groups)"),
    "its type, back": (_NAMED, _NUMBERED[0], _NAMED[1].replace("g TEXT", "g INTEGER")),
    "another column": (
        _NUMBERED,
        "CREATE TABLE groups(number INTEGER UNIQUE, code TEXT PRIMARY KEY NOT NULL)",
        "CREATE TABLE students(id INTEGER PRIMARY KEY, name TEXT, g INTEGER REFERENCES groups(number))",
    ),
    "two columns": (
        _NUMBERED,
        "CREATE TABLE groups(number INT NOT NULL, name TEXT NOT NULL, PRIMARY KEY (number, name))",
        "CREATE TABLE students(id INTEGER PRIMARY KEY, g INT, n TEXT, FOREIGN KEY (g, n) REFERENCES groups)",
    ),
    "the other way round": (
        _NUMBERED,
        "CREATE TABLE groups(code TEXT PRIMARY KEY NOT NULL, head TEXT REFERENCES students)",
        "CREATE TABLE students(name TEXT PRIMARY KEY NOT NULL)",
    ),
    "automatic": (_NAMED, *(text.replace("id INT ", "id INTEGER ") for text in _NAMED)),
    "not automatic": (_NUMBERED, *(text.replace("id INTEGER PRIMARY KEY", "id INT PRIMARY KEY") for text in _NUMBERED)),
}
"""Tables, and those that take their place: the key of which others have a foreign key to is another one."""


@pytest.mark.parametrize("change", _OTHER_PARENTS)
async def test_a_key_that_others_refer_to_becomes_another(
    sqlite_path: str, postgres_url: str, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a kill comes behind each step: Postgres has the very tables that it would have from the beginning."""
    before, *after = _OTHER_PARENTS[change]
    async with followed(sqlite_path, postgres_url, *before, copied=True) as (follower, _):
        make(sqlite_path, "DROP TABLE students", "DROP TABLE groups", *after)
        for _ in range(9):
            steps = 0
            with monkeypatch.context() as patched:
                patched.setattr(carrying, "crash_point", cut_off)
                try:
                    found = await follower.follow("sqlite")
                except CutOffError:
                    steps += 1
            if not steps:
                break
        assert not found.stopped
        assert not found.findings
    twin = await shape_from_the_beginning(sqlite_path + ".twin", postgres_url, *after)
    assert shape(found.target) == twin


class CutOffError(Exception):
    """A kill."""


def cut_off(_: str) -> None:
    raise CutOffError


async def shape_from_the_beginning(path: str, url: str, *statements: str) -> object:
    """Of tables that Postgres never had others for."""
    await run(url, "DROP TABLE groups, students", "DROP SCHEMA cutover CASCADE")
    async with followed(path, url, *statements, copied=True) as (follower, _):
        return shape((await follower.follow("sqlite")).target)


def shape(schema: PostgresSchema) -> object:
    return {
        table.name: (
            {(column.name, column.type, column.identity) for column in table.columns},
            sorted(key.definition for key in table.foreign_keys),
            sorted(index.columns for index in table.indexes),
        )
        for table in schema.tables
    }


async def test_a_generated_column_that_must_have_a_value_and_is_not_on_postgres(
    sqlite_path: str, postgres_url: str
) -> None:
    """It is read as its expression, and nobody there would see to NOT NULL."""
    carried = "CREATE TABLE c(id INTEGER PRIMARY KEY, a TEXT, b TEXT NOT NULL AS (a || 'x') STORED)"
    left_out = "CREATE TABLE g(id INTEGER PRIMARY KEY, a INT, k INT, b AS (a + 1) NOT NULL CHECK (b < 10))"
    insert = "INSERT INTO g(a) VALUES (NULL)"
    async with followed(sqlite_path, postgres_url, carried, left_out, copied=True) as (follower, _):
        one = await translator(follower)
        refused(one, "lacks NOT NULL of b", insert, "INSERT OR IGNORE INTO g(a) VALUES (1)", "UPDATE g SET a = 1")
        one.translate("UPDATE g SET k = 1", ())
        one.translate("INSERT INTO c(a) VALUES (NULL)", ())
        await run(postgres_url, "ALTER TABLE g ADD CHECK (a + 1 IS NOT NULL)")
        (await translator(follower)).translate(insert, ())


async def test_what_a_dropped_table_leaves_on_postgres_is_not_taken_by_one_that_looks_like_it(
    sqlite_path: str, postgres_url: str
) -> None:
    made = "CREATE TABLE {0}(code TEXT PRIMARY KEY, cents INTEGER)"
    async with followed(sqlite_path, postgres_url, made.format("invoices"), copied=True) as (follower, _):
        await run(postgres_url, "INSERT INTO invoices VALUES ('a', 1)")
        make(sqlite_path, "DROP TABLE invoices")
        await follower.follow("sqlite")
        make(sqlite_path, made.format("coupons"))
        await follower.follow("sqlite")
        async with native(postgres_url) as postgres:
            assert await postgres.fetchval("SELECT count(*) FROM invoices") == 1
            assert await postgres.fetchval("SELECT count(*) FROM coupons") == 0
        make(sqlite_path, "ALTER TABLE coupons RENAME TO vouchers")
        await follower.follow("sqlite")
        async with native(postgres_url) as postgres:
            assert await postgres.fetchval("SELECT to_regclass('coupons') IS NULL")
            assert await postgres.fetchval("SELECT count(*) FROM vouchers") == 0
