"""Applications' statements on one SQLite connection. Everything here runs on that connection's own thread."""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache

from cutover.errors import Fenced, StatementError
from cutover.model.statement import BatchResult, ResultColumn, Statement, StatementResult, Step, holds
from cutover.model.values import SqlValue
from cutover.schema.arguments import bind, for_driver
from cutover.schema.hiding import without_own
from cutover.schema.sqltext import COUNTED, Shape, StatementKind, inspect, only_statement, refusal, with_semicolon
from cutover.stores.sqlite import past
from cutover.stores.sqlite.altering import lay_capture_aside, loses_column
from cutover.stores.sqlite.authorizer import allow_temporary, begin_application, end_application
from cutover.stores.sqlite.connection import compiled_anew
from cutover.stores.sqlite.declared import DeclaredTypes
from cutover.stores.sqlite.deferring import Deferring
from cutover.stores.sqlite.failures import INPUT_ERRORS, PARSE_ERRORS, busy, explained, translate
from cutover.stores.sqlite.limit import begin_statement, take_all
from cutover.stores.sqlite.temporary import Temporaries

_READ_ERRORS = ("no such table", "no such index", "cannot use index", "sub-select returns", "a JOIN clause")
_SAVEPOINT = "_cutover_statement"
_COUNTING = "_cutover_counting"
_COUNTERS = r"SELECT name, seq FROM main.sqlite_sequence WHERE name LIKE '\_cutover\_%' ESCAPE '\'"
_CHANGING = (StatementKind.DDL, StatementKind.ROLLBACK, StatementKind.ROLLBACK_TO)
"""Kinds of statements behind which tables may be others."""
_TRIES = 20
"""Of preparing a statement."""


def run_statement(db: sqlite3.Connection, statement: Statement, types: DeclaredTypes | None = None) -> StatementResult:
    """Run one statement to its end.

    Raises `StatementError`, or `Fenced` when the fence's trigger refused it (SQLite has ended the transaction then).
    A statement that fails leaves nothing of itself behind, except where its own OR FAIL says so.
    """
    shape = inspect(statement.sql)
    if _may_write_counters(statement.sql):
        return _sparing_counters(db, statement, shape, types)
    return _run_any(db, statement, shape, types)


@lru_cache(maxsize=4096)
def _may_write_counters(sql: str) -> bool:
    """Whether it may write what SQLite remembers for AUTOINCREMENT, which no authorizer can tell by rows."""
    return "sqlite_sequence" in sql.lower() and inspect(sql).kind is StatementKind.WRITE


def _sparing_counters(
    db: sqlite3.Connection, statement: Statement, shape: Shape, types: DeclaredTypes | None
) -> StatementResult:
    """The numbers of cutover's own tables stay what they are, and are counted for nobody: a log that began at 1 again
    would give a number twice."""
    try:
        own = db.execute(_COUNTERS).fetchall()
    except sqlite3.OperationalError:  # there is no such table, as the statement will say
        return _run_any(db, statement, shape, types)
    db.execute(f"SAVEPOINT {_COUNTING}")
    try:
        result = _run_any(db, statement, shape, types)
        touched = [row for row in own if row not in db.execute(_COUNTERS).fetchall()]
        for name, seq in touched:
            db.execute("DELETE FROM main.sqlite_sequence WHERE name = ?", (name,))
            db.execute("INSERT INTO main.sqlite_sequence (name, seq) VALUES (?, ?)", (name, seq))
    except BaseException:
        if db.in_transaction:
            db.execute(f"ROLLBACK TO {_COUNTING}")
            db.execute(f"RELEASE {_COUNTING}")
        raise
    db.execute(f"RELEASE {_COUNTING}")
    return replace(result, affected=result.affected - len(touched))


