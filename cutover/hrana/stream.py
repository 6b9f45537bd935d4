"""One stream as the protocol knows it, whichever way its requests come."""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

from cutover.errors import StatementError
from cutover.hrana.answers import Json, write_batch, write_description, write_error, write_outcome, write_result
from cutover.hrana.cursor import Cursor
from cutover.hrana.fields import ProtocolError
from cutover.hrana.grants import Guest
from cutover.hrana.messages import (
    Batch,
    Close,
    CloseSql,
    Describe,
    Execute,
    GetAutocommit,
    Request,
    SequenceOf,
    StoreSql,
)
from cutover.hrana.stored import StoredTexts
from cutover.model.statement import BatchResult, StatementResult, Step
from cutover.write_through import HeldTooLong, ShuttingDown, Stream


class Busy(Exception):
    """Nothing was executed and the client should come back: HTTP 503."""

    def __init__(self, error: StatementError) -> None:
        super().__init__(error.message)
        self.error = error


class TooManyStreams(Busy):
    """The same, and it is this client that has them all: HTTP 429."""


_TAKEN = ("TRANSACTION_TIMEOUT", "SQLITE_BUSY")


class HranaStream:
    """Performs one request after the other. What it knows of HTTP are only the marks that `Streams` makes on it."""

    def __init__(self, stream: Stream, guest: Guest) -> None:
        self.stream = stream
        self.guest = guest
        self.texts = StoredTexts()
        self.closed = False
        self.lost: StatementError | None = None
        """What the last request was told if its transaction was taken away. What was sent along with it must not run:
        it was meant for that transaction, and would be committed by itself."""
        self.stream_id = 0
        self.sequence = 0
        self.idle_since = 0.0

    async def pipeline(self, requests: Sequence[Request], *, fresh: bool) -> list[Json]:
        """One result a request. Raises `ProtocolError`, or `Busy` if a `fresh` pipeline could not begin at all."""
        results: list[Json] = []
        self.stream.spent = 0
        lost: StatementError | None = None
        while len(results) < len(requests):
            request = requests[len(results)]
            if lost is not None and runs_sql(request):
                results.append(result_of(lost))
                continue
            outcomes = self._no_room(request) or await self.go_on(requests, len(results))
            lost = lost or self.lost
            first = outcomes[0]
            if fresh and not results and isinstance(first, (HeldTooLong, ShuttingDown)):
                raise Busy(first)  # those that were performed with it have waited at the same gate
            results += [result_of(found) for found in outcomes]
        return results

    async def go_on(self, requests: Sequence[Request], at: int = 0) -> list[Json | StatementError]:
        """Perform the request with this number, and with it those after it that can share its commit.

        One response or error for each that was performed. Raises `ProtocolError`.
        """
        if self.closed:
            raise ProtocolError("A request follows the stream's close.")
        joint = self._joint(requests, at)
        believed = self.stream.believed_open
        try:
            self.lost = None
            if len(joint) > 1:
                found = await self.stream.batches(joint)
                return [outcome_of(*pair) for pair in zip(requests[at:], found, strict=False)]
            response = await self.perform(self.texts.resolve(requests[at]))
            if believed:
                self._note_loss(_errors_of(response))
            return [response]
        except StatementError as error:
            if believed:
                self._note_loss([error])
            return [error] * max(len(joint), 1)

    def _note_loss(self, errors: Sequence[StatementError]) -> None:
        taken = [error for error in errors if error.code in _TAKEN]
        if taken and not self.stream.believed_open:
            self.lost = taken[0]

    def _no_room(self, request: Request) -> list[Json | StatementError]:
        """The error of a request that will not be performed, since the answers before it have filled the body."""
        try:
            if isinstance(request, (Execute, Batch)):
                self.stream.demand_room()
        except StatementError as error:
            return [error]
        return []

    def _joint(self, requests: Sequence[Request], at: int) -> list[Sequence[Step]]:
        """The batches of the requests from this one on that can share a commit; of a lone one, nothing."""
        joint: list[Sequence[Step]] = []
        if len(requests) < at + 2 or not isinstance(requests[at + 1], (Execute, Batch)):
            return joint
        for request in requests[at:]:
            if not isinstance(request, (Execute, Batch)):
                break
            known = self.texts.resolve(request)
            assert isinstance(known, (Execute, Batch))
            steps: Sequence[Step] = (Step(known.statement),) if isinstance(known, Execute) else known.steps
            if not self.stream.joins(steps):
                break
            joint.append(steps)
        return joint

    async def perform(self, request: Request) -> Json:
        """The response to a request that has its texts in it. Raises `StatementError`, `ProtocolError`."""
        match request:
            case Execute(statement):
                return {"type": "execute", "result": await write_outcome(await self.stream.execute(statement))}
            case Close():
                await self.close()
                return {"type": "close"}
            case Batch(steps):
                return {"type": "batch", "result": await write_outcome(await self.stream.batch(steps))}
            case SequenceOf(sql):
                await self.stream.sequence(_text(sql))
                return {"type": "sequence"}
            case Describe(sql):
                return {"type": "describe", "result": write_description(await self.stream.describe(_text(sql)))}
            case StoreSql() | CloseSql():
                self.texts.take(request)
                return {"type": "store_sql" if isinstance(request, StoreSql) else "close_sql"}
            case GetAutocommit():
                return {"type": "get_autocommit", "is_autocommit": not self.stream.in_transaction}
            case _:
                assert_never(request)

    async def open_cursor(self, batch: Batch) -> Cursor:
        """Run a batch whose result is taken entry by entry. Raises `StatementError`, `ProtocolError`."""
        return Cursor(await self.stream.pieces(self.texts.resolve_batch(batch).steps))

    async def close(self) -> None:
        """Roll back what is open; idempotent."""
        self.closed = True
        await self.stream.close()


def runs_sql(request: object) -> bool:
    """Whether a request would execute anything."""
    return isinstance(request, (Execute, Batch, SequenceOf))


def _errors_of(response: Json) -> list[StatementError]:
    """Of the steps of a batch."""
    errors = response["result"]["step_errors"] if response["type"] == "batch" else ()
    return [StatementError(error["message"], error["code"]) for error in errors if error is not None]


def result_of(outcome: Json | StatementError) -> Json:
    """An outcome as a StreamResult."""
    if isinstance(outcome, StatementError):
        return {"type": "error", "error": write_error(outcome)}
    return {"type": "ok", "response": outcome}


def outcome_of(request: Request, outcome: BatchResult | StatementError) -> Json | StatementError:
    """The response to an `execute` or `batch` that was run as a batch; or its error."""
    if isinstance(outcome, StatementError):
        return outcome
    if isinstance(request, Batch):
        return {"type": "batch", "result": write_batch(outcome)}
    return outcome.errors[0] or {"type": "execute", "result": write_result(outcome.results[0] or StatementResult())}


def _text(sql: object) -> str:
    assert isinstance(sql, str), "resolved before"
    return sql
