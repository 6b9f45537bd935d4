"""What a statement is, without running it on the application's data.

Python's sqlite3 cannot prepare without stepping. So the real connection only sees `EXPLAIN` of the statement, which
compiles it and thereby checks every name; its result columns are found by running it on an empty copy of the schema
in memory, inside a transaction that is rolled back.
"""

from __future__ import annotations

import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Sequence

from cutover.model.statement import Description, ResultColumn
from cutover.schema.sqltext import Shape, StatementKind, inspect, refusal
from cutover.schema.sqltokens import tokens
from cutover.stores.sqlite.connection import compiled_anew
from cutover.stores.sqlite.declared import DeclaredTypes
from cutover.stores.sqlite.running import translate

_READONLY = (
    *(StatementKind.READ, StatementKind.BEGIN, StatementKind.BEGIN_READ, StatementKind.COMMIT),
    *(StatementKind.ROLLBACK, StatementKind.SAVEPOINT, StatementKind.RELEASE, StatementKind.ROLLBACK_TO),
    StatementKind.STATE,
)
_STEPS = 100  # of a thousand instructions each: nothing runs long on empty tables, except on purpose


class SchemaCopy:
    """An empty database in memory with a given schema. Usable from any thread."""

    def __init__(self, statements: Sequence[str]) -> None:
        """`statements`: the CREATE statements, tables before what refers to them. Ones that fail are left out."""
        self._db = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        self._lock = threading.Lock()
        self._left = 0
        self._types = DeclaredTypes()
        for sql in statements:
            try:
                self._db.execute(sql)
            except sqlite3.Error:  # parts of virtual tables exist already
                continue
        self._db.set_progress_handler(self._tick, 1000)

    def close(self) -> None:
        """Free the memory."""
        with self._lock:
            self._db.close()

    def columns(self, sql: str) -> tuple[ResultColumn, ...]:
        """Result columns of one statement; empty if it has none or they cannot be told."""
        shape = inspect(sql)
        with self._lock:
            self._left = _STEPS
            self._db.execute("BEGIN")
            try:
                return self._columns(_returned(sql) if shape.returning else sql, shape)
            except sqlite3.Error:
                return ()
            finally:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")

    def _columns(self, sql: str, shape: Shape) -> tuple[ResultColumn, ...]:
        cursor = self._db.execute(sql, (None,) * len(inspect(sql).params))
        names = [column[0] for column in cursor.description or ()]
        cursor.close()
        declared = self._types.of(self._db, shape.plain, len(names)) if shape.plain else None
        return tuple(ResultColumn(name, declared[at] if declared else None) for at, name in enumerate(names))

    def _tick(self) -> int:
        self._left -= 1
        return int(self._left < 0)


class Describer:
    """Describes statements, with one schema copy for each committed schema version and a bounded memory."""

    def __init__(self, size: int = 2048) -> None:
        self._size = size
        self._lock = threading.Lock()
        self._version = -1
        self._copy = SchemaCopy(())
        self._known: OrderedDict[str, Description] = OrderedDict()

    def describe(self, db: sqlite3.Connection, *, sql: str, committed: bool = True) -> Description:
        """Describe for this connection. `committed`: it has no uncommitted DDL. Raises `StatementError`."""
        refused = refusal(inspect(sql))
        if refused:
            raise refused
        if not committed:
            copy = SchemaCopy(schema_statements(db))
            try:
                return describe(db, copy, sql)
            finally:
                copy.close()
        version = db.execute("PRAGMA schema_version").fetchone()[0]
        with self._lock:
            self._renew(db, version)
            known = self._known.get(sql)
            copy = self._copy
        if known is not None:
            return known
        found = describe(db, copy, sql)
        with self._lock:
            if self._version == version:
                self._known[sql] = found
                if len(self._known) > self._size:
                    self._known.popitem(last=False)
        return found

    def _renew(self, db: sqlite3.Connection, version: int) -> None:
        if version != self._version:
            self._copy = SchemaCopy(schema_statements(db))
            self._known.clear()
            self._version = version


def schema_statements(db: sqlite3.Connection) -> list[str]:
    """The CREATE statements of tables and views, tables first; indexes and triggers change no description."""
    rows = db.execute(
        "SELECT sql FROM sqlite_master WHERE type IN ('table', 'view') AND sql IS NOT NULL ORDER BY type, rowid"
    )
    return [str(row[0]) for row in rows]


def describe(db: sqlite3.Connection, copy: SchemaCopy, sql: str) -> Description:
    """Check the statement on `db` and find its columns on `copy`. Raises `StatementError`."""
    shape = inspect(sql)
    if not shape.explain and shape.kind not in (StatementKind.BEGIN_READ, StatementKind.STATE):
        try:
            db.execute(compiled_anew(f"EXPLAIN {sql}"), (None,) * len(shape.params)).fetchall()
        except (sqlite3.Error, sqlite3.Warning, ValueError) as error:
            raise translate(error) from None
    has_columns = shape.kind is StatementKind.READ or shape.returning
    return Description(
        params=shape.params,
        columns=copy.columns(sql) if has_columns else (),
        is_explain=shape.explain,
        is_readonly=shape.kind in _READONLY,
    )


def _returned(sql: str) -> str:
    """A query with the columns of a RETURNING clause, which the statement itself shows only once it wrote a row."""
    run = list(tokens(sql))
    words = [token.text.upper() if token.type == "word" else "" for token in run]
    at = max(place for place, word in enumerate(words) if word == "RETURNING")
    before = "INTO" if "INTO" in words[:at] else "FROM" if words[0] == "DELETE" else "UPDATE"
    place = words.index(before) + 1
    if words[place] == "OR":
        place += 2
    clause = sql[run[at].at + len("RETURNING") :].rstrip().rstrip(";")
    return f"SELECT {clause}\nFROM {run[place].text}"
