"""Which statements and batches need nothing of the stream they came by, so that they can run beside others."""

from __future__ import annotations

from collections.abc import Sequence

from cutover.model.statement import Statement, Step
from cutover.schema.batches import Route, route
from cutover.schema.sqltext import LONG, StatementKind, inspect

_SOME = 1000
"""Statements of a batch that are worth looking through; a longer one goes its own way."""

_ALONE = {StatementKind.READ: Route.READ, StatementKind.WRITE: Route.WRITE, StatementKind.DDL: Route.WRITE}


def route_alone(statement: Statement) -> Route | None:
    """READ for a query, WRITE for a statement that writes and is self-contained; None if it is neither, or needs
    something of its stream's past."""
    if len(statement.sql) > LONG:  # to be measured first
        return None
    shape = inspect(statement.sql)
    return None if shape.remembers else _ALONE.get(shape.kind)


def alone(steps: Sequence[Step]) -> Route | None:
    """The same for a batch."""
    if len(steps) == 1:
        return route_alone(steps[0].statement)
    if not 0 < len(steps) <= _SOME or any(len(step.statement.sql) > LONG for step in steps):
        return None
    if route(steps) is not Route.WRITE or any(inspect(step.statement.sql).remembers for step in steps):
        return None
    return Route.WRITE
