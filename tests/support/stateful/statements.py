"""Statements of generated programs, each in SQLite's dialect and, for native clients, in Postgres's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from tests.support.stateful.schema import Row, Schema, Value

Sql = tuple[str, tuple[Value, ...]]
Where = tuple[tuple[str, Value], ...]
"""Columns and the values they must have; no columns: every row."""


@dataclass(frozen=True)
class Insert:
    """Rows of these columns. A key that is left out is the store's to give, and is returned."""

    table: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    conflict: Literal["", "IGNORE", "REPLACE"] = ""

    def assigned(self) -> Iterator[tuple[str, Value]]:
        """Columns with what is written there."""
        for row in self.rows:
            yield from zip(self.columns, row, strict=True)

    def returning(self, schema: Schema) -> bool:
        return schema.table(self.table).automatic and "k" not in self.columns

    def with_keys(self, keys: Sequence[Value]) -> Insert:
        """The same with the keys that were given."""
        rows = tuple((key, *row) for key, row in zip(keys, self.rows, strict=True))
        return Insert(self.table, ("k", *self.columns), rows, self.conflict)

    def _text(self, schema: Schema, opening: str, closing: str, values: str) -> Sql:
        returning = " RETURNING k" if self.returning(schema) else ""
        into = f"{opening} INTO {self.table} ({', '.join(self.columns)}) VALUES {values}"
        return f"{into}{closing}{returning}", tuple(value for row in self.rows for value in row)

    def sqlite(self, schema: Schema) -> Sql:
        row = f"({', '.join('?' * len(self.columns))})"
        opening = f"INSERT OR {self.conflict}" if self.conflict else "INSERT"
        return self._text(schema, opening, "", ", ".join([row] * len(self.rows)))

    def native(self, schema: Schema) -> Sql:
        assert self.conflict != "REPLACE"
        closing = " ON CONFLICT DO NOTHING" if self.conflict else ""
        return self._text(schema, "INSERT", closing, _numbered(len(self.columns), len(self.rows)))

    def as_native(self, schema: Schema) -> Sql:
        """What the native one does, in SQLite's dialect."""
        row = f"({', '.join('?' * len(self.columns))})"
        closing = " ON CONFLICT DO NOTHING" if self.conflict else ""
        return self._text(schema, "INSERT", closing, ", ".join([row] * len(self.rows)))


@dataclass(frozen=True)
class Upsert:
    """One row; if its key is there, these columns of it are set."""

    table: str
    columns: tuple[str, ...]
    row: Row
    sets: tuple[str, ...]

    def assigned(self) -> Iterator[tuple[str, Value]]:
        yield from zip(self.columns, self.row, strict=True)

    def _text(self, schema: Schema, values: str) -> Sql:
        key = ", ".join(schema.table(self.table).key_names)
        action = (
            f"UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in self.sets)}" if self.sets else "NOTHING"
        )
        into = f"INSERT INTO {self.table} ({', '.join(self.columns)}) VALUES {values}"
        return f"{into} ON CONFLICT ({key}) DO {action}", self.row

    def sqlite(self, schema: Schema) -> Sql:
        return self._text(schema, f"({', '.join('?' * len(self.columns))})")

    def native(self, schema: Schema) -> Sql:
        return self._text(schema, _numbered(len(self.columns), 1))

    as_native = sqlite


