"""Whether the schema is the one that the tables were mapped from, asked inside the read that depends on it."""

from __future__ import annotations

import sqlite3

from cutover.errors import SchemaChanged
from cutover.model.table import Tables

_GONE = ("no such table", "no such column")


class SchemaWatch:
    """Looks at the CREATE texts only when the schema's number is another than the last time. Shared by threads."""

    def __init__(self) -> None:
        self._right_at: tuple[int, Tables] | None = None

    def begin(self, connection: sqlite3.Connection, tables: Tables) -> None:
        """Begin a read transaction. Raises `SchemaChanged`, and leaves it to the caller to end the transaction."""
        begin_read(connection)
        version = connection.execute("PRAGMA schema_version").fetchone()[0]
        known = self._right_at
        if known is None or known[0] != version or known[1] is not tables:
            demand_mapped(connection, tables)
            self._right_at = (version, tables)


def begin_read(connection: sqlite3.Connection) -> None:
    """Begin, and fix what is seen."""
    connection.execute("BEGIN")
    connection.execute("SELECT rootpage FROM sqlite_master LIMIT 1").fetchall()  # BEGIN alone fixes nothing


def demand_standing(error: sqlite3.OperationalError) -> None:
    """Raise `SchemaChanged` if `error` says that a table or column is gone; SQLite has no code of its own for that."""
    if str(error).startswith(_GONE):
        raise SchemaChanged(f"SQLite's schema changed while its data were read ({error}).") from error


def demand_mapped(connection: sqlite3.Connection, tables: Tables) -> None:
    """Raise `SchemaChanged` if a table is not what it was when it was mapped."""
    texts = dict(connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'").fetchall())
    changed = [table.name for table in tables if table.sql and texts.get(table.name) != table.sql]
    if changed:
        raise SchemaChanged(f"{', '.join(changed)} on SQLite changed and is mapped anew.")
