"""Answers that differ only where ORDER BY leaves rows in ties, by SQLite itself."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutover.dialect.ties import breaking_ties, differ_in_ties


@pytest.mark.parametrize(
    ("sql", "broken"),
    [
        ("SELECT a FROM t ORDER BY b", "SELECT a FROM t ORDER BY b\n, row_number() OVER () ASC "),
        (
            "SELECT a FROM t ORDER BY b DESC -- newest\nLIMIT ?",
            "SELECT a FROM t ORDER BY b DESC -- newest\n, row_number() OVER () ASC LIMIT ?",
        ),
        ("SELECT ')' FROM t ORDER BY b;", "SELECT ')' FROM t ORDER BY b\n, row_number() OVER () ASC ;"),
        ("SELECT a FROM (SELECT a FROM t ORDER BY b)", None),
        ("SELECT sum(a) OVER (ORDER BY b) FROM t LIMIT 3", None),
    ],
)
def test_the_outermost_order_gets_one_more_term(sql: str, broken: str | None) -> None:
    assert breaking_ties(sql, "ASC") == broken


@given(st.lists(st.integers(0, 2), max_size=6).flatmap(lambda keys: st.permutations(list(enumerate(keys)))))
def test_an_order_is_open_where_keys_are_equal(drawn: list[tuple[int, int]]) -> None:
    keys = [key for _, key in sorted(drawn)]
    with closing(sqlite3.connect(":memory:")) as db:
        db.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, k INTEGER)")
        db.executemany("INSERT INTO t (k) VALUES (?)", [(key,) for key in keys])
        sql = "SELECT id, k FROM t ORDER BY k"
        here = db.execute(sql).fetchall()
        up, down = (db.execute(breaking_ties(sql, way) or "").fetchall() for way in ("ASC", "DESC"))
        shuffled = [here[at] for at, _ in drawn]
    assert differ_in_ties(here, shuffled, up, down) == ([row[1] for row in shuffled] == [row[1] for row in here])


@pytest.mark.parametrize(
    ("there", "open_"),
    [
        ([(1, 1), (4, 2)], True),  # LIMIT cuts through 3, 4, 5
        ([(2, 1), (3, 2)], False),
        ([(1, 1)], False),
    ],
)
def test_a_limit_may_cut_through_ties(there: list[tuple[int, int]], open_: bool) -> None:
    assert differ_in_ties([(1, 1), (3, 2)], there, [(1, 1), (3, 2)], [(1, 1), (5, 2)]) is open_
