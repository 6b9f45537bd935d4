"""What becomes of unique indexes when SQLite's schema changes: Postgres has each that SQLite has, and no other."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from cutover.dialect.catalog import Catalog
from cutover.dialect.translator import Translator
from cutover.dialect.typed import Refused
from cutover.serve.followed import Followed
from cutover.serve.following import Follower
from tests.flow.following_world import followed
from tests.support.postgres import native, run
from tests.support.sqlite_world import make


class Case(NamedTuple):
    """A table `t` (its name is another one in each case) that is made, mapped, changed, and mapped again."""

    before: str
    change: str
    unique: tuple[str, ...]
    """What Postgres then is to have beside the key, as it prints it."""


TABLE = "CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT, n INT)"
REBUILT = "ALTER TABLE new_t RENAME TO t"

CASES = {
    "renamed column": Case(
        f"{TABLE}; CREATE UNIQUE INDEX t_i ON t(a)", "ALTER TABLE t RENAME COLUMN a TO b", ("(b NULLS FIRST)",)
    ),
    "renamed column in an expression": Case(
        f"{TABLE}; CREATE UNIQUE INDEX t_i ON t(lower(a)) WHERE a IS NOT NULL",
        "ALTER TABLE t RENAME COLUMN a TO b",
        ('(lower((b COLLATE "C")) NULLS FIRST) WHERE (NOT (b IS NULL))',),
    ),
    "renamed index": Case(
        f"{TABLE}; CREATE UNIQUE INDEX t_i ON t(a)",
        "DROP INDEX t_i; CREATE UNIQUE INDEX t_j ON t(a)",
        ("(a NULLS FIRST)",),
    ),
    "one of two alike goes": Case(
        f"{TABLE}; CREATE UNIQUE INDEX t_i ON t(a); CREATE UNIQUE INDEX t_j ON t(a)",
        "DROP INDEX t_i",
        ("(a NULLS FIRST)",),
    ),
    "beside a constraint that says the same": Case(
        "CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT UNIQUE, n INT)",
        "CREATE UNIQUE INDEX t_i ON t(a)",
        ("(a NULLS FIRST)", "(a NULLS FIRST)"),
    ),
    "another one of that name": Case(
        f"{TABLE}; CREATE UNIQUE INDEX t_i ON t(a)",
        "DROP INDEX t_i; CREATE UNIQUE INDEX t_i ON t(n)",
        ("(n NULLS FIRST)",),
    ),
    "no longer unique": Case(
        f"{TABLE}; CREATE UNIQUE INDEX t_i ON t(a)", "DROP INDEX t_i; CREATE INDEX t_i ON t(a)", ()
    ),
    "constraint gone with a rename": Case(
        "CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT UNIQUE, n INT)",
        f"CREATE TABLE new_t(id INTEGER PRIMARY KEY, a TEXT, n INT); DROP TABLE t; {REBUILT};"
        "ALTER TABLE t RENAME TO t_later",
        (),
    ),
    "constraint without case gone": Case(
        "CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT COLLATE NOCASE UNIQUE, n INT)",
        f"CREATE TABLE new_t(id INTEGER PRIMARY KEY, a TEXT COLLATE NOCASE, n INT); DROP TABLE t; {REBUILT}",
        (),
    ),
    "constraint becomes an index": Case(
        "CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT UNIQUE, n INT)",
        f"{TABLE.replace(' t(', ' new_t(')}; DROP TABLE t; {REBUILT}; CREATE UNIQUE INDEX t_i ON t(a)",
        ("(a NULLS FIRST)",),
    ),
    "over whole numbers as texts": Case(
        TABLE,
        "CREATE UNIQUE INDEX t_i ON t(lower(n)) WHERE n > 0",
        ('(lower(((n)::text COLLATE "C")) NULLS FIRST) WHERE (n > 0)',),
    ),
}


def named(text: str, number: int) -> list[str]:
    """The statements, of a table of its own."""
    words = {" t(": f" t{number}(", " t ": f" t{number} ", " t;": f" t{number};"}
    for word, own in words.items():
        text = f"{text};".replace(word, own).removesuffix(";")
    text = text.removesuffix(" t") + (f" t{number}" if text.endswith(" t") else "")
    for name in ("t_i", "t_j", "t_later", "new_t"):
        text = text.replace(name, f"{name}{number}")
    return [each.strip() for each in text.split(";")]


async def whole(follower: Follower) -> Followed:
    while (found := await follower.follow("sqlite")).unfinished:
        pass
    return found


async def unique(url: str) -> dict[str, list[str]]:
    """Of each table what is unique but its key, as Postgres prints it."""
    async with native(url) as connection:
        rows = await connection.fetch(
            "SELECT relname, array_remove(array_agg(CASE WHEN indisunique AND NOT indisprimary"
            " THEN split_part(pg_get_indexdef(indexrelid), 'USING btree ', 2) END), NULL)"
            " FROM pg_class c JOIN pg_index ON indrelid = c.oid"
            " WHERE relnamespace = 'public'::regnamespace GROUP BY 1"
        )
    return {name: sorted(found) for name, found in rows}


async def test_postgres_has_what_sqlite_has_whatever_changed(sqlite_path: str, postgres_url: str) -> None:
    before = [each for number, case in enumerate(CASES.values()) for each in named(case.before, number)]
    async with followed(sqlite_path, postgres_url, *before, copied=True) as (follower, _):
        make(sqlite_path, *(each for n, case in enumerate(CASES.values()) for each in named(case.change, n)))
        await whole(follower)
        found = await unique(postgres_url)
        names = [f"t_later{n}" if "t_later" in case.change else f"t{n}" for n, case in enumerate(CASES.values())]
        assert {case: found.get(name) for case, name in zip(CASES, names, strict=True)} == {
            case: list(each.unique) for case, each in CASES.items()
        }


async def test_indexes_with_names_longer_than_postgres_keeps_them_are_made_once(
    sqlite_path: str, postgres_url: str
) -> None:
    long = "n" * 70
    changes = (
        (f"CREATE UNIQUE INDEX {long}_i ON t(n)", f"CREATE UNIQUE INDEX {long}_j ON t(n + 1)"),
        ("ALTER TABLE t RENAME COLUMN a TO b", f"CREATE UNIQUE INDEX {long}_k ON t(b)"),
        (f"DROP INDEX {long}_i", "ALTER TABLE t RENAME TO u"),
        ("CREATE INDEX plain ON u(n)",),
    )
    async with followed(sqlite_path, postgres_url, TABLE, copied=True) as (follower, _):
        for change in changes:
            make(sqlite_path, *change)
            await whole(follower)
        assert (await unique(postgres_url))["u"] == ["(((n + 1)) NULLS FIRST)", "(b NULLS FIRST)"]


async def test_what_a_table_is_created_without_is_said(sqlite_path: str, postgres_url: str) -> None:
    async with followed(sqlite_path, postgres_url, "CREATE TABLE lasting(id INTEGER PRIMARY KEY)", copied=True) as (
        follower,
        _,
    ):
        make(sqlite_path, TABLE, "CREATE UNIQUE INDEX odd ON t(printf(n, n))", "ALTER TABLE t RENAME TO u")
        said = [finding.message for finding in (await whole(follower)).findings.values()]
        assert [message for message in said if "odd" in message] != []


async def test_what_somebody_drops_on_postgres_comes_back(sqlite_path: str, postgres_url: str) -> None:
    """Nothing but the look at both schemas tells of it: SQLite's is as it was."""
    columns = "id INTEGER PRIMARY KEY, a TEXT UNIQUE CHECK (a <> 'x'), n INT NOT NULL DEFAULT 3 CHECK (n IN (1, 3))"
    statements = f"CREATE TABLE t({columns})", "CREATE UNIQUE INDEX t_i ON t(lower(a))"
    async with followed(sqlite_path, postgres_url, *statements, copied=True) as (follower, _):
        before = await unique(postgres_url)
        await run(
            postgres_url,
            "DROP INDEX t_a_key",
            "DROP INDEX t_i",
            "ALTER TABLE t ALTER COLUMN n DROP NOT NULL, DROP CONSTRAINT t_n_check",
        )
        found = await whole(follower)
        assert [index.name for table in found.tables for index in table.unique if index.lacks] == []
        assert await unique(postgres_url) == before
        there = found.target.tables[0]
        assert [column.not_null for column in there.columns] == [True, False, True]
        assert [check.definition for check in there.checks] == [
            "CHECK ((a <> 'x'::text))",
            "CHECK ((n = ANY (ARRAY[(1)::bigint, (3)::bigint])))",
        ]


