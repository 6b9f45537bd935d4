"""The one gate through which Postgres's errors become SQLite's: codes and message texts that applications match on."""

from __future__ import annotations

import re
import traceback

import asyncpg

from cutover.dialect.catalog import Catalog
from cutover.dialect.metering import AnswerTooLarge
from cutover.dialect.typed import Refused
from cutover.errors import CutoverError, Fenced, StatementError
from cutover.logs import get_logger
from cutover.model.statement import StatementResult
from cutover.model.table import Table, UniqueIndex

_log = get_logger("front")

SERIALIZATION = ("40001", "40P01")
_LOST_STATES = ("57P01", "57P02", "57P03", "57P05", "25P03")

_OVERFLOW = "integer overflow"
"""SQLite's own words, of abs() and sum(): raised by our functions."""
_MISMATCH = "datatype mismatch"
"""The same, of what is no integer for an INTEGER PRIMARY KEY."""

_RIGID = "cannot store "
"""How SQLite begins to say that a STRICT table does not take a value."""

_LAST_KEY = re.compile('^nextval: reached maximum value of sequence "(.+)"')
_NARROW = re.compile(r"(?:^|type )(smallint|integer|real|numeric)\b")
"""In what Postgres says of a number out of range: a type that holds less than SQLite's columns do."""

_BY_STATE = {
    "42P01": ("", "SQLITE_SCHEMA"),
    "42703": ("", "SQLITE_SCHEMA"),
    "57014": ("interrupted", "SQLITE_INTERRUPT"),
    "55P03": ("database is locked", "SQLITE_BUSY"),
    "2200H": ("the automatic keys of the table are used up on PostgreSQL", "SQLITE_FULL"),
    "53100": ("database or disk is full", "SQLITE_FULL"),
    "22032": ("", "SQLITE_UNKNOWN"),  # raised by our own functions, in SQLite's words
    "22021": ("text with a NUL character or invalid UTF-8 cannot be stored on PostgreSQL", "SQLITE_MISMATCH"),
    "22P05": ("text with a NUL character or invalid UTF-8 cannot be stored on PostgreSQL", "SQLITE_MISMATCH"),
    "22003": ("a number is too large for PostgreSQL, where SQLite would go on with a real", "SQLITE_MISMATCH"),
    "22001": ("a text is longer than its column on PostgreSQL allows", "SQLITE_TOOBIG"),
    "54000": ("a value is too large for PostgreSQL", "SQLITE_TOOBIG"),
    "CUT01": (
        "LIMIT between rows that ORDER BY does not tell apart, where only SQLite knows which come first, has no "
        "translation for Postgres. Add a key to ORDER BY; or have any of them taken, by front.limit_ties.",
        "SQL_NOT_TRANSLATABLE",
    ),
    "CUT02": (
        "A column beside aggregates that is not grouped by, where only SQLite knows from which of the rows it is, has "
        "no translation for Postgres. Group by it, or take its min() or max(); or have any of them taken, by "
        "front.limit_ties.",
        "SQL_NOT_TRANSLATABLE",
    ),
    "CUT03": (
        "A window that goes by the order of rows which its ORDER BY does not tell apart, where only SQLite knows which "
        "come first, has no translation for Postgres. Add a key to its ORDER BY; or have them in any order, by "
        "front.limit_ties.",
        "SQL_NOT_TRANSLATABLE",
    ),
    "CUT04": ("database or disk is full", "SQLITE_FULL"),
    "CUT05": (
        "An UPDATE of an AUTOINCREMENT key to 9223372036854775807, behind which SQLite gives no other, has no "
        "translation for Postgres. Give it a lower one, or insert the row with it.",
        "SQL_NOT_TRANSLATABLE",
    ),
    "21000": ("the statement meets the same row twice, which PostgreSQL refuses", "SQLITE_CONSTRAINT"),
}


class Lost(CutoverError):
    """The connection broke. Whether the statement in flight was executed is for the caller to say."""

    code = "lost"
    retry = True


class Conflict(CutoverError):
    """The transaction met another one and was rolled back by Postgres; it may be repeated as a whole."""

    code = "conflict"
    retry = True


class Halfway(StatementError):
    """A row failed, and those before it stay."""

    @classmethod
    def of(cls, failure: CutoverError, done: StatementResult) -> Halfway:
        """The same failure, after which the transaction goes on with what was done."""
        made = cls(failure.message, failure.code)
        made.changes, made.last_insert_rowid = done.affected, done.last_insert_rowid
        return made


class Unreadable(StatementError):
    """Postgres answered, and nobody can read it. The connection is as good as before, and nothing is committed yet
    unless the statement stood alone."""


