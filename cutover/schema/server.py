"""What the Postgres server says about itself that a move depends on: version, rights, rows that are there already."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import asyncpg

from cutover.model.table import Table
from cutover.schema.demands import of_domain
from cutover.schema.findings import Finding
from cutover.schema.sqlite_schema import quoted

OLDEST_VERSION = 15
"""As the gate `target_ready` has it."""

_COUNTED = 10_000
"""Rows that are counted where the statistics know of none."""

_ABOUT = """
SELECT current_setting('server_version_num')::int / 10000 AS major, current_setting('server_version') AS version,
       current_setting('server_encoding') AS encoding, pg_is_in_recovery() AS standby, current_user AS role,
       has_database_privilege(current_database(), 'CREATE') AS may_create_schema,
       CASE WHEN n.oid IS NOT NULL THEN has_schema_privilege(n.oid, 'CREATE') END AS may_create,
       to_regclass('cutover.control') IS NOT NULL AS in_use
FROM (VALUES (1)) AS one LEFT JOIN pg_namespace n ON n.nspname = $1
"""

_TABLES = """
SELECT c.oid, c.relname AS name, c.reltuples::bigint AS estimate, pg_get_userbyid(c.relowner) AS owner,
       pg_has_role(c.relowner, 'USAGE') AS owned,
       c.relforcerowsecurity
       AND NOT (SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user) AS hidden,
       has_table_privilege(c.oid, 'SELECT') AS readable,
       ARRAY(SELECT conname || ' ' || pg_get_constraintdef(oid) FROM pg_constraint
             WHERE conrelid = c.oid AND contype = 'x' ORDER BY 1) AS exclusions,
       ARRAY(SELECT DISTINCT v.relkind::text || v.oid::regclass::text FROM pg_depend d
             JOIN pg_rewrite r ON r.oid = d.objid AND d.classid = 'pg_rewrite'::regclass
             JOIN pg_class v ON v.oid = r.ev_class
             WHERE d.refobjid = c.oid AND d.refclassid = 'pg_class'::regclass AND v.relkind IN ('v', 'm')
             ORDER BY 1) AS dependents,
       ARRAY(SELECT a.attname || E'\\x01' || t.oid::regtype::text || E'\\x01' || pg_get_constraintdef(o.oid)
             FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid JOIN pg_constraint o ON o.contypid = t.oid
             WHERE a.attrelid = c.oid AND NOT a.attisdropped ORDER BY 1) AS domains
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND c.relkind IN ('r', 'p') AND NOT c.relispartition
"""


@dataclass(frozen=True)
class TargetFacts:
    """A table on Postgres, as far as its schema does not say it."""

    owner: str
    owned: bool
    """Whether this role is its owner, or a member of that role."""
    rows: int
    """Roughly, and never 0 where there are any."""
    at_least: bool = False
    """Whether there may be far more."""
    hidden: bool = False
    """Whether row level security keeps rows from its owner too."""
    exclusions: tuple[str, ...] = ()
    views: tuple[str, ...] = ()
    materialized: tuple[str, ...] = ()
    domains: tuple[tuple[str, str, str], ...] = ()
    """(column, domain, constraint)."""


@dataclass(frozen=True)
class ServerFacts:
    """The server, and the tables of one schema by name."""

    major: int
    version: str
    encoding: str
    role: str
    standby: bool
    may_create_schema: bool
    may_create: bool | None
    """In the target schema; None if there is no such schema yet."""
    in_use: bool
    """Whether cutover has been at work here before."""
    tables: dict[str, TargetFacts]


async def read_server_facts(connection: asyncpg.Connection, schema: str) -> ServerFacts:
    """Ask the server. Changes nothing, and reads no table beyond its first rows. Raises what asyncpg raises."""
    about = await connection.fetchrow(_ABOUT, schema)
    assert about is not None
    tables = {row["name"]: await _table(connection, schema, row) for row in await connection.fetch(_TABLES, schema)}
    return ServerFacts(**about, tables=tables)


async def _table(connection: asyncpg.Connection, schema: str, row: asyncpg.Record) -> TargetFacts:
    rows, at_least = max(0, row["estimate"]), False
    if row["readable"]:
        some = f"SELECT 1 FROM {quoted(schema)}.{quoted(row['name'])} LIMIT {_COUNTED}"
        counted = int(await connection.fetchval(f"SELECT count(*) FROM ({some}) AS first_rows"))
        at_least = counted == _COUNTED and rows < counted
        rows = max(rows, counted) if counted == _COUNTED else counted
    return TargetFacts(
        owner=row["owner"],
        owned=row["owned"],
        rows=rows,
        at_least=at_least,
        hidden=row["hidden"],
        exclusions=tuple(row["exclusions"]),
        views=tuple(name[1:] for name in row["dependents"] if name[0] == "v"),
        materialized=tuple(name[1:] for name in row["dependents"] if name[0] == "m"),
        domains=tuple((one, two, three) for one, two, three in (each.split("\x01") for each in row["domains"])),
    )


def of_server(facts: ServerFacts, schema: str, tables: Collection[Table], *, creates: bool) -> Iterator[Finding]:
    """What of it is in the way. `tables` are those that exist there; `creates` says whether others are to be made."""
    if facts.major < OLDEST_VERSION:
        message = f"The server is Postgres {facts.version}; at least {OLDEST_VERSION} is needed."
        yield Finding("blocks", "server_version", message, "Move to a newer server.")
    if facts.encoding != "UTF8":
        message = f"The database's encoding is {facts.encoding}; UTF8 is needed for text to come back unchanged."
        yield Finding("blocks", "server_encoding", message, "CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0.")
    if facts.standby:
        yield Finding(
            "blocks", "server_standby", "The server is a standby, which takes no writes.", "Name its primary."
        )
    if not facts.in_use and not facts.may_create_schema:
        message = f"The role {facts.role} may not create the schema cutover, where the control row and logs are kept."
        yield Finding("blocks", "may_not_create", message, f"GRANT CREATE ON DATABASE ... TO {facts.role}.")
    if creates and facts.may_create is False:
        message = f"The role {facts.role} may not create tables in the schema {schema}."
        yield Finding("blocks", "may_not_create", message, f"GRANT CREATE ON SCHEMA {schema} TO {facts.role}.")
    for table in tables:
        found = facts.tables.get(table.target)
        if found is not None:
            yield from _of_table(table, found, facts)


def _of_table(table: Table, found: TargetFacts, server: ServerFacts) -> Iterator[Finding]:
    if not found.owned:
        message = f"{table.target} on Postgres belongs to {found.owner}; triggers cannot be made by {server.role}."
        todo = f"ALTER TABLE {table.target} OWNER TO {server.role}, or GRANT {found.owner} TO {server.role}."
        yield Finding("blocks", "target_not_owned", message, todo, table.name)
    if found.hidden:
        message = f"{table.target} hides rows from {server.role} (FORCE ROW LEVEL SECURITY)."
        todo = f"ALTER TABLE {table.target} NO FORCE ROW LEVEL SECURITY, or give the role BYPASSRLS."
        yield Finding("blocks", "row_security", message, todo, table.name)
    if found.rows and not server.in_use:
        some = f"{'at least ' if found.at_least else 'about ' if found.rows > _COUNTED else ''}{found.rows:,}"
        yield Finding(
            "warns",
            "target_not_empty",
            f"{table.target} on Postgres holds rows ({some}). The copy makes it equal to SQLite: what differs is"
            " replaced, and what SQLite does not have is removed.",
            "Make sure that nothing but SQLite's rows is needed there; save the others before.",
            table.name,
            count=found.rows,
        )
    for exclusion in found.exclusions:
        message = f"The exclusion constraint {exclusion} on Postgres: rows that break it are held back."
        yield Finding("warns", "exclusion", message, "Check that SQLite's rows keep it; the plan cannot.", table.name)
    names = {column.target: column.name for column in table.columns}
    for column, domain, definition in found.domains:
        if of_domain(table, column, domain, definition) is None and column in names:
            message = f"The domain {domain} is {definition}, which SQLite could not be asked: rows that break it are"
            todo = "Check that SQLite's rows keep it."
            yield Finding("informs", "domain", f"{message} held back.", todo, table.name, names[column])
    if found.views:
        message = f"Views on Postgres read it: {', '.join(found.views)}. They stay, and show what the mirror wrote."
        yield Finding("informs", "target_view", message, "", table.name)
    if found.materialized:
        message = f"Materialized views on Postgres read it: {', '.join(found.materialized)}."
        yield Finding("informs", "target_view", f"{message} A promotion refreshes them.", "", table.name)
