"""A schema that changed while it was mirrored: what is to be done on the shadow, as steps. Pure.

Steps come from the two schemas as they are now; the record of the last mapping only explains them. So a step that was
taken is not planned again, and a kill anywhere is made good by planning anew. `evolve_postgres` plans for Postgres as
the shadow, `evolve_sqlite` for SQLite.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from cutover.schema.findings import Finding
from cutover.schema.recorded import Record
from cutover.schema.sqlite_schema import SqliteTable


@dataclass(frozen=True)
class Step:
    """One statement for the shadow."""

    sentence: str
    """What it does, for people."""
    sql: str


@dataclass(frozen=True)
class TableChange:
    """What one table needs."""

    table: str
    """Its name on SQLite; that of before, where it is renamed there by a step."""
    steps: tuple[Step, ...] = ()
    """Taken together or not at all. Without them rows cannot be mirrored."""
    soft: tuple[Step, ...] = ()
    """Constraints, defaults and indexes: each by itself, and what fails for rows that are there is tried again."""

    on_sqlite: bool = False
    """SQLite is the shadow."""


@dataclass(frozen=True)
class Evolution:
    """What is to be done now. After it was done (or could not be) both schemas are read again, and planned again."""

    record: Record
    """With tables that the application renamed under their names of now."""
    changes: tuple[TableChange, ...] = ()
    findings: tuple[Finding, ...] = field(default=())
    forgets: bool = False
    """The record lacks what the steps take away and a later look gives back. It is to be kept before they are taken:
    behind a kill nothing else tells that it is missed."""


def renamed(before: Sequence[tuple[str, object]], now: Sequence[tuple[str, object]]) -> dict[str, str]:
    """Name of now → name of before, for columns given as (name, declaration) in their order.

    A name that is gone and one that is new are one column if they stand in the same place and are declared the same.
    From the first place on where that does not explain a difference, nothing is taken for sure.
    """
    names_before, names_now = {name.lower() for name, _ in before}, {name.lower() for name, _ in now}
    found = dict[str, str]()
    for (old, was), (new, is_now) in zip(before, now, strict=False):
        if old.lower() == new.lower():
            continue
        if old.lower() in names_now or new.lower() in names_before or was != is_now:
            break
        found[new] = old
    return found


def declarations(table: SqliteTable) -> list[tuple[str, object]]:
    """Columns as `renamed` wants them."""
    return [
        (column.name, (column.declared.upper(), column.not_null, column.default, column.collation, column.generated))
        for column in table.columns
    ]


def same_shape(one: SqliteTable, other: SqliteTable) -> bool:
    """Whether the two differ by their names and constraints at most."""
    key, keys = ([name.lower() for name in each.primary_key] for each in (one, other))
    columns, others = ([(n.lower(), kind) for n, kind in declarations(each)] for each in (one, other))
    return columns == others and key == keys and one.without_rowid == other.without_rowid