def translate_failure(error: BaseException, catalog: Catalog) -> CutoverError:
    """What a driver's error means: `StatementError`, `Fenced`, `Conflict` or `Lost`."""
    if isinstance(error, CutoverError):
        return error
    if not isinstance(error, asyncpg.PostgresError):
        return _of_client(error)
    state = str(error.sqlstate or "")
    message = str(getattr(error, "message", None) or error)
    if state == "25006":
        return Fenced(message)
    if state in SERIALIZATION:
        return Conflict("The transaction met another one.")
    if state.startswith("08") or state in _LOST_STATES:
        return Lost("The connection to PostgreSQL broke.")
    if state.startswith("23"):
        return _of_constraint(error, state, catalog)
    if state in _BY_STATE:
        text, code = _by_state("CUT04" if _is_past_all(message, catalog) else state, message)
        found = StatementError(text or message, code, retry=code == "SQLITE_BUSY")
        found.at_a_row = code == "SQLITE_UNKNOWN"
        return found
    if state == "0A000" and message.startswith("FULL JOIN"):
        return StatementError(
            "A FULL JOIN on more than equality has no translation for Postgres.", "SQL_NOT_TRANSLATABLE"
        )
    if state.startswith("53"):
        return StatementError(f"PostgreSQL is out of resources: {message}", "SQLITE_BUSY", retry=True)
    if message == _MISMATCH:
        return StatementError(message, "SQLITE_MISMATCH")
    if state.startswith("22"):
        return _of_value(message, state)
    return StatementError(f"PostgreSQL: {message} ({state})", "SQLITE_UNKNOWN")


def _is_past_all(message: str, catalog: Catalog) -> bool:
    """Whether it is the sequence of an AUTOINCREMENT that has given its last key. Others find a free one on SQLite."""
    last = _LAST_KEY.search(message)
    named = ((table, catalog.sequences.get(table.name) or "") for table in catalog.tables.values())
    return last is not None and any(
        table.autoincrement and sequence.rpartition(".")[2].strip('"') == last[1] for table, sequence in named
    )


def _of_value(message: str, state: str) -> StatementError:
    """A value that has no place: our own functions say which in words of theirs, or in SQLite's."""
    if state == "22P02" and message.startswith(_RIGID):
        return StatementError(message, "SQLITE_CONSTRAINT")
    own = message if state == "22P02" and message.endswith("PostgreSQL") else f"a value does not fit ({state})"
    return StatementError(f"datatype mismatch: {own}", "SQLITE_MISMATCH")


def _by_state(state: str, message: str) -> tuple[str, str]:
    """Text and code of a failure that is known by its state."""
    if message == _OVERFLOW:
        return message, "SQLITE_UNKNOWN"
    text, code = _BY_STATE[state]
    if code == "SQLITE_SCHEMA":  # it was translated for a table, or a column, that somebody else has dropped
        text = (
            f"database schema has changed: PostgreSQL says {message!r}. What is changed there without cutover is known "
            "within a second or so; repeat the statement then."
        )
    if state == "22003" and (narrow := _NARROW.search(message)):
        text = (
            f"a number is too large for PostgreSQL's type {narrow[1]}, which holds less than SQLite's; "
            "where a column has it, ALTER TABLE ... ALTER COLUMN ... TYPE on PostgreSQL makes room"
        )
    return text, code


def _of_client(error: BaseException) -> CutoverError:
    """An error that no server sent: of the driver before it sent anything, or of a broken connection."""
    if isinstance(error, AnswerTooLarge):
        return error.told
    if isinstance(error, asyncpg.DataError):
        return StatementError(f"datatype mismatch: {error.args[0]}", "SQLITE_MISMATCH")
    if isinstance(error, asyncpg.InterfaceError) and "connection" not in str(error):
        return StatementError(f"The statement cannot be sent to PostgreSQL: {error}", "SQLITE_UNKNOWN")
    if isinstance(error, (OSError, asyncpg.InterfaceError, asyncpg.InternalClientError)):
        return Lost("The connection to PostgreSQL broke.")
    if isinstance(error, ValueError):
        return Unreadable("PostgreSQL's answer has a value that SQLite has not.", "SQLITE_UNKNOWN")
    where = "".join(traceback.format_tb(error.__traceback__))
    _log.error("A statement failed in the service itself", kind=type(error).__name__, where=where)
    return Unreadable(
        f"The service failed while it ran this statement ({type(error).__name__}, see its log); it was undone.",
        "SQLITE_UNKNOWN",
    )


def is_overflow(error: BaseException) -> bool:
    """Whether SQLite, too, ends here."""
    return str(getattr(error, "message", "")) == _OVERFLOW


def overtaken(error: asyncpg.UniqueViolationError, table: Table | None) -> bool:
    """Whether a key that a REPLACE had cleared was taken again, by somebody who wrote at the same time."""
    columns = _unique_columns(str(getattr(error, "detail", "") or ""), table)
    return table is not None and any(sorted(columns) == sorted(filter(None, index.columns)) for index in table.unique)


