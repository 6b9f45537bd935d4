"""Every test of this folder runs on both stores. `world` is a store with sample tables and a native application."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import closing
from typing import Protocol

import asyncpg
import pytest

from cutover.model.control import Control, Identity, other
from cutover.model.table import Table
from cutover.model.values import Row
from cutover.stores.base import Store
from cutover.stores.postgres.store import PostgresStore
from cutover.stores.sqlite.store import SqliteStore
from tests.support.samples import POSTGRES_DDL, SQLITE_DDL, TABLES

PAIR = "pair-of-tests"


class World(Protocol):
    """One store, opened, with `tests.support.samples.TABLES` made and served, and nothing initialised."""

    store: Store

    async def write(self, sql: str, *args: object) -> None:
        """An application's own write, past cutover, committed; `?` stands for arguments.

        Raises what the driver raises.
        """
        ...

    async def transaction(self, statements: Sequence[tuple[str, tuple[object, ...]]]) -> None:
        """Several statements in one transaction of the application."""
        ...

    async def rows(self, table: Table) -> list[Row]:
        """What the application sees, in key order."""
        ...


class SqliteWorld:
    """SQLite, and an application that opens the file itself."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.store = SqliteStore(path)

    async def write(self, sql: str, *args: object) -> None:
        await self.transaction([(sql, args)])

    async def transaction(self, statements: Sequence[tuple[str, tuple[object, ...]]]) -> None:
        with closing(sqlite3.connect(self.path, timeout=60)) as connection, connection:
            connection.execute("BEGIN IMMEDIATE")
            for sql, args in statements:
                connection.execute(sql, args)

    async def rows(self, table: Table) -> list[Row]:
        columns = ", ".join(f'"{column.name}"' for column in table.columns)
        order = ", ".join(f'"{name}" COLLATE BINARY' for name in table.key)
        with closing(sqlite3.connect(self.path)) as connection:
            return list(connection.execute(f'SELECT {columns} FROM "{table.name}" ORDER BY {order}'))


class PostgresWorld:
    """Postgres, and an application with a driver of its own."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.store = PostgresStore(url)

    async def write(self, sql: str, *args: object) -> None:
        await self.transaction([(sql, args)])

    async def transaction(self, statements: Sequence[tuple[str, tuple[object, ...]]]) -> None:
        connection = await asyncpg.connect(self.url)
        try:
            async with connection.transaction():
                for sql, args in statements:
                    await connection.execute(_numbered(sql), *args)
        finally:
            await connection.close()

    async def rows(self, table: Table) -> list[Row]:
        columns = ", ".join(f'"{column.target}"' for column in table.columns)
        order = ", ".join(f'"{column.target}"' for column in table.key_columns)
        connection = await asyncpg.connect(self.url)
        try:
            found = await connection.fetch(f'SELECT {columns} FROM "{table.target}" ORDER BY {order}')
        finally:
            await connection.close()
        return [tuple(row) for row in found]


def _numbered(sql: str) -> str:
    parts = sql.split("?")
    return "".join(part + (f"${n}" if n < len(parts) else "") for n, part in enumerate(parts, 1))


@pytest.fixture(params=["sqlite", "postgres"])
async def world(request: pytest.FixtureRequest, sqlite_path: str, postgres_url: str) -> AsyncIterator[World]:
    """A `World` on each store in turn."""
    made: SqliteWorld | PostgresWorld
    if request.param == "sqlite":
        made = SqliteWorld(sqlite_path)
        for statement in SQLITE_DDL:
            await made.write(statement)
    else:
        made = PostgresWorld(postgres_url)
        for statement in POSTGRES_DDL:
            await made.write(statement)
    await made.store.open()
    made.store.serve_tables(TABLES)
    try:
        yield made
    finally:
        await made.store.close()


def as_primary(store: Store) -> Control:
    """A first control row under which `store` is primary."""
    return Control(PAIR, primary=store.name, epoch=1, peer=_peer(store))


def as_shadow(store: Store) -> Control:
    """A first control row under which `store` is the shadow."""
    return Control(PAIR, primary=other(store.name), epoch=1, peer=_peer(store))


def _peer(store: Store) -> Identity | None:
    return Identity("1", 1) if store.name == "sqlite" else None