def _run_any(
    db: sqlite3.Connection, statement: Statement, shape: Shape, types: DeclaredTypes | None
) -> StatementResult:
    if shape.simple:
        return _change(db, statement.sql, shape, _bound(db, statement, shape))
    refused = refusal(shape)
    if refused:
        raise refused
    values = _bound(db, statement, shape)
    begin_statement()
    sql = "BEGIN" if shape.kind is StatementKind.BEGIN_READ else statement.sql
    losing = loses_column(sql) if shape.verb == "ALTER" and not shape.explain else None
    if shape.returning or losing:
        return _guarded(db, sql, shape, values, statement.want_rows, types, losing)
    return _run(db, sql, shape, values, statement.want_rows, types)


def run_steps(
    db: sqlite3.Connection,
    steps: Sequence[Step],
    types: DeclaredTypes | None = None,
    *,
    fence_raises: bool = False,
    reads: bool = False,
    deferring: Deferring | None = None,
    temporaries: Temporaries | None = None,
) -> BatchResult:
    """Run a batch as it is written, with the connection's own transaction state.

    With `fence_raises` a refusal by the fence raises `Fenced` if nothing of the batch can have been committed before;
    otherwise it is the step's error, SQLITE_BUSY. `reads`: it only reads.
    `deferring`, `temporaries`: of the stream whose batch it is.
    """
    result = BatchResult()
    wrote = False
    following = None
    if steps and not reads:
        past.look(db)
        following = past.begin(db, (steps,))
    for step in steps:
        outcome: StatementResult | None = None
        error: StatementError | None = None
        if holds(step.condition, result, autocommit=not db.in_transaction):
            try:
                told = following.told(step.statement) if following else step.statement
                looks = temporaries is not None and temporaries.before(db, told)
                outcome = _looked_behind(db, told, types, temporaries) if looks else run_statement(db, told, types)
                wrote = wrote or (not db.in_transaction and inspect(step.statement.sql).kind is not StatementKind.READ)
            except StatementError as failure:
                error = failure.alone()
            except Fenced as fenced:
                if fence_raises and not wrote:
                    raise
                error = busy(fenced)
            if following:
                following.note(step.statement, outcome, error)
            if deferring is not None:
                deferring.after(db, step.statement, outcome)
        result.results.append(outcome)
        result.errors.append(error)
    return result


def _looked_behind(
    db: sqlite3.Connection, statement: Statement, types: DeclaredTypes | None, temporaries: Temporaries | None
) -> StatementResult:
    assert temporaries is not None
    try:
        result = run_statement(db, statement, types)
    except (StatementError, Fenced):
        temporaries.behind(db, failed=True)
        raise
    try:
        refused = temporaries.behind(db, failed=False)
    except sqlite3.Error as error:
        raise translate(error) from None
    if refused is not None:
        raise refused
    return result


def run_closed(db: sqlite3.Connection, steps: Sequence[Step], types: DeclaredTypes | None = None) -> BatchResult:
    """Run a self-contained batch that only reads; a transaction that it should have left open is rolled back."""
    try:
        return run_steps(db, steps, types, reads=True)
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")


def _change(db: sqlite3.Connection, sql: str, shape: Shape, values: tuple[SqlValue, ...]) -> StatementResult:
    """A simple one, on the shortest way."""
    begin_statement()
    begin_application()
    try:
        cursor = _opened(db, sql, shape, values)
    except (sqlite3.Error, sqlite3.Warning, ValueError, OverflowError) as error:
        if _only_for_a_semicolon(error, sql):
            return _change(db, only_statement(sql), shape, values)
        raise explained(error, db, sql) from None
    finally:
        end_application()
    return _counted(db, cursor, shape, StatementResult())


def _bound(db: sqlite3.Connection, statement: Statement, shape: Shape) -> tuple[SqlValue, ...]:
    """The arguments. Where they do not fit, what is wrong with the statement itself is told first, as by SQLite."""
    try:
        return bind(shape, statement)
    except StatementError:
        demand_sound(db, statement.sql, shape)
        raise


