"""What a write that failed tells: which of several constraints it was, and how far it had come.

SQLite goes row by row and says what the first row that fails breaks first; its last_insert_rowid() is then that of the
row before, though that is gone. Postgres says neither. So what failed is run once more, a row at a time, up to the row
that fails again, and all of it is undone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import asyncpg

from cutover.dialect.connections import BEGIN, DRIVER_ERRORS, abandon
from cutover.dialect.failures import Halfway, translate_failure
from cutover.dialect.giving import Giving
from cutover.dialect.preparing import Memory, Prepared
from cutover.dialect.running import NAMED, defer, first_broken, row_by_row
from cutover.errors import CutoverError, StatementError

if TYPE_CHECKING:
    from cutover.dialect.dialect import Dialect
    from cutover.dialect.direct import Connection


_WAITS = """
SELECT condeferred FROM pg_constraint
WHERE conname = $1 AND contype = 'f' AND conrelid = format('%I.%I', $2::text, $3::text)::regclass"""


async def told_alone(
    connection: Connection, prepared: Prepared, dialect: Dialect, memory: Memory, error: BaseException
) -> StatementError | None:
    """What SQLite says of this error of a statement that stood alone, and was undone; None if that is not known."""
    if not is_unclear(prepared, error):
        return None
    giving = Giving()
    try:
        if isinstance(error, NAMED):
            told = await first_broken(connection, prepared, dialect)
            if told is not None:
                return told
        await connection.execute(BEGIN)
        return await _told(connection, prepared, dialect, memory, giving, error)
    except (CutoverError, *DRIVER_ERRORS):  # others have been there meanwhile, or it has no translation
        return None
    finally:
        giving.rolled_back()
        await abandon(connection)


async def told_within(
    connection: Connection,
    prepared: Prepared,
    dialect: Dialect,
    memory: Memory,
    giving: Giving,
    error: BaseException,
) -> StatementError | None:
    """The same in a transaction, behind a savepoint to which it is rolled back once more."""
    if not is_unclear(prepared, error):
        return None
    with giving.in_vain():
        try:
            return await _told(connection, prepared, dialect, memory, giving, error)
        except (CutoverError, *DRIVER_ERRORS):
            return None


def is_unclear(prepared: Prepared, error: BaseException) -> bool:
    """Whether Postgres does not say it all."""
    translation = prepared.translation
    return translation is not None and isinstance(error, translation.unclear)


async def _told(
    connection: Connection,
    prepared: Prepared,
    dialect: Dialect,
    memory: Memory,
    giving: Giving,
    error: BaseException,
) -> StatementError | None:
    rows = prepared.by_rows()
    if rows is None or rows.translation is None or prepared.translation is None:
        return None
    of_key = isinstance(error, asyncpg.ForeignKeyViolationError)
    if of_key and not prepared.translation.stored and not await _waits(connection, error):
        return None
    await defer(connection, rows.translation, memory)
    try:
        done = await row_by_row(connection, rows, dialect, memory, giving, telling=True)
        told, last = None, done.last_insert_rowid
    except Halfway as found:
        told, last = StatementError(found.message, found.code), found.last_insert_rowid
    if of_key:  # which is what is told, also where OR FAIL stops before
        failure = translate_failure(error, dialect.catalog)
        told = failure if isinstance(failure, StatementError) else None
    if told is not None:
        told.last_insert_rowid = last
    return told


async def _waits(connection: Connection, error: BaseException) -> bool:
    """Whether the foreign key that was broken is looked at with COMMIT."""
    named = [getattr(error, name) for name in ("constraint_name", "schema_name", "table_name")]
    return all(named) and bool(await connection.fetchval(_WAITS, *named))
