"""The connections to a SQLite file: one that writes, some that read, one that watches for commits."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

from cutover.errors import ConfigurationError, StoreUnavailable
from cutover.stores.sqlite.connection import Connection, in_transaction, open_connection, settled, speaking
from cutover.stores.sqlite.courtesy import Courtesy
from cutover.stores.sqlite.owner import OwnerLock
from cutover.stores.sqlite.readers import Readers
from cutover.stores.sqlite.schemawatch import demand_standing
from cutover.stores.sqlite.watch import CommitWatch

T = TypeVar("T")


class Connected:
    """What works on a file in WAL mode, alone on its writer or on one of its readers."""

    def __init__(
        self, path: str, busy_timeout: float, readers: int, poll_interval: float, owner_lock: Path | None
    ) -> None:
        self.path = path
        self.writer_turn = asyncio.Lock()
        """Held by whoever writes through this process: `write`, an applier, an interactive transaction."""
        self.courtesy = Courtesy()
        self._busy_timeout = busy_timeout
        self._owner = OwnerLock(owner_lock) if owner_lock is not None else None
        self._writer_connection: Connection | None = None
        self._watch_connection: Connection | None = None
        self._readers = Readers(partial(self.connect, readonly=True), readers)
        self._snapshots = Readers(partial(self.connect, readonly=True), None)
        self._watch = CommitWatch(path, poll_interval)

    async def open(self) -> None:
        """Take the owner's lock and connect."""
        if self._writer_connection is not None:
            return
        if not os.path.exists(self.path):  # noqa: ASYNC240  # one stat, before anything runs
            raise ConfigurationError(
                f"There is no SQLite database at {self.path!r}.",
                hint="Check sqlite.path; to begin with an empty database, create an empty file there.",
            )
        if self._owner is not None:
            self._owner.acquire()
        self._readers.open()
        self._snapshots.open()
        try:
            async with speaking(f"opening {self.path}"):
                self._writer_connection = await self.connect()
                self._watch_connection = await self.connect(readonly=True)
            self._watch.start(self._watch_connection)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Close every connection, then let go of the owner's lock."""
        await self._watch.stop()
        await self._readers.close()
        await self._snapshots.close()
        for connection in (self._watch_connection, self._writer_connection):
            if connection is not None:
                await connection.close()
        self._watch_connection = self._writer_connection = None
        if self._owner is not None:
            self._owner.release()

    @property
    def _writer(self) -> Connection:
        if self._writer_connection is None:
            raise StoreUnavailable("The SQLite store is not open.")
        return self._writer_connection

    async def connect(self, *, readonly: bool = False) -> Connection:
        """Another configured connection, which the caller closes. Raises `sqlite3.Error`."""
        return await open_connection(self.path, busy_timeout=self._busy_timeout, readonly=readonly)

    async def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` on the writer connection's thread, alone. What it leaves open is rolled back.

        Raises what `work` raises. If the caller is cancelled, `work` still comes to its end first.
        """
        async with self.writer_turn:
            return await settled(self._writer.run(partial(tidily, work)))

    def write_in_turn(self, work: Callable[[sqlite3.Connection], T]) -> asyncio.Future[T]:
        """As `write`, for one who holds `writer_turn` and is never cancelled."""
        return self._writer.start(partial(tidily, work))

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` on a pooled reader's thread. Raises what `work` raises; cancelling interrupts it."""
        async with self._readers.one() as reader:
            return await settled(reader.run(partial(tidily, work)), stop=reader.cut_off)

    async def survey(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """As `read`, for `work` that goes by a schema read before. Raises `SchemaChanged` if it is another by now."""
        async with speaking("reading data to map them"):
            try:
                return await self.read(work)
            except sqlite3.OperationalError as error:
                demand_standing(error)
                raise

    @asynccontextmanager
    async def reader(self) -> AsyncIterator[Connection]:
        """A pooled reader for some time. It must be given back outside of any transaction."""
        async with self._readers.one() as reader:
            yield reader

    async def _change(self, work: Callable[[sqlite3.Connection], T], doing: str) -> T:
        async with speaking(doing):
            return await self.write(lambda connection: in_transaction(connection, work))

    async def _keep(self, work: Callable[[sqlite3.Connection], T], doing: str) -> T:
        """A change outside of a switch, which can wait a little."""
        writer = self._writer
        async with speaking(doing), self.courtesy.write(self.writer_turn):
            return await settled(writer.run(partial(tidily, lambda connection: in_transaction(connection, work))))

    async def _look(self, work: Callable[[sqlite3.Connection], T], doing: str) -> T:
        async with speaking(doing), self._snapshots.one() as reader:
            return await settled(reader.run(partial(tidily, work)))


def tidily(work: Callable[[sqlite3.Connection], T], connection: sqlite3.Connection) -> T:
    """The work. What it leaves open is rolled back."""
    try:
        return work(connection)
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
