"""One statement of SQLite that changes the schema, as what it means on Postgres, told from both schemas.

SQLite itself has run the statement, on an empty copy, so whatever its grammar allows is understood. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from cutover.errors import SchemaError
from cutover.model.table import Table, Tables
from cutover.schema.ddl import Ddl
from cutover.schema.mapping import map_tables
from cutover.schema.postgres_schema import PostgresSchema
from cutover.schema.sqlite_schema import SqliteIndex, SqliteSchema, SqliteTable, quoted
from cutover.settings import Settings


@dataclass(frozen=True)
class Change:
    """What a statement did to SQLite's schema, and the mapping and Postgres's schema before it."""

    before: SqliteSchema
    after: SqliteSchema
    target: PostgresSchema
    tables: Tables
    settings: Settings
    foreign_keys: bool = True
    """Whether they are enforced for who asks: dropping a table deletes its rows first."""

    def statements(self) -> list[str]:
        """For Postgres, in order. Raises `SchemaError` for what has no sure equal there."""
        return list(self._statements())

    def _statements(self) -> Iterator[str]:
        before, after = _by_name(self.before), _by_name(self.after)
        gone = [name for name in before if name not in after]
        new = [name for name in after if name not in before]
        renamed: dict[str, str] = {}
        if len(gone) == len(new) == 1:
            renamed[new[0]] = gone[0]
            table = self._mapped(gone[0])
            if table is not None:
                yield f"ALTER TABLE {_qualified(table)} RENAME TO {quoted(after[new[0]].name)}"
            gone, new = [], []
        for name in gone:
            yield from self._drop(name)
        if new:
            yield from self._create(new)
        for name, own in after.items():
            was = before.get(renamed.get(name, name))
            table = self._mapped(renamed.get(name, name))
            if was is None or table is None or own == was:
                continue
            if name in renamed:
                table = replace(table, target=own.name)
            yield from self._columns(table, was, own)
            yield from self._indexes(table, was, own)

    def _mapped(self, name: str) -> Table | None:
        return next((table for table in self.tables if table.name.lower() == name), None)

    def _drop(self, name: str) -> Iterator[str]:
        table = self._mapped(name)
        if table is None:
            return
        if self.foreign_keys:
            yield f"DELETE FROM {_qualified(table)}"
        yield f"DROP TABLE {_qualified(table)} CASCADE"

    def _create(self, names: list[str]) -> Iterator[str]:
        known = {table.name.lower() for table in self.tables}
        source = replace(
            self.after, tables=tuple(t for t in self.after.tables if t.name.lower() in known or t.name.lower() in names)
        )
        mapping = map_tables(source, self.target, self.settings, born=True)
        for finding in mapping.findings:
            if finding.table.lower() in names and (finding.severity == "blocks" or _loses(finding.code)):
                place = f"{finding.table}.{finding.column}" if finding.column else finding.table
                raise SchemaError(f"{place}: {finding.message}", hint=finding.todo)
        yield from mapping.create

    def _columns(self, table: Table, was: SqliteTable, own: SqliteTable) -> Iterator[str]:
        old = {column.name.lower(): column for column in was.columns if not column.hidden}
        now = {column.name.lower(): column for column in own.columns if not column.hidden}
        gone = [name for name in old if name not in now]
        new = [name for name in now if name not in old]
        targets: Mapping[str, str] = {column.name.lower(): column.target for column in table.columns}
        there = _qualified(table)
        if len(gone) == len(new) == 1:
            yield f"ALTER TABLE {there} RENAME COLUMN {quoted(targets[gone[0]])} TO {quoted(now[new[0]].name)}"
            return
        for name in gone:
            yield f"ALTER TABLE {there} DROP COLUMN {quoted(targets.get(name, old[name].name))}"
        if not new:
            return
        alone = replace(self.after, tables=(own,))
        fresh = next(iter(map_tables(alone, None, self.settings, born=True).tables), None)
        for name in new:
            text = Ddl().added_column(replace(fresh, target=table.target), own, name) if fresh is not None else ""
            if fresh is None or not text:
                raise SchemaError(f"{own.name}.{name}: the column has no sure equivalent on Postgres.")
            yield f"ALTER TABLE {there} ADD COLUMN {text}"
            if now[name].not_null:
                yield f"ALTER TABLE {there} ALTER COLUMN {quoted(now[name].name)} SET NOT NULL"
        for check in own.checks:
            if check not in was.checks and fresh is not None:
                text = Ddl().added_check(fresh, check)
                if not text:
                    raise SchemaError(f"{own.name}: CHECK ({check}) has no sure equivalent on Postgres.")
                yield f"ALTER TABLE {there} ADD {text}"

    def _indexes(self, table: Table, was: SqliteTable, own: SqliteTable) -> Iterator[str]:
        old = {index.name: index for index in was.indexes}
        now = {index.name: index for index in own.indexes}
        standing = self.target.table(table.target) or next(
            (it for it in self.target.tables if it.name == was.name), None
        )
        known = {index.name for index in standing.indexes} if standing is not None else set[str]()
        for name, index in old.items():
            if index.origin == "c" and name not in now and name in known:
                yield f"DROP INDEX {quoted(table.target_schema)}.{quoted(name)}"
        for name, index in now.items():
            if index.origin == "c" and name not in old:
                yield from self._index(table, index)

    def _index(self, table: Table, index: SqliteIndex) -> Iterator[str]:
        taken = {*self.target.others, *(it.name for it in self.target.tables)}
        taken |= {each.name for it in self.target.tables for each in it.indexes}
        text = Ddl(taken=taken).added_index(table, index)
        if text:
            yield text
        elif index.unique:
            raise SchemaError(f"The unique index {index.name} has no sure equivalent on Postgres.")


def missing_foreign_keys(after: SqliteSchema, target: PostgresSchema, tables: Tables) -> list[str]:
    """Foreign keys that are declared and do not stand on Postgres: of a table that came before its parent, or lost it
    when the parent was made anew. Rows that are there are not checked, as SQLite checks none."""
    by_name = {table.name.lower(): table for table in tables}
    found = Ddl()
    for own in after.tables:
        child = by_name.get(own.name.lower())
        there = target.table(child.target) if child is not None else None
        if child is None or there is None:
            continue
        names = {column.name.lower(): column.target for column in child.columns}
        standing = {key.columns for key in there.foreign_keys}
        for key in own.foreign_keys:
            parent = by_name.get(key.parent.lower())
            columns = tuple(names.get(name.lower(), "") for name in key.columns)
            if parent is None or not all(columns) or columns in standing or not _referable(parent, key, target):
                continue
            found.add_foreign_key(child, parent, key)
    return [f"{text} NOT VALID" for text in found.foreign_keys]


def _referable(parent: Table, key: object, target: PostgresSchema) -> bool:
    columns = {column.name.lower(): column.target for column in parent.columns}
    wanted = {columns.get(name.lower(), "") for name in getattr(key, "parent_columns", ())}
    there = target.table(parent.target)
    return there is not None and any(
        index.unique and index.partial is None and set(index.columns) == wanted for index in there.indexes
    )


def _loses(code: str) -> bool:
    """Whether a finding tells of something that statements would miss: rows that SQLite refuses, values it fills in."""
    return code.endswith("_not_carried_over") and not code.startswith(("index", "foreign_key"))


def _by_name(schema: SqliteSchema) -> dict[str, SqliteTable]:
    return {table.name.lower(): table for table in schema.tables}


def _qualified(table: Table) -> str:
    return f"{quoted(table.target_schema)}.{quoted(table.target)}"
