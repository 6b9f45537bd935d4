"""Rows applied to a SQLite file whose tables resolve conflicts by clauses of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from cutover.model.values import Row
from tests.support.sqlite_world import SHADOW, direct, make, served

CLAUSES = ("ABORT", "FAIL", "IGNORE", "REPLACE", "ROLLBACK")


@pytest.mark.parametrize("clause", CLAUSES)
async def test_values_change_places_whatever_clause_their_constraint_has(tmp_path: Path, clause: str) -> None:
    path = str(tmp_path / "app.db")
    make(path, f"CREATE TABLE t(id INTEGER PRIMARY KEY, u TEXT NOT NULL UNIQUE ON CONFLICT {clause}, v TEXT)")
    async with served(path, SHADOW) as (store, tables):
        for rows in (
            [(1, "a", "x"), (2, "b", "x"), (3, "c", "x")],
            [(1, "b", "y"), (2, "a", "y"), (3, "d", "y"), (4, "c", "y")],  # two change places, one is taken over
            [(0, "c", "z"), (1, "a", "z"), (2, "b", "z"), (3, "d", "z"), (4, "e", "z")],
        ):
            wanted: list[Row] = list(rows)
            async with store.applier(0, 1, None) as applier:
                done = await applier.apply(tables["t"], wanted, [])
            assert (done.upserted, done.quarantined) == (len(wanted), 0)
            with direct(path) as application:
                assert application.execute("SELECT * FROM t ORDER BY id").fetchall() == wanted


@pytest.mark.parametrize("clause", CLAUSES)
async def test_a_row_that_does_not_fit_is_in_quarantine_whatever_clause_says_so(tmp_path: Path, clause: str) -> None:
    path = str(tmp_path / "app.db")
    make(path, f"CREATE TABLE t(id INTEGER PRIMARY KEY, u TEXT DEFAULT 'd' NOT NULL ON CONFLICT {clause})")
    async with served(path, SHADOW) as (store, tables):
        async with store.applier(0, 1, None) as applier:
            done = await applier.apply(tables["t"], [(1, "a"), (2, None), (3, "c")], [])
        assert (done.upserted, done.quarantined) == (2, 1)
        with direct(path) as application:
            assert application.execute("SELECT * FROM t ORDER BY id").fetchall() == [(1, "a"), (3, "c")]
