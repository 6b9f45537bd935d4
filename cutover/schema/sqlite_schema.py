"""What is in a SQLite file: tables, keys, indexes, foreign keys, triggers, views. Read by SQLite itself."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

from cutover.model.table import UniqueIndex
from cutover.schema.createsql import TableText, read_create_index, read_create_table

Affinity = Literal["INTEGER", "TEXT", "BLOB", "REAL", "NUMERIC"]

ROWID = "_rowid_"
"""What a table's hidden rowid is called, on both sides. SQLite knows it by this name unless a column has it."""


def free_rowid_name(columns: Iterable[str]) -> str | None:
    """By which name the rowid of a table with these columns can be asked for; None if columns have all three."""
    taken = {column.lower() for column in columns}
    return next((name for name in ("rowid", ROWID, "oid") if name not in taken), None)


@dataclass(frozen=True)
class SqliteColumn:
    """One column; `default` is SQL text as SQLite reports it."""

    name: str
    declared: str
    affinity: Affinity
    not_null: bool
    default: str | None
    collation: str
    generated: str = ""
    """The expression of a generated column; empty for an ordinary one."""
    hidden: bool = False
    """The rowid of a table that has no other key: no declared column, and not in `*`."""


@dataclass(frozen=True)
class SqliteIndex:
    """One index. `terms` are (SQL, collation, descending); columns are quoted, expressions as written."""

    name: str
    unique: bool
    origin: Literal["c", "u", "pk"]
    terms: tuple[tuple[str, str, bool], ...]
    columns: tuple[str | None, ...]
    """Column name of each term; None for an expression."""
    partial: str | None = None
    sql: str = field(default="", repr=False)


@dataclass(frozen=True)
class SqliteForeignKey:
    """A declared foreign key; `parent_columns` are filled in from the parent's primary key if not written."""

    columns: tuple[str, ...]
    parent: str
    parent_columns: tuple[str, ...]
    on_update: str
    on_delete: str
    deferred: bool


@dataclass(frozen=True)
class SqliteTable:
    """One ordinary table."""

    name: str
    columns: tuple[SqliteColumn, ...]
    primary_key: tuple[str, ...]
    """In key order; empty if none is declared."""
    rowid_alias: str | None
    """The column that is the rowid under another name (INTEGER PRIMARY KEY)."""
    without_rowid: bool
    strict: bool
    autoincrement: bool
    indexes: tuple[SqliteIndex, ...]
    foreign_keys: tuple[SqliteForeignKey, ...]
    checks: tuple[str, ...]
    conflict: tuple[str, ...]
    """ON CONFLICT clauses in constraints, such as REPLACE."""
    sql: str = field(repr=False)

    def column(self, name: str) -> SqliteColumn | None:
        """The column of that name, in any case."""
        return next((column for column in self.columns if column.name.lower() == name.lower()), None)

    @property
    def is_keyless(self) -> bool:
        """Whether the rowid stands as its key for want of one that is declared."""
        return any(column.hidden and self.primary_key == (column.name,) for column in self.columns)

    @property
    def downwards(self) -> tuple[str, ...]:
        """The columns of the key by which the rows themselves are kept in descending order."""
        keys = [index for index in self.indexes if index.origin == "pk" and self.without_rowid]
        pairs = [pair for index in keys for pair in zip(index.columns, index.terms, strict=True)]
        return tuple(column for column, (_, _, descending) in pairs if column and descending)

    @property
    def unique(self) -> tuple[UniqueIndex, ...]:
        """Every unique index and constraint, primary key first."""
        found = [
            UniqueIndex(
                index.name,
                tuple((sql, collation) for sql, collation, _ in index.terms),
                index.columns,
                index.partial,
                primary_key=index.origin == "pk",
            )
            for index in self.indexes
            if index.unique
        ]
        if self.rowid_alias:
            alias = (self.rowid_alias,)
            own = self.primary_key == alias
            found.append(UniqueIndex("", ((quoted(self.rowid_alias), "BINARY"),), alias, primary_key=own))
        return tuple(sorted(found, key=lambda index: not index.primary_key))


@dataclass(frozen=True)
class SqliteObject:
    """A trigger or view; `table` is what a trigger belongs to."""

    name: str
    table: str
    sql: str = field(repr=False)


