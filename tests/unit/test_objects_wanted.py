"""The way from one SQLite schema to another, as text."""

from __future__ import annotations

import sqlite3

import pytest

from cutover.schema.objects_wanted import changes_between, objects_of, read_objects, steps_to

BEFORE = ("CREATE TABLE old (id INTEGER PRIMARY KEY)", "CREATE INDEX old_id ON old (id)")


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
    ],
)
def test_sqlite_lists_what_is_taken_over_in_the_order_in_which_it_was_made(made: list[str]) -> None:
    wanted, follower = sqlite3.connect(":memory:"), sqlite3.connect(":memory:")
    for statement in (*BEFORE, *made):
        wanted.execute(statement)
    for statement in BEFORE:
        follower.execute(statement)
    for step in steps_to(read_objects(follower), changes_between(objects_of(BEFORE), read_objects(wanted))):
        follower.execute(step)
    listing = "SELECT type, name FROM sqlite_master"
    assert follower.execute(listing).fetchall() == wanted.execute(listing).fetchall()
