"""What a stream may send at all, told from its texts before anything of them runs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from cutover.errors import StatementError
from cutover.model.statement import Step
from cutover.schema.sqltext import LONG, StatementKind, inspect, split

_READING = frozenset(
    (
        *(StatementKind.READ, StatementKind.BEGIN, StatementKind.BEGIN_READ, StatementKind.COMMIT),
        *(StatementKind.ROLLBACK, StatementKind.SAVEPOINT, StatementKind.RELEASE, StatementKind.ROLLBACK_TO),
        *(StatementKind.STATE, StatementKind.EMPTY, StatementKind.MANY, StatementKind.REFUSED),
    )
)
"""What only reads. The last three are refused for a better reason of their own."""


MANY = 200
"""Statements that are looked through elsewhere though each of them is short."""


def demand_short(sql: str, most: int) -> None:
    """Raises `StatementError` for a text of more than `most` bytes."""
    if len(sql) > most or len(sql.encode("utf-8", "replace")) > most:
        raise StatementError(
            f"The statement is longer than front.max_statement_bytes ({most}); nothing was executed.", "SQLITE_TOOBIG"
        )


def demand_few(steps: Sequence[Step], most: int) -> None:
    """Raises `StatementError` for a batch of more than `most` statements."""
    if len(steps) > most:
        raise StatementError(
            f"The batch has more statements than front.max_batch_steps ({most}); nothing was executed.", "SQLITE_TOOBIG"
        )


def demand_reading(steps: Iterable[Step], reader: str) -> None:
    """Raises `StatementError` if a statement would write, or take the write lock."""
    for step in steps:
        if inspect(step.statement.sql).kind not in _READING:
            raise StatementError(f"The token {reader} may only read; nothing was executed.", "SQLITE_READONLY")


async def look_through(steps: Sequence[Step], most: int) -> None:
    """Measure long texts, and look at long or many ones on another thread: the event loop knows them when it asks.

    Raises `StatementError` for one of more than `most` bytes.
    """
    long = [step.statement.sql for step in steps if len(step.statement.sql) > LONG]
    for text in long:
        demand_short(text, most)
    texts = long if len(steps) < MANY else [step.statement.sql for step in steps]
    await asyncio.to_thread(lambda: [inspect(text) for text in texts])


async def cut(script: str) -> list[str]:
    """The statements of a script."""
    return split(script) if len(script) <= LONG else await asyncio.to_thread(split, script)
