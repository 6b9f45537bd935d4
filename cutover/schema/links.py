"""The foreign keys of one table: those that SQLite declares and those that Postgres has, in SQLite's names. Pure.

As with `one_table`, what was found for the very same tables is found again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from cutover.model.table import ForeignKey, Table
from cutover.schema.findings import Finding
from cutover.schema.postgres_schema import PostgresTable
from cutover.schema.sqlite_schema import SqliteForeignKey, SqliteTable

_MOST_KNOWN = 2000


@dataclass(frozen=True, slots=True)
class Family:
    """A table, and what its foreign keys point to."""

    table: Table
    source: SqliteTable
    adopted: PostgresTable | None
    """Where it stands on Postgres."""
    parents: tuple[tuple[SqliteTable, Table] | None, ...]
    """By foreign key of `source`; None where it is not mirrored."""
    there: tuple[Table | None, ...]
    """By foreign key of `adopted`."""

    def is_as(self, other: Family) -> bool:
        """Whether all of them are the very same tables."""
        return [id(each) for each in self._all()] == [id(each) for each in other._all()]

    def _all(self) -> tuple[object, ...]:
        mapped = (pair[1] if pair else None for pair in self.parents)
        return (self.table, self.source, self.adopted, *mapped, *self.there)


@dataclass(frozen=True, slots=True)
class Linked:
    """The table with its foreign keys."""

    table: Table
    declared: tuple[SqliteForeignKey, ...]
    """Those of SQLite between mapped tables, names as in CREATE TABLE."""
    findings: tuple[Finding, ...]


_known: dict[int, tuple[Family, Linked]] = {}
"""By the identity of the table, which is kept."""


def link(family: Family) -> Linked:
    """Give the table its foreign keys, unless that was just done."""
    if not family.parents and not family.there:
        return Linked(family.table, (), ())
    key = id(family.table)
    known = _known.get(key)
    if known is not None and known[0].is_as(family):
        return known[1]
    linked = _link(family)
    _known[key] = family, linked
    while len(_known) > _MOST_KNOWN:
        _known.pop(next(iter(_known)), None)  # another thread may have done it
    return linked


def _link(family: Family) -> Linked:
    findings = list[Finding]()
    declared = tuple(_declared(family, findings))
    keys = dict.fromkeys(ForeignKey(key.columns, key.parent, key.parent_columns) for key in declared)
    keys |= dict.fromkeys(_of_target(family, findings))
    return Linked(replace(family.table, foreign_keys=tuple(keys)), declared, tuple(findings))


def _declared(family: Family, findings: list[Finding]) -> list[SqliteForeignKey]:
    found, own = [], family.table
    for key, parent in zip(family.source.foreign_keys, family.parents, strict=True):
        columns = as_declared(family.source, key.columns, own)
        theirs = as_declared(parent[0], key.parent_columns, parent[1]) if parent else ()
        if parent is None or not columns or not theirs or len(columns) != len(theirs):
            message = f"Its foreign key ({', '.join(key.columns)}) points to {key.parent}, which is not mirrored."
            todo = f"Mirror {key.parent}, or have the application check these rows."
            findings.append(Finding("warns", "foreign_key_unchecked", message, todo, own.name))
        else:
            found.append(replace(key, columns=columns, parent=parent[1].name, parent_columns=theirs))
    return found


def _of_target(family: Family, findings: list[Finding]) -> list[ForeignKey]:
    found, own = [], family.table
    for key, parent in zip(family.adopted.foreign_keys if family.adopted else (), family.there, strict=True):
        columns = _source_names(key.columns, own)
        theirs = _source_names(key.parent_columns, parent) if parent else ()
        if parent is None or not columns or not theirs:
            message = (
                f"Postgres's foreign key {key.name} involves what is not mirrored, so orphans are not found before"
                " a promotion."
            )
            todo = f"Mirror {key.parent} and its columns, or drop {key.name}."
            findings.append(Finding("warns", "foreign_key_unchecked", message, todo, own.name))
        else:
            found.append(ForeignKey(columns, parent.name, theirs))
    return found


def as_declared(source: SqliteTable, names: tuple[str, ...], table: Table) -> tuple[str, ...]:
    """`names` of columns as CREATE TABLE spells them; empty if one is not mirrored."""
    mapped = {column.name for column in table.columns}
    found = [column.name for name in names if (column := source.column(name)) and column.name in mapped]
    return tuple(found) if len(found) == len(names) else ()


def _source_names(targets: tuple[str, ...], table: Table) -> tuple[str, ...]:
    names = {column.target: column.name for column in table.columns}
    return tuple(names[target] for target in targets) if all(target in names for target in targets) else ()
