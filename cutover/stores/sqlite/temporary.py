"""Temporary tables of one stream, on the connection that its transaction has: they do not outlast it."""

from __future__ import annotations

import sqlite3

from cutover.errors import StatementError
from cutover.model.statement import Statement
from cutover.schema.sqltext import StatementKind, inspect
from cutover.schema.sqltokens import tokens
from cutover.schema.temporary import left, outside, shared
from cutover.stores.sqlite.authorizer import allow_temporary

_LEFT = r"""
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
        self._outermost: str | None = None

    def before(self, db: sqlite3.Connection, statement: Statement) -> bool:
        """Raises `StatementError` if the statement would have one outlast its transaction. Whether to look `behind`."""
        shape = inspect(statement.sql)
        if shape.kind is StatementKind.SAVEPOINT and not db.in_transaction:
            self._outermost = _last_word(statement.sql)
        elif shape.kind in (StatementKind.BEGIN, StatementKind.BEGIN_WRITE):
            self._outermost = None
        if shape.temporary and not db.in_transaction:
            raise outside()
        if self.used and self._ends(shape.kind, statement.sql):
            names = [name for (name,) in db.execute(_LEFT)]
            if names:
                raise left(names)
        looks = shape.kind is StatementKind.DDL and (shape.temporary or self.used) and db.in_transaction
        if looks:
            self.used = True
            allow_temporary(allowed=True)
            db.execute(f"SAVEPOINT {_SAVEPOINT}")
        return looks

    def behind(self, db: sqlite3.Connection, *, failed: bool) -> StatementError | None:
        """The schema was changed, or was not: that is undone where a name stands for two things now."""
        allow_temporary(allowed=False)
        if not db.in_transaction:
            return None
        found = None if failed else db.execute(_SHARED).fetchone()
        if found is not None:
            db.execute(f"ROLLBACK TO {_SAVEPOINT}")
        db.execute(f"RELEASE {_SAVEPOINT}")
        return shared(found[0]) if found is not None else None

    def _ends(self, kind: StatementKind, sql: str) -> bool:
        return kind is StatementKind.COMMIT or (kind is StatementKind.RELEASE and _last_word(sql) == self._outermost)


def _last_word(sql: str) -> str:
    run = [token for token in tokens(sql) if token.type != "semi"]
    return run[-1].text.strip("\"'`[]").lower()
