"""One translated statement on one connection."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import asyncpg

from cutover.dialect.answering import finished, limit_of, once
from cutover.dialect.dialect import Dialect
from cutover.dialect.failures import Halfway, is_of_rowid, mismatch, translate_failure
from cutover.dialect.giving import Giving
from cutover.dialect.naming import first_breach
from cutover.dialect.preparing import Memory, Prepared, with_arguments
from cutover.dialect.translation import KINDS, Translation
from cutover.dialect.typed import Refused
from cutover.errors import CutoverError, StatementError
from cutover.model.statement import StatementResult
from cutover.model.table import Table
from cutover.model.values import SqlValue
from cutover.schema.createsql import read_create_table
from cutover.stores.postgres.names import target

if TYPE_CHECKING:
    from cutover.dialect.direct import Connection


_FOREIGN_KEYS = """
SELECT string_agg(format('%I.%I', n.nspname, c.conname), ', ')
FROM pg_constraint c JOIN pg_namespace n ON n.oid = c.connamespace
WHERE c.contype = 'f' AND c.condeferrable AND NOT c.condeferred AND $1::text::regclass IN (c.conrelid, c.confrelid)"""
_ROW = '"cutover: row"'
_SPARED = (asyncpg.UniqueViolationError, asyncpg.CheckViolationError, asyncpg.NotNullViolationError)
"""Errors of a row that OR IGNORE passes over, and OR FAIL stops at."""
NAMED = (asyncpg.UniqueViolationError, asyncpg.CheckViolationError)
"""Those of constraints of which a row may break several."""
_MOST_TOLD = 1000
"""Rows of a statement that are run one by one only to tell why it failed."""


async def run(
    connection: Connection,
    prepared: Prepared,
    dialect: Dialect,
    memory: Memory,
    giving: Giving | None = None,
    *,
    within: bool = True,
) -> StatementResult:
    """Run on `connection`, `within` an open transaction or as one of its own. Raises what the driver raises.

    `giving`: have automatic keys go on where SQLite's would.
    """
    translation = prepared.translation
    if prepared.answered is not None or translation is None:
        return prepared.answered or StatementResult()
    if translation.parts or translation.by_row is not None:
        result = await _as_one(connection, prepared, dialect, memory, giving)
    elif translation.before is not None:
        async with _checked_behind(connection, translation, memory):
            result = await _alone(connection, prepared, dialect, giving, within=within)
    else:
        result = await _alone(connection, prepared, dialect, giving, within=within)
    return finished(result, prepared, dialect, memory)


async def _alone(
    connection: Connection, prepared: Prepared, dialect: Dialect, giving: Giving | None, *, within: bool
) -> StatementResult:
    translation = prepared.translation
    assert translation is not None
    if giving is None or (translation.drawing is None and not translation.lowered and not translation.marked):
        return await once(connection, prepared, translation, limit_of(prepared, dialect))
    await giving.before(connection, dialect.keys, prepared, within=within)
    with giving.around(dialect.keys, prepared):
        result = await once(connection, prepared, translation, limit_of(prepared, dialect))
        giving.after(dialect.keys, prepared, result.affected)
    if translation.raised and result.affected:
        await giving.pass_moved(connection, dialect.keys, translation.raised)
    if within:
        await giving.count(connection, dialect.keys, prepared)
    return result


async def first_broken(connection: Connection, prepared: Prepared, dialect: Dialect) -> StatementError | None:
    """What SQLite says of a row that breaks constraints; None where that is not known any more."""
    query = prepared.naming() if prepared.naming is not None else None
    if query is None or query.translation is None or prepared.translation is None:
        return None
    table = prepared.translation.table
    assert table is not None
    found = (await once(connection, query, query.translation)).rows
    return first_breach(table, found[0], lambda: dialect.copy.indexes(table.name)) if found else None


async def _as_one(
    connection: Connection, prepared: Prepared, dialect: Dialect, memory: Memory, giving: Giving | None
) -> StatementResult:
    """All rows, with foreign keys checked behind the last of them."""
    assert prepared.translation is not None
    async with _checked_behind(connection, prepared.translation, memory):
        return await row_by_row(connection, prepared, dialect, memory, giving)


@asynccontextmanager
async def _checked_behind(connection: Connection, translation: Translation, memory: Memory) -> AsyncIterator[None]:
    """Foreign keys are checked behind several statements that are one, unless the stream has them checked at COMMIT."""
    keys = await defer(connection, translation, memory)
    if not keys:
        yield
        return
    try:
        yield
    except Halfway:
        await connection.execute(f"SET CONSTRAINTS {keys} IMMEDIATE")
        raise
    await connection.execute(f"SET CONSTRAINTS {keys} IMMEDIATE")


async def defer(connection: Connection, translation: Translation, memory: Memory) -> str:
    """Have foreign keys wait for COMMIT that do not yet. Their names, to be checked behind the statement."""
    keys = None
    if translation.table is not None and not memory.deferring:
        keys = await connection.fetchval(_FOREIGN_KEYS, target(translation.table))
    if keys:
        await connection.execute(f"SET CONSTRAINTS {keys} DEFERRED")
    return keys or ""


async def row_by_row(
    connection: Connection,
    prepared: Prepared,
    dialect: Dialect,
    memory: Memory,
    giving: Giving | None,
    *,
    telling: bool = False,
) -> StatementResult:
    """What becomes of all rows. Raises `Halfway` where the statement keeps those before the one that fails, or to be
    `telling` which it is."""
    assert prepared.translation is not None
    result, so_far, word = StatementResult(), replace(memory), prepared.translation.sparing
    word = "FAIL" if telling and word != "IGNORE" else word
    giving = giving or Giving()
    before = giving.so_far()
    async for translation, bound in _rows(connection, prepared, memory, few=telling):
        told = None
        if translation.choosing is not None:
            chosen = await _chosen(connection, prepared, translation, bound, so_far, dialect)
            translation, told = chosen  # noqa: PLW2901  # the row's own
        part = with_arguments(prepared.checked, translation, bound, so_far, want_rows=prepared.want_rows)
        await giving.before(connection, dialect.keys, part, within=True)
        try:
            with giving.around(dialect.keys, part, spared=_SPARED if word == "IGNORE" else ()):
                one = await (_sparing if word else once)(connection, part, translation)
                giving.after(dialect.keys, part, one.affected)
                if translation.raised and one.affected:
                    await giving.pass_moved(connection, dialect.keys, translation.raised)
                if part.numbered is not None:
                    one.last_insert_rowid = part.numbered
        except (*_SPARED, asyncpg.InvalidTextRepresentationError) as error:
            if not isinstance(error, _SPARED) and not telling:
                raise
            unique = isinstance(error, asyncpg.UniqueViolationError)
            if told is not None and unique:
                raise Halfway.of(told, result) if telling else told from None
            if translation.upserts and not telling and (word or unique):
                raise _of_upsert(error, word, dialect) from None
            if word == "FAIL":
                giving.untold(before)
                named = isinstance(error, NAMED) and await first_broken(connection, part, dialect)
                raise Halfway.of(named or translate_failure(error, dialect.catalog), result) from None
            if not word:
                raise
            continue
        result.rows += one.rows
        result.affected += one.affected
        if one.last_insert_rowid is not None:
            result.last_insert_rowid = so_far.last_insert_rowid = one.last_insert_rowid
    return result


async def _rows(
    connection: Connection, prepared: Prepared, memory: Memory, *, few: bool
) -> AsyncIterator[tuple[Translation, Sequence[SqlValue]]]:
    """The statement for each row, with its arguments. `few`: raises `StatementError` where there are many."""
    assert prepared.translation is not None
    bound, by_row = prepared.bound, prepared.translation.by_row
    if by_row is None:
        for part in prepared.translation.parts:
            yield part, bound
        return
    query = _first_of(by_row.rows) if few else by_row.rows
    asked = with_arguments(prepared.checked, query, bound, memory, want_rows=True)
    found = (await once(connection, asked, query)).rows
    if few and len(found) > _MOST_TOLD:
        raise StatementError("There are too many rows to look at each of them.", "SQLITE_UNKNOWN")
    for row in by_row.accept(found):
        yield by_row.translate(tuple(KINDS[type(value)] for value in row)), [*bound, *row]


def _first_of(rows: Translation) -> Translation:
    """As many of the rows as are looked at, and one more."""
    command = rows.command
    few = f"SELECT * FROM ({command.sql}) AS few LIMIT {_MOST_TOLD + 1}"  # our own text
    return replace(rows, command=replace(command, sql=few))


async def _chosen(
    connection: Connection,
    prepared: Prepared,
    translation: Translation,
    bound: Sequence[SqlValue],
    memory: Memory,
    dialect: Dialect,
) -> tuple[Translation, StatementError | None]:
    """The way that the row goes, and what is said if it may not."""
    choosing, table = translation.choosing, translation.table
    assert choosing is not None and table is not None  # noqa: PT018  # of an INSERT
    asked = with_arguments(prepared.checked, choosing.asked, bound, memory, want_rows=True)
    (met,) = (await once(connection, asked, choosing.asked)).rows
    return choosing.choose(met, lambda: dialect.copy.indexes(table.name))


def _of_upsert(error: asyncpg.PostgresError, word: str, dialect: Dialect) -> CutoverError:
    """What goes wrong with DO UPDATE is an error, with the new row itself not: which of both it was is not told."""
    if word != "IGNORE" or isinstance(error, asyncpg.UniqueViolationError):
        return translate_failure(error, dialect.catalog)
    return Refused("INSERT OR IGNORE with DO UPDATE of a row that a CHECK or NOT NULL forbids")


async def _sparing(connection: Connection, part: Prepared, translation: Translation) -> StatementResult:
    """The statement for one row, whose failure undoes that row alone."""
    await connection.execute(f"SAVEPOINT {_ROW}")
    try:
        done = await once(connection, part, translation)
        await connection.execute(f"RELEASE SAVEPOINT {_ROW}")
        return done
    except (*_SPARED, asyncpg.InvalidTextRepresentationError) as error:
        await connection.execute(f"ROLLBACK TO SAVEPOINT {_ROW}; RELEASE SAVEPOINT {_ROW}")
        if isinstance(error, asyncpg.NotNullViolationError) and is_of_rowid(error, translation.table):
            raise mismatch() from None
        if isinstance(error, asyncpg.NotNullViolationError) and not _is_needed(error, translation.table):
            raise Refused(f"NULL in the key {error.column_name}, which SQLite takes,") from None
        raise


def _is_needed(error: asyncpg.NotNullViolationError, table: Table | None) -> bool:
    """Whether the column is NOT NULL on SQLite, too."""
    assert table is not None
    computed = read_create_table(table.sql).columns.get(str(error.column_name).lower())
    if computed is not None and computed.generated:
        return True
    return any(column.not_null and column.target == error.column_name for column in table.columns)
