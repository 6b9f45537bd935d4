"""A statement that stands alone, begun at once if a connection is idle that has it prepared.

This is the first attempt of what `Connections.alone` does. What it does not bring to an end is done there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from cutover import clock
from cutover.dialect.ahead import LONG
from cutover.dialect.connections import DRIVER_ERRORS, REPEATABLE, Connections, discard
from cutover.dialect.direct import STALE, Answer, Driven, LongWay, Outcomes, message
from cutover.dialect.failures import Conflict, Lost, translate_failure, unknown_outcome
from cutover.dialect.metering import AnswerTooLarge, Meter, meter_of
from cutover.dialect.running import Memory, Prepared, finished, limit_of, prepare, result_of
from cutover.errors import Fenced, StatementError
from cutover.model.statement import BatchResult, Statement, StatementResult

if TYPE_CHECKING:
    from cutover.dialect.running import Connection


def begin_read(connections: Connections, statement: Statement) -> asyncio.Future[Outcomes] | None:
    """The query under way; None if it has to go the long way. No outcome: the long way has to be tried after all."""
    prepared = _prepared(connections, statement, writes=False)
    if prepared is None:
        return None
    return _begun(connections, prepared, _Reading(connections, prepared))


def begin_write(
    connections: Connections,
    statement: Statement,
    long_way: LongWay,
    took: Callable[[float], None],
) -> asyncio.Future[Outcomes] | None:
    """The write under way, which ends by `long_way` if it meets others; None if it has to go that way from the start.

    Cancelling takes nothing back: it is cancelled when it has come to its end. `took` is told the seconds that it took.
    """
    prepared = _prepared(connections, statement, writes=True)
    if prepared is None or not connections.turns.enter():
        return None
    begun = _begun(connections, prepared, _Writing(connections, prepared, long_way, took), patient=True)
    if begun is None:
        connections.turns.leave()
    return begun


def _prepared(connections: Connections, statement: Statement, *, writes: bool) -> Prepared | None:
    if not connections.isolates or (writes and connections.dialect.changes(statement.sql)):
        return None
    if len(statement.sql) > LONG:
        return None
    try:
        prepared = prepare(connections.dialect, statement, Memory())
    except StatementError:  # told by the long way
        return None
    translation = prepared.translation
    if prepared.answered is not None or translation is None or translation.writes is not writes or prepared.several:
        return None
    return prepared


def _begun(
    connections: Connections, prepared: Prepared, ending: _Ending, *, patient: bool = False
) -> asyncio.Future[Outcomes] | None:
    connection = connections.idle()
    if connection is None:
        return None
    assert prepared.translation is not None
    work = message(connection, prepared.translation.command.sql, prepared.arguments)
    if work is None:
        connections.put_back(connection)
        return None
    ending.connection = connection
    ending.limit(limit_of(prepared, connections.dialect))
    return Driven(work, ending, patient=patient)


class _Ending:
    """Gives the connection back, and says what came of the statement."""

    __slots__ = ("_connections", "_dialect", "_meter", "_prepared", "connection")

    connection: Connection

    def __init__(self, connections: Connections, prepared: Prepared) -> None:
        self._connections, self._prepared = connections, prepared
        self._meter: Meter | None = None
        self._dialect = connections.dialect

    def limit(self, most: int | None) -> None:
        """Bytes that the answer may have."""
        if most is not None:
            self._meter = meter_of(self.connection)
            self._meter.begin(most)

    def __call__(self, answer: Answer | None, error: BaseException | None) -> Outcomes | LongWay:
        """Called once."""
        try:
            return self._outcomes(answer, error)
        finally:
            self._connections.put_back(self.connection)

    def _outcomes(self, answer: Answer | None, error: BaseException | None) -> Outcomes | LongWay:
        if answer is not None:
            try:
                return [BatchResult([self._result(answer)], [None])]
            except (StatementError, *DRIVER_ERRORS) as unread:
                error = unread
        assert error is not None
        if not isinstance(error, (StatementError, *DRIVER_ERRORS, TimeoutError)):
            raise error
        failure = translate_failure(error, self._dialect.catalog)
        if isinstance(failure, Lost):
            discard(self.connection)
        return self._failed(error, failure)

    def _result(self, answer: Answer) -> StatementResult:
        assert self._prepared.translation is not None
        result = result_of(answer[0], answer[1].decode(), self._prepared, self._prepared.translation)
        return finished(result, self._prepared, self._dialect, Memory())

    def _failed(self, error: BaseException, failure: Exception) -> Outcomes | LongWay:
        raise NotImplementedError


class _Reading(_Ending):
    """Of a query nothing is lost: whatever is not an answer to its client has it run again."""

    __slots__ = ()

    def __call__(self, answer: Answer | None, error: BaseException | None) -> Outcomes | LongWay:
        meter = self._meter
        refused = None if meter is None else meter.end()
        if meter is None or refused is None:
            return super().__call__(answer, error)
        return lambda: asyncio.ensure_future(self._refused(meter, refused))

    async def _refused(self, meter: Meter, refused: AnswerTooLarge) -> Outcomes:
        """The connection is lent to nobody while a cancellation is on its way."""
        try:
            await meter.settled()
        finally:
            self._connections.put_back(self.connection)
        return [BatchResult([None], [refused.told])]

    def _failed(self, error: BaseException, failure: Exception) -> Outcomes | LongWay:
        if isinstance(failure, StatementError) and not isinstance(error, STALE):
            return [BatchResult([None], [failure.alone()])]
        return []


class _Writing(_Ending):
    """Of a write it is known what became of it, unless its answer was lost."""

    __slots__ = ("_began", "_long_way", "_took")

    def __init__(
        self,
        connections: Connections,
        prepared: Prepared,
        long_way: LongWay,
        took: Callable[[float], None],
    ) -> None:
        super().__init__(connections, prepared)
        self._began = clock.monotonic()
        self._long_way, self._took = long_way, took

    def __call__(self, answer: Answer | None, error: BaseException | None) -> Outcomes | LongWay:
        try:
            found = super().__call__(answer, error)
        finally:
            self._connections.turns.leave()
        if found is not self._long_way:
            self._took(clock.monotonic() - self._began)
        return found

    def _failed(self, error: BaseException, failure: Exception) -> Outcomes | LongWay:
        if isinstance(failure, Conflict) or isinstance(error, (*REPEATABLE, STALE[0])):  # it was undone
            return self._long_way
        if isinstance(failure, Fenced):
            return [failure]
        told = failure.alone() if isinstance(failure, StatementError) else unknown_outcome()
        return [BatchResult([None], [told])]
