"""One statement among others that are sent together: what comes of it, and what belongs to its being under way."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import asyncpg

from cutover.dialect.answering import finished, result_of, rows_of
from cutover.dialect.connections import DRIVER_ERRORS, Connections
from cutover.dialect.dialect import Dialect
from cutover.dialect.direct import Answering, LongWay, Outcomes
from cutover.dialect.failures import translate_failure, unread_outcome
from cutover.dialect.preparing import Memory, Prepared
from cutover.errors import StatementError
from cutover.model.sizes import answer_size, too_large
from cutover.model.statement import BatchResult, StatementResult

_init = asyncio.Future.__init__
"""Given its loop: to look for one takes a call of the system, and as long as all else of making a future."""


class Member(Answering):
    """One statement that waits for others or is under way with them: the future of what comes of it.

    Cancelled, it is not executed, or nobody learns of it; a write that was sent comes to its end before.
    """

    __slots__ = ("_write", "arguments", "prepared", "sent")

    def __init__(
        self, prepared: Prepared, arguments: Sequence[Any], write: Writing | None, loop: asyncio.AbstractEventLoop
    ) -> None:
        _init(self, loop=loop)
        self.prepared = prepared
        """The statement; its arguments may be those of another execution."""
        self.arguments = arguments
        self._write = write
        self.sent = False

    def cancel(self, msg: Any | None = None) -> bool:  # noqa: ANN401  # asyncio's signature
        """As asyncio has it."""
        if self.sent and self._write is not None:
            return self.cancel_later()
        cancelled = super().cancel(msg)
        if cancelled and self._write is not None and not self.followed:
            self._write.left()
            self._write = None
        return cancelled

    @property
    def writes(self) -> bool:
        """Whether something happens if it is executed once more."""
        return self._write is not None

    def found(self, records: Sequence[asyncpg.Record], dialect: Dialect) -> None:
        """These rows came of it."""
        if self._write is None:
            outcome = read(records, self.prepared, dialect)
            if outcome is None:
                self.go_alone()
            elif not self.done():
                self.set_result([outcome])
        else:
            self._write.wrote(len(records))
            written = wrote(records, len(records), self.prepared, dialect)
            self.answer([written or BatchResult([None], [unread_outcome()])])

    def answer(self, outcomes: Outcomes) -> None:
        """It has come to its end."""
        if self._write is not None:
            self._write.left()
            self._write = None
        if not self.done():
            self.settle(outcomes)

    def go_alone(self) -> None:
        """Nothing of it was executed."""
        if self._write is not None:
            self._write.undone()
        write, self._write, self.sent = self._write, None, False
        if write is not None:
            write.left()
            self.go_on_as(write.long_way())
        elif not self.done():
            self.settle([])


class Writing:
    """What belongs to a write that is under way."""

    __slots__ = ("_keys", "_prepared", "_standing", "_turns", "long_way")

    def __init__(self, prepared: Prepared, connections: Connections, long_way: LongWay) -> None:
        """It has entered its turn."""
        self._prepared, self._turns, self._keys = prepared, connections.turns, connections.dialect.keys
        self.long_way = long_way
        self._standing = self._keys.enter(prepared)

    def left(self) -> None:
        """It is under way no more, at least not on the short way."""
        if self._standing is not None:
            self._standing.running -= 1
        self._turns.leave()

    def wrote(self, rows: int) -> None:
        """It is committed."""
        if rows:
            self._turns.committed += 1

    def undone(self) -> None:
        """It may have drawn keys in vain."""
        self._keys.failed(self._prepared)


def wrote(records: Sequence[asyncpg.Record], affected: int, prepared: Prepared, dialect: Dialect) -> BatchResult | None:
    """What a write that stands alone has come to; None if nobody can read what Postgres says.

    `affected`: how many rows that says it is about.
    """
    translation = prepared.translation
    assert translation is not None
    if prepared.columns is not None and not translation.width and not translation.key_returned:
        return _changed(affected, prepared, dialect)
    try:
        result = result_of(records, affected, prepared, translation)
    except (StatementError, *DRIVER_ERRORS) as unread:
        dialect.keys.failed(prepared)
        return _unread(unread, dialect)
    dialect.keys.done(prepared, result.affected)
    try:
        finished(result, prepared, dialect, Memory())
    except StatementError as refused:
        return BatchResult([None], [refused.alone()])
    return BatchResult([result], [None])


def _changed(affected: int, prepared: Prepared, dialect: Dialect) -> BatchResult:
    """The same for one of which nothing comes back, in as few steps as there can be."""
    dialect.keys.done(prepared, affected)
    result = StatementResult(prepared.columns or [], affected=affected)
    if prepared.numbers:
        result.last_insert_rowid = prepared.numbered
    return BatchResult([result], [None])


def read(records: Sequence[asyncpg.Record], prepared: Prepared, dialect: Dialect) -> BatchResult | None:
    """The same for a query that was `Ready`, in as few steps as there can be."""
    translation = prepared.translation
    assert translation is not None
    assert prepared.columns is not None
    try:
        rows = rows_of(records, translation) if prepared.want_rows and translation.width else []
    except (StatementError, *DRIVER_ERRORS) as unread:
        return _unread(unread, dialect)
    size = answer_size(rows)
    if size > dialect.max_response_bytes:
        return BatchResult([None], [too_large(dialect.max_response_bytes).alone()])
    return BatchResult([StatementResult(prepared.columns, rows, 0, None, size)], [None])


def _unread(error: Exception, dialect: Dialect) -> BatchResult | None:
    """What is told of an answer that could not be read; None if that is nothing."""
    failure = translate_failure(error, dialect.catalog)
    return BatchResult([None], [failure.alone()]) if isinstance(failure, StatementError) else None
