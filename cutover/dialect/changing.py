"""Makes a schema change on Postgres, with its capture and its text for SQLite, in the caller's transaction."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import asyncpg

from cutover.dialect.added import demand_addable
from cutover.dialect.ddl import Plan
from cutover.dialect.dialect import Dialect
from cutover.dialect.drawing import lowered
from cutover.dialect.failures import Conflict
from cutover.dialect.leftovers import leftovers
from cutover.dialect.new_keys import missing_foreign_keys
from cutover.dialect.owed import owed_after, owed_after_drop
from cutover.dialect.pending import CHECKED, until_commit
from cutover.dialect.schema_change import Change, change_of
from cutover.dialect.typed import Refused
from cutover.dialect.widening import Unheld, widen
from cutover.errors import Fenced, StatementError
from cutover.model.table import Table
from cutover.model.values import SqlValue
from cutover.schema.objects_wanted import SchemaObject, schema_of
from cutover.stores.postgres import capture
from cutover.stores.postgres.link import Link
from cutover.stores.postgres.names import log
from cutover.stores.postgres.wanted import want

if TYPE_CHECKING:
    from cutover.dialect.direct import Connection

T = TypeVar("T")


class Lent(Link):
    """A connection of the pool, as the store's own functions ask it; its errors stay the driver's."""

    def __init__(self, connection: Any) -> None:  # noqa: ANN401  # a proxy quacks alike
        self.raw = connection

    async def guard(self, work: Coroutine[Any, Any, T]) -> T:
        return await work


async def change_schema(
    connection: Connection,
    dialect: Dialect,
    sql: str,
    arguments: Sequence[SqlValue],
    *,
    foreign_keys: bool,
    deferring: bool,
    place: Callable[[], Awaitable[str]],
) -> tuple[Dialect, Change]:
    """Make the change. Returns what holds after it. Raises `StatementError`, `Fenced`, and what the driver raises.

    `foreign_keys`, `deferring`: whether the stream has the PRAGMAs on. `place`: makes the schema for the first of its
    temporary tables."""
    settings = dialect.settings
    change = change_of(dialect.ddl, sql, arguments, foreign_keys=foreign_keys)
    if not change.changes:
        return dialect, change
    if settings is None:
        raise Refused("A schema change")
    link = Lent(connection)
    await _demand_primary(link)
    seen = await dialect.look(connection)
    left = await leftovers(link, change, dialect.tables, seen.schema, settings)
    beside = dialect.beside or (await place() if change.temporary else "")
    plan = Plan(change, dialect.tables, left.without, settings, foreign_keys, deferring, beside)
    await demand_addable(connection, change, dialect.tables, sql, foreign_keys=foreign_keys)
    try:
        statements = [*left.drops(), *plan.made()]
        owed = await owed_after_drop(connection, dialect.owed, plan.waiting, change.before, dialect.tables)
        for statement in statements:
            await _execute(connection, statement)
    except asyncpg.UniqueViolationError as error:
        raise not_unique(change, str(error.constraint_name)) or error from None
    except asyncpg.DependentObjectsStillExistError as error:
        what = error.detail or error
        raise Refused(f"This schema change while Postgres has more that depends on it ({what})") from None
    except asyncpg.InvalidObjectDefinitionError:
        raise Refused(
            "A unique index over what Postgres does not take for the same each time", "Have a column hold it."
        ) from None
    changed = {table.name for table in change.created} | {after.name for _, after in change.altered}
    if plan.statements:
        seen = await dialect.look_again(connection, seen, beside)
    tables = dialect.mapped(change.after, seen.schema)
    keys = list(missing_foreign_keys(change, tables, seen.schema, acting=foreign_keys))
    if keys:
        for statement in keys:
            await connection.execute(statement)
        seen = await dialect.look_again(connection, seen, beside)
        tables = dialect.mapped(change.after, seen.schema)
    if not changed <= {table.name for table in tables}:
        raise Refused(f"The schema of {', '.join(sorted(changed))}")
    own = change.temporary
    await _capture(link, [table for table in tables if table.name in changed and table.name.lower() not in own])
    await want(link, change.lasting)
    owed = await owed_after(connection, owed, change, tables)
    after = await dialect.changed(connection, tables, change.ddl, seen, beside)
    if CHECKED in statements:  # rows of others may have gone with those of the table
        gone = [dialect.catalog.table(table.name) for table in change.dropped]
        after.keys.unsettle([name for table in gone for name in lowered(dialect.catalog, table)])
    return after.owing(owed), change


async def _execute(connection: Connection, statement: str) -> None:
    try:
        await connection.execute(statement)
    except asyncpg.ForeignKeyViolationError:
        if statement == CHECKED:  # behind a statement whose own checks have passed
            raise until_commit() from None
        raise


async def widen_column(
    connection: Connection, dialect: Dialect, told: Unheld, bound: Sequence[SqlValue]
) -> tuple[Dialect, Table]:
    """Have the column take such values. Returns what holds after it. Raises as `change_schema`; `told` if it cannot."""
    if dialect.settings is None:
        raise told
    link = Lent(connection)
    await _demand_primary(link)
    table = await widen(connection, dialect.catalog, told, bound)
    seen = await dialect.look_again(connection, await dialect.look(connection))
    tables = dialect.mapped(schema_of(dialect.ddl), seen.schema)
    altered = [each for each in tables if each.name == table.name]
    if not altered:
        raise told
    if table.name.lower() in dialect.temporary:
        return await dialect.changed(connection, tables, dialect.ddl, seen), table
    await _capture(link, altered)
    # SQLite has the table as it is: as long as this is noted, no mapping from before is taken for that of the table.
    await want(link, [SchemaObject("table", each.name, each.name, each.sql) for each in altered])
    return await dialect.changed(connection, tables, dialect.ddl, seen), table


def not_unique(change: Change, name: str) -> StatementError | None:
    """What SQLite says of rows that a new index of that name does not take; None if there is no such index."""
    for table in change.after.tables:
        for index in table.indexes:
            if index.name == name:
                told = ", ".join(f"{table.name}.{column}" for column in index.columns)
                told = told if None not in index.columns else f"index '{name}'"
                return StatementError(f"UNIQUE constraint failed: {told}", "SQLITE_CONSTRAINT")
    return None


def overtaken_change(error: Exception) -> Conflict | None:
    """Whether another stream changed the schema at the same time: what it made was not in the schema as read."""
    of_catalog = isinstance(error, asyncpg.UniqueViolationError) and error.schema_name in ("pg_catalog", "cutover")
    together = isinstance(error, asyncpg.InternalServerError) and "concurrently" in str(error)
    if of_catalog or together or isinstance(error, asyncpg.DuplicateTableError | asyncpg.DuplicateColumnError):
        return Conflict("Another stream changed the schema.")
    return None


def forbidden_by_rows(error: Exception) -> StatementError | None:
    """Whether rows that are there break a constraint of a new column: SQLite then names neither."""
    if isinstance(error, asyncpg.CheckViolationError):
        return StatementError("CHECK constraint failed", "SQLITE_UNKNOWN")
    if isinstance(error, asyncpg.NotNullViolationError):
        return StatementError("NOT NULL constraint failed", "SQLITE_UNKNOWN")
    return None


async def _demand_primary(link: Link) -> None:
    """Fences stand on tables; one that is yet to be made has none. The row's lock keeps a switch waiting."""
    places = ("cutover.gate", "cutover.control")  # one that an older version installed has no gate
    found = await link.row("SELECT coalesce(to_regclass($1), to_regclass($2))::text AS place", *places)
    if found is None or found["place"] is None:
        return
    row = await link.row(f"SELECT primary_store, epoch, state FROM {found['place']} FOR SHARE")
    if row is not None and (row["primary_store"] != "postgres" or row["state"] not in ("steady", "finished")):
        raise Fenced(
            "cutover: this PostgreSQL database takes no schema changes; "
            f"the primary is {row['primary_store']} (epoch {row['epoch']}, {row['state']})."
        )


async def _capture(link: Link, tables: Sequence[Table]) -> None:
    """Have capture stand on the tables before anybody can write to them; they are copied as a whole."""
    if not tables or await link.value("SELECT to_regclass('cutover.installed') IS NULL"):
        return
    for step in await capture.steps(link, tables, capture.Wanted(capture=True, fence=False)):
        if step.table_id:  # others are of tables that this statement does not touch
            await link.execute(step.sql)
    for table in tables:
        await link.execute(f"INSERT INTO {log(table)} (whole) VALUES (true)")
    await link.execute(capture.remember(tables))
