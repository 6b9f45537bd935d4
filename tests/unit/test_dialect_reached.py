"""Which tables a statement may read or write."""

from __future__ import annotations

import pytest

from cutover.dialect.reached import reached

DDL = (
    "CREATE TABLE users (id INTEGER PRIMARY KEY)",
    "CREATE TABLE posts (id INTEGER PRIMARY KEY, author INTEGER REFERENCES users ON DELETE CASCADE)",
    "CREATE TABLE notes (id INTEGER PRIMARY KEY, post INTEGER REFERENCES posts ON DELETE SET NULL)",
    'CREATE TABLE "odd name" (id INTEGER PRIMARY KEY)',
    "CREATE TABLE log (id INTEGER PRIMARY KEY)",
    "CREATE VIEW written AS SELECT * FROM posts",
    "CREATE VIEW IF NOT EXISTS shown AS SELECT * FROM written",
    "CREATE TRIGGER noted AFTER INSERT ON [odd name] BEGIN INSERT INTO log DEFAULT VALUES; END",
)
TABLES = ("users", "posts", "notes", "odd name", "log")


@pytest.mark.parametrize(
    ("sql", "writes", "expected"),
    [
        ("SELECT 1", False, set()),
        ("SELECT * FROM Users", False, {"users"}),
        ("SELECT * FROM users_of_old", False, set()),
        ("SELECT * FROM shown", False, {"posts"}),
        ("SELECT * FROM `odd name`", False, {"odd name"}),
        ("SELECT * FROM posts", False, {"posts"}),
        ("DELETE FROM users", True, {"users", "posts", "notes"}),
        ("INSERT INTO notes DEFAULT VALUES", True, {"notes", "posts"}),
        ("INSERT INTO 'odd name' DEFAULT VALUES", True, {"odd name", "log"}),
        ("INSERT INTO log DEFAULT VALUES", True, {"odd name", "log"}),
    ],
)
def test_tables_are_found_by_name_view_reference_and_trigger(sql: str, writes: bool, expected: set[str]) -> None:
    assert reached(sql, DDL, TABLES, writes=writes) == expected
    for table in TABLES:
        assert reached(sql, DDL, [table], writes=writes) == expected & {table}
