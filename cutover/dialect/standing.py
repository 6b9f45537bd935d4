"""Transactions of applications' streams that stand in the way of a schema change."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cutover.dialect.failures import busy

if TYPE_CHECKING:
    from cutover.dialect.direct import Connection
    from cutover.dialect.holding import Holding

_HOLDING = """
SELECT DISTINCT pid FROM pg_locks
WHERE granted AND locktype = 'relation' AND mode <> 'SIReadLock' AND pid <> pg_backend_pid()
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND relation = ANY (SELECT to_regclass(name)::oid FROM unnest($1::text[]) AS name)"""
_EXPELLED = busy("the transaction was rolled back so that a table that it had read could change; repeat it.")


class Standing:
    """The transactions that streams have open."""

    def __init__(self) -> None:
        self._open: set[Holding] = set()

    def note(self, holding: Holding) -> None:
        """It has one, or it has one no more."""
        if holding.transaction is not None:
            self._open.add(holding)
        else:
            self._open.discard(holding)

    @contextmanager
    def expelling(self) -> Iterator[Callable[[Sequence[int]], None]]:
        """Ends those on the connections of these numbers, each behind the statement that it is in: as long as this
        lasts."""
        begun: dict[Holding, asyncio.Task[None]] = {}

        def expel(pids: Sequence[int]) -> None:
            for holding in self._open - begun.keys():
                if holding.transaction is not None and holding.transaction.connection.get_server_pid() in pids:
                    begun[holding] = asyncio.create_task(holding.expel(_EXPELLED))

        try:
            yield expel
        finally:
            for task in begun.values():
                task.cancel()


async def holding_any(connection: Connection, places: Sequence[str]) -> list[int]:
    """Who else has locks on any of these tables, if only to read: the numbers of the connections."""
    return [row["pid"] for row in await connection.fetch(_HOLDING, places)]
