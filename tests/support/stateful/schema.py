"""Schemas of generated programs: recipes that are short to print, and what SQLite is told to make of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

Kind = Literal["TEXT", "INTEGER", "REAL", "BLOB"]
Value = int | float | str | bytes | None
Row = tuple[Value, ...]

_TYPES: dict[Kind, type] = {"TEXT": str, "INTEGER": int, "REAL": float, "BLOB": bytes}


@dataclass(frozen=True)
class Column:
    """One column; `kind` is its affinity, and what Postgres holds there."""

    name: str
    kind: Kind
    ddl: str
    nullable: bool = True


def _key(*columns: tuple[str, Kind, str]) -> tuple[Column, ...]:
    return tuple(Column(name, kind, ddl, nullable=False) for name, kind, ddl in columns)


KEYS: dict[str, tuple[Column, ...]] = {
    "text": _key(("k", "TEXT", "TEXT NOT NULL PRIMARY KEY")),
    "nullable": _key(("k", "TEXT", "TEXT PRIMARY KEY")),
    "nocase": _key(("k", "TEXT", "TEXT COLLATE NOCASE NOT NULL PRIMARY KEY")),
    "integer": _key(("k", "INTEGER", "INTEGER PRIMARY KEY")),
    "counted": _key(("k", "INTEGER", "INTEGER PRIMARY KEY AUTOINCREMENT")),
    "int": _key(("k", "INTEGER", "INT NOT NULL PRIMARY KEY")),
    "real": _key(("k", "REAL", "REAL NOT NULL PRIMARY KEY")),
    "blob": _key(("k", "BLOB", "BLOB NOT NULL PRIMARY KEY")),
    "unique": _key(("k", "TEXT", "TEXT NOT NULL UNIQUE")),
    "pair": _key(("k", "TEXT", "TEXT NOT NULL"), ("l", "INTEGER", "INTEGER NOT NULL")),
    "turned": _key(("k", "TEXT", "TEXT COLLATE NOCASE NOT NULL"), ("l", "REAL", "REAL NOT NULL")),
}
_CLAUSES = {"pair": "PRIMARY KEY (k, l)", "turned": "PRIMARY KEY (l, k)"}
AUTOMATIC = ("integer", "counted")
PLAIN_TEXT = ("text", "nocase", "nullable", "unique")
"""Keys of one text, as the trigger that evicts rows needs."""
MAY_LACK_ROWID = ("text", "nocase", "int", "real", "blob", "pair", "turned")
MAY_BE_PARENTS = ("text", "integer", "counted", "int", "real", "blob", "unique")
"""Keys that one column can refer to on Postgres as well."""

HS = {
    "plain": Column("h", "TEXT", "TEXT"),
    "default": Column("h", "TEXT", "TEXT NOT NULL DEFAULT 'anon'", nullable=False),
    "unique": Column("h", "TEXT", "TEXT UNIQUE"),
    "both": Column("h", "TEXT", "TEXT NOT NULL DEFAULT 'anon' UNIQUE", nullable=False),
    "nocase": Column("h", "TEXT", "TEXT COLLATE NOCASE UNIQUE"),
}
NS = {
    "plain": Column("n", "INTEGER", "INTEGER"),
    "default": Column("n", "INTEGER", "INTEGER NOT NULL DEFAULT 7", nullable=False),
    "unique": Column("n", "INTEGER", "INTEGER UNIQUE"),
}
INDEXES = {
    "partial": "CREATE UNIQUE INDEX {0}_partial ON {0} (n) WHERE p IS NOT NULL",
    "positive": "CREATE UNIQUE INDEX {0}_positive ON {0} (p) WHERE n > 1",
    "lower": "CREATE UNIQUE INDEX {0}_lower ON {0} (lower(h))",
    "fold": "CREATE UNIQUE INDEX {0}_fold ON {0} (p COLLATE NOCASE)",
    "two": "CREATE UNIQUE INDEX {0}_two ON {0} (n, p)",
    "none": "CREATE UNIQUE INDEX {0}_none ON {0} (coalesce(p, 'none'), h)",
    "real": "CREATE UNIQUE INDEX {0}_real ON {0} (r)",
    "blob": "CREATE UNIQUE INDEX {0}_blob ON {0} (b DESC)",
}
GENERATED = {"": "", "stored": "g TEXT AS (h || coalesce(p, '')) STORED", "virtual": "g TEXT AS (lower(h)) VIRTUAL"}
TRIGGERS = {
    "seen": "AFTER INSERT ON {0} WHEN NEW.n = 2 BEGIN UPDATE {0} SET v = 'seen' WHERE n = 1; END",
    "gone": "AFTER DELETE ON {0} WHEN OLD.n = 2 BEGIN DELETE FROM {0} WHERE n = 1; END",
    "evicts": "AFTER UPDATE OF h ON {0} BEGIN INSERT OR REPLACE INTO {0} (k, h, n) VALUES ('z', 'anon', 5); END",
    "makes room": "BEFORE INSERT ON {0} WHEN NEW.n = 3 BEGIN DELETE FROM {0} WHERE h = 'anon'; END",
    "follows": "AFTER UPDATE OF h ON {0} BEGIN UPDATE {0} SET v = 'was ' || coalesce(OLD.h, '') WHERE n = 7; END",
}


@dataclass(frozen=True)
class Reference:
    """Column `up` of a child."""

    parent: str
    action: str = ""
    """What follows the parent's columns: ON DELETE CASCADE and the like."""


