"""PRAGMA foreign_key_check, which SQLite answers from the rows: a query over all foreign keys of the schema. Pure."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence

from cutover.model.table import Table
from cutover.schema.createsql import unquote
from cutover.schema.objects_wanted import memory
from cutover.schema.sqlite_schema import SqliteForeignKey, SqliteTable, quoted, read_sqlite_schema
from cutover.schema.sqltokens import tokens

_NONE = 'SELECT NULL AS "table", NULL AS rowid, NULL AS parent, NULL AS fkid WHERE 0'


def orphans_query(pragma: str, ddl: Sequence[str], tables: Sequence[Table]) -> str:
    """SQLite's SQL for what the PRAGMA asks for. A table whose rowid Postgres does not keep gives NULL for it, as
    tables WITHOUT ROWID do."""
    db = memory(ddl)
    try:
        asked = _argument(pragma)
        schema = read_sqlite_schema(db)
        numbered = {table.name: _numbers(db, table.name) for table in schema.tables}
    finally:
        db.close()
    known = {table.name: table for table in tables}
    parts: list[str] = []
    for own in schema.tables:
        if own.name in known and (not asked or own.name.lower() == asked.lower()):
            parents = {one.name.lower() for one in schema.tables}
            parts += _of_table(own, known[own.name], numbered[own.name], parents)
    return " UNION ALL ".join(parts) or _NONE


def _of_table(own: SqliteTable, table: Table, numbers: Sequence[int], parents: set[str]) -> Iterator[str]:
    has_rowid = table.rowid_alias is not None or any(column.hidden for column in table.columns)
    rowid = "c.rowid" if has_rowid else "NULL"
    for number, key in zip(numbers, reversed(own.foreign_keys), strict=True):
        texts = [f"'{text.replace(chr(39), chr(39) * 2)}'" for text in (own.name, key.parent)]
        there = " AND ".join(f"c.{quoted(name)} IS NOT NULL" for name in key.columns)
        lacking = f" AND NOT EXISTS ({_parent(key)})" if key.parent.lower() in parents else ""
        yield (
            f'SELECT {texts[0]} AS "table", {rowid} AS rowid, {texts[1]} AS parent, {number} AS fkid'
            f" FROM {quoted(own.name)} AS c WHERE {there}{lacking}"
        )


def _parent(key: SqliteForeignKey) -> str:
    same = (
        f"p.{quoted(theirs)} = c.{quoted(mine)}" for mine, theirs in zip(key.columns, key.parent_columns, strict=True)
    )
    return f"SELECT 1 FROM {quoted(key.parent)} AS p WHERE {' AND '.join(same)}"


def _numbers(db: sqlite3.Connection, table: str) -> list[int]:
    rows = db.execute("SELECT DISTINCT id FROM pragma_foreign_key_list(?) ORDER BY id", (table,))
    return [row[0] for row in rows]


def _argument(pragma: str) -> str:
    """The table in PRAGMA foreign_key_check(table), or behind an equals sign."""
    names = [unquote(token.text) for token in tokens(pragma) if token.type in ("word", "quoted", "string")]
    at = next(number for number, name in enumerate(names) if name.lower() == "foreign_key_check")
    return names[at + 1] if len(names) > at + 1 else ""