def demand_sound(db: sqlite3.Connection, sql: str, shape: Shape) -> None:
    """Compile only, what can be compiled without taking effect. Raises `StatementError`."""
    if shape.explain or shape.kind in (StatementKind.BEGIN_READ, StatementKind.STATE):
        return
    begin_application()
    allow_temporary(allowed=shape.kind is StatementKind.DDL)  # nothing is made by compiling
    try:
        begun(db, compiled_anew(f"EXPLAIN {with_semicolon(sql)}"), (None,) * len(shape.params)).fetchall()
    except (sqlite3.Error, sqlite3.Warning, ValueError) as error:
        raise explained(error, db, sql) from None
    finally:
        allow_temporary(allowed=False)
        end_application()


def _opened(db: sqlite3.Connection, sql: str, shape: Shape, values: tuple[SqlValue, ...]) -> sqlite3.Cursor:
    """Execute what an application sent. Lists of the schema are read without what is cutover's, where that can be
    compiled."""
    given = for_driver(shape, values)
    if shape.lists:
        try:
            return begun(db, without_own(sql), given)
        except sqlite3.OperationalError as error:
            if not str(error).startswith((*PARSE_ERRORS, *INPUT_ERRORS, *_READ_ERRORS)):
                raise
    return begun(db, compiled_anew(sql) if shape.explain else sql, given)


def begun(db: sqlite3.Connection, sql: str, values: tuple[SqlValue, ...] | dict[str, SqlValue]) -> sqlite3.Cursor:
    """Execute, and once more where the schema changes meanwhile: preparing a statement, SQLite tries only twice.

    A wrong statement without a table has it forget the schema it knew and not read another, so each further try
    would find it changed: it is read between two tries.
    """
    for _ in range(_TRIES):
        try:
            return db.execute(sql, values)
        except sqlite3.DatabaseError as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF != sqlite3.SQLITE_SCHEMA:
                raise
        read_schema(db)
    return db.execute(sql, values)


def _counted(db: sqlite3.Connection, cursor: sqlite3.Cursor, shape: Shape, result: StatementResult) -> StatementResult:
    affected = cursor.rowcount
    result.affected = affected if affected >= 0 else db.execute("SELECT changes()").fetchone()[0]
    if shape.into and result.affected:
        result.last_insert_rowid = past.inserted(db, cursor, shape.into)
    return result


def _only_for_a_semicolon(error: Exception, sql: str) -> bool:
    """Whether Python's sqlite3 refused, before it ran anything, one statement and more than one semicolon."""
    return str(error).startswith("You can only execute one statement") and only_statement(sql) != sql


def _guarded(
    db: sqlite3.Connection,
    sql: str,
    shape: Shape,
    values: tuple[SqlValue, ...],
    want_rows: bool,
    types: DeclaredTypes | None,
    losing: str | None,
) -> StatementResult:
    """RETURNING: the rows are fetched after all changes are made, so a row that cannot be read must undo them.

    And a table that is losing a column, with the triggers that would be in the way.
    """
    db.execute(f"SAVEPOINT {_SAVEPOINT}")
    given: int | None = None
    try:
        if losing:
            lay_capture_aside(db, losing)
        result = _run(db, sql, shape, values, want_rows, types)
        given = result.last_insert_rowid
        db.execute(f"RELEASE {_SAVEPOINT}")
    except (sqlite3.Error, StatementError, Fenced) as error:
        if db.in_transaction:
            _end_guard(db, of_constraint=isinstance(error, StatementError) and error.code == "SQLITE_CONSTRAINT")
        if not isinstance(error, sqlite3.Error):
            raise
        found = translate(error)
        if isinstance(found, StatementError):  # a deferred foreign key forbids the commit: the rowid was given
            found.last_insert_rowid = given
        raise found from None
    return result


