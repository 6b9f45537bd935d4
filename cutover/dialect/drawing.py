"""What a statement does to automatic keys: which sequence it draws from, and of which tables the highest row may go."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlglot import exp

from cutover.dialect.catalog import Catalog
from cutover.dialect.referring import cascading
from cutover.dialect.typed import RowByRow
from cutover.model.table import Column, Table
from cutover.stores.postgres.names import quote, target

if TYPE_CHECKING:
    from cutover.dialect.writes import Written

_REFERS = re.compile(r"\bREFERENCES\b", re.IGNORECASE)


UNNUMBERED = "rowid of "
"""Begins the name under which the rows of a table are counted that have no number on Postgres (`numbering`)."""


@dataclass(frozen=True, slots=True)
class Check:
    """Finds a row that was inserted: a query, whose arguments are those of the INSERT at these places."""

    sql: str
    places: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Drawing:
    """An INSERT into a table whose automatic keys come from a sequence."""

    sequence: str
    relation: str
    """The table's name on Postgres, quoted."""
    column: str
    """The key's, quoted."""
    autoincrement: bool
    rows: int | None
    """How many rows get an automatic key; None: as many as a SELECT gives."""
    gives: bool
    """Some rows have keys of their own, which the sequence is moved past, also where the statement fails then."""
    skips: bool
    """It has a conflict clause: some rows may not be stored though a key was drawn for them."""
    counted: bool = False
    """No sequence gives keys: rows are counted only."""
    clears: bool = False
    """REPLACE: whatever it meets goes, so that each row is a new one. Said of rows that are counted only."""
    spares: bool = False
    """No key is drawn for a row that is there."""
    besides: int = 0
    """How many rows of VALUES have keys of their own beside those that get automatic ones."""
    moves: bool = False
    """It is moved past given keys of rows that are not stored as well."""
    checks: tuple[Check, ...] = ()
    """By which rows are found that are counted only; none: they are not."""

    @property
    def by_rows(self) -> bool:
        """Whether SQLite gives the next row the key that was drawn for one that is not stored, as it does without
        AUTOINCREMENT."""
        if self.counted:
            return False
        several = not self.gives if self.rows is None else self.rows > 1
        return several and self.skips and not self.autoincrement


def drawing_of(
    catalog: Catalog, written: Written, columns: list[Column], *, skips: bool, moves: bool = False
) -> Drawing | None:
    """Of an INSERT with these columns; None where no sequence gives keys."""
    table, values = written.table, written.node.expression
    sequence = catalog.sequences.get(table.name)
    if table.rowid_alias is None or sequence is None or catalog.counts(table):
        return None
    at = next((place for place, column in enumerate(columns) if column.name == table.rowid_alias), None)
    rows: int | None = 1
    gives, besides = at is not None, 0
    if isinstance(values, exp.Values):
        rows = sum(1 for row in values.expressions if at is None or _draws(row.expressions[at]))
        if at is not None and not table.autoincrement and _may_turn(values, at):
            raise RowByRow("INSERT of keys that may be below zero before automatic ones")
        # A single row that fails has moved nothing, unless it is by a foreign key, which is checked behind it.
        besides = len(values.expressions) - rows
        gives = besides > 0 and (len(values.expressions) > 1 or _REFERS.search(table.sql) is not None)
    elif values is not None:
        rows = None if at is None or _draws(values.expressions[at]) else 0
        gives = at is not None and not _is_draw(values.expressions[at])
    name = next(column.target for column in table.columns if column.name == table.rowid_alias)
    return Drawing(
        sequence,
        target(table),
        quote(name),
        table.autoincrement,
        rows,
        gives or moves,
        skips,
        besides=besides,
        moves=moves,
    )


def drawing_one(table: Table, sequence: str) -> Drawing:
    """One row more."""
    name = next(column.target for column in table.columns if column.name == table.rowid_alias)
    return Drawing(sequence, target(table), quote(name), table.autoincrement, rows=1, gives=False, skips=False)


def _may_turn(values: exp.Values, at: int) -> bool:
    """Whether an automatic key stands behind one that may be below zero, where SQLite goes on if the table is empty."""
    keys = [row.expressions[at] for row in values.expressions]
    first = next((place for place, key in enumerate(keys) if not _draws(key) and not _is_natural(key)), len(keys))
    return any(map(_draws, keys[first + 1 :]))


def _is_natural(key: exp.Expr) -> bool:
    """Whether the text tells that it is not below zero."""
    return isinstance(key, exp.Literal) and not key.is_string


def _draws(value: exp.Expr) -> bool:
    if isinstance(value, exp.Var):
        return value.name.upper() == "DEFAULT"
    return any(str(call.this) == "nextval" for call in value.find_all(exp.Anonymous))


def _is_draw(value: exp.Expr) -> bool:
    return str(value.this) == "nextval"


def unnumbered(table: Table) -> bool:
    """Whether rows have a hidden rowid on SQLite, and nothing like it on Postgres."""
    return table.rowid_alias is None and not table.without_rowid


def lowered(catalog: Catalog, table: Table, *, moved: bool = False) -> tuple[str, ...]:
    """The sequences of tables whose highest row may be gone once rows of `table` are deleted or, if `moved`, get other
    keys: its own, and those of tables that a foreign key deletes from. Deletions do not matter to AUTOINCREMENT. Of
    tables without one, the names under which their rows are counted.
    """
    found: dict[str, None] = {}
    for each in cascading(table, catalog):
        if unnumbered(each) and not moved:
            found[UNNUMBERED + each.sql] = None
        sequence = catalog.sequences.get(each.name)
        if sequence is not None and not catalog.counts(each) and (moved or not each.autoincrement):
            found[sequence] = None
    return tuple(found)


def raised(catalog: Catalog, table: Table) -> tuple[str, ...]:
    """The sequence of a table of which rows get other keys, which native writers would be given again."""
    sequence = catalog.sequences.get(table.name)
    return () if sequence is None or catalog.counts(table) else (sequence,)


def replaced(catalog: Catalog, table: Table, *, given: bool) -> tuple[str, ...]:
    """The same for REPLACE. An automatic key is higher than those of all rows that went, so its row is the highest."""
    own = None if given else catalog.sequences.get(table.name)
    return tuple(name for name in lowered(catalog, table) if name != own)