@dataclass(frozen=True)
class Update:
    """Columns set to values."""

    table: str
    sets: tuple[tuple[str, Value], ...]
    where: Where = ()
    conflict: Literal["", "REPLACE"] = ""

    def assigned(self) -> Iterator[tuple[str, Value]]:
        yield from self.sets

    def sqlite(self, schema: Schema) -> Sql:
        opening = f"UPDATE OR {self.conflict}" if self.conflict else "UPDATE"
        sets = ", ".join(f"{name} = ?" for name, _ in self.sets)
        condition, values = _where(self.where)
        return f"{opening} {self.table} SET {sets}{condition}", (*(value for _, value in self.sets), *values)

    def native(self, schema: Schema) -> Sql:
        assert not self.conflict
        sets = ", ".join(f"{name} = ${at}" for at, (name, _) in enumerate(self.sets, 1))
        condition = _where_native(schema, self.table, self.where, len(self.sets) + 1)
        values = (*(value for _, value in self.sets), *(value for _, value in self.where))
        return f"UPDATE {self.table} SET {sets}{condition}", values

    def as_native(self, schema: Schema) -> Sql:
        sets = ", ".join(f"{name} = ?" for name, _ in self.sets)
        condition, values = _where(self.where, " COLLATE BINARY")
        return f"UPDATE {self.table} SET {sets}{condition}", (*(value for _, value in self.sets), *values)


@dataclass(frozen=True)
class Delete:
    """Rows that are there no more."""

    table: str
    where: Where = ()

    def assigned(self) -> Iterator[tuple[str, Value]]:
        yield from ()

    def sqlite(self, schema: Schema) -> Sql:
        condition, values = _where(self.where)
        return f"DELETE FROM {self.table}{condition}", values

    def native(self, schema: Schema) -> Sql:
        condition = _where_native(schema, self.table, self.where, 1)
        return f"DELETE FROM {self.table}{condition}", tuple(value for _, value in self.where)

    def as_native(self, schema: Schema) -> Sql:
        condition, values = _where(self.where, " COLLATE BINARY")
        return f"DELETE FROM {self.table}{condition}", values


@dataclass(frozen=True)
class Shift:
    """Many rows get another value of this column, computed from the old one; those that have had it keep it.

    So whether two values meet does not depend on the order in which rows are changed.
    """

    table: str
    column: str

    def assigned(self) -> Iterator[tuple[str, Value]]:
        yield from ()

    def sqlite(self, schema: Schema) -> Sql:
        kind = next(column.kind for column in schema.columns(self.table) if column.name == self.column)
        value, limit = (f"'~' || {self.column}", "'~'") if kind == "TEXT" else (f"{self.column} + 5000", "100")
        return f"UPDATE {self.table} SET {self.column} = {value} WHERE {self.column} < {limit}", ()

    native = as_native = sqlite


@dataclass(frozen=True)
class Truncate:
    """Native alone: this table and those that refer to it are empty, and no foreign key acts."""

    table: str

    def assigned(self) -> Iterator[tuple[str, Value]]:
        yield from ()

    def native(self, schema: Schema) -> Sql:
        return f"TRUNCATE {self.table} CASCADE", ()

    def emptied(self, schema: Schema) -> list[str]:
        """Children first."""
        found = [self.table]
        for name in found:
            found += [child.name for child in schema.children(name) if child.name not in found]
        return found[::-1]


Portable = Insert | Upsert | Update | Delete | Shift
Statement = Portable | Truncate


def _numbered(columns: int, rows: int) -> str:
    return ", ".join(
        "(" + ", ".join(f"${row * columns + at}" for at in range(1, columns + 1)) + ")" for row in range(rows)
    )


def _where(where: Where, collation: str = "") -> Sql:
    """`IS` finds NULL as well."""
    condition = " AND ".join(f"{name}{collation} IS ?" for name, _ in where)
    return f" WHERE {condition}" if where else "", tuple(value for _, value in where)


def _where_native(schema: Schema, table: str, where: Where, first: int) -> str:
    types = {"TEXT": "text", "INTEGER": "bigint", "REAL": "double precision", "BLOB": "bytea"}
    kinds = {column.name: types[column.kind] for column in schema.columns(table)}
    parts = (f"{name} IS NOT DISTINCT FROM ${at}::{kinds[name]}" for at, (name, _) in enumerate(where, first))
    return f" WHERE {' AND '.join(parts)}" if where else ""
