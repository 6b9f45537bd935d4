"""The way from one SQLite schema to another, as text."""

from __future__ import annotations

import sqlite3

import pytest

from cutover.schema.objects_wanted import (
    SchemaObject,
    changed_by,
    changes_between,
    memory,
    read_objects,
    steps_to,
    texts,
)

BEFORE = (
    "CREATE TABLE old (id INTEGER PRIMARY KEY)",
    "CREATE INDEX old_id ON old (id)",
    "CREATE TABLE pair (a, b)",
    "CREATE INDEX pair_a ON pair (a)",
    "CREATE INDEX pair_b ON pair (b)",
)


@pytest.mark.parametrize(
    "made",
    [
        ["CREATE TABLE a (x)", "CREATE INDEX a_x ON a (x)", "CREATE TABLE b (y UNIQUE)", "CREATE INDEX b_y ON b (y)"],
        [
            "CREATE VIEW v AS SELECT x FROM a",
            "CREATE TABLE a (x)",
            "CREATE INDEX old_2 ON old (id)",
            "CREATE TABLE c (z)",
        ],
        ["DROP TABLE old", "CREATE TABLE a (x)", "CREATE INDEX a_x ON a (x)", "CREATE TABLE old (id)"],
        ["CREATE TABLE a (x)", "CREATE INDEX a_x ON a (x)", "ALTER TABLE a RENAME TO z", "CREATE TABLE a (x)"],
        [
            "DROP TABLE pair",
            "CREATE TABLE pair (b, a, UNIQUE (b, a))",
            "CREATE INDEX pair_c ON pair (a, b)",
            "CREATE INDEX pair_b ON pair (b)",
            "CREATE UNIQUE INDEX pair_d ON pair (b)",
            "CREATE INDEX pair_a ON pair (a)",
        ],
        ["ALTER TABLE pair ADD COLUMN c", "CREATE INDEX pair_c ON pair (c)"],
        ["ALTER TABLE pair ADD COLUMN c", "DROP INDEX pair_a", "CREATE INDEX pair_a ON pair (a)"],
        ["CREATE TABLE a (x)", "ANALYZE", "CREATE TABLE c (z)"],
        ["ANALYZE", "DROP TABLE sqlite_stat1", "CREATE TABLE c (z)"],
    ],
)
def test_sqlite_lists_what_is_taken_over_in_the_order_in_which_it_was_made(made: list[str]) -> None:
    wanted, follower = sqlite3.connect(":memory:"), sqlite3.connect(":memory:")
    for statement in BEFORE:
        wanted.execute(statement)
        follower.execute(statement)
    noted: dict[tuple[str, str], SchemaObject] = {}
    for statement in made:
        was = read_objects(wanted)
        wanted.execute(statement)
        for each in changes_between(was, read_objects(wanted)):
            noted.pop(each.key, None)
            noted[each.key] = each
    meanwhile = memory(texts(changed_by(read_objects(follower), noted.values())))
    for step in steps_to(read_objects(follower), noted.values()):
        follower.execute(step)
    for listing in ("SELECT type, name FROM sqlite_master", "PRAGMA index_list(pair)"):
        assert follower.execute(listing).fetchall() == wanted.execute(listing).fetchall()
    assert meanwhile.execute(listing).fetchall() == wanted.execute(listing).fetchall(), "before SQLite has it"
