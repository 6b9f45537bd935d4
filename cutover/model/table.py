"""Tables as both stores know them. Names without `target` are those of the application's SQLite schema."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from functools import cached_property

from cutover.model.values import Key, Row


def number_of(name: str) -> int:
    """The number of a table of that name."""
    return zlib.crc32(name.encode()) & 0x7FFFFFFF


@dataclass(frozen=True)
class Column:
    """One mapped column."""

    name: str
    declared: str
    """The type as written in CREATE TABLE; may be empty."""
    affinity: str
    """INTEGER, TEXT, BLOB, REAL or NUMERIC (https://sqlite.org/datatype3.html, section 3.1)."""
    target: str
    """Its name on Postgres."""
    target_type: str
    """Its type on Postgres as `format_type` prints it: bigint, text, double precision, bytea, jsonb ..."""
    not_null: bool = False
    default: str | None = None
    """SQL text of the default, as SQLite reports it."""
    collation: str = "BINARY"
    target_collation: str | None = None
    """None or "C" where the target compares bytewise; otherwise the collation's name."""
    base_type: str = ""
    """What `target_type` stands for where its name does not say it: `enum`, or the base of a domain."""
    labels: tuple[str, ...] = ()
    """The values of an enum."""
    format: str = ""
    """How SQLite's values are spelled, for the way back; empty where nothing is known."""
    exact: bool = False
    """Part of the key: only values in exactly the column's format are mirrored."""
    hidden: bool = False
    """The rowid of a SQLite table that has no integer key: statements see it by its names only."""
    assumed: bool = False
    """Its format is that of other columns that are declared alike: no value of its own has said it."""
    default_lacks: bool = False
    """The target has no default in its place."""
    nulls_last: bool = field(default=False, compare=False)
    """Indexes of the target have its NULLs behind its values, as Postgres sorts unasked; SQLite has them before."""


@dataclass(frozen=True)
class UniqueIndex:
    """One unique index or constraint of the SQLite table, primary key included."""

    name: str
    terms: tuple[tuple[str, str], ...]
    """(SQL of the column or expression, collation) in index order. Column names are quoted."""
    columns: tuple[str | None, ...]
    """Column name of each term, None for an expression."""
    partial: str | None = None
    """The WHERE text of a partial index."""
    primary_key: bool = False
    lacks: bool = False
    """The target has none that could stand for it."""


@dataclass(frozen=True)
class Unkept:
    """Something that SQLite demands of rows and the target does not."""

    what: str
    """As SQLite writes it."""
    columns: tuple[str, ...]
    """A row with other values in these may break it."""
    deletes: bool = False
    """So may one that goes."""


@dataclass(frozen=True)
class ForeignKey:
    """A foreign key of the target schema, in source names. Used for orphan checks."""

    columns: tuple[str, ...]
    parent: str
    parent_columns: tuple[str, ...]

    def shown(self, child: str, parent: Table | None) -> str:
        """For people. A key of Postgres's joins by bytes, whatever SQLite takes for the same text."""
        told = f"{child}.{', '.join(self.columns)} -> {self.parent}.{', '.join(self.parent_columns)}"
        collations = {column.name: column.collation.upper() for column in parent.columns} if parent else {}
        others = {collations.get(name, "BINARY") for name in self.parent_columns} - {"BINARY"}
        by = f" (by {' and '.join(sorted(others))} on SQLite, by bytes on Postgres)" if others else ""
        return told + by


@dataclass(frozen=True)
class Table:
    """One mapped table. Rows travel as tuples in the order of `columns`, keys in the order of `key`."""

    name: str
    target_schema: str
    target: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    unique: tuple[UniqueIndex, ...] = ()
    unkept: tuple[Unkept, ...] = ()
    foreign_keys: tuple[ForeignKey, ...] = ()
    """Of the target: also those that SQLite itself does not declare."""
    rowid_alias: str | None = None
    """The INTEGER PRIMARY KEY column, if that is what the key is; or the hidden rowid, the key or beside it."""
    autoincrement: bool = False
    keys: str = "sequence"
    """Who gives automatic keys on Postgres: its `sequence`, or the highest key there is, as on `sqlite`."""
    without_rowid: bool = False
    downwards: tuple[str, ...] = field(default=(), compare=False)
    """Columns of the key that SQLite keeps the rows by in descending order, as a WITHOUT ROWID table may have it."""
    sql: str = field(default="", repr=False)
    """CREATE TABLE text on SQLite."""
    checks: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """CHECKs of the target by their names, each with what SQLite calls the one that it stands for."""
    target_shape: tuple[str, ...] = field(default=(), repr=False, compare=False)
    """Name and type of every column that the target had when it was mapped, in order; empty: not known."""

    @cached_property
    def id(self) -> int:
        """Stable number of the table in change logs. The mapping refuses two names with one number."""
        return number_of(self.name)

    @cached_property
    def place(self) -> tuple[str, ...]:
        """The columns that SQLite keeps its rows by, as far as they are mapped: of a table with rowids, the rowid."""
        return (self.rowid_alias,) if self.rowid_alias is not None else self.key

    @property
    def is_numbered(self) -> bool:
        """Whether SQLite's rowid is carried beside a key of other columns."""
        return self.rowid_alias is not None and self.rowid_alias not in self.key

    @cached_property
    def key_indexes(self) -> tuple[int, ...]:
        """Positions of the key columns in a row."""
        names = [column.name for column in self.columns]
        return tuple(names.index(name) for name in self.key)

    @cached_property
    def key_columns(self) -> tuple[Column, ...]:
        """The key's columns in key order."""
        return tuple(self.columns[index] for index in self.key_indexes)

    def key_of(self, row: Row) -> Key:
        """The key of `row`."""
        return tuple([row[index] for index in self.key_indexes])


Tables = tuple[Table, ...]
"""All mapped tables, in name order."""
