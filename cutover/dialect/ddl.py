"""Schema changes of applications while Postgres is primary: SQLite judges them, Postgres makes them, SQLite follows.

The statement runs on an empty SQLite with today's schema, which says what is wrong with it in SQLite's words and what
it does. The equal statements run on Postgres, and the text itself is logged there in the same transaction: the service
carries it to the SQLite file, which so has the schema that the application asked for, to the letter.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cutover.errors import SchemaError, StatementError
from cutover.model.table import Tables
from cutover.schema.altering import Change, missing_foreign_keys
from cutover.schema.mapping import map_tables
from cutover.schema.postgres_schema import PostgresSchema, read_postgres_schema
from cutover.schema.sqlite_schema import SqliteSchema, read_sqlite_schema
from cutover.settings import Settings
from cutover.stores.sqlite.running import explained

if TYPE_CHECKING:
    from cutover.dialect.running import Connection

_AS_QUERY = re.compile(r"\bAS\s+((?:SELECT|WITH|VALUES)\b.*)\Z", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True)
class Schema:
    """A state of the schema that the service may not have followed yet."""

    tables: Tables
    ddl: tuple[str, ...]
    """SQLite's CREATE statements."""
    sequence: int = 0
    """The number of the change that made it, in the log of changes."""


@dataclass(frozen=True)
class Altered:
    """What came of a statement."""

    schema: Schema
    filling: str | None = None
    """CREATE TABLE ... AS: the INSERT that is still to be run."""


async def alter(
    connection: Connection, sql: str, now: Schema, settings: Settings, *, foreign_keys: bool = True
) -> Altered | None:
    """Run a schema change in the connection's open transaction; None where nothing is to be done (IF NOT EXISTS).

    Raises `StatementError` as SQLite does or for what has no equal, and what the driver raises.
    """
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        _fill(db, now.ddl)
        before, texts = read_sqlite_schema(db), _texts(db)
        try:
            db.execute(sql)
        except (sqlite3.Error, sqlite3.Warning) as error:
            raise explained(error, db, sql) from None
        after, ddl = read_sqlite_schema(db), _texts(db)
        if ddl == texts:
            return None
        logged, filling = _as_logged(sql, before, after)
    _demand_possible(before, after)
    if not await connection.fetchval("SELECT to_regclass('cutover.alterations') IS NOT NULL"):
        raise StatementError(
            "Schema changes do not pass through cutover here: the migration is finished, or has not begun. "
            "Run them on PostgreSQL itself.",
            "SQL_NOT_TRANSLATABLE",
        )
    await connection.execute("LOCK TABLE cutover.alterations IN EXCLUSIVE MODE")
    name = settings.postgres.schema_
    target = await read_postgres_schema(connection, name)  # type: ignore[arg-type]  # pooled
    try:
        statements = Change(before, after, target, now.tables, settings, foreign_keys).statements()
    except SchemaError as error:
        raise StatementError(f"{error.message} {error.hint}".strip(), "SQL_NOT_TRANSLATABLE") from None
    for statement in statements:
        await connection.execute(statement)
    if statements:
        target = await read_postgres_schema(connection, name)  # type: ignore[arg-type]  # pooled
        tables = _mapped(after, target, settings)
        for statement in missing_foreign_keys(after, target, tables):
            await connection.execute(statement)
    else:
        tables = now.tables
    sequence = await connection.fetchval(
        "INSERT INTO cutover.alterations (statement) VALUES ($1) RETURNING seq", logged
    )
    await connection.reload_schema_state()
    return Altered(Schema(tables, ddl, sequence), filling)


def _mapped(after: SqliteSchema, target: PostgresSchema, settings: Settings) -> Tables:
    standing = {table.name for table in target.tables}
    mapping = map_tables(after, target, settings, born=True)
    return tuple(table for table in mapping.tables if table.target in standing)


def _fill(db: sqlite3.Connection, ddl: Sequence[str]) -> None:
    for text in ddl:
        try:
            db.execute(text)
        except sqlite3.Error:  # a module that is not here
            continue


def _texts(db: sqlite3.Connection) -> tuple[str, ...]:
    """Tables, then indexes, then views: each after what it refers to."""
    return tuple(
        row[0]
        for row in db.execute(
            "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' "
            "ORDER BY CASE type WHEN 'table' THEN 1 WHEN 'index' THEN 2 WHEN 'view' THEN 3 ELSE 4 END, rowid"
        )
    )


def _demand_possible(before: SqliteSchema, after: SqliteSchema) -> None:
    if len(after.triggers) > len(before.triggers):
        raise StatementError("CREATE TRIGGER has no translation for Postgres.", "SQL_NOT_TRANSLATABLE")
    if len(after.virtual_tables) > len(before.virtual_tables):
        raise StatementError("CREATE VIRTUAL TABLE has no translation for Postgres.", "SQL_NOT_TRANSLATABLE")


def _as_logged(sql: str, before: SqliteSchema, after: SqliteSchema) -> tuple[str, str | None]:
    """What SQLite is to run: the text as it came, or of CREATE TABLE ... AS the table alone, whose rows come by
    themselves; and the INSERT that fills it."""
    known = {table.name.lower() for table in before.tables}
    new = [table for table in after.tables if table.name.lower() not in known]
    query = _AS_QUERY.search(sql)
    if len(new) != 1 or query is None or not re.match(r"\s*CREATE\b", sql, re.IGNORECASE):
        return sql, None
    if "(" in sql[: query.start()]:
        return sql, None
    name = new[0].name.replace('"', '""')
    return new[0].sql, f'INSERT INTO "{name}" {query[1]}'
