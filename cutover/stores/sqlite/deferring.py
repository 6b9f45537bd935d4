"""PRAGMA defer_foreign_keys of one stream.

SQLite has it for a connection, until a transaction or a statement outside of one ends. What cutover itself asks of the
connection beside an application's statements would end it as well, so it is remembered here.
"""

from __future__ import annotations

import re
import sqlite3

from cutover.model.statement import Statement, StatementResult
from cutover.schema.sqltext import StatementKind, inspect

NAME = "defer_foreign_keys"
_EXPLAIN = re.compile(r"\s*EXPLAIN\b(?:\s+QUERY\s+PLAN\b)?", re.IGNORECASE)
_ASKS = {"Transaction", "AutoCommit", "Savepoint"}
"""What SQLite does where a statement asks for the database, or for the transaction's state."""


def ends_deferring(db: sqlite3.Connection, sql: str) -> bool:
    """Whether such a statement, outside of a transaction, is one that SQLite takes for one: SELECT 1 is none, nor is
    what does not compile."""
    shape = inspect(sql)
    if shape.pragma and shape.kind is StatementKind.STATE:  # which EXPLAIN would carry out
        return False
    try:
        steps = db.execute(
            f"EXPLAIN {_EXPLAIN.sub('', sql, count=1) if shape.explain else sql}", (None,) * len(shape.params)
        ).fetchall()
    except (sqlite3.Error, sqlite3.Warning):
        return False
    return any(step[1] in _ASKS for step in steps)


class Deferring:
    """Whether it is on."""

    def __init__(self) -> None:
        self.on = False

    def after(self, db: sqlite3.Connection, statement: Statement, outcome: StatementResult | None) -> None:
        """A statement was run, with this outcome, or failed."""
        shape = inspect(statement.sql)
        if shape.pragma != NAME:
            refused = outcome is None and bool(shape.pragma)
            self.on = self.on and (db.in_transaction or refused or not ends_deferring(db, statement.sql))
        elif shape.kind is StatementKind.STATE:
            self.on = shape.on
        elif outcome is not None and outcome.rows:
            outcome.rows = [(int(self.on),)]
        if self.on:  # outside of a transaction not: the connection may go to another stream
            db.execute(f"PRAGMA {NAME} = {int(db.in_transaction)}")