def _end_guard(db: sqlite3.Connection, *, of_constraint: bool) -> None:
    """What a constraint forbids SQLite has undone by itself, as far as the statement's word after OR says."""
    if of_constraint:
        with suppress(sqlite3.Error):  # a commit that a deferred foreign key forbids
            db.execute(f"RELEASE {_SAVEPOINT}")
            return
    db.execute(f"ROLLBACK TO {_SAVEPOINT}")
    db.execute(f"RELEASE {_SAVEPOINT}")


def _run(
    db: sqlite3.Connection,
    sql: str,
    shape: Shape,
    values: tuple[SqlValue, ...],
    want_rows: bool,
    types: DeclaredTypes | None,
) -> StatementResult:
    result = StatementResult()
    _see_schema(db, shape)
    begin_application()
    try:
        cursor = _opened(db, sql, shape, values)
        description = cursor.description
        if description is not None:
            _take(cursor, result, want_rows)
    except (sqlite3.Error, sqlite3.Warning, ValueError, OverflowError) as error:
        if _only_for_a_semicolon(error, sql):
            return _run(db, only_statement(sql), shape, values, want_rows, types)
        raise explained(error, db, sql) from None
    finally:
        end_application()
    if shape.kind in _CHANGING:
        past.look(db)
    if description is not None:
        result.columns = _columns_of(db, cursor, sql, shape, types)
    return _counted(db, cursor, shape, result) if shape.verb in COUNTED and not shape.explain else result


def _take(cursor: sqlite3.Cursor, result: StatementResult, want_rows: bool) -> None:
    """Run to the end. A cursor that fails on the way is closed: it would keep a read transaction open."""
    try:
        if want_rows:
            result.rows, result.size = take_all(cursor)
        else:
            deque(cursor, maxlen=0)
    except (sqlite3.Error, ValueError, StatementError):
        cursor.close()
        raise


def _see_schema(db: sqlite3.Connection, shape: Shape) -> None:
    """A PRAGMA may answer from the schema that its connection saw last: of an index that is new, nothing. And CREATE
    finds there what another connection dropped."""
    if shape.kind is StatementKind.DDL or (shape.verb == "PRAGMA" and shape.kind is StatementKind.READ):
        read_schema(db)


def read_schema(db: sqlite3.Connection) -> None:
    """Have the connection know the schema as it is now."""
    db.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()


def open_query(
    db: sqlite3.Connection, statement: Statement, types: DeclaredTypes | None
) -> tuple[sqlite3.Cursor, list[ResultColumn]]:
    """Begin a statement that only reads; its rows are still to be fetched. Raises `StatementError`."""
    shape, sql = inspect(statement.sql), statement.sql
    refused = refusal(shape)
    if refused:
        raise refused
    values = _bound(db, statement, shape)
    begin_statement()
    _see_schema(db, shape)
    begin_application()
    try:
        cursor = _opened(db, sql, shape, values)
    except (sqlite3.Error, sqlite3.Warning, ValueError, OverflowError) as error:
        if _only_for_a_semicolon(error, sql):
            return open_query(db, replace(statement, sql=only_statement(sql)), types)
        raise explained(error, db, sql) from None
    finally:
        end_application()
    return cursor, _columns_of(db, cursor, sql, shape, types) if cursor.description else []


def _columns_of(
    db: sqlite3.Connection, cursor: sqlite3.Cursor, sql: str, shape: Shape, types: DeclaredTypes | None
) -> list[ResultColumn]:
    names = tuple([column[0] for column in cursor.description])
    return _columns(names, types.of(db, sql, shape, len(names)) if types is not None else None)


@lru_cache(maxsize=2048)
def _columns(names: tuple[str, ...], declared: tuple[str | None, ...] | None) -> list[ResultColumn]:
    """Shared between results: nobody changes a result's columns."""
    return [ResultColumn(name, declared[at] if declared else None) for at, name in enumerate(names)]
