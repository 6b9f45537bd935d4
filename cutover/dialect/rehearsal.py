"""One statement tried on Postgres without running it: translated, and prepared inside a transaction that is undone."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import asyncpg

from cutover import clock
from cutover.dialect.ahead import translate_ahead
from cutover.dialect.connections import DRIVER_ERRORS, Connections, abandon, as_statement_error
from cutover.dialect.dialect import Dialect
from cutover.dialect.failures import Lost, translate_failure
from cutover.dialect.instead import wider
from cutover.dialect.preparing import Memory, prepare
from cutover.dialect.running import run
from cutover.dialect.translation import Translation
from cutover.dialect.trial import foreign_keys_rest, try_write
from cutover.dialect.typed import Refused
from cutover.dialect.widening import Unheld, demand_own
from cutover.errors import Defect, StatementError, StoreUnavailable
from cutover.model.statement import Statement, Timed
from cutover.schema.arguments import bind
from cutover.schema.mapping import map_tables
from cutover.schema.objects_wanted import schema_of
from cutover.schema.postgres_schema import PostgresSchema, read_postgres_schema
from cutover.schema.sqltext import inspect
from cutover.schema.temporary import is_kept, temporary_name
from cutover.settings import Settings

if TYPE_CHECKING:
    from cutover.dialect.direct import Connection


_PLANNED = (" FULL ", " ON CONFLICT(")
"""FULL JOIN on more than equality, and a conflict clause on what is no key, are prepared, and refused when planned."""


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """What came of it."""

    status: Literal["ready", "refused", "failing", "invalid"]
    translation: str | None = None
    reason: str | None = None


_OF_TEMPORARY = "Translated by the columns of a temporary table, which is not there to prepare it."
_DEFECT = Rehearsed("failing", reason="its translation met a defect; see the log")


def _translate(dialect: Dialect, sql: str, sample: Statement | None) -> tuple[Translation, str]:
    """(the translation, what may still be refused). Raises `StatementError`."""
    try:
        bound = bind(inspect(sql), sample) if sample is not None else None
    except StatementError:  # it failed on SQLite as well, for its arguments
        bound = None
    translation = dialect.typical(sql) if bound is None else dialect.translate(sql, bound)
    parts = (translation, *translation.parts)
    caveats = dict.fromkeys(part.caveat for part in parts if part.caveat)
    for slot, key in {pair: None for part in parts for pair in part.never_null}:
        if bound is None or slot >= len(bound):  # which is a value of a row that is fetched first
            caveats[f"Refused if {key}, which is in its key, would be NULL."] = None
        elif bound[slot] is None:
            raise Refused(f"NULL in the key {key}, which SQLite takes,")
    return translation, " ".join(caveats)


class Rehearsal:
    """Tries statements. Holds a connection only while it tries one."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._temporary: dict[str, str] = {}

    def made(self, ddl: Sequence[str]) -> None:
        """Note the temporary tables of a stream's schema: other statements of its are about them."""
        self._temporary |= {temporary_name(text).lower(): text for text in ddl if is_kept(text)}

    async def ready(self) -> None:
        """Have today's schema loaded. Raises `StatementError` (SQLITE_BUSY) if Postgres is away."""
        async with self._connections.lend():
            return

    async def rehearse(self, sql: str, sample: Statement | None = None) -> Rehearsed:
        """Try one statement, with arguments of the classes that `sample` has, if it was seen with any.

        Raises `StoreUnavailable` or `StatementError` (SQLITE_BUSY) if Postgres is away.
        """
        dialect = self._connections.dialect
        try:
            checked = dialect.checks.check(sql)
        except Refused as refused:
            return Rehearsed("refused", reason=refused.message)
        except Defect:
            return _DEFECT
        except StatementError as error:
            found = await self._of_temporary(sql, sample)
            return found or Rehearsed("invalid", reason=error.message)
        if checked.local:
            return Rehearsed("ready", reason="Answered by cutover itself.")
        try:
            with suppress(StatementError):  # told by what follows, which may know better arguments
                await translate_ahead(dialect, sample or Statement(sql))
            translation, caveat = _translate(dialect, sql, sample)
        except Defect:
            return _DEFECT
        except Unheld as told:
            return await self._widened(dialect, told)
        except StatementError as refused:
            return Rehearsed("refused", reason=refused.message)
        rows = translation.by_row.rows.command if translation.by_row is not None else None
        tried = [rows, translation.before, translation.command]
        for part in (translation, *translation.parts):
            choosing = part.choosing
            ways = (choosing.asked, *choosing.ways) if choosing is not None else ()
            tried += [command for way in ways for command in (way.before, way.command)]
        commands = list(dict.fromkeys(one.sql for one in tried if one is not None))
        text = ";\n".join(commands)
        for command in commands:
            reason = await self._prepare(command)
            if reason is not None:
                return Rehearsed("failing", text, reason)
        return Rehearsed("ready", text, caveat or None)

    async def _of_temporary(self, sql: str, sample: Statement | None) -> Rehearsed | None:
        """Of a statement about temporary tables: whether it can be translated. They are not there to prepare it."""
        dialect, settings = self._connections.dialect, self._connections.dialect.settings
        if settings is None or not self._temporary:
            return None
        ddl = (*dialect.ddl, *self._temporary.values())
        tables = map_tables(schema_of(ddl), await self.target(settings), settings, born=True).tables
        own = Dialect(lambda: tables, lambda: ddl, 256, settings=settings)
        numbered = {table.name: table.name for table in tables if table.name.lower() in self._temporary}
        own.load(tables, ddl, {**numbered, **dialect.catalog.sequences})
        try:
            own.checks.check(sql)
        except (Refused, Defect) as refused:
            return Rehearsed("refused", reason=refused.message)
        except StatementError:
            return None
        try:
            _translate(own, sql, sample)
        except Unheld:  # such a column is widened
            return Rehearsed("ready", reason=_OF_TEMPORARY)
        except StatementError as refused:
            return Rehearsed("refused", reason=refused.message)
        return Rehearsed("ready", reason=_OF_TEMPORARY)

    async def _widened(self, dialect: Dialect, told: Unheld) -> Rehearsed:
        """Of a value that its column does not hold: whether the column would get a type that does."""
        try:
            async with self._connections.lend() as connection:
                table, _ = await demand_own(connection, dialect.catalog, told)
        except Unheld:
            return Rehearsed("refused", reason=told.message)
        column = f"{table.name}.{told.column.name}"
        return Rehearsed("ready", reason=f"With the first such value {column} gets a type that holds it.")

    async def read(self, snapshot: str, statement: Statement, seconds: float) -> Timed | None:
        """What a read answers in the state that was exported under this name; None for what cutover answers itself.

        Raises `StatementError`.
        """
        dialect = self._connections.dialect
        memory = Memory()
        async with self._connections.lend() as connection:
            await translate_ahead(dialect, statement)
            prepared = prepare(dialect, statement, memory)
            if prepared.answered is not None:
                return None
            try:
                await connection.execute(
                    f"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT '{snapshot}'; "
                    f"SET LOCAL statement_timeout = {int(seconds * 1000)}; SAVEPOINT asked"
                )
                began = clock.monotonic()
                try:
                    result = await run(connection, prepared, dialect, memory)
                except (asyncpg.InvalidCachedStatementError, asyncpg.NumericValueOutOfRangeError) as error:
                    await connection.execute("ROLLBACK TO asked")
                    stale = isinstance(error, asyncpg.InvalidCachedStatementError)
                    result = await run(connection, prepared if stale else wider(prepared, error), dialect, memory)
                return Timed(result, clock.monotonic() - began)
            except (*DRIVER_ERRORS, TimeoutError) as error:
                raise as_statement_error(translate_failure(error, dialect.catalog)) from None
            finally:
                await abandon(connection)

    async def write(self, snapshot: str, statement: Statement, seconds: float, last: int | None) -> Timed | None:
        """What a write answers in the state that was exported under this name; it is undone. See `trial.try_write`."""
        return await try_write(self._connections, snapshot, statement, seconds, last)

    async def foreign_keys_rest(self) -> bool:
        """Whether Postgres does without foreign keys as long as it is the shadow."""
        return await foreign_keys_rest(self._connections)

    async def target(self, settings: Settings) -> PostgresSchema:
        """The schema on Postgres as it is. Raises `StatementError` if it is away."""
        async with self._connections.lend() as connection:
            try:
                return await read_postgres_schema(connection, settings.postgres.schema_)
            except DRIVER_ERRORS as error:
                raise as_statement_error(translate_failure(error, self._connections.dialect.catalog)) from None

    async def _prepare(self, sql: str) -> str | None:
        """Why Postgres refuses the statement. A prepare outside of a transaction would leave its locks behind."""
        async with self._connections.lend() as connection:
            try:
                await connection.execute("BEGIN READ ONLY")
                prepared = await connection.prepare(sql)
                if any(construct in sql for construct in _PLANNED):
                    await _plan(connection, sql, len(prepared.get_parameters()))
            except DRIVER_ERRORS as error:
                failure = translate_failure(error, self._connections.dialect.catalog)
                if isinstance(failure, Lost):
                    raise StoreUnavailable(failure.message) from None
                return failure.message
            finally:
                await abandon(connection)
        return None


async def _plan(connection: Connection, sql: str, parameters: int) -> None:
    """Raises what only the planner refuses, whatever the arguments."""
    nulls = f"({', '.join(['NULL'] * parameters)})" if parameters else ""
    await connection.execute("SAVEPOINT planned; SET LOCAL plan_cache_mode = force_generic_plan")
    await connection.execute(f"PREPARE cutover_planned AS {sql}")
    try:
        await connection.execute(f"EXPLAIN EXECUTE cutover_planned{nulls}")
    finally:
        await connection.execute("ROLLBACK TO planned; DEALLOCATE cutover_planned")
