"""An empty SQLite database with the application's schema: it checks statements and answers questions about the schema.

Python's sqlite3 cannot prepare without stepping, so a statement is checked by EXPLAIN, which compiles it.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from cutover.dialect.reading import Reading, reading
from cutover.errors import CutoverError
from cutover.model.statement import Description, ResultColumn, StatementResult
from cutover.model.values import SqlValue
from cutover.schema.objects_wanted import STATISTICS, memory
from cutover.schema.sqltext import Shape, StatementKind, inspect
from cutover.stores.sqlite.deferring import ends_deferring
from cutover.stores.sqlite.describe import describe
from cutover.stores.sqlite.failures import translate
from cutover.stores.sqlite.schemacopy import SchemaCopy as ColumnsOf

_IF_NOT_EXISTS = re.compile(
    r"\s*CREATE\s+(?:UNIQUE\s+)?(?:TABLE|INDEX|VIEW)\s+IF\s+NOT\s+EXISTS\s+(?:main\s*\.\s*)?"
    r"""(?:"((?:[^"]|"")+)"|`([^`]+)`|\[([^\]]+)\]|([\w$]+))""",
    re.IGNORECASE,
)
_IF_EXISTS = re.compile(
    r"\s*DROP\s+(?:TABLE|INDEX|VIEW|TRIGGER)\s+IF\s+EXISTS\s+(?:main\s*\.\s*)?"
    r"""(?:"((?:[^"]|"")+)"|`([^`]+)`|\[([^\]]+)\]|([\w$]+))""",
    re.IGNORECASE,
)

_NAMED = """
SELECT 1 FROM sqlite_master WHERE lower(name) = lower(?)
UNION ALL SELECT 1 FROM sqlite_temp_master WHERE lower(name) = lower(?)"""
_STEPS = 100  # of a thousand instructions each: nothing runs long on empty tables, except on purpose


class SchemaCopy:
    """The copy. Used on the event loop: everything it does takes microseconds, on empty tables."""

    def __init__(self, statements: Sequence[str]) -> None:
        """`statements`: the CREATE statements, tables before what refers to them. Ones that fail are left out."""
        self._db = _filled(statements)
        self._compiler = _filled(statements)
        self._compiler.text_factory = bytes  # EXPLAIN shows blobs of the statement as text
        self._columns = ColumnsOf(statements)
        self._left = _STEPS
        self._db.set_progress_handler(self._tick, 1000)
        self.originals: dict[str, str] = {}
        """The statements whose questions of the schema were written out, by what is translated in place of them."""

    def close(self) -> None:
        """Free the memory."""
        self._columns.close()
        self._compiler.close()
        self._db.close()

    def describe(self, sql: str) -> Description:
        """What the statement is. Raises the `StatementError` that SQLite's own prepare raises."""
        return describe(self._compiler, self._columns, sql)

    @contextmanager
    def unchecked(self) -> Iterator[None]:
        """`describe` under PRAGMA foreign_keys = OFF."""
        self._compiler.execute("PRAGMA foreign_keys = OFF")
        try:
            yield
        finally:
            self._compiler.execute("PRAGMA foreign_keys = ON")

    def _tick(self) -> int:
        self._left -= 1
        return int(self._left < 0)

    def reads_data(self, sql: str, parameters: int) -> bool:
        """Whether the statement reads a table of the application's, beside what it asks of the schema; or numbers of
        keys, which are on Postgres alone."""
        tables: set[str] = set()

        def note(action: int, table: str | None, *_: str | None) -> int:
            if action == sqlite3.SQLITE_READ and table:
                tables.add(table.lower())
            return sqlite3.SQLITE_OK

        self._compiler.set_authorizer(note)
        try:
            self._compiler.execute(f"EXPLAIN {sql}", (None,) * parameters).fetchall()
        finally:
            self._compiler.set_authorizer(None)
        of_schema = ("sqlite_", "pragma_", "json_")
        kept = ("sqlite_sequence", STATISTICS)
        return any(not table.startswith(of_schema) or table in kept for table in tables)

    def reading(self, sql: str) -> Reading | None:
        """How SQLite would read for a statement, None where its plan says nothing of an order."""
        self._left = _STEPS
        self._db.execute("PRAGMA foreign_keys = OFF")  # the plan would tell of rows that refer to those written
        try:
            found = reading(self._db, sql, len(inspect(sql).params))
            original = self.originals.get(sql)  # rows that are written out are few to SQLite, and read first
            if original is None:
                return found
            return found.looped_as(reading(self._db, original, len(inspect(original).params)))
        except (sqlite3.Error, sqlite3.Warning):  # the statement itself is checked elsewhere
            return None
        finally:
            self._db.execute("PRAGMA foreign_keys = ON")

    def answer(self, sql: str, arguments: Sequence[SqlValue]) -> StatementResult:
        """Run a question about the schema. Raises `StatementError`."""
        self._left = _STEPS
        try:
            cursor = self._db.execute(sql, tuple(arguments))
            rows = cursor.fetchall()
        except (sqlite3.Error, sqlite3.Warning) as error:
            raise _failure(error) from None
        if inspect(sql).pragma == "journal_mode":
            rows = [("wal",)]  # of the file that is served, not of this memory
        return StatementResult([ResultColumn(column[0]) for column in cursor.description or ()], rows)

    def ends_deferring(self, sql: str) -> bool:
        """Whether SQLite has PRAGMA defer_foreign_keys end with this statement, outside of a transaction."""
        return ends_deferring(self._db, sql)

    def indexes(self, table: str) -> list[str]:
        """The names of a table's indexes, in the order in which SQLite looks at them."""
        return [name for (name,) in self._db.execute("SELECT name FROM pragma_index_list(?)", (table,))]

    def view_columns(self) -> dict[str, list[str]]:
        """What the columns of each view are called, by its lower-case name. One that cannot be read is left out."""
        found: dict[str, list[str]] = {}
        self._left = _STEPS
        for (name,) in self._db.execute("SELECT name FROM sqlite_master WHERE type = 'view'").fetchall():
            with suppress(sqlite3.Error):
                columns = self._db.execute("SELECT name FROM pragma_table_info(?)", (name,)).fetchall()
                found[name.lower()] = [column for (column,) in columns]
        return found

    def is_done(self, sql: str, shape: Shape) -> bool:
        """Whether a DDL statement asks for nothing: IF NOT EXISTS of what exists, or maintenance that Postgres does."""
        if shape.kind is not StatementKind.DDL:
            return False
        if shape.verb == "REINDEX":
            return True
        if shape.verb == "ANALYZE":  # the first makes the table that it fills on SQLite
            return self._exists(STATISTICS)
        if shape.temporary:
            return False
        create, drop = _IF_NOT_EXISTS.match(sql), _IF_EXISTS.match(sql)
        if create is not None:
            return self._exists(_name(create))
        if drop is None or _name(drop).lower().startswith("sqlite_"):  # which SQLite drops for nobody
            return False
        return not self._exists(_name(drop))

    def _exists(self, name: str) -> bool:
        row = self._db.execute(_NAMED, (name, name)).fetchone()
        return row is not None


def _filled(statements: Sequence[str]) -> sqlite3.Connection:
    db = memory(statements)
    db.execute("PRAGMA foreign_keys = ON")
    db.execute("PRAGMA temp.table_info('')")  # EXPLAIN of a question about temp fails until it was opened
    return db


def _name(found: re.Match[str]) -> str:
    return next(group for group in found.groups() if group is not None).replace('""', '"')


def _failure(error: Exception) -> CutoverError:
    return translate(error)
