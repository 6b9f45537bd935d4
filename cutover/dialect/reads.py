"""A read that stands alone, begun at once if a connection is idle that has the statement prepared."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from cutover.dialect.connections import DRIVER_ERRORS, Connections, discard
from cutover.dialect.direct import STALE, Driven, message
from cutover.dialect.failures import Lost, translate_failure
from cutover.dialect.running import Memory, Prepared, found_of, prepare
from cutover.errors import StatementError
from cutover.model.statement import BatchOutcome, BatchResult, Statement

if TYPE_CHECKING:
    from cutover.dialect.running import Connection


def begin_read(connections: Connections, statement: Statement) -> asyncio.Future[list[BatchOutcome]] | None:
    """The read under way; None if it has to go the long way. No outcome: the long way has to be tried after all."""
    if not connections.isolates:
        return None
    try:
        prepared = prepare(connections.dialect, statement, Memory())
    except StatementError:  # told by the long way
        return None
    translation = prepared.translation
    if prepared.answered is not None or translation is None or translation.writes or prepared.several:
        return None
    connection = connections.idle()
    if connection is None:
        return None
    work = message(connection, translation.command.sql, prepared.arguments)
    if work is None:
        connections.put_back(connection)
        return None
    return Driven(work, _Ending(connections, connection, prepared))


class _Ending:
    """Gives the connection back, and says what came of the read."""

    __slots__ = ("_connection", "_connections", "_dialect", "_prepared")

    def __init__(self, connections: Connections, connection: Connection, prepared: Prepared) -> None:
        self._connections, self._connection, self._prepared = connections, connection, prepared
        self._dialect = connections.dialect

    def __call__(self, answer: Any, error: BaseException | None) -> list[BatchOutcome]:  # noqa: ANN401  # driver's own
        failure = None
        if isinstance(error, (*DRIVER_ERRORS, TimeoutError)):
            failure = translate_failure(error, self._dialect.catalog)
            if isinstance(failure, Lost):
                discard(self._connection)
        self._connections.put_back(self._connection)
        if isinstance(failure, StatementError) and not isinstance(error, STALE):
            return [BatchResult([None], [failure.alone()])]
        if failure is not None or isinstance(error, STALE):
            return []
        if error is not None:
            raise error
        try:
            return [BatchResult([found_of(answer[0], self._prepared, self._dialect)], [None])]
        except StatementError as refused:
            return [BatchResult([None], [refused.alone()])]
        except DRIVER_ERRORS:  # a column that was changed natively may hold what is no value of SQLite's
            return []
