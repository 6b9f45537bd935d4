"""Declared types of columns, which Python's sqlite3 does not tell of a result."""

from __future__ import annotations

import sqlite3

from cutover.schema.sqltext import Shape
from cutover.stores.sqlite.schemacopy import SchemaCopies, Types

_Columns = dict[str, str | None]
_REMEMBERED = 4096


class DeclaredTypes:
    """What CREATE TABLE says of each result column. Shared by threads.

    Queries that show at a glance which columns of one table they give are answered from a list of its columns; for all
    others the schema's copy is asked once a text. Not to be asked on a connection with uncommitted DDL: its schema
    version may come again with another schema.
    """

    def __init__(self, copies: SchemaCopies) -> None:
        self._copies = copies
        self._known = _Known(-1)

    def of(self, db: sqlite3.Connection, sql: str, shape: Shape, width: int) -> Types | None:
        """Declared types of the result columns of a statement; None if they are not certain, or there are none."""
        if not (shape.plain or shape.returning or (shape.verb == "SELECT" and shape.tables)):
            return None
        version = db.execute("PRAGMA schema_version").fetchone()[0]
        known = self._known
        if known.version != version:
            known = self._known = _Known(version)
        if shape.plain is not None:
            found = _plain(db, known, *shape.plain)
            if found is not None:
                return found if len(found) == width else None
        if sql not in known.texts:
            if len(known.texts) >= _REMEMBERED:
                known.texts.clear()
            known.texts[sql] = self._copies.of(db, version).types(sql, shape, width)
        return known.texts[sql]


class _Known:
    """What was found for one version of the schema."""

    def __init__(self, version: int) -> None:
        self.version = version
        self.tables: dict[str, _Columns | None] = {}
        self.texts: dict[str, Types | None] = {}


def _plain(db: sqlite3.Connection, known: _Known, table: str, columns: tuple[str, ...]) -> Types | None:
    if table not in known.tables:
        known.tables[table] = _read(db, table)
    types = known.tables[table]
    if types is None:
        return None
    if not all(column == "*" or column in types for column in columns):
        return None  # one is the rowid, or a string in double quotes
    found: list[str | None] = []
    for column in columns:
        found += types.values() if column == "*" else [types[column]]
    return tuple(found)


def _read(db: sqlite3.Connection, table: str) -> _Columns | None:
    """Visible columns in order; None for views and virtual tables, whose results have other types or none."""
    kind = db.execute("SELECT type, sql FROM sqlite_master WHERE lower(name) = ?", (table,)).fetchone()
    if kind is None or kind[0] != "table" or str(kind[1]).upper().startswith("CREATE VIRTUAL"):
        return None
    rows = db.execute("SELECT lower(name), type FROM pragma_table_xinfo(?) WHERE hidden <> 1", (table,))
    return {name: declared or None for name, declared in rows}
