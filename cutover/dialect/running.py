"""One translated statement on one connection."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import asyncpg

from cutover.dialect.dialect import Checked, Dialect
from cutover.dialect.direct import ask, ask_for
from cutover.dialect.failures import Halfway, translate_failure
from cutover.dialect.giving import Giving
from cutover.dialect.naming import first_met, in_order
from cutover.dialect.scope import CHANGES, LAST_INSERT_ROWID
from cutover.dialect.spelling import Spelled
from cutover.dialect.translation import KINDS, Command, Translation
from cutover.dialect.typed import Refused
from cutover.errors import CutoverError, StatementError, Unrepresentable
from cutover.model.sizes import answer_size, too_large
from cutover.model.statement import Past, ResultColumn, Statement, StatementResult
from cutover.model.table import Table
from cutover.model.values import Row, SqlValue
from cutover.schema.arguments import bind
from cutover.schema.createsql import read_create_table
from cutover.schema.sqltext import inspect
from cutover.stores.defects import defect
from cutover.stores.postgres.names import target

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record]


_FOREIGN_KEYS = """
SELECT string_agg(format('%I.%I', n.nspname, c.conname), ', ')
FROM pg_constraint c JOIN pg_namespace n ON n.oid = c.connamespace
WHERE c.contype = 'f' AND c.condeferrable AND NOT c.condeferred AND $1::text::regclass IN (c.conrelid, c.confrelid)"""
_ROW = '"cutover: row"'
_SPARED = (asyncpg.UniqueViolationError, asyncpg.CheckViolationError, asyncpg.NotNullViolationError)
"""Errors of a row that OR IGNORE passes over, and OR FAIL stops at."""


@dataclass(slots=True)
class Memory(Past):
    """What SQLite remembers for a connection."""

    deferring: bool = False
    """PRAGMA defer_foreign_keys, for the transaction that is open."""

    def value(self, slot: int) -> int:
        """The number in a slot of `dialect.scope`."""
        if slot == LAST_INSERT_ROWID:
            return self.last_insert_rowid
        return self.changes if slot == CHANGES else self.total_changes

    def recall(self, past: Past | None) -> None:
        """Go on with the past of the stream whose batch is next."""
        if past is not None:
            self.last_insert_rowid, self.changes, self.total_changes = (
                past.last_insert_rowid, past.changes, past.total_changes,
            )  # fmt: skip


@dataclass(slots=True)
class Prepared:
    """One statement, bound and translated; or answered already."""

    checked: Checked
    translation: Translation | None
    arguments: Sequence[Any] = ()
    before: Sequence[Any] = ()
    answered: StatementResult | None = None
    want_rows: bool = True
    keys: Sequence[int | None] = ()
    """The automatic keys that it returned, when it has run; None for a row that was changed instead."""
    marks: Sequence[tuple[str, int | None, int | None]] = ()
    """Of a write to sqlite_sequence: the sequences that it set, what SQLite has there, and where they stand."""
    numbered: int | None = None
    """The number of the last row that it inserted, where Postgres does not give it."""
    bound: Sequence[SqlValue] = ()
    """The statement's arguments, where it is run a row at a time."""
    again: Callable[[], Prepared] | None = None
    """The same in parts, where that may help."""
    columns: list[ResultColumn] | None = None
    """The answer's, if they were looked up before; whoever gets them leaves them as they are."""
    wider: Callable[[], Prepared] | None = None
    """The same with numbers that go on where 64 bits or a double end."""
    keyed: Callable[[list[int]], Prepared] | None = None
    """The same with these automatic keys."""
    naming: Callable[[], Prepared | None] | None = None
    """The query for the unique keys that its row meets."""

    @property
    def may_be_undone(self) -> bool:
        """Whether it may turn out that it has to be done in another way, or something has to be done before it."""
        if self.translation is None:
            return False
        drawing = self.translation.drawing
        return bool(self.translation.marked) or (drawing is not None and drawing.by_rows)

    @property
    def numbers(self) -> bool:
        """Whether it inserts rows that are counted only."""
        drawing = self.translation.drawing if self.translation is not None else None
        return drawing is not None and drawing.counted

    @property
    def several(self) -> bool:
        """Whether more than one statement goes to Postgres."""
        one = self.translation
        return one is not None and (bool(one.parts) or one.by_row is not None or one.before is not None)


