"""Mapping: names, types, keys, foreign keys, and what is refused with which advice."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from typing import Any

import pytest

from cutover.model.table import ForeignKey, Table
from cutover.schema.mapping import Mapping, map_tables
from cutover.schema.migrations import MIRRORED
from cutover.schema.postgres_schema import (
    PostgresColumn,
    PostgresForeignKey,
    PostgresIndex,
    PostgresSchema,
    PostgresTable,
)
from cutover.schema.sqlite_schema import SqliteSchema, read_sqlite_schema
from cutover.schema.types import Histogram
from cutover.settings import Settings


def source(script: str) -> SqliteSchema:
    connection = sqlite3.connect(":memory:")
    try:
        connection.executescript(script)
        return read_sqlite_schema(connection)
    finally:
        connection.close()


def settings(**tables: Any) -> Settings:
    return Settings.model_validate({"tables": tables})


def target(*tables: PostgresTable, exists: bool = True, others: tuple[str, ...] = ()) -> PostgresSchema:
    return PostgresSchema("public", exists, True, "UTF8", tables, others)


def table(name: str, columns: str, *indexes: PostgresIndex, keys: tuple[PostgresForeignKey, ...] = ()) -> PostgresTable:
    """Columns as "name type, name type!"; ! is NOT NULL. The first one is the primary key unless indexes are given."""
    made = []
    for text in columns.split(", "):
        column, _, kind = text.partition(" ")
        made.append(PostgresColumn(column, kind.rstrip("!"), kind.endswith("!")))
    key = PostgresIndex(f"{name}_pkey", (made[0].name,), unique=True, primary=True)
    return PostgresTable(name, "owner", tuple(made), indexes or (key,), keys)


def codes(mapping: Mapping, severity: str = "blocks") -> list[tuple[str, str, str]]:
    return [(f.table, f.column, f.code) for f in mapping.findings if f.severity == severity]


def one(mapping: Mapping) -> Table:
    (found,) = mapping.tables
    return found


# -- types of created tables ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("declared", "kind"),
    [
        ("INTEGER", "bigint"),
        ("tinyint", "bigint"),
        ("VARCHAR(40)", "text"),
        ("TEXT", "text"),
        ("FLOAT", "double precision"),
        ("BOOLEAN", "bigint"),
        ("DATETIME", "text"),
        ("TIMESTAMP WITH TIME ZONE", "text"),
        ("JSON", "text"),
        ("BLOB", "bytea"),
    ],
)
def test_declared_types_without_data(declared: str, kind: str) -> None:
    mapping = map_tables(source(f"CREATE TABLE t (id TEXT PRIMARY KEY, a {declared})"), None, Settings())
    assert not mapping.blocking
    assert one(mapping).columns[1].target_type == kind


@pytest.mark.parametrize("declared", ["DECIMAL(10,2)", "", "NUMERIC", "whatever"])
def test_a_type_that_says_nothing_is_decided_by_the_data_or_the_configuration(declared: str) -> None:
    schema = source(f"CREATE TABLE t (id TEXT PRIMARY KEY, a {declared})")
    assert codes(map_tables(schema, None, Settings())) == [("t", "a", "type_undecided")]
    assert map_tables(schema, None, Settings()).tables == ()
    for histogram, kind in (  # of whole reals SQLite makes integers, and two decimals are no integers
        (Histogram(null=3, integer=1), "numeric" if declared in ("DECIMAL(10,2)", "NUMERIC") else "bigint"),
        (Histogram(real=1), "numeric" if declared else "double precision"),
        (Histogram(text=1), "text"),
        (Histogram(blob=1), "bytea"),
    ):
        mapping = map_tables(schema, None, Settings(), {("t", "a"): histogram})
        assert one(mapping).columns[1].target_type == kind
    mixed = map_tables(schema, None, Settings(), {("t", "a"): Histogram(integer=1, text=2)})
    assert codes(mixed) == [("t", "a", "type_undecided")]
    assert "1 integer, 2 text" in mixed.blocking[0].message
    numbers = map_tables(schema, None, Settings(), {("t", "a"): Histogram(integer=1, real=2)})
    if declared:
        assert one(numbers).columns[1].target_type == "numeric"
    else:  # 1 and 1.0 would be two values
        assert codes(numbers) == [("t", "a", "type_undecided")]
    chosen = map_tables(schema, None, settings(t={"columns": {"a": {"type": "VARCHAR( 7 )"}}}))
    assert one(chosen).columns[1].target_type == "character varying(7)"


@pytest.mark.parametrize(
    ("made", "gone"),
    [
        (Histogram(integer=2), "bigint"),
        (Histogram(text=2), "text"),
        (Histogram(integer=1, real=1), "text"),
        (Histogram(null=2), "text"),
        (None, "text"),
    ],
)
def test_an_empty_column_of_times_is_taken_to_hold_what_its_like_in_the_table_hold(
    made: Histogram | None, gone: str
) -> None:
    schema = source("CREATE TABLE t (id INTEGER PRIMARY KEY, made datetime, gone DATETIME, born DATE, note JSON)")
    histograms = {("t", "gone"): Histogram(null=2)} | ({("t", "made"): made} if made else {})
    types = [column.target_type for column in one(map_tables(schema, None, Settings(), histograms)).columns]
    assert types[2:] == [gone, "text", "text"]
    own = {("t", "made"): Histogram(integer=2), ("t", "gone"): Histogram(text=1)}
    assert one(map_tables(schema, None, Settings(), own)).columns[2].target_type == "text"
    chosen = settings(t={"columns": {"gone": {"type": "timestamptz"}}})
    assert one(map_tables(schema, None, chosen, histograms)).columns[2].target_type == "timestamp with time zone"


@pytest.mark.parametrize("declared", ["decimal", "DECIMAL(10, 2)", "Numeric(5)", "NUMERIC"])
def test_an_empty_column_of_numbers_holds_nothing_up(declared: str) -> None:
    schema = source(f"CREATE TABLE t (id TEXT PRIMARY KEY, a {declared}, b {declared} UNIQUE)")
    mapping = map_tables(schema, None, Settings(), {("t", "a"): Histogram(null=2), ("t", "b"): Histogram(null=2)})
    assert codes(mapping) == [("t", "b", "type_undecided")]  # in keys numeric does not do
    schema = source(f"CREATE TABLE t (id TEXT PRIMARY KEY, a {declared}, b {declared} REFERENCES s (id))")
    held = {("t", "a"): Histogram(), ("t", "b"): Histogram(integer=3)}
    made = one(map_tables(schema, None, Settings(), held))
    assert [column.target_type for column in made.columns[1:] if not column.hidden] == ["numeric", "bigint"]


@pytest.mark.parametrize("key", ["a DECIMAL(10,2) PRIMARY KEY", "id INTEGER PRIMARY KEY, a DECIMAL(10,2) UNIQUE"])
def test_a_key_of_reals_alone_stays_one(key: str) -> None:
    mapping = map_tables(source(f"CREATE TABLE t ({key})"), None, Settings(), {("t", "a"): Histogram(real=1)})
    assert [column.target_type for column in one(mapping).columns if column.name == "a"] == ["double precision"]


@pytest.mark.parametrize("kind", ["money", "tsvector", "bit(3)", "xml", "oid", "geometry", "tsvector[]"])
def test_types_that_cannot_be_mirrored_are_refused(kind: str) -> None:
    schema = source("CREATE TABLE t (id TEXT PRIMARY KEY, a TEXT)")
    configured = map_tables(schema, None, settings(t={"columns": {"a": {"type": kind}}}))
    adopted = map_tables(schema, target(table("t", f"id text!, a {kind}")), Settings())
    assert codes(configured) == [("t", "a", "type_undecided")]
    assert codes(adopted) == [("t", "a", "type_unsupported")]
    assert kind in adopted.blocking[0].message
    assert adopted.tables == ()
    ignored = map_tables(
        schema, target(table("t", f"id text!, a {kind}")), settings(t={"columns": {"A": {"ignore": True}}})
    )
    assert [column.name for column in one(ignored).columns] == ["id"]


@pytest.mark.parametrize(
    ("declared", "kind"),
    [
        ("BOOLEAN", "boolean"), ("tinyint(1)", "boolean"), ("bool", "boolean"), ("DECIMAL", "numeric(10,2)"),
        ("decimal", "numeric(65,30)"), ("datetime", "timestamp with time zone"), ("INTEGER", "numeric(20,0)"),
        ("DATETIME", "timestamp(3) without time zone"), ("date", "date"), ("char(32)", "uuid"), ("BLOB", "uuid"),
        ("char(39)", "inet"), ("INTEGER", "timestamp with time zone"), ("INTEGER", "double precision"),
        ("REAL", "real"), ("REAL", "numeric(12,2)"), ("varchar(9)", "character(9)"), ("TEXT", "numeric(10,2)"),
    ],
)  # fmt: skip
def test_pairs_of_types_that_frameworks_make_fit(declared: str, kind: str) -> None:
    schema = source(f"CREATE TABLE t (id TEXT PRIMARY KEY, a {declared})")
    mapping = map_tables(schema, target(table("t", f"id text!, a {kind}")), Settings())
    assert not mapping.blocking
    assert one(mapping).columns[1].target_type == kind


@pytest.mark.parametrize(("declared", "kind"), [("TEXT", "bigint"), ("INTEGER", "text"), ("REAL", "uuid")])
def test_pairs_that_can_never_hold_a_value_block(declared: str, kind: str) -> None:
    schema = source(f"CREATE TABLE t (id TEXT PRIMARY KEY, a {declared})")
    mapping = map_tables(schema, target(table("t", f"id text!, a {kind}")), Settings())
    assert codes(mapping) == [("t", "a", "type_mismatch")]


@pytest.mark.parametrize(
    ("declared", "kind", "problem"),
    [
        ("TEXT", "uuid", ""), ("TEXT", "date", ""), ("TEXT", "timestamp(3) with time zone", ""),
        ("INTEGER", "numeric(18,0)", ""), ("TEXT", "character(8)", ""), ("TEXT", "numeric(9,2)", "key_type"),
        ("TEXT", "inet", "key_type"), ("REAL", "real", "key_type"), ("TEXT", "jsonb", "key_is_json"),
    ],
)  # fmt: skip
def test_a_key_takes_types_that_sort_alike(declared: str, kind: str, problem: str) -> None:
    schema = source(f"CREATE TABLE t (id {declared} PRIMARY KEY)")
    mapping = map_tables(schema, target(table("t", f"id {kind}!")), Settings())
    assert codes(mapping) == ([("t", "id", problem)] if problem else [])
    if not problem:
        assert one(mapping).columns[0].exact


def test_an_unknown_format_blocks_and_names_those_there_are() -> None:
    schema = source("CREATE TABLE t (id TEXT PRIMARY KEY, a DATETIME)")
    there = target(table("t", "id text!, a timestamp with time zone"))
    mapping = map_tables(schema, there, settings(t={"columns": {"a": {"format": "DD.MM.YYYY"}}}))
    assert codes(mapping) == [("t", "a", "format_unknown")]
    assert "epoch_seconds" in mapping.blocking[0].todo
    known = map_tables(schema, there, settings(t={"columns": {"a": {"format": "epoch_milliseconds"}}}))
    assert one(known).columns[1].format == "epoch_milliseconds"


# -- adoption ------------------------------------------------------------------------------------------------------


def test_names_match_exactly_then_in_any_case_then_by_configuration() -> None:
    schema = source("CREATE TABLE Users (Id TEXT PRIMARY KEY, level TEXT); CREATE TABLE log (a INTEGER PRIMARY KEY)")
    given = target(table("users", "id text!, identity_level text"), table("journal", "a bigint!"))
    mapping = map_tables(
        schema, given, settings(users={"columns": {"LEVEL": {"target": "identity_level"}}}, log={"target": "Journal"})
    )
    assert not mapping.blocking
    users, log = mapping.tables
    assert (users.name, users.target, users.key) == ("Users", "users", ("Id",))
    assert [column.target for column in users.columns] == ["id", "identity_level"]
    assert (log.target, log.rowid_alias) == ("journal", "a")
    assert mapping.create == ()


def test_an_exact_name_wins_over_one_in_another_case() -> None:
    given = target(table("Users", "id text!"), table("users", "id text!"))
    assert one(map_tables(source("CREATE TABLE users (id TEXT PRIMARY KEY)"), given, Settings())).target == "users"


def test_a_column_without_counterpart_blocks_and_names_the_nearest() -> None:
    given = target(table("t", "id text!, full_name text"))
    mapping = map_tables(source("CREATE TABLE t (id TEXT PRIMARY KEY, fullname TEXT)"), given, Settings())
    assert codes(mapping) == [("t", "fullname", "column_missing")]
    assert "full_name" in mapping.blocking[0].message
    assert mapping.tables == ()


def test_a_target_column_that_demands_a_value_blocks_and_others_are_told() -> None:
    given = target(table("t", "id text!, must text!, may text"))
    mapping = map_tables(source("CREATE TABLE t (id TEXT PRIMARY KEY)"), given, Settings())
    assert codes(mapping) == [("t", "", "target_column_required")]
    assert ("t", "", "target_column_unmapped") in codes(mapping, "informs")


def test_an_ignored_column_that_the_target_demands_blocks() -> None:
    given = target(table("t", "id text!, a text!"))
    mapping = map_tables(
        source("CREATE TABLE t (id TEXT PRIMARY KEY, a TEXT NOT NULL)"),
        given,
        settings(t={"columns": {"a": {"ignore": True}}}),
    )
    assert codes(mapping) == [("t", "", "target_column_required")]


def test_a_type_that_can_never_hold_the_column_blocks() -> None:
    given = target(table("t", "id text!, n text"))
    mapping = map_tables(source("CREATE TABLE t (id TEXT PRIMARY KEY, n INTEGER)"), given, Settings())
    assert codes(mapping) == [("t", "n", "type_mismatch")]


def test_what_postgres_makes_itself_cannot_be_mirrored_into() -> None:
    columns = (
        PostgresColumn("id", "bigint", not_null=True, identity="always"),
        PostgresColumn("a", "bigint", not_null=False, generated=True),
        PostgresColumn("n", "bigint", not_null=False, identity="always"),
    )
    key = PostgresIndex("k", ("id",), unique=True, primary=True)
    given = target(PostgresTable("t", "owner", columns, (key,)))
    mapping = map_tables(source("CREATE TABLE t (id INTEGER PRIMARY KEY, a INT, n INT)"), given, Settings())
    assert codes(mapping) == [("t", "a", "column_generated"), ("t", "n", "column_generated")]
    both = map_tables(
        source("CREATE TABLE t (id INTEGER PRIMARY KEY, a INT AS (id * 2))"),
        target(PostgresTable("t", "owner", (PostgresColumn("id", "bigint", not_null=True), columns[1]), (key,))),
        Settings(),
    )
    assert [column.name for column in one(both).columns] == ["id"]
    assert not both.findings


def test_collations_that_differ_are_told() -> None:
    columns = (
        PostgresColumn("id", "text", not_null=True),
        PostgresColumn("a", "text", not_null=False, collation="en_US"),
        PostgresColumn("b", "text", not_null=False, collation="loose", deterministic=False),
    )
    key = PostgresIndex("k", ("id",), unique=True, primary=True)
    mapping = map_tables(
        source("CREATE TABLE t (id TEXT PRIMARY KEY, a TEXT, b TEXT)"),
        target(PostgresTable("t", "owner", columns, (key,))),
        Settings(),
    )
    assert [column.target_collation for column in one(mapping).columns] == [None, "en_US", "loose"]
    assert codes(mapping, "informs") == [("t", "a", "collation_differs")]
    assert codes(mapping, "warns") == [("t", "b", "collation_looser")]


# -- keys ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("definition", "configured", "key"),
    [
        ("a TEXT, b INT, PRIMARY KEY (b, a)", (), ("b", "a")),
        ("a TEXT NOT NULL UNIQUE, b INT", (), ("a",)),
        ("a TEXT, b INT NOT NULL, c INT NOT NULL, UNIQUE (b, c)", (), ("b", "c")),
        ("a TEXT NOT NULL, b INT", ("A",), ("a",)),
        ("a TEXT UNIQUE, b INT", (), ("_rowid_",)),
        ("a TEXT, b INT", (), ("_rowid_",)),
        ("a TEXT, b INT, rowid TEXT", (), ("_rowid_",)),
        ("a TEXT, b INT, _RowId_ TEXT", (), ()),
        ("a TEXT, b INT", ("b",), ("b",)),
        ("a TEXT, b INT", ("c",), ()),
    ],
)
def test_the_key(definition: str, configured: tuple[str, ...], key: tuple[str, ...]) -> None:
    mapping = map_tables(source(f"CREATE TABLE t ({definition})"), None, settings(t={"key": configured}))
    assert (mapping.tables[0].key if mapping.tables else ()) == key
    assert bool(mapping.blocking) == (not key)


def test_a_partial_or_expression_index_is_no_key() -> None:
    schema = source(
        "CREATE TABLE t (a TEXT NOT NULL); CREATE UNIQUE INDEX i ON t (a) WHERE a > 'b';"
        "CREATE UNIQUE INDEX j ON t (lower(a))"
    )
    assert map_tables(schema, None, Settings()).tables[0].key == ("_rowid_",)


def test_a_hidden_rowid_needs_a_place_on_postgres() -> None:
    schema = source("CREATE TABLE t (a TEXT NOT NULL)")
    text, number = PostgresColumn("a", "text", not_null=True), PostgresColumn("_rowid_", "bigint", not_null=True)
    key = PostgresIndex("k", ("_rowid_",), unique=True, primary=True)
    without = map_tables(schema, target(PostgresTable("t", "owner", (text,), ())), Settings())
    assert codes(without) == [("t", "", "no_key")]
    mapping = map_tables(schema, target(PostgresTable("t", "owner", (text, number), (key,))), Settings())
    assert [(column.name, column.hidden) for column in one(mapping).columns] == [("a", False), ("_rowid_", True)]
    assert one(mapping).key == ("_rowid_",)


@pytest.mark.parametrize(
    ("definition", "key"),
    [
        ("a TEXT PRIMARY KEY, b INT", ("a",)),
        ("a TEXT, b INT, PRIMARY KEY (b, a)", ("b", "a")),
        ("a TEXT NOT NULL UNIQUE, b INT", ("a",)),
        ("a INTEGER PRIMARY KEY DESC, rowid TEXT", ("a",)),
    ],
)
def test_the_rowid_goes_beside_a_key_that_is_no_integer(definition: str, key: tuple[str, ...]) -> None:
    schema = source(f"CREATE TABLE t ({definition})")
    mapping = map_tables(schema, None, Settings())
    made = one(mapping)
    assert (made.key, made.rowid_alias, made.place, made.is_numbered) == (key, "_rowid_", ("_rowid_",), True)
    assert [column.name for column in made.columns if column.hidden] == ["_rowid_"]
    assert ("_rowid_",) in [index.columns for index in made.unique]
    assert '"_rowid_" bigint GENERATED BY DEFAULT AS IDENTITY' in mapping.create[0]
    assert any("UNIQUE INDEX" in sql and '("_rowid_")' in sql for sql in mapping.create)
    assert codes(mapping, "informs") == [("", "", "rowid_carried")]
    for chosen in (settings(t={"rowid": "drop"}), Settings.model_validate({"postgres": {"rowid": "drop"}})):
        plain = one(map_tables(schema, None, chosen))
        assert (plain.key, plain.rowid_alias, plain.is_numbered) == (key, None, False)
        assert not codes(map_tables(schema, None, chosen), "informs")
    kept = Settings.model_validate({"postgres": {"rowid": "drop"}, "tables": {"t": {"rowid": "keep"}}})
    assert one(map_tables(schema, None, kept)) == made


def test_an_index_goes_before_the_rowid_which_goes_beside_it() -> None:
    schema = source("CREATE TABLE t (a TEXT NOT NULL, b INT); CREATE UNIQUE INDEX i ON t (a)")
    made = one(map_tables(schema, None, Settings()))
    assert (made.key, made.is_numbered) == (("a",), True)
    plain = one(map_tables(schema, None, settings(t={"rowid": "drop"})))
    assert (plain.key, plain.rowid_alias) == (("a",), None)
    assert one(map_tables(schema, None, Settings(), born=True)).key == ("_rowid_",)


@pytest.mark.parametrize(
    "definition", ["a INTEGER PRIMARY KEY", "a TEXT PRIMARY KEY) WITHOUT ROWID", "a TEXT PRIMARY KEY, _rowid_ INT"]
)
def test_tables_that_have_no_hidden_rowid(definition: str) -> None:
    made = one(map_tables(source(f"CREATE TABLE t ({definition}" + ")" * (")" not in definition)), None, Settings()))
    assert (made.key, made.is_numbered) == (("a",), False)
    assert not any(column.hidden for column in made.columns)


def test_a_table_that_is_there_decides_whether_it_has_the_rowid() -> None:
    schema = source("CREATE TABLE t (a TEXT NOT NULL PRIMARY KEY)")
    text, number = PostgresColumn("a", "text", not_null=True), PostgresColumn("_rowid_", "bigint", not_null=True)
    key = PostgresIndex("k", ("a",), unique=True, primary=True)
    place = PostgresIndex("i", ("_rowid_",), unique=True, primary=False)
    for columns, indexes, numbered in (
        ((text,), (key,), False),
        ((text, number), (key, place), True),
        ((text, replace(number, default="0")), (key,), False),
        ((text, replace(number, type="text", default="0")), (key, place), False),
    ):
        for chosen in (Settings(), settings(t={"rowid": "drop"})):
            found = one(map_tables(schema, target(PostgresTable("t", "owner", columns, indexes)), chosen))
            assert (found.key, found.is_numbered) == (("a",), numbered)


def test_a_configured_key_that_nothing_enforces_is_warned_about_and_one_in_vain_too() -> None:
    loose = map_tables(source("CREATE TABLE t (a TEXT NOT NULL)"), None, settings(t={"key": ["a"]}))
    assert codes(loose, "warns") == [("t", "", "key_not_enforced")]
    vain = map_tables(source("CREATE TABLE t (a TEXT PRIMARY KEY, b INT)"), None, settings(t={"key": ["b"]}))
    assert codes(vain, "warns") == [("t", "", "key_setting_unused")]
    assert one(vain).key == ("a",)


@pytest.mark.parametrize(
    "index",
    [
        PostgresIndex("i", ("id", "a"), unique=True, primary=False),
        PostgresIndex("i", ("id",), unique=False, primary=False),
        PostgresIndex("i", ("id",), unique=True, primary=False, partial="a > 1"),
        PostgresIndex("i", ("id",), unique=True, primary=True, immediate=False),
        PostgresIndex("i", ("id",), unique=True, primary=False, valid=False),
    ],
)
def test_the_target_needs_the_same_key(index: PostgresIndex) -> None:
    given = target(table("t", "id text!, a bigint", index))
    mapping = map_tables(source("CREATE TABLE t (id TEXT PRIMARY KEY, a INT)"), given, Settings())
    assert codes(mapping) == [("t", "", "target_key_missing")]


def test_json_is_no_key() -> None:
    given = target(table("t", "id jsonb!"))
    assert codes(map_tables(source("CREATE TABLE t (id TEXT PRIMARY KEY)"), given, Settings())) == [
        ("t", "id", "key_is_json")
    ]


# -- foreign keys --------------------------------------------------------------------------------------------------


def _key(column: str, parent: str, parent_column: str, schema: str = "public") -> PostgresForeignKey:
    return PostgresForeignKey(f"{column}_fkey", (column,), schema, parent, (parent_column,), "")


def test_foreign_keys_of_both_sides_are_checked_once_in_source_names() -> None:
    schema = source(
        "CREATE TABLE users (id TEXT PRIMARY KEY); CREATE TABLE posts (id TEXT PRIMARY KEY, author TEXT REFERENCES"
        " USERS(ID), editor TEXT)"
    )
    given = target(
        table("people", "user_id text!"),
        table(
            "posts", "id text!, author text, editor_id text",
            keys=(_key("author", "people", "user_id"), _key("editor_id", "people", "user_id")),
        ),
    )  # fmt: skip
    mapping = map_tables(
        schema,
        given,
        settings(
            users={"target": "people", "columns": {"id": {"target": "user_id"}}},
            posts={"columns": {"editor": {"target": "editor_id"}}},
        ),
    )
    assert mapping.tables[0].foreign_keys == (
        ForeignKey(("author",), "users", ("id",)),
        ForeignKey(("editor",), "users", ("id",)),
    )


def test_foreign_keys_to_what_is_not_mirrored_are_told() -> None:
    schema = source("CREATE TABLE t (id TEXT PRIMARY KEY, a TEXT REFERENCES gone)")
    given = target(table("t", "id text!, a text", keys=(_key("a", "other", "id"), _key("a", "t", "id", "elsewhere"))))
    mapping = map_tables(schema, given, Settings())
    assert one(mapping).foreign_keys == ()
    assert codes(mapping, "warns") == [("t", "", "foreign_key_unchecked")] * 3


# -- the whole -----------------------------------------------------------------------------------------------------


def test_settings_about_nothing_block_and_name_the_nearest() -> None:
    mapping = map_tables(
        source("CREATE TABLE users (id TEXT PRIMARY KEY, handle TEXT)"),
        None,
        settings(user={"ignore": True}, users={"columns": {"handel": {"ignore": True}}}),
    )
    assert codes(mapping) == [("", "", "setting_unknown_table"), ("users", "", "setting_unknown_column")]
    assert "nearest is users" in mapping.blocking[0].message
    assert "nearest is handle" in mapping.blocking[1].message


def test_two_tables_or_columns_for_one_target_block() -> None:
    schema = source("CREATE TABLE a (id TEXT PRIMARY KEY); CREATE TABLE b (id TEXT PRIMARY KEY)")
    tables = map_tables(schema, None, settings(a={"target": "b"}))
    assert codes(tables) == [("a", "", "target_twice"), ("b", "", "target_twice")]
    assert tables.tables == ()
    assert tables.create == ()
    columns = map_tables(
        source("CREATE TABLE a (id TEXT PRIMARY KEY, b TEXT)"), None, settings(a={"columns": {"b": {"target": "id"}}})
    )
    assert codes(columns) == [("a", "", "target_twice")]


def test_tables_with_one_number_block() -> None:
    # Two names with equal CRC-32, found by search.
    schema = source("CREATE TABLE plumless (id TEXT PRIMARY KEY); CREATE TABLE buckeroo (id TEXT PRIMARY KEY)")
    assert codes(map_tables(schema, None, Settings())) == [
        ("buckeroo", "", "id_collision"),
        ("plumless", "", "id_collision"),
    ]


def test_long_names_block_until_they_are_shortened() -> None:
    name = "é" * 32
    schema = source(f"CREATE TABLE {name} (id TEXT PRIMARY KEY)")
    assert codes(map_tables(schema, None, Settings())) == [(name, "", "name_too_long")]
    assert one(map_tables(schema, None, settings(**{name: {"target": "short"}}))).target == "short"


def test_a_name_that_a_view_has_is_taken() -> None:
    mapping = map_tables(source("CREATE TABLE v (id TEXT PRIMARY KEY)"), target(others=("v",)), Settings())
    assert codes(mapping) == [("v", "", "name_taken")]


def test_an_ignored_table_is_out() -> None:
    mapping = map_tables(source("CREATE TABLE t (a)"), None, settings(T={"ignore": True}))
    assert mapping.tables == ()
    assert codes(mapping, "informs") == [("t", "", "table_ignored")]


def test_sequences_that_no_promotion_moves_are_said() -> None:
    given = replace(target(table("t", "id text!")), sequences=("own", "t_id_seq"))
    mapping = map_tables(source("CREATE TABLE t (id TEXT PRIMARY KEY)"), given, Settings())
    assert codes(mapping, "warns") == [("", "", "sequences_of_their_own")]


def test_records_of_migrations_that_are_written_for_one_store_stay_where_they_are() -> None:
    schema = source("CREATE TABLE _prisma_migrations (id TEXT PRIMARY KEY, checksum TEXT NOT NULL)")
    there = target(table("_prisma_migrations", "id text!, checksum text!"))
    mapping = map_tables(schema, there, Settings())
    assert mapping.tables == ()
    assert codes(mapping, "informs") == [("_prisma_migrations", "", "migrations_left_out")]
    assert map_tables(schema, there, settings(_prisma_migrations={"target": "_prisma_migrations"})).tables


def test_records_of_migrations_that_postgres_lacks_are_mirrored_and_stay_so() -> None:
    schema = source("CREATE TABLE __Drizzle_migrations (id TEXT PRIMARY KEY); CREATE TABLE t (id TEXT PRIMARY KEY)")
    mapping = map_tables(schema, target(table("t", "id text!")), Settings())
    assert [one.name for one in mapping.tables] == ["__Drizzle_migrations", "t"]
    assert codes(mapping, "informs") == [("", "", "rowid_carried"), ("__Drizzle_migrations", "", "migrations_mirrored")]
    assert mapping.create[1] == f"""COMMENT ON TABLE "public"."__Drizzle_migrations" IS '{MIRRORED}'"""
    made = replace(table("__Drizzle_migrations", "id text!"), mirrored=True)
    mapping = map_tables(schema, target(made, table("t", "id text!")), Settings())
    assert [one.name for one in mapping.tables] == ["__Drizzle_migrations", "t"]
    assert not mapping.create


def test_a_declared_key_that_is_null_throughout_gives_way_to_the_rowid() -> None:
    schema = source("CREATE TABLE t (id SERIAL PRIMARY KEY, hash TEXT NOT NULL)")
    held = {("t", "id"): Histogram(null=2), ("t", "hash"): Histogram(text=2)}
    found = one(map_tables(schema, None, Settings(), held))
    assert found.key == ("_rowid_",)
    assert [column.target_type for column in found.columns] == ["numeric", "text", "bigint"]
    assert one(map_tables(schema, None, Settings(), held | {("t", "id"): Histogram(integer=2)})).key == ("id",)
    assert not map_tables(schema, None, Settings(), held | {("t", "id"): Histogram()}).tables


def test_records_of_migrations_that_run_on_either_store_are_mirrored_and_it_is_said() -> None:
    schema = source("CREATE TABLE alembic_version (version_num TEXT PRIMARY KEY)")
    mapping = map_tables(schema, target(table("alembic_version", "version_num text!")), Settings())
    assert [one.name for one in mapping.tables] == ["alembic_version"]
    assert ("alembic_version", "", "migrations_mirrored") in codes(mapping, "informs")


def test_only_what_is_missing_is_created_and_its_schema_first() -> None:
    schema = source("CREATE TABLE a (id TEXT PRIMARY KEY); CREATE TABLE b (id TEXT PRIMARY KEY REFERENCES a)")
    some = map_tables(schema, target(table("a", "id text!")), Settings())
    assert [statement.split("(")[0].strip() for statement in some.create] == [
        'CREATE TABLE "public"."b"',
        'CREATE UNIQUE INDEX "b__rowid__key" ON "public"."b"',
        'ALTER TABLE "public"."b" ADD FOREIGN KEY',
    ]
    none = map_tables(schema, target(exists=False), Settings())
    assert none.create[0] == 'CREATE SCHEMA "public"'


def test_tables_come_in_name_order_with_all_that_capture_needs() -> None:
    schema = source(
        "CREATE TABLE z (id INTEGER PRIMARY KEY AUTOINCREMENT, h TEXT NOT NULL DEFAULT 'x' COLLATE NOCASE UNIQUE);"
        "CREATE TABLE a (k TEXT PRIMARY KEY) WITHOUT ROWID"
    )
    first, second = map_tables(schema, None, Settings()).tables
    assert (first.name, first.without_rowid, first.rowid_alias, second.name) == ("a", True, None, "z")
    assert (second.rowid_alias, second.autoincrement) == ("id", True)
    assert [index.primary_key for index in second.unique] == [True, False]
    assert second.unique[1].terms == (('"h"', "NOCASE"),)
    assert (second.columns[1].default, second.columns[1].collation) == ("'x'", "NOCASE")
    assert second.sql.startswith("CREATE TABLE z")


def test_tables_that_did_not_change_are_not_mapped_again() -> None:
    """Each change through the front door maps the whole schema, so the others have to cost nothing."""
    script = "CREATE TABLE a (id INTEGER PRIMARY KEY); CREATE TABLE b (id INTEGER PRIMARY KEY, a INTEGER REFERENCES a);"
    there = table("a", "id bigint!"), table("b", "id bigint!, a bigint")
    before = map_tables(source(script), target(*there), settings())
    more = source(f"{script} CREATE TABLE c (id INTEGER PRIMARY KEY, b INTEGER REFERENCES b);")
    after = map_tables(more, target(*there), settings())
    assert [each.name for each in after.tables] == ["a", "b", "c"]
    assert all(new is old for new, old in zip(after.tables, before.tables, strict=False))


def test_what_was_mapped_before_is_no_answer_to_another_question() -> None:
    """Whatever decides about a table is asked for each time: the configuration, its place, what its keys point to."""
    script = "CREATE TABLE a (id INTEGER PRIMARY KEY, x TEXT); CREATE TABLE b (id INTEGER PRIMARY KEY, a REFERENCES a);"
    schema = source(script)
    there = table("a", "id bigint!, x text"), table("b", "id bigint!, a bigint")
    plain = map_tables(schema, target(*there), settings())
    assert map_tables(schema, target(*there), settings(a={"columns": {"x": {"ignore": True}}})) != plain
    assert codes(map_tables(schema, target(others=("a",)), settings())) != codes(map_tables(schema, None, settings()))
    lonely = map_tables(schema, target(*there), settings(a={"ignore": True}))
    assert one(lonely).foreign_keys == ()
    assert map_tables(schema, target(table("a", "id bigint!, x text"), there[1]), settings()) == plain
    assert map_tables(schema, target(table("a", "id bigint!"), there[1]), settings()) != plain
    assert map_tables(schema, target(*there), settings()) == plain
