"""Foreign keys that are checked at COMMIT, beside schema changes: Postgres alters no table while a check is pending.

So what holds by then is checked before the change, and deferred again. SQLite counts violations, and lets the schema
change beside them; where one stands, a change of its tables is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import asyncpg

from cutover.dialect.typed import Refused

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from cutover.dialect.direct import Connection

CHECKED = "SET CONSTRAINTS ALL IMMEDIATE"
"""What was deferred is checked."""
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
_OTHERS = _OWN.replace("c.condeferred", "c.condeferrable AND NOT c.condeferred").replace(", 'DEFERRED']", "]")
"""Has all others be checked with each statement."""
OWN_DEFERRED = _OWN.replace("'IMMEDIATE', ", "")
"""Has those wait for COMMIT, whatever was said of all. To be said behind ROLLBACK TO: Postgres does not take back what
was said within a savepoint that was released meanwhile, as those of single statements are."""
_AS_DECLARED = f"{_OTHERS}; {OWN_DEFERRED}"
_KEY = """
SELECT c.conrelid::regclass::text AS child, c.confrelid::regclass::text AS parent,
    ARRAY(SELECT quote_ident(a.attname) FROM unnest(c.conkey) WITH ORDINALITY AS k(number, at)
          JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.number ORDER BY k.at) AS mine,
    ARRAY(SELECT quote_ident(a.attname) FROM unnest(c.confkey) WITH ORDINALITY AS k(number, at)
          JOIN pg_attribute a ON a.attrelid = c.confrelid AND a.attnum = k.number ORDER BY k.at) AS theirs
FROM pg_constraint c
WHERE c.conname = $1 AND c.contype = 'f' AND c.conrelid = format('%I.%I', $2::text, $3::text)::regclass
    AND pg_catalog.has_parameter_privilege('session_replication_role', 'SET')"""


async def check_now(connection: Connection, *, deferring: bool) -> None:
    """Make the checks that are pending; they are deferred again. Raises what the driver raises where one fails."""
    await connection.execute(f"{CHECKED}; {DEFERRED if deferring else _OWN}")


async def defer_again(connection: Connection, *, deferring: bool) -> None:
    """Have keys checked when they are to be, new ones, too, where some are violated for now."""
    await connection.execute(DEFERRED if deferring else _AS_DECLARED)


async def check_at_once(
    connection: Connection, undo: Callable[[], Awaitable[None]], *, wholly: bool, excusing: bool = True
) -> None:
    """PRAGMA defer_foreign_keys = OFF: keys are checked with each statement, but for those that are INITIALLY DEFERRED.

    Orphans that there are SQLite forgets, by whatever key if the PRAGMA was on `wholly`, from the first change on.
    Raises `Refused` where Postgres cannot. `undo`: after an error, what was done since."""
    excused: list[asyncpg.Record] = []
    while True:
        try:
            for key in excused:
                await connection.execute(_text_to_excuse(key))
            await connection.execute(f"{CHECKED}; {_OWN}" if wholly else _OTHERS)
        except asyncpg.ForeignKeyViolationError as error:
            await undo()
            named = (error.constraint_name, error.schema_name, error.table_name)
            found = await connection.fetchrow(_KEY, *named) if all(named) and excusing else None
            if found is None or found in excused:
                raise Refused(
                    "PRAGMA defer_foreign_keys = OFF beside rows that violate a foreign key", "Give them parents first."
                ) from None
            excused.append(found)
        else:
            return


def _text_to_excuse(key: asyncpg.Record) -> str:
    """Has orphans be others to Postgres than those that it has yet to check."""
    pairs = list(zip(key["mine"], key["theirs"], strict=True))
    refers = " AND ".join(f"c.{mine} IS NOT NULL" for mine, _ in pairs)
    same = " AND ".join(f"p.{theirs} = c.{mine}" for mine, theirs in pairs)
    return (
        "SELECT set_config('session_replication_role', 'replica', true);"
        f"UPDATE {key['child']} AS c SET {pairs[0][0]} = c.{pairs[0][0]}"
        f" WHERE {refers} AND NOT EXISTS (SELECT 1 FROM {key['parent']} AS p WHERE {same});"
        "SELECT set_config('session_replication_role', 'origin', true)"
    )


def beside_violations(error: Exception, *, deferring: bool) -> Refused | None:
    """Whether a schema change failed because rows violate a foreign key that is checked at COMMIT."""
    pending = isinstance(error, asyncpg.ObjectInUseError) and "pending trigger events" in str(error)
    return until_commit() if pending or (deferring and isinstance(error, asyncpg.ForeignKeyViolationError)) else None


def until_commit() -> Refused:
    """What Postgres cannot alter beside rows that SQLite would look at with COMMIT."""
    return Refused(
        "A schema change beside rows that violate a foreign key until COMMIT",
        "Give the rows their parents first, or set PRAGMA foreign_keys = OFF before the transaction.",
    )


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
