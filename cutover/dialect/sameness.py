"""Whether the answers of both stores to one read are the same, told without a value of either. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from cutover.model.statement import Statement, StatementResult
from cutover.model.values import Row, SqlValue

_DIGITS = 12
"""Of reals: a sum depends in its last digits on the order in which it was made."""
_CHANGING = re.compile(
    r"\b(?:random|randomblob|changes|total_changes|last_insert_rowid|sqlite_\w+)\s*\("
    r"|\bcurrent_(?:time|date|timestamp)\b"
    r"|\b(?:date|time|datetime|julianday|unixepoch)\s*\(\s*\)"
    r"|\bstrftime\s*\(\s*'[^']*'\s*\)"
    r"|'now'|\bsqlite_sequence\b",  # Postgres's sequences are only set by the switch
    re.IGNORECASE,
)
_ORDER = re.compile(r"\border\s+by\b", re.IGNORECASE)
_NAMES = {type(None): "NULL", int: "an integer", float: "a real", str: "a text", bytes: "a blob"}


def changing(sql: str) -> bool:
    """Whether the text may answer differently each time: chance, the time, what the connection did before."""
    return _CHANGING.search(sql) is not None


def may_change(statement: Statement) -> bool:
    """As `changing`, with the arguments: `date(?)` of 'now' is the time as well."""
    values = (*statement.args, *(value for _, value in statement.named))
    return changing(statement.sql) or any(isinstance(value, str) and value.lower() == "now" for value in values)


def ordered(sql: str) -> bool:
    """Whether the text says anything of the order."""
    return _ORDER.search(sql) is not None


def only_order(one: StatementResult, other: StatementResult) -> bool:
    """Whether the rows are the same in another order."""
    return Counter(map(typed, one.rows)) == Counter(map(typed, other.rows))


def difference(sqlite: StatementResult, postgres: StatementResult, *, in_order: bool) -> str | None:
    """The first thing that differs; None if nothing does."""
    names, theirs = ([column.name for column in result.columns] for result in (sqlite, postgres))
    if names != theirs:
        return "The columns have other names on Postgres."
    if len(sqlite.rows) != len(postgres.rows):
        return f"{len(sqlite.rows)} rows on SQLite, {len(postgres.rows)} on Postgres."
    if only_order(sqlite, postgres):
        same = not in_order or list(map(typed, sqlite.rows)) == list(map(typed, postgres.rows))
        return None if same else "The same rows in another order."
    if in_order:
        return _where(sqlite.rows, postgres.rows, names)
    lone, lone_there = _alone(sqlite.rows, postgres.rows), _alone(postgres.rows, sqlite.rows)
    return f"{len(lone)} of {len(sqlite.rows)} rows differ. " + _where(lone, lone_there, names)


def _where(rows: Sequence[Row], theirs: Sequence[Row], names: Sequence[str]) -> str:
    for number, (row, other) in enumerate(zip(rows, theirs, strict=True), 1):
        for name, value, there in zip(names, row, other, strict=True):
            if _same(value) != _same(there):
                kinds = _NAMES[type(value)], _NAMES[type(there)]
                if kinds[0] != kinds[1]:
                    return f"Row {number}, column {name}: {kinds[0]} on SQLite, {kinds[1]} on Postgres."
                return f"Row {number}, column {name}: {kinds[0]} on both, but not the same."
    return "Rows differ."


def _alone(rows: Sequence[Row], others: Sequence[Row]) -> list[Row]:
    """Rows without a counterpart, in one order."""
    left = Counter(map(typed, others))
    alone = []
    for row in rows:
        held = typed(row)
        if left[held]:
            left[held] -= 1
        else:
            alone.append(row)
    return sorted(alone, key=repr)


def typed(row: Row) -> tuple[tuple[str, SqlValue], ...]:
    """What of a row is compared."""
    return tuple(map(_same, row))


def _same(value: SqlValue) -> tuple[str, SqlValue]:
    return type(value).__name__, float(f"{value:.{_DIGITS}g}") if isinstance(value, float) else value
