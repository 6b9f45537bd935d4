"""A write that must be done by a deadline, or not at all and with the names of those in the way."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable

from cutover.clock import monotonic
from cutover.errors import FenceTimeout
from cutover.stores.sqlite.connection import Connection, in_transaction, settled
from cutover.stores.sqlite.owner import describe_holders


async def write_within(
    writer: Connection,
    turn: asyncio.Lock,
    path: str,
    timeouts: tuple[float, float],
    work: Callable[[sqlite3.Connection], None],
) -> None:
    """Run `work` in one transaction; `timeouts` are (for this write, the connection's usual one), in seconds.

    Raises `FenceTimeout` if the write turn of this process or the lock of the file is not had in time.
    """
    timeout, usual = timeouts
    deadline = monotonic() + timeout
    try:
        async with asyncio.timeout(timeout):
            await turn.acquire()
    except TimeoutError:
        raise FenceTimeout(
            f"A write through this service did not end within {timeout:.2g} s; it may wait for another process itself. "
            f"{describe_holders(path)}",
            hint="Have that one end its transaction, then repeat; open interactive ones end with their timeout.",
        ) from None
    try:
        await write_in_turn_within(writer, path, (max(deadline - monotonic(), 0.0), usual), work)
    finally:
        turn.release()


async def write_in_turn_within(
    writer: Connection, path: str, timeouts: tuple[float, float], work: Callable[[sqlite3.Connection], None]
) -> None:
    """The same for one who has the turn."""
    timeout, usual = timeouts
    await settled(writer.run(lambda connection: _within(connection, timeout, usual, path, work)))


def _within(
    connection: sqlite3.Connection,
    timeout: float,
    usual: float,
    path: str,
    work: Callable[[sqlite3.Connection], None],
) -> None:
    connection.execute(f"PRAGMA busy_timeout = {int(timeout * 1000)}")
    try:
        in_transaction(connection, work)
    except sqlite3.OperationalError as error:
        if not getattr(error, "sqlite_errorname", "").startswith("SQLITE_BUSY"):
            raise
        raise FenceTimeout(
            f"Another process held the write lock of {path} for {timeout:.2g} s. {describe_holders(path)}",
            hint="Have it end its transaction, then repeat.",
        ) from None
    finally:
        connection.execute(f"PRAGMA busy_timeout = {int(usual * 1000)}")
