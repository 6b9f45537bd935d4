"""Temporary tables of one stream, on the connection that it keeps for as long as it has any."""

from __future__ import annotations

import sqlite3

from cutover.errors import StatementError
from cutover.model.statement import Statement
from cutover.schema.sqlite_schema import quoted
from cutover.schema.sqltext import StatementKind, inspect
from cutover.schema.temporary import shared
from cutover.stores.sqlite.authorizer import allow_temporary
from cutover.stores.sqlite.undisturbed import asked

_KEPT = r"""
SELECT name FROM sqlite_temp_master
WHERE type = 'table' AND name NOT LIKE '\_cutover\_%' ESCAPE '\' AND name NOT LIKE 'sqlite\_%' ESCAPE '\'"""
_SHARED = r"""
SELECT main.name FROM main.sqlite_master AS main JOIN temp.sqlite_master AS own ON lower(own.name) = lower(main.name)
WHERE main.name NOT LIKE 'sqlite\_%' ESCAPE '\'"""
_SAVEPOINT = "_cutover_temporary"


class Temporaries:
    """What is known of them. Used on the connection's thread."""

    def __init__(self) -> None:
        self.used = False
        """Whether any was made on this connection, which then goes to nobody else: it keeps a list of their keys."""
        self.kept = False
        """Whether there is one, as far as was looked last."""
        self._alone = False

    def before(self, db: sqlite3.Connection, statement: Statement) -> bool:
        """Whether to look `behind` this statement: it may have a name stand for two things, which undoes it."""
        shape = inspect(statement.sql)
        looks = shape.kind is StatementKind.DDL and (shape.temporary or self.used)
        if looks:
            self.used = True
            self._alone = not db.in_transaction
            allow_temporary(allowed=True)
            # Not a savepoint of its own, which would read first and then want to write.
            db.execute("BEGIN IMMEDIATE" if self._alone else f"SAVEPOINT {_SAVEPOINT}")
        return looks

    def behind(self, db: sqlite3.Connection, *, failed: bool) -> StatementError | None:
        """The schema was changed, or was not. Raises `sqlite3.Error` if that cannot be committed."""
        allow_temporary(allowed=False)
        if not db.in_transaction:
            return None
        found = None if failed else db.execute(_SHARED).fetchone()
        if self._alone:
            self._end(db, undo=failed or found is not None)
        else:
            if found is not None:
                db.execute(f"ROLLBACK TO {_SAVEPOINT}")
            db.execute(f"RELEASE {_SAVEPOINT}")
        return shared(found[0]) if found is not None else None

    def look(self, db: sqlite3.Connection) -> None:
        """A batch has ended."""
        self.kept = self.used and asked(db, _KEPT) is not None

    def drop(self, db: sqlite3.Connection) -> None:
        """Drop all, outside of a transaction."""
        for (name,) in db.execute(_KEPT).fetchall() if self.used else ():
            db.execute(f"DROP TABLE temp.{quoted(name)}")
        self.kept = False

    def _end(self, db: sqlite3.Connection, *, undo: bool) -> None:
        try:
            db.execute("ROLLBACK" if undo else "COMMIT")
        except sqlite3.Error:
            db.execute("ROLLBACK")
            raise
