"""What must be right for a search, and is in no mirrored column: tsvector columns, materialized views."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cutover.logs import get_logger
from cutover.schema.searching import fills_only
from cutover.stores.postgres.errors import PostgresRefused
from cutover.stores.postgres.link import Link
from cutover.stores.postgres.names import quote

_log = get_logger("postgres")

_BEFORE_ROW = """
SELECT format('%I.%I', n.nspname, c.relname) AS relation, t.tgname AS name, t.tgenabled::text AS enabled,
       p.prosrc AS source, l.lanname AS language, p.pronamespace = 'pg_catalog'::regnamespace AS builtin,
       ARRAY(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = c.oid AND NOT a.attisdropped
             AND a.attnum > 0 AND a.atttypid = 'tsvector'::regtype) AS columns
FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_proc p ON p.oid = t.tgfoid JOIN pg_language l ON l.oid = p.prolang
WHERE t.tgrelid = ANY($1::oid[]) AND NOT t.tgisinternal AND t.tgtype & 3 = 3 AND t.tgenabled <> 'D'"""
"""tgtype: row and before, as in pg_trigger.h."""

_BUILT_IN = ("tsvector_update_trigger_byid", "tsvector_update_trigger_bycolumn")
"""Sources of tsvector_update_trigger and tsvector_update_trigger_column."""

NOTE_STALE = """
INSERT INTO cutover.suspended (kind, relation, name, definition, state)
WITH RECURSIVE used (oid) AS (
    SELECT g.tgrelid FROM pg_trigger g WHERE g.tgname = 'cutover_capture'
    UNION
    SELECT r.ev_class FROM used
    JOIN pg_depend d ON d.refobjid = used.oid AND d.refclassid = 'pg_class'::regclass
        AND d.classid = 'pg_rewrite'::regclass
    JOIN pg_rewrite r ON r.oid = d.objid
)
SELECT 'materialized_view', format('%I.%I', n.nspname, c.relname), c.oid::text, '', 'stale'
FROM used JOIN pg_class c ON c.oid = used.oid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'm' AND c.relispopulated
ON CONFLICT (kind, relation, name) DO UPDATE SET state = 'stale'"""
"""In the promotion's commit: nobody refreshed the views of mirrored tables from what the mirror wrote."""


@dataclass(frozen=True)
class Acting:
    """One thing that would act on applied rows, or would not and should."""

    kind: str
    relation: str
    name: str
    restore: str
    away: str
    """SQL that puts it aside."""

    def __str__(self) -> str:
        verb = "would not" if self.kind == "search_trigger" else "would"
        return f"The {self.kind.replace('_', ' ')} {self.name} on {self.relation} {verb} act on mirrored rows."


async def _filling(link: Link, oids: Sequence[int]) -> list[tuple[str, str, str]]:
    """(relation, name, enabled) of triggers that only fill tsvector columns of their own row."""
    return [
        (row["relation"], row["name"], row["enabled"])
        for row in await link.fetch(_BEFORE_ROW, oids)
        if (row["builtin"] and row["source"] in _BUILT_IN)
        or (row["language"] == "plpgsql" and fills_only(row["source"], row["columns"]))
    ]


async def kept(link: Link, oids: Sequence[int]) -> set[tuple[str, str]]:
    """(relation, name) of the triggers that go on while Postgres is the shadow."""
    return {(relation, name) for relation, name, _ in await _filling(link, oids)}


async def to_keep(link: Link, oids: Sequence[int]) -> list[Acting]:
    """Those that have to be told to go on: the applier silences ordinary triggers for itself."""
    return [
        Acting(
            "search_trigger",
            relation,
            name,
            f"ALTER TABLE ONLY {relation} ENABLE TRIGGER {quote(name)}",
            f"ALTER TABLE ONLY {relation} ENABLE ALWAYS TRIGGER {quote(name)}",
        )
        for relation, name, enabled in await _filling(link, oids)
        if enabled == "O"
    ]


async def refresh(link: Link) -> None:
    """Refresh the materialized views that were noted, each in a statement of its own, in the order they were made."""
    if await link.value("SELECT to_regclass('cutover.suspended') IS NULL"):
        return
    rows = await link.fetch(
        "SELECT relation, name FROM cutover.suspended WHERE kind = 'materialized_view' ORDER BY name::bigint"
    )
    for relation, name in rows:
        if await link.value("SELECT to_regclass($1) IS NOT NULL", relation):
            try:
                await link.execute(f"REFRESH MATERIALIZED VIEW {relation}")
            except PostgresRefused as error:
                _log.warning("a materialized view could not be refreshed", view=relation, error=error.message)
                continue
            _log.info("a materialized view was refreshed", view=relation)
        await link.execute(
            "DELETE FROM cutover.suspended WHERE kind = 'materialized_view' AND relation = $1 AND name = $2",
            relation,
            name,
        )
