"""Mapped tables from a live SQLite schema, with a fixed choice of target types, for tests of the stores alone."""

from __future__ import annotations

import sqlite3

from cutover.model.table import Column, ForeignKey, Table, Tables
from cutover.schema.sqlite_schema import ROWID, SqliteTable, read_sqlite_schema

_TYPES = {
    "INTEGER": "bigint",
    "TEXT": "text",
    "REAL": "double precision",
    "BLOB": "bytea",
    "NUMERIC": "double precision",
}


def mapped(connection: sqlite3.Connection, types: dict[str, str] | None = None) -> Tables:
    """Every table of the file that declares a primary key; `types` gives target types of columns by "table.column"."""
    schema = read_sqlite_schema(connection)
    return tuple(_mapped(table, types or {}) for table in schema.tables if table.primary_key not in ((), (ROWID,)))


def _mapped(table: SqliteTable, types: dict[str, str]) -> Table:
    return Table(
        name=table.name,
        target_schema="public",
        target=table.name,
        columns=tuple(
            Column(
                name=column.name,
                declared=column.declared,
                affinity=column.affinity,
                target=column.name,
                target_type=types.get(f"{table.name}.{column.name}", _TYPES[column.affinity]),
                not_null=column.not_null,
                default=column.default,
                collation=column.collation,
            )
            for column in table.columns
        ),
        key=table.primary_key,
        unique=table.unique,
        foreign_keys=tuple(ForeignKey(fk.columns, fk.parent, fk.parent_columns) for fk in table.foreign_keys),
        rowid_alias=table.rowid_alias,
        autoincrement=table.autoincrement,
        without_rowid=table.without_rowid,
        sql=table.sql,
    )
