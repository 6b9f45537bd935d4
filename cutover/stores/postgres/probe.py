"""Whether this Postgres is fit to be primary."""

from __future__ import annotations

from collections.abc import Sequence

from cutover.model.control import Control
from cutover.model.table import Table
from cutover.stores.postgres import capture, catalog, enforced, sequences
from cutover.stores.postgres.link import Link
from cutover.stores.postgres.names import target

Check = tuple[str, bool, str]

_OLDEST_VERSION = 15
_FREE_CONNECTIONS = 5
_OLD_TRANSACTION = 60
"""Seconds. An older transaction would make the switch wait for its locks."""


async def probe(link: Link, plain: Link, tables: Sequence[Table], control: Control | None) -> list[Check]:
    """All checks. `plain` is a connection without settings of ours: it shows what applications get."""
    checks = [
        await _version(link),
        await _encoding(link),
        await _writable(link),
        await _privileges(link, tables),
        await _durability(link, plain),
        await _connections(link),
        await _sequences(link, tables, control),
        await _transactions(link),
    ]
    if lacking := await enforced.lacking(link, tables):
        told = "Postgres has not, so that rows without a parent are no error there"
        checks.append(("foreign keys", True, f"{told}: {'; '.join(lacking)}"))
    if control is not None:
        faults = await capture.check(link, tables, control)
        checks.append(("capture", not faults, " ".join(faults) or "capture and fence triggers are in place"))
    return checks


async def _version(link: Link) -> Check:
    number = int(await link.value("SELECT current_setting('server_version_num')"))
    shown = await link.value("SELECT current_setting('server_version')")
    return "version", number // 10000 >= _OLDEST_VERSION, f"{shown}, at least {_OLDEST_VERSION} is needed"


async def _encoding(link: Link) -> Check:
    found = await link.value("SELECT current_setting('server_encoding')")
    return "encoding", found == "UTF8", f"{found}, UTF8 is needed"


async def _writable(link: Link) -> Check:
    standby = await link.value("SELECT pg_is_in_recovery()")
    return "writable", not standby, "the server is a standby" if standby else "not a standby"


async def _privileges(link: Link, tables: Sequence[Table]) -> Check:
    parts = await catalog.parts(link, tables)
    missing = {target(table) for table in tables if table.id not in {part.table_id for part in parts}}
    rows = await link.fetch(
        """
        SELECT c.oid::regclass::text AS name, pg_has_role(c.relowner, 'USAGE') AS own,
               c.relforcerowsecurity
               AND NOT (SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user) AS hidden
        FROM pg_class c WHERE c.oid = ANY($1::oid[]) ORDER BY 1""",
        [part.oid for part in parts],
    )
    faults = [f"{name} does not exist" for name in sorted(missing)]
    faults += [f"{row['name']} belongs to another role" for row in rows if not row["own"]]
    faults += [f"{row['name']} hides rows from this role (FORCE ROW LEVEL SECURITY)" for row in rows if row["hidden"]]
    may = await link.value(
        "SELECT CASE WHEN to_regnamespace('cutover') IS NULL "
        "THEN has_database_privilege(current_database(), 'CREATE') "
        "ELSE has_schema_privilege('cutover', 'CREATE') END"
    )
    if not may:
        faults.append("the role may not create objects in schema cutover")
    return "privileges", not faults, "; ".join(faults) or "the role owns the mirrored tables"


async def _durability(link: Link, plain: Link) -> Check:
    """An acknowledged write survives a power cut, whichever role wrote it."""
    found = {name: await link.value("SELECT current_setting($1)", name) for name in ("fsync", "full_page_writes")}
    found["synchronous_commit"] = await plain.value("SELECT current_setting('synchronous_commit')")
    rows = await plain.fetch(
        """
        SELECT coalesce(r.rolname, 'every role') AS role, setting
        FROM pg_db_role_setting s LEFT JOIN pg_roles r ON r.oid = s.setrole, unnest(s.setconfig) AS setting
        WHERE s.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
          AND setting ~* '^synchronous_commit=(off|false|no|0|local)$' ORDER BY 1"""
    )
    strong = not rows and {"off", "local"}.isdisjoint(found.values())
    said = [f"{name} is {value}" for name, value in found.items()]
    return "durability", strong, "; ".join([*said, *(f"{row['setting']} for {row['role']}" for row in rows)])


async def _connections(link: Link) -> Check:
    free = int(
        await link.value(
            """
            SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
                   - count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"""
        )
    )
    return "connections", free >= _FREE_CONNECTIONS, f"{free} free, at least {_FREE_CONNECTIONS} are needed"


async def _sequences(link: Link, tables: Sequence[Table], control: Control | None) -> Check:
    faults, count = await sequences.faults(link, tables, control)
    return "sequences", not faults, "; ".join(faults) or f"{count} can be set past the highest keys"


async def _transactions(link: Link) -> Check:
    prepared = await link.value("SELECT count(*) FROM pg_prepared_xacts WHERE database = current_database()")
    rows = await link.fetch(
        """
        SELECT pid, coalesce(nullif(application_name, ''), 'unnamed') AS name,
               extract(epoch FROM clock_timestamp() - xact_start)::int AS age
        FROM pg_stat_activity
        WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
          AND xact_start < clock_timestamp() - make_interval(secs => $1) AND backend_xid IS NOT NULL""",
        float(_OLD_TRANSACTION),
    )
    faults = [f"{prepared} prepared transactions"] if prepared else []
    faults += [f"pid {row['pid']} ({row['name']}) writes since {row['age']} s" for row in rows]
    return "transactions", not faults, "; ".join(faults) or "none is old"
