"""Fills the tables of an application that uses SQLAlchemy, through the application's own table definitions.

Every type gets values from its edges, every foreign key a parent that exists; what a constraint refuses is left out.
"""

from __future__ import annotations

import datetime as dt
import enum
import uuid
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from tests.frameworks.obeying import Reading, by_key, plain

Values = Mapping[str, Callable[[int], Any]]
"""By the name of the type's class, or of the column with a dot before it: the value number n."""

_MOMENT = dt.datetime(2024, 2, 29, 23, 59, 58)  # noqa: DTZ001  # zone comes later
_TEXTS = ("", "plain", "Zoë 🐘", 'it\'s; -- "quoted"', "line\nline\t", "0012", "null", "true", "1e5", "2024-01-01")
_JSON: tuple[Any, ...] = ({"b": 1, "a": [None, True, "ü"]}, {}, [1, 2.5, "x"], {"deep": {"er": {"": 2**53}}})
_FLOATS = (0.0, 1.5, -2.25, 1e-300, 0.1, 1e22, 3.0)


class Filler:
    """Adds, changes and removes rows of every table of one `MetaData`."""

    def __init__(
        self, engine: sa.Engine, metadata: sa.MetaData, values: Values | None = None, *, skip: tuple[str, ...] = ()
    ) -> None:
        self.engine = engine
        if engine.dialect.name == "sqlite":
            sa.event.listen(engine, "connect", lambda raw, _: raw.execute("PRAGMA foreign_keys = ON"))
            engine.dispose()  # connections from before know nothing of it
        self.tables = [table for table in metadata.sorted_tables if table.name not in skip]
        self.values = values or {}
        self.refused: dict[str, str] = {}
        """By table: why a row was refused."""

    def write(self, turn: int, rows: int = 6) -> None:
        """Another turn: new rows, some old ones changed, some of the newest removed."""
        first = turn * 100
        for table in self.tables:
            added = 0
            for number in range(first, first + rows):
                added += self._try(lambda c, t=table, n=number: c.execute(t.insert().values(self._row(c, t, n))), table)
            if not added and table.name not in self.refused:
                self.refused[table.name] = "nothing"
        for table in self.tables:
            self._try(lambda c, t=table: self._change(c, t, first + 50), table)
        for table in reversed(self.tables):
            self._try(lambda c, t=table: self._remove(c, t), table)

    def read(self) -> Reading:
        """Every row as SQLAlchemy gives it."""
        found: Reading = {}
        with self.engine.connect() as connection:
            for table in self.tables:
                keys = list(table.primary_key.columns) or list(table.columns)
                columns = [*keys, *(column for column in table.columns if column not in keys)]
                rows = connection.execute(sa.select(*columns)).fetchall()
                plain = sorted((tuple(map(_plain, row)) for row in rows), key=repr)
                found[table.fullname] = by_key(plain, len(keys))
        return found

    def _try(self, act: Callable[[sa.Connection], Any], table: sa.Table) -> bool:
        try:
            with self.engine.begin() as connection:
                act(connection)
        except (sa.exc.IntegrityError, sa.exc.StatementError, NotImplementedError) as error:
            if "cutover" in str(error):
                raise
            self.refused.setdefault(table.name, str(error)[:200])
            return False
        return True

    def _row(self, connection: sa.Connection, table: sa.Table, number: int) -> dict[str, Any]:
        row: dict[str, Any] = {}
        for constraint in table.foreign_key_constraints:
            row |= _parent(connection, constraint, number)
        for column in table.columns:
            if column.name in row or _given_by_database(column):
                continue
            if column.nullable and number % 5 == 4:
                continue
            row[column.name] = self._value(column, number)
        return {column.key: row[column.name] for column in table.columns if column.name in row}

    def _change(self, connection: sa.Connection, table: sa.Table, number: int) -> None:
        free = [c for c in table.columns if not (c.primary_key or c.foreign_keys or c.unique or _given_by_database(c))]
        keys = list(table.primary_key.columns)
        if not free or not keys:
            return
        for index, key in enumerate(connection.execute(sa.select(*keys).order_by(*keys).limit(4)).fetchall()):
            where = sa.and_(*(column == value for column, value in zip(keys, key, strict=True)))
            changed = {column: self._value(column, number + index) for column in free[index::4]}
            if changed:
                connection.execute(table.update().where(where).values(changed))

    def _remove(self, connection: sa.Connection, table: sa.Table) -> None:
        keys = list(table.primary_key.columns)
        if not keys:
            return
        newest = connection.execute(sa.select(*keys).order_by(*(key.desc() for key in keys)).limit(1)).fetchone()
        if newest is not None:
            connection.execute(
                table.delete().where(sa.and_(*(column == value for column, value in zip(keys, newest, strict=True))))
            )

    def _value(self, column: sa.Column[Any], number: int) -> Any:
        kind = column.type
        for name in (f".{column.name}", *(each.__name__ for each in type(kind).__mro__)):
            if name in self.values:
                return self.values[name](number)
        if isinstance(kind, sa.types.TypeDecorator):
            kind = kind.impl_instance if hasattr(kind, "impl_instance") else kind.impl
        unique = column.unique or column.primary_key
        return _of_type(kind, number, unique=bool(unique), label=column.name)


