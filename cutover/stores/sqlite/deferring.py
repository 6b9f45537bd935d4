"""PRAGMA defer_foreign_keys of one stream.

SQLite has it for a connection, until a transaction or a statement outside of one ends. What cutover itself asks of the
connection beside an application's statements would end it as well, so it is remembered here.
"""

from __future__ import annotations

import sqlite3

from cutover.model.statement import Statement, StatementResult
from cutover.schema.sqltext import StatementKind, inspect

NAME = "defer_foreign_keys"


class Deferring:
    """Whether it is on."""

    def __init__(self) -> None:
        self.on = False

    def after(self, db: sqlite3.Connection, statement: Statement, outcome: StatementResult | None) -> None:
        """A statement was run, with this outcome, or failed."""
        shape = inspect(statement.sql)
        if shape.pragma != NAME:
            self.on = self.on and (db.in_transaction or bool(shape.pragma))
        elif shape.kind is StatementKind.STATE:
            self.on = shape.on
        elif outcome is not None and outcome.rows:
            outcome.rows = [(int(self.on),)]
        if self.on:  # outside of a transaction not: the connection may go to another stream
            db.execute(f"PRAGMA {NAME} = {int(db.in_transaction)}")
