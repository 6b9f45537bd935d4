"""How long an application's statement may take on SQLite: an endless one keeps others waiting for a while only."""

from __future__ import annotations

import math
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from cutover import clock

_INSTRUCTIONS = 100_000  # of SQLite's machine between two looks at the clock, some milliseconds

_thread = threading.local()


def begin_statement() -> None:
    """A statement begins on this thread."""
    _thread.began = clock.monotonic()


class Limit:
    """The limit of one executor. A statement that passes it ends with SQLITE_INTERRUPT and has done nothing."""

    def __init__(self, seconds: float) -> None:
        """0 seconds: no limit."""
        self.seconds = seconds or math.inf

    def passed(self) -> bool:
        """Whether the statement of this thread took too long."""
        taken: float = clock.monotonic() - _thread.began
        return taken > self.seconds

    @contextmanager
    def on(self, db: sqlite3.Connection) -> Iterator[None]:
        """Hold for the statements that run on this connection, which is of this thread."""
        begin_statement()
        db.set_progress_handler(self.passed, _INSTRUCTIONS)
        try:
            yield
        finally:
            db.set_progress_handler(None, 0)
