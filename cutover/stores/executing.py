"""How applications' SQL runs on a store, whichever database it is; beside `base`, what a store can do.

One implementation each: `stores/sqlite` and `dialect`, for SQLite's dialect on Postgres.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import islice
from typing import Protocol

from cutover.model.statement import (
    BatchOutcome,
    BatchResult,
    Description,
    Piece,
    Statement,
    StatementResult,
    Step,
    pieces_of,
)


class Session(Protocol):
    """One application stream on one store. Holds a connection only while it must (a transaction, session state)."""

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open."""
        ...

    @property
    def expelled(self) -> bool:
        """Whether a transaction was rolled back and its client does not know yet."""
        ...

    @property
    def writing(self) -> bool:
        """Whether an open transaction has written or holds the write lock."""
        ...

    @property
    def keeping(self) -> bool:
        """Whether there are temporary tables, which go with the session."""
        ...

    @property
    def deferring(self) -> bool:
        """Whether PRAGMA defer_foreign_keys is on."""
        ...

    async def execute(self, statement: Statement) -> StatementResult:
        """Run one statement. Raises `StatementError`; the session stays usable."""
        ...

    async def batch(self, steps: Sequence[Step]) -> BatchResult:
        """Run steps as their conditions say; statement errors are in the result."""
        ...

    async def sequence(self, sql: str) -> None:
        """Run every statement of a script until one fails (`StatementError`)."""
        ...

    async def describe(self, sql: str) -> Description:
        """Prepare only."""
        ...

    async def expel(self) -> None:
        """Roll back an open transaction on the store's behalf; the stream's next statement gets SQLITE_BUSY."""
        ...

    async def close(self) -> None:
        """Roll back what is open and let go; idempotent."""
        ...


class Pieces(Protocol):
    """What a batch comes to, piece by piece. Calls come one after the other."""

    async def more(self) -> Sequence[Piece]:
        """The next pieces; none once all were given. Raises `StatementError` if the rest cannot be had."""
        ...

    async def close(self) -> None:
        """Give up what is left; idempotent."""
        ...


class WholePieces:
    """Implements `Pieces` for a batch that was run as a whole."""

    def __init__(self, result: BatchResult) -> None:
        self._left = pieces_of(result)

    async def more(self) -> Sequence[Piece]:
        """A step at a time."""
        return tuple(islice(self._left, 1))

    async def close(self) -> None:
        """Free the rows."""
        self._left = iter(())


class Executor(Protocol):
    """Runs applications' statements on one store."""

    def session(self, *, read_only: bool = False) -> Session:
        """A new session; cheap until used. `read_only`: the store refuses its writes."""
        ...

    def submit(self, batches: Sequence[Sequence[Step]]) -> asyncio.Future[list[BatchOutcome]]:
        """Self-contained batches that may write, of one client: run in this order, one outcome each.

        After the first one that was fenced none is run any more. Cancelling takes back what has not begun; what has
        comes to its end first, so that whoever awaits this knows that nothing is under way when the waiting is over.
        """
        ...

    def begin_read(self, statement: Statement) -> asyncio.Future[list[BatchOutcome]] | None:
        """A query that stands alone, begun at once; None if that takes something that is not at hand, and it goes by
        `run`. So it does when the future's result has no outcome: nothing is known of it then."""
        ...

    async def read_pieces(self, steps: Sequence[Step]) -> BatchResult | Pieces:
        """A batch that only reads, with no session: its result if that is small, or else its pieces, to be closed.

        Raises `StatementError`.
        """
        ...

    async def run(self, steps: Sequence[Step]) -> BatchResult:
        """A self-contained batch with no session (it leaves no transaction open).

        Concurrent ones that write are committed in groups on SQLite, and retried on serialization failures on Postgres.
        Returns when the outcome is durable. Cancelling the caller does not cancel a write that began.
        Raises `Fenced` if the store's fence refused it, or `StatementError`; then nothing of it was executed.
        """
        ...

    def hurry(self) -> None:
        """The service stops and has waited long enough: end the statements that run, if that can be done in order."""
        ...

    async def plan(self, sql: str) -> list[str]:
        """How the store would run a statement, whatever its arguments: a line a step, without any value.

        Nothing is executed. Raises `StatementError` or `StoreUnavailable`.
        """
        ...
