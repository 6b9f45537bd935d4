"""The sequences that give automatic keys: where they stand, and where a switch has them go on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from cutover.model.control import Control
from cutover.model.table import Table
from cutover.stores.postgres.catalog import tree
from cutover.stores.postgres.link import Link
from cutover.stores.postgres.names import literal


@dataclass(frozen=True)
class KeySequence:
    """A sequence that feeds a column of a mapped table."""

    table_id: int
    attribute: str
    """The column's name as it is."""
    table: str
    column: str
    sequence: str
    last: int | None
    """The last value given, None if there was none yet."""
    increment: int
    low: int
    high: int

    @property
    def limit(self) -> int:
        """The highest value behind which there still is one."""
        return self.high - self.increment

    @property
    def ended(self) -> bool:
        """Whether it gives nothing any more."""
        return self.increment > 0 and self.last is not None and self.last > self.limit

    def feeds(self, table: Table) -> bool:
        """Whether it gives the automatic keys of `table`."""
        alias = next((column.target for column in table.columns if column.name == table.rowid_alias), None)
        return self.table_id == table.id and self.attribute == alias and self.increment > 0


async def find(link: Link, tables: Sequence[Table]) -> list[KeySequence]:
    """Sequences owned by columns, of identity columns, or used by a column's default. Names are quoted."""
    rows = await link.fetch(
        f"""{tree(tables)}, uses (relation, attnum, sequence) AS (
            SELECT d.refobjid, d.refobjsubid, d.objid FROM pg_depend d
            WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
              AND d.refobjsubid > 0
            UNION
            SELECT a.adrelid, a.adnum, d.refobjid FROM pg_depend d JOIN pg_attrdef a ON a.oid = d.objid
            WHERE d.classid = 'pg_attrdef'::regclass AND d.refclassid = 'pg_class'::regclass AND d.deptype = 'n'
        )
        SELECT tree.id, a.attname, format('%I.%I', tn.nspname, t.relname), format('%I', a.attname),
               format('%I.%I', sn.nspname, s.relname), pg_sequence_last_value(s.oid), q.seqincrement, q.seqmin, q.seqmax
        FROM tree JOIN uses u ON u.relation = tree.oid
        JOIN pg_class t ON t.oid = tree.oid JOIN pg_namespace tn ON tn.oid = t.relnamespace
        JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = u.attnum
        JOIN pg_class s ON s.oid = u.sequence AND s.relkind = 'S' JOIN pg_namespace sn ON sn.oid = s.relnamespace
        JOIN pg_sequence q ON q.seqrelid = s.oid
        WHERE tree.parent IS NULL AND a.atttypid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype)
        ORDER BY 3, 4, 5"""
    )
    return [KeySequence(*row) for row in rows]


async def highest_keys(
    link: Link, tables: Sequence[Table], known: Mapping[str, tuple[int, int]] = MappingProxyType({})
) -> dict[str, int]:
    """The last key that was given, by table name. See `cutover.stores.base.Store.highest_keys`.

    `known`: by sequence, how far statements can have brought it, and the highest key that they gave to a row: what
    they drew in vain counts for nobody. A sequence that stands further was drawn from by others as well.
    """
    found: dict[str, list[int]] = {table.name: [] for table in tables}
    for it in await find(link, tables):
        explained, given = known.get(it.sequence, (-1, 0))
        last = given if it.last is not None and it.last <= explained else it.last
        for table in tables:
            if it.feeds(table):
                found[table.name].append(last or 0)
    return {name: max(keys) for name, keys in found.items() if keys}


async def setting(
    link: Link, tables: Sequence[Table], floors: Mapping[str, int]
) -> tuple[list[str], dict[str, tuple[int, int]]]:
    """SQL that has each sequence go on above the rows there are and above `floors`; and of the sequences of
    AUTOINCREMENT, how far that brings it, and the highest key that was given. Rows may be above that: keys that UPDATE
    moved."""
    statements, asked, marks = [], [], {}
    known = [table for table in tables if table.name in floors and table.rowid_alias is not None]
    for it in await find(link, tables):
        if it.increment < 0:
            continue
        fed = [table for table in known if it.feeds(table)]
        floor = max((floors[table.name] for table in fed), default=None)
        exact = floor is not None and floor <= it.limit and any(table.autoincrement for table in fed)
        statements.append(_set(it, floor, exact=exact))
        if exact and floor is not None:
            marks[it.sequence] = floor, floor
            asked.append(f"SELECT {literal(it.sequence)}, ({_highest(it)})::bigint")
    for sequence, top in await link.fetch(" UNION ALL ".join(asked)) if asked else ():
        floor = marks[sequence][1]
        marks[sequence] = max(top or 0, floor), floor
    return statements, marks


def _highest(it: KeySequence) -> str:
    """The highest key of a row that the sequence could have given with one behind it."""
    low, limit = f"bigint '{it.low}'", f"bigint '{it.limit}'"
    return f"SELECT max({it.column}) FROM {it.table} WHERE {it.column} BETWEEN {low} AND {limit}"


def _set(it: KeySequence, floor: int | None, *, exact: bool) -> str:
    """Past the highest key, never back: unless it is known exactly how far keys were given, or the sequence is at its
    end, where it would give no key any more.

    A key or floor at the very end is left aside for the same reason. Sequences that count down have nothing to learn.
    """
    low, limit = f"bigint '{it.low}'", f"bigint '{it.limit}'"
    known = [f"({_highest(it)})"]
    if floor is not None and it.low <= floor <= it.limit:
        known.append(f"bigint '{floor}'")
    when = "true" if exact else f"top >= last_value OR (is_called AND last_value > {limit})"
    return f"""
        SELECT setval({literal(it.sequence)}, coalesce(top, {low}), top IS NOT NULL)
        FROM (SELECT greatest({", ".join(known)})::bigint AS top) keys, {it.sequence} AS standing
        WHERE {when}"""


async def faults(link: Link, tables: Sequence[Table], control: Control | None) -> tuple[list[str], int]:
    """Why automatic keys would fail, one sentence each, and how many sequences were looked at.

    As shadow: after the switch has set them. As primary: as they stand.
    """
    primary = control is not None and control.primary == "postgres"
    said, found = [], await find(link, tables)
    for it in found:
        if it.increment < 0:
            continue
        if it.ended and primary:
            said.append(f"{it.sequence} is at its end, {it.high}: {it.table} gets no automatic keys")
            continue
        highest = f"SELECT max({it.column}) FROM {it.table}"  # alone, it is one look into the key's index
        top = await link.value(highest)
        if top is None or top <= it.limit:
            continue
        below = await link.value(f"{highest} WHERE {it.column} <= $1::int8", it.limit)
        stands = max((key for key in (below, it.last) if key is not None and key <= it.limit), default=it.low)
        if stands + it.increment >= top:
            said.append(f"{it.sequence} ends at {it.high}, {it.table}.{it.column} has {top}")
    return said, len(found)
