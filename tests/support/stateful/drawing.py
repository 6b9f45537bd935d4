"""Random statements on one schema. Values come from small pools, so that keys and unique values meet each other."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.support.stateful.schema import Column, Schema, Table, Value
from tests.support.stateful.statements import Delete, Insert, Shift, Statement, Truncate, Update, Upsert, Where

Draw = st.DrawFn

POOLS: dict[str, list[Value]] = {
    "TEXT": ["a", "A", "b", "B", "anon", "", "é", "É", "1", "x'y", "a b"],
    "INTEGER": [1, 2, 3, 7, 0, -1, 2**31, 2**53 + 1, -(2**63), 2**63 - 1],
    "REAL": [1.0, 1.5, 0.0, -2.25, 0.1, 1e300, float("inf"), 5e-324],
    "BLOB": [b"a", b"A", b"", b"\x00\xff"],
}
KEY_POOLS: dict[str, list[Value]] = {
    "TEXT": ["a", "b", "A", "é", ""],
    "INTEGER": [1, 2, 3, 4, -1, 2**40],
    "REAL": [1.0, 1.5, 0.0, -2.25],
    "BLOB": [b"a", b"b", b"", b"\x00"],
}
CONVERTED: dict[str, list[Value]] = {"TEXT": [1], "INTEGER": ["2", 3.0], "REAL": [2, "1.5"], "BLOB": [b"c"]}
"""What SQLite stores as a value of the column's type."""
MISFITS: dict[str, list[Value]] = {
    "TEXT": [b"a", "a\x00b"],
    "INTEGER": ["x", 1.5],
    "REAL": ["x", b"a"],
    "BLOB": ["a", 1],
}
"""What it stores as it is, and Postgres does not."""


def rarely(draw: Draw, one_in: int) -> bool:
    """True once in so many times."""
    return draw(st.integers(1, one_in)) == one_in


