"""Which statements and batches need nothing of the stream they came by, so that they can run beside others."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from cutover.model.statement import Step
from cutover.schema.batches import Route, route
from cutover.schema.sqltext import LONG, StatementKind, inspect

_SOME = 1000
"""Statements of a batch that are worth looking through; a longer one goes its own way."""

_ALONE = {StatementKind.READ: Route.READ, StatementKind.WRITE: Route.WRITE, StatementKind.DDL: Route.WRITE}


@lru_cache(maxsize=4096)
def route_alone(sql: str) -> Route | None:
    """READ for a query, WRITE for a statement that writes and is self-contained; None if it is neither, or needs
    something of its stream's past. Not for a text that is longer than `LONG`, which is to be measured first."""
    shape = inspect(sql)
    return None if shape.remembers or shape.temporary else _ALONE.get(shape.kind)


def alone(steps: Sequence[Step]) -> Route | None:
    """The same for a batch."""
    if len(steps) == 1:
        sql = steps[0].statement.sql
        return route_alone(sql) if len(sql) <= LONG else None
    if not 0 < len(steps) <= _SOME or any(len(step.statement.sql) > LONG for step in steps):
        return None
    if route(steps) is not Route.WRITE or any(inspect(step.statement.sql).remembers for step in steps):
        return None
    return Route.WRITE
