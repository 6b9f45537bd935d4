"""Reads whose rows come from Postgres a piece at a time, so that a result of any size takes little memory.

Each step is a read-only transaction with a cursor. A client that takes its rows slowly keeps that transaction open as
long as the front door bears with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import asyncpg

from cutover.dialect.ahead import translate_ahead
from cutover.dialect.answering import rows_of
from cutover.dialect.connections import BEGIN, DRIVER_ERRORS, Connections, abandon, as_statement_error, discard
from cutover.dialect.failures import Lost, translate_failure
from cutover.dialect.instead import wider
from cutover.dialect.preparing import Memory, Prepared, prepare
from cutover.errors import StatementError
from cutover.model.sizes import answer_size, next_fetch
from cutover.model.statement import BatchResult, Piece, StatementResult, Step, holds
from cutover.stores.sqlite.pieces import whole

if TYPE_CHECKING:
    from cutover.dialect.direct import Connection

_SMALL = 256 * 1024
"""Bytes of an answer that is given as a whole."""
_FIRST = 32
"""Rows that are fetched before anybody looks how large they were."""


class PostgresPieces:
    """Implements `stores.base.Pieces`."""

    def __init__(self, connections: Connections, steps: Sequence[Step]) -> None:
        self._connections = connections
        self._steps = steps
        self._so_far = BatchResult()
        self._ahead: list[Piece] = []
        self._connection: Connection | None = None
        self._cursor: Any = None
        self._prepared: Prepared | None = None
        self._fetch = _FIRST
        self._given = False

    async def if_small(self) -> BatchResult | None:
        """The whole result, unless it is large; then its beginning is kept for `more`."""
        size = 0
        while found := await self._more():
            self._ahead += found
            size += sum(answer_size(list(piece.rows)) for piece in found)
            if size > _SMALL:
                return None
        return whole(self._ahead, len(self._steps))

    async def more(self) -> Sequence[Piece]:
        """The next pieces; none once all were given."""
        if self._ahead:
            found, self._ahead = self._ahead, []
            return found
        return await self._more()

    async def close(self) -> None:
        """Give up what is left; idempotent."""
        self._ahead = []
        self._so_far.results += [None] * (len(self._steps) - len(self._so_far.results))
        await self._end()

    async def _more(self) -> Sequence[Piece]:
        while (number := len(self._so_far.results)) < len(self._steps):
            try:
                if self._cursor is not None:
                    return await self._next(number)
                if holds(self._steps[number].condition, self._so_far, autocommit=True):
                    return await self._begin(number)
            except StatementError as failure:
                await self._end()
                error = failure.alone()
                self._note(None, error)
                return [Piece(number, error=error)]
            self._note(None, None)
        return ()

    async def _begin(self, number: int) -> list[Piece]:
        connections, statement = self._connections, self._steps[number].statement
        self._connection = await connections.acquire()  # which reads the schema, if it changed
        dialect = connections.dialect
        await translate_ahead(dialect, statement)
        prepared = self._prepared = prepare(dialect, statement, Memory())
        if prepared.answered is not None or prepared.translation is None:
            await self._end()
            found = prepared.answered or StatementResult()
            self._note(found, None)
            return [Piece(number, begins=found.columns), Piece(number, rows=found.rows, ends=StatementResult())]
        columns, command = dialect.columns(prepared.checked, prepared.translation), prepared.translation.command
        try:
            await self._open(self._connection, command.sql, prepared.arguments)
        except (*DRIVER_ERRORS, TimeoutError) as error:
            raise self._failure(error) from None
        return [Piece(number, begins=columns)]

    async def _open(self, connection: Connection, sql: str, arguments: Sequence[Any]) -> None:
        self._fetch, self._given = _FIRST, False
        for again in (True, False):
            await connection.execute(f"{BEGIN} READ ONLY")
            try:
                self._cursor = await connection.cursor(sql, *arguments)
            except asyncpg.InvalidCachedStatementError:
                if not again:
                    raise
                await connection.execute("ROLLBACK")
            else:
                return

    async def _first(self) -> list[asyncpg.Record]:
        """The first rows. Numbers may turn out to need more room as long as none was given."""
        assert self._prepared is not None
        try:
            return list(await self._cursor.fetch(self._fetch))
        except asyncpg.NumericValueOutOfRangeError as error:
            assert self._connection is not None
            other = self._prepared = wider(self._prepared, error)
            assert other.translation is not None
            await self._connection.execute("ROLLBACK")
            await self._open(self._connection, other.translation.command.sql, other.arguments)
            return list(await self._cursor.fetch(self._fetch))

    async def _next(self, number: int) -> list[Piece]:
        assert self._prepared is not None
        assert self._prepared.translation is not None
        try:
            records = await self._cursor.fetch(self._fetch) if self._given else await self._first()
            self._given = True
            ends = StatementResult() if len(records) < self._fetch else None
            if ends is not None and self._connection is not None:
                await self._connection.execute("COMMIT")
            rows = rows_of(records, self._prepared.translation)
        except Exception as error:  # noqa: BLE001  # also a defect of ours
            raise self._failure(error) from None
        self._fetch = next_fetch(len(rows), answer_size(rows))
        if ends is not None:
            await self._end()
            self._note(ends, None)
        return [Piece(number, rows=rows if self._prepared.want_rows else (), ends=ends)]

    def _note(self, result: StatementResult | None, error: StatementError | None) -> None:
        self._so_far.results.append(result)
        self._so_far.errors.append(error)

    def _failure(self, error: Exception) -> StatementError:
        failure = translate_failure(error, self._connections.dialect.catalog)
        if isinstance(failure, Lost) and self._connection is not None:
            discard(self._connection)
        return as_statement_error(failure)

    async def _end(self) -> None:
        connection, self._connection, self._cursor = self._connection, None, None
        if connection is not None:
            try:
                await abandon(connection)
            finally:
                await self._connections.release(connection)