class Statements:
    """Statements on one schema."""

    def __init__(self, schema: Schema, *, misfits: bool, native: bool) -> None:
        self.schema, self.native = schema, native
        self.misfits = misfits and not native
        """Whether a value may be one that SQLite takes and Postgres does not."""

    def value(self, draw: Draw, table: Table, column: Column, *, exact: bool = False) -> Value:
        """A value for a column; `exact`: of its own type and not NULL where it cannot be."""
        is_key = column.name in table.key_names or column.name == "up"
        pool = list((KEY_POOLS if is_key else POOLS)[column.kind])
        automatic = table.automatic and column.name == "k"
        never_null = automatic or (table.key == "nullable" and is_key and not self.misfits)
        if not exact and not self.native and not automatic and rarely(draw, 6):
            pool = CONVERTED[column.kind] if not self.misfits or draw(st.booleans()) else MISFITS[column.kind]
        elif column.nullable or (table.key == "nullable" and column.name == "k" and self.misfits):
            pool = [None, *pool]
        elif not exact and not never_null and rarely(draw, 8):
            pool = [None]
        return draw(st.sampled_from(pool))

    def row(self, draw: Draw, table: Table, names: tuple[str, ...]) -> tuple[Value, ...]:
        """Values for these columns."""
        columns = {column.name: column for column in self.schema.columns(table.name)}
        return tuple(self.value(draw, table, columns[name]) for name in names)

    def names(self, draw: Draw, table: Table, *, key: bool) -> tuple[str, ...]:
        """Some columns, in order; `key`: those of the key for sure."""
        found = []
        for column in self.schema.columns(table.name):
            if column.name in table.key_names:
                if key:
                    found.append(column.name)
            elif draw(st.booleans()):
                found.append(column.name)
        return tuple(found)

    def key_of(self, draw: Draw, table: Table) -> Where:
        """The key of one row."""
        return tuple((column.name, self.value(draw, table, column, exact=True)) for column in table.key_columns)

    def where(self, draw: Draw, table: Table) -> Where:
        """One row, those of a value, or all."""
        kind = draw(st.integers(0, 5))
        if kind < 3:
            return self.key_of(draw, table)
        if kind == 3:
            return ()
        column = draw(st.sampled_from(self.schema.columns(table.name)))
        return ((column.name, self.value(draw, table, column, exact=True)),)

    def insert(self, draw: Draw, table: Table) -> Insert:
        """Rows with a key, or one without."""
        automatic = table.automatic and draw(st.booleans())
        names = self.names(draw, table, key=not automatic) or ("v",)
        conflicts = ["", "REPLACE"] if automatic else ["", "", "IGNORE", "REPLACE", "REPLACE"]
        conflict = draw(st.sampled_from([each for each in conflicts if not (self.native and each == "REPLACE")]))
        rows = draw(st.integers(1, 3))
        return Insert(table.name, names, tuple(self.row(draw, table, names) for _ in range(rows)), conflict)

    def upsert(self, draw: Draw, table: Table) -> Insert | Upsert:
        """A row that may be there."""
        if self.native and "NOCASE" in str(table.key_columns):
            return self.insert(draw, table)  # two unique indexes there, of which ON CONFLICT names one
        names = self.names(draw, table, key=True)
        others = [name for name in names if name not in table.key_names]
        sets = tuple(name for name in others if draw(st.booleans()))
        return Upsert(table.name, names, self.row(draw, table, names), sets)

    def update(self, draw: Draw, table: Table) -> Update:
        """Values, or the key."""
        where = self.key_of(draw, table) if table.triggers else self.where(draw, table)
        one = {name for name, _ in where} >= set(table.key_names)
        columns = [c for c in self.schema.columns(table.name) if one or c.name not in table.key_names]
        chosen = draw(st.lists(st.sampled_from(columns), unique_by=lambda column: column.name, min_size=1, max_size=2))
        sets = tuple((column.name, self.value(draw, table, column)) for column in chosen)
        replace = one and not self.native and rarely(draw, 4)
        return Update(table.name, sets, where, "REPLACE" if replace else "")

    def key_change(self, draw: Draw, table: Table) -> Update:
        """One row gets another key."""
        column = draw(st.sampled_from(table.key_columns))
        return Update(table.name, ((column.name, self.value(draw, table, column)),), self.key_of(draw, table))

    def shift(self, draw: Draw, table: Table) -> Statement:
        """Values of many rows, where the order does not matter."""
        if table.triggers:
            return self.update(draw, table)
        names = [c.name for c in self.schema.columns(table.name) if c.name in ("k", "l", "h", "p") and c.kind != "BLOB"]
        return Shift(table.name, draw(st.sampled_from(names)))

    def swap(self, draw: Draw) -> tuple[Statement, ...]:
        """Two rows exchange a value that may be unique."""
        table = draw(st.sampled_from(self.schema.tables))
        name, one, two, between = draw(st.sampled_from([("h", "a", "b", "-"), ("n", 1, 2, -7), ("p", "a", "A", "-")]))
        moves: list[tuple[Value, Value]] = [(one, between), (two, one), (between, two)]
        return tuple(Update(table.name, ((name, new),), ((name, old),)) for old, new in moves)

    def any(self, draw: Draw) -> Statement:
        """One statement."""
        table = draw(st.sampled_from(self.schema.tables))
        kinds = ["insert"] * 5 + ["upsert", "update", "update", "key", "shift", "delete", "truncate"]
        kind = draw(st.sampled_from(kinds))
        if kind == "shift":
            return self.shift(draw, table)
        if kind == "insert":
            return self.insert(draw, table)
        if kind == "upsert":
            return self.upsert(draw, table)
        if kind == "update":
            return self.update(draw, table)
        if kind == "key":
            return self.key_change(draw, table)
        if kind == "truncate" and self.native:
            return Truncate(table.name)
        return Delete(table.name, self.where(draw, table))
