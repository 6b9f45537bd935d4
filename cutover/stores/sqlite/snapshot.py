"""One read snapshot of the SQLite file: a reader connection inside one read transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

from cutover import clock
from cutover.model.sizes import next_fetch, size_of
from cutover.model.statement import Statement, Timed
from cutover.model.table import ForeignKey, Table, Tables
from cutover.model.values import Key, Page, Pending, RangeDigest, Row, ScannedRange
from cutover.schema.sqlite_schema import quoted
from cutover.stores.sqlite.capture import LogToken, passed, read_pending
from cutover.stores.sqlite.connection import Connection, fetch, leniently, settled, sparingly, speaking
from cutover.stores.sqlite.control import exists
from cutover.stores.sqlite.keys import binary, bounds, key_order, typed
from cutover.stores.sqlite.limit import Limit
from cutover.stores.sqlite.lookup import column_list, read_row, rows_of
from cutover.stores.sqlite.running import run_statement
from cutover.stores.sqlite.scan import TableScan
from cutover.stores.sqlite.triggers import LOG
from cutover.stores.sqlite.trying import Tried, try_writes

T = TypeVar("T")

_CHANGED_SIZE = 16 << 20
"""Bytes of changed rows that are held at one time."""


class SqliteSnapshot:
    """Implements `stores.base.Snapshot`. One call at a time: it is one connection."""

    def __init__(
        self,
        connection: Connection,
        tables: Tables,
        passed: LogToken,
        turn: Callable[[], AbstractAsyncContextManager[bool]],
    ) -> None:
        """`turn`: to write, if that keeps nobody waiting."""
        self._connection = connection
        self._turn = turn
        self._passed = passed
        self._tables = tables
        self._logged: frozenset[str] | None = None

    async def _run(self, work: Callable[[sqlite3.Connection], T], doing: str) -> T:
        async with speaking(doing):
            return await settled(self._connection.run(work), stop=self._connection.cut_off)

    async def pending(self) -> Pending:
        """The change log as this snapshot sees it."""
        pending = await self._run(
            lambda c: read_pending(c, self._tables, passed(c, self._passed)), "reading the change log"
        )
        self._logged = pending.tables
        return pending

    async def changed(self, table: Table, fetch: int) -> AsyncIterator[list[tuple[Key, Row | None]]]:
        """Distinct logged keys with their current rows."""
        if self._logged is None:
            await self.pending()
        if self._logged is None or table.name not in self._logged:
            return
        stream = ChangedRows(table, self._passed)
        try:
            while rows := await self._run(lambda c: stream.next(c, fetch), f"reading changes of {table.name}"):
                yield rows
        finally:
            stream.close()

    async def pending_keys(self, table: Table, keys: Sequence[Key]) -> set[Key]:
        """Which of `keys` are in the change log."""
        if not keys:
            return set()

        def work(connection: sqlite3.Connection) -> set[Key]:
            if not exists(connection, LOG):
                return set()
            columns = ", ".join(f"k{number}, typeof(k{number})" for number in range(1, len(table.key) + 1))
            after = passed(connection, self._passed)
            sql = f"SELECT DISTINCT {columns} FROM {LOG} WHERE table_id = ? AND seq > ?"
            rows = fetch(connection, sql, (table.id, after))
            logged = {typed(row[::2]) for row in rows}
            return {key for key in keys if typed(key) in logged}

        return await self._run(work, "reading the change log")

    async def rows(self, table: Table, keys: Sequence[Key]) -> dict[Key, Row]:
        """Rows by key."""

        def work(connection: sqlite3.Connection) -> dict[Key, Row]:
            found = zip(keys, rows_of(connection, table, keys), strict=True)
            return {key: row for key, row in found if row is not None}

        return await self._run(work, f"reading rows of {table.name}")

    async def range(self, table: Table, after: Key | None, limit: int) -> list[Row]:
        """The next `limit` rows."""
        return await self._read(table, after, None, f" LIMIT {limit}")

    async def page(self, table: Table, after: Key | None, rows: int, size: int) -> Page:
        """The next rows, up to a size."""
        return await self._run(lambda c: read_page(c, table, after, rows, size), f"reading rows of {table.name}")

    async def between(self, table: Table, after: Key | None, upto: Key | None) -> list[Row]:
        """All rows of a key range, in key order."""
        return await self._read(table, after, upto, "")

    async def _read(self, table: Table, after: Key | None, upto: Key | None, tail: str) -> list[Row]:
        def work(connection: sqlite3.Connection) -> list[Row]:
            return read_range(connection, table, after, upto, tail)

        return await self._run(work, f"reading rows of {table.name}")

    async def scan(self, table: Table, after: Key | None, rows_per_range: int, ranges: int) -> list[ScannedRange]:
        """Cut and digest ranges."""
        return await self._run(
            lambda c: TableScan(c, table).ranges(after, rows_per_range, ranges), f"scanning {table.name}"
        )

    async def digests(self, table: Table, after: Key | None, uppers: Sequence[Key], *, tail: bool) -> list[RangeDigest]:
        """Digest given ranges."""
        return await self._run(
            lambda c: TableScan(c, table).digests(after, uppers, tail=tail), f"scanning {table.name}"
        )

    async def count(self, table: Table) -> int:
        """Number of rows."""
        return await self._run(
            lambda c: int(c.execute(f"SELECT count(*) FROM {quoted(table.name)}").fetchone()[0]),
            f"counting {table.name}",
        )

    async def orphans(self, table: Table) -> dict[str, int]:
        """Rows without a parent, for each foreign key."""

        def work(connection: sqlite3.Connection) -> dict[str, int]:
            found = {}
            for foreign_key in table.foreign_keys:
                parent = next((other for other in self._tables if other.name == foreign_key.parent), None)
                sql = _orphans_sql(table, foreign_key, parent)
                found[foreign_key.shown(table.name, parent)] = int(connection.execute(sql).fetchone()[0])
            return found

        return await self._run(work, f"looking for orphans in {table.name}")

    async def scalar(self, sql: str) -> str | None:
        """First value of a query, as text."""

        def work(connection: sqlite3.Connection) -> str | None:
            row = connection.execute(sql).fetchone()
            if row is None or row[0] is None:
                return None
            return row[0].hex() if isinstance(row[0], bytes) else str(row[0])

        return await self._run(work, "answering a query")

    async def ask(self, statement: Statement, seconds: float, most: int, *, backwards: bool = False) -> Timed:
        """What an application's read answers here. Raises `StatementError`, also for one beyond a limit.

        `backwards`: scans that no ORDER BY holds go the other way.
        """

        def work(connection: sqlite3.Connection) -> Timed:
            connection.execute(f"PRAGMA reverse_unordered_selects = {int(backwards)}")
            try:
                with Limit(seconds, most).on(connection):
                    began = clock.monotonic()
                    return Timed(run_statement(connection, statement), clock.monotonic() - began)
            finally:
                connection.execute("PRAGMA reverse_unordered_selects = OFF")

        return await self._run(work, "replaying a read")

    async def try_writes(self, statements: Sequence[Statement], seconds: float, most: int) -> list[Tried]:
        """What these writes would do in this state, undone again; see `trying.try_writes`. The snapshot is over then.

        None of them if another write is under way.
        """
        async with self._turn() as ours:
            if not ours:
                return []
            async with speaking("trying writes"):  # not cut off: what undoes them would be, too
                return await settled(self._connection.run(lambda c: try_writes(c, statements, seconds, most)))


def read_range(
    connection: sqlite3.Connection, table: Table, after: Key | None, upto: Key | None, tail: str = ""
) -> list[Row]:
    """Rows of a key range in byte order of the key."""
    where, parameters = bounds(table, after, upto)
    sql = f"SELECT {column_list(table)} FROM {quoted(table.name)} WHERE {where} ORDER BY {key_order(table)}{tail}"
    return fetch(connection, sql, parameters)


def read_page(connection: sqlite3.Connection, table: Table, after: Key | None, rows: int, size: int) -> Page:
    """As many rows of what comes after a key as stay within both limits, and at least one if there is one."""
    where, parameters = bounds(table, after, None)
    sql = f"SELECT {column_list(table)} FROM {quoted(table.name)} WHERE {where} ORDER BY {key_order(table)}"

    def read(one_by_one: bool) -> Page:
        cursor = connection.execute(sql, parameters)
        try:
            found, full = take(cursor, rows, size, one_by_one=one_by_one)
            return Page(found, full and cursor.fetchone() is not None)
        finally:
            cursor.close()

    return leniently(connection, lambda: sparingly(connection, read))


def take(cursor: sqlite3.Cursor, rows: int, size: int, *, one_by_one: bool) -> tuple[list[Row], bool]:
    """(up to `rows` rows of about `size` bytes together, whether a limit was reached before the end)."""
    found: list[Row] = []
    held, fetch = 0, 1
    while len(found) < rows and held < size:
        chunk = cursor.fetchmany(min(fetch, rows - len(found)))
        if not chunk:
            return found, False
        found += chunk
        taken = size_of(chunk)
        held, fetch = held + taken, 1 if one_by_one else next_fetch(len(chunk), taken)
    return found, True


class ChangedRows:
    """A cursor over the logged keys of one table, joined with their rows by type and bytes."""

    def __init__(self, table: Table, passed: LogToken) -> None:
        self._table = table
        self._passed = passed
        self._cursor: sqlite3.Cursor | None = None
        self._given = 0
        self._failed = False

    def next(self, connection: sqlite3.Connection, count: int) -> list[tuple[Key, Row | None]]:
        """Up to `count` more; empty at the end."""

        def read(one_by_one: bool) -> list[tuple[Any, ...]]:
            if self._failed:
                # The snapshot stands still, so the same query gives the same rows in the same order.
                self._cursor = None
                self._skip(connection)
            self._failed = True
            rows = self._fetch(connection, count, one_by_one=one_by_one)
            self._failed = False
            return rows

        rows = leniently(connection, lambda: sparingly(connection, read))
        self._given += len(rows)
        width = len(self._table.key)
        return [self._split(connection, row, width) for row in rows]

    def _fetch(self, connection: sqlite3.Connection, count: int, *, one_by_one: bool) -> list[tuple[Any, ...]]:
        if self._cursor is None:
            after = passed(connection, self._passed)
            self._cursor = connection.execute(_changed_sql(self._table), (self._table.id, after))
        return take(self._cursor, count, _CHANGED_SIZE, one_by_one=one_by_one)[0]

    def _skip(self, connection: sqlite3.Connection) -> None:
        left = self._given
        while left:
            left -= len(self._fetch(connection, min(left, 1000), one_by_one=True))

    def _split(self, connection: sqlite3.Connection, row: tuple[Any, ...], width: int) -> tuple[Key, Row | None]:
        key = row[:width]
        if None in key:  # no join finds NULL
            return key, read_row(connection, self._table, key)
        return key, row[width + 1 :] if row[width] else None

    def close(self) -> None:
        """Forget the cursor; the connection's next statement or rollback frees it."""
        self._cursor = None