def prepare(dialect: Dialect, statement: Statement, memory: Memory) -> Prepared:
    """Check, bind, translate and encode. Raises `StatementError`; nothing was sent then."""
    try:
        return _prepared(dialect, statement, memory)
    except CutoverError:
        raise
    except Exception as error:  # noqa: BLE001  # a defect of ours
        raise defect(error) from None


def _prepared(dialect: Dialect, statement: Statement, memory: Memory) -> Prepared:
    checked = dialect.check(statement.sql)
    bound = bind(inspect(statement.sql), statement)
    if checked.local:
        answered = dialect.answer(statement.sql, bound)
        return Prepared(checked, None, answered=answered if statement.want_rows else replace(answered, rows=[]))
    while True:
        translation = dialect.translate(statement.sql, bound)
        try:
            return _with_arguments(checked, translation, bound, memory, want_rows=statement.want_rows)
        except Spelled:
            dialect.learn()


def _with_arguments(
    checked: Checked, translation: Translation, bound: Sequence[SqlValue], memory: Memory, *, want_rows: bool
) -> Prepared:
    def prepared(one: Translation, *more: SqlValue, wanted: bool = want_rows) -> Prepared:
        return _with_arguments(checked, one, [*bound, *more], memory, want_rows=wanted)

    def named() -> Prepared | None:  # whose rows are for nobody but us
        query = naming() if naming is not None else None
        return prepared(query, wanted=True) if query is not None else None

    if translation.parts or translation.by_row is not None:
        return Prepared(checked, translation, bound=bound, want_rows=want_rows)
    before, apart, wider, keyed = translation.before, translation.apart, translation.wider, translation.keyed
    naming = translation.naming
    return Prepared(
        checked,
        translation,
        _encoded(translation.command, bound, memory),
        _encoded(before, bound, memory) if before is not None else (),
        want_rows=want_rows,
        again=(lambda: prepared(apart())) if apart is not None else None,
        wider=(lambda: prepared(wider())) if wider is not None else None,
        naming=named if naming is not None else None,
        keyed=(lambda keys: prepared(keyed(), json.dumps(keys))) if keyed is not None else None,
    )


def _encoded(command: Command, bound: Sequence[SqlValue], memory: Memory) -> list[Any]:
    try:
        return command.arguments(bound, memory.value)
    except Unrepresentable as error:
        raise StatementError(f"datatype mismatch: {error.message}", "SQLITE_MISMATCH") from None


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
        return await _once(connection, prepared, translation, limit_of(prepared, dialect))
    await giving.before(connection, dialect.keys, prepared, within=within)
    with giving.around(dialect.keys, prepared):
        result = await _once(connection, prepared, translation, limit_of(prepared, dialect))
        giving.after(dialect.keys, prepared, result.affected)
    return result


async def keys_met(connection: Connection, prepared: Prepared, dialect: Dialect) -> StatementError | None:
    """What SQLite says of a row that meets others in unique keys; None where that is not known any more."""
    query = prepared.naming() if prepared.naming is not None else None
    if query is None or query.translation is None or prepared.translation is None:
        return None
    table = prepared.translation.table
    assert table is not None
    found = await _once(connection, query, query.translation)
    first = in_order(table, found.rows[0], lambda: dialect.copy.indexes(table.name))
    return first_met(table, first[0]) if first else None


