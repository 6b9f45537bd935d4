"""What was mapped the last time, kept beside the shadow's control row: what tells a renamed column from a new one.

Nothing is planned from it alone. It only says how the two schemas as they are now came about.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cache, cached_property
from types import NoneType, UnionType
from typing import Any, Union, cast, get_args, get_origin, get_type_hints

from cutover.model.table import Table, Tables
from cutover.schema.postgres_schema import PostgresTable
from cutover.schema.sqlite_schema import SqliteTable


@dataclass(frozen=True)
class Recorded:
    """One table as it was mapped."""

    table: Table
    sqlite: SqliteTable
    """As it was when its constraints were last carried over."""
    postgres: PostgresTable
    made: bool = False
    """cutover created its Postgres table, so that nobody but cutover says what types it has."""

    @cached_property
    def text(self) -> str:
        """As JSON. Most tables stay as they are from one record to the next."""
        return json.dumps(_plain(self), sort_keys=True)


@dataclass(frozen=True)
class Record:
    """All tables that ever were mapped, those that are gone on one side included."""

    tables: tuple[Recorded, ...] = ()
    beside: tuple[str, ...] = ()
    """Postgres tables that were there before Postgres was primary, and are nobody's counterpart: never carried back."""
    gone: tuple[str, ...] = ()
    """Tables that SQLite had no more already when it was looked at the last time: what comes later is none of them."""

    @cached_property
    def by_name(self) -> dict[str, Recorded]:
        """By source name in lower case."""
        return {each.table.name.lower(): each for each in self.tables}

    def of(self, name: str) -> Recorded | None:
        """The table of that name, in any case."""
        return self.by_name.get(name.lower())

    def having(self, one: Recorded, *, instead: str = "") -> Record:
        """With this table in the place of the one of the same name, or of the name `instead`."""
        known = self.of(one.table.name)
        if not instead and known == one and known.postgres.oid == one.postgres.oid:
            return self
        left = [it for it in self.tables if it.table.name.lower() not in (one.table.name.lower(), instead.lower())]
        return replace(self, tables=tuple(sorted([*left, one], key=lambda it: it.table.name)))

    def without(self, names: Collection[str]) -> Record:
        """Without these tables, by lower-case name: they are mapped as if for the first time."""
        return replace(self, tables=tuple(it for it in self.tables if it.table.name.lower() not in names))

    def dump(self) -> str:
        """As text."""
        tables = ", ".join(each.text for each in self.tables)
        return f'{{"beside": {json.dumps(self.beside)}, "gone": {json.dumps(self.gone)}, "tables": [{tables}]}}'

    @classmethod
    def load(cls, text: str) -> Record:
        """From text. Raises `ValueError` for what is no record that this version can read."""
        try:
            found: Record = _shaped(cls, json.loads(text))
        except (TypeError, KeyError, AttributeError, json.JSONDecodeError) as error:
            raise ValueError(f"the record of the last mapping cannot be read: {error}") from None
        return found


def differing(before: Record | None, tables: Tables) -> list[str]:
    """Names of tables that are mapped otherwise than they were, or for the first time: they are copied again."""
    if before is None:
        return []
    known = {each.table.name: each.table for each in before.tables}
    return [table.name for table in tables if table.name not in known or not same_rows(known[table.name], table)]


def same_rows(one: Table, other: Table) -> bool:
    """Whether the shadow's rows need not be copied again if this table becomes that one."""
    return one == other or essence(one) == essence(other)


def essence(table: Table) -> tuple[object, ...]:
    """What the rows on the shadow depend on."""
    columns = [
        replace(column, not_null=False, default=None, default_lacks=False, format="", exact=False)
        for column in table.columns
    ]
    return table.target_schema, table.target, table.key, tuple(columns)


def _plain(value: object) -> Any:  # noqa: ANN401  # JSON
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name: _plain(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(each) for each in value]
    return value


@cache
def _hints(kind: type) -> dict[str, Any]:
    """The annotations of a dataclass, which are dear to resolve."""
    return get_type_hints(kind)


def _shaped(kind: Any, value: Any) -> Any:  # noqa: ANN401  # JSON
    """`value` as a value of the annotated type. Fields that are missing keep their defaults; strange ones are left."""
    if value is None:
        return None
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return _shaped(next(each for each in arguments if each is not NoneType), value)
    if origin is tuple:
        if arguments[-1] is Ellipsis:
            return tuple(_shaped(arguments[0], each) for each in value)
        return tuple(_shaped(one, each) for one, each in zip(arguments, value, strict=True))
    if is_dataclass(kind):
        hints = _hints(cast("type", kind))
        given = {each.name: _shaped(hints[each.name], value[each.name]) for each in fields(kind) if each.name in value}
        return kind(**given)  # type: ignore[operator]  # a dataclass is called
    return value
