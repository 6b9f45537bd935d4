"""Streams over HTTP: who may go on with which, for how long, and what a request does to one."""

from __future__ import annotations

import asyncio
import os
from collections import OrderedDict
from collections.abc import Sequence

from cutover import clock
from cutover.errors import StatementError
from cutover.hrana.answers import Json, write_batch, write_description, write_error, write_result
from cutover.hrana.batons import Batons
from cutover.hrana.messages import (
    Batch,
    Close,
    CloseSql,
    Describe,
    Execute,
    GetAutocommit,
    ProtocolError,
    Request,
    SequenceOf,
    StoreSql,
    look_up,
    resolved,
)
from cutover.model.statement import BatchResult, StatementResult, Step
from cutover.write_through import HeldTooLong, ShuttingDown, Stream, WriteThrough

_STORED_TEXTS = 150
_STORED_LENGTH = 64 * 1024
_REMEMBER_EXPIRED = 300.0
_INVALID = "Received an invalid baton."


class Busy(Exception):
    """Nothing was executed and the client should come back: HTTP 503."""

    def __init__(self, error: StatementError) -> None:
        super().__init__(error.message)
        self.error = error


class HranaStream:
    """One stream as the protocol knows it: SQL and stored texts."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.texts: dict[int, str] = {}
        self.closed = False
        self.stream_id = 0
        self.sequence = 0
        self.idle_since = 0.0

    async def pipeline(self, requests: Sequence[Request], *, fresh: bool) -> list[Json]:
        """One result a request. Raises `ProtocolError`, or `Busy` if a `fresh` pipeline could not begin at all."""
        results: list[Json] = []
        while len(results) < len(requests):
            if self.closed:
                raise ProtocolError("A request follows the stream's close.")
            at = len(results)
            try:
                joint = self._joint(requests, at)
                if len(joint) > 1:
                    outcomes = await self.stream.batches(joint)
                    results += [_joint_result(*pair) for pair in zip(requests[at:], outcomes, strict=False)]
                else:
                    results.append({"type": "ok", "response": await self._perform(requests[at])})
            except (HeldTooLong, ShuttingDown) as error:
                if fresh and at == 0:
                    raise Busy(error) from None
                results += [{"type": "error", "error": write_error(error)}] * max(len(joint), 1)
            except StatementError as error:
                results += [{"type": "error", "error": write_error(error)}] * max(len(joint), 1)
        return results

    def _joint(self, requests: Sequence[Request], at: int) -> list[Sequence[Step]]:
        """The batches of the requests from this one on that can share a commit; of a lone one, nothing."""
        joint: list[Sequence[Step]] = []
        if len(requests) < at + 2 or not isinstance(requests[at + 1], (Execute, Batch)):
            return joint
        for request in requests[at:]:
            if not isinstance(request, (Execute, Batch)):
                break
            steps = self._steps_of(request)
            if not self.stream.joins(steps):
                break
            joint.append(steps)
        return joint

    def _steps_of(self, request: Execute | Batch) -> Sequence[Step]:
        if isinstance(request, Batch):
            return self.steps(request)
        return (Step(resolved(request.statement, request.stored, self.texts)),)

    def steps(self, batch: Batch) -> tuple[Step, ...]:
        """The steps with their texts. Raises `ProtocolError` for an unknown id."""
        if batch.stored is None:
            return batch.steps
        return tuple(
            Step(resolved(step.statement, text, self.texts), step.condition)
            for step, text in zip(batch.steps, batch.stored, strict=True)
        )

    async def close(self) -> None:
        """Roll back what is open; idempotent."""
        self.closed = True
        await self.stream.close()

    async def _perform(self, request: Request) -> Json:
        match request:
            case Execute(statement, stored):
                result = await self.stream.execute(resolved(statement, stored, self.texts))
                return {"type": "execute", "result": write_result(result)}
            case Close():
                await self.close()
                return {"type": "close"}
            case Batch():
                return {"type": "batch", "result": write_batch(await self.stream.batch(self.steps(request)))}
            case SequenceOf(sql):
                await self.stream.sequence(look_up(sql, self.texts))
                return {"type": "sequence"}
            case Describe(sql):
                description = await self.stream.describe(look_up(sql, self.texts))
                return {"type": "describe", "result": write_description(description)}
            case StoreSql(sql_id, sql):
                self._store(sql_id, sql)
                return {"type": "store_sql"}
            case CloseSql(sql_id):
                self.texts.pop(sql_id, None)
                return {"type": "close_sql"}
            case GetAutocommit():
                return {"type": "get_autocommit", "is_autocommit": not self.stream.in_transaction}

    def _store(self, sql_id: int, sql: str) -> None:
        if sql_id in self.texts:
            raise ProtocolError(f"The id {sql_id} holds an SQL text already.")
        if len(self.texts) >= _STORED_TEXTS:
            raise StatementError(f"A stream can store {_STORED_TEXTS} SQL texts.", "SQL_STORE_TOO_MANY")
        if len(sql) > _STORED_LENGTH:
            raise StatementError(f"A stored SQL text can have {_STORED_LENGTH} characters.", "SQL_STORE_TOO_LARGE")
        self.texts[sql_id] = sql


def _joint_result(request: Request, outcome: BatchResult | StatementError) -> Json:
    """What one of several requests that were run together is answered."""
    if isinstance(outcome, StatementError):
        return {"type": "error", "error": write_error(outcome)}
    if isinstance(request, Batch):
        return {"type": "ok", "response": {"type": "batch", "result": write_batch(outcome)}}
    if outcome.errors[0] is not None:
        return {"type": "error", "error": write_error(outcome.errors[0])}
    return {
        "type": "ok",
        "response": {"type": "execute", "result": write_result(outcome.results[0] or StatementResult())},
    }


class Streams:
    """The streams that outlive a request. A stream is either in a request's hands or idle here."""

    def __init__(self, way: WriteThrough, *, idle_timeout: float, limit: int) -> None:
        """`idle_timeout`: seconds after which an idle stream is closed. `limit`: streams kept at one time."""
        self._way = way
        self._idle_timeout = idle_timeout
        self._limit = limit
        self._batons = Batons()
        self._next_id = int.from_bytes(os.urandom(6), "big")
        self._busy: dict[int, HranaStream] = {}
        self._idle: OrderedDict[int, HranaStream] = OrderedDict()
        self._expired: OrderedDict[int, float] = OrderedDict()
        self._timer: asyncio.TimerHandle | None = None
        self._closing: set[asyncio.Task[None]] = set()

    def open(self, *, kept: bool) -> HranaStream:
        """A new stream; `kept`: it will outlive its request. Raises `Busy` if there are too many."""
        if self._way.draining:
            raise Busy(ShuttingDown())
        stream = HranaStream(self._way.stream())
        if kept:
            if len(self._busy) + len(self._idle) >= self._limit:
                raise Busy(StatementError(f"There are {self._limit} streams open already.", "SQLITE_BUSY", retry=True))
            self._next_id += 1
            stream.stream_id = self._next_id
            self._busy[stream.stream_id] = stream
        return stream

    def take(self, baton: str) -> HranaStream:
        """The stream that a baton is for, now in the caller's hands. Raises `ProtocolError`."""
        found = self._batons.read(baton)
        if found is None:
            raise ProtocolError(_INVALID)
        stream_id, sequence = found
        stream = self._idle.get(stream_id) or self._busy.get(stream_id)
        if stream is None:
            if self._expired.get(stream_id, 0.0) > clock.monotonic() - _REMEMBER_EXPIRED:
                raise ProtocolError("The stream has expired due to inactivity", code="STREAM_EXPIRED")
            raise ProtocolError(_INVALID)
        if stream.sequence != sequence or stream_id in self._busy:
            raise ProtocolError("Received a baton that has already been used.")
        stream.sequence += 1
        self._busy[stream_id] = self._idle.pop(stream_id)
        return stream

    def baton(self, stream: HranaStream) -> str | None:
        """The baton of the stream's next request; None if it was closed. Valid once `give_back` was called."""
        return None if stream.closed else self._batons.write(stream.stream_id, stream.sequence)

    def give_back(self, stream: HranaStream) -> None:
        """The request is over: the stream is idle, or gone if it was closed."""
        self._busy.pop(stream.stream_id, None)
        if stream.closed:
            return
        stream.idle_since = clock.monotonic()
        self._idle[stream.stream_id] = stream
        if self._timer is None:
            self._schedule()

    async def end(self, stream: HranaStream) -> None:
        """Close a stream for breaking the protocol, or because its client is gone."""
        self._busy.pop(stream.stream_id, None)
        await stream.close()

    async def close(self) -> None:
        """Close every stream."""
        if self._timer is not None:
            self._timer.cancel()
        for stream in [*self._idle.values(), *self._busy.values()]:
            await stream.close()
        self._idle.clear()
        if self._closing:
            await asyncio.wait(self._closing)

    def _schedule(self) -> None:
        self._timer = None
        first = next(iter(self._idle.values()), None)
        if first is not None:
            left = first.idle_since + self._idle_timeout - clock.monotonic()
            self._timer = asyncio.get_running_loop().call_later(max(left, 0.001), self._expire)

    def _expire(self) -> None:
        now = clock.monotonic()
        while self._idle:
            stream_id, stream = next(iter(self._idle.items()))
            if stream.idle_since + self._idle_timeout > now:
                break
            del self._idle[stream_id]
            self._expired[stream_id] = now
            task = asyncio.create_task(stream.close())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
        while self._expired and next(iter(self._expired.values())) < now - _REMEMBER_EXPIRED:
            self._expired.popitem(last=False)
        self._schedule()
