"""Applying rows to the SQLite file, on the writer's thread and inside one transaction.

compare with the row that stands there ── same ──▶ leave it alone
        │ differs
all of them, one savepoint ── a constraint fails ──▶ delete them all, then insert one by one
                                                      │ still fails
                                      quarantine, and once more at the end of the transaction,
                                      when the row that was in its way may have moved
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import chain, groupby

from cutover.clock import wall
from cutover.errors import Unrepresentable
from cutover.model.control import BackfillProgress
from cutover.model.table import Column, Table
from cutover.model.values import Applied, Key, Row, SqlValue
from cutover.schema.codecs import Codec, Foreign, codecs_for
from cutover.schema.sqlite_schema import quoted
from cutover.stores.sqlite.control import put_progress
from cutover.stores.sqlite.keys import TypedKey, decode_key, encode_key, match, typed, within
from cutover.stores.sqlite.lookup import column_list, parts, rows_of
from cutover.stores.sqlite.snapshot import read_range

_ROW_FAILURES = (sqlite3.IntegrityError, sqlite3.DataError, OverflowError, UnicodeEncodeError, Unrepresentable)
"""What one row can be guilty of. Anything else (disk full, I/O) fails the whole batch."""


class Writing:
    """What one apply transaction knows of the tables it writes."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._codecs: dict[str, tuple[Codec, ...]] = {}
        self._quarantined: dict[str, set[str]] = {}
        self._failed: dict[tuple[str, TypedKey], tuple[Table, Row]] = {}
        self._texts: dict[tuple[object, ...], str] = {}
        """SQL by what it does to which table with which types of key; building it costs as much as running it."""

    def apply(self, table: Table, upserts: Sequence[Row], deletes: Iterable[Key]) -> Applied:
        """`Applier.apply`."""
        deleted = sum(self._delete(table, key) for key in deletes)
        rows = {typed(key): (key, row) for key, row in zip(map(table.key_of, upserts), upserts, strict=True)}
        if self._failed:
            for typed_key in rows:
                self._failed.pop((table.name, typed_key), None)
        keys = [key for key, _ in rows.values()]
        standing = zip(rows.values(), rows_of(self._connection, table, keys), strict=True)
        changed = [(row, found) for (_, row), found in standing if not self._same(table, row, found)]
        failures = self._write_together(table, changed) if changed else []
        self._release(table, keys)
        for row, reason in failures:
            self._quarantine(table, table.key_of(row), reason)
            self._failed[table.name, typed(table.key_of(row))] = (table, row)
        return Applied(
            upserted=len(changed) - len(failures),
            deleted=deleted,
            unchanged=len(rows) - len(changed),
            quarantined=len(failures),
        )

    def replace_range(self, table: Table, after: Key | None, upto: Key | None, rows: Sequence[Row]) -> Applied:
        """`Applier.replace_range`."""
        given = {typed(table.key_of(row)) for row in rows}
        standing = [table.key_of(row) for row in read_range(self._connection, table, after, upto)]
        held = [decode_key(text) for text in self._quarantined_of(table)]
        gone = [key for key in standing if typed(key) not in given]
        gone += [key for key in held if within(key, after, upto) and typed(key) not in given]
        return self.apply(table, rows, gone)

    def finish(self) -> None:
        """Try failed rows once more: what was in their way may have been moved by a later call."""
        for table, row in list(self._failed.values()):
            if not self._write_alone(table, row):
                self._release(table, [table.key_of(row)])

    def save_progress(self, progress: BackfillProgress) -> None:
        """`Applier.save_progress`."""
        put_progress(self._connection, progress)

    # -- rows ------------------------------------------------------------------------------------------------------

    def _text(self, what: tuple[object, ...], build: Callable[[], str]) -> str:
        text = self._texts.get(what)
        if text is None:
            text = self._texts[what] = build()
        return text

    def _locate(self, table: Table, key: Key) -> tuple[str, tuple[SqlValue, ...]]:
        """`match`, remembered for plain keys."""
        shape = ("where", table.name, *map(type, key))
        where = self._texts.get(shape)
        if where is not None and all(type(value) is not str or value.isascii() for value in key):
            return where, key
        where, parameters = match(table, key)
        if parameters == key and "CAST(" not in where:
            self._texts[shape] = where
        return where, parameters

    def _same(self, table: Table, row: Row, found: Row | None) -> bool:
        """Equal by type and bytes; what means the same in another spelling is left as the application wrote it."""
        if found is None:
            return False
        return all(
            (type(new) is type(old) and new == old and type(new) is not float)  # 0.0 == -0.0
            or codec.canonical(new) == codec.canonical(old)
            for codec, new, old in zip(self._codecs_of(table), row, found, strict=True)
        )

    def _kept(self, table: Table, row: Row, found: Row | None) -> Row:
        """`row` with the values of `found` where both mean the same, such as one JSON or one point in time."""
        codecs = self._codecs_of(table)
        if found is None or all(codec.exact for codec in codecs):
            return row
        return tuple(
            old if new is not None and old is not None and codec.canonical(new) == codec.canonical(old) else new
            for codec, new, old in zip(codecs, row, found, strict=True)
        )

    def _codecs_of(self, table: Table) -> tuple[Codec, ...]:
        if table.name not in self._codecs:
            self._codecs[table.name] = codecs_for(table)
        return self._codecs[table.name]

    def _write_together(self, table: Table, changed: Sequence[tuple[Row, Row | None]]) -> list[tuple[Row, str]]:
        """Write them all; returns rows that could not be written, with the reason."""
        changed = [(self._kept(table, row, found), found) for row, found in changed]
        try:
            self._in_savepoint(lambda: self._write_all(table, changed))
        except _ROW_FAILURES:
            pass
        else:
            return []
        for row, _ in changed:
            self._delete_row(table, table.key_of(row))
        return [(row, reason) for row, _ in changed if (reason := self._write_alone(table, row))]

    def _write_all(self, table: Table, changed: Sequence[tuple[Row, Row | None]]) -> None:
        """In their order, since one may take what another one has to give up first."""
        self._demand_kept(table, [row for row, _ in changed])
        for new, group in groupby(changed, key=lambda pair: pair[1] is None):
            rows = [row for row, _ in group]
            if new:
                self._insert(table, rows)
            else:
                self._update(table, rows)

    def _write_alone(self, table: Table, row: Row) -> str:
        """Insert one row; returns why it does not fit, empty if it does."""
        try:
            self._in_savepoint(lambda: self._write_all(table, [(row, None)]))
        except _ROW_FAILURES as error:
            return str(error)
        return ""

    def _in_savepoint(self, work: Callable[[], object]) -> None:
        self._connection.execute("SAVEPOINT cutover_rows")
        try:
            work()
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK TO cutover_rows")
                self._connection.execute("RELEASE cutover_rows")
            raise
        self._connection.execute("RELEASE cutover_rows")

    def _demand_kept(self, table: Table, rows: Sequence[Row]) -> None:
        """Raises `Unrepresentable` for a value that its column would not store as it is."""
        for column, values in zip(table.columns, zip(*rows, strict=True), strict=True):
            if _ALWAYS_KEPT[column.affinity].issuperset(map(type, values)):
                continue
            for value in values:
                if type(value) is Foreign:
                    raise Unrepresentable(f"{column.name}: {value.reason}")
                if altered(column, value):
                    raise Unrepresentable(
                        f"{column.name}: a column declared {column.declared!r} would store this value as another one"
                    )

    def _insert(self, table: Table, rows: Sequence[Row]) -> None:
        for part in parts(self._connection, rows, len(table.columns)):
            sql = self._text(("insert", table.name, len(part)), partial(_insert, table, len(part)))
            self._connection.execute(sql, tuple(chain.from_iterable(part)))

    def _update(self, table: Table, rows: Sequence[Row]) -> None:
        for row in rows:
            where, parameters = self._locate(table, table.key_of(row))
            sql = self._text(("update", table.name, where), partial(_update, table, where))
            self._connection.execute(sql, (*row, *parameters))

    def _delete(self, table: Table, key: Key) -> int:
        self._failed.pop((table.name, typed(key)), None)
        self._release(table, [key])
        return self._delete_row(table, key)

    def _delete_row(self, table: Table, key: Key) -> int:
        where, parameters = self._locate(table, key)
        return self._connection.execute(f"DELETE FROM {quoted(table.name)} WHERE {where}", parameters).rowcount

    # -- quarantine ------------------------------------------------------------------------------------------------

    def _quarantined_of(self, table: Table) -> set[str]:
        if table.name not in self._quarantined:
            rows = self._connection.execute("SELECT key FROM _cutover_quarantine WHERE table_name = ?", (table.name,))
            self._quarantined[table.name] = {key for (key,) in rows}
        return self._quarantined[table.name]

    def _release(self, table: Table, keys: Iterable[Key]) -> None:
        held = self._quarantined_of(table)
        if not held:
            return
        for text in {encode_key(key) for key in keys} & held:
            held.discard(text)
            self._connection.execute(
                "DELETE FROM _cutover_quarantine WHERE table_name = ? AND key = ?", (table.name, text)
            )

    def _quarantine(self, table: Table, key: Key, reason: str) -> None:
        text = encode_key(key)
        self._quarantined_of(table).add(text)
        self._connection.execute(
            "INSERT OR REPLACE INTO _cutover_quarantine (table_name, key, reason, since) VALUES (?, ?, ?, ?)",
            (table.name, text, reason, wall()),
        )


