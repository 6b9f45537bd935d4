"""Whether Postgres can have a foreign key that SQLite has. Pure."""

from __future__ import annotations

from cutover.model.table import Table
from cutover.schema.postgres_schema import PostgresTable
from cutover.schema.sqlite_schema import SqliteForeignKey, SqliteTable

_FAMILIES = {"character varying": "text", "smallint": "bigint", "integer": "bigint"}


def unenforceable(table: Table, parent: Table, key: SqliteForeignKey, there: PostgresTable | None) -> str:
    """Why Postgres would refuse this foreign key; empty if it would not. `there`: the parent, if it stands already."""
    if told := unlike(table, parent, key):
        return told
    wanted = set(key.parent_columns)
    if len(wanted) < len(key.parent_columns):
        return f"({', '.join(key.parent_columns)}) names a column twice"
    if there is not None:
        targets = {column.target for column in parent.columns if column.name in wanted}
        unique = any(
            index.unique and not index.partial and index.immediate and set(index.columns) == targets
            for index in there.indexes
        )
    else:
        unique = wanted == set(parent.key) or any(
            not index.partial
            and set(index.columns) == wanted
            and all(collation == "BINARY" for _, collation in index.terms)
            for index in parent.unique
        )
    return "" if unique else f"({', '.join(key.parent_columns)}) is not unique there"


def is_key(parent: SqliteTable | None, key: SqliteForeignKey) -> bool:
    """Whether SQLite finds the columns that are referred to by a key of the parent's; else it is a mismatch."""
    wanted = {name.lower() for name in key.parent_columns}
    keys = [one.columns for one in parent.unique if not one.partial] if parent is not None else []
    as_long = [one for one in keys if len(one) == len(key.parent_columns)]
    return any(wanted == {(name or "").lower() for name in one} for one in as_long)


def unlike(table: Table, parent: Table, key: SqliteForeignKey) -> str:
    """Which columns of the key Postgres cannot compare; empty if it can."""
    own = {column.name: column.target_type for column in table.columns}
    theirs = {column.name: column.target_type for column in parent.columns}
    for mine, other in zip(key.columns, key.parent_columns, strict=True):
        if _family(own[mine]) != _family(theirs[other]):
            return f"{mine} is {own[mine]} and {other} is {theirs[other]}"
    return ""


def _family(target_type: str) -> str:
    base = target_type.partition("(")[0]
    return _FAMILIES.get(base, base)
