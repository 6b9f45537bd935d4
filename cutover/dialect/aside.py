"""Where a stream's temporary tables are between its transactions: in a schema that no statement is translated to.

Each transaction of the stream fetches them into the application's schema and puts them aside again before it commits,
so nobody else sees them, a rollback finds them as they were, and no connection is held meanwhile. The schemas stay,
since making one has everybody read the catalog again; each belongs to one stream at a time.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import asyncpg

from cutover.dialect.failures import busy
from cutover.errors import CutoverError
from cutover.schema.objects_wanted import memory, read_objects, schema_of, temporary_objects
from cutover.schema.postgres_again import read_again
from cutover.schema.sqlite_schema import quoted
from cutover.schema.temporary import shared

if TYPE_CHECKING:
    from cutover.dialect.connections import Connections
    from cutover.dialect.dialect import Dialect
    from cutover.dialect.running import Connection
    from cutover.model.table import Table

_SCHEMA = "cutover_temporary_"
MOST = 32
"""Streams that may have temporary tables at once."""
_LEFT = r"""
SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname LIKE 'cutover\_temporary\_%' AND n.nspname LIKE $1 AND c.relkind = 'r'"""


@dataclass(frozen=True)
class Kept:
    """What a stream has aside."""

    place: int
    texts: tuple[str, ...]
    """SQLite's, of the tables and of their indexes."""
    dialect: Dialect
    """As it was for the transaction that put them there."""

    @property
    def names(self) -> list[str]:
        """Of the tables."""
        return self.dialect.temporary_names


class Aside:
    """The places for streams of one executor."""

    def __init__(self) -> None:
        self._taken: set[int] = set()
        self._swept = False

    async def take(self, connection: Connection) -> int:
        """A free place, empty, in the caller's transaction. Raises `StatementError`; to be given back by `free`."""
        place = next((at for at in range(MOST) if at not in self._taken), None)
        if place is None:
            raise busy(f"{MOST} streams have temporary tables, and no more may; drop tables that are not needed.")
        self._taken.add(place)
        try:
            if not await connection.fetchval("SELECT to_regnamespace($1) IS NOT NULL", _name(place)):
                await connection.execute(f"CREATE SCHEMA {_name(place)}")
            await _drop(connection, _name(place))
        except BaseException:
            self._taken.discard(place)
            raise
        return place

    def free(self, place: int) -> None:
        """The stream has no tables any more; what it may have left there is dropped by whoever comes next."""
        self._taken.discard(place)

    async def sweep(self, connection: Connection) -> None:
        """Drop what a process before this one has left; once."""
        if not self._swept:
            self._swept = True
            with suppress(asyncpg.PostgresError):
                await _drop(connection, f"{_SCHEMA}%")

    async def empty(self, connections: Connections, place: int) -> None:
        """A stream has ended, or lost its tables. A server that cannot be reached has them until the place is taken."""
        try:
            with suppress(CutoverError, asyncpg.PostgresError, OSError, TimeoutError):
                async with connections.lend() as connection:
                    await _drop(connection, _name(place))
        finally:
            self.free(place)


async def fetch(connection: Connection, dialect: Dialect, kept: Kept) -> Dialect:
    """Bring the tables into the schema of the application's. Returns what holds in this transaction from then on.
    Raises `StatementError`, and what the driver raises."""
    settings = dialect.settings
    assert settings is not None
    ddl = (*dialect.ddl, *kept.texts)
    names = {name.lower() for name in kept.names}
    for each in read_objects(memory(dialect.ddl)).values():
        if each.name.lower() in names:
            raise shared(each.name)
    schema = settings.postgres.schema_
    seen = await dialect.look(connection)
    for table in _own(kept.dialect):
        place = f"{_name(kept.place)}.{quoted(table.target)}"
        await connection.execute(f"ALTER TABLE {place} SET SCHEMA {quoted(table.target_schema)}")
    seen = await read_again(connection, schema, seen)
    return await dialect.changed(connection, dialect.mapped(schema_of(ddl), seen.schema), ddl, seen)


def texts_of(dialect: Dialect) -> tuple[str, ...]:
    """SQLite's texts of the temporary tables and their indexes."""
    found = temporary_objects(memory(dialect.ddl)).values()
    return tuple(each.sql for each in sorted(found, key=lambda each: each.kind != "table") if each.sql)


def put_text(dialect: Dialect, place: int) -> str:
    """Puts the tables aside; behind the checks of a COMMIT."""
    to = _name(place)
    return "".join(
        f"ALTER TABLE {quoted(table.target_schema)}.{quoted(table.target)} SET SCHEMA {to}; " for table in _own(dialect)
    )


def _own(dialect: Dialect) -> list[Table]:
    return [table for table in dialect.tables if table.name.lower() in dialect.temporary]


async def _drop(connection: Connection, pattern: str) -> None:
    found = [row[0] for row in await connection.fetch(_LEFT, pattern)]
    if found:
        await connection.execute(f"DROP TABLE {', '.join(found)} CASCADE")


def _name(place: int) -> str:
    return f"{_SCHEMA}{place}"
