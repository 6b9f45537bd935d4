"""Reading a Postgres schema again after some of its tables changed: only those are read, however many there are.

What a table consists of is in a dozen catalogs, and printing it takes a millisecond a table. Whether it changed is told
by the catalogs' rows themselves: each has the transaction that wrote it and its place, and a change writes it anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import asyncpg

from cutover.schema.postgres_schema import PostgresSchema, PostgresTable, read_database, read_tables, roots, schema_of

_RELATIONS = """
WITH these AS (
    SELECT c.oid, c.relname, c.relkind, c.relowner, c.relispartition, c.xmin, c.ctid,
           CASE WHEN n.nspname <> $1 THEN n.nspname ELSE '' END AS place
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname IN ($1, $2) AND c.relkind IN ('r', 'p', 'f', 'v', 'm', 'S', 'i', 'I', 'c')
), rows (oid, xmin, ctid) AS (
    SELECT oid, xmin, ctid FROM these
    UNION ALL SELECT a.attrelid, a.xmin, a.ctid
        FROM pg_attribute a JOIN these t ON t.oid = a.attrelid AND t.relkind IN ('r', 'p', 'f')
    UNION ALL SELECT d.adrelid, d.xmin, d.ctid FROM pg_attrdef d JOIN these t ON t.oid = d.adrelid
    UNION ALL SELECT i.indrelid, i.xmin, i.ctid FROM pg_index i JOIN these t ON t.oid = i.indrelid
    UNION ALL SELECT i.indrelid, c.xmin, c.ctid
        FROM pg_index i JOIN these t ON t.oid = i.indrelid JOIN pg_class c ON c.oid = i.indexrelid
    UNION ALL SELECT o.conrelid, o.xmin, o.ctid FROM pg_constraint o JOIN these t ON t.oid = o.conrelid
    UNION ALL SELECT g.tgrelid, g.xmin, g.ctid FROM pg_trigger g JOIN these t ON t.oid = g.tgrelid
    UNION ALL SELECT h.inhparent, h.xmin, h.ctid FROM pg_inherits h JOIN these t ON t.oid = h.inhparent
    UNION ALL SELECT h.inhparent, c.xmin, c.ctid
        FROM pg_inherits h JOIN these t ON t.oid = h.inhparent JOIN pg_class c ON c.oid = h.inhrelid
    UNION ALL SELECT d.refobjid, d.xmin, d.ctid
        FROM pg_depend d JOIN these t ON t.oid = d.refobjid JOIN these s ON s.oid = d.objid AND s.relkind = 'S'
        WHERE d.refclassid = 'pg_class'::regclass AND d.classid = 'pg_class'::regclass
    UNION ALL SELECT d.refobjid, s.xmin, s.ctid
        FROM pg_depend d JOIN these t ON t.oid = d.refobjid JOIN these s ON s.oid = d.objid AND s.relkind = 'S'
        WHERE d.refclassid = 'pg_class'::regclass AND d.classid = 'pg_class'::regclass
), stamps AS (
    SELECT oid, count(*) || ' ' || sum(hashtextextended(xmin || ' ' || ctid, 0)) AS stamp FROM rows GROUP BY oid
)
SELECT t.oid, t.relname AS name, t.relkind::text AS kind, pg_get_userbyid(t.relowner) AS owner, t.relispartition,
       obj_description(t.oid, 'pg_class') AS comment, t.place,
       CASE WHEN t.relkind = 'p' THEN
       ARRAY(SELECT i.inhrelid::regclass::text FROM pg_inherits i WHERE i.inhparent = t.oid ORDER BY 1) END
       AS partitions, stamps.stamp
FROM these t JOIN stamps ON stamps.oid = t.oid ORDER BY t.relname COLLATE "C"
"""
_COMMON = """
SELECT md5(string_agg(concat_ws(' ', xmin, ctid), ',' ORDER BY oid)) FROM (
    SELECT oid, xmin, ctid FROM pg_type WHERE typtype IN ('e', 'd', 'b') AND oid >= 16384 AND typelem = 0
    UNION ALL SELECT oid, xmin, ctid FROM pg_enum
    UNION ALL SELECT oid, xmin, ctid FROM pg_collation WHERE oid >= 16384
    UNION ALL SELECT oid, xmin, ctid FROM pg_namespace
    UNION ALL SELECT oid, xmin, ctid FROM pg_proc
        WHERE oid >= 16384 AND pronamespace IS DISTINCT FROM to_regnamespace('cutover')
) AS rows (oid, xmin, ctid)
"""


@dataclass(frozen=True)
class Seen:
    """A schema, and what tells whether it is still that."""

    schema: PostgresSchema
    stamps: Mapping[int, str]
    common: str
    """Of what tables are made of: types, labels, collations, functions."""


async def read_again(connection: asyncpg.Connection, schema: str, seen: Seen | None, beside: str = "") -> Seen:
    """The schema now, in the caller's transaction, or in one of its own. Raises what asyncpg raises.

    `beside`: another one, whose tables are told as well, in place of those that have their names in the first.
    """
    if connection.is_in_transaction():
        return await _read(connection, schema, seen, beside)
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        return await _read(connection, schema, seen, beside)


async def _read(connection: asyncpg.Connection, schema: str, seen: Seen | None, beside: str) -> Seen:
    common = str(await connection.fetchval(_COMMON))
    relations = await connection.fetch(_RELATIONS, schema, beside)
    if beside:
        instead = {row["name"].lower() for row in relations if row["place"] and row["kind"] in {"r", "p", "f"}}
        relations = [row for row in relations if row["place"] or row["name"].lower() not in instead]
    database = await read_database(connection, schema)
    stamps = {row["oid"]: str(row["stamp"]) for row in relations}
    known = _unchanged(seen, stamps) if seen is not None and seen.common == common else {}
    tables = roots(relations)
    fresh = [row for row in tables if row["oid"] not in known]
    known |= {table.oid: _kept(table, seen) for table in await read_tables(connection, fresh, database)}
    if seen is not None and len(fresh) < len(tables):
        misnamed = _misnamed(seen.schema, known, {row["oid"] for row in fresh}, schema)
        again = [row for row in tables if row["oid"] in misnamed]
        known |= {table.oid: table for table in await read_tables(connection, again, database)}
    return Seen(schema_of(schema, database, relations, tuple(known[row["oid"]] for row in tables)), stamps, common)


def _unchanged(seen: Seen, stamps: Mapping[int, str]) -> dict[int, PostgresTable]:
    """Tables of which nothing was written anew."""
    return {table.oid: table for table in seen.schema.tables if stamps.get(table.oid) == seen.stamps[table.oid]}


def _kept(table: PostgresTable, seen: Seen | None) -> PostgresTable:
    """The very table that was seen, if it is no other: a foreign key to it writes its rows anew, too."""
    before = seen.schema.table(table.name) if seen is not None else None
    return before if before is not None and (before.oid, before) == (table.oid, table) else table


def _misnamed(before: PostgresSchema, now: Mapping[int, PostgresTable], fresh: set[int], schema: str) -> set[int]:
    """Tables that were not read again, though their foreign keys tell names that may be others now."""
    after = {table.name: table for table in now.values()}
    return {
        table.oid
        for table in now.values()
        if table.oid not in fresh
        and any(
            key.parent_schema != schema or _names(before.table(key.parent)) != _names(after.get(key.parent))
            for key in table.foreign_keys
        )
    }


def _names(table: PostgresTable | None) -> tuple[object, ...]:
    return (table.oid, *(column.name for column in table.columns)) if table is not None else ()
