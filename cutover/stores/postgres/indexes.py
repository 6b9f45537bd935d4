"""Indexes that wait for the end of a copy: built at once they cost a fraction of what they cost row by row.

Only plain ones: what is unique decides whether a row is refused, and keys are how rows are found. What was put aside
stands in cutover.suspended with the SQL that makes it again, like all that rests while Postgres is the shadow.
"""

from __future__ import annotations

from cutover.logs import get_logger
from cutover.stores.postgres.errors import PostgresAway, PostgresRefused
from cutover.stores.postgres.link import Link

_log = get_logger("postgres")

_PLAIN = """
SELECT c.relname AS name, format('%I.%I', n.nspname, c.relname) AS qualified, pg_get_indexdef(c.oid) AS definition
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_class t ON t.oid = i.indrelid
WHERE i.indrelid = $1::text::regclass AND t.relkind = 'r' AND NOT c.relispartition AND i.indisvalid
  AND NOT i.indisunique AND NOT i.indisexclusion AND NOT i.indisclustered AND NOT i.indisreplident
  AND c.reltablespace = 0 AND obj_description(c.oid, 'pg_class') IS NULL
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype IN ('e', 'x'))
  AND NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attstattarget > 0)
ORDER BY c.relname"""
"""Those whose definition says all there is to them."""

_AT_MOST = "SET LOCAL lock_timeout = '300ms'"


async def put_aside(link: Link, table: str) -> None:
    """Drop the plain indexes of an empty table, and record them. Somebody who reads it is not waited for."""
    if await link.value(f"SELECT EXISTS (SELECT FROM {table})"):
        return
    await link.execute("SAVEPOINT indexes")
    before = await link.value("SHOW lock_timeout")
    try:
        await link.execute(_AT_MOST)
        for name, qualified, definition in await link.fetch(_PLAIN, table):
            await link.execute(
                """
                INSERT INTO cutover.suspended (kind, relation, name, definition) VALUES ('index', $1, $2, $3)
                ON CONFLICT (kind, relation, name) DO UPDATE SET definition = $3, state = 'suspended'""",
                table,
                name,
                # It may be made again meanwhile, by hand or by the application's own migration.
                definition.replace("CREATE INDEX ", "CREATE INDEX IF NOT EXISTS ", 1),
            )
            await link.execute(f"DROP INDEX {qualified}")
        await link.execute(f"SET LOCAL lock_timeout = '{before}'")
    except (PostgresAway, PostgresRefused) as error:
        _log.info("indexes stay during the copy", table=table, why=error.message)
        await link.execute("ROLLBACK TO SAVEPOINT indexes")
    await link.execute("RELEASE SAVEPOINT indexes")


async def put_back(link: Link, table: str) -> bool:
    """Make the next of these indexes again; False if there is none."""
    if await link.value("SELECT to_regclass('cutover.suspended') IS NULL"):  # the very first look at the tables
        return False
    found = await link.row(
        "SELECT name, definition FROM cutover.suspended WHERE kind = 'index' AND relation = $1 ORDER BY name LIMIT 1",
        table,
    )
    if found is None:
        return False
    await link.execute(f"SET LOCAL maintenance_work_mem = '256MB'; {found['definition']}")
    await link.execute(
        "DELETE FROM cutover.suspended WHERE kind = 'index' AND relation = $1 AND name = $2", table, found["name"]
    )
    return True