def _changed_sql(table: Table) -> str:
    names = [f"k{number}" for number in range(1, len(table.key) + 1)]
    distinct = ", ".join(f"{name}, typeof({name}) AS t{name}" for name in names)
    conditions, present = [], []
    for column, name in zip(table.key_columns, names, strict=True):
        mine = f"t.{quoted(column.name)}"
        conditions.append(f"{mine} = l.{name} AND typeof({mine}) = l.t{name}")
        if column.collation.upper() != "BINARY":
            conditions.append(f"{binary(column, 't.')} = l.{name}")
        present.append(f"{mine} IS NOT NULL")
    return (
        f"SELECT {', '.join('l.' + name for name in names)}, {' AND '.join(present)}, {column_list(table, 't.')} "
        f"FROM (SELECT DISTINCT {distinct} FROM {LOG} WHERE table_id = ? AND seq > ?) AS l "
        f"LEFT JOIN {quoted(table.name)} AS t ON {' AND '.join(conditions)}"
    )


def _orphans_sql(table: Table, foreign_key: ForeignKey, parent: Table | None) -> str:
    collations = {c.name: c.collation.upper() for c in parent.columns} if parent else {}
    conditions = []
    for mine, theirs in zip(foreign_key.columns, foreign_key.parent_columns, strict=True):
        conditions.append(f"p.{quoted(theirs)} = c.{quoted(mine)}")
        if collations.get(theirs, "BINARY") != "BINARY":  # the target compares bytes
            conditions.append(f"p.{quoted(theirs)} COLLATE BINARY = c.{quoted(mine)}")
    given = " AND ".join(f"c.{quoted(column)} IS NOT NULL" for column in foreign_key.columns)
    return (
        f"SELECT count(*) FROM {quoted(table.name)} AS c WHERE {given} AND NOT EXISTS "
        f"(SELECT 1 FROM {quoted(foreign_key.parent)} AS p WHERE {' AND '.join(conditions)})"
    )
