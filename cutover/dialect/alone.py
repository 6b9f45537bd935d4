"""Statements that stand alone: each its own transaction, repeated when it meets others."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from typing import TYPE_CHECKING

from cutover.dialect.ahead import translate_ahead
from cutover.dialect.connections import BEGIN, Connections, abandon, failure_of, locking_text
from cutover.dialect.direct import OUTDATED
from cutover.dialect.failures import (
    Conflict,
    Halfway,
    Lost,
    Unreadable,
    busy,
    translate_failure,
    unknown_outcome,
    unread_outcome,
)
from cutover.dialect.giving import Giving
from cutover.dialect.instead import REPEATABLE, instead, meeting_none
from cutover.dialect.preparing import Memory, Prepared, prepare
from cutover.dialect.running import run
from cutover.dialect.telling import Failed, placed
from cutover.dialect.widening import Unheld
from cutover.errors import StatementError
from cutover.model.statement import Statement, StatementResult

if TYPE_CHECKING:
    from cutover.dialect.direct import Connection

ATTEMPTS = 12
"""How often a transaction of ours is tried when it meets others; the last pause is about half a second."""
FIRST_ALONE = 2
"""The attempt from which on a write locks its table before its snapshot: whoever writes there natively, one transaction
behind the other, has the row again whenever it is waited for, and each wait in a snapshot ends in a conflict."""
_OUTGROWN = 3
"""How often a statement is tried that may have met a change of the schema."""


_LOOK = 5.0
"""Seconds for a look at the schema to end: it may wait for what else is brought into order."""


class _Outgrown(Exception):
    """Postgres says something to a statement that it would say if the schema had changed since it was translated."""

    def __init__(self, told: StatementError) -> None:
        super().__init__(told.message)
        self.told = told


async def run_alone(connections: Connections, statement: Statement, memory: Memory) -> StatementResult:
    """One statement as its own transaction, repeated when it meets others.

    Raises `StatementError`, or `Fenced`; OUTCOME_UNKNOWN only if a write was sent and the answer was lost.
    """
    outgrown = 0
    for attempt in range(ATTEMPTS):
        prepared, generation = await _prepared(connections, statement, memory)
        if prepared.answered is not None or prepared.translation is None:
            return prepared.answered or StatementResult()
        try:
            result = await _in_place(connections, attempt, prepared, statement, memory, generation)
            if result is not None and (prepared.translation.writes or connections.dialect.unchanged(generation)):
                return result
        except Conflict:
            continue
        except _Outgrown as error:
            # Unless a change is known: its end may take a while.
            unknown = connections.dialect.unchanged(generation)
            outgrown += unknown
            if outgrown == _OUTGROWN:
                raise error.told from None
            if unknown and outgrown == 1 and error.told.code == "SQLITE_SCHEMA":  # what it names was dropped natively
                await _looked(connections)
        except StatementError:
            if prepared.translation.writes or connections.dialect.unchanged(generation):
                raise
        except Lost:
            if prepared.translation.writes:
                raise unknown_outcome() from None
    raise busy("the statement met others each time it was tried.")


async def _looked(connections: Connections) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(_LOOK):
            await connections.look_again()


async def _prepared(connections: Connections, statement: Statement, memory: Memory) -> tuple[Prepared, int]:
    """The statement, and the generation of the schema that it is translated for."""
    dialect = await connections.current()
    await translate_ahead(dialect, statement)
    return prepare(dialect, statement, memory), dialect.generation


async def _in_place(
    connections: Connections, attempt: int, prepared: Prepared, statement: Statement, memory: Memory, generation: int
) -> StatementResult | None:
    """One attempt, when its turn has come; None for a write that is none any more, or if the schema goes on
    changing then."""
    assert prepared.translation is not None
    writes = prepared.translation.writes
    if not attempt and not writes:
        return await _attempt(connections, prepared, memory)
    await pause(attempt)
    async with connections.turns.place(attempt, writes=writes):
        if writes and not connections.dialect.unchanged(generation):
            # Others changed the schema while it waited. Nobody does so here while it has its place, so that it is
            # translated now: behind the next turn the schema might be another one again, and so for ever.
            prepared, generation = await _prepared(connections, statement, memory)
            if prepared.translation is None or not prepared.translation.writes:
                return None
            if not connections.dialect.unchanged(generation):
                return None
        result = await _attempt(connections, prepared, memory, locking=writes and attempt >= FIRST_ALONE)
        connections.turns.committed += writes and result.affected > 0
        return result


async def _attempt(
    connections: Connections, prepared: Prepared, memory: Memory, *, locking: bool = False
) -> StatementResult:
    connection = await connections.acquire()
    try:
        return await _once(connections, connection, prepared, memory, locking=locking)
    finally:
        await connections.release(connection)


async def _once(
    connections: Connections, connection: Connection, prepared: Prepared, memory: Memory, *, locking: bool
) -> StatementResult:
    assert prepared.translation is not None
    bare = connections.serializable and not prepared.several and not prepared.may_be_undone and not locking
    lock = locking_text(filter(None, [prepared.translation.table])) if locking else ""
    try:
        try:
            return await _in(connections, connection, prepared, memory, bare=bare, lock=lock)
        except REPEATABLE as error:
            await abandon(connection)
            other = await instead(connection, prepared, error)
            with meeting_none(other):
                return await _in(connections, connection, other, memory, bare=bare and not other.several, lock=lock)
    except Unheld:
        raise
    except Exception as error:  # noqa: BLE001  # also a defect of ours
        failure = failure_of(error, connection, connections.dialect) or translate_failure(
            error, connections.dialect.catalog
        )
        await abandon(connection)
        if isinstance(failure, StatementError):
            failed = Failed(connection, prepared, connections.dialect, memory, error)
            failure = await failed.alone(connections) or failure
            failure = placed(failure, prepared.translation.filled)
        if isinstance(error, OUTDATED) and isinstance(failure, StatementError):
            raise _Outgrown(failure) from None
        if isinstance(failure, Unreadable) and prepared.translation.writes and bare:  # committed, very probably
            failure = unread_outcome()
        raise failure from None


async def _in(
    connections: Connections, connection: Connection, prepared: Prepared, memory: Memory, *, bare: bool, lock: str
) -> StatementResult:
    giving = Giving(connections)
    with giving.transaction():
        if bare:
            return await run(connection, prepared, connections.dialect, memory, giving, within=False)
        await connection.execute(f"{BEGIN}{lock}")
        try:
            result = await run(connection, prepared, connections.dialect, memory, giving)
        except Halfway:
            await connection.execute("COMMIT")
            raise
        await connection.execute("COMMIT")
        return result


async def pause(attempt: int) -> None:
    """Before a repetition: longer each time, and not in step with others."""
    if attempt:
        await asyncio.sleep(random.uniform(0.5, 1) * min(0.002 * 2**attempt, 0.5))  # noqa: S311  # no secret