async def test_a_check_that_allows_something_else_takes_the_place_of_the_one_before(
    sqlite_path: str, postgres_url: str
) -> None:
    """Also where Postgres prints it in words of its own."""
    made = "CREATE TABLE {}(id INTEGER PRIMARY KEY, a TEXT CHECK (a IN ({})), n INT CHECK (n BETWEEN {}))"
    async with followed(sqlite_path, postgres_url, made.format("t", "'a', 'b'", "-1 AND 9"), copied=True) as (
        follower,
        _,
    ):
        make(sqlite_path, made.format("u", "'A', 'b c'", "-2 AND 9"), "DROP TABLE t", "ALTER TABLE u RENAME TO t")
        found = await whole(follower)
        assert [check.definition for check in found.target.tables[0].checks] == [
            "CHECK ((a = ANY (ARRAY['A'::text, 'b c'::text])))",
            "CHECK (((n >= '-2'::integer) AND (n <= 9)))",
        ]


async def test_writes_that_a_unique_index_without_an_equal_is_about_are_refused(
    sqlite_path: str, postgres_url: str
) -> None:
    """They would succeed on Postgres, and nobody would be told. An equal made by hand has the name."""
    odd = "CREATE UNIQUE INDEX odd ON t(printf(n, n))"
    async with followed(sqlite_path, postgres_url, TABLE, odd, copied=True) as (follower, _):
        found = await whole(follower)
        assert "unique_index_lacking" in {finding.code for finding in found.mapping.findings}
        translator = Translator(Catalog.of(found.tables))
        for sql in ("INSERT INTO t(a) VALUES ('x')", "UPDATE t SET N = 1", "REPLACE INTO t VALUES (1, 'x', 2)"):
            with pytest.raises(Refused, match="lacks its unique index odd"):
                translator.translate(sql, ())
        for sql in ("UPDATE t SET a = 'y'", "DELETE FROM t", "SELECT * FROM t"):
            translator.translate(sql, ())
        await run(postgres_url, "CREATE UNIQUE INDEX odd ON t(to_hex(n))")
        Translator(Catalog.of((await whole(follower)).tables)).translate("UPDATE t SET n = 1", ())
