"""One statement sent, and what the server answers, in SQLite's values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import asyncpg

from cutover.dialect.dialect import Dialect
from cutover.dialect.direct import ask, ask_for
from cutover.dialect.preparing import Memory, Prepared
from cutover.dialect.translation import Translation
from cutover.model.sizes import answer_size, too_large
from cutover.model.statement import StatementResult
from cutover.model.values import Row

if TYPE_CHECKING:
    from cutover.dialect.direct import Connection


async def once(
    connection: Connection, prepared: Prepared, translation: Translation, limit: int | None = None
) -> StatementResult:
    """Send it, with what goes before it. `limit`: bytes that the answer may have. Raises what the driver raises."""
    if translation.before is not None:
        await connection.execute(translation.before.sql, *prepared.before)
    sql, arguments = translation.command.sql, prepared.arguments
    if limit is None:
        records, status = await ask(connection, sql, arguments)
    else:
        records, status = await ask_for(connection, sql, arguments, limit)
    return result_of(records, number_in(status), prepared, translation)


def number_in(status: str) -> int:
    """How many rows the server says at the end that a statement is about."""
    number = status.rpartition(" ")[2]
    return int(number) if number.isdigit() else 0


def result_of(
    records: Sequence[asyncpg.Record], affected: int, prepared: Prepared, translation: Translation
) -> StatementResult:
    """What the server's answer says, in SQLite's values."""
    if translation.width == 0 and not translation.key_returned:
        if translation.marked:
            prepared.marks = [(record[0], record[1], record[2]) for record in records]
        return StatementResult(affected=affected)
    result = StatementResult(affected=len(records) if translation.writes else 0)
    if translation.key_returned and records:
        prepared.keys = keys = [record[translation.width] for record in records]
        if not prepared.numbers:
            result.last_insert_rowid = next((key for key in reversed(keys) if key is not None), None)
    if prepared.want_rows and translation.width:
        result.rows = rows_of(records, translation)
    return result


def rows_of(records: Sequence[asyncpg.Record], translation: Translation) -> list[Row]:
    """Rows in SQLite's values."""
    width, decoders = translation.width, translation.decoders
    if not decoders:
        return [record[:width] for record in records]
    rows: list[Row] = []
    for record in records:
        values = list(record[:width])
        for at, decode in decoders:
            if values[at] is not None:
                values[at] = decode(values[at])
        rows.append(tuple(values))
    return rows


def finished(result: StatementResult, prepared: Prepared, dialect: Dialect, memory: Memory) -> StatementResult:
    """With its columns and size, and remembered if it wrote. Raises `StatementError` for a read that is too large."""
    translation = prepared.translation
    assert translation is not None
    result.columns = prepared.columns or dialect.columns(prepared.checked, translation)
    if translation.writes:
        if prepared.numbers:
            result.last_insert_rowid = prepared.numbered or result.last_insert_rowid
        memory.note(result)
    result.size = answer_size(result.rows)
    if result.size > dialect.max_response_bytes and not translation.writes:
        raise too_large(dialect.max_response_bytes)
    return result


def limit_of(prepared: Prepared, dialect: Dialect) -> int | None:
    """Bytes that the answer may have, about; None: whatever it has, it was done, or is not kept."""
    translation = prepared.translation
    reads = translation is not None and not translation.writes and prepared.want_rows
    return dialect.max_response_bytes if reads else None
