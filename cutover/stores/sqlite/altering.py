"""Schema changes of applications through the front door, where capture would be in their way (hazard 24)."""

from __future__ import annotations

import sqlite3
from functools import lru_cache

from cutover.schema.createsql import unquote
from cutover.schema.sqltokens import Token, tokens
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
