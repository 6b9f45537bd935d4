"""A schema change as SQLite makes it, on an empty copy in memory: the schema before it, the schema after it.

SQLite's own errors are raised before anything is asked of Postgres.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from cutover.dialect.typed import Refused
from cutover.dialect.unsteady import demand_steady
from cutover.schema.objects_wanted import (
    Objects,
    SchemaObject,
    changes_between,
    keep,
    memory,
    read_objects,
    schema_in,
    schema_of,
    temporary_objects,
    texts,
)
from cutover.schema.sqlite_schema import SqliteSchema, SqliteTable
from cutover.schema.sqltext import query_of_table
from cutover.schema.sqltokens import tokens
from cutover.schema.temporary import is_kept, shared
from cutover.stores.sqlite.failures import explained

_BY_HAND = {
    "TRIGGER": "Make it on PostgreSQL, in its own language; what it writes there is captured, too.",
    "VIRTUAL": "PostgreSQL has no like of it; its full text search takes other statements.",
}
"""What to do about objects that have no translation."""


@dataclass(frozen=True)
class Change:
    """A schema before and after one statement."""

    before: SqliteSchema
    after: SqliteSchema
    objects: Objects
    changes: Sequence[SchemaObject]
    query: str = ""
    """What CREATE TABLE ... AS fills the table from."""

    @property
    def ddl(self) -> tuple[str, ...]:
        """The statements of the schema after it."""
        return texts(self.objects)

    @property
    def temporary(self) -> frozenset[str]:
        """The names of temporary tables, in small letters."""
        return frozenset(each.name.lower() for each in self.objects.values() if each.temporary and each.kind == "table")

    @property
    def lasting(self) -> list[SchemaObject]:
        """What SQLite is to get, too."""
        return [each for each in self.changes if not each.temporary]

    @property
    def created(self) -> list[SqliteTable]:
        """Tables of a name that there was not before, renamed ones included."""
        return [table for table in self.after.tables if self.before.table(table.name) is None]

    @property
    def dropped(self) -> list[SqliteTable]:
        """Tables of a name that there is no more."""
        return [table for table in self.before.tables if self.after.table(table.name) is None]

    @property
    def altered(self) -> list[tuple[SqliteTable, SqliteTable]]:
        """Tables with other columns under the same name, before and after."""
        both = [(self.before.table(table.name), table) for table in self.after.tables]
        return [(old, new) for old, new in both if old is not None and old.columns != new.columns]


def change_of(ddl: Sequence[str], sql: str, arguments: Sequence[object] = (), *, foreign_keys: bool = False) -> Change:
    """Make the change on a copy. Raises the `StatementError` of SQLite, and `Refused`.

    `foreign_keys`: the PRAGMA. With it SQLite deletes the rows of a table that it drops, which may be impossible
    whether or not there are any, as where that would delete rows of a table that refers to a missing one.
    """
    words = [token.text.upper() for token in tokens(sql) if token.type == "word"][:3]
    refused = next((kind for kind in ("TRIGGER", "VIRTUAL") if kind in words[1:2]), "")
    if refused == "VIRTUAL":  # whose modules SQLite may lack here
        raise Refused(f"{words[0]} {refused} while PostgreSQL is primary", _BY_HAND[refused])
    db = memory(ddl)
    try:
        was = _all_objects(db)
        before = _read(db, ddl)
        db.execute(f"PRAGMA foreign_keys = {foreign_keys:d}")
        try:
            db.execute(sql, tuple(arguments))
        except (sqlite3.Error, sqlite3.Warning) as error:
            raise explained(error, db, sql) from None
        if refused:
            raise Refused(f"{words[0]} {refused} while PostgreSQL is primary", _BY_HAND[refused])
        now = _all_objects(db)
        after = _read(db, texts(now))
        demand_steady(before, after)
        made = Change(before, after, now, changes_between(was, now), query_of_table(sql))
        _demand_separate(made)
        if not made.query:  # which may have given rows
            keep(db, made.ddl)
        return made
    finally:
        db.close()


def _read(db: sqlite3.Connection, ddl: Sequence[str]) -> SqliteSchema:
    return schema_of(ddl) if any(map(is_kept, ddl)) else schema_in(db, tuple(ddl))


def _all_objects(db: sqlite3.Connection) -> Objects:
    main, own = read_objects(db), temporary_objects(db)
    names = {each.name.lower(): each.name for each in main.values()}
    found = next((names[each.name.lower()] for each in own.values() if each.name.lower() in names), None)
    if found is not None:
        raise shared(found)
    return {**main, **own}


def _demand_separate(change: Change) -> None:
    """A foreign key means a table of its own database; here all are in one."""
    own = change.temporary
    for table in change.after.tables if own else ():
        if any(table.name.lower() in own or key.parent.lower() in own for key in table.foreign_keys):
            raise Refused("A foreign key of or to a temporary table")
