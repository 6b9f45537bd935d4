"""Reading SQLite's schema, with SQLite itself as the judge of what a CREATE TABLE text means."""

from __future__ import annotations

import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutover.schema.createsql import read_create_index, read_create_table, unquote
from cutover.schema.sqlite_schema import SqliteSchema, SqliteTable, affinity_of, quoted, read_sqlite_schema


def read(script: str) -> SqliteSchema:
    connection = sqlite3.connect(":memory:")
    try:
        connection.executescript(script)
        return read_sqlite_schema(connection)
    finally:
        connection.close()


def only(script: str) -> SqliteTable:
    (table,) = read(script).tables
    return table


@pytest.mark.parametrize(
    ("definition", "alias"),
    [
        ("id INTEGER PRIMARY KEY", "id"),
        ("id integer primary key autoincrement", "id"),
        ("id INTEGER, PRIMARY KEY (id)", "id"),
        ("id INTEGER, PRIMARY KEY (id AUTOINCREMENT)", "id"),
        ("id INTEGER, PRIMARY KEY (id DESC)", "id"),
        ("id INTEGER PRIMARY KEY DESC", None),
        ("id INT PRIMARY KEY", None),
        ("id BIGINT PRIMARY KEY", None),
        ("id TEXT PRIMARY KEY", None),
        ("id INTEGER, b TEXT, PRIMARY KEY (id, b)", None),
    ],
)
def test_the_rowid_alias_is_what_sqlite_takes_for_it(definition: str, alias: str | None) -> None:
    table = only(f"CREATE TABLE t ({definition})")
    assert table.rowid_alias == alias
    assert table.autoincrement == ("AUTOINCREMENT" in definition.upper())
    connection = sqlite3.connect(":memory:")
    connection.execute(f"CREATE TABLE t ({definition})")
    connection.execute("INSERT INTO t (rowid) VALUES (42)")
    (value,) = connection.execute("SELECT id FROM t").fetchone()
    connection.close()
    assert (value == 42) == (alias is not None)
    (key,) = (index for index in table.unique if index.primary_key)
    assert key.columns == table.primary_key


def test_an_integer_key_without_rowid_is_no_alias() -> None:
    table = only("CREATE TABLE t (id INTEGER PRIMARY KEY, b) WITHOUT ROWID, STRICT".replace("b)", "b TEXT)"))
    assert (table.rowid_alias, table.without_rowid, table.strict) == (None, True, True)
    assert table.columns[0].not_null


_TYPES = ["", "INTEGER", "TEXT", "VARCHAR(10)", "DECIMAL(10, 2)", "DOUBLE PRECISION", "BLOB", "my type", '"odd, type"']
_CONSTRAINTS = [
    "NOT NULL",
    "UNIQUE",
    "DEFAULT 'a, b) COLLATE RTRIM'",
    "DEFAULT (1 + (2))",
    "DEFAULT -1.5",
    "DEFAULT CURRENT_TIMESTAMP",
    "CHECK (1 <> 2)",
    "CONSTRAINT \"check\" CHECK ('(' <> ')')",
    "COLLATE NOCASE",
    "COLLATE binary",
    'collate "RTRIM"',
    "REFERENCES p (a) ON DELETE SET NULL DEFERRABLE INITIALLY DEFERRED",
    "REFERENCES p ON UPDATE CASCADE NOT DEFERRABLE INITIALLY DEFERRED",
    "/* COLLATE NOCASE, */",
    "-- COLLATE NOCASE\n",
]
_NAMES = ['"a b"', "[b,c]", "`c``d`", "dé", "e$1", '"collate"', "generated", '"x""y"', "'quoted'"]
_TABLE_CONSTRAINTS = [
    "UNIQUE (e0) ON CONFLICT IGNORE",
    "CHECK ('COLLATE NOCASE' <> ',')",
    "FOREIGN KEY (e0) REFERENCES p (a)",
]


@given(
    columns=st.lists(
        st.tuples(st.sampled_from(_TYPES), st.lists(st.sampled_from(_CONSTRAINTS), max_size=3)), max_size=6
    ),
    names=st.permutations(_NAMES),
    constraints=st.lists(st.sampled_from(_TABLE_CONSTRAINTS), max_size=3),
    comma=st.sampled_from([", ", " "]),
)
def test_collations_and_foreign_keys_are_those_that_sqlite_sees(
    columns: list[tuple[str, list[str]]], names: list[str], constraints: list[str], comma: str
) -> None:
    lines = ["e0 INT"] + [f"{name} {kind} {' '.join(said)}" for name, (kind, said) in zip(names, columns, strict=False)]
    text = f"CREATE TABLE t ({', '.join(lines)}{', ' if constraints else ''}{comma.join(constraints)})"
    connection = sqlite3.connect(":memory:")
    try:
        connection.execute("CREATE TABLE p (a INTEGER PRIMARY KEY)")
        connection.execute(text)
        table = read_sqlite_schema(connection).table("t")
        assert table is not None
        listed = ", ".join(quoted(column.name) for column in table.columns)
        connection.execute(f"CREATE INDEX judge ON t ({listed})")
        judged = connection.execute("SELECT coll FROM pragma_index_xinfo('judge') WHERE key ORDER BY seqno")
        assert [column.collation for column in table.columns] == [row[0].upper() for row in judged]
        written = [said for line in (*lines, *constraints) for said in line.split("REFERENCES")[1:]]
    finally:
        connection.close()
    assert [key.deferred for key in table.foreign_keys] == [
        " DEFERRABLE INITIALLY" in w and "NOT DEF" not in w for w in written
    ]


