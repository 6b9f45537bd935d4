"""What no ALTER leads to, or would not as long as foreign keys hold on to it. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from cutover.model.table import Table
from cutover.schema.evolution import Step
from cutover.schema.evolve_pairing import Pairing
from cutover.schema.postgres_schema import PostgresForeignKey, PostgresSchema, PostgresTable
from cutover.schema.recorded import Record, Recorded
from cutover.schema.sqlite_schema import SqliteForeignKey, quoted


def is_another(pairing: Pairing, known: Recorded) -> bool:
    """Whether a table that cutover created has rows that the key of today does not tell apart, or the key of before
    keeps out what there may be now, or a key that Postgres gives by itself and SQLite does not, or the other way.

    What Postgres has counts: columns of a key may have been dropped meanwhile.
    """
    fresh = pairing.fresh
    if not known.made or known.sqlite.sql == pairing.source.sql:
        return False
    renames = pairing.renames()
    if fresh is None:  # of what types it is cannot be told yet
        return not {column.target for column in known.table.key_columns}.isdisjoint(pairing.dropped(renames))
    if _draws_otherwise(pairing, fresh):
        return True
    names = {renames.get(column.name, column.target) for column in fresh.key_columns}
    unique = [
        each for each in pairing.there.indexes if each.unique and each.valid and each.immediate and not each.partial
    ]
    return not any(set(index.columns) == names for index in [each for each in unique if each.primary] or unique)


def _draws_otherwise(pairing: Pairing, fresh: Table) -> bool:
    key = ((column, pairing.there.column(pairing.target_name(column.name))) for column in fresh.key_columns)
    return any(bool(found.identity) != (column.name == fresh.rowid_alias) for column, found in key if found)


def let_go(
    record: Record, target: PostgresSchema, there: PostgresTable, columns: Collection[str] | None = None
) -> tuple[Record, list[Step]]:
    """Drop the foreign keys that hold on to these columns of a table, or to the table itself.

    (the record, without them: so they are missed, and made again as soon as they can be, the steps). Those of tables
    that cutover did not create, or that SQLite does not have, are somebody's own, and stay.
    """
    steps = []
    for known in record.tables:
        table = target.table(known.table.target)
        if table is None or not known.made:
            continue
        gone = set[SqliteForeignKey]()
        for found in table.foreign_keys:
            if _holds(found, table, there, columns) and (keys := _of_sqlite(found, known)):
                gone |= keys
                on = f"ALTER TABLE IF EXISTS {quoted(target.name)}.{quoted(table.name)}"  # it may be made anew, too
                sql = f"{on} DROP CONSTRAINT IF EXISTS {quoted(found.name)}"
                steps.append(Step(f"The foreign key {found.name} is dropped.", sql))
        if gone:
            left = tuple(key for key in known.sqlite.foreign_keys if key not in gone)
            record = record.having(replace(known, sqlite=replace(known.sqlite, foreign_keys=left)))
    return record, steps


def _holds(
    found: PostgresForeignKey, table: PostgresTable, there: PostgresTable, columns: Collection[str] | None
) -> bool:
    own, refers = table.name == there.name, found.parent == there.name
    if columns is None:
        return refers and not own
    return (own and not set(columns).isdisjoint(found.columns)) or (
        refers and not set(columns).isdisjoint(found.parent_columns)
    )


def _of_sqlite(found: PostgresForeignKey, known: Recorded) -> set[SqliteForeignKey]:
    """What it stands for."""
    targets = {column.name.lower(): column.target for column in known.table.columns}
    return {
        key
        for key in known.sqlite.foreign_keys
        if tuple(targets.get(name.lower(), "") for name in key.columns) == found.columns
    }
