"""The schema without its rows, in memory: where a statement may be tried out to see what its result looks like.

Python's sqlite3 tells neither the columns of a statement that was not run nor the declared type of any column. But a
view of a query has both: SQLite gives each of its columns the declared type that the query's result column has,
through joins, subqueries and other views.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Sequence

from cutover.model.statement import ResultColumn
from cutover.schema.createsql import unquote
from cutover.schema.objects_wanted import memory
from cutover.schema.sqltext import Shape, inspect
from cutover.schema.sqltokens import Token, tokens
from cutover.schema.temporary import kept
from cutover.stores.sqlite.authorizer import begin_application, end_application, guard

_STEPS = 100  # of a thousand instructions each: nothing runs long on empty tables, except on purpose
_VIEW = "_cutover_result"

Types = tuple[str | None, ...]


class SchemaCopy:
    """An empty database in memory with a given schema. Usable from any thread."""

    def __init__(self, statements: Sequence[str]) -> None:
        """`statements`: the CREATE statements, tables before what refers to them. Ones that fail are left out."""
        self._db = memory(statements, check_same_thread=False)
        self._lock = threading.Lock()
        self._left = 0
        # Later libraries (3.41) give columns of views that have no declared type a made-up one; they would be told as
        # if somebody had written them.
        self._tells = self._view_types("SELECT 1") == (None,)
        self._db.set_progress_handler(self._tick, 1000)
        guard(self._db)

    def close(self) -> None:
        """Free the memory."""
        with self._lock:
            self._db.close()

    def columns(self, sql: str) -> tuple[ResultColumn, ...]:
        """Result columns of one statement; empty if it has none or they cannot be told."""
        shape = inspect(sql)
        query = returned(sql) if shape.returning else sql
        with self._lock:
            names = self._names(query, None)
            if names is None and self._left < 0:  # it would run long even on empty tables
                names = _unmarked(self._names(f"SELECT * FROM ({query}\n) LIMIT 0", None))
            if names is None:
                names = self._names(query, 0)  # LIMIT and OFFSET take no NULL
        if names is None:
            return ()
        types = self.types(sql, shape, len(names)) or (None,) * len(names)
        return tuple(map(ResultColumn, names, types))

    def types(self, sql: str, shape: Shape, width: int) -> Types | None:
        """Declared types of a statement's `width` result columns; None if they cannot be told."""
        if not self._tells or not (shape.verb == "SELECT" or shape.returning):
            return None
        with self._lock:
            found = self._view_types(without_parameters(returned(sql) if shape.returning else sql))
        return found if found is not None and len(found) == width else None

    def _names(self, query: str, argument: int | None) -> list[str] | None:
        self._left = _STEPS
        self._db.execute("BEGIN")
        begin_application()
        try:
            cursor = self._db.execute(query, (argument,) * len(inspect(query).params))
            names = [column[0] for column in cursor.description or ()]
            cursor.close()
        except sqlite3.Error:
            return None
        finally:
            end_application()
            self._roll_back()
        return names

    def _view_types(self, query: str) -> Types | None:
        self._left = _STEPS
        self._db.execute("BEGIN")
        try:
            self._db.execute(f"CREATE TEMP VIEW {_VIEW} AS {query}")
            return tuple([row[0] or None for row in self._db.execute(f"SELECT type FROM pragma_table_info('{_VIEW}')")])
        except (sqlite3.Error, sqlite3.Warning):
            return None
        finally:
            self._roll_back()

    def _roll_back(self) -> None:
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")

    def _tick(self) -> int:
        self._left -= 1
        return int(self._left < 0)


class SchemaCopies:
    """The copy of the schema as it was committed last. Shared by threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._version = -1
        self._copy = SchemaCopy(())

    def of(self, db: sqlite3.Connection, version: int) -> SchemaCopy:
        """The copy of a connection's schema, which has this version and nothing uncommitted in it."""
        with self._lock:
            if version != self._version:
                self._copy = SchemaCopy(schema_statements(db))
                self._version = version
            return self._copy


def schema_statements(db: sqlite3.Connection) -> list[str]:
    """The CREATE statements of tables, views and indexes (which a query may name); triggers change no result."""
    rows = db.execute(
        "SELECT sql FROM sqlite_master WHERE type IN ('table', 'view', 'index') AND sql IS NOT NULL "
        "ORDER BY type = 'view', type = 'index', rowid"
    )
    own = db.execute(
        "SELECT type = 'table', sql FROM sqlite_temp_master WHERE sql IS NOT NULL AND type IN ('table', 'index') "
        "AND name NOT LIKE '!_cutover!_%' ESCAPE '!' AND name NOT LIKE 'sqlite!_%' ESCAPE '!' ORDER BY 1 DESC, rowid"
    ).fetchall()
    return [str(row[0]) for row in rows] + [kept(sql) if is_table else sql for is_table, sql in own]


_INTO = {"INSERT": "INTO", "REPLACE": "INTO", "DELETE": "FROM", "UPDATE": "UPDATE"}
"""Before the name of the table, by verb."""


def _unmarked(names: list[str] | None) -> list[str] | None:
    """The names of a subquery's columns, of which SQLite marks one that was there before: `name:1`."""
    if names is None:
        return None
    found: list[str] = []
    for name in names:
        plain, _, mark = name.rpartition(":")
        found.append(plain if mark.isdigit() and plain in found else name)
    return found


def returned(sql: str) -> str:
    """A query with the columns of a RETURNING clause, which the statement itself shows only once it wrote a row."""
    run, depth = [], 0
    for token in tokens(sql):
        depth += (token.type == "open") - (token.type == "close")
        if depth == 0:
            run.append(token)
    words = [token.text.upper() if token.type == "word" else "" for token in run]
    verb = next(at for at, word in enumerate(words) if word in _INTO and not _names_cte(run, at))
    place = words.index(_INTO[words[verb]], verb) + 1
    if words[place] == "OR":
        place += 2
    named = run[place : place + 3] if run[place + 1].type == "dot" else run[place : place + 1]
    at = max(place for place, word in enumerate(words) if word == "RETURNING")
    end = next((token.at for token, word in zip(run[at:], words[at:], strict=True) if word in ("ORDER", "LIMIT")), None)
    clause = sql[run[at].at + len("RETURNING") : end].rstrip().rstrip(";")
    names = {unquote(token.text).lower() for token in run[:verb]}  # of WITH, which no table is that is written
    main = "main." if len(named) == 1 and unquote(named[0].text).lower() in names else ""
    return f"{sql[: run[verb].at]}SELECT {clause}\nFROM {main}{''.join(token.text for token in named)}"


def _names_cte(run: Sequence[Token], at: int) -> bool:
    """Whether a word is the name that WITH gives: REPLACE may be one."""
    before = run[at - 1].text.upper() if at else ""
    return before in ("WITH", "RECURSIVE", ",")


def without_parameters(sql: str) -> str:
    """The text with NULL for each parameter, of which a view can have none."""
    pieces: list[str] = []
    done = 0
    for token in tokens(sql):
        if token.type == "param":
            pieces += [sql[done : token.at], "NULL"]
            done = token.at + len(token.text)
    return "".join([*pieces, sql[done:]])
