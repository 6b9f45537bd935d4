"""Which tables refer to a table, and what their foreign keys do when its rows go or get other keys."""

from __future__ import annotations

from collections.abc import Container, Iterator
from functools import lru_cache

from sqlglot import exp

from cutover.dialect.catalog import Catalog, meant_by
from cutover.dialect.trees import clauses_of
from cutover.model.table import ForeignKey, Table
from cutover.schema.createsql import Reference, read_create_table

_CHANGING = ("CASCADE", "SET NULL", "SET DEFAULT")


def references_to(table: Table, catalog: Catalog) -> Iterator[tuple[Table, Reference]]:
    """The tables with a foreign key to it, which may be itself, once for each key."""
    name = table.name.lower()
    for child in catalog.tables.values():
        for one in _references(child.sql):
            if one.parent == name:
                yield child, one


def deleting_acts(table: Table, catalog: Catalog) -> bool:
    """Whether deleting a row of this table changes rows that refer to it, or is refused although it comes back."""
    return any(one.on_delete in (*_CHANGING, "RESTRICT") for _, one in references_to(table, catalog))


def deleting_changes(table: Table, catalog: Catalog) -> bool:
    """Whether deleting a row of this table deletes or changes rows that refer to it."""
    return any(one.on_delete in _CHANGING for _, one in references_to(table, catalog))


def moving_changes(table: Table, catalog: Catalog) -> bool:
    """Whether another key for a row of this table deletes or changes rows that refer to it."""
    return any(one.on_update in _CHANGING for _, one in references_to(table, catalog))


def moving_acts(table: Table, catalog: Catalog, named: Container[str]) -> bool:
    """Whether other values for these columns, in lower case, change rows that refer to the table by them, or are
    refused for those. Not by its rowid: that is looked at before anything else."""
    keys = {name for key in references_by(table, catalog) for name in key.parent_columns} - {table.rowid_alias}
    acting = any(one.on_update in (*_CHANGING, "RESTRICT") for _, one in references_to(table, catalog))
    return acting and any(name.lower() in named for name in keys)


def is_related(table: Table, catalog: Catalog) -> bool:
    """Whether it has a foreign key, or there is one to it."""
    return bool(_references(table.sql)) or any(True for _ in references_to(table, catalog))


def references_by(table: Table, catalog: Catalog) -> Iterator[ForeignKey]:
    """The foreign keys to it, of whichever table, as Postgres has them."""
    return (key for child in catalog.tables.values() for key in child.foreign_keys if key.parent == table.name)


def deleting_returns(table: Table, catalog: Catalog, actions: Container[str] = (*_CHANGING, "RESTRICT")) -> bool:
    """Whether deleting a row of this table may change, delete or be refused for others of its own, over any keys.

    `actions`: those of the last of the keys that count.
    """
    seen, waiting = {table.name}, [table]
    while waiting:
        for child, one in references_to(waiting.pop(), catalog):
            if child.name == table.name and one.on_delete in actions:
                return True
            if child.name not in seen and one.on_delete == "CASCADE":
                seen.add(child.name)
                waiting.append(child)
    return False


def admits_orphans(table: Table) -> bool:
    """Whether REPLACE stores rows of this table whose parent, in the same table, is not there: SQLite takes the foreign
    key of the new row for what ON DELETE SET NULL does to the one that goes, and does not look at it."""
    name = table.name.lower()
    return any(one.parent == name and one.on_delete == "SET NULL" for one in _references(table.sql))


def moves_keys(node: exp.Insert, table: Table, catalog: Catalog, *, given: bool) -> bool:
    """Whether an ON CONFLICT clause gives a row that is met another foreign key, or what others refer to it by.

    `given`: the rowid is among the columns; else nothing is met by it.
    """
    named = {
        meant_by(name.name, table)
        for clause in clauses_of(node)
        if given or _meets_more(clause, table)
        for setting in clause.expressions
        for name in (setting.this.expressions if isinstance(setting.this, exp.Tuple) else [setting.this])
    }
    if not named:
        return False
    keys = {name for key in table.foreign_keys for name in key.columns}
    return any(
        name.lower() in named for name in keys.union(*(key.parent_columns for key in references_by(table, catalog)))
    )


def _meets_more(clause: exp.OnConflict, table: Table) -> bool:
    """Whether a row may meet another one by more than its rowid."""
    keys = clause.args.get("conflict_keys") or ()
    if table.rowid_alias is None or not keys:
        return any(index.columns != (table.rowid_alias,) for index in table.unique)
    return len(keys) > 1 or meant_by(keys[0].name, table) != table.rowid_alias.lower()


def cascading(table: Table, catalog: Catalog) -> Iterator[Table]:
    """It, and the tables of which rows may go or get other keys with rows of it."""
    seen, waiting = {table.name}, [table]
    while waiting:
        parent = waiting.pop()
        yield parent
        for child, one in references_to(parent, catalog):
            if child.name not in seen and "CASCADE" in (one.on_delete, one.on_update):
                seen.add(child.name)
                waiting.append(child)


@lru_cache(maxsize=4096)
def _references(sql: str) -> tuple[Reference, ...]:
    return tuple(read_create_table(sql).references)
