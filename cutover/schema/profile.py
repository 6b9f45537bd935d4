"""Counting over a live SQLite table, in short reads: no snapshot stays open longer than one slice of rows."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence

from cutover.schema.matching import Histograms
from cutover.schema.sqlite_schema import SqliteSchema, SqliteTable, free_rowid_name, quoted
from cutover.schema.types import Histogram, is_soft

Progress = Callable[[str, int], None]
"""Told (table, rows read so far) after each slice."""

_SLICE = 20_000
_EXPRESSIONS = 500
"""In one statement; SQLite allows 2,000 result columns."""


def silent(_table: str, _rows: int) -> None:
    """A `Progress` that says nothing."""


class Questions:
    """Conditions that one pass counts, and the places of their answers."""

    def __init__(self) -> None:
        self.conditions: list[str] = []

    def all(self, conditions: Iterable[str]) -> range:
        """Add them; returns where their counts will be."""
        first = len(self.conditions)
        self.conditions += conditions
        return range(first, len(self.conditions))


def count_conditions(
    connection: sqlite3.Connection, table: SqliteTable, conditions: Sequence[str], progress: Progress = silent
) -> tuple[int, list[int]]:
    """(number of rows, for each condition the number of rows that meet it). `s` names the row in conditions."""
    rows, counts = 0, dict.fromkeys(conditions, 0)  # one that several ask is counted once
    asked = list(counts)
    for within, values in _slices(connection, table):
        for first in range(0, max(len(asked), 1), _EXPRESSIONS):
            part = asked[first : first + _EXPRESSIONS]
            listed = "".join(f", count(*) FILTER (WHERE {condition})" for condition in part)
            found = connection.execute(f"SELECT count(*){listed} FROM {quoted(table.name)} AS s {within}", values)
            number, *met = found.fetchone()
            if first == 0:
                rows += number
            for condition, count in zip(part, met, strict=True):
                counts[condition] += count
        progress(table.name, rows)
    return rows, [counts[condition] for condition in conditions]


def _slices(connection: sqlite3.Connection, table: SqliteTable) -> Iterator[tuple[str, tuple[object, ...]]]:
    """WHERE clauses that together cover the table, each about `_SLICE` rows of its primary order."""
    names = _order(table)
    if not names:
        yield "", ()
        return
    listed = ", ".join(f"s.{quoted(name)}" for name in names)
    marks = "(" + ", ".join("?" * len(names)) + ")"
    after: tuple[object, ...] = ()
    while True:
        beyond = f"({listed}) > {marks}" if after else "1"
        upto = connection.execute(
            f"SELECT {listed} FROM {quoted(table.name)} AS s WHERE {beyond}"
            f" ORDER BY {listed} LIMIT 1 OFFSET {_SLICE - 1}",
            after,
        ).fetchone()
        if upto is None:
            yield f"WHERE {beyond}", after
            return
        yield f"WHERE {beyond} AND ({listed}) <= {marks}", (*after, *upto)
        after = upto


def _order(table: SqliteTable) -> tuple[str, ...]:
    if table.without_rowid:
        return table.primary_key
    if table.rowid_alias:
        return (table.rowid_alias,)
    rowid = free_rowid_name(column.name for column in table.columns)
    return () if rowid is None else (rowid,)


def estimated_rows(connection: sqlite3.Connection) -> dict[str, int]:
    """About how many rows each table has, without reading them: its highest rowid. For progress."""
    found = dict[str, int]()
    for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
        try:
            found[name] = connection.execute(f"SELECT max(rowid) FROM {quoted(name)}").fetchone()[0] or 0
        except sqlite3.OperationalError:  # it has no rowid, or a module that is not here
            continue
    return found


def read_histograms(
    connection: sqlite3.Connection, schema: SqliteSchema, wanted: Sequence[str], progress: Progress = silent
) -> Histograms:
    """What the soft columns (`types.is_soft`) of the tables named in `wanted` hold. Raises `sqlite3.Error`."""
    found = dict[tuple[str, str], Histogram]()
    for table in schema.tables:
        soft = [column.name for column in table.columns if is_soft(column.affinity) and not column.generated]
        if table.name not in wanted or not soft:
            continue
        classes = ("null", "integer", "real", "text", "blob")
        conditions = [f"typeof(s.{quoted(name)}) = '{each}'" for name in soft for each in classes]
        _, counts = count_conditions(connection, table, conditions, progress)
        for number, name in enumerate(soft):
            at = number * len(classes)
            found[table.name, name] = Histogram(*counts[at : at + len(classes)])
    return found
