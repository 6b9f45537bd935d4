"""The application's own machinery, put aside while Postgres is shadow, because it would act on applied rows.

With the right to set session_replication_role the applier silences foreign keys and ordinary triggers for itself, and
only what fires all the same (ENABLE ALWAYS, ENABLE REPLICA) is put aside. Without that right, everything is. What was
put aside stands in cutover.suspended with the SQL that restores it, which runs in the commit of the promotion.

What only fills a tsvector column of its own row goes on (`search`). Materialized views are refreshed after a promotion.
"""

from __future__ import annotations

from collections.abc import Sequence

from cutover.logs import get_logger
from cutover.stores.postgres import search
from cutover.stores.postgres.catalog import Part
from cutover.stores.postgres.errors import PostgresRefused
from cutover.stores.postgres.link import Link
from cutover.stores.postgres.names import TRIGGERS, quote
from cutover.stores.postgres.search import Acting

_log = get_logger("postgres")

MAY_REPLICATE = """
SELECT rolsuper OR has_parameter_privilege('session_replication_role', 'SET')
FROM pg_roles WHERE rolname = current_user"""

_FOREIGN_KEYS = """
SELECT format('%I.%I', n.nspname, c.relname) AS relation, k.conname AS name,
       pg_get_constraintdef(k.oid) AS definition, k.convalidated AND c.relkind = 'r' AS later
FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE k.contype = 'f' AND k.conparentid = 0 AND (k.conrelid = ANY($1::oid[]) OR k.confrelid = ANY($1::oid[]))"""

_TRIGGERS = """
SELECT format('%I.%I', n.nspname, c.relname) AS relation, t.tgname AS name, t.tgenabled::text AS enabled
FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE t.tgrelid = ANY($1::oid[]) AND NOT t.tgisinternal AND t.tgname <> ALL($2::text[])
  AND t.tgenabled::text = ANY($3::text[])"""

_RULES = """
SELECT format('%I.%I', n.nspname, c.relname) AS relation, r.rulename AS name, r.ev_enabled::text AS enabled
FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE r.ev_class = ANY($1::oid[]) AND r.ev_enabled::text = ANY($2::text[])"""

_ENABLE = {"O": "ENABLE", "A": "ENABLE ALWAYS", "R": "ENABLE REPLICA"}


async def acting(link: Link, parts: Sequence[Part]) -> list[Acting]:
    """What has to be put aside now."""
    silenced = bool(await link.value(MAY_REPLICATE))
    oids = [part.oid for part in parts]
    fire = ["A", "R"] if silenced else ["O", "A"]
    found = await search.to_keep(link, oids) if silenced else []
    kept = await search.kept(link, oids)
    if not silenced:
        keys = await link.fetch(_FOREIGN_KEYS, oids)
        found += [_foreign_key(row["relation"], row["name"], row["definition"], later=row["later"]) for row in keys]
    for kind, query, arguments in (
        ("trigger", _TRIGGERS, (oids, list(TRIGGERS), fire)),
        ("rule", _RULES, (oids, fire)),
    ):
        for relation, name, enabled in await link.fetch(query, *arguments):
            if kind == "trigger" and (relation, name) in kept:
                continue
            word = f"{kind.upper()} {quote(name)}"
            alter = f"ALTER TABLE ONLY {relation} "
            found.append(Acting(kind, relation, name, f"{alter}{_ENABLE[enabled]} {word}", f"{alter}DISABLE {word}"))
    return found


def _foreign_key(relation: str, name: str, definition: str, *, later: bool) -> Acting:
    valid = " NOT VALID" if later else ""
    return Acting(
        "foreign_key",
        relation,
        name,
        f"ALTER TABLE {relation} ADD CONSTRAINT {quote(name)} {definition}{valid}",
        f"ALTER TABLE {relation} DROP CONSTRAINT {quote(name)}",
    )


async def suspend(link: Link, parts: Sequence[Part]) -> None:
    """Put aside what would act, and record it. Inside the caller's transaction."""
    for it in await acting(link, parts):
        await link.execute(
            """
            INSERT INTO cutover.suspended (kind, relation, name, definition) VALUES ($1, $2, $3, $4)
            ON CONFLICT (kind, relation, name) DO UPDATE SET definition = $4, state = 'suspended'""",
            it.kind,
            it.relation,
            it.name,
            it.restore,
        )
        await link.execute(it.away)


async def restoring(link: Link) -> list[str]:
    """The SQL that restores everything; part of the promotion's commit. Foreign keys are validated after it."""
    rows = await link.fetch(
        """
        SELECT s.definition FROM cutover.suspended s
        WHERE s.state = 'suspended' ORDER BY s.kind, s.relation, s.name"""
    )
    later = """
        UPDATE cutover.suspended SET state = 'unvalidated' WHERE kind = 'foreign_key' AND definition LIKE '% NOT VALID';
        DELETE FROM cutover.suspended WHERE state = 'suspended'"""
    return [*(row["definition"] for row in rows), *([later] if rows else []), search.NOTE_STALE]


async def unvalidated(link: Link) -> list[tuple[str, str]]:
    """Foreign keys that were restored and not validated yet: (relation, name)."""
    if await link.value("SELECT to_regclass('cutover.suspended') IS NULL"):
        return []
    rows = await link.fetch("SELECT relation, name FROM cutover.suspended WHERE state = 'unvalidated' ORDER BY 1, 2")
    return [(row["relation"], row["name"]) for row in rows]


async def validate_all(link: Link) -> None:
    """While writers go on: validate restored foreign keys, refresh materialized views.

    A key with orphans stays as it is, and is said.
    """
    await search.refresh(link)
    for relation, name in await unvalidated(link):
        try:
            await link.execute(f"ALTER TABLE {relation} VALIDATE CONSTRAINT {quote(name)}")
        except PostgresRefused as error:
            _log.warning("a foreign key has orphans and stays NOT VALID", key=name, table=relation, error=error.message)
            continue
        await link.execute(
            "DELETE FROM cutover.suspended WHERE kind = 'foreign_key' AND relation = $1 AND name = $2", relation, name
        )