def _insert(table: Table, count: int) -> str:
    """OR ABORT, or a constraint that says IGNORE or REPLACE itself would let rows vanish without a word."""
    marks = f"({', '.join('?' * len(table.columns))})"
    return f"INSERT OR ABORT INTO {quoted(table.name)} ({column_list(table)}) VALUES {', '.join([marks] * count)}"


def _update(table: Table, where: str) -> str:
    settings = ", ".join(f"{quoted(column.name)} = ?" for column in table.columns)
    return f"UPDATE OR ABORT {quoted(table.name)} SET {settings} WHERE {where}"


_ALWAYS_KEPT: dict[str, frozenset[type]] = {
    "TEXT": frozenset((str, bytes, type(None))),
    "BLOB": frozenset((int, str, bytes, type(None))),
    "INTEGER": frozenset((int, bytes, type(None))),
    "NUMERIC": frozenset((int, bytes, type(None))),
    "REAL": frozenset((bytes, type(None))),
}
"""By affinity, types whose values are stored as they are, whichever they are."""
_NUMBER = re.compile(r"[ \t\n\v\f\r]*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?[ \t\n\v\f\r]*", re.ASCII)


def altered(column: Column, value: SqlValue) -> bool:
    """Whether the column's affinity would store `value` as another one, and so change it silently."""
    if isinstance(value, str):
        return column.affinity in ("INTEGER", "REAL", "NUMERIC") and _NUMBER.fullmatch(value) is not None
    if isinstance(value, float):
        if value == 0 and str(value) == "-0.0":
            return column.affinity != "BLOB"
        whole = value.is_integer() and abs(value) < 2**63
        return column.affinity == "TEXT" or (column.affinity in ("INTEGER", "NUMERIC") and whole) or value != value
    if isinstance(value, int):
        return column.affinity in ("TEXT", "REAL")
    return False
