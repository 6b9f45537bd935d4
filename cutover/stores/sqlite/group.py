"""Group commit: many self-contained batches in one transaction. Runs on the writer connection's thread.

A group either keeps to its one transaction to the end, or nobody in it is acknowledged and each batch is run again
by itself: a client's OR ROLLBACK, a trigger's RAISE(ROLLBACK), a full disk or a deferred foreign key of one of them
must not touch the others.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import replace

from cutover.crashpoints import crash_point
from cutover.errors import Fenced, StatementError
from cutover.model.statement import BatchOutcome, BatchResult, StatementResult, Step, holds
from cutover.schema.sqltext import StatementKind, inspect
from cutover.stores.sqlite import past
from cutover.stores.sqlite.declared import DeclaredTypes
from cutover.stores.sqlite.failures import translate
from cutover.stores.sqlite.limit import Limit, begin_answer
from cutover.stores.sqlite.running import run_statement, run_steps

_SAVEPOINT = "_cutover_batch"
_SAVEPOINT_SQL = {
    StatementKind.BEGIN: (f"SAVEPOINT {_SAVEPOINT}",),
    StatementKind.BEGIN_WRITE: (f"SAVEPOINT {_SAVEPOINT}",),
    StatementKind.BEGIN_READ: (f"SAVEPOINT {_SAVEPOINT}",),
    StatementKind.COMMIT: (f"RELEASE {_SAVEPOINT}",),
    StatementKind.ROLLBACK: (f"ROLLBACK TO {_SAVEPOINT}", f"RELEASE {_SAVEPOINT}"),
}
_BEGINS = (StatementKind.BEGIN, StatementKind.BEGIN_WRITE, StatementKind.BEGIN_READ)


_FEW = 16
"""Statements of a lone batch from which on one commit for all of them keeps others from waiting for many."""


class _Lost(Exception):
    """The group's transaction is gone."""


def run_group(
    db: sqlite3.Connection, clients: Sequence[Sequence[Sequence[Step]]], limit: Limit, types: DeclaredTypes
) -> list[list[BatchOutcome]]:
    """Run the self-contained batches of some clients and return when they are durable: one outcome each, in order.

    An outcome is the batch's result, or the error because of which nothing of it was executed.
    """
    ddl = any(inspect(step.statement.sql).kind is StatementKind.DDL for b in clients for steps in b for step in steps)
    with limit.on(db):
        return _run_group(db, clients, None if ddl else types)


def _run_group(
    db: sqlite3.Connection, clients: Sequence[Sequence[Sequence[Step]]], types: DeclaredTypes | None
) -> list[list[BatchOutcome]]:
    if len(clients) == 1 and len(clients[0]) == 1 and len(clients[0][0]) < _FEW:
        return [[run_alone(db, clients[0][0], types)]]
    try:
        db.execute("BEGIN IMMEDIATE")
    except sqlite3.Error as error:
        return [[_reason(error) for _ in batches] for batches in clients]
    try:
        past.look(db)
        results = [_client(db, batches, types) for batches in clients]
        crash_point("group.before_commit")
        db.execute("COMMIT")
        crash_point("group.after_commit")
    except (_Lost, sqlite3.Error):
        if db.in_transaction:
            db.execute("ROLLBACK")
        return [_one_by_one(db, batches, types) for batches in clients]
    return results


def _client(
    db: sqlite3.Connection, batches: Sequence[Sequence[Step]], types: DeclaredTypes | None
) -> list[BatchOutcome]:
    begin_answer()
    following = past.begin(db, batches)
    return [_member(db, steps, types, following) for steps in batches]


def _one_by_one(
    db: sqlite3.Connection, batches: Sequence[Sequence[Step]], types: DeclaredTypes | None
) -> list[BatchOutcome]:
    """Each on its own, in order; none after one that was fenced, or their order would not hold when they come again."""
    begin_answer()
    outcomes: list[BatchOutcome] = []
    for steps in batches:
        fenced = outcomes and isinstance(outcomes[-1], Fenced)
        outcomes.append(outcomes[-1] if fenced else run_alone(db, steps, types))
    return outcomes


def run_alone(db: sqlite3.Connection, steps: Sequence[Step], types: DeclaredTypes | None) -> BatchOutcome:
    """Run one self-contained batch in transactions of its own, as it is written."""
    try:
        return run_steps(db, [_immediate(step) for step in steps], types, fence_raises=True)
    except Fenced as fenced:
        return fenced
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")


def _immediate(step: Step) -> Step:
    """A batch that writes takes the write lock at its BEGIN: waiting there is possible, upgrading later is not."""
    statement = step.statement
    if inspect(statement.sql).kind is not StatementKind.BEGIN:
        return step
    return Step(replace(statement, sql="BEGIN IMMEDIATE"), step.condition)


def _member(
    db: sqlite3.Connection, steps: Sequence[Step], types: DeclaredTypes | None, following: past.Following | None
) -> BatchResult:
    if len(steps) == 1:
        outcome, error = _step(db, steps[0], types)
        return BatchResult([outcome], [error])
    result = BatchResult()
    opened = False
    for step in steps:
        outcome = error = None
        if holds(step.condition, result, autocommit=not opened):
            kind = inspect(step.statement.sql).kind
            if kind in _SAVEPOINT_SQL:
                outcome, error = _control(db, kind, opened)
                opened = kind in _BEGINS if error is None else opened
            else:
                outcome, error = _step(db, step, types, following)
        result.results.append(outcome)
        result.errors.append(error)
    if opened:
        _control(db, StatementKind.ROLLBACK, opened)
    return result


def _step(
    db: sqlite3.Connection, step: Step, types: DeclaredTypes | None, following: past.Following | None = None
) -> tuple[StatementResult | None, StatementError | None]:
    outcome: StatementResult | None = None
    error: StatementError | None = None
    try:
        outcome = run_statement(db, following.told(step.statement) if following else step.statement, types)
    except StatementError as failure:
        error = failure.alone()
    except Fenced:
        raise _Lost from None
    if not db.in_transaction:
        raise _Lost
    if following:
        following.note(step.statement, outcome, error)
    return outcome, error


def _control(
    db: sqlite3.Connection, kind: StatementKind, opened: bool
) -> tuple[StatementResult | None, StatementError | None]:
    """BEGIN, COMMIT and ROLLBACK of a client, inside the group's transaction."""
    begins = kind in _BEGINS
    if begins and opened:
        return None, StatementError("cannot start a transaction within a transaction", "SQLITE_UNKNOWN")
    if not begins and not opened:
        return None, StatementError(f"cannot {kind} - no transaction is active", "SQLITE_UNKNOWN")
    for sql in _SAVEPOINT_SQL[kind]:
        db.execute(sql)
    return StatementResult(), None


def _reason(error: sqlite3.Error) -> StatementError:
    found = translate(error)
    return found if isinstance(found, StatementError) else StatementError(found.message, "SQLITE_BUSY", retry=True)
