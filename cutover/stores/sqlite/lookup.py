"""Rows by their keys, many in one statement: at each step of one the interpreter is let go and taken again, which on a
busy service costs more than the step."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import TypeVar

from cutover.model.table import Table
from cutover.model.values import Key, Row, SqlValue
from cutover.schema.sqlite_schema import quoted
from cutover.stores.sqlite.connection import fetch
from cutover.stores.sqlite.keys import TypedKey, bound, match, typed

SIZES = (64, 8)
"""Keys, or rows, in one statement: few numbers, so that few texts are compiled."""

T = TypeVar("T")


def rows_of(connection: sqlite3.Connection, table: Table, keys: Sequence[Key]) -> list[Row | None]:
    """The row with exactly each of these keys, by type and bytes; None where there is none."""
    found: dict[TypedKey, Row] = {}
    together = list({typed(key): key for key in keys if all(map(_is_plain, key))}.values())
    together += [together[-1]] * (-len(together) % SIZES[-1]) if len(together) > 1 else []
    for part in parts(connection, together, len(table.key)):
        rows = fetch(connection, _select(table, len(part)), tuple(chain.from_iterable(part)))
        found.update(zip(map(typed, map(table.key_of, rows)), rows, strict=True))  # also what an affinity makes equal
    return [found.get(typed(key)) if all(map(_is_plain, key)) else read_row(connection, table, key) for key in keys]


def read_row(connection: sqlite3.Connection, table: Table, key: Key) -> Row | None:
    """The row with exactly this key."""
    where, parameters = match(table, key)
    rows = fetch(connection, f"SELECT {column_list(table)} FROM {quoted(table.name)} WHERE {where}", parameters)
    return rows[0] if rows else None


def column_list(table: Table, prefix: str = "") -> str:
    """The table's columns, quoted."""
    return ", ".join(prefix + quoted(column.name) for column in table.columns)


def _is_plain(value: SqlValue) -> bool:
    """Whether it is sent as it is, and found by equality."""
    if type(value) is str:
        return value.isascii() or bound(value)[0] == "?"
    return type(value) in (int, bytes, float)


def parts(connection: sqlite3.Connection, items: Sequence[T], width: int) -> Iterator[Sequence[T]]:
    """Cut into pieces of `SIZES`, largest first, and what is left into single ones. `width`: parameters of each."""
    most, at = connection.getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER) // width, 0
    for size in (*SIZES, 1):
        while size <= max(most, 1) and len(items) - at >= size:
            yield items[at : at + size]
            at += size


def _select(table: Table, count: int) -> str:
    given = ", ".join([f"({', '.join('?' * len(table.key))})"] * count)
    same = " AND ".join(
        f"t.{quoted(column.name)} = k.column{number}" for number, column in enumerate(table.key_columns, 1)
    )
    return (
        f"SELECT {column_list(table, 't.')} FROM (VALUES {given}) AS k "
        f"CROSS JOIN {quoted(table.name)} AS t ON {same}"  # never the other way round
    )
