"""Rows that a dropped table has left without a parent until COMMIT, as SQLite counts them.

Where a foreign key waits for COMMIT, SQLite drops the table that it refers to, and counts the rows that are orphans
now. A table that is made under that name again takes them back row by row; one that gets the name by ALTER TABLE ...
RENAME takes back none, since SQLite does not look at its rows. Postgres gives such keys up with the table. They come
back NOT VALID with the next table of that name, and what is owed is asked for at COMMIT.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from cutover.errors import StatementError
from cutover.schema.sqlite_schema import SqliteForeignKey, SqliteSchema, SqliteTable, quoted
from cutover.stores.postgres.names import target

if TYPE_CHECKING:
    from cutover.dialect.schema_change import Change
    from cutover.model.table import Table, Tables

_KEEPING = ("NO ACTION", "RESTRICT")


@dataclass(frozen=True)
class Owed:
    """A foreign key whose parent was dropped under rows of its table, by the names as they are now."""

    child: str
    columns: tuple[str, ...]
    parent: str
    settled: int = 0
    """So many orphans of it SQLite does not count. Below zero: it counts rows that have a parent again."""


def waits(key: SqliteForeignKey, *, deferring: bool) -> bool:
    """Whether rows that refer to a row may stay until COMMIT when it goes. `deferring`: by the PRAGMA."""
    return (deferring and key.on_delete in _KEEPING) or (key.deferred and key.on_delete == "NO ACTION")


async def owed_after_drop(
    connection: Any,  # noqa: ANN401  # lent or own
    owed: Sequence[Owed],
    waiting: Sequence[tuple[SqliteTable, SqliteForeignKey]],
    schema: SqliteSchema,
    tables: Tables,
) -> tuple[Owed, ...]:
    """What is owed once the table is dropped that the keys which are `waiting` refer to."""
    found = list(owed)
    for child, key in waiting:
        one = Owed(child.name, key.columns, key.parent.lower())
        if all(replace(other, settled=0) != one for other in owed):
            rows, orphans = await _counted(connection, one, schema, tables)
            found += [replace(one, settled=orphans)] if rows > orphans else []
    return tuple(found)


async def owed_after(connection: Any, owed: Sequence[Owed], change: Change, tables: Tables) -> tuple[Owed, ...]:  # noqa: ANN401  # as above
    """The same by the names that hold after the change. `tables`: as mapped then."""
    found = []
    taken = change.created[0].name.lower() if change.dropped and change.created else ""
    for one in _followed(owed, change):
        rows, orphans = 0, 0
        if taken == one.parent and any(other.parent == taken for other in owed):
            rows, orphans = await _counted(connection, one, change.after, tables)
        found.append(replace(one, settled=one.settled + orphans - rows))
    return tuple(found)


async def forgotten(
    connection: Any,  # noqa: ANN401  # as above
    owed: Sequence[Owed],
    schema: SqliteSchema,
    tables: Tables,
    *,
    wholly: bool,
) -> tuple[Owed, ...]:
    """What is left behind PRAGMA defer_foreign_keys = OFF: what SQLite counted since it was on, it forgets. `wholly`:
    that is all; otherwise keys that are DEFERRED may have owed before."""
    found = []
    for one in owed:
        own = schema.table(one.child)
        if own is not None and (wholly or not _key(own, one).deferred):
            _, orphans = await _counted(connection, one, schema, tables)
            found.append(replace(one, settled=orphans))
        elif not wholly:
            found.append(one)
    return tuple(found)


async def demand_paid(connection: Any, owed: Sequence[Owed], schema: SqliteSchema, tables: Tables) -> None:  # noqa: ANN401  # as above
    """Raises the `StatementError` with which COMMIT fails while rows lack their parents."""
    counted = 0
    for one in owed:
        _, orphans = await _counted(connection, one, schema, tables)
        counted += orphans - one.settled
    if counted > 0:
        raise StatementError("FOREIGN KEY constraint failed", "SQLITE_CONSTRAINT")


def _followed(owed: Sequence[Owed], change: Change) -> Iterator[Owed]:
    """By the names after the change. A child that is gone leaves what SQLite went on counting."""
    gone = {table.name.lower() for table in change.dropped}
    names = {change.dropped[0].name.lower(): change.created[0].name} if change.dropped and change.created else {}
    columns = {
        after.name: {old.name: new.name for old, new in zip(before.columns, after.columns, strict=True)}
        for before, after in change.altered
        if len(before.columns) == len(after.columns)
    }
    for one in owed:
        if one.child.lower() in gone - names.keys():
            if one.settled:
                yield Owed("", (), "", one.settled)
            continue
        renamed = columns.get(one.child, {})
        yield replace(
            one,
            child=names.get(one.child.lower(), one.child),
            columns=tuple(renamed.get(name, name) for name in one.columns),
            parent=names.get(one.parent, one.parent).lower(),
        )


async def _counted(connection: Any, one: Owed, schema: SqliteSchema, tables: Tables) -> tuple[int, int]:  # noqa: ANN401  # as above
    """(rows that refer to a parent, those of them that have none)."""
    mapped = {table.name.lower(): table for table in tables}
    child, own = mapped.get(one.child.lower()), schema.table(one.child)
    if child is None or own is None:
        return 0, 0
    key = _key(own, one)
    mine = _targets(child, key.columns)
    refers = " AND ".join(f"c.{name} IS NOT NULL" for name in mine)
    parent = mapped.get(one.parent) if schema.table(one.parent) is not None else None
    has = "false"
    if parent is not None:
        same = zip(mine, _targets(parent, key.parent_columns), strict=True)
        pairs = " AND ".join(f"p.{theirs} = c.{name}" for name, theirs in same)
        has = f"EXISTS (SELECT 1 FROM {target(parent)} AS p WHERE {pairs})"
    row = await connection.fetchrow(
        f"SELECT count(*), count(*) FILTER (WHERE NOT {has}) FROM {target(child)} AS c WHERE {refers}"
    )
    return row[0], row[1]


def _key(own: SqliteTable, one: Owed) -> SqliteForeignKey:
    return next(key for key in own.foreign_keys if (key.columns, key.parent.lower()) == (one.columns, one.parent))


def _targets(table: Table, columns: Sequence[str]) -> list[str]:
    targets = {column.name.lower(): column.target for column in table.columns}
    return [quoted(targets[name.lower()]) for name in columns]