def test_expressions_are_read_from_the_text() -> None:
    table = only(
        "CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT CHECK (length(b) < (5)), "
        "c AS (a * 2), d TEXT GENERATED ALWAYS AS (b || ')') STORED, CONSTRAINT x CHECK (a > 0) CHECK (b <> ','));"
        "CREATE UNIQUE INDEX i ON t (lower(b) COLLATE NOCASE DESC, a, substr(b, 1, 2)) WHERE b IS NOT NULL AND a > 1"
    )
    assert table.checks == ("length(b) < (5)", "a > 0", "b <> ','")
    assert [column.generated for column in table.columns] == ["", "", "a * 2", "b || ')'"]
    (index,) = table.indexes
    assert index.terms == (("lower(b)", "NOCASE", True), ('"a"', "BINARY", False), ("substr(b, 1, 2)", "BINARY", False))
    assert index.columns == (None, "a", None)
    assert index.partial == "b IS NOT NULL AND a > 1"


def test_columns_added_later_are_read_too() -> None:
    table = only("CREATE TABLE t (a TEXT PRIMARY KEY); ALTER TABLE t ADD COLUMN b TEXT DEFAULT 'x' COLLATE NOCASE")
    assert [(column.name, column.collation, column.default) for column in table.columns] == [
        ("a", "BINARY", None),
        ("b", "NOCASE", "'x'"),
    ]


def test_foreign_keys_come_in_the_order_of_the_text_with_their_parents_key() -> None:
    schema = read(
        "CREATE TABLE p (x INT, y INT, PRIMARY KEY (y, x)); CREATE TABLE c (a, b, d REFERENCES q DEFERRABLE INITIALLY "
        "DEFERRED, FOREIGN KEY (a, b) REFERENCES p ON DELETE CASCADE); CREATE TABLE q (z INTEGER PRIMARY KEY)"
    )
    table = schema.table("c")
    assert table is not None
    first, second = table.foreign_keys
    assert (first.parent, first.parent_columns, first.deferred) == ("q", ("z",), True)
    assert (second.columns, second.parent_columns, second.deferred) == (("a", "b"), ("y", "x"), False)
    assert (second.on_delete, second.on_update) == ("CASCADE", "NO ACTION")


def test_what_is_no_ordinary_table_is_told_apart_and_own_objects_are_left_out() -> None:
    schema = read(
        "CREATE TABLE t (a INTEGER PRIMARY KEY AUTOINCREMENT); CREATE TABLE _cutover_log (a); ANALYZE;"
        "CREATE VIRTUAL TABLE f USING fts5(x); CREATE VIEW v AS SELECT 1;"
        "CREATE TRIGGER r AFTER INSERT ON t BEGIN SELECT 1; END;"
        "CREATE TRIGGER _cutover_t_insert AFTER INSERT ON t BEGIN SELECT 1; END"
    )
    assert [table.name for table in schema.tables] == ["t"]
    assert [table.name for table in schema.virtual_tables] == ["f"]
    assert "f_content" in schema.shadow_tables
    assert [trigger.name for trigger in schema.triggers] == ["r"]
    assert [view.name for view in schema.views] == ["v"]


def test_reading_keeps_an_open_transaction_and_a_row_factory() -> None:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.row_factory = sqlite3.Row
    connection.execute("CREATE TABLE t (a)")
    read_sqlite_schema(connection)
    assert not connection.in_transaction
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("CREATE TABLE u (a)")
    assert len(read_sqlite_schema(connection).tables) == 2
    assert connection.in_transaction
    connection.close()


@given(
    declared=st.sampled_from(
        [
            "INT",
            "CHARINT",
            "FLOATING POINT",
            "STRING",
            "BLOB",
            "",
            "NUMERIC",
            "BOOLEAN",
            "CLOB",
            "TEXT",
            "REAL",
            "DOUBLE",
            "DATE",
            "POINT",
            "XBLOBX",
            "DECIMAL(5)",
            "CHAR(3)",
            "ANY",
        ]
    )
)
def test_affinity_is_what_sqlite_does_with_a_value(declared: str) -> None:
    connection = sqlite3.connect(":memory:")
    connection.execute(f"CREATE TABLE t (a {declared})")
    connection.execute("INSERT INTO t VALUES ('1.0'), (1), (1.5)")
    seen = tuple(row[0] for row in connection.execute("SELECT typeof(a) FROM t ORDER BY rowid"))
    connection.close()
    expected = {
        "INTEGER": ("integer", "integer", "real"),
        "NUMERIC": ("integer", "integer", "real"),
        "REAL": ("real", "real", "real"),
        "TEXT": ("text", "text", "text"),
        "BLOB": ("text", "integer", "real"),
    }
    assert seen == expected[affinity_of(declared)]


def test_any_is_untyped_only_in_a_strict_table() -> None:
    assert (affinity_of("ANY"), affinity_of("ANY", strict=True)) == ("NUMERIC", "BLOB")


@pytest.mark.parametrize(
    ("written", "name"), [('"a""b"', 'a"b'), ("[a]", "a"), ("`a``b`", "a`b"), ("'x'", "x"), ("y", "y")]
)
def test_names_lose_their_quotes(written: str, name: str) -> None:
    assert unquote(written) == name


def test_texts_that_hold_little_are_read_all_the_same() -> None:
    assert read_create_table("CREATE TABLE t AS SELECT 1").columns == {}
    assert read_create_index("CREATE INDEX i ON t (a)") == (["a"], None)
