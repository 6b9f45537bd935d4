"""Which foreign keys of the mapped tables Postgres has, or will have again in the commit of a promotion."""

from __future__ import annotations

import json
from collections.abc import Sequence

from cutover.model.table import Table
from cutover.stores.postgres.link import Link

_ASIDE = "UNION ALL SELECT relation, definition FROM cutover.suspended WHERE kind = 'foreign_key'"
_LACKING = """
WITH standing AS (
    SELECT format('%I.%I', n.nspname, c.relname) AS relation, pg_get_constraintdef(k.oid) AS definition
    FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE k.contype = 'f' {aside}
)
SELECT at FROM unnest($1::text[], $2::text[], $3::json[], $4::text[]) WITH ORDINALITY
    AS wanted(schema, name, columns, parent, at)
WHERE NOT EXISTS (
    SELECT FROM standing WHERE relation = format('%I.%I', schema, name)
    AND strpos(definition, (
        SELECT format('FOREIGN KEY (%s) REFERENCES ', string_agg(quote_ident(own), ', ' ORDER BY nr))
        FROM json_array_elements_text(columns) WITH ORDINALITY AS given(own, nr))) > 0
    AND strpos(split_part(definition, ' REFERENCES ', 2), quote_ident(parent) || '(') > 0
) ORDER BY at"""


async def lacking(link: Link, tables: Sequence[Table]) -> list[str]:
    """Foreign keys, for people, that Postgres could have and has not: a row without its parent is no error there.

    Those that it cannot have are in `Table.unkept`: writes that may break them are refused.
    """
    by_name = {table.name: table for table in tables}
    wanted = [
        (table, by_name[key.parent], key) for table in tables for key in table.foreign_keys if key.parent in by_name
    ]
    if not wanted:
        return []
    aside = await link.value("SELECT to_regclass('cutover.suspended') IS NOT NULL")
    targets = {table.name: {column.name: column.target for column in table.columns} for table in tables}
    rows = await link.fetch(
        _LACKING.format(aside=_ASIDE if aside else ""),
        [table.target_schema for table, _, _ in wanted],
        [table.target for table, _, _ in wanted],
        [json.dumps([targets[table.name][name] for name in key.columns]) for table, _, key in wanted],
        [parent.target for _, parent, _ in wanted],
    )
    told = []
    for row in rows:
        table, parent, key = wanted[row["at"] - 1]
        if not any(each.what.startswith(f"FOREIGN KEY ({', '.join(key.columns)}) ") for each in table.unkept):
            told.append(key.shown(table.name, parent))
    return told
