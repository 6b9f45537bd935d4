"""Schema changes wait for their locks in short tries.

Whoever wants a table behind a waiting ALTER waits as well, readers included: one that waited for a long transaction
would hold up the whole application.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

import asyncpg

from cutover.clock import monotonic
from cutover.dialect.changing import Lent
from cutover.model.table import Tables
from cutover.stores.postgres.locks import ATTEMPT, AUTOVACUUM, holders
from cutover.stores.postgres.names import target

if TYPE_CHECKING:
    from cutover.dialect.running import Connection

T = TypeVar("T")

PATIENCE = 5.0
"""Seconds for all tries together; SQLITE_BUSY then."""
_LONGEST_PAUSE = 0.3


async def in_short_tries(
    connection: Connection, tables: Tables, change: Callable[[], Awaitable[T]], undo: Callable[[], Awaitable[object]]
) -> T:
    """What `change` returns. `undo` goes back to before it. Raises what `change` raises, in the end also for locks."""
    deadline, pause, wait = monotonic() + PATIENCE, 0.02, ATTEMPT
    before = await connection.fetchval("SHOW lock_timeout")
    while True:
        await connection.execute(f"SET LOCAL lock_timeout = {int(wait * 1000)}")
        try:
            made = await change()
        except asyncpg.LockNotAvailableError:
            if monotonic() + pause >= deadline:
                raise
            await undo()
        else:
            await connection.execute(f"SET LOCAL lock_timeout = '{before}'")
            return made
        _, autovacuum = await holders(Lent(connection), [target(table) for table in tables])
        wait = AUTOVACUUM if autovacuum else ATTEMPT
        await asyncio.sleep(pause)  # those who queued behind go first
        pause = min(pause * 2, _LONGEST_PAUSE)
