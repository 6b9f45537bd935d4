"""Writes of applications, made in the state of a snapshot and undone. All of it runs on the thread of the snapshot.

Others wait for the write lock meanwhile, so it is held for one short moment, and never waited for.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from cutover import clock
from cutover.errors import Fenced, StatementError
from cutover.model.statement import Statement, StatementResult
from cutover.stores.sqlite.failures import busy
from cutover.stores.sqlite.limit import Limit
from cutover.stores.sqlite.running import run_statement

Answer = StatementResult | StatementError

_SAVEPOINT = "_cutover_trying"
_CHOOSING = re.compile(r"\bselect\b|\bupdate\b.*\bfrom\b", re.IGNORECASE | re.DOTALL)
"""Statements that read rows in an order, on which it may depend what they do."""


@dataclass(frozen=True, slots=True)
class Tried:
    """What a write answers here."""

    answer: Answer
    backwards: Answer | None
    """What it answers if rows are read the other way; None if it reads none in an order."""
    seconds: float
    """That the first of both took."""


def try_writes(db: sqlite3.Connection, statements: Sequence[Statement], seconds: float, most: int) -> list[Tried]:
    """What each does in the state that the open read transaction sees, which ends with this; nothing of them stays.

    Fewer than were asked for if `seconds` have passed, or one has ended the transaction. A write that is beyond the
    time, or that meets another writer or a newer state, answers so (SQLITE_INTERRUPT, SQLITE_BUSY).
    """
    patience = db.execute("PRAGMA busy_timeout").fetchone()[0]
    db.execute("PRAGMA busy_timeout = 0")
    db.execute("PRAGMA query_only = OFF")
    ends = clock.monotonic() + seconds
    tried: list[Tried] = []
    try:
        for statement in statements:
            if not db.in_transaction or clock.monotonic() >= ends:  # outside of one it would be committed
                break
            tried.append(_both_ways(db, statement, ends, most))
    finally:
        try:
            if db.in_transaction:
                db.execute("ROLLBACK")
        finally:
            db.execute("PRAGMA query_only = ON")
            db.execute(f"PRAGMA busy_timeout = {patience}")
    return tried


def _both_ways(db: sqlite3.Connection, statement: Statement, ends: float, most: int) -> Tried:
    began = clock.monotonic()
    answer = _tried(db, statement, ends, most)
    seconds = clock.monotonic() - began
    if isinstance(answer, StatementError) or not db.in_transaction or not _CHOOSING.search(statement.sql):
        return Tried(answer, None, seconds)
    db.execute("PRAGMA reverse_unordered_selects = ON")
    try:
        return Tried(answer, _tried(db, statement, ends, most), seconds)
    finally:
        db.execute("PRAGMA reverse_unordered_selects = OFF")


def _tried(db: sqlite3.Connection, statement: Statement, ends: float, most: int) -> Answer:
    db.execute(f"SAVEPOINT {_SAVEPOINT}")
    try:
        with Limit(max(ends - clock.monotonic(), 1e-3), most).on(db):
            return run_statement(db, statement)
    except StatementError as error:
        return error.alone()
    except Fenced as fenced:
        return busy(fenced)
    finally:
        if db.in_transaction:  # an error may have ended it
            db.execute(f"ROLLBACK TO {_SAVEPOINT}")
            db.execute(f"RELEASE {_SAVEPOINT}")
