"""What replays of reads and of writes have in common: one state of both stores, and a loop that nothing ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass

import structlog

from cutover.dialect.dialect import Dialect
from cutover.dialect.reached import reached
from cutover.errors import CutoverError
from cutover.model.statement import Statement
from cutover.schema.objects_wanted import objects_of
from cutover.schema.sqltext import StatementKind, inspect
from cutover.stores.base import Snapshot
from cutover.stores.pair import Pair
from cutover.stores.postgres.snapshot import PostgresSnapshot
from cutover.stores.sqlite.snapshot import SqliteSnapshot

Level = Callable[[], AbstractAsyncContextManager[tuple[Pair, Snapshot, Snapshot, Mapping[str, int]]]]
"""Both stores in one state, and the tables that are whole on both, each with how often its rows changed."""

_PAUSE = 1.0
_AGAIN = 10.0
"""Seconds until what differed is replayed once more."""


@dataclass(frozen=True)
class Schema:
    """Which schema the stores and the translator went by, to tell whether it was another one the next time."""

    sqlite: str | None
    generation: int
    whole: frozenset[str]


@dataclass(frozen=True)
class State:
    """Both stores in one state, as long as their snapshots are open."""

    pair: Pair
    primary: SqliteSnapshot
    exported: str
    """The name of the shadow's snapshot."""
    changes: Mapping[str, int]
    """Tables that are copied, each with how often its rows changed."""
    version: str | None
    """SQLite's number of its schema."""

    def schema(self, dialect: Dialect) -> Schema:
        """As of now; a schema that is to be loaded with the next statement is another one already."""
        return Schema(self.version, dialect.generation + (not dialect.is_current), frozenset(self.changes))

    async def quarantined(self, dialect: Dialect, statement: Statement) -> str | None:
        """Whether rows of what the statement reads or writes cannot be on the shadow: which, to be told."""
        missing = _reached(statement, dialect, {row.table for row in await self.pair.target.quarantined()})
        return f"Rows of {missing} are in quarantine, so the shadow does not have them." if missing else None

    def not_whole(self, dialect: Dialect, statement: Statement) -> str | None:
        """Whether some of its tables were made a moment ago, and are not copied yet: which, to be told."""
        there = {each.name for each in objects_of(dialect.ddl).values() if each.kind == "table"}
        missing = _reached(statement, dialect, there - set(self.changes))
        return f"Not all rows of {missing} are copied." if missing else None


def _reached(statement: Statement, dialect: Dialect, tables: Collection[str]) -> str:
    writes = inspect(statement.sql).kind is StatementKind.WRITE
    return ", ".join(sorted(reached(statement.sql, dialect.ddl, tables, writes=writes))) if tables else ""


@asynccontextmanager
async def in_one_state(level: Level) -> AsyncIterator[State | None]:
    """Both stores; None if SQLite is not primary."""
    async with level() as (pair, primary, shadow, changes):
        if isinstance(primary, SqliteSnapshot) and isinstance(shadow, PostgresSnapshot):
            version = await primary.scalar("PRAGMA schema_version")
            yield State(pair, primary, await shadow.exported(), changes, version)
        else:
            yield None


async def keep_replaying(
    log: structlog.typing.FilteringBoundLogger,
    new: asyncio.Event,
    replay: Callable[[], Awaitable[None]],
    *,
    waits: Callable[[], bool] = lambda: False,
) -> None:
    """Replay when there is something new, when some time has gone by, or while something `waits`. Until cancelled."""
    while True:
        if not waits():
            with suppress(TimeoutError):
                async with asyncio.timeout(_AGAIN):
                    await new.wait()
        new.clear()
        try:
            await replay()
        except (CutoverError, OSError, TimeoutError) as error:
            log.debug("What was sampled could not be replayed", reason=str(error))
        except Exception:  # loop must live
            log.exception("Replaying met an error it does not know; it goes on")
        await asyncio.sleep(_PAUSE)
