"""What Postgres's catalog says of the mapped tables: their parts, triggers, columns, sequences, fingerprints."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from cutover.errors import SchemaChanged
from cutover.model.table import Table
from cutover.stores.postgres.link import Link
from cutover.stores.postgres.names import CAPTURE, CAPTURE_TRUNCATE, TRIGGERS, literal, target


def tree(tables: Sequence[Table]) -> str:
    """A WITH clause: each table's root and everything below it."""
    given = ", ".join(f"({table.id}, {literal(table.target_schema)}, {literal(table.target)})" for table in tables)
    return f"""
    WITH RECURSIVE tree (id, oid, parent) AS (
        SELECT given.id::int, c.oid, NULL::oid
        FROM (VALUES {given or "(NULL, NULL, NULL)"}) AS given (id, schema, name)
        JOIN pg_namespace n ON n.nspname = given.schema
        JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = given.name AND c.relkind IN ('r', 'p')
        UNION ALL
        SELECT tree.id, i.inhrelid, i.inhparent FROM tree JOIN pg_inherits i ON i.inhparent = tree.oid
    )"""


@dataclass(frozen=True)
class Part:
    """A mapped table, or a partition or child of one."""

    table_id: int
    oid: int
    name: str
    """Qualified and quoted."""
    kind: str
    """relkind: r or p."""
    partition: bool
    subscribed: bool
    """Logical replication writes to it, past statement triggers (hazard 9)."""


@dataclass(frozen=True)
class Trigger:
    """A trigger of ours as it stands."""

    enabled: str
    """tgenabled: O, A, R or D."""
    type: int
    function: str


async def parts(link: Link, tables: Sequence[Table]) -> list[Part]:
    """All parts of these tables; a table that does not exist has none."""
    rows = await link.fetch(
        f"""{tree(tables)}
        SELECT tree.id, c.oid, format('%I.%I', n.nspname, c.relname) AS name, c.relkind::text, c.relispartition,
               EXISTS (SELECT FROM pg_subscription_rel s WHERE s.srrelid = c.oid) AS subscribed
        FROM tree JOIN pg_class c ON c.oid = tree.oid JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'p')
        ORDER BY tree.parent IS NOT NULL, name"""
    )
    return [Part(*row) for row in rows]


async def triggers(link: Link) -> dict[int, dict[str, Trigger]]:
    """Our triggers wherever they are, by table oid and name."""
    rows = await link.fetch(
        """
        SELECT t.tgrelid::int8, t.tgname, t.tgenabled::text, t.tgtype::int, format('%s.%s', n.nspname, p.proname)
        FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid JOIN pg_namespace n ON n.oid = p.pronamespace
        WHERE t.tgname = ANY($1::text[]) AND t.tgqual IS NULL AND t.tgattr = ''""",
        list(TRIGGERS),
    )
    found: defaultdict[int, dict[str, Trigger]] = defaultdict(dict)
    for oid, name, *rest in rows:
        found[oid][name] = Trigger(*rest)
    return found


def fingerprint_query(tables: Sequence[Table]) -> str:
    """Table ids and fingerprints, as a query without parameters."""
    return f"""{tree(tables)}
        SELECT tree.id, md5(string_agg(concat_ws(' ', c.oid, c.relfilenode,
            (SELECT string_agg(concat_ws(' ', a.attname, a.atttypid, a.atttypmod), ',' ORDER BY a.attnum)
             FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
            (SELECT string_agg(concat_ws(' ', g.tgname, g.xmin, g.tgenabled), ',' ORDER BY g.tgname)
             FROM pg_trigger g WHERE g.tgrelid = c.oid AND g.tgname LIKE 'cutover_capture%')), ';' ORDER BY c.oid))
        FROM tree JOIN pg_class c ON c.oid = tree.oid GROUP BY tree.id"""


async def fingerprints(link: Link, tables: Sequence[Table]) -> dict[int, str]:
    """The physical state of each table: what changes when rows change without a row trigger (hazard 9).

    Files (TRUNCATE, ALTER ... USING), columns, and every touch of our capture triggers.
    """
    return {row[0]: row[1] for row in await link.fetch(fingerprint_query(tables))}


async def columns(link: Link, tables: Sequence[Table]) -> dict[int, dict[str, str]]:
    """Type of each column by table id and column name."""
    rows = await link.fetch(
        f"""{tree(tables)}
        SELECT tree.id, a.attname, format_type(a.atttypid, a.atttypmod)
        FROM tree JOIN pg_attribute a ON a.attrelid = tree.oid
        WHERE tree.parent IS NULL AND a.attnum > 0 AND NOT a.attisdropped"""
    )
    found: defaultdict[int, dict[str, str]] = defaultdict(dict)
    for table_id, name, sql_type in rows:
        found[table_id][name] = sql_type
    return found


