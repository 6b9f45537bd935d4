"""What replays of reads and of writes have in common: one state of both stores, and a loop that nothing ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress

import structlog

from cutover.errors import CutoverError
from cutover.stores.base import Snapshot
from cutover.stores.pair import Pair
from cutover.stores.postgres.snapshot import PostgresSnapshot
from cutover.stores.sqlite.snapshot import SqliteSnapshot

Level = Callable[[], AbstractAsyncContextManager[tuple[Pair, Snapshot, Snapshot]]]
"""Both stores in one state."""

_PAUSE = 1.0
_AGAIN = 10.0
"""Seconds until what differed is replayed once more."""


@asynccontextmanager
async def in_one_state(level: Level) -> AsyncIterator[tuple[Pair, SqliteSnapshot, str] | None]:
    """Both stores, and the name under which Postgres's state was exported; None if SQLite is not primary."""
    async with level() as (pair, primary, shadow):
        if isinstance(primary, SqliteSnapshot) and isinstance(shadow, PostgresSnapshot):
            yield pair, primary, await shadow.exported()
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
