"""Many keys in one statement find what each finds alone; many rows in one are written as each is alone."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutover.model.table import Table
from cutover.model.values import Applied, Key, Row
from cutover.schema.codecs import Foreign
from cutover.stores.sqlite.apply import Writing
from cutover.stores.sqlite.lookup import parts, read_row, rows_of
from tests.support.sqlite_tables import mapped

ONE = st.sampled_from(
    [None, 0, 1, 1.0, -2, 2**53 + 1, "", "a", "A", "é", "1", "a\udc80", b"", b"a", Foreign("a", "no")]
)
DECLARED = ("k", "k INTEGER", "k TEXT", "k TEXT COLLATE NOCASE", "k REAL", "k NUMERIC")


@given(
    st.sampled_from(DECLARED),
    st.sampled_from(("l", "l TEXT COLLATE NOCASE")),
    st.lists(st.tuples(ONE, ONE), max_size=30),
    st.lists(st.tuples(ONE, ONE), max_size=90),
)
def test_many_keys_find_what_each_finds_alone(first: str, second: str, there: list[Key], asked: list[Key]) -> None:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.execute(f"CREATE TABLE t ({first}, {second}, v, PRIMARY KEY (k, l))")
        storable = [key for key in there if not any(type(part) is Foreign or part == "a\udc80" for part in key)]
        connection.executemany("INSERT OR IGNORE INTO t VALUES (?, ?, 'found')", storable)
        connection.execute("INSERT OR IGNORE INTO t VALUES (CAST(x'6180' AS TEXT), 'a', CAST(x'80' AS TEXT))")
        (table,) = mapped(connection)
        alone = [read_row(connection, table, key) for key in asked]
        assert list(map(repr, rows_of(connection, table, asked))) == list(map(repr, alone))


def test_parts_hold_everything_once_and_no_more_parameters_than_may_be() -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, 100)
        for count in (0, 1, 7, 8, 63, 64, 65, 200):
            cut = list(parts(connection, range(count), 3))
            assert [item for part in cut for item in part] == list(range(count))
            assert all(3 * len(part) <= 100 for part in cut)


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as made:
        made.execute("CREATE TABLE t (id TEXT PRIMARY KEY, n INTEGER, u TEXT UNIQUE)")
        made.execute("CREATE TABLE _cutover_quarantine (table_name, key, reason, since, PRIMARY KEY (table_name, key))")
        yield made


def of(connection: sqlite3.Connection) -> Table:
    """The table of the application."""
    return next(table for table in mapped(connection) if table.name == "t")


def standing(connection: sqlite3.Connection) -> list[Row]:
    """All of its rows."""
    return connection.execute("SELECT * FROM t ORDER BY id").fetchall()


def test_many_rows_are_written_together_new_ones_and_others(connection: sqlite3.Connection) -> None:
    table, writing = of(connection), Writing(connection)
    rows = [(f"k{number:03}", number, f"u{number}") for number in range(150)]
    assert writing.apply(table, rows[::2], []) == Applied(upserted=75)
    later = [(key, number + number % 3, unique) for key, number, unique in rows]
    done = writing.apply(table, later, [])
    assert (done.upserted, done.unchanged, done.quarantined) == (125, 25, 0)
    assert standing(connection) == later
    assert writing.apply(table, [(*later[0][:2], "twice"), later[0]], []).unchanged == 1  # the last one counts


def test_a_unique_value_that_moves_among_many_rows_is_no_obstacle(connection: sqlite3.Connection) -> None:
    table, writing = of(connection), Writing(connection)
    rows: list[Row] = [(f"k{number:03}", number, f"u{number}") for number in range(100)]
    writing.apply(table, rows, [])
    moved: list[Row] = [(key, number, f"u{(number + 1) % 100}") for key, number, _ in rows]
    assert writing.apply(table, moved, []).upserted == 100
    assert standing(connection) == moved


@pytest.mark.parametrize("bad", [("k050", "12", "u50"), ("k050", Foreign("x", "too large"), "u50"), ("k050", 1, "u7")])
def test_one_row_among_many_that_does_not_fit_is_put_aside_alone(connection: sqlite3.Connection, bad: Row) -> None:
    table, writing = of(connection), Writing(connection)
    rows: list[Row] = [(f"k{number:03}", number, f"u{number}") for number in range(100)]
    done = writing.apply(table, [*rows[:50], bad, *rows[51:]], [])
    assert (done.upserted, done.quarantined) == (99, 1)
    assert standing(connection) == [*rows[:50], *rows[51:]]
    assert connection.execute("SELECT key FROM _cutover_quarantine").fetchall() == [('[["t","k050"]]',)]
