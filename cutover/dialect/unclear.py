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
    if table.rowid_alias is None:  # else last_insert_rowid() is that of the last row which was there
        return (*_of_one(written), *((_KEY,) if written.admits else ()))
    if by_row or not written.single:
        return (*_OF_ROWS, _KEY, asyncpg.InvalidTextRepresentationError)
    told = is_stored(written) or written.admits or "initially deferred" in table.sql.lower()
    return (*_of_one(written), *((_KEY,) if told else ()))


def is_stored(written: Written) -> bool:
    """Whether a row is there before its foreign keys are looked at, also those that do not wait: unless it is the only
    one, and nothing is to be done behind it."""
    return not written.single or bool(written.returning) or written.replaces or written.moves_keys


def _of_one(written: Written) -> tuple[type[Exception], ...]:
    table = written.table
    return (*((_UNIQUE,) if len(table.unique) > 1 else ()), *((_CHECK,) if len(table.checks) > 1 else ()))


def _constraints(written: Written) -> int:
    """How many may fail by an UPDATE, about."""
    table = written.table
    assigned = {setting.this.name for setting in written.node.expressions}
    named = [column for column in table.columns if column.target in assigned]
    keys = sum(any(is_in(index, column.name, table) for column in named) for index in table.unique)
    return keys + len(table.checks) + sum(column.not_null for column in named)
