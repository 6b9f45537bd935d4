"""How applications spell the values of columns of which nothing is known yet: learned from the first that they write.

A column that was empty when it was mapped has the format of its type by default. A value that would not come back from
that as it was written says what the column's format is, if there is one that gives it back.
"""

from __future__ import annotations

from dataclasses import replace

from cutover.dialect.typed import Refused
from cutover.errors import SchemaError, Unrepresentable
from cutover.model.table import Column, Table, Tables
from cutover.model.values import SqlValue
from cutover.schema.codecs import codec_for
from cutover.schema.formats import detect, fits, is_open

Learned = dict[tuple[str, str], tuple[str, str]]
"""(type on Postgres, format) by table and column."""


class Spelled(Refused):
    """A value says how its column spells values: the statement is to be translated again with that."""

    def __init__(self, column: Column, name: str) -> None:
        super().__init__(f"A value of column {column.name} that is written as {name}")
        self.column, self.format = column, name


def look(column: Column, value: SqlValue) -> None:
    """Raise `Spelled` if the value, as SQLite would store it, says more of the column's format than is known."""
    if column.exact or not is_open(column) or value is None or _comes_back(column, value):
        return
    name = detect(column, [value])
    if name and _comes_back(replace(column, format=name), value):
        raise Spelled(column, name)


def _comes_back(column: Column, value: SqlValue) -> bool:
    codec = codec_for(column)
    try:
        back = codec.to_source(codec.to_target(value))
    except (Unrepresentable, SchemaError):
        return False
    return type(back) is type(value) and back == value


def note(learned: Learned, tables: Tables, spelled: Spelled) -> bool:
    """Add to `learned` what a value said; False if that is known, or of no table there is."""
    for table in tables:
        if any(column is spelled.column for column in table.columns):
            where = table.name, spelled.column.name
            if where in learned:
                return False
            learned[where] = (spelled.column.target_type, spelled.format)
            return True
    return False


def unknown(learned: Learned, tables: Tables) -> Learned:
    """What was learned of columns that these tables say nothing of."""
    still = {(table.name, column.name) for table in tables for column in table.columns if is_open(column)}
    return {where: what for where, what in learned.items() if where in still}


def with_learned(tables: Tables, learned: Learned) -> Tables:
    """The tables with what was learned of columns of which nothing else is known."""
    return tuple(_with(table, learned) for table in tables) if learned else tables


def _with(table: Table, learned: Learned) -> Table:
    changed = False
    columns = []
    for column in table.columns:
        kind, name = learned.get((table.name, column.name), ("", ""))
        known = name and kind == column.target_type and is_open(column) and fits(column, name)
        columns.append(replace(column, format=name) if known else column)
        changed = changed or bool(known)
    return replace(table, columns=tuple(columns)) if changed else table
