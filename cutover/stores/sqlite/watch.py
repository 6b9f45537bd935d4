"""Notices commits of other processes, at next to no cost while nothing happens."""

from __future__ import annotations

import asyncio
import os
import sqlite3

from cutover.clock import monotonic, wall
from cutover.logs import get_logger
from cutover.stores.sqlite.connection import Connection

_BACKSTOP = 1.0
"""Seconds between looks at `PRAGMA data_version`, which misses nothing but costs a hop to a thread."""
_GRAIN = 0.02
"""Seconds. File times are coarse: a file written this lately may be written again without looking different."""


class CommitWatch:
    """One task that looks at the WAL file's size and time, and one event that it sets."""

    def __init__(self, database: str, poll_interval: float) -> None:
        self._wal = os.path.realpath(database) + "-wal"
        self._poll_interval = poll_interval
        self._event = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._log = get_logger("sqlite")

    def start(self, connection: Connection) -> None:
        """Begin watching, with a connection used for nothing else."""
        self._task = asyncio.create_task(self._watch(connection), name="sqlite-commit-watch")

    async def stop(self) -> None:
        """End the task."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    def wake(self) -> None:
        """This process committed something."""
        self._event.set()

    async def wait(self, timeout: float) -> bool:
        """True when something may have been committed since the last True; False after `timeout` seconds."""
        try:
            async with asyncio.timeout(timeout):
                await self._event.wait()
        except TimeoutError:
            return False
        self._event.clear()
        return True

    def _look(self) -> tuple[int, int] | None:
        try:
            found = os.stat(self._wal)
        except FileNotFoundError:
            return None
        return found.st_mtime_ns, found.st_size

    async def _watch(self, connection: Connection) -> None:
        seen, again = self._look(), False
        version, due = await self._version(connection), monotonic() + _BACKSTOP
        while True:
            await asyncio.sleep(self._poll_interval)
            now = self._look()
            if now != seen or again:
                again = now != seen and now is not None and wall() - now[0] / 1e9 < _GRAIN
                seen = now
                self._event.set()
            if monotonic() >= due:
                current, due = await self._version(connection), monotonic() + _BACKSTOP
                if current != version:
                    version = current
                    self._event.set()

    async def _version(self, connection: Connection) -> int | None:
        try:
            return await connection.run(lambda c: int(c.execute("PRAGMA data_version").fetchone()[0]))
        except sqlite3.Error as error:
            self._log.warning("data_version cannot be read", error=str(error))
            return None
