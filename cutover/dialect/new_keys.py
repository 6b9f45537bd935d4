"""Foreign keys that a schema change gives to tables which stand."""

from __future__ import annotations

from collections.abc import Iterator

from cutover.dialect.schema_change import Change
from cutover.dialect.typed import Refused
from cutover.model.table import Table, Tables
from cutover.schema.ddl import Ddl
from cutover.schema.mapping import family
from cutover.schema.postgres_schema import PostgresSchema, PostgresTable
from cutover.schema.sqlite_schema import SqliteForeignKey


def missing_foreign_keys(change: Change, tables: Tables, target: PostgresSchema) -> Iterator[str]:
    """Foreign keys of tables that stand, to one that was made, and of columns that were added. Raises `Refused`.

    NOT VALID, as on SQLite, which does not look at the rows that are there.
    """
    by_name = {table.name: table for table in tables}
    created = {table.name.lower() for table in change.created}
    altered = {after.name for _, after in change.altered}
    for own in change.after.tables:
        child = by_name.get(own.name)
        there = target.table(child.target) if child is not None else None
        for key in own.foreign_keys if there is not None else ():
            parent_own = change.after.table(key.parent)
            parent = by_name.get(parent_own.name) if parent_own is not None else None
            if child is None or parent is None or not (key.parent.lower() in created or own.name in altered):
                continue
            _demand_possible(child, parent, key)
            if there is not None and not _has(there, child, parent, key):
                ddl = Ddl()
                ddl.add_foreign_key(child, parent, key)
                yield f"{ddl.foreign_keys[0]} NOT VALID"


def _demand_possible(child: Table, parent: Table, key: SqliteForeignKey) -> None:
    wanted = set(key.parent_columns)
    unique = wanted == set(parent.key) or any(
        not index.partial and set(index.columns) == wanted for index in parent.unique
    )
    if not unique or not len(key.columns) == len(key.parent_columns) == len(wanted):
        raise Refused(f"The foreign key of {child.name} to columns of {parent.name} that are not its key")
    mine, theirs = ({one.name.lower(): one.target_type for one in each.columns} for each in (child, parent))
    for one, other in zip(key.columns, key.parent_columns, strict=True):
        mine_is, theirs_is = mine[one.lower()], theirs[other.lower()]
        if family(mine_is) != family(theirs_is):
            raise Refused(f"The foreign key of {child.name} to {parent.name}, of {mine_is} to {theirs_is},")


def _has(there: PostgresTable, child: Table, parent: Table, key: SqliteForeignKey) -> bool:
    targets = {column.name.lower(): column.target for column in child.columns}
    columns = tuple(targets.get(name.lower(), name) for name in key.columns)
    return any(each.parent == parent.target and each.columns == columns for each in there.foreign_keys)
