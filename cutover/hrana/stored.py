"""SQL texts that a client stored under a number, and requests that refer to them."""

from __future__ import annotations

from dataclasses import replace

from cutover.errors import StatementError
from cutover.hrana.fields import ProtocolError
from cutover.hrana.messages import (
    Batch,
    CloseSql,
    Describe,
    Execute,
    Request,
    SequenceOf,
    StoredSql,
    StoreSql,
    look_up,
    resolved,
)
from cutover.model.statement import Step

_TEXTS = 150
_LENGTH = 64 * 1024


class StoredTexts:
    """Of one stream over HTTP, or of one WebSocket with all its streams."""

    def __init__(self) -> None:
        self._texts: dict[int, str] = {}

    def take(self, request: StoreSql | CloseSql) -> None:
        """Store a text or forget one. Raises `ProtocolError` for an id in use, `StatementError` beyond the limits."""
        if isinstance(request, CloseSql):
            self._texts.pop(request.sql_id, None)
            return
        if request.sql_id in self._texts:
            raise ProtocolError(f"The id {request.sql_id} holds an SQL text already.")
        if len(self._texts) >= _TEXTS:
            raise StatementError(f"A stream can store {_TEXTS} SQL texts.", "SQL_STORE_TOO_MANY")
        if len(request.sql) > _LENGTH:
            raise StatementError(f"A stored SQL text can have {_LENGTH} characters.", "SQL_STORE_TOO_LARGE")
        self._texts[request.sql_id] = request.sql

    def resolve(self, request: Request) -> Request:
        """The request with its texts in it. Raises `ProtocolError` for an id that nothing is stored under."""
        match request:
            case Execute(statement, stored) if stored is not None:
                return Execute(resolved(statement, stored, self._texts), None)
            case Batch():
                return self.resolve_batch(request)
            case SequenceOf(StoredSql() as sql) | Describe(StoredSql() as sql):
                return replace(request, sql=look_up(sql, self._texts))
            case _:
                return request

    def resolve_batch(self, batch: Batch) -> Batch:
        """The batch with its texts in it. Raises `ProtocolError`."""
        if batch.stored is None:
            return batch
        steps = [
            Step(resolved(step.statement, text, self._texts), step.condition)
            for step, text in zip(batch.steps, batch.stored, strict=True)
        ]
        return Batch(tuple(steps), None)
