"""Where a stream's temporary tables are: in a schema that statements of no other stream are translated to.

So nobody else sees them, they are in the way of no table, index or temporary table that has their name, a rollback
finds them as they were, and no connection is held between transactions. The schemas stay, since making one has
everybody read the catalog again; each belongs to one stream at a time.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import asyncpg

from cutover.dialect.failures import busy
from cutover.errors import CutoverError
from cutover.schema.objects_wanted import memory, read_objects, schema_of, temporary_objects
from cutover.schema.temporary import shared

if TYPE_CHECKING:
    from cutover.dialect.connections import Connections
    from cutover.dialect.dialect import Dialect
    from cutover.dialect.direct import Connection

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
    names: frozenset[str]
    """Theirs, in small letters."""
    dialect: Dialect
    """As it was at the end of the last transaction."""


class Aside:
    """The places for streams of one executor."""

    def __init__(self) -> None:
        self._taken: set[int] = set()
        self._swept = False

    def take(self) -> int:
        """A free place. Raises `StatementError`; to be given back by `free`."""
        place = next((at for at in range(MOST) if at not in self._taken), None)
        if place is None:
            raise busy(f"{MOST} streams have temporary tables, and no more may; drop tables that are not needed.")
        self._taken.add(place)
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


async def ready(connection: Connection, place: int) -> str:
    """Have the schema there, empty, in the caller's transaction; its name."""
    if not await connection.fetchval("SELECT to_regnamespace($1) IS NOT NULL", _name(place)):
        await connection.execute(f"CREATE SCHEMA {_name(place)}")
    await _drop(connection, _name(place))
    return _name(place)


async def fetch(connection: Connection, dialect: Dialect, kept: Kept) -> Dialect:
    """What holds in a transaction that has the tables. Raises `StatementError`, and what the driver raises."""
    ddl = (*dialect.ddl, *kept.texts)
    for each in read_objects(memory(dialect.ddl)).values():
        if each.name.lower() in kept.names:
            raise shared(each.name)
    beside = _name(kept.place)
    seen = await dialect.look_again(connection, await dialect.look(connection), beside)
    made = await dialect.changed(connection, dialect.mapped(schema_of(ddl), seen.schema), ddl, seen, beside)
    before = kept.dialect.catalog.sequences
    own = [sequence for name, sequence in before.items() if name.lower() in kept.names]
    made.keys.share(kept.dialect.keys, filter(None, own))
    return made


def kept_at(place: int, dialect: Dialect) -> Kept:
    """What such a transaction leaves there."""
    found = [each for each in temporary_objects(memory(dialect.ddl)).values() if each.sql]
    texts = tuple(each.sql for each in sorted(found, key=lambda each: each.kind != "table"))
    return Kept(place, texts, frozenset(each.name.lower() for each in found), dialect)


async def _drop(connection: Connection, pattern: str) -> None:
    found = [row[0] for row in await connection.fetch(_LEFT, pattern)]
    if found:
        await connection.execute(f"DROP TABLE {', '.join(found)} CASCADE")


def _name(place: int) -> str:
    return f"{_SCHEMA}{place}"