def _of_type(kind: Any, number: int, *, unique: bool, label: str) -> Any:  # noqa: C901  # one per type
    if isinstance(kind, sa.Enum):
        members = list(kind.enum_class) if kind.enum_class else kind.enums
        return members[number % len(members)]
    if isinstance(kind, sa.Boolean):
        return number % 2 == 0
    if isinstance(kind, sa.Interval):
        return dt.timedelta(days=number % 9, microseconds=number * 1000)
    if isinstance(kind, sa.DateTime):
        zone = dt.UTC if kind.timezone else None
        return (_MOMENT + dt.timedelta(hours=number, microseconds=number % 3 * 1001)).replace(tzinfo=zone)
    if isinstance(kind, sa.Date):
        return _MOMENT.date() + dt.timedelta(days=number)
    if isinstance(kind, sa.Time):
        return dt.time(number % 24, 0, 0, number % 3)
    if isinstance(kind, sa.Uuid):
        return uuid.UUID(int=number + 1) if kind.as_uuid else str(uuid.UUID(int=number + 1))
    if isinstance(kind, sa.JSON):
        return _JSON[number % len(_JSON)]
    if isinstance(kind, sa.LargeBinary):
        return bytes([number % 256, 0, 255])
    if isinstance(kind, sa.Float):
        return _FLOATS[number % len(_FLOATS)]
    if isinstance(kind, sa.Numeric):
        return Decimal(number).scaleb(-(kind.scale or 2) if number % 2 else 0)
    if isinstance(kind, sa.SmallInteger | sa.BigInteger | sa.Integer):
        return number + 1
    length = getattr(kind, "length", None) or 40
    text = f"{label}-{number}" if unique or number % 3 else _TEXTS[number % len(_TEXTS)]
    return text[-length:]


def _given_by_database(column: sa.Column[Any]) -> bool:
    automatic = column is column.table.autoincrement_column
    return bool(automatic or column.computed is not None or column.identity is not None)


def _parent(connection: sa.Connection, constraint: sa.ForeignKeyConstraint, number: int) -> dict[str, Any]:
    columns = list(constraint.columns)
    theirs = [element.column for element in constraint.elements]
    itself = theirs[0].table is constraint.table
    if itself and all(column.nullable for column in columns) and number % 2:
        return dict.fromkeys(column.name for column in columns)
    rows = connection.execute(sa.select(*theirs).order_by(*theirs).limit(50)).fetchall()
    if not rows:
        return dict.fromkeys(column.name for column in columns)
    return {column.name: value for column, value in zip(columns, rows[number % len(rows)], strict=True)}


def _plain(value: Any) -> Any:
    if isinstance(value, dt.datetime) and value.tzinfo is not None:
        return value.astimezone(dt.UTC).replace(tzinfo=None)
    return value.name if isinstance(value, enum.Enum) else plain(value)
