"""The same statements on a real SQLite and, translated, on a real Postgres; answers must be the same."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from cutover.dialect.executor import PostgresExecutor
from cutover.errors import StatementError
from cutover.metrics import Metrics
from cutover.model.statement import Statement, StatementResult
from cutover.model.table import Tables
from cutover.model.values import SqlValue
from cutover.schema.mapping import map_tables
from cutover.schema.postgres_schema import read_postgres_schema
from cutover.schema.sqlite_schema import read_sqlite_schema
from cutover.schema.sqltext import split
from cutover.settings import Settings
from cutover.stores.postgres.store import PostgresStore
from cutover.stores.sqlite.running import run_statement


class Pool:
    """As much of a store as an executor needs: its pool."""

    def __init__(self, pool: asyncpg.Pool[asyncpg.Record]) -> None:
        self.pool = pool
        self.on_received: Callable[[Mapping[str, int]], None] = lambda _: None
        self.keys_given: Callable[[], Mapping[str, tuple[int, int]]] = dict


class World:
    """Both databases with one schema."""

    def __init__(self, db: sqlite3.Connection, executor: PostgresExecutor, tables: Tables, pool: Any) -> None:
        self.db, self.executor, self.tables, self.pool = db, executor, tables, pool
        self.session = executor.session()

    def on_sqlite(self, sql: str, *args: SqlValue) -> StatementResult:
        return run_statement(self.db, Statement(sql, args))

    async def on_postgres(self, sql: str, *args: SqlValue) -> StatementResult:
        return await self.session.execute(Statement(sql, args))

    async def same(self, sql: str, *args: SqlValue, ordered: bool | None = None) -> StatementResult:
        """Run on both; rows, their types, column names, counts and keys must be equal. Returns Postgres's."""
        expected, found = self.on_sqlite(sql, *args), await self.on_postgres(sql, *args)
        in_order = "ORDER BY" in sql.upper() if ordered is None else ordered
        one, two = typed_rows(found, in_order), typed_rows(expected, in_order)
        assert one == two, f"{sql}\n  postgres {one}\n  sqlite   {two}"
        assert [column.name for column in found.columns] == [column.name for column in expected.columns], sql
        assert found.affected == expected.affected, sql
        return found

    async def all_same(self, statements: Iterable[str], *, ordered: bool | None = None) -> None:
        """Each statement has the same answer on both; all that do not are told at once."""
        failures = []
        for sql in statements:
            try:
                await self.same(sql, ordered=ordered)
            except (AssertionError, StatementError) as error:
                failures.append(f"{sql}\n    {error}")
        assert not failures, "\n".join(failures)

    async def same_error(self, sql: str, *args: SqlValue) -> StatementError:
        """Both fail, with the same code and text."""
        failures = []
        try:
            self.on_sqlite(sql, *args)
        except StatementError as error:
            failures.append(error)
        try:
            await self.on_postgres(sql, *args)
        except StatementError as error:
            failures.append(error)
        assert len(failures) == 2, (sql, failures)
        sqlite, postgres = [(failure.code, failure.message) for failure in failures]
        assert postgres == sqlite, f"{sql}: {postgres}, SQLite: {sqlite}"
        return failures[1]

    async def refused(self, sql: str, match: str) -> None:
        """Postgres refuses it by name: `match` is part of what it says."""
        with pytest.raises(StatementError, match=match) as refused:
            await self.on_postgres(sql)
        assert refused.value.code == "SQL_NOT_TRANSLATABLE", sql


def typed_rows(result: StatementResult, in_order: bool) -> list[tuple[tuple[str, SqlValue], ...]]:
    """Rows with the type of each value; reals to 12 digits."""
    rows = [tuple((type(value).__name__, _rounded(value)) for value in row) for row in result.rows]
    return rows if in_order else sorted(rows, key=repr)


def _rounded(value: SqlValue) -> SqlValue:
    return float(f"{value:.12g}") if isinstance(value, float) else value


@asynccontextmanager
async def world(
    url: str,
    schema: str,
    *,
    target: str = "",
    settings: Settings | None = None,
    data: Sequence[str] = (),
    store: bool = False,
) -> AsyncIterator[World]:
    """`schema` on SQLite; on Postgres what `target` creates, or what the mapping does. `data` runs on both.

    With `store` the pool is that of a `PostgresStore`, otherwise one whose transactions are SERIALIZABLE by default.
    """
    db = sqlite3.connect(":memory:", isolation_level=None)
    db.execute("PRAGMA foreign_keys = ON")
    for statement in split(schema):
        db.execute(statement)
    postgres = PostgresStore(url)
    if store:
        await postgres.open()
        pool = postgres.pool
    else:
        serializable = {"default_transaction_isolation": "serializable"}
        pool = await asyncpg.create_pool(url, min_size=1, max_size=8, server_settings=serializable)
    executor = None
    try:
        async with pool.acquire() as connection:
            if target:
                await connection.execute(target)
            tables = await _map(connection, db, settings or Settings())
        statements = [
            row[0] for row in db.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY rowid")
        ]
        executor = PostgresExecutor(
            Pool(pool),  # type: ignore[arg-type]  # all that is used of it
            lambda: tables,
            lambda: statements,
            Metrics("test"),
            transaction_timeout=300,
            settings=settings or Settings(),
        )
        made = World(db, executor, tables, pool)
        for statement in data:
            await made.same(statement)
        try:
            yield made
        except BaseException:
            pool.terminate()  # whoever failed holds connections still
            raise
        await made.session.close()
    finally:
        db.close()
        if executor is not None:
            await executor.close()
        await pool.close()
        await postgres.close()


async def _map(connection: Any, db: sqlite3.Connection, settings: Settings) -> Tables:
    source = read_sqlite_schema(db)
    mapping = map_tables(source, await read_postgres_schema(connection, "public"), settings, born=True)
    for statement in mapping.create:
        await connection.execute(statement)
    return map_tables(source, await read_postgres_schema(connection, "public"), settings).tables
