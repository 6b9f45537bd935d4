"""Foreign keys that a schema change gives to tables which stand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from cutover.dialect.schema_change import Change
from cutover.dialect.typed import Refused
from cutover.model.table import Table, Tables
from cutover.schema.ddl import Ddl
from cutover.schema.enforceable import is_key, unenforceable, unlike
from cutover.schema.links import as_declared
from cutover.schema.postgres_schema import PostgresSchema, PostgresTable
from cutover.schema.sqlite_schema import SqliteForeignKey, SqliteTable

_UNLIKE = "Under PRAGMA foreign_keys = OFF one table can be made anew after the other."


def missing_foreign_keys(change: Change, tables: Tables, target: PostgresSchema, *, acting: bool) -> Iterator[str]:
    """Foreign keys of tables that stand, to one that was made, and of columns that were added. Raises `Refused`.

    NOT VALID, as on SQLite, which does not look at the rows that are there. Unless keys are `acting`, one to a parent
    whose column is of another type is left out, until its table is made anew, too: a key's type is changed so, table by
    table. As long as it is missing, writes that could break it are refused.
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
            if child is None or parent is None or parent_own is None:
                continue
            if not (key.parent.lower() in created or own.name in altered):
                continue
            if not is_key(parent_own, key):  # SQLite refuses each write that would have it looked at
                continue
            named = _named((own, child), (parent_own, parent), key)
            types = unlike(child, parent, named)
            if types and not acting:
                continue
            if problem := unenforceable(child, parent, named, target.table(parent.target)):
                raise Refused(f"{_called(child, parent)} ({problem})", _UNLIKE if types else "")
            if there is not None and not _has(there, child, parent, named):
                ddl = Ddl()
                ddl.add_foreign_key(child, parent, named)
                yield f"{ddl.foreign_keys[0]} NOT VALID"


def _named(
    child: tuple[SqliteTable, Table], parent: tuple[SqliteTable, Table], key: SqliteForeignKey
) -> SqliteForeignKey:
    """The key with its columns as the tables spell them."""
    mine, theirs = as_declared(child[0], key.columns, child[1]), as_declared(parent[0], key.parent_columns, parent[1])
    if not mine or len(mine) != len(theirs):
        raise Refused(f"{_called(child[1], parent[1])}, which has no such key,")
    return replace(key, columns=mine, parent_columns=theirs)


def _called(child: Table, parent: Table) -> str:
    return f"The foreign key of {child.name} to {parent.name}"


def _has(there: PostgresTable, child: Table, parent: Table, key: SqliteForeignKey) -> bool:
    targets = {column.name: column.target for column in child.columns}
    columns = tuple(targets[name] for name in key.columns)
    return any(each.parent == parent.target and each.columns == columns for each in there.foreign_keys)
