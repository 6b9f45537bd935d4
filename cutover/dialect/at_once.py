"""A statement that stands alone, begun at once if a connection is idle that has it prepared.

This is the first attempt of what `Connections.alone` does. What it does not bring to an end is done there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cutover import clock
from cutover.dialect.answering import limit_of, number_in
from cutover.dialect.connections import Connections, failure_of
from cutover.dialect.direct import OUTDATED, STALE, Answer, Driven, LongWay, Outcomes, message
from cutover.dialect.failures import Conflict, unknown_outcome, unread_outcome
from cutover.dialect.groups import Groups, Queue
from cutover.dialect.instead import REPEATABLE, may_widen
from cutover.dialect.members import Member, Writing, read, wrote
from cutover.dialect.metering import AnswerTooLarge, Meter, meter_of
from cutover.dialect.preparing import Prepared
from cutover.dialect.telling import is_unclear
from cutover.errors import Fenced, StatementError
from cutover.model.statement import BatchResult, Statement

if TYPE_CHECKING:
    from cutover.dialect.direct import Connection


def begin_read(groups: Groups, statement: Statement) -> asyncio.Future[Outcomes] | None:
    """The query under way; None if it has to go the long way. No outcome: the long way has to be tried after all."""
    connections = groups.connections
    found = groups.ready.query(statement) if connections.isolates else None
    if found is None:
        return None
    known, arguments = found
    queue = groups.of(known)
    if queue is not None and queue.takes():
        return queue.join(Member(known.like, arguments, None, queue.loop))
    return _begun(connections, arguments, _Reading(connections, known.like, queue))


def begin_write(groups: Groups, statement: Statement, long_way: LongWay) -> asyncio.Future[Outcomes] | None:
    """The write under way, which ends by `long_way` if it meets others; None if it has to go that way from the start.

    Cancelling takes nothing back: it is cancelled when it has come to its end.
    """
    connections = groups.connections
    found = groups.ready.write(statement) if connections.isolates else None
    if found is None or not connections.turns.enter():
        return None
    known, prepared = found
    queue = groups.of(known)
    write = Writing(prepared, connections, long_way)
    if queue is not None and queue.takes():
        return queue.join(Member(prepared, prepared.arguments, write, queue.loop))
    begun = _begun(connections, prepared.arguments, _Writing(groups, prepared, queue, write), patient=True)
    if begun is None:
        write.left()
    return begun


def _begun(
    connections: Connections, arguments: Sequence[Any], ending: _Ending, *, patient: bool = False
) -> asyncio.Future[Outcomes] | None:
    connection = connections.idle()
    if connection is None:
        return None
    prepared = ending.prepared
    assert prepared.translation is not None
    work = message(connection, prepared.translation.command.sql, arguments)
    if work is None:
        connections.put_back(connection)
        return None
    ending.begin(connection, limit_of(prepared, connections.dialect))
    return Driven(work, ending, patient=patient)


class _Ending:
    """Gives the connection back, and says what came of the statement."""

    __slots__ = (
        "_began",
        "_connection",
        "_connections",
        "_dialect",
        "_generation",
        "_meter",
        "_queue",
        "prepared",
    )

    _connection: Connection
    _began: float
    _generation: int

    def __init__(self, connections: Connections, prepared: Prepared, queue: Queue | None) -> None:
        self._connections, self.prepared, self._queue = connections, prepared, queue
        self._meter: Meter | None = None
        self._dialect = connections.dialect

    def begin(self, connection: Connection, most: int | None) -> None:
        """It is sent on this connection. `most`: bytes that the answer may have."""
        self._connection = connection
        self._generation = self._dialect.generation
        if self._queue is not None:
            self._began = self._queue.begin()
        if most is not None:
            self._meter = meter_of(connection)
            self._meter.begin(most)

    def __call__(self, answer: Answer | None, error: BaseException | None) -> Outcomes | LongWay:
        """Called once. Raises what is not the driver's."""
        failure = None if error is None else failure_of(error, self._connection, self._dialect)
        self._connections.put_back(self._connection)
        if self._queue is not None:
            self._queue.end(self._began)
        if answer is not None:
            if self._outdated():
                return self._unread()
            outcome = self._read(answer)
            return self._unread() if outcome is None else [outcome]
        assert error is not None
        self._dialect.keys.failed(self.prepared)
        if failure is None:
            raise error
        return self._failed(error, failure)

    def _read(self, answer: Answer) -> BatchResult | None:
        """What it says; None if nobody can read it."""
        raise NotImplementedError

    def _outdated(self) -> bool:
        """Whether the answer may be that of another schema, and can be asked for again."""
        return False

    def _unread(self) -> Outcomes | LongWay:
        raise NotImplementedError

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
        if self._queue is not None:
            self._queue.end(self._began)
        return lambda: asyncio.ensure_future(self._refused(meter, refused))

    async def _refused(self, meter: Meter, refused: AnswerTooLarge) -> Outcomes:
        await self._connections.put_back_after(meter.settled(), self._connection)
        return [BatchResult([None], [refused.told])]

    def _read(self, answer: Answer) -> BatchResult | None:
        return read(answer[0], self.prepared, self._dialect)

    def _outdated(self) -> bool:
        return not self._dialect.unchanged(self._generation)

    def _unread(self) -> Outcomes | LongWay:
        return []

    def _failed(self, error: BaseException, failure: Exception) -> Outcomes | LongWay:
        if (
            isinstance(failure, StatementError)
            and not may_widen(self.prepared, error)
            and not isinstance(error, (*STALE, *OUTDATED))
        ):
            return [BatchResult([None], [failure.alone()])]
        return []


class _Writing(_Ending):
    """Of a write it is known what became of it, unless its answer was lost."""

    __slots__ = ("_committed", "_sent", "_write")

    def __init__(self, groups: Groups, prepared: Prepared, queue: Queue | None, write: Writing) -> None:
        super().__init__(groups.connections, prepared, queue)
        self._write, self._committed, self._sent = write, groups.committed, clock.monotonic()

    def __call__(self, answer: Answer | None, error: BaseException | None) -> Outcomes | LongWay:
        try:
            found = super().__call__(answer, error)
        except BaseException:
            self._write.left()
            raise
        self._write.left()
        if answer is not None:
            self._committed(clock.monotonic() - self._sent, 1)
        return found

    def _read(self, answer: Answer) -> BatchResult | None:
        rows = number_in(answer[1].decode())
        self._write.wrote(rows)
        return wrote(answer[0], rows, self.prepared, self._dialect)

    def _unread(self) -> Outcomes | LongWay:
        return [BatchResult([None], [unread_outcome()])]

    def _failed(self, error: BaseException, failure: Exception) -> Outcomes | LongWay:
        if isinstance(failure, Conflict) or self._comes_again(error):  # it was undone
            return self._write.long_way
        if isinstance(failure, Fenced):
            return [failure]
        told = failure.alone() if isinstance(failure, StatementError) else unknown_outcome()
        return [BatchResult([None], [told])]

    def _comes_again(self, error: BaseException) -> bool:
        """Whether it may be done in another way, or there is more to say of why it failed."""
        return isinstance(error, (*REPEATABLE, STALE[0], *OUTDATED)) or is_unclear(self.prepared, error)
