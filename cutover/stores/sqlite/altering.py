"""Schema changes of applications through the front door, where capture would be in their way (hazard 24)."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from functools import lru_cache, partial

from cutover.schema.createsql import unquote
from cutover.schema.objects_wanted import SchemaObject, missing, read_objects, steps_to
from cutover.schema.sqltokens import Token, tokens
from cutover.stores.sqlite.connection import in_transaction
from cutover.stores.sqlite.triggers import CAPTURE


@lru_cache(maxsize=64)
def loses_column(sql: str) -> str | None:
    """The table that ALTER TABLE ... DROP COLUMN alters; None for any other statement."""
    words = list(tokens(sql))
    if [word.text.upper() for word in words[:2]] != ["ALTER", "TABLE"]:
        return None
    at = 4 if len(words) > 4 and words[3].type == "dot" else 2
    if len(words) < at + 3 or words[at + 1].text.upper() != "DROP":
        return None
    return _name(words[at])


def take_over(connection: sqlite3.Connection, changes: Sequence[SchemaObject]) -> list[str]:
    """Make the schema changes that are missing here. Returns the names of tables that were made anew, empty.

    Outside of any transaction: a dropped table's rows must not take others with them by foreign keys.
    """
    connection.execute("PRAGMA foreign_keys = OFF")
    try:
        return in_transaction(connection, partial(_taken_over, changes))
    finally:
        connection.execute("PRAGMA foreign_keys = ON")


def _taken_over(changes: Sequence[SchemaObject], connection: sqlite3.Connection) -> list[str]:
    now = read_objects(connection)
    for statement in steps_to(now, changes):
        connection.execute(statement)
    return [each.name for each in missing(now, changes) if each.kind == "table"]


def lay_capture_aside(connection: sqlite3.Connection, table: str) -> None:
    """Drop the table's capture triggers, which name the column and so have SQLite refuse to drop it.

    In the statement's own savepoint, so they come back with a rollback. Once it is committed the watch finds them
    missing, makes them anew and has the whole table copied: what was written in between is in that copy.
    """
    found = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'trigger' AND lower(tbl_name) = lower(?)", (table,)
    ).fetchall()
    for (name,) in found:
        if name.startswith(CAPTURE):
            connection.execute(f"DROP TRIGGER {name}")


def _name(token: Token) -> str:
    return unquote(token.text) if token.type in ("quoted", "string") else token.text
