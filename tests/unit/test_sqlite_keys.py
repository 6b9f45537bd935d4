"""Keys keep their type and bytes, and sort as SQLite sorts them."""

from __future__ import annotations

import sqlite3
from contextlib import closing

from hypothesis import example, given
from hypothesis import strategies as st

from cutover.model.values import Key
from cutover.stores.sqlite.keys import bound, bounds, decode_key, encode_key, match, order, typed, within
from tests.support.samples import PAIRS
from tests.support.sqlite_tables import mapped

INTEGERS = st.integers(-(2**63), 2**63 - 1)
VALUES = st.one_of(st.none(), INTEGERS, st.floats(allow_nan=False), st.text(), st.binary())
SMALL = st.sampled_from([None, 0, 1, 1.5, -2, "", "a", "A", "b", "é", b"", b"a"])


@given(st.lists(VALUES, min_size=1, max_size=3).map(tuple))
def test_a_key_as_text_gives_back_the_same_key(key: Key) -> None:
    back = decode_key(encode_key(key))
    assert list(map(repr, back)) == list(map(repr, key))
    assert typed(back) == typed(key)


def test_one_is_not_one_point_zero() -> None:
    assert len({typed((1,)), typed((1.0,)), typed(("1",)), typed((b"1",))}) == 4
    assert len({encode_key((1,)), encode_key((1.0,)), encode_key(("1",)), encode_key((b"1",))}) == 4


@given(st.lists(VALUES, min_size=2, max_size=8))
def test_order_is_sqlites(values: list[object]) -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE TABLE t (v)")
        connection.executemany("INSERT INTO t VALUES (?)", [(value,) for value in values])
        by_sqlite = [row[0] for row in connection.execute("SELECT v FROM t ORDER BY v, rowid")]
    assert [order((value,)) for value in by_sqlite] == sorted(order((value,)) for value in values)


@given(
    st.lists(st.tuples(SMALL, SMALL), max_size=12),
    st.one_of(st.none(), st.tuples(SMALL, SMALL)),
    st.one_of(st.none(), st.tuples(SMALL, SMALL)),
)
@example([(None, 0)], (None, None), (0, None))
def test_bounds_say_in_sql_what_within_says(keys: list[Key], after: Key | None, upto: Key | None) -> None:
    for declared in ("a, b", "a COLLATE NOCASE, b COLLATE NOCASE"):
        with closing(sqlite3.connect(":memory:")) as connection:
            connection.execute(f"CREATE TABLE t ({declared}, PRIMARY KEY (a, b))")
            (table,) = mapped(connection)
            connection.executemany("INSERT OR IGNORE INTO t VALUES (?, ?)", keys)
            everything = connection.execute("SELECT a, b FROM t").fetchall()
            where, parameters = bounds(table, after, upto)
            found = connection.execute(f"SELECT a, b FROM t WHERE {where}", parameters).fetchall()
            assert sorted(map(repr, found)) == sorted(repr(key) for key in everything if within(key, after, upto))
            for key in everything:
                where, parameters = match(table, key)
                rows = connection.execute(f"SELECT a, b FROM t WHERE {where}", parameters).fetchall()
                assert {typed(row) for row in rows} == {typed(key)}


def test_lookups_and_ranges_use_the_keys_index() -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute(PAIRS.sql)
        connection.execute("CREATE TABLE nullable (id TEXT PRIMARY KEY, v)")
        connection.execute("CREATE TABLE pairs_of_null (a, b, PRIMARY KEY (a, b))")
        nullable, loose = (table for table in mapped(connection) if table.name != "pairs")
        cases = [
            (PAIRS, match(PAIRS, (1, "a"))),
            (PAIRS, bounds(PAIRS, (1, "a"), None)),
            (PAIRS, bounds(PAIRS, (1, "a"), (2, "b"))),
            (nullable, match(nullable, ("a",))),
            (nullable, bounds(nullable, ("a",), ("b",))),
            (loose, bounds(loose, (1, "a"), (2, "b"))),
        ]
        for table, (where, parameters) in cases:
            plan = connection.execute(f"EXPLAIN QUERY PLAN SELECT * FROM {table.name} WHERE {where}", parameters)
            assert all("SEARCH" in row[3] for row in plan), where


def test_text_that_was_not_utf8_is_bound_as_its_bytes() -> None:
    assert bound("plain") == ("?", "plain")
    assert bound("é") == ("?", "é")
    assert bound(b"z\xff".decode("utf-8", "surrogateescape")) == ("CAST(? AS TEXT)", b"z\xff")
    assert bound("\ud800") == ("CAST(? AS TEXT)", b"\xed\xa0\x80")
