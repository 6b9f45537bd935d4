"""What SQLite remembers for a connection, where several streams use it: each batch begins with its own stream's past.

A statement that changes a row in place of inserting one (ON CONFLICT DO UPDATE), or inserts into a table without rowids
or into a view, leaves last_insert_rowid() as it was: that of whoever wrote before. So the connection is told the
stream's own first, where that can matter. Nothing tells it changes() and total_changes(): they are written into the
texts that ask for them.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Sequence
from dataclasses import replace

from cutover.errors import StatementError
from cutover.model.statement import Past, Statement, StatementResult, Step
from cutover.schema.memories import remembered
from cutover.schema.sqltext import Shape, StatementKind, inspect
from cutover.stores.sqlite.undisturbed import asked

TABLE = "_cutover_past"
_MAKE = f"CREATE TEMP TABLE IF NOT EXISTS {TABLE} (last INTEGER PRIMARY KEY)"
_TELL = f"REPLACE INTO temp.{TABLE} VALUES (?)"
_KINDS = "SELECT type = 'view' OR wr FROM pragma_table_list WHERE schema = 'main' AND lower(name) = ?"


class _Seen(threading.local):
    """Of this thread's connection."""

    db: sqlite3.Connection | None = None
    version = -1
    last = 0
    """Its last_insert_rowid() before the statement that is next."""
    rowless: dict[str, bool]


_seen = _Seen()


def prepare(db: sqlite3.Connection) -> None:
    """Make what `begin` needs. Once for a connection that writes."""
    db.execute(_MAKE)


def begin(db: sqlite3.Connection, batches: Sequence[Sequence[Step]]) -> Following | None:
    """A stream's batches are next, one after the other. Returns what is to be told of what they do, if anything is."""
    past = batches[0][0].statement.past
    if past is not None or any(inspect(step.statement.sql).upserts for steps in batches for step in steps):
        last = past.last_insert_rowid if past is not None else 0
        try:
            db.execute(_TELL, (last,))
        except sqlite3.OperationalError:  # a connection that cannot write, which inserts nothing either
            return None
        _seen.last = last
    return None if past is None else Following(replace(past))


class Following:
    """The stream's past as it goes on within a batch."""

    def __init__(self, past: Past) -> None:
        self._past = past

    def told(self, statement: Statement) -> Statement:
        """With the numbers that it asks for, where the connection has others."""
        if not inspect(statement.sql).remembers:
            return statement
        return replace(statement, sql=remembered(statement.sql, None, self._past.changes, self._past.total_changes))

    def note(self, statement: Statement, result: StatementResult | None, error: StatementError | None) -> None:
        """What came of it."""
        if inspect(statement.sql).kind is not StatementKind.WRITE:
            return
        if result is not None:
            self._past.note(result)
        elif error is not None:
            self._past.failed(error)


def look(db: sqlite3.Connection) -> None:
    """See whether tables have changed, and where the connection's last_insert_rowid() is. Before statements of
    applications are run, and behind each change of theirs to the schema."""
    version = asked(db, "PRAGMA schema_version")[0]
    _seen.last = asked(db, "SELECT last_insert_rowid()")[0]
    if _seen.db is not db or _seen.version != version:
        _seen.db, _seen.version, _seen.rowless = db, version, {}


def inserted(db: sqlite3.Connection, cursor: sqlite3.Cursor, into: str) -> int | None:
    """The last rowid that an INSERT gave; None if rows of this table have none."""
    if _seen.db is not db:
        look(db)
    rowless = _seen.rowless.get(into)
    if rowless is None:
        found = db.execute(_KINDS, (into,)).fetchone()
        rowless = _seen.rowless[into] = found is not None and bool(found[0])
    _seen.last = cursor.lastrowid or 0
    return None if rowless else cursor.lastrowid


def note_failed(db: sqlite3.Connection, error: StatementError, shape: Shape) -> None:
    """A statement failed at a row: tell how many before it stay, as they do with OR FAIL, and the last rowid that it
    gave, which SQLite remembers of rows that it takes back, too."""
    if shape.kind is not StatementKind.WRITE:
        return
    error.changes, last = asked(db, "SELECT changes(), last_insert_rowid()")
    if shape.into and (error.changes or last != _seen.last):
        error.last_insert_rowid = last
    _seen.last = last
