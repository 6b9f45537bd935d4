"""Errors behind which a statement is run in another way: keys that came from elsewhere, numbers that met an end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import asyncpg

from cutover.dialect.failures import Conflict, is_overflow, overtaken
from cutover.dialect.preparing import Prepared
from cutover.dialect.settling import Uneven
from cutover.dialect.widening import misfit
from cutover.errors import StatementError

if TYPE_CHECKING:
    from cutover.dialect.direct import Connection
    from cutover.dialect.translation import Translation
    from cutover.model.table import Table

REPEATABLE = (
    asyncpg.UniqueViolationError,
    asyncpg.CheckViolationError,
    asyncpg.NotNullViolationError,
    asyncpg.CardinalityViolationError,
    asyncpg.NumericValueOutOfRangeError,
    asyncpg.InvalidTextRepresentationError,
    Uneven,
)
"""Errors behind which the statement may be run in another way."""


async def instead(connection: Connection, prepared: Prepared, error: Exception) -> Prepared:
    """What to run after this error, which undid the statement. Raises what is to be told if there is nothing."""
    assert prepared.translation is not None
    if isinstance(error, asyncpg.NumericValueOutOfRangeError):
        return wider(prepared, error)
    if isinstance(error, asyncpg.InvalidTextRepresentationError):
        told = misfit(prepared.translation.unsure, error)
        if told is None:
            raise error
        raise told from error
    if isinstance(error, Uneven) and prepared.keyed is not None:
        return prepared.keyed(error.wanted)
    if isinstance(error, (asyncpg.CardinalityViolationError, Uneven)):
        if prepared.again is None:
            raise error
        return prepared.again()
    if isinstance(error, (asyncpg.CheckViolationError, asyncpg.NotNullViolationError)):
        if prepared.again is None or not prepared.translation.refusing:
            raise error
        return prepared.again()
    if isinstance(error, asyncpg.UniqueViolationError) and not await _caught_up(
        connection, prepared.translation, error
    ):
        raise _why_not_unique(error, prepared)
    return prepared


async def _caught_up(connection: Connection, translation: Translation, error: Exception) -> bool:
    """Whether an automatic key met a row that came without the sequence, and the sequence is past it now."""
    table, sequence = translation.table, translation.automatic
    if table is None or sequence is None or not _is_of_key(error, table):
        return False
    key = next(column.target for column in table.columns if column.name == table.rowid_alias)
    quoted = [part.replace('"', '""') for part in (key, table.target_schema, table.target)]
    await connection.execute(
        # Not the key at the sequence's very end: what is to be passed is below it.
        'SELECT cutover.advance($1, (SELECT max("{0}") FROM "{1}"."{2}" WHERE "{0}" <= seqmax - seqincrement)) '
        "FROM pg_sequence WHERE seqrelid = $1::text::regclass AND seqincrement > 0".format(*quoted),
        sequence,
    )
    return True


def may_widen(prepared: Prepared, error: BaseException) -> bool:
    """Whether a number met an end at which SQLite goes on."""
    if not isinstance(error, asyncpg.NumericValueOutOfRangeError) or prepared.translation is None:
        return False
    return prepared.translation.wider is not None and not is_overflow(error)


def wider(prepared: Prepared, error: Exception) -> Prepared:
    """The statement with numbers that go on where this one met their end. Raises `error` where nothing is gained."""
    if prepared.wider is None or not may_widen(prepared, error):
        raise error
    try:
        return prepared.wider()
    except StatementError:  # what it is made of then has no translation
        raise error from None


def _why_not_unique(error: asyncpg.UniqueViolationError, prepared: Prepared) -> Exception:
    """The error itself; `Conflict` for a REPLACE, which had deleted whoever had its keys, in its own snapshot."""
    assert prepared.translation is not None
    if prepared.translation.clears and overtaken(error, prepared.translation.table):
        return Conflict("The keys that REPLACE had cleared were taken again.")
    return error


@contextmanager
def meeting_none(prepared: Prepared) -> Iterator[None]:
    """A statement that is run in another way. `Conflict` if an automatic key meets a row that came meanwhile, which
    the transaction does not see."""
    try:
        yield
    except asyncpg.UniqueViolationError as error:
        translation = prepared.translation
        if translation is not None and translation.automatic is not None and _is_of_key(error, translation.table):
            raise Conflict("An automatic key met a row that the transaction does not see.") from None
        raise


def _is_of_key(error: Exception, table: Table | None) -> bool:
    """Whether it is the automatic key that somebody has already."""
    if table is None or table.rowid_alias is None:
        return False
    key = next(column.target for column in table.columns if column.name == table.rowid_alias)
    return f"Key ({key})=" in str(getattr(error, "detail", "")).replace('"', "")
