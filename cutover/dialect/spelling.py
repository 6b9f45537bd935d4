"""How applications spell the values of columns of which nothing is known yet: learned from the first that they write.

A column that was empty when it was mapped has the format of its type by default. A value that would not come back from
that as it was written says what the column's format is, if there is one that gives it back.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from cutover.dialect.typed import Refused
from cutover.errors import SchemaError, Unrepresentable
from cutover.model.table import Column, Table, Tables
from cutover.model.values import SqlValue
from cutover.schema.codecs import codec_for
from cutover.schema.formats import detect, fits, unsaid

Learned = dict[tuple[str, str], tuple[str, str]]
"""(type on Postgres, format) by table and column."""


class Spelled(Refused):
    """A value says how its column spells values: the statement is to be translated again with that."""

    def __init__(self, column: Column, name: str) -> None:
        super().__init__(f"A value of column {column.name} that is written as {name}")


def where(tables: Iterable[Table], column: Column) -> tuple[str, str] | None:
    """The table and column that a value may say something of; None where the format is known, or is no matter."""
    if column.exact or not unsaid(column):
        return None
    return next(((table.name, column.name) for table in tables if any(one is column for one in table.columns)), None)


def look(learned: Learned, place: tuple[str, str], column: Column, value: SqlValue) -> None:
    """Note what the value, as SQLite would store it, says of its column's format; the first that says something counts.

    Raises `Spelled` if that is another format than the one that was taken for it.
    """
    if value is None or place in learned:
        return
    name, taken = detect(column, [value]), codec_for(column).format
    if _comes_back(column, value):
        if name and not name.endswith(_SIX):
            learned[place] = (column.target_type, taken)
    elif name and _comes_back(replace(column, format=name), value):
        learned[place] = (column.target_type, name)
        raise Spelled(column, name)


_SIX = ":SS.ffffff"
"""A fraction of six digits does not tell whether there are always six, or none where it is zero."""


def _comes_back(column: Column, value: SqlValue) -> bool:
    codec = codec_for(column)
    try:
        back = codec.to_source(codec.to_target(value))
    except (Unrepresentable, SchemaError):
        return False
    return type(back) is type(value) and back == value


def unknown(learned: Learned, tables: Tables) -> Learned:
    """What was learned of columns that these tables say nothing of."""
    still = {(table.name, column.name) for table in tables for column in table.columns if unsaid(column)}
    return {place: what for place, what in learned.items() if place in still and what[1]}


def differing(learned: Learned, tables: Tables) -> bool:
    """Whether some of it is another format than these tables go by."""
    columns = {(table.name, column.name): column for table in tables for column in table.columns}
    return any(codec_for(columns[place]).format != name for place, (_, name) in unknown(learned, tables).items())


def with_learned(tables: Tables, learned: Learned) -> Tables:
    """The tables with what was learned of columns of which nothing else is known."""
    return tuple(_with(table, learned) for table in tables) if learned else tables


def _with(table: Table, learned: Learned) -> Table:
    changed = False
    columns = []
    for column in table.columns:
        kind, name = learned.get((table.name, column.name), ("", ""))
        known = name and kind == column.target_type and unsaid(column) and fits(column, name)
        columns.append(replace(column, format=name, assumed=False) if known else column)
        changed = changed or bool(known)
    return replace(table, columns=tuple(columns)) if changed else table
