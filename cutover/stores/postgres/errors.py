"""The one gate through which the driver's errors become ours. Only messages cross: details hold row values."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg

from cutover.errors import CutoverError, Fenced, StoreError, StoreUnavailable

_CLASSES: dict[str, str] = {
    "08": "the connection broke",
    "28": "the login was refused; check the role and password in postgres.url",
    "3D": "the database does not exist; check postgres.url",
    "40": "it asks for the transaction to be repeated",
    "53": "it is out of connections, memory or disk space",
    "55P03": "a lock was not had in time",
    "57": "it is shutting down, starting, or ended the statement",
    "58": "its system failed",
    "25P03": "it ended an idle transaction",
}
"""SQLSTATE, or its first two characters, and what it says about the server: away, or better tried again."""

ROW_FAULTS = ("22", "23", "54", "P0001")
"""Classes of errors that belong to the rows of a statement, not to the statement."""

GONE = ("42P01", "42703", "42704", "XX000")
"""Codes with which functions of the catalog speak of an object that is in the snapshot and was dropped since."""

LOCK_NOT_AVAILABLE = "55P03"
UNIQUE_VIOLATION = ("23505", "23P01")


class PostgresRefused(StoreError):
    """The server refused a statement. `sqlstate` says why."""

    def __init__(self, message: str, sqlstate: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.sqlstate = sqlstate

    @property
    def of_rows(self) -> bool:
        """Whether other rows might have passed."""
        return self.sqlstate.startswith(ROW_FAULTS)


class PostgresAway(StoreUnavailable):
    """The server is away, or asks to try again; `sqlstate` is empty where no server answered."""

    def __init__(self, message: str, sqlstate: str = "", *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.sqlstate = sqlstate


def translate(error: BaseException) -> CutoverError:
    """Our error for one of the driver's, of the socket's, or a timeout."""
    if isinstance(error, CutoverError):
        return error
    if isinstance(error, asyncpg.InvalidCachedStatementError | asyncpg.OutdatedSchemaCacheError):
        return PostgresAway("PostgreSQL's schema changed under a prepared statement.")
    if isinstance(error, asyncpg.PostgresError):
        return _from_server(error)
    if isinstance(error, TimeoutError):
        return PostgresAway("PostgreSQL did not answer in time.")
    if isinstance(error, OSError):
        return PostgresAway(f"PostgreSQL cannot be reached: {error.strerror or type(error).__name__}.")
    return PostgresAway(f"The connection to PostgreSQL broke: {error}")


def _from_server(error: asyncpg.PostgresError) -> CutoverError:
    sqlstate = str(error.sqlstate or "")
    message = str(getattr(error, "message", None) or error.args[0])
    if sqlstate == "25006" and "cutover" in message:
        return Fenced(message)
    reason = _CLASSES.get(sqlstate) or _CLASSES.get(sqlstate[:2])
    if reason:
        return PostgresAway(f"PostgreSQL: {message} ({sqlstate}): {reason}.", sqlstate)
    hint = "The service's role must own the mirrored tables and schema cutover." if sqlstate == "42501" else ""
    return PostgresRefused(f"PostgreSQL: {message} ({sqlstate})", sqlstate, hint=hint)


DRIVER_ERRORS = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)
"""What the driver raises on purpose. `TimeoutError` is an `OSError`."""


@contextmanager
def gate() -> Iterator[None]:
    """Errors of the driver leave this block as `CutoverError`s."""
    try:
        yield
    except DRIVER_ERRORS as error:
        raise translate(error) from None
