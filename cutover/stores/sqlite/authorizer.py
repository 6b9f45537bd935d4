"""What SQLite itself is told to refuse of applications' statements.

`schema/sqltext.py` refuses by text what no application may do, and says why. This is the second wall, for whatever
gets past the first: SQLite asks here about each thing that a statement would do, under the names that it has found,
through views and triggers as well.

An authorizer is set once for a connection, because setting it again expires every prepared statement. Applications
share connections with cutover, so a mark on the thread says whose statement is being prepared or run; a connection
has one thread. A text that was prepared for cutover before is not asked about again when an application sends the
same one, which is why the first wall stays.
"""

from __future__ import annotations

import sqlite3
import threading

from cutover.schema import pragmas
from cutover.schema.hiding import OWN


class _Asked(threading.local):
    """Of the statement that this thread is at."""

    of_application = False
    temporary = False
    """Whether temporary tables may be made and dropped: the connection is a stream's own for now."""
    dropped: str | None = None
    """The table that it drops; the triggers of the table go with it."""
    reason = ""


_asked = _Asked()

_WRITES = (sqlite3.SQLITE_INSERT, sqlite3.SQLITE_UPDATE, sqlite3.SQLITE_DELETE)
_NAMING = frozenset(
    (
        *(
            getattr(sqlite3, f"SQLITE_{verb}_{kind}")
            for verb in ("CREATE", "DROP")
            for kind in ("TABLE", "INDEX", "TRIGGER", "VIEW", "VTABLE")
        ),
        *(sqlite3.SQLITE_ALTER_TABLE, sqlite3.SQLITE_SAVEPOINT),
    )
)
_TEMP_ONLY = frozenset(
    getattr(sqlite3, f"SQLITE_{verb}_TEMP_{kind}") for verb in ("CREATE", "DROP") for kind in ("TRIGGER", "VIEW")
)
_OTHERS = frozenset(
    getattr(sqlite3, f"SQLITE_{verb}_{kind}") for verb in ("CREATE", "DROP") for kind in ("TRIGGER", "VIEW")
)
_OF_TEMPORARY_TABLES = frozenset(
    getattr(sqlite3, f"SQLITE_{verb}_TEMP_{kind}") for verb in ("CREATE", "DROP") for kind in ("TABLE", "INDEX")
)
_FILES = {sqlite3.SQLITE_ATTACH: "ATTACH and VACUUM", sqlite3.SQLITE_DETACH: "DETACH"}
_NO_TEMPORARY = "Temporary views and triggers are not available through cutover: streams share connections."
_NOT_HERE = "A temporary table is not available outside of a transaction: streams share connections."
_FUNCTIONS = frozenset(("load_extension", "fts3_tokenizer"))


def guard(connection: sqlite3.Connection) -> None:
    """Have this connection ask. Once, before anything is prepared that matters."""
    connection.set_authorizer(_authorize)


def begin_application() -> None:
    """From here on this thread prepares and runs an application's statement."""
    _asked.of_application, _asked.dropped, _asked.reason = True, None, ""


def end_application() -> None:
    """It does no longer."""
    _asked.of_application = False


def allow_temporary(*, allowed: bool) -> None:
    """Whether the statements that follow on this thread may make and drop temporary tables."""
    _asked.temporary = allowed


def refused_because() -> str:
    """Why the last statement of an application was refused here; empty if it was not."""
    return _asked.reason


def _authorize(action: int, first: str | None, second: str | None, database: str | None, via: str | None) -> int:
    if not _asked.of_application or action == sqlite3.SQLITE_READ:
        return sqlite3.SQLITE_OK
    of_tables = action in _OF_TEMPORARY_TABLES or (database == "temp" and action in _NAMING)
    if action in _TEMP_ONLY or (database == "temp" and action in _OTHERS) or (of_tables and not _asked.temporary):
        reason = _NO_TEMPORARY if not of_tables or action in _OTHERS else _NOT_HERE
    else:
        reason = _reason(action, first or "", second or "", via or "")
    if not reason:
        untold = action == sqlite3.SQLITE_PRAGMA and second is not None and (first or "").lower() == pragmas.ONLY_TOLD
        return sqlite3.SQLITE_IGNORE if untold else sqlite3.SQLITE_OK  # streams share connections
    _asked.reason = _asked.reason or reason
    return sqlite3.SQLITE_DENY


def _reason(action: int, first: str, second: str, via: str) -> str:
    """Why not; empty if it may. `via` is the innermost trigger or view that wants it."""
    if action in _WRITES:
        if first == "sqlite_dbpage" or (_own(first) and not _own(via)):
            return f"{first} cannot be written by applications."
    elif action == sqlite3.SQLITE_PRAGMA:
        if not pragmas.allowed(first.lower(), second):
            return f"PRAGMA {first} cannot be set through cutover."
    elif action == sqlite3.SQLITE_FUNCTION:
        if second.lower() in _FUNCTIONS:
            return f"{second}() is not available through cutover."
    elif action in _FILES:
        return f"{_FILES[action]} is not available through cutover."
    elif action in _NAMING or action in _OF_TEMPORARY_TABLES:
        return _of_schema(action, first, second)
    return ""


def _of_schema(action: int, first: str, second: str) -> str:
    if action == sqlite3.SQLITE_DROP_TABLE:
        _asked.dropped = first
    elif action == sqlite3.SQLITE_DROP_TRIGGER and second == _asked.dropped:
        return ""
    if not (_own(first) or _own(second)):
        return ""
    return f"Names that begin with {OWN} belong to cutover and cannot be written by applications."


def _own(name: str) -> bool:
    return name.lower().startswith(OWN)
