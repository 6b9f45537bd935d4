"""Declared types of columns, which Python's sqlite3 does not tell of a result."""

from __future__ import annotations

import sqlite3

_Types = dict[str, str | None]


class DeclaredTypes:
    """What CREATE TABLE says of each column, looked up once a schema version. Shared by threads.

    Not to be asked on a connection with uncommitted DDL: its schema version may come again with another schema.
    """

    def __init__(self) -> None:
        self._known: tuple[int, dict[str, _Types | None]] = (-1, {})

    def of(
        self, db: sqlite3.Connection, plain: tuple[str, tuple[str, ...]], width: int
    ) -> tuple[str | None, ...] | None:
        """Declared types of the result columns of a plain query; None if they are not certain."""
        table, columns = plain
        version = db.execute("PRAGMA schema_version").fetchone()[0]
        known, tables = self._known
        if known != version:
            tables = {}
            self._known = (version, tables)
        if table not in tables:
            tables[table] = _read(db, table)
        types = tables[table]
        if types is None:
            return None
        found: list[str | None] = []
        for column in columns:
            found += types.values() if column == "*" else [types.get(column)]
        return tuple(found) if len(found) == width else None


def _read(db: sqlite3.Connection, table: str) -> _Types | None:
    """Visible columns in order; None for views and virtual tables, whose results have other types or none."""
    kind = db.execute("SELECT type, sql FROM sqlite_master WHERE lower(name) = ?", (table,)).fetchone()
    if kind is None or kind[0] != "table" or str(kind[1]).upper().startswith("CREATE VIRTUAL"):
        return None
    rows = db.execute("SELECT lower(name), type FROM pragma_table_xinfo(?) WHERE hidden <> 1", (table,))
    return {name: declared or None for name, declared in rows}