@dataclass(frozen=True)
class Table:
    """Columns: the key (k, and l), h, n, r, b, p, v, and `up` in a child. `v` is in no index and no condition."""

    name: str
    key: str = "text"
    without_rowid: bool = False
    h: str = "plain"
    n: str = "plain"
    indexes: tuple[str, ...] = ()
    generated: str = ""
    triggers: tuple[str, ...] = ()
    up: Reference | None = None

    @property
    def key_columns(self) -> tuple[Column, ...]:
        """In the order of columns."""
        return KEYS[self.key]

    @property
    def key_names(self) -> tuple[str, ...]:
        """In the order of the key."""
        names = tuple(column.name for column in self.key_columns)
        return names[::-1] if self.key == "turned" else names

    @property
    def automatic(self) -> bool:
        """Whether the key may be left to the store."""
        return self.key in AUTOMATIC

    @property
    def unique_keys(self) -> int:
        """Number of unique indexes, the key's included."""
        constraints = sum("UNIQUE" in column.ddl for column in (HS[self.h], NS[self.n]))
        return 1 + constraints + len(self.indexes)

    def application_triggers(self) -> dict[str, str]:
        """CREATE statements by name."""
        made = {}
        for number, trigger in enumerate(self.triggers):
            name = f"{self.name}_app_{number}"
            made[name] = f"CREATE TRIGGER {name} {TRIGGERS[trigger].format(self.name)}"
        return made


@dataclass(frozen=True)
class Schema:
    """Tables, parents before children."""

    tables: tuple[Table, ...]

    def table(self, name: str) -> Table:
        return next(table for table in self.tables if table.name == name)

    @cached_property
    def _columns(self) -> dict[str, tuple[Column, ...]]:
        found = {}
        for table in self.tables:
            plain = (
                *(Column(name, kind, kind) for name, kind in (("r", "REAL"), ("b", "BLOB"), ("p", "TEXT"))),
                Column("v", "TEXT", "TEXT"),
            )
            up = (self._up(table.up),) if table.up else ()
            found[table.name] = (*table.key_columns, HS[table.h], NS[table.n], *plain, *up)  # type: ignore[misc]
        return found

    def _up(self, reference: Reference) -> Column:
        (key,) = self.table(reference.parent).key_columns
        return Column("up", key.kind, f"{key.kind} REFERENCES {reference.parent} (k) {reference.action}".strip())

    def columns(self, name: str) -> tuple[Column, ...]:
        """The columns that rows are written and compared with."""
        return self._columns[name]

    def children(self, name: str) -> tuple[Table, ...]:
        return tuple(table for table in self.tables if table.up is not None and table.up.parent == name)

    def ddl(self) -> list[str]:
        """Everything but the application's triggers."""
        made = []
        for table in self.tables:
            parts = [f"{column.name} {column.ddl}" for column in self.columns(table.name)]
            parts += filter(None, (GENERATED[table.generated], _CLAUSES.get(table.key, "")))
            made.append(
                f"CREATE TABLE {table.name} ({', '.join(parts)})" + (" WITHOUT ROWID" if table.without_rowid else "")
            )
            made += [INDEXES[index].format(table.name) for index in table.indexes]
        return made

    def triggers(self) -> dict[str, str]:
        """The application's, by name."""
        return {name: sql for table in self.tables for name, sql in table.application_triggers().items()}


def fits(column: Column, value: Value) -> bool:
    """Whether Postgres can hold this value, as SQLite stores it, in this column."""
    if value is None:
        return column.nullable
    return type(value) is _TYPES[column.kind] and not (isinstance(value, str) and "\x00" in value)


def converts(column: Column, value: Value) -> bool:
    """Whether SQLite would store this value as one that `fits`."""
    if column.kind == "BLOB" or value is None:
        return fits(column, value)
    if column.kind == "TEXT":
        return not isinstance(value, bytes) and fits(column, str(value))
    try:
        number = float(value)
    except ValueError:
        return False
    return column.kind == "REAL" or isinstance(value, int) or number.is_integer()