@dataclass(frozen=True)
class SqliteSchema:
    """Everything but SQLite's and cutover's own objects, each kind in name order."""

    tables: tuple[SqliteTable, ...]
    virtual_tables: tuple[SqliteObject, ...] = ()
    shadow_tables: tuple[str, ...] = ()
    """Tables that belong to virtual ones."""
    triggers: tuple[SqliteObject, ...] = ()
    views: tuple[SqliteObject, ...] = ()

    @cached_property
    def _by_name(self) -> dict[str, SqliteTable]:
        return {table.name.lower(): table for table in self.tables}

    def table(self, name: str) -> SqliteTable | None:
        """The table of that name, in any case."""
        return self._by_name.get(name.lower())


def quoted(name: str) -> str:
    """An identifier in double quotes, for either database."""
    return '"' + name.replace('"', '""') + '"'


def affinity_of(declared: str, *, strict: bool = False) -> Affinity:
    """Affinity of a declared type by the rules of https://sqlite.org/datatype3.html, section 3.1."""
    name = declared.upper()
    if "INT" in name:
        return "INTEGER"
    if any(part in name for part in ("CHAR", "CLOB", "TEXT")):
        return "TEXT"
    if "BLOB" in name or not name or (strict and name == "ANY"):
        return "BLOB"
    if any(part in name for part in ("REAL", "FLOA", "DOUB")):
        return "REAL"
    return "NUMERIC"


def is_own(name: str) -> bool:
    """Whether an object belongs to SQLite or to cutover."""
    return name.lower().startswith(("sqlite_", "_cutover_"))


def read_sqlite_schema(connection: sqlite3.Connection) -> SqliteSchema:
    """Read the main database's schema in one read transaction. Raises `sqlite3.Error` as SQLite does."""
    with _one_snapshot(connection):
        return _Reader(connection).read()


@contextmanager
def _one_snapshot(connection: sqlite3.Connection) -> Iterator[None]:
    if connection.in_transaction:
        yield
        return
    connection.execute("BEGIN")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")


_MOST_KNOWN = 2000
_Told = tuple[str, str, tuple[tuple[str, str], ...], tuple[tuple[str, ...], ...]]
_known: dict[_Told, SqliteTable] = {}
"""Tables by name, text, indexes and the keys of parents. A schema is read again after each change of one table, and
asking SQLite of all the others costs milliseconds for each."""


def _remembered(told: _Told, read: Callable[[], SqliteTable]) -> SqliteTable:
    known = _known.get(told)
    if known is None:
        known = _known[told] = read()
        if len(_known) > _MOST_KNOWN:
            _known.pop(next(iter(_known)), None)  # another thread may have done it
    return known


