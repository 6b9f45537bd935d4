"""Columns that ALTER TABLE may add to an empty table only: SQLite says so of tables with rows."""

from __future__ import annotations

import sqlite3
from itertools import pairwise
from typing import Any

from cutover.dialect.schema_change import Change
from cutover.model.table import Tables
from cutover.schema.createsql import keyword
from cutover.schema.sqlite_schema import SqliteTable, quoted
from cutover.schema.sqltokens import tokens
from cutover.stores.sqlite.failures import explained


async def demand_addable(connection: Any, change: Change, tables: Tables, sql: str, *, foreign_keys: bool) -> None:  # noqa: ANN401  # lent or own
    """Raises SQLite's `StatementError` where Postgres has rows that the new column would have no value for."""
    places = {table.name: f"{quoted(table.target_schema)}.{quoted(table.target)}" for table in tables}
    for before, after in change.altered:
        error = _objection(before, after, sql, foreign_keys=foreign_keys)
        if error is None or before.name not in places:
            continue
        if await connection.fetchval(f"SELECT EXISTS (SELECT 1 FROM {places[before.name]})"):
            db = sqlite3.connect(":memory:")
            try:
                raise explained(error, db, sql)
            finally:
                db.close()


def _is_stored(sql: str) -> bool:
    """Whether the text adds a generated column that is kept in its table."""
    run = list(tokens(sql))
    return any(one.text == ")" and keyword(other) == "STORED" for one, other in pairwise(run))


def _objection(before: SqliteTable, after: SqliteTable, sql: str, *, foreign_keys: bool) -> sqlite3.Error | None:
    """What SQLite says where it adds the columns to a table that has a row."""
    known = {column.name for column in before.columns}
    added = [column for column in after.columns if column.name not in known]
    if len(after.columns) <= len(before.columns):
        return None
    db = sqlite3.connect(":memory:", isolation_level=None)
    try:
        db.execute("CREATE TABLE t(id INTEGER PRIMARY KEY)")
        db.execute("INSERT INTO t VALUES (1)")
        db.execute(f"PRAGMA foreign_keys = {int(foreign_keys)}")
        for column in added:
            text = f"ALTER TABLE t ADD COLUMN {quoted(column.name + '_')} {'NOT NULL' if column.not_null else ''}"
            if column.generated:
                text += f" AS (1) {'STORED' if _is_stored(sql) else 'VIRTUAL'}"
            elif column.default is not None:
                is_word = len(list(tokens(column.default))) == 1  # a text to SQLite, unless it stands in parentheses
                text += f" DEFAULT {column.default}" if is_word else f" DEFAULT ({column.default})"
            if any(column.name in key.columns for key in after.foreign_keys):
                text += " REFERENCES t"
            try:
                db.execute(text)
            except sqlite3.Error as error:
                return error
    finally:
        db.close()
    return None
