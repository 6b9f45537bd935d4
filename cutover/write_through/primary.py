"""The primary as applications' statements see it at this moment."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from cutover import clock
from cutover.errors import Fenced, StatementError, StoreUnavailable
from cutover.model.statement import BatchOutcome, BatchResult, Statement, Step
from cutover.schema.sqltext import inspect
from cutover.stores.base import Member
from cutover.stores.executing import Executor, Pieces, WholePieces
from cutover.write_through.errors import ShuttingDown
from cutover.write_through.gate import Gate
from cutover.write_through.shapes import Shapes

T = TypeVar("T")


@dataclass(slots=True)
class Begun:
    """One self-contained write or query under way. Cancelling `write` takes it back, if it has not begun."""

    statement: Statement
    write: asyncio.Future[list[BatchOutcome]]
    client: str
    """Name of the token that it came with."""
    began: float
    reads: bool = False
    """It is a query, of which nothing may be known in the end."""


class Primary:
    """Who is primary, the gate in front of it, and who wants to see what passes."""

    def __init__(self, member: Member, epoch: int, gate: Gate, shapes: Shapes) -> None:
        self.shapes = shapes
        self.max_statement_bytes = self.max_response_bytes = self.max_batch_steps = sys.maxsize
        self.member = member
        self.epoch = epoch
        self.gate = gate
        self.known = False
        """Whether `member` is the primary for certain: not at a start before both stores have spoken, nor while a
        commit that makes another one primary is under way."""
        self.on_statement: Callable[[Statement], None] | None = None
        self.on_read: Callable[[Sequence[Step], BatchResult], None] | None = None

    def observe(self, steps: Sequence[Step]) -> None:
        """Show the statements of a batch."""
        if self.on_statement is not None:
            for step in steps:
                self.on_statement(step.statement)

    async def read(self, steps: Sequence[Step]) -> BatchResult:
        """Run a self-contained batch that only reads. It waits until the primary is known, but not for a switch."""
        return self._noted(steps, await self._read(lambda executor: executor.run(steps)))

    async def read_pieces(self, steps: Sequence[Step]) -> Pieces:
        """As `read`, in pieces if there are many rows."""
        found = await self._read(lambda executor: executor.read_pieces(steps))
        return WholePieces(self._noted(steps, found)) if isinstance(found, BatchResult) else found

    async def _read(self, ask: Callable[[Executor], Awaitable[T]]) -> T:
        if not self.known:
            await self.gate.admit()
        if self.gate.draining:
            raise ShuttingDown
        try:
            return await ask(self.member.executor)
        except StoreUnavailable as away:
            raise StatementError(away.message, "SQLITE_BUSY", retry=True) from None

    def _noted(self, steps: Sequence[Step], result: BatchResult) -> BatchResult:
        if self.on_read is not None:
            self.on_read(steps, result)
        return result

    async def write(self, steps: Sequence[Step]) -> BatchResult:
        """Run a self-contained batch on whichever store is primary when its turn comes.

        Raises `StatementError` if nothing of it was executed.
        """
        outcome = (await self.write_all((steps,)))[0]
        if isinstance(outcome, BatchResult):
            return outcome
        raise outcome

    def begin(self, statement: Statement, client: str) -> Begun | None:
        """Begin a write of one statement, if nothing is in its way at this moment. `ended` says what came of it.

        For the one thing that most clients send most often, this is `write` without a task and its turns of the loop.
        """
        if self.gate.held or self.gate.draining:
            return None
        if self.on_statement is not None:
            self.on_statement(statement)
        began = clock.monotonic()
        write = self.gate.follow(self.member.executor.submit(((Step(statement),),)))
        return Begun(statement, write, client, began)

    def begin_read(self, statement: Statement, client: str) -> Begun | None:
        """Begin a query that stands alone, if all it takes is at hand."""
        if not self.known or self.gate.draining:
            return None
        began = clock.monotonic()
        reading = self.member.executor.begin_read(statement)
        if reading is None:
            return None
        if self.on_statement is not None:
            self.on_statement(statement)
        return Begun(statement, reading, client, began, True)

    def ended(self, begun: Begun) -> BatchResult | StatementError | None:
        """The outcome of what is done; None if nothing was executed and it has to be run by `write` or `read`."""
        failure = begun.write.exception()
        outcomes = begun.write.result() if failure is None else (failure,)
        if begun.reads and not outcomes:
            return None
        outcome = outcomes[0]
        match outcome:
            case BatchResult():
                if not begun.reads:
                    self.member.store.wake()
                    _fill(begun.statement, outcome)
                elif self.on_read is not None:
                    self.on_read((Step(begun.statement),), outcome)
                now = clock.monotonic()
                result, error = outcome.results[0], outcome.errors[0]
                self.shapes.note(begun.statement.sql, result, error, now - begun.began, now, begun.client)
                return outcome
            case Fenced():
                return None  # `write` knows whether to wait
            case StatementError() | StoreUnavailable():
                told = _told(outcome)
                self.shapes.refused((Step(begun.statement),), told, begun.began, begun.client)
                return told
            case _:
                raise outcome

    async def write_all(self, batches: Sequence[Sequence[Step]]) -> list[BatchResult | StatementError]:
        """Run self-contained batches of one client in order, in one commit where the store has such: one outcome each.

        Raises `StatementError` if none of them was begun.
        """
        gate = self.gate
        done: list[BatchResult | StatementError] = []
        while True:
            if gate.held or gate.draining:
                try:
                    await gate.admit()
                except StatementError as error:
                    if not done:
                        raise
                    return done + [error] * (len(batches) - len(done))
            member = self.member
            try:
                outcomes = await gate.follow(member.executor.submit(batches[len(done) :]))
            except StoreUnavailable as away:
                outcomes = [away] * (len(batches) - len(done))
            for outcome in outcomes:
                if isinstance(outcome, Fenced) and (gate.held or member is not self.member):
                    break
                done.append(outcome if isinstance(outcome, BatchResult) else _told(outcome))
            else:
                member.store.wake()
                return done


def _fill(statement: Statement, outcome: BatchResult) -> None:
    """An INSERT of no stream that inserted nothing tells what a stream without a past has: 0."""
    result = outcome.results[0]
    if result is not None and result.last_insert_rowid is None and inspect(statement.sql).into:
        result.last_insert_rowid = 0


def unknown(away: StoreUnavailable) -> StatementError:
    """What a client is told when the store went away and nobody can say whether it had executed the write."""
    return StatementError(f"{away.message} Whether the statement was executed is not known.", "OUTCOME_UNKNOWN")


def _told(outcome: StatementError | Fenced | StoreUnavailable) -> StatementError:
    """What the client of a batch is told."""
    match outcome:
        case StatementError():
            return outcome
        case Fenced():
            return StatementError(outcome.message, "SQLITE_BUSY", retry=True)
        case StoreUnavailable():
            return unknown(outcome)