class _Reader:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._cursor = connection.cursor()
        self._cursor.row_factory = None

    def _all(self, sql: str, *args: object) -> list[tuple[Any, ...]]:
        return self._cursor.execute(sql, args).fetchall()

    def read(self) -> SqliteSchema:
        kinds = {
            name: kind
            for schema, name, kind in self._all("SELECT schema, name, type FROM pragma_table_list")
            if schema == "main" and not is_own(name)
        }
        master = [
            row
            for row in self._all("SELECT type, name, tbl_name, sql FROM main.sqlite_master ORDER BY name")
            if not is_own(row[1])
        ]
        texts = {name: sql for kind, name, _, sql in master if kind == "table"}
        indexes = defaultdict[str, list[tuple[str, str]]](list)
        for kind, name, of, sql in master:
            if kind == "index":
                indexes[of].append((name, sql))
        return SqliteSchema(
            tables=tuple(
                self._known_table(name, sql, tuple(indexes[name]))
                for name, sql in texts.items()
                if kinds.get(name) == "table"
            ),
            virtual_tables=tuple(
                SqliteObject(name, "", sql) for name, sql in texts.items() if kinds.get(name) == "virtual"
            ),
            shadow_tables=tuple(name for name in texts if kinds.get(name) == "shadow"),
            triggers=tuple(SqliteObject(name, of, sql) for kind, name, of, sql in master if kind == "trigger"),
            views=tuple(SqliteObject(name, of, sql) for kind, name, of, sql in master if kind == "view"),
        )

    def _known_table(self, name: str, sql: str, indexes: tuple[tuple[str, str], ...]) -> SqliteTable:
        """A table is what its texts say, but for the keys of parents that it does not name."""
        known = _remembered((name, sql, indexes, ()), lambda: self._table(name, sql))
        if all(key.parent_columns for key in known.foreign_keys):
            return known
        theirs = tuple(key.parent_columns or self._primary_key(key.parent) for key in known.foreign_keys)
        keys = tuple(replace(key, parent_columns=it) for key, it in zip(known.foreign_keys, theirs, strict=True))
        return _remembered((name, sql, indexes, theirs), lambda: replace(known, foreign_keys=keys))

    def _table(self, name: str, sql: str) -> SqliteTable:
        text = read_create_table(sql)
        info = self._all('SELECT name, type, "notnull", dflt_value, pk, hidden FROM pragma_table_xinfo(?)', name)
        primary_key = tuple(row[0] for row in sorted(info, key=lambda row: row[4]) if row[4])
        indexes = self._indexes(name)
        is_alias = bool(primary_key) and not any(index.origin == "pk" for index in indexes)
        columns = tuple(_column(row, text) for row in info)
        if not primary_key and _needs_rowid(columns, indexes):
            columns += (SqliteColumn(ROWID, "INTEGER", "INTEGER", True, None, "BINARY", hidden=True),)  # not null
            primary_key, is_alias = (ROWID,), True
        return SqliteTable(
            name=name,
            columns=columns,
            primary_key=primary_key,
            # Exactly the INTEGER PRIMARY KEY has no index of its own; "INTEGER PRIMARY KEY DESC" has one.
            rowid_alias=primary_key[0] if is_alias else None,
            without_rowid=text.without_rowid,
            strict=text.strict,
            autoincrement=text.autoincrement,
            indexes=indexes,
            foreign_keys=self._foreign_keys(name, text.deferred),
            checks=tuple(text.checks),
            conflict=tuple(clause.action for clause in text.clauses),
            sql=sql,
        )

    def _indexes(self, table: str) -> tuple[SqliteIndex, ...]:
        found = self._all('SELECT name, "unique", origin FROM pragma_index_list(?) ORDER BY name', table)
        return tuple(self._index(name, bool(unique), origin) for name, unique, origin in found)

    def _index(self, name: str, unique: bool, origin: Literal["c", "u", "pk"]) -> SqliteIndex:
        texts = self._all("SELECT sql FROM main.sqlite_master WHERE type = 'index' AND name = ?", name)
        sql = texts[0][0] or "" if texts else ""
        written, where = read_create_index(sql) if sql else ([], None)
        terms, columns = list[tuple[str, str, bool]](), list[str | None]()
        for number, column, descending, collation in self._all(
            'SELECT seqno, name, "desc", coll FROM pragma_index_xinfo(?) WHERE key = 1 ORDER BY seqno', name
        ):
            sql_of_term = quoted(column) if column is not None else written[number]
            terms.append((sql_of_term, collation.upper(), bool(descending)))
            columns.append(column)
        return SqliteIndex(name, unique, origin, tuple(terms), tuple(columns), where, sql)

    def _foreign_keys(self, table: str, deferred: list[bool]) -> tuple[SqliteForeignKey, ...]:
        found = dict[int, list[tuple[Any, ...]]]()
        for row in self._all(
            'SELECT id, "table", "from", "to", on_update, on_delete FROM pragma_foreign_key_list(?) ORDER BY id, seq',
            table,
        ):
            found.setdefault(row[0], []).append(row[1:])
        # SQLite numbers foreign keys from the last one written to the first.
        late = [*reversed(deferred)] if len(deferred) == len(found) else [False] * len(found)
        return tuple(
            SqliteForeignKey(
                columns=tuple(row[1] for row in rows),
                parent=rows[0][0],
                parent_columns=tuple(row[2] for row in rows) if rows[0][2] else (),  # `_known_table` fills them in
                on_update=rows[0][3],
                on_delete=rows[0][4],
                deferred=late[number],
            )
            for number, rows in sorted(found.items(), reverse=True)
        )

    def _primary_key(self, table: str) -> tuple[str, ...]:
        return tuple(row[0] for row in self._all("SELECT name FROM pragma_table_info(?) WHERE pk ORDER BY pk", table))


def _needs_rowid(columns: Sequence[SqliteColumn], indexes: Sequence[SqliteIndex]) -> bool:
    """Whether no constraint is sure to tell the rows apart, and SQLite can be asked for the rowid.

    An index that was made by itself can go again, and the key with it.
    """
    sure = {column.name for column in columns if column.not_null and not column.generated}
    if any(index.origin == "u" and sure.issuperset(index.columns) for index in indexes):
        return False
    return all(column.name.lower() != ROWID for column in columns)


def _column(row: tuple[Any, ...], text: TableText) -> SqliteColumn:
    name, declared, not_null, default, _, hidden = row
    said = text.columns.get(name.lower())
    return SqliteColumn(
        name=name,
        declared=declared,
        affinity=affinity_of(declared, strict=text.strict),
        not_null=bool(not_null),
        default=default,
        collation=said.collation if said else "BINARY",
        generated=((said and said.generated) or "?") if hidden else "",
    )
