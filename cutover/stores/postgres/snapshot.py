"""One read snapshot on Postgres."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise

from cutover.clock import monotonic
from cutover.errors import StoreError, Unrepresentable
from cutover.model.sizes import next_fetch, size_of
from cutover.model.table import Table
from cutover.model.values import Key, Page, Pending, RangeDigest, Row, ScannedRange
from cutover.schema.canonical import MODULUS, digest
from cutover.stores.postgres import catalog
from cutover.stores.postgres.giving_way import Courteous, Patience
from cutover.stores.postgres.keys import Bound, order
from cutover.stores.postgres.link import Link
from cutover.stores.postgres.locks import locked_to_read
from cutover.stores.postgres.names import quote
from cutover.stores.postgres.rows import Rows, arrays

_PATIENCE = 5.0
"""Seconds for all tries to lock the tables."""
_MANY_KEYS = 10_000
"""Keys looked up in one statement."""


@dataclass(frozen=True)
class Seen:
    """Token of `Pending`: which transactions the snapshot saw, and the physical state of each table then."""

    snapshot: str
    fingerprints: tuple[tuple[int, str], ...]


@asynccontextmanager
async def open_snapshot(link: Link, tables: Mapping[str, Rows], waits: Patience) -> AsyncIterator[PostgresSnapshot]:
    """Begin, lock, and only then take the snapshot: a table rewritten in between reads as empty (hazard 10).

    The locks are asked for in short tries, and all let go of between two: a schema change under way that has some of
    the tables may want the others, too.
    """
    deadline, pause = monotonic() + _PATIENCE, 0.02
    while True:
        async with link.transaction("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", "ROLLBACK"):
            names = [name for rows in tables.values() for name in (rows.name, rows.log)]
            if await locked_to_read(link, names, last=monotonic() >= deadline):
                await catalog.demand_shapes(link, [rows.table for rows in tables.values()])
                fixed = str(await link.value("SELECT pg_current_snapshot()::text"))
                yield PostgresSnapshot(Courteous(link, waits), tables, fixed)
                return
        await asyncio.sleep(pause)
        pause = min(pause * 2, 0.3)


class PostgresSnapshot:
    """Implements `cutover.stores.base.Snapshot`."""

    def __init__(self, link: Link, tables: Mapping[str, Rows], fixed: str) -> None:
        self._link = link
        self._tables = tables
        self._fixed = fixed
        self._by_index = False
        self._logged: frozenset[str] | None = None
        """Tables of which rows are in the change log, once it was looked at."""

    async def pending(self) -> Pending:
        """The change log, and which tables changed past it."""
        if not self._tables:
            return Pending(0, None, Seen(self._fixed, ()))
        parts = [
            f"SELECT {rows.table.id}::int, count(*), extract(epoch FROM min(at))::float8, "
            f"coalesce(bool_or(whole), false), coalesce(bool_or(NOT whole), false) FROM {rows.log}"
            for rows in self._tables.values()
        ]
        found = await self._link.fetch(" UNION ALL ".join(parts))
        now = await catalog.fingerprints(self._link, [rows.table for rows in self._tables.values()])
        recorded = await self._link.fetch("SELECT table_id, fingerprint FROM cutover.installed")
        installed = {row["table_id"]: row["fingerprint"] for row in recorded}
        by_id = {rows.table.id: name for name, rows in self._tables.items()}
        changed = {
            by_id[table_id] for table_id, found_now in now.items() if installed.get(table_id, found_now) != found_now
        }
        ages = [oldest for _, _, oldest, _, _ in found if oldest is not None]
        self._logged = frozenset(by_id[table_id] for table_id, _, _, _, rows in found if rows)
        return Pending(
            count=sum(count for _, count, _, _, _ in found),
            oldest_at=min(ages, default=None),
            token=Seen(self._fixed, tuple(sorted(now.items()))),
            whole=frozenset(by_id[table_id] for table_id, _, _, whole, _ in found if whole) | changed,
            tables=frozenset(by_id[table_id] for table_id, count, _, _, _ in found if count),
        )

    async def changed(self, table: Table, fetch: int) -> AsyncIterator[list[tuple[Key, Row | None]]]:
        """Distinct logged keys with their rows."""
        rows = self._rows(table)
        if self._logged is not None and table.name not in self._logged:
            return
        width = len(table.key)
        cursor, count = await self._link.cursor(rows.logged), 1
        while found := await self._link.more(cursor, count):
            count = min(fetch, next_fetch(len(found), size_of([tuple(record) for record in found])))
            yield [
                (
                    rows.key_back(record[:width]),
                    rows.row_back(record[width + 1 :]) if record[width] else None,
                )
                for record in map(tuple, found)
            ]

    async def pending_keys(self, table: Table, keys: Sequence[Key]) -> set[Key]:
        """Which keys are in the change log."""
        rows = self._rows(table)
        pending: set[Key] = set()
        for chunk in _representable(rows, keys):
            found = await self._link.fetch(rows.logged_among, *arrays(chunk, len(table.key)))
            pending.update(map(rows.key_back, found))
        return pending

    async def rows(self, table: Table, keys: Sequence[Key]) -> dict[Key, Row]:
        """The rows with these keys."""
        rows = self._rows(table)
        await self._prefer_index(True)
        result: dict[Key, Row] = {}
        for chunk in _representable(rows, keys):
            found = await self._link.fetch(rows.by_key, *arrays(chunk, len(table.key)))
            for record in found:
                row = rows.row_back(record)
                result[table.key_of(row)] = row
        return result

    async def range(self, table: Table, after: Key | None, limit: int) -> list[Row]:
        """The next rows in key order."""
        return await self._select(table, after, None, f"LIMIT {int(limit)}")

    async def page(self, table: Table, after: Key | None, rows: int, size: int) -> Page:
        """The next rows, up to a size: they are fetched a few at a time, the more the smaller they are."""
        found, held, fetch = list[Row](), 0, 1
        ours = self._rows(table)
        await self._prefer_index(True)
        condition, values = ours.condition(_bound(table, after), None)
        sql = f"SELECT {ours.columns} FROM {ours.name} t WHERE {condition} ORDER BY {ours.order} LIMIT {rows + 1}"
        cursor = await self._link.cursor(sql, *values)
        while len(found) < rows and held < size:
            chunk = await self._link.more(cursor, min(fetch, rows - len(found)))
            if not chunk:
                return Page(found, more=False)
            back = [ours.row_back(record) for record in chunk]
            found += back
            taken = size_of(back)
            held, fetch = held + taken, next_fetch(len(chunk), taken)
        return Page(found, bool(await self._link.more(cursor, 1)))

    async def between(self, table: Table, after: Key | None, upto: Key | None) -> list[Row]:
        """All rows of a range, in key order."""
        return await self._select(table, after, upto, "")

    async def _select(self, table: Table, after: Key | None, upto: Key | None, limit: str) -> list[Row]:
        rows = self._rows(table)
        await self._prefer_index(True)
        condition, values = rows.condition(_bound(table, after), _bound(table, upto))
        found = await self._link.fetch(
            f"SELECT {rows.columns} FROM {rows.name} t WHERE {condition} ORDER BY {rows.order} {limit}", *values
        )
        return [rows.row_back(record) for record in found]

    async def scan(self, table: Table, after: Key | None, rows_per_range: int, ranges: int) -> list[ScannedRange]:
        """Cut ranges and digest them, in one pass."""
        rows = self._rows(table)
        if not rows.digestible:
            fetched = await self.range(table, after, rows_per_range * ranges)
            parts = [fetched[at : at + rows_per_range] for at in range(0, len(fetched), rows_per_range)]
            return [ScannedRange(table.key_of(part[-1]), len(part), digest(part, rows.codecs)) for part in parts]
        await self._prefer_index(True)
        condition, values = rows.condition(_bound(table, after), None)
        found = await self._link.fetch(rows.scan(condition, rows_per_range, rows_per_range * ranges), *values)
        return [ScannedRange(rows.key_back(tuple(it)[2:]), it[0], _unsigned(it[1])) for it in found]

    async def digests(self, table: Table, after: Key | None, uppers: Sequence[Key], *, tail: bool) -> list[RangeDigest]:
        """Digests of consecutive ranges."""
        rows = self._rows(table)
        edges = [_bound(table, after), *(_bound(table, upper) for upper in uppers)]
        if not rows.bytewise and uppers:
            result = await self._digests_unordered(rows, after, uppers)
        elif rows.digestible and all(edge is not None and edge.whole(table) for edge in edges) and uppers:
            result = await self._digests_at_once(rows, [edge for edge in edges if edge is not None])
        else:
            result = [await self._digest(rows, *pair) for pair in pairwise(edges)]
        if tail:
            result.append(await self._digest(rows, edges[-1], None))
        return result

    async def _digests_at_once(self, rows: Rows, edges: Sequence[Bound]) -> list[RangeDigest]:
        await self._prefer_index(True)
        width = len(rows.table.key)
        keys = [edge.values for edge in edges]
        found = await self._link.fetch(rows.many_ranges, *arrays(keys[:-1], width), *arrays(keys[1:], width))
        return [RangeDigest(it[0], _unsigned(it[1])) for it in found]

    async def _digest(self, rows: Rows, after: Bound | None, upto: Bound | None) -> RangeDigest:
        await self._prefer_index(after is not None or upto is not None)
        condition, values = rows.condition(after, upto)
        if not rows.digestible:
            found = await self._link.fetch(f"SELECT {rows.columns} FROM {rows.name} t WHERE {condition}", *values)
            back = [rows.row_back(record) for record in found]
            return RangeDigest(len(back), digest(back, rows.codecs))
        row = await self._link.row(
            f"SELECT count(*), coalesce(sum({rows.hash}), 0) FROM {rows.name} t WHERE {condition}", *values
        )
        assert row is not None, "an aggregate has a row"
        return RangeDigest(row[0], _unsigned(row[1]))

    async def _digests_unordered(self, rows: Rows, after: Key | None, uppers: Sequence[Key]) -> list[RangeDigest]:
        """No index has the key's byte order here: read the whole window once and sort rows into ranges by hand."""
        table = rows.table
        await self._prefer_index(False)
        condition, values = rows.condition(_bound(table, after), _bound(table, uppers[-1]))
        shown = f"{rows.key}, {rows.hash}" if rows.digestible else rows.columns
        found = await self._link.fetch(f"SELECT {shown} FROM {rows.name} t WHERE {condition}", *values)
        edges = [order(upper) for upper in uppers]
        counts, sums = [0] * len(uppers), [0] * len(uppers)
        for record in map(tuple, found):
            if rows.digestible:
                key, value = rows.key_back(record[:-1]), record[-1]
            else:
                row = rows.row_back(record)
                key, value = table.key_of(row), digest([row], rows.codecs)
            place = bisect_left(edges, order(key))
            counts[place] += 1
            sums[place] += value
        return [RangeDigest(count, total % MODULUS) for count, total in zip(counts, sums, strict=True)]

    async def count(self, table: Table) -> int:
        """Number of rows."""
        await self._prefer_index(False)
        return int(await self._link.value(f"SELECT count(*) FROM {self._rows(table).name}"))

    async def orphans(self, table: Table) -> dict[str, int]:
        """Rows whose parent is missing, for each foreign key."""
        await self._prefer_index(False)
        result = {}
        child = {column.name: quote(column.target) for column in table.columns}
        for key in table.foreign_keys:
            parent = self._tables.get(key.parent)
            if parent is None:
                raise StoreError(f"The parent {key.parent} of {table.name} is not mapped.")
            theirs = {column.name: quote(column.target) for column in parent.table.columns}
            pairs = list(zip(key.columns, key.parent_columns, strict=True))
            same = " AND ".join(f"p.{theirs[there]} = t.{child[here]}" for here, there in pairs)
            given = " AND ".join(f"t.{child[here]} IS NOT NULL" for here in key.columns)
            result[key.shown(table.name, parent.table)] = await self._link.value(
                f"SELECT count(*) FROM {self._rows(table).name} t "
                f"WHERE {given} AND NOT EXISTS (SELECT FROM {parent.name} p WHERE {same})"
            )
        return result

    async def scalar(self, sql: str) -> str | None:
        """One value as text, as SQLite would print it."""
        await self._prefer_index(False)
        value = await self._link.value(sql)
        if value is None:
            return None
        if isinstance(value, bool):
            return str(int(value))
        if isinstance(value, bytes):
            return value.decode("utf-8", "replace")
        return f"{value:f}" if isinstance(value, Decimal) else str(value)

    async def exported(self) -> str:
        """A name by which another connection can read the same state, as long as this snapshot is open."""
        return str(await self._link.value("SELECT pg_export_snapshot()"))

    async def _prefer_index(self, yes: bool) -> None:
        """Ranges are read along the key's index: the planner cannot know how few rows a parameter leaves."""
        if yes is not self._by_index:
            await self._link.execute(f"SET LOCAL enable_seqscan = {'off' if yes else 'on'}")
            self._by_index = yes

    def _rows(self, table: Table) -> Rows:
        known = self._tables.get(table.name)
        return known if known is not None and known.table == table else Rows(table)


def _bound(table: Table, key: Key | None) -> Bound | None:
    return None if key is None else Bound.of(table, key)


def _unsigned(total: Decimal | int) -> int:
    return int(total) % MODULUS


def _representable(rows: Rows, keys: Sequence[Key]) -> list[list[tuple[object, ...]]]:
    """The keys that Postgres can hold, in its values, in chunks."""
    held = []
    for key in keys:
        try:
            held.append(rows.key_there(key))
        except Unrepresentable:
            continue
    return [held[at : at + _MANY_KEYS] for at in range(0, len(held), _MANY_KEYS)]