async def demand_shapes(link: Link, tables: Sequence[Table]) -> None:
    """Raise `SchemaChanged` if a table's columns are not those that it was mapped with.

    On the primary a new column counts as well; on the shadow it is nobody's, and stays empty.
    """
    known = {table.id: table for table in tables if table.target_shape}
    if not known:
        return
    rows = await link.fetch(
        f"""{tree(tuple(known.values()))}
        SELECT tree.id, array_agg(a.attname || ' ' || format_type(a.atttypid, a.atttypmod) ORDER BY a.attnum),
               (SELECT primary_store = 'postgres' FROM cutover.control)
        FROM tree JOIN pg_attribute a ON a.attrelid = tree.oid
        WHERE tree.parent IS NULL AND a.attnum > 0 AND NOT a.attisdropped GROUP BY tree.id"""
    )
    now = {row[0]: tuple(row[1]) for row in rows}
    primary = any(row[2] for row in rows)
    changed = [
        target(table)
        for table_id, table in known.items()
        if not {f"{column.target} {column.target_type}" for column in table.columns} <= {*now.get(table_id, ())}
        or (primary and now[table_id] != table.target_shape)
    ]
    if changed:
        raise SchemaChanged(f"{', '.join(changed)} on PostgreSQL changed and is mapped anew.")


async def schema_fingerprint(link: Link, schema: str, tables: Sequence[Table]) -> str:
    """Everything the mapping was made from, foreign keys aside (they come and go with the role); also without tables.

    And triggers of ours that are switched otherwise than the control row demands: `pg_restore --disable-triggers`
    leaves capture off, or a fence on. Whole, it is the same in both roles.
    """
    schemas = sorted({schema, *(table.target_schema for table in tables)})
    return str(
        await link.value(
            """
            SELECT md5(coalesce(string_agg(line, E'\\n' ORDER BY line), '')) FROM (
                SELECT concat_ws(' ', 'table', n.nspname, c.relname, c.relkind) AS line, c.oid
                FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                WHERE n.nspname = ANY($1::text[]) AND c.relkind IN ('r', 'p')
                UNION ALL
                SELECT concat_ws(' ', 'column', n.nspname, c.relname, a.attname,
                                 format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attcollation, a.attidentity,
                                 a.attgenerated, pg_get_expr(d.adbin, d.adrelid),
                                 (SELECT string_agg(quote_literal(e.enumlabel), ',' ORDER BY e.enumsortorder)
                                  FROM pg_enum e WHERE e.enumtypid = a.atttypid)), c.oid
                FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
                LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
                WHERE n.nspname = ANY($1::text[]) AND c.relkind IN ('r', 'p')
                UNION ALL
                SELECT concat_ws(' ', 'index', pg_get_indexdef(i.indexrelid), i.indisvalid), i.indrelid
                FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace
                WHERE n.nspname = ANY($1::text[])
                UNION ALL  -- what waits for the end of a copy counts as if it stood
                SELECT 'index ' || replace(definition, 'CREATE INDEX IF NOT EXISTS ', 'CREATE INDEX ') || ' t', 0
                FROM cutover.suspended WHERE kind = 'index'
                UNION ALL
                SELECT concat_ws(' ', 'check', k.conname, pg_get_constraintdef(k.oid)), k.conrelid
                FROM pg_constraint k JOIN pg_namespace n ON n.oid = k.connamespace
                WHERE n.nspname = ANY($1::text[]) AND k.contype = 'c'
                UNION ALL
                SELECT concat_ws(' ', 'trigger', n.nspname, c.relname, t.tgname, t.tgenabled), c.oid
                FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
                JOIN cutover.control o ON t.tgenabled <> CASE WHEN CASE WHEN t.tgname = ANY($2::text[])
                    THEN o.primary_store = 'postgres'
                    ELSE NOT (o.primary_store = 'postgres' AND o.state IN ('steady', 'finished')) END
                    THEN 'A' ELSE 'D' END
                WHERE n.nspname = ANY($1::text[]) AND t.tgname = ANY($3::text[])
            ) lines""",
            schemas,
            [CAPTURE, CAPTURE_TRUNCATE],
            list(TRIGGERS),
        )
    )
