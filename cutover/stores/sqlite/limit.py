"""How long an application's statement may take on SQLite, and how much it may answer.

An endless one keeps others waiting for a while only, and one that answers everything does not fill the memory.
"""

from __future__ import annotations

import math
import sqlite3
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from cutover import clock
from cutover.model.sizes import answer_size, next_fetch, too_large
from cutover.model.values import Row

_INSTRUCTIONS = 100_000  # of SQLite's machine between two looks at the clock, some milliseconds

_LARGEST_VALUE = 1 << 28
"""Bytes. A larger one would only be made, for seconds, to be refused."""
_NO_LARGEST_VALUE = (1 << 31) - 1

_FIRST = 32  # rows fetched before any is measured


class _OfThread(threading.local):
    began = 0.0
    most = room = sys.maxsize


_thread = _OfThread()


def begin_statement() -> None:
    """A statement begins on this thread."""
    _thread.began = clock.monotonic()


def begin_answer() -> None:
    """What follows on this thread is another answer, with room of its own."""
    _thread.room = _thread.most


def take_all(cursor: sqlite3.Cursor) -> tuple[list[Row], int]:
    """Every row, and their size in the answer. Raises `StatementError` as soon as there is no room for them."""
    room = _thread.room
    asked = _FIRST
    rows: list[Row] = cursor.fetchmany(asked)
    got, size = len(rows), answer_size(rows)
    while got == asked and size <= room:
        asked = next_fetch(len(rows), size)
        more = cursor.fetchmany(asked)
        got = len(more)
        size += answer_size(more)
        rows += more
    if size > room:
        raise too_large(_thread.most)
    _thread.room = room - size
    return rows, size


class Limit:
    """The limits of one executor. A statement that passes one of them has done nothing.

    Beyond its time it ends with SQLITE_INTERRUPT, beyond its room with RESPONSE_TOO_LARGE.
    """

    def __init__(self, seconds: float, max_response_bytes: int = 0) -> None:
        """0: no limit."""
        self.seconds = seconds or math.inf
        self.max_response_bytes = max_response_bytes or sys.maxsize
        self._largest_value = min(max(_LARGEST_VALUE, 2 * self.max_response_bytes), _NO_LARGEST_VALUE)

    def passed(self) -> bool:
        """Whether the statement of this thread took too long."""
        return clock.monotonic() - _thread.began > self.seconds

    def apply(self) -> None:
        """What this thread answers from here on has this limit's room, all of it."""
        _thread.most = _thread.room = self.max_response_bytes

    def bound(self, db: sqlite3.Connection) -> None:
        """From here on, no value or row that this connection handles may be larger than what could be answered.

        For connections that applications alone read on. Where they write, the file's rows must stay within reach,
        whatever their size.
        """
        db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, self._largest_value)

    @contextmanager
    def on(self, db: sqlite3.Connection) -> Iterator[None]:
        """Hold for the statements that run on this connection, which is of this thread."""
        begin_statement()
        self.apply()
        db.set_progress_handler(self.passed, _INSTRUCTIONS)
        try:
            yield
        finally:
            db.set_progress_handler(None, 0)
