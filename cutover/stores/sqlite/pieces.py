"""Reads whose rows come a piece at a time, so that a result of any size takes little memory.

A client that takes its rows slowly must not keep its snapshot for long: SQLite's WAL could not be reused meanwhile.
After some seconds of waiting what is left is fetched into memory, if it is not too much, and the connection is free.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from cutover.errors import Fenced, StatementError, StoreUnavailable
from cutover.model.statement import BatchResult, Piece, StatementResult, Step, holds
from cutover.model.values import Row
from cutover.stores.sqlite.connection import Connection, settled
from cutover.stores.sqlite.declared import DeclaredTypes
from cutover.stores.sqlite.failures import busy, translate
from cutover.stores.sqlite.limit import Limit
from cutover.stores.sqlite.running import open_query

_SLICE = 32
"""Rows that are fetched before anybody looks how large they were."""
_PIECE = 256 * 1024
_AHEAD = 2
"""Pieces that are fetched before they are asked for."""

Lend = Callable[[], AbstractAsyncContextManager[Connection]]
"""A reading connection for some time."""


class Reading:
    """A batch of reads on one connection. Runs on that connection's thread."""

    def __init__(self, steps: Sequence[Step], types: DeclaredTypes) -> None:
        self.done = not steps
        self._steps = steps
        self._types = types
        self._so_far = BatchResult()
        self._cursor: sqlite3.Cursor | None = None

    def more(self, db: sqlite3.Connection, *, size: int = _PIECE) -> list[Piece]:
        """The next pieces, of about `size` bytes together."""
        found: list[Piece] = []
        while size > 0 and not self.done:
            if self._cursor is None:
                found += self._begin(db)
            else:
                rows = self._rows(self._cursor, found)
                size -= sum(map(_size_of, rows))
            self.done = self._cursor is None and len(self._so_far.results) == len(self._steps)
        return found

    def end(self, _db: sqlite3.Connection) -> None:
        """Give up what is left, and the snapshot with it."""
        if self._cursor is not None:
            self._cursor.close()
        self._cursor, self.done = None, True

    def _begin(self, db: sqlite3.Connection) -> list[Piece]:
        number = len(self._so_far.results)
        step = self._steps[number]
        if not holds(step.condition, self._so_far, autocommit=True):
            self._note(None, None)
            return []
        try:
            self._cursor, columns = open_query(db, step.statement, self._types)
        except StatementError as failure:
            error = failure.alone()
            self._note(None, error)
            return [Piece(number, error=error)]
        return [Piece(number, begins=columns)]

    def _rows(self, cursor: sqlite3.Cursor, found: list[Piece]) -> list[Row]:
        number = len(self._so_far.results)
        try:
            rows = cursor.fetchmany(_SLICE)
        except (sqlite3.Error, ValueError) as failure:
            cursor.close()
            self._cursor = None
            found_out = translate(failure)
            error = busy(found_out) if isinstance(found_out, Fenced) else found_out
            self._note(None, error)
            found.append(Piece(number, error=error))
            return []
        ends = StatementResult() if len(rows) < _SLICE else None
        if ends is not None:
            self._cursor = None
            self._note(ends, None)
        wanted = self._steps[number].statement.want_rows
        found.append(Piece(number, rows=rows if wanted else (), ends=ends))
        return rows

    def _note(self, result: StatementResult | None, error: StatementError | None) -> None:
        self._so_far.results.append(result)
        self._so_far.errors.append(error)


def read_if_small(db: sqlite3.Connection, steps: Sequence[Step], types: DeclaredTypes) -> BatchResult | None:
    """A batch's result, or None if it is more than one piece."""
    reading = Reading(steps, types)
    pieces = reading.more(db)
    if not reading.done:
        reading.end(db)
        return None
    return whole(pieces, len(steps))


def whole(pieces: Sequence[Piece], steps: int) -> BatchResult:
    """The result that all of a batch's pieces make."""
    result = BatchResult([None] * steps, [None] * steps)
    for piece in pieces:
        if piece.error is not None:
            result.results[piece.step], result.errors[piece.step] = None, piece.error
        elif piece.begins is not None:
            result.results[piece.step] = StatementResult(piece.begins)
        elif (found := result.results[piece.step]) is not None:
            found.rows += piece.rows
    return result


@dataclass(frozen=True)
class Patience:
    """How long a snapshot waits for a client that takes its rows slowly."""

    seconds: float = 5.0
    """For one piece."""
    rest: int = 64 * 1024 * 1024
    """Bytes, about, that are fetched for it then."""


class SqlitePieces:
    """Implements `stores.base.Pieces`: one task reads ahead, on a connection that it has to itself."""

    def __init__(
        self, steps: Sequence[Step], types: DeclaredTypes, limit: Limit, lend: Lend, patience: Patience
    ) -> None:
        self._reading = Reading(steps, types)
        self._limit = limit
        self._patience = patience
        self._ready: deque[Sequence[Piece]] = deque()
        self._error: StatementError | None = None
        self._given = asyncio.Event()
        self._taken = asyncio.Event()
        self._task = asyncio.create_task(self._read(lend))

    async def more(self) -> Sequence[Piece]:
        """The next pieces; none once all were given. Raises `StatementError` if the rest cannot be had."""
        while not self._ready and not self._task.done():
            self._given.clear()
            await self._given.wait()
        if self._ready:
            self._taken.set()
            return self._ready.popleft()
        if self._error is not None:
            raise self._error
        return ()

    async def close(self) -> None:
        """Give up what is left; idempotent."""
        self._task.cancel()
        await asyncio.wait({self._task})
        self._ready.clear()

    async def _read(self, lend: Lend) -> None:
        try:
            async with lend() as connection:
                try:
                    await self._read_on(connection)
                finally:
                    await settled(connection.run(self._reading.end))
        except (StoreUnavailable, sqlite3.Error) as away:
            self._error = StatementError(str(away), "SQLITE_BUSY", retry=True)
        finally:
            self._given.set()

    async def _read_on(self, connection: Connection) -> None:
        patient, fetched = True, 0
        while not self._reading.done:
            self._ready.append(await settled(connection.run(self._hop), stop=connection.cut_off))
            self._given.set()
            if patient:
                patient = await self._room()
            elif (fetched := fetched + _PIECE) > self._patience.rest:
                self._error = StatementError(
                    f"The rows were not taken for {self._patience.seconds:g} s, and are too many to keep the rest.",
                    "RESPONSE_TOO_LARGE",
                )
                return

    async def _room(self) -> bool:
        """Wait until few enough pieces are ready; False once that takes too long."""
        try:
            async with asyncio.timeout(self._patience.seconds):
                while len(self._ready) >= _AHEAD:
                    self._taken.clear()
                    await self._taken.wait()
        except TimeoutError:
            return False
        return True

    def _hop(self, db: sqlite3.Connection) -> Sequence[Piece]:
        self._limit.bound(db)
        with self._limit.on(db):
            return self._reading.more(db)


def _size_of(row: Row) -> int:
    return 16 * len(row) + sum(len(value) for value in row if isinstance(value, (str, bytes)))
