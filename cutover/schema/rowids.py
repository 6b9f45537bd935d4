"""Tables with a declared key that is none for Postgres: their hidden rowid is the key in its place. Pure.

SQLite takes NULL in every primary key but that of an integer, and any kind of value in one of no firm type:
`id SERIAL PRIMARY KEY`, as some migrators write it, is numeric and holds nothing but NULL.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import replace

from cutover.errors import SchemaError
from cutover.model.table import Column
from cutover.schema.codecs import codec_for
from cutover.schema.postgres_schema import PostgresTable
from cutover.schema.sqlite_schema import ROWID, SqliteColumn, SqliteTable
from cutover.schema.types import choose_type, normal_type
from cutover.settings import ColumnSettings, TableSettings


def keyed_by_rowid(
    source: SqliteTable,
    target: PostgresTable | None,
    chosen: TableSettings,
    nulls: Container[str],
    *,
    born: bool,
    loose: bool,
) -> bool:
    """Whether the rowid goes before the declared key: the table was made so on Postgres, or has to be.

    It has to be if it is `born`, or if the column of the key is one of `nulls`, where all rows there are have NULL;
    and wherever SQLite takes NULL in the key, if such keys are to be `loose`.
    """
    key = [column for name in source.primary_key if (column := source.column(name))]
    if chosen.key or source.without_rowid or source.rowid_alias or source.column(ROWID) is not None:
        return False
    if not key or all(column.not_null for column in key):
        return False
    if target is not None:
        return target.column(ROWID) is not None
    given = {name.lower(): each for name, each in chosen.columns.items()}
    asked = [column for column in key if born or column.name in nulls]
    return loose or any(not _fit(column, given.get(column.name.lower(), ColumnSettings())) for column in asked)


def with_rowid(source: SqliteTable) -> SqliteTable:
    """The table with its hidden rowid as key. The declared one stays as the unique index that it is in SQLite."""
    rowid = SqliteColumn(ROWID, "INTEGER", "INTEGER", True, None, "BINARY", hidden=True)  # not null
    return replace(source, columns=(*source.columns, rowid), primary_key=(ROWID,), rowid_alias=ROWID)


def _fit(column: SqliteColumn, chosen: ColumnSettings) -> bool:
    """Whether Postgres can have it in a key."""
    try:
        kind = normal_type(chosen.type) if chosen.type else choose_type(column, None, born=True)
        made = Column(column.name, column.declared, column.affinity, column.name, kind, exact=True)
        return not codec_for(made).key
    except SchemaError:
        return True  # what is wrong is said where the column is mapped
