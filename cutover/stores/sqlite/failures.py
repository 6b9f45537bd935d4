"""What SQLite's errors mean to a client. Everything here runs on that connection's own thread."""

from __future__ import annotations

import sqlite3

from cutover.errors import Fenced, StatementError
from cutover.model.statement import UNDONE
from cutover.schema.sqltext import StatementKind, inspect, only_statement
from cutover.stores.sqlite import past
from cutover.stores.sqlite.authorizer import refused_because
from cutover.stores.sqlite.connection import compiled_anew
from cutover.stores.sqlite.position import placed

_PRIMARY_CODES = {
    getattr(sqlite3, f"SQLITE_{name}"): f"SQLITE_{name}"
    for name in (
        *("INTERNAL", "PERM", "ABORT", "BUSY", "LOCKED", "NOMEM", "READONLY", "INTERRUPT", "IOERR", "CORRUPT"),
        *("NOTFOUND", "FULL", "CANTOPEN", "PROTOCOL", "EMPTY", "SCHEMA", "TOOBIG", "CONSTRAINT", "MISMATCH"),
        *("MISUSE", "NOLFS", "FORMAT", "RANGE", "NOTADB"),
    )
}
PARSE_ERRORS = ("near ", "incomplete input", "unrecognized token", "the query contains a null character")
INPUT_ERRORS = ("no such column", "no such function", "wrong number of arguments", "misuse of", "ambiguous column")

_FENCE_MARK = "cutover: "


def busy(fenced: Fenced) -> StatementError:
    """What a client is told of a fence: not executed, try again."""
    return StatementError(fenced.message, "SQLITE_BUSY", retry=True)


def translate(error: Exception) -> StatementError | Fenced:
    """A driver's error as what it means to a client, with SQLite's own text."""
    text = str(error)
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        parse = text.startswith(PARSE_ERRORS)
        return StatementError(text, "SQL_PARSE_ERROR" if parse else "SQLITE_UNKNOWN")
    primary = code & 0xFF
    if primary == sqlite3.SQLITE_AUTH or text.startswith("not authorized"):  # of a function it is SQLITE_ERROR
        return StatementError(refused_because() or text, "SQLITE_AUTH")
    if code == sqlite3.SQLITE_CONSTRAINT_TRIGGER and text.startswith(_FENCE_MARK):
        return Fenced(text)
    if primary == sqlite3.SQLITE_ERROR:
        if text.startswith(PARSE_ERRORS):
            return StatementError(text, "SQL_PARSE_ERROR")
        return StatementError(text, "SQL_INPUT_ERROR" if text.startswith(INPUT_ERRORS) else "SQLITE_UNKNOWN")
    name = _PRIMARY_CODES.get(primary, "SQLITE_UNKNOWN")
    return StatementError(text, name, retry=name in ("SQLITE_BUSY", "SQLITE_LOCKED"))


def _compiles_as_a_write(db: sqlite3.Connection, sql: str) -> bool:
    """Whether a value was wrong (`malformed JSON`), and not the statement: that can be compiled then."""
    shape = inspect(sql)
    if shape.kind is not StatementKind.WRITE or shape.explain:
        return False
    try:
        db.execute(compiled_anew(f"EXPLAIN {only_statement(sql)}"), (None,) * len(shape.params)).fetchall()
    except (sqlite3.Error, sqlite3.Warning, ValueError):
        return False
    return True


def explained(error: Exception, db: sqlite3.Connection, sql: str) -> StatementError | Fenced:
    """What it means to the client, and where in the text it is if that can be told."""
    found = translate(error)
    if isinstance(found, StatementError):
        found.at_a_row = found.code == "SQLITE_UNKNOWN" and _compiles_as_a_write(db, sql)
        if found.code in UNDONE or found.at_a_row:
            past.note_failed(db, found, inspect(sql))
    if isinstance(found, StatementError) and found.code in ("SQL_PARSE_ERROR", "SQL_INPUT_ERROR"):
        return placed(found, db, sql)
    return found
