"""Foreign keys that are checked at COMMIT, beside schema changes: Postgres alters no table while a check is pending.

So what holds by then is checked before the change, and deferred again. SQLite counts violations, and lets the schema
change beside them; where one stands, a change of its tables is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import asyncpg

from cutover.dialect.typed import Refused

if TYPE_CHECKING:
    from cutover.dialect.running import Connection

DEFERRED = "SET CONSTRAINTS ALL DEFERRED"
"""PRAGMA defer_foreign_keys = ON. What is not DEFERRABLE, as keys of adopted tables, is checked with each statement."""
_OWN = """
DO $$ DECLARE own text; way text; BEGIN
    SELECT string_agg(DISTINCT format('%I.%I', n.nspname, c.conname), ', ') INTO own
    FROM pg_catalog.pg_constraint c JOIN pg_catalog.pg_namespace n ON n.oid = c.connamespace
    WHERE c.contype = 'f' AND c.condeferred;
    IF own IS NOT NULL THEN
        FOREACH way IN ARRAY ARRAY['IMMEDIATE', 'DEFERRED'] LOOP
            EXECUTE format('SET CONSTRAINTS %s %s', own, way);
        END LOOP;
    END IF;
END $$"""
"""Of those that are declared INITIALLY DEFERRED."""
_ALL = f"SET CONSTRAINTS ALL IMMEDIATE; {DEFERRED}"


async def check_now(connection: Connection, *, deferring: bool) -> None:
    """Make the checks that are pending; they are deferred again. Raises what the driver raises where one fails."""
    await connection.execute(_ALL if deferring else _OWN)


def beside_violations(error: Exception, *, deferring: bool) -> Refused | None:
    """Whether a schema change failed because rows violate a foreign key that is checked at COMMIT."""
    pending = isinstance(error, asyncpg.ObjectInUseError) and "pending trigger events" in str(error)
    if pending or (deferring and isinstance(error, asyncpg.ForeignKeyViolationError)):
        return Refused(
            "A schema change beside rows that violate a foreign key until COMMIT",
            "Give the rows their parents first, or set PRAGMA foreign_keys = OFF before the transaction.",
        )
    return None


_WAITS = """
SELECT condeferred AND confdeltype = 'd' FROM pg_constraint
WHERE conname = $1 AND contype = 'f' AND conrelid = format('%I.%I', $2::text, $3::text)::regclass"""


async def checked_too_soon(connection: Connection, error: Exception, *, deferring: bool) -> Refused | None:
    """Whether a statement, undone by now, failed for a foreign key that SQLite would look at with COMMIT. Postgres does
    not defer RESTRICT, nor that the default which SET DEFAULT leaves in a row has a parent."""
    if not isinstance(error, asyncpg.ForeignKeyViolationError | asyncpg.RestrictViolationError):
        return None
    key = error.constraint_name
    named = (key, error.schema_name, error.table_name)
    if not deferring and not (all(named) and await connection.fetchval(_WAITS, *named)):
        return None
    return Refused(
        f"A statement that leaves the foreign key {key}, which Postgres checks with it, broken until COMMIT",
        "Give the rows other parents first.",
    )
