"""Schema changes wait for their locks in short tries.

Whoever wants a table behind a waiting ALTER waits as well, readers included: one that waited for a long transaction
would hold up the whole application.

Transactions of applications' streams that have read such a table, and stand, would find with their next statement that
the schema has changed: they are ended for it, once they had a moment to come to their own end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

import asyncpg

from cutover.clock import monotonic
from cutover.dialect.changing import Lent
from cutover.dialect.failures import busy
from cutover.dialect.standing import holding_any
from cutover.errors import StatementError
from cutover.model.table import Tables
from cutover.stores.postgres.locks import ATTEMPT, AUTOVACUUM, holders
from cutover.stores.postgres.names import target

if TYPE_CHECKING:
    from cutover.dialect.direct import Connection
    from cutover.dialect.standing import Standing

T = TypeVar("T")

PATIENCE = 5.0
"""Seconds for all tries together; SQLITE_BUSY then."""
LASTING = 30.0
"""Seconds for which self-contained work comes again that would give a column another type: an ordinary INSERT."""
ROUND = 2.0
"""Seconds for which it waits at a time. Other writes go between."""
COURTESY = 1.0
"""Seconds before transactions of other streams are ended."""
_LONGEST_PAUSE = 0.3


class Blocked(StatementError):
    """Others had a table for too long. The statement was undone."""

    def __init__(self) -> None:
        told = busy("others have read or written the table and are not done; repeat it.")
        super().__init__(told.message, told.code, retry=True)


async def in_short_tries(
    connection: Connection,
    tables: Tables,
    change: Callable[[], Awaitable[T]],
    undo: Callable[[], Awaitable[object]],
    *,
    standing: Standing,
    patience: float,
) -> T:
    """What `change` returns. `undo` goes back to before it. Raises what `change` raises; `Blocked` after `patience`."""
    began, pause, wait = monotonic(), 0.02, ATTEMPT
    places = [target(table) for table in tables]
    before = await connection.fetchval("SHOW lock_timeout")
    with standing.expelling() as expel:
        while True:
            await connection.execute(f"SET LOCAL lock_timeout = {int(wait * 1000)}")
            try:
                made = await change()
            except asyncpg.LockNotAvailableError:
                await undo()
                if monotonic() + pause >= began + patience:
                    raise Blocked from None
            else:
                await connection.execute(f"SET LOCAL lock_timeout = '{before}'")
                return made
            _, autovacuum = await holders(Lent(connection), places)
            wait = AUTOVACUUM if autovacuum else ATTEMPT
            if monotonic() >= began + COURTESY:
                expel(await holding_any(connection, places))
            await asyncio.sleep(pause)  # those who queued behind go first
            pause = min(pause * 2, _LONGEST_PAUSE)
