"""Errors of which Postgres does not say all that SQLite tells: which constraint it was, how far the statement came."""

from __future__ import annotations

from typing import TYPE_CHECKING

import asyncpg
from sqlglot import exp

from cutover.dialect.halfway import is_in

if TYPE_CHECKING:
    from cutover.dialect.writes import Written

_UNIQUE, _CHECK = asyncpg.UniqueViolationError, asyncpg.CheckViolationError
_KEY = asyncpg.ForeignKeyViolationError
_OF_ROWS = (_UNIQUE, _CHECK, asyncpg.NotNullViolationError)


def unclear(written: Written, *, by_row: bool) -> tuple[type[Exception], ...]:
    """Of this statement. `by_row`: it is run for each of several rows."""
    table, node = written.table, written.node
    if isinstance(node, exp.Update):
        return _OF_ROWS if _constraints(written) > 1 else ()
    if not isinstance(node, exp.Insert):
        return ()
    many = by_row or not isinstance(node.expression, exp.Values) or len(node.expression.expressions) > 1
    if table.rowid_alias is not None:  # last_insert_rowid() is that of the last row which was there
        return (
            (*_OF_ROWS, _KEY, asyncpg.InvalidTextRepresentationError)
            if many
            else _of_one(written) + _of_stored(written)
        )
    return _of_one(written)


def _of_one(written: Written) -> tuple[type[Exception], ...]:
    table = written.table
    return (*((_UNIQUE,) if len(table.unique) > 1 else ()), *((_CHECK,) if len(table.checks) > 1 else ()))


def _of_stored(written: Written) -> tuple[type[Exception], ...]:
    """The only row is refused before it is stored, unless something is to be done behind that."""
    sql = written.table.sql.lower()
    return (_KEY,) if written.returning or 0 < sql.count("references") == sql.count("initially deferred") else ()


def _constraints(written: Written) -> int:
    """How many may fail by an UPDATE, about."""
    table = written.table
    assigned = {setting.this.name for setting in written.node.expressions}
    named = [column for column in table.columns if column.target in assigned]
    keys = sum(any(is_in(index, column.name, table) for column in named) for index in table.unique)
    return keys + len(table.checks) + sum(column.not_null for column in named)
