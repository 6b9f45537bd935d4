"""The end of a migration on Postgres: what cutover put into the database is taken out of it."""

from __future__ import annotations

from collections.abc import Sequence

from cutover.crashpoints import crash_point
from cutover.model.control import Control
from cutover.model.table import Table
from cutover.schema.sqlite_schema import ROWID
from cutover.stores.postgres import catalog, suspend
from cutover.stores.postgres.errors import PostgresRefused
from cutover.stores.postgres.link import Link
from cutover.stores.postgres.locks import with_locks
from cutover.stores.postgres.names import CAPTURE, TRIGGERS, target
from cutover.stores.postgres.switch import NO_HURRY, write_newer

_DEPENDED_ON = "2BP01"
_SHOWN = 10


async def dismantle(link: Link, tables: Sequence[Table], control: Control, *, helpers: bool) -> list[str]:
    """Remove triggers, functions, logs and applier state, a table at a time; the control row is written last.

    Every statement may be repeated, so a kill anywhere is made good by doing it again.
    """
    parts = await catalog.parts(link, tables)
    standing = await catalog.triggers(link)
    for part in parts:
        if not standing.get(part.oid) or part.partition:
            continue
        drop = "; ".join(f"DROP TRIGGER IF EXISTS {name} ON {part.name}" for name in TRIGGERS)
        await _locked(link, [part.name], drop)
    for part in parts:
        if part.partition and standing.get(part.oid):
            left = [name for name in TRIGGERS if name != CAPTURE]
            await _locked(
                link, [part.name], "; ".join(f"DROP TRIGGER IF EXISTS {name} ON {part.name}" for name in left)
            )
    await suspend.validate_all(link)
    own = await link.fetch(
        """
        SELECT format('DROP FUNCTION cutover.%I()', proname) FROM pg_proc
        WHERE pronamespace = to_regnamespace('cutover') AND proname ~ '^capture_[0-9]+$'
        UNION ALL
        SELECT format('DROP TABLE cutover.%I', relname) FROM pg_class
        WHERE relnamespace = to_regnamespace('cutover') AND relkind = 'r'
          AND (relname ~ '^log_[0-9]+$'
               OR relname IN ('quarantine', 'backfill', 'installed', 'suspended', 'switches', 'mapping'))"""
    )
    for row in own:
        await link.execute(str(row[0]))
    await link.execute("DROP FUNCTION IF EXISTS cutover.refuse(), cutover.applying()")
    await link.execute("DROP FUNCTION IF EXISTS cutover.note_gate() CASCADE; DROP TABLE IF EXISTS cutover.gate")
    crash_point("postgres.dismantle")
    kept = [*await _helpers(link, needed=helpers), *await _wanted(link, needed=helpers)]
    kept += _rowids(tables, needed=helpers)
    if not helpers:
        await _temporary(link)
    async with link.transaction():
        await write_newer(link, control)
    return kept


async def _helpers(link: Link, *, needed: bool) -> list[str]:
    """Drop the functions of translated SQL, all at once since they call each other; else say why they stay."""
    names = await link.value(
        """
        SELECT string_agg(p.oid::regprocedure::text, ', ') FROM pg_proc p
        WHERE p.pronamespace = to_regnamespace('cutover')"""
    )
    if names is None:
        return []
    if needed:
        return ["helper functions in schema cutover: statements of the front door call them"]
    try:
        await link.execute(f"DROP ROUTINE {names}")
    except PostgresRefused as error:
        if error.sqlstate != _DEPENDED_ON:
            raise
        return ["helper functions in schema cutover: a default, an index or a view of the application uses them"]
    return []


async def _wanted(link: Link, *, needed: bool) -> list[str]:
    """Drop what tells of schema changes that SQLite has not, unless statements of the front door go by it."""
    if not await link.value("SELECT to_regclass('cutover.wanted') IS NOT NULL"):
        return []
    if needed and await link.value("SELECT EXISTS (SELECT FROM cutover.wanted)"):
        return ["table cutover.wanted: schema changes of the front door that SQLite never got"]
    await link.execute("DROP TABLE IF EXISTS cutover.wanted")
    return []


def _rowids(tables: Sequence[Table], *, needed: bool) -> list[str]:
    """SQLite's rowids are data of the application by now: it is told of them, and drops them itself."""
    names = [target(table) for table in tables if table.is_numbered]
    if not names:
        return []
    shown = ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
    why = "statements of the front door go by it" if needed else "the front door alone went by it, so it may be dropped"
    return [f"column {ROWID} of {shown}: {why}"]


async def _temporary(link: Link) -> None:
    """Drop the schemas of the front door's temporary tables, which nobody makes any more."""
    found = await link.fetch(
        r"SELECT format('DROP SCHEMA %I CASCADE', nspname) FROM pg_namespace WHERE nspname ~ '^cutover_temporary_\d+$'"
    )
    for row in found:
        await link.execute(str(row[0]))


async def _locked(link: Link, names: Sequence[str], sql: str) -> None:
    async def work() -> None:
        await link.execute(sql)

    await with_locks(link, names, NO_HURRY, work)