async def _as_one(
    connection: Connection, prepared: Prepared, dialect: Dialect, memory: Memory, giving: Giving | None
) -> StatementResult:
    """All rows, with foreign keys checked behind the last of them."""
    assert prepared.translation is not None
    async with _checked_behind(connection, prepared.translation, memory):
        return await _row_by_row(connection, prepared, dialect, memory, giving)


@asynccontextmanager
async def _checked_behind(connection: Connection, translation: Translation, memory: Memory) -> AsyncIterator[None]:
    """Foreign keys are checked behind several statements that are one, unless the stream has them checked at COMMIT."""
    keys = None
    if translation.table is not None and not memory.deferring:
        keys = await connection.fetchval(_FOREIGN_KEYS, target(translation.table))
    if not keys:
        yield
        return
    await connection.execute(f"SET CONSTRAINTS {keys} DEFERRED")
    try:
        yield
    except Halfway:
        await connection.execute(f"SET CONSTRAINTS {keys} IMMEDIATE")
        raise
    await connection.execute(f"SET CONSTRAINTS {keys} IMMEDIATE")


async def _row_by_row(
    connection: Connection, prepared: Prepared, dialect: Dialect, memory: Memory, giving: Giving | None
) -> StatementResult:
    """What becomes of all rows. Raises `Halfway` where the statement keeps those before the one that fails."""
    assert prepared.translation is not None
    result, so_far, word = StatementResult(), replace(memory), prepared.translation.sparing
    giving = giving or Giving()
    before = giving.so_far()
    async for translation, bound in _rows(connection, prepared, memory):
        told = None
        if translation.choosing is not None:
            chosen = await _chosen(connection, prepared, translation, bound, so_far, dialect)
            translation, told = chosen  # noqa: PLW2901  # the row's own
        part = _with_arguments(prepared.checked, translation, bound, so_far, want_rows=prepared.want_rows)
        await giving.before(connection, dialect.keys, part, within=True)
        try:
            with giving.around(dialect.keys, part, spared=_SPARED if word == "IGNORE" else ()):
                one = await (_sparing if word else _once)(connection, part, translation)
                giving.after(dialect.keys, part, one.affected)
                if part.numbered is not None:
                    one.last_insert_rowid = part.numbered
        except _SPARED as error:
            if told is not None and isinstance(error, asyncpg.UniqueViolationError):
                raise told from None
            if translation.upserts:
                raise _of_upsert(error, word, dialect) from None
            if word == "FAIL":
                giving.untold(before)
                raise Halfway.of(translate_failure(error, dialect.catalog), result) from None
            if not word:
                raise
            continue
        result.rows += one.rows
        result.affected += one.affected
        if one.last_insert_rowid is not None:
            result.last_insert_rowid = so_far.last_insert_rowid = one.last_insert_rowid
    return result


async def _rows(
    connection: Connection, prepared: Prepared, memory: Memory
) -> AsyncIterator[tuple[Translation, Sequence[SqlValue]]]:
    """The statement for each row, with its arguments."""
    assert prepared.translation is not None
    bound, by_row = prepared.bound, prepared.translation.by_row
    if by_row is None:
        for part in prepared.translation.parts:
            yield part, bound
        return
    asked = _with_arguments(prepared.checked, by_row.rows, bound, memory, want_rows=True)
    for row in by_row.accept((await _once(connection, asked, by_row.rows)).rows):
        yield by_row.translate(tuple(KINDS[type(value)] for value in row)), [*bound, *row]


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
    asked = _with_arguments(prepared.checked, choosing.asked, bound, memory, want_rows=True)
    (met,) = (await _once(connection, asked, choosing.asked)).rows
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
        done = await _once(connection, part, translation)
        await connection.execute(f"RELEASE SAVEPOINT {_ROW}")
        return done
    except _SPARED as error:
        await connection.execute(f"ROLLBACK TO SAVEPOINT {_ROW}; RELEASE SAVEPOINT {_ROW}")
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


async def _once(
    connection: Connection, prepared: Prepared, translation: Translation, limit: int | None = None
) -> StatementResult:
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
