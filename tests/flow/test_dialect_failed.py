"""What a write that failed leaves to be told: which constraint it was, changes(), last_insert_rowid()."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import pytest

from cutover.errors import StatementError
from tests.flow.dialect_world import World, world

SCHEMA = """
CREATE TABLE parent (id INTEGER PRIMARY KEY);
CREATE TABLE item (
    id INTEGER PRIMARY KEY,
    a INTEGER UNIQUE,
    z INTEGER CONSTRAINT zz CHECK (z > 0),
    y INTEGER CONSTRAINT aa CHECK (y < 10),
    u INTEGER UNIQUE,
    p INTEGER REFERENCES parent,
    CHECK (z < y)
);
CREATE TABLE later (id INTEGER PRIMARY KEY, p INTEGER REFERENCES parent DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE either (
    id INTEGER PRIMARY KEY, p INTEGER REFERENCES parent DEFERRABLE INITIALLY DEFERRED, q INTEGER REFERENCES parent
);
CREATE TABLE strict (id INTEGER PRIMARY KEY, a INTEGER NOT NULL, p INTEGER REFERENCES parent);
CREATE TABLE kin (id INTEGER PRIMARY KEY, a INTEGER UNIQUE, n INTEGER, up INTEGER REFERENCES kin);
CREATE TABLE tree (id INTEGER PRIMARY KEY, a INTEGER UNIQUE, up INTEGER REFERENCES tree ON DELETE SET NULL);
CREATE TABLE leaf (
    w TEXT PRIMARY KEY NOT NULL, up TEXT REFERENCES leaf ON DELETE SET NULL, p INTEGER REFERENCES parent
);
CREATE TABLE word (
    w TEXT PRIMARY KEY NOT NULL,
    n INTEGER UNIQUE,
    m TEXT COLLATE NOCASE,
    CHECK (n < 50),
    CHECK (w <> 'x' AND m <> 'X')
);
CREATE UNIQUE INDEX word_m ON word (m) WHERE n > 3;
CREATE TABLE pair (a INTEGER, b TEXT, c INTEGER UNIQUE, PRIMARY KEY (a, b)) WITHOUT ROWID;
CREATE TABLE ruled (
    a INTEGER, b INTEGER, g INTEGER AS (a + b), CONSTRAINT second CHECK (g < 5), CONSTRAINT first CHECK (b < 3)
);
CREATE TABLE lent (
    a INTEGER CONSTRAINT given NOT NULL CHECK (a > 0) CHECK (a < 9),
    b INTEGER CHECK (b > 0),
    c TEXT CONSTRAINT last DEFAULT 'x' CHECK (c <> 'y'),
    CHECK (a <> b),
    CHECK (a < b)
);
"""
DATA = (
    "INSERT INTO item (a, u) VALUES (1, 1), (2, 2), (3, 3)",
    "INSERT INTO word VALUES ('a', 5, 'a'), ('b', 6, 'b')",
    "INSERT INTO pair VALUES (1, 'a', 1), (2, 'b', 2)",
    "INSERT INTO ruled VALUES (1, 1)",
)
_PAST = "SELECT changes(), last_insert_rowid(), total_changes()"


@pytest.fixture
async def both(postgres_url: str) -> AsyncIterator[World]:
    async with world(postgres_url, SCHEMA, data=DATA) as made:
        yield made


async def _all_fail(both: World, statements: Sequence[str]) -> None:
    for sql in statements:
        await both.same_error(sql)
        await both.same(_PAST)


async def test_a_name_is_that_of_the_checks_behind_it(both: World) -> None:
    """SQLite forgets a constraint's name with the next column, or behind the first constraint of the table."""
    await _all_fail(
        both,
        [
            "INSERT INTO lent (a, b) VALUES (0, 1)",
            "INSERT INTO lent (a, b) VALUES (9, 10)",
            "INSERT INTO lent (a, b) VALUES (1, 0)",
            "INSERT INTO lent VALUES (1, 2, 'y')",
            "INSERT INTO lent (a, b) VALUES (2, 2)",
            "INSERT INTO lent (a, b) VALUES (3, 2)",
        ],
    )


async def test_of_several_constraints_the_first_that_sqlite_looks_at_is_named(both: World) -> None:
    await _all_fail(
        both,
        [
            "INSERT INTO item (z, y) VALUES (0, 11)",
            "INSERT INTO item (z, y) VALUES (12, 11)",
            "INSERT INTO item (a, z) VALUES (1, 0)",
            "INSERT INTO item (a, u) VALUES (5, 5), (1, 1)",
            "INSERT INTO item (a, u) SELECT a + 3, u - 1 FROM item WHERE a < 3 ORDER BY a",
            "UPDATE item SET a = 1, u = 1 WHERE id = 2",
            "UPDATE item SET a = 4 - a, u = 1, id = 1",
            "UPDATE item SET z = 12, y = 11",
            "UPDATE item SET z = 2 - id, y = 13 - id, a = a % 2",
            "INSERT INTO word VALUES ('b', 7, 'c'), ('A', 5, 'A')",
            "INSERT INTO word VALUES ('c', 7, 'c'), ('a', 5, 'A'), ('d', 8, 'd')",
            "INSERT INTO word VALUES ('c', 7, 'c'), ('d', 5, 'C')",
            "INSERT INTO word VALUES ('x', 60, 'x')",
            "UPDATE word SET m = 'A', n = 5",
            "UPDATE word SET w = 'a', m = 'A' WHERE n = 6",
            "UPDATE word SET w = 'x', m = 'x', n = 66",
            "UPDATE word SET n = 66, w = NULL",
            "INSERT INTO pair VALUES (3, 'c', 3), (1, 'a', 1)",
            "UPDATE pair SET a = 1, b = 'a', c = 1",
            "INSERT INTO ruled VALUES (1, 2), (4, 5)",
            "UPDATE ruled SET a = 9, b = 9",
        ],
    )


async def test_last_insert_rowid_is_of_the_last_row_before_the_one_that_failed(both: World) -> None:
    await _all_fail(
        both,
        [
            "INSERT INTO item (a, u) VALUES (20, 20), (21, 21), (1, 1), (22, 22)",
            "INSERT INTO item (a) VALUES (20), (1) RETURNING id",
            "INSERT INTO item (a) SELECT a + 100 FROM item UNION ALL SELECT 1 ORDER BY 1 DESC",
            "INSERT INTO item (id, a) VALUES (400, 400), (401, 1)",
            "INSERT INTO item (id, a) VALUES (410, 400), (411, 401), ('x', 402)",
            "INSERT INTO item (a, z) VALUES (901, 1), (902, 0) ON CONFLICT (a) DO UPDATE SET z = 0",
            "INSERT INTO item (a, z) VALUES (901, 1), (1, 1) ON CONFLICT (a) DO UPDATE SET z = 0",
            "INSERT INTO word VALUES ('c', 7, 'c'), ('d', 8, 'd'), ('e', 50, 'e')",
            "INSERT INTO item (a, p) VALUES (30, 7)",
            "INSERT INTO item (a, p) VALUES (30, 7) RETURNING a",
            "INSERT INTO item (a, p) VALUES (30, 7), (31, 7)",
            "INSERT OR IGNORE INTO item (a, p) SELECT a + 30, 7 FROM item",
            "INSERT OR FAIL INTO item (a, p) VALUES (30, 7), (1, NULL)",
            "REPLACE INTO item (a, p) VALUES (40, 7)",
            "INSERT INTO item (a, p) VALUES (41, 7) ON CONFLICT (a) DO UPDATE SET p = 8",
            "INSERT INTO item (a, p) VALUES (1, 7) ON CONFLICT (a) DO UPDATE SET p = 8",
            "INSERT INTO item (a, p) VALUES (41, 7) ON CONFLICT (a) DO NOTHING",
            "INSERT INTO later (p) VALUES (8)",
            "INSERT INTO later (p) VALUES (8), (9)",
            "INSERT INTO either (p) VALUES (8)",
            "INSERT INTO either (q) VALUES (8)",
            "INSERT OR IGNORE INTO strict (id, a, p) VALUES (7, 1, 2)",
        ],
    )
    await both.same("INSERT INTO item (a) VALUES (50), (51)")
    await both.same("SELECT * FROM item")
    await both.same(_PAST)


async def test_it_is_told_within_a_transaction_that_goes_on(both: World) -> None:
    await both.same("BEGIN")
    await both.same("INSERT INTO item (a) VALUES (10), (11)")
    await _all_fail(
        both,
        [
            "INSERT INTO item (a, u) VALUES (20, 20), (21, 21), (10, 1)",
            "INSERT INTO item (a, p) VALUES (20, 20), (21, 21)",
            "UPDATE item SET a = 1, u = 1 WHERE id = 2",
            "INSERT OR FAIL INTO item (a, z, y) VALUES (30, 1, 5), (31, 9, 11)",
            "INSERT INTO item (z, y) VALUES (0, 11)",
        ],
    )
    await both.same("INSERT INTO item (a) VALUES (40)")
    await both.same("COMMIT")
    await both.same("SELECT * FROM item")
    await both.same(_PAST)


async def test_many_rows_are_looked_at_one_by_one_up_to_some_number(both: World) -> None:
    numbers = "WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < {})"
    rows = ", ".join(f"({at}, {at})" for at in range(200, 260))
    await _all_fail(
        both,
        [
            f"INSERT INTO item (a, u) VALUES {rows}, (1, 1)",
            f"{numbers.format(900)} INSERT INTO item (a, u) SELECT 10 + i, i % 900 + 3 FROM n",
        ],
    )
    with pytest.raises(StatementError, match="UNIQUE constraint failed"):
        await both.on_postgres(f"{numbers.format(1500)} INSERT INTO item (a, u) SELECT i % 1500 + 1, i + 10 FROM n")
    await both.same("SELECT count(*) FROM item")


async def test_an_upsert_stores_its_row_before_foreign_keys_where_it_might_change_them(both: World) -> None:
    await _all_fail(
        both,
        [
            "INSERT INTO item (id, a, p) VALUES (60, 60, 7)",
            "INSERT INTO item (id, a, p) VALUES (61, 61, 7) ON CONFLICT (id) DO UPDATE SET z = 5",
            "INSERT INTO item (id, a, p) VALUES (62, 62, 7) ON CONFLICT (id) DO UPDATE SET p = 5",
            "INSERT INTO item (id, a, p) VALUES (63, 63, 7) ON CONFLICT DO UPDATE SET z = 5",
            "INSERT INTO item (id, a, p) VALUES (64, 64, 7) ON CONFLICT DO UPDATE SET p = 5",
            "INSERT INTO item (a, p) VALUES (65, 7) ON CONFLICT (id) DO UPDATE SET p = 5",
            "INSERT INTO item (id, a, p) VALUES (NULL, 66, 7) ON CONFLICT (id) DO UPDATE SET p = 5",
            "INSERT INTO item (z, p) VALUES (5, 7) ON CONFLICT DO UPDATE SET p = 5",
            "INSERT INTO strict (a, p) VALUES (5, 7) ON CONFLICT DO UPDATE SET p = 5",
            "INSERT INTO strict (rowid, a, p) VALUES (70, 5, 7) ON CONFLICT DO UPDATE SET p = 5",
            "INSERT INTO kin VALUES (77, 77, 1, 99) ON CONFLICT (id) DO UPDATE SET id = 500",
            "INSERT INTO kin VALUES (78, 78, 1, 99) ON CONFLICT (id) DO UPDATE SET a = 500",
            "INSERT INTO kin VALUES (79, 79, 1, 99) ON CONFLICT (id) DO UPDATE SET rowid = 500",
            "INSERT INTO kin VALUES (80, 80, 1, 99) ON CONFLICT DO UPDATE SET (n, a) = (3, 4)",
            "INSERT INTO kin VALUES (81, 81, 1, 9) ON CONFLICT (id) DO NOTHING ON CONFLICT (a) DO UPDATE SET up = 3",
            "INSERT INTO kin VALUES (82, 82, 1, 9) ON CONFLICT (id) DO UPDATE SET n = 4 ON CONFLICT (a) DO NOTHING",
            "INSERT OR FAIL INTO kin VALUES (83, 83, 1, 99)",
        ],
    )


async def test_replace_of_a_row_without_its_parent_in_the_same_table_is_refused(both: World) -> None:
    """SQLite stores it, where that foreign key is ON DELETE SET NULL; other foreign keys hold, and INSERT."""
    await both.same("INSERT INTO parent VALUES (1)")
    await both.same("INSERT INTO tree VALUES (1, 1, NULL), (2, 2, 1)")
    for sql in (
        "REPLACE INTO tree VALUES (1, 1, 99)",
        "REPLACE INTO tree VALUES (9, 9, 99) RETURNING id",
        "INSERT OR REPLACE INTO tree VALUES (3, 3, 1), (4, 3, 77)",
        "INSERT OR REPLACE INTO tree SELECT id + 10, a + 10, 55 FROM tree",
        "REPLACE INTO leaf VALUES ('a', 'z', 1)",
    ):
        await both.refused(sql, "REPLACE of a row that refers to no row of its own table")
        await both.same_error("INSERT INTO tree VALUES (12, 12, 99)")
        await both.same("BEGIN")
        await both.refused(sql, "REPLACE of a row that refers to no row of its own table")
        await both.same("REPLACE INTO tree VALUES (1, 1, NULL), (3, 4, 3)")
        await both.same("SELECT * FROM tree ORDER BY id")
        await both.same("ROLLBACK")
    await both.same_error("REPLACE INTO leaf VALUES ('a', NULL, 77)")
    await both.same("REPLACE INTO leaf VALUES ('a', 'a', 1)")
    await both.same("SELECT * FROM leaf")


async def test_of_several_checks_the_first_is_named_where_conflicts_are_resolved(both: World) -> None:
    """They are looked at before any key."""
    await _all_fail(
        both,
        [
            "INSERT INTO item (id, z, y) VALUES (70, 0, 11) ON CONFLICT (id) DO NOTHING",
            "INSERT INTO item (id, z, y) VALUES (1, 12, 11) ON CONFLICT (id) DO UPDATE SET z = 5",
            "INSERT INTO item (id, z, y) VALUES (1, 12, 11) ON CONFLICT DO NOTHING",
            "INSERT INTO item (a, z, y) VALUES (1, 0, 0) ON CONFLICT DO UPDATE SET z = 5",
            "INSERT INTO item (a, z, y) VALUES (71, 2, 4), (72, 12, 11) ON CONFLICT (a) DO UPDATE SET z = 5",
            "INSERT INTO item (a, z, y) VALUES (1, 12, 11) ON CONFLICT (id) DO NOTHING ON CONFLICT (a) DO NOTHING",
            "INSERT INTO item (a, z, y) SELECT a, 12, 11 FROM item WHERE true ON CONFLICT (a) DO NOTHING",
            "INSERT INTO word VALUES ('x', 60, 'x') ON CONFLICT (w) DO UPDATE SET n = 1",
            "INSERT INTO word VALUES ('a', 60, 'x') ON CONFLICT DO NOTHING",
            "REPLACE INTO item (a, z, y) VALUES (1, 12, 11)",
            "REPLACE INTO item (a, z, y) VALUES (73, 2, 4), (1, 12, 11) RETURNING id",
            "INSERT OR REPLACE INTO word SELECT w, 60, 'X' FROM word",
            "UPDATE OR REPLACE item SET a = 7, z = 12, y = 11 WHERE id = 1",
        ],
    )
