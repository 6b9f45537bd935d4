"""One write tried on Postgres in a state that was exported: made by rehearsal, answered, and undone.

Nothing of it stays, and nobody waits for it: locks are waited for 50 ms at most, and held no longer than the statement
may take. Sequences do not go back with a transaction, so those of the table are made anew within it: what is made
within a transaction goes with it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING

import asyncpg

from cutover import clock
from cutover.dialect import high_marks
from cutover.dialect.ahead import translate_ahead
from cutover.dialect.connections import DRIVER_ERRORS, Connections, abandon, as_statement_error
from cutover.dialect.dialect import Dialect
from cutover.dialect.failures import translate_failure
from cutover.dialect.giving import Giving
from cutover.dialect.instead import REPEATABLE, instead
from cutover.dialect.preparing import Memory, Prepared, prepare
from cutover.dialect.running import run
from cutover.errors import StatementError
from cutover.model.statement import Statement, StatementResult, Timed
from cutover.model.table import Table
from cutover.schema.sqltext import inspect
from cutover.stores.postgres.names import TRIGGERS, literal, target

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record]

_LOCK_MS = 50

_AS_APPLIER = "SELECT set_config('cutover.applier', generation::text, true) FROM cutover.control"
"""So that the fence lets it pass, and capture takes no notice."""

_LOWEST = -(2**63)
"""What a sequence begins with where all keys are below zero (`keys.sql`)."""

_ACTING = """
WITH RECURSIVE reached (oid) AS (
    SELECT $1::text::regclass::oid
    UNION
    SELECT k.conrelid FROM pg_constraint k JOIN reached ON reached.oid = k.confrelid
    WHERE k.contype = 'f' AND (k.confdeltype IN ('c', 'n', 'd') OR k.confupdtype IN ('c', 'n', 'd')))
SELECT EXISTS (
    SELECT FROM pg_trigger JOIN reached ON reached.oid = tgrelid
    WHERE NOT tgisinternal AND tgenabled <> 'D' AND tgname <> ALL($2::text[]))"""
"""Whether a write of the table, or what its foreign keys do then, sets off a trigger that is not cutover's."""

_SEQUENCES = """
SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'S' AND c.oid IN (
    SELECT objid FROM pg_depend
    WHERE classid = 'pg_class'::regclass AND refobjid = $1::text::regclass AND deptype IN ('a', 'i')
    UNION
    SELECT d.refobjid FROM pg_depend d JOIN pg_attrdef a ON d.classid = 'pg_attrdef'::regclass AND d.objid = a.oid
    WHERE a.adrelid = $1::text::regclass AND d.refclassid = 'pg_class'::regclass AND d.deptype = 'n')
ORDER BY 1"""


_WITHOUT_KEYS = "SELECT EXISTS (SELECT FROM cutover.suspended WHERE kind = 'foreign_key')"


class NotTried(Exception):
    """What would be done could not be undone."""


class LeftBehind(Exception):
    """The write met a row that is not in its snapshot: the mirror has applied others since. `error` is what it got."""

    def __init__(self, error: StatementError) -> None:
        super().__init__()
        self.error = error


async def try_write(
    connections: Connections, snapshot: str, statement: Statement, seconds: float, last: int | None
) -> Timed | None:
    """What the write answers; None for one that cutover answers itself.

    `last`: the key after which SQLite gives the next one to the table. Raises `StatementError`, `NotTried`, or
    `LeftBehind`.
    """
    dialect, memory, verb = connections.dialect, Memory(), inspect(statement.sql).verb
    async with connections.lend() as connection:
        await translate_ahead(dialect, statement)
        prepared = prepare(dialect, statement, memory)
        if prepared.translation is None or prepared.translation.table is None:
            return None
        try:
            await connection.execute(
                f"BEGIN ISOLATION LEVEL REPEATABLE READ READ WRITE; SET TRANSACTION SNAPSHOT '{snapshot}'; "
                f"SET LOCAL statement_timeout = {int(seconds * 1000)}; SET LOCAL lock_timeout = {_LOCK_MS}"
            )
            await connection.fetch(_AS_APPLIER)
            table = prepared.translation.table
            if table.name == high_marks.NAME:
                raise NotTried("It sets sequences, which are locked until the end.")
            if await connection.fetchval(_ACTING, target(table), list(TRIGGERS)):
                raise NotTried("What it writes has triggers of its own on Postgres, and what they do might stay.")
            began = clock.monotonic()
            once = partial(_once, dialect, connection, memory, last, spares=verb in ("INSERT", "REPLACE"))
            return Timed(await _made(connection, prepared, once), clock.monotonic() - began)
        except (*DRIVER_ERRORS, TimeoutError) as error:
            failure = as_statement_error(translate_failure(error, dialect.catalog))
            if isinstance(error, asyncpg.UniqueViolationError) and await _is_behind(connection):
                raise LeftBehind(failure) from None
            raise failure from None
        finally:
            await abandon(connection)


async def _is_behind(connection: Connection) -> bool:
    """Whether the mirror has applied anything since the snapshot, or is about to. Unique keys know of rows that the
    snapshot does not have, and each batch changes the control row."""
    await connection.execute("ROLLBACK TO made")
    try:
        await connection.execute("SELECT FROM cutover.control FOR SHARE")
    except (asyncpg.SerializationError, asyncpg.LockNotAvailableError):
        return True
    return False


async def foreign_keys_rest(connections: Connections) -> bool:
    """Whether foreign keys are put aside as long as Postgres is the shadow."""
    async with connections.lend() as connection:
        return bool(await connection.fetchval(_WITHOUT_KEYS))


async def _made(
    connection: Connection,
    prepared: Prepared,
    once: Callable[[Prepared], Awaitable[StatementResult]],
) -> StatementResult:
    await connection.execute("SAVEPOINT made")
    try:
        return await once(prepared)
    except asyncpg.InvalidCachedStatementError:  # a table changed since this connection had it prepared
        await connection.execute("ROLLBACK TO made")
        return await once(prepared)
    except REPEATABLE as error:
        await connection.execute("ROLLBACK TO made")
        return await once(await instead(connection, prepared, error))


async def _once(
    dialect: Dialect, connection: Connection, memory: Memory, last: int | None, prepared: Prepared, *, spares: bool
) -> StatementResult:
    """With keys of its own: what the executor knows of them is not undone with it."""
    translation = prepared.translation
    assert translation is not None
    assert translation.table is not None
    automatic = dialect.catalog.sequences.get(translation.table.name)
    if spares:
        await _spare(connection, translation.table, automatic, last)
    own = dialect.aside({automatic: last} if automatic is not None else {})
    return await run(connection, prepared, own, memory, None if prepared.numbers else Giving())


async def _spare(connection: Connection, table: Table, automatic: str | None, last: int | None) -> None:
    """Have the table's sequences stand where the switch would set them, in this transaction alone."""
    for (sequence,) in await connection.fetch(_SEQUENCES, target(table)):
        try:
            await connection.execute(f"ALTER SEQUENCE {sequence} RESTART")
        except asyncpg.InsufficientPrivilegeError:
            raise NotTried(f"The sequence {sequence} belongs to another role, and would be moved.") from None
    below = last is not None and last < 0 and not table.autoincrement  # SQLite goes on from the highest of them
    if automatic is not None and below:
        await connection.execute(f"ALTER SEQUENCE {automatic} MINVALUE {_LOWEST}")
    if automatic is not None and last is not None and (last > 0 or below):
        await connection.execute(f"SELECT setval({literal(automatic)}, {last})")
