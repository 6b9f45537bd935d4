"""Ranges and digests of a table in one pass on the reader's thread. Functions on a plain connection.

Where every column's canonical form can be written in SQL, SQLite builds a row's canonical bytes in one expression and
Python only hashes them; otherwise rows are fetched and made canonical here. Both give `cutover.schema.canonical`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from hashlib import md5
from itertools import islice
from struct import unpack
from typing import Any, TypeVar

from cutover.model.table import Table
from cutover.model.values import Key, RangeDigest, ScannedRange
from cutover.schema.canonical import MODULUS, row_md5
from cutover.schema.codecs import codecs_for, digestible
from cutover.schema.sqlite_schema import quoted
from cutover.stores.sqlite.connection import leniently, sparingly
from cutover.stores.sqlite.keys import bounds, key_order, order

T = TypeVar("T")

_FETCH = 1000


class TableScan:
    """How one table's rows are read for digests. Cheap to make; holds no data."""

    def __init__(self, connection: sqlite3.Connection, table: Table) -> None:
        self._connection = connection
        self._table = table
        self._codecs = codecs_for(table)
        self._can_in_sql = digestible(table) and _is_utf8(connection)
        self._prepare(one_by_one=False)
        self._last: Key = ()
        """The key of the row summed last, where rows carry theirs."""
        self._indexed = all(column.collation.upper() == "BINARY" for column in table.key_columns)

    def _prepare(self, *, one_by_one: bool) -> None:
        """SQLite would make a dozen copies of a large value on the way to its canonical form."""
        table = self._table
        self._in_sql = self._can_in_sql and not one_by_one
        if self._in_sql:
            self._what = f"CAST({' || '.join(_canonical_sql(c.name) for c in table.columns)} AS BLOB)"
        else:
            self._what = ", ".join(quoted(column.name) for column in table.columns)
        self._width = 1 if self._in_sql else len(table.columns)
        self._fetch = 1 if one_by_one else _FETCH

    def ranges(self, after: Key | None, rows_per_range: int, ranges: int) -> list[ScannedRange]:
        """`Snapshot.scan`."""
        return self._reading(lambda: self._ranges(after, rows_per_range, ranges))

    def _reading(self, work: Callable[[], T]) -> T:
        """Whatever the text, and however large a value."""

        def read(one_by_one: bool) -> T:
            self._prepare(one_by_one=one_by_one)
            return work()

        return leniently(self._connection, lambda: sparingly(self._connection, read))

    def _ranges(self, after: Key | None, rows_per_range: int, ranges: int) -> list[ScannedRange]:
        rows = self._rows(after, None, ordered=True, limit=rows_per_range * ranges)
        found = []
        while (part := self._sum(islice(rows, rows_per_range))).rows:
            found.append(ScannedRange(self._last, *part))
        return found

    def digests(self, after: Key | None, uppers: Sequence[Key], *, tail: bool) -> list[RangeDigest]:
        """`Snapshot.digests`."""
        return self._reading(lambda: self._digests(after, uppers, tail=tail))

    def _digests(self, after: Key | None, uppers: Sequence[Key], *, tail: bool) -> list[RangeDigest]:
        ends: list[Key | None] = [*uppers, *([None] if tail else [])]
        if not ends:
            return []
        if not self._indexed:
            return self._digests_in_one_pass(after, ends)
        found = []
        for upper in ends:
            found.append(self._sum(self._rows(after, upper, ordered=False)))
            after = upper
        return found

    def _digests_in_one_pass(self, after: Key | None, ends: Sequence[Key | None]) -> list[RangeDigest]:
        """No index has the keys in byte order: sort once, and cut here, rather than read the table for each range."""
        rows = self._rows(after, ends[-1], ordered=True)
        found, held = [], next(rows, None)
        for upper in ends:
            limit = None if upper is None else order(upper)
            count = total = 0
            chunk = []
            while held is not None and (limit is None or order(self._key(held)) <= limit):
                chunk.append(held)
                count += 1
                held = next(rows, None)
                if len(chunk) >= self._fetch:
                    total += self._digest(chunk)
                    chunk = []
            found.append(RangeDigest(count, (total + self._digest(chunk)) % MODULUS))
        return found

    def _rows(
        self, after: Key | None, upto: Key | None, *, ordered: bool, limit: int | None = None
    ) -> Iterator[tuple[Any, ...]]:
        """Rows of (what is hashed..., key...); only `ordered` ones carry their key."""
        where, parameters = bounds(self._table, after, upto)
        keys = "".join(f", {quoted(name)}" for name in self._table.key) if ordered else ""
        tail = f" ORDER BY {key_order(self._table)}" if ordered else ""
        if limit is not None:
            tail += f" LIMIT {limit}"
        sql = f"SELECT {self._what}{keys} FROM {quoted(self._table.name)} WHERE {where}{tail}"
        cursor = self._connection.execute(sql, parameters)
        while rows := cursor.fetchmany(self._fetch):
            yield from rows

    def _key(self, row: tuple[Any, ...]) -> Key:
        return row[self._width :]

    def _sum(self, rows: Iterator[tuple[Any, ...]]) -> RangeDigest:
        count = total = 0
        while chunk := list(islice(rows, self._fetch)):
            count += len(chunk)
            total += self._digest(chunk)
            self._last = self._key(chunk[-1])
        return RangeDigest(count, total % MODULUS)

    def _digest(self, rows: list[tuple[Any, ...]]) -> int:
        if self._in_sql:
            hashes = b"".join([md5(row[0], usedforsecurity=False).digest() for row in rows])
        else:
            width, codecs = self._width, self._codecs
            hashes = b"".join([row_md5(row[:width], codecs) for row in rows])
        total: int = sum(unpack(">" + "Q8x" * len(rows), hashes))
        return total % MODULUS


def _is_utf8(connection: sqlite3.Connection) -> bool:
    """In a UTF-16 database the bytes of a text are not what is compared."""
    return bool(connection.execute("PRAGMA encoding").fetchone()[0] == "UTF-8")


def _canonical_sql(name: str) -> str:
    """The canonical form of a column's value followed by `;`, whatever its storage class."""
    column = quoted(name)
    return (
        f"CASE typeof({column}) WHEN 'text' THEN 't' || length(CAST({column} AS BLOB)) || ':' || {column} || ';' "
        f"WHEN 'integer' THEN 'i' || {column} || ';' WHEN 'null' THEN 'n;' "
        f"WHEN 'real' THEN 'r' || cutover_real({column}) || ';' ELSE 'b' || lower(hex({column})) || ';' END"
    )