def mismatch() -> StatementError:
    """A row's number that is no integer."""
    return StatementError(_MISMATCH, "SQLITE_MISMATCH")


def busy(reason: str) -> StatementError:
    """Not executed; the same may succeed later."""
    return StatementError(f"database is locked: {reason}", "SQLITE_BUSY", retry=True)


def unknown_outcome() -> StatementError:
    """The answer to a commit was lost."""
    return StatementError(
        "The connection to PostgreSQL broke before it answered. Whether the statement was executed is not known.",
        "OUTCOME_UNKNOWN",
    )


def unread_outcome() -> StatementError:
    """A write was answered, by something that cannot be read."""
    return StatementError(
        "PostgreSQL's answer has a value that SQLite has not. Read again to see whether the statement was executed.",
        "OUTCOME_UNKNOWN",
    )


def _of_constraint(error: asyncpg.PostgresError, state: str, catalog: Catalog) -> StatementError:
    if state == "23502" and is_of_rowid(error, _table(error, catalog)):
        return mismatch()
    if state == "23502" and _takes_null(error, catalog):
        return Refused(f"NULL in the key {getattr(error, 'column_name', '')}, which SQLite takes,")
    return StatementError(_constraint(error, state, catalog), "SQLITE_CONSTRAINT")


def _constraint(error: asyncpg.PostgresError, state: str, catalog: Catalog) -> str:
    table = _table(error, catalog)
    name = table.name if table else str(getattr(error, "table_name", "") or "")
    if state == "23505":
        columns = _unique_columns(str(getattr(error, "detail", "") or ""), table)
        index = str(getattr(error, "constraint_name", "") or "")
        computed = _over_computed(index, table)
        if computed is not None:
            columns = [column for column in computed.columns if column is not None]
        if columns and (computed is None or None not in computed.columns):
            return "UNIQUE constraint failed: " + ", ".join(f"{name}.{column}" for column in columns)
        return f"UNIQUE constraint failed: index '{index}'"
    if state == "23502":
        return f"NOT NULL constraint failed: {name}.{_source(str(getattr(error, 'column_name', '')), table)}"
    if state in ("23503", "23001"):  # RESTRICT has had a state of its own since PostgreSQL 18
        return "FOREIGN KEY constraint failed"
    constraint = str(getattr(error, "constraint_name", None) or "")
    called = dict(table.checks).get(constraint) if table else None
    return f"CHECK constraint failed: {called or constraint or name}"


def _table(error: asyncpg.PostgresError, catalog: Catalog) -> Table | None:
    target, schema = getattr(error, "table_name", None), getattr(error, "schema_name", None)
    for table in catalog.tables.values():
        if table.target == target and table.target_schema == schema:
            return table
    return None


def is_of_rowid(error: asyncpg.PostgresError, table: Table | None) -> bool:
    """Whether it tells of a row's number, by whichever name: SQLite takes nothing but integers there."""
    target = str(getattr(error, "column_name", ""))
    columns = table.columns if table is not None else ()
    return table is not None and any(each.name == table.rowid_alias and each.target == target for each in columns)


def _takes_null(error: asyncpg.PostgresError, catalog: Catalog) -> bool:
    """Whether SQLite would take NULL in this column, which Postgres has in a key."""
    table, target = _table(error, catalog), str(getattr(error, "column_name", ""))
    if table is None or table.without_rowid:
        return False
    return any(each.target == target and not (each.not_null or each.hidden) for each in table.key_columns)


def _source(target: str, table: Table | None) -> str:
    if table is not None:
        for column in table.columns:
            if column.target == target:
                return "rowid" if column.hidden else column.name
    return target


def _over_computed(name: str, table: Table | None) -> UniqueIndex | None:
    """The index of that name, if it is over anything but columns that are stored."""
    stored = {column.name for column in table.columns} if table is not None else set()
    for index in table.unique if table is not None else ():
        made = "_".join([table.target if table is not None else "", *filter(None, index.columns), "key"])
        if name in (index.name, made) and not set(index.columns) <= stored:
            return index
    return None


def _unique_columns(detail: str, table: Table | None) -> list[str]:
    """Columns named by "Key (a, lower(b))=(...) already exists."; the values are not for us."""
    found = re.match(r"Key \((.*?)\)=\(", detail)
    if found is None:
        return []
    columns = []
    for term in found[1].split(", "):
        named = re.search(r'([\w$]+|"(?:[^"]|"")+")(?:::\w+)?(?: COLLATE .*)?\)*$', term)
        if named is None:
            return []
        columns.append(_source(named[1].strip('"'), table))
    return columns
