"""Statements of one text that come while one of them is under way go to Postgres together.

A message of its own costs each of them a wake-up of the server, one of this process and a transaction, which is more
than a read by key itself costs; and a write a sync of the disk. So whoever comes first is sent at once, as ever, and
whoever comes meanwhile waits for its answer: then all of them are sent as one message, a Bind and an Execute for each,
which Postgres runs in the order in which they came, in one transaction. All were there before it began, so one state
of the data is a right answer to each of them.

What Postgres refuses undoes the whole transaction, whosever fault it was: then each goes alone, the long way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

import asyncpg

from cutover import clock
from cutover.dialect.connections import Connections, failure_of
from cutover.dialect.direct import Driven, Outcomes, messages
from cutover.dialect.failures import Conflict, unknown_outcome
from cutover.dialect.members import Member
from cutover.dialect.metering import meter_of
from cutover.dialect.ready import Known, Ready
from cutover.errors import Fenced, StatementError
from cutover.model.statement import BatchResult

if TYPE_CHECKING:
    from cutover.dialect.direct import Connection

_SECONDS, _SECONDS_WRITING = 0.02, 0.2
"""That a group may take, by what its statements took so far: slow ones run side by side instead. Of a write most is
the commit, which they share."""
_MOST = 64
_PATIENCE = 0.005
"""Seconds after which nobody waits any more for one that is held up, by a lock perhaps."""
_APART, _APART_MOST = 1.0, 300.0
"""Seconds for which the statements of a text go alone after a group of them was undone; twice as long each time."""
_TEXTS = 1024


class Groups:
    """By the text for Postgres, who is under way and who waits."""

    def __init__(self, connections: Connections, committed: Callable[[float, int], None]) -> None:
        """`committed`: told after each commit how many seconds it took, and of how many writes it was."""
        self.connections = connections
        self.committed = committed
        self.ready = Ready(connections.dialect)
        self._queues: dict[str, Queue] = {}

    def of(self, known: Known) -> Queue | None:
        """Those with the text of this one; None if it has to go alone in any case."""
        tagged = known.tagged
        return None if tagged is None else self._queues.get(tagged) or self._new(known, tagged)

    def _new(self, known: Known, tagged: str) -> Queue:
        if len(self._queues) >= _TEXTS:
            self._queues = {text: kept for text, kept in self._queues.items() if kept.busy}
        assert known.like.translation is not None
        seconds = _SECONDS_WRITING if known.like.translation.writes else _SECONDS
        queue = self._queues[tagged] = Queue(self, tagged, seconds)
        return queue


class Queue:
    """The statements of one text."""

    __slots__ = (
        *("_alone_until", "_apart", "_connections", "_generation", "_late", "_longest", "_seconds", "_sql"),
        *("_under_way", "_waiting", "committed", "loop"),
    )

    def __init__(self, groups: Groups, sql: str, longest: float) -> None:
        """`longest`: seconds that a group may take."""
        self.loop = asyncio.get_running_loop()
        self._connections = groups.connections
        self.committed = groups.committed
        self._sql = sql
        self._longest = longest
        self._under_way = 0
        self._generation = 0
        self._waiting: list[Member] = []
        self._late: asyncio.TimerHandle | None = None
        self._seconds = 0.0  # that one of them takes, about
        self._alone_until = 0.0
        self._apart = _APART

    @property
    def busy(self) -> bool:
        """Whether anyone is under way."""
        return self._under_way > 0

    def takes(self) -> bool:
        """Whether one more is to wait, instead of being sent at once."""
        if not self._under_way:
            return False
        number = len(self._waiting) + 1
        if number > _MOST or number * self._seconds > self._longest:
            return False
        return not self._alone_until or clock.monotonic() >= self._alone_until

    def join(self, member: Member) -> Member:
        """Wait for whoever is under way."""
        if not self._waiting:
            self._generation = self._connections.dialect.generation
        self._waiting.append(member)
        if self._late is None:
            self._late = self.loop.call_later(_PATIENCE, self._send)
        return member

    def begin(self) -> float:
        """Something is sent. Returns when that was, for `end`."""
        self._under_way += 1
        return clock.monotonic()

    def end(self, began: float, number: int = 1) -> None:
        """`number` statements that were sent have come to their end; now those who wait are sent."""
        self._under_way -= 1
        if number > 1 or not self._under_way:
            took = (clock.monotonic() - began) / number
            self._seconds = min(took, 1.1 * self._seconds) if self._seconds else took  # what is least has least noise
        if self._waiting:
            self._send()

    def undone(self) -> None:
        """A group of them was undone: that is dear, and what brought it about may come again."""
        now = clock.monotonic()
        if now > self._alone_until + self._apart:
            self._apart = _APART
        self._alone_until = now + self._apart
        self._apart = min(2 * self._apart, _APART_MOST)

    def _send(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None
        members = [member for member in self._waiting if not member.done()]
        self._waiting.clear()
        if not members:
            return
        # What was translated for another schema is translated again.
        fresh = self._connections.isolates and self._connections.dialect.generation == self._generation
        connection = self._connections.idle() if fresh else None
        if connection is not None:
            _Group(self, self._connections, connection, members).send(self._sql)
            return
        for member in members:
            member.go_alone()


class _Group:
    """Members that are sent together."""

    def __init__(self, queue: Queue, connections: Connections, connection: Connection, members: list[Member]) -> None:
        self._queue, self._connections, self._connection = queue, connections, connection
        self._members = members
        self._meter = meter_of(connection)
        self._began = queue.begin()
        self._generation = connections.dialect.generation

    def send(self, sql: str) -> None:
        """The driver prepares the text where the connection does not have it."""
        translation = self._members[0].prepared.translation
        assert translation is not None
        if not translation.writes:
            self._meter.begin(self._connections.dialect.max_response_bytes)
        arguments = []
        for at, member in enumerate(self._members):
            member.sent = True
            arguments.append((*member.arguments, at))
        at_once = messages(self._connection, sql, arguments)
        if at_once is not None:
            Driven(at_once, self._ended, patient=True)
        else:
            task = asyncio.ensure_future(self._connection.fetchmany(sql, arguments))
            task.add_done_callback(self._prepared_and_ended)

    def _prepared_and_ended(self, task: asyncio.Future[list[asyncpg.Record]]) -> None:
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        self._ended(None if error is not None else task.result(), error)

    def _ended(self, records: list[asyncpg.Record] | None, error: BaseException | None) -> Outcomes:
        """Called once. There is no outcome of a group, only of its members."""
        too_large = self._meter.end() is not None
        failure = None if error is None else failure_of(error, self._connection, self._connections.dialect) or error
        if too_large:
            self._settling = asyncio.ensure_future(
                self._connections.put_back_after(self._meter.settled(), self._connection)
            )
        else:
            self._connections.put_back(self._connection)
        if failure is not None or too_large:
            self._queue.undone()
        self._queue.end(self._began, len(self._members))
        if too_large:  # all of them together
            for member in self._members:
                member.go_alone()
        elif failure is not None:
            self._fail(failure)
        elif self._outdated():
            for member in self._members:
                member.go_alone()
        elif records is not None:
            if self._members[0].writes:
                self._queue.committed(clock.monotonic() - self._began, len(self._members))
            self._answer(records)
        return []

    def _outdated(self) -> bool:
        """Whether these are queries, and the answers may be those of another schema."""
        return not self._members[0].writes and not self._connections.dialect.unchanged(self._generation)

    def _answer(self, records: list[asyncpg.Record]) -> None:
        """Give each member its rows: those with its tag, which come one member after the other."""
        at, number = 0, len(records)
        for tag, member in enumerate(self._members):
            begin = at
            while at < number and records[at][-1] == tag:
                at += 1
            member.found(records[begin:at], self._connections.dialect)

    def _fail(self, failure: BaseException) -> None:
        """Nothing of it was executed, unless the answer to writes was lost."""
        for member in self._members:
            if isinstance(failure, Fenced):
                member.answer([failure])
            elif isinstance(failure, StatementError) and failure.code == "SQLITE_INTERRUPT":
                member.answer([BatchResult([None], [failure.alone()])])
            elif isinstance(failure, (StatementError, Conflict)) or not member.writes:
                member.go_alone()
            else:
                member.answer([BatchResult([None], [unknown_outcome()])])
