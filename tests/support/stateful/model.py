"""What should be there: SQLite itself, in memory, with the same schema and the same statements."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.support.stateful.schema import Row, Schema, Value, fits
from tests.support.stateful.statements import Insert, Statement, Truncate


@dataclass(frozen=True)
class Outcome:
    """What whoever sent a statement was told."""

    code: str = ""
    """SQLite's, such as SQLITE_CONSTRAINT; empty if it was executed."""
    affected: int = 0
    keys: tuple[Value, ...] = ()
    """That the store gave."""
    message: str = ""

    @property
    def done(self) -> bool:
        return not self.code


def code_of(error: sqlite3.Error) -> str:
    """The primary code, as the front door gives it."""
    name = getattr(error, "sqlite_errorname", "") or "SQLITE_UNKNOWN"
    return "_".join(name.split("_")[:2])


class Model:
    """The oracle."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self.db = sqlite3.connect(":memory:", isolation_level=None)
        self.db.execute("PRAGMA foreign_keys = ON")
        for sql in (*schema.ddl(), *schema.triggers().values()):
            self.db.execute(sql)
        self.given: dict[str, set[Value]] = {table.name: set() for table in schema.tables}
        """Keys that AUTOINCREMENT must not give any more."""
        self.foreign: dict[str, set[Value]] = {table.name: set() for table in schema.tables}
        """Keys that native clients chose, of which no sequence knows."""

    def close(self) -> None:
        self.db.close()

    # -- statements --------------------------------------------------------------------------------------------------

    def run(self, statement: Statement, keys: tuple[Value, ...] = (), *, native: bool = False) -> Outcome:
        """Execute it, `keys` being those that the store gave; if it fails nothing of it is left."""
        if keys and isinstance(statement, Insert):
            statement = statement.with_keys(keys)
        try:
            return self._run(statement, native=native)
        except sqlite3.Error as error:
            return Outcome(code_of(error), message=str(error))

    def _run(self, statement: Statement, *, native: bool) -> Outcome:
        if isinstance(statement, Truncate):
            for name in statement.emptied(self.schema):
                self.db.execute(f"DELETE FROM {name}")
            return Outcome()
        sql, arguments = statement.as_native(self.schema) if native else statement.sqlite(self.schema)
        cursor = self.db.execute(sql, arguments)
        keys = tuple(row[0] for row in cursor.fetchall())
        return Outcome(affected=cursor.rowcount, keys=keys)

    @contextmanager
    def unchecked(self) -> Iterator[None]:
        """Without foreign keys. Outside of transactions."""
        self.db.execute("PRAGMA foreign_keys = OFF")
        try:
            yield
        finally:
            self.db.execute("PRAGMA foreign_keys = ON")

    def rest_triggers(self) -> None:
        """While Postgres is primary the application's triggers of SQLite rest."""
        for name in self.schema.triggers():
            self.db.execute(f"DROP TRIGGER IF EXISTS {name}")

    def restore_triggers(self) -> None:
        self.rest_triggers()
        for sql in self.schema.triggers().values():
            self.db.execute(sql)

    # -- contents ----------------------------------------------------------------------------------------------------

    def rows(self, table: str) -> list[Row]:
        """All rows, in no order."""
        names = ", ".join(column.name for column in self.schema.columns(table))
        return self.db.execute(f"SELECT {names} FROM {table}").fetchall()

    def contents(self) -> dict[str, list[Row]]:
        return {table.name: self.rows(table.name) for table in self.schema.tables}

    def key(self, table: str, row: Row) -> Row:
        """The key of a row, in the order of the key."""
        names = [column.name for column in self.schema.columns(table)]
        return tuple(row[names.index(name)] for name in self.schema.table(table).key_names)

    def misfits(self, table: str) -> list[Row]:
        """Rows that Postgres cannot hold."""
        columns = self.schema.columns(table)
        return [
            row
            for row in self.rows(table)
            if not all(fits(column, value) for column, value in zip(columns, row, strict=True))
        ]

    @property
    def any_misfit(self) -> bool:
        return any(self.misfits(table.name) for table in self.schema.tables)

    def without_keys(self) -> list[str]:
        """Tables with several rows whose key is NULL."""
        nullable = [table.name for table in self.schema.tables if table.key == "nullable"]
        return [name for name in nullable if [row[0] for row in self.rows(name)].count(None) > 1]

    def orphaned(self) -> list[str]:
        """Tables with rows without a parent."""
        return sorted({row[0] for row in self.db.execute("PRAGMA foreign_key_check")})
