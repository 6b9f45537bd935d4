"""Postgres's schema changed: what SQLite, the shadow, needs. Pure.

Postgres numbers tables and columns for life, so a new name is told from a new column with certainty, unless the table
was made again under its name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from cutover.errors import SchemaError
from cutover.model.table import Column
from cutover.schema.codecs import codec_for
from cutover.schema.evolution import Evolution, Step, TableChange, renamed
from cutover.schema.findings import Finding
from cutover.schema.matching import pick
from cutover.schema.migrations import OF_ONE_STORE
from cutover.schema.postgres_schema import (
    PostgresColumn,
    PostgresForeignKey,
    PostgresIndex,
    PostgresSchema,
    PostgresTable,
)
from cutover.schema.recorded import Record, Recorded
from cutover.schema.rowids import carries_rowid, without_place
from cutover.schema.sqlite_schema import SqliteIndex, SqliteSchema, SqliteTable, affinity_of, quoted
from cutover.settings import Settings, TableSettings

_DECLARED = {
    "smallint": "INTEGER",
    "integer": "INTEGER",
    "bigint": "INTEGER",
    "boolean": "BOOLEAN",
    "real": "REAL",
    "double precision": "REAL",
    "numeric": "NUMERIC",
    "bytea": "BLOB",
}
"""Declared types whose affinity keeps what comes from Postgres; all others are TEXT."""

_WHOLE = ("smallint", "integer", "bigint")
_LITERAL = re.compile(
    r"(?P<number>-?\d+(\.\d+)?)|'(?P<text>(?:[^']|'')*)'(::[a-z][a-z ]*(\(\d+\))?)?|(?P<word>true|false)"
)


def evolve_sqlite(record: Record, source: SqliteSchema, target: PostgresSchema, settings: Settings) -> Evolution:
    """Steps that bring SQLite's tables to what Postgres's are now.

    Tables that Postgres had before it was primary, and that were not mirrored then, are left alone.
    """
    return _Planner(record, source, target, settings).plan()


@dataclass
class _Planner:
    record: Record
    source: SqliteSchema
    target: PostgresSchema
    settings: Settings
    changes: list[TableChange] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    def plan(self) -> Evolution:
        known = {each.table.target for each in self.record.tables}
        for one in self.record.tables:
            there = self._now(one)
            own = self.source.table(one.table.name)
            if there is None or own is None:
                continue
            known.add(there.name)
            if there.name != one.table.target and not self._chosen(own.name).target:
                self._rename_table(one, own, there)
            else:
                self._table(one, own, there)
        for table in self.target.tables:
            if table.name not in known and table.name not in self.record.beside:
                self._new_table(table)
        return Evolution(self.record, tuple(self.changes), tuple(self.findings))

    def _chosen(self, name: str) -> TableSettings:
        return next(
            (each for own, each in self.settings.tables.items() if own.lower() == name.lower()), TableSettings()
        )

    def _now(self, one: Recorded) -> PostgresTable | None:
        """The table as it is now: by its number, or under its name if it was made again."""
        numbered = (table for table in self.target.tables if table.oid and table.oid == one.postgres.oid)
        return next(numbered, None) or self.target.table(one.table.target)

    def _say(self, severity: str, code: str, message: str, todo: str, table: str) -> None:
        self.findings.append(Finding(severity, code, message, todo, table))  # type: ignore[arg-type]  # literal

    # -- whole tables ------------------------------------------------------------------------------------------------

    def _rename_table(self, one: Recorded, own: SqliteTable, there: PostgresTable) -> None:
        if self.source.table(there.name) is not None:
            return  # the mapping goes by names, and says what does not fit
        sentence = f"Table {one.table.target} was renamed to {there.name}; {own.name} is renamed."
        sql = f"ALTER TABLE {quoted(own.name)} RENAME TO {quoted(there.name)}"
        self.changes.append(TableChange(there.name, (Step(sentence, sql),), on_sqlite=True))
        heir = replace(one, table=replace(one.table, name=there.name, target=there.name))
        self.record = self.record.having(heir, instead=one.table.name)

    def _new_table(self, table: PostgresTable) -> None:
        named = next((own for own, each in self.settings.tables.items() if each.target == table.name), table.name)
        if self._chosen(named).ignore or self.source.table(named) is not None:
            return
        if table.name.lower() in OF_ONE_STORE and not table.mirrored and named not in self.settings.tables:
            return  # written for Postgres: SQLite's own framework would find migrations in it that it does not know
        if not table.primary_key:
            self._say(
                "blocks",
                "no_key",
                "The table is new on Postgres and has no primary key, so its rows cannot be told apart.",
                f"Add one, or leave the table out: [tables.{named}] ignore = true.",
                named,
            )
            return
        if not _is_alias(table):  # made by hand as cutover makes them, or like one of those
            table = without_place(table)
        lines = list[str]()
        for column in table.columns:
            if not column.generated:
                problem = _unmirrored(column)
                if problem:
                    self._say("blocks", "type_unsupported", problem, f"Or [tables.{named}] ignore = true.", named)
                    return
                lines.append(_column(column, table))
        if not _is_alias(table):
            lines.append(f"PRIMARY KEY ({_quoted(table.primary_key)})")
        lines += self._foreign_keys(table)
        sql = f"CREATE TABLE {quoted(named)} ({', '.join(lines)})"
        steps = [Step(f"Table {named} is created on SQLite.", sql)]
        steps += [step for index in table.indexes if (step := self._index(named, index, table)) is not None]
        self.changes.append(TableChange(named, tuple(steps), on_sqlite=True))

    def _foreign_keys(self, table: PostgresTable) -> Iterator[str]:
        names = {each.table.target: each.table for each in self.record.tables}
        for key in table.foreign_keys:
            parent = names.get(key.parent) if key.parent_schema == self.target.name else None
            if key.parent == table.name:
                yield _reference(key, table.name, key.parent_columns)
            elif parent is not None:
                own = {column.target: column.name for column in parent.columns}
                if all(name in own for name in key.parent_columns):
                    yield _reference(key, parent.name, tuple(own[name] for name in key.parent_columns))

    # -- one table ---------------------------------------------------------------------------------------------------

    def _table(self, one: Recorded, own: SqliteTable, there: PostgresTable) -> None:
        if carries_rowid(own, there, wanted=False):
            there = without_place(there)
        steps = tuple(self._columns(one, own, there))
        soft = () if steps else tuple(self._indexes(one, own, there))
        if not steps:
            self._constraints(one, own, there)
        if steps or soft:
            self.changes.append(TableChange(own.name, steps, soft, on_sqlite=True))

    def _columns(self, one: Recorded, own: SqliteTable, there: PostgresTable) -> Iterator[Step]:
        on = f"ALTER TABLE {quoted(own.name)}"
        before = _names_of_before(one.postgres, there)
        mapped = {column.target: column.name for column in one.table.columns}
        settled = set(before.values())
        for column in there.columns:
            old = before.get(column.name)
            name = mapped.get(old or "")
            if old is None or old == column.name or name is None or own.column(name) is None:
                continue
            if not self._target(own, name) and own.column(column.name) is None:
                yield Step(
                    f"{own.name}.{name} is renamed to {column.name}.",
                    f"{on} RENAME COLUMN {quoted(name)} TO {quoted(column.name)}",
                )
        for old, name in mapped.items():
            if old not in settled and there.column(old) is None and (gone := own.column(name)) is not None:
                yield from (Step(*each) for each in _dropping(own, gone.name))
        for column in there.columns:
            if column.name not in before and not column.generated and not self._counterpart(own, column.name):
                problem = _unmirrored(column)
                if problem:
                    self._say("blocks", "type_unsupported", problem, "", own.name)
                    continue
                yield Step(f"{own.name}.{column.name} is added.", f"{on} ADD COLUMN {_column(column, None)}")

    def _target(self, own: SqliteTable, column: str) -> str:
        columns = self._chosen(own.name).columns
        return next((each.target for name, each in columns.items() if name.lower() == column.lower()), "")

    def _counterpart(self, own: SqliteTable, target: str) -> str | None:
        columns = self._chosen(own.name).columns
        given = next((name for name, each in columns.items() if each.target == target), target)
        return pick(given, [column.name for column in own.columns])

    def _indexes(self, one: Recorded, own: SqliteTable, there: PostgresTable) -> Iterator[Step]:
        before, now = ({index.name for index in each.indexes} for each in (one.postgres, there))
        for index in there.indexes:
            if index.name not in before and not index.primary and not _index_there(index, own, one):
                step = self._index(own.name, index, there, one)
                if step is not None:
                    yield step
        for gone in sorted(before - now):
            if any(index.name == gone and index.origin == "c" for index in own.indexes):
                yield Step(f"The index {gone} is dropped.", f"DROP INDEX {quoted(gone)}")

    def _index(
        self, table: str, index: PostgresIndex, there: PostgresTable, one: Recorded | None = None
    ) -> Step | None:
        if index.primary:
            return None
        own = {column.target: column.name for column in one.table.columns} if one else {}
        columns = [own.get(name, name) for name in index.columns if name is not None]
        generated = {column.name for column in there.columns if column.generated}
        if len(columns) != len(index.columns) or index.partial is not None or generated & set(columns):
            what = "a unique index" if index.unique else "an index"
            self._say(
                "warns", "index_not_carried_over", f"{index.name} is {what} that SQLite gets no equal of.", "", table
            )
            return None
        unique = "UNIQUE " if index.unique else ""
        sql = f"CREATE {unique}INDEX {quoted(index.name)} ON {quoted(table)} ({_quoted(columns)})"
        return Step(f"{table} gets the index {index.name}.", sql)

    def _constraints(self, one: Recorded, own: SqliteTable, there: PostgresTable) -> None:
        """What only a table made anew could have on SQLite is said."""
        before = {check.definition for check in one.postgres.checks}
        changed = [check.name for check in there.checks if check.definition not in before]
        for column in there.columns:
            was = one.postgres.column(column.name)
            if was is not None and was.not_null != column.not_null:
                changed.append(f"NOT NULL of {column.name}")
        if changed:
            self._say(
                "warns",
                "change_not_carried_over",
                f"SQLite keeps the constraints that it has: {', '.join(changed)}.",
                "Rebuild the table on SQLite after a demotion, if the application relies on it.",
                own.name,
            )


def _names_of_before(before: PostgresTable, now: PostgresTable) -> dict[str, str]:
    """Name of now → name of before, of every column that was there before."""
    if before.oid and before.oid == now.oid:
        numbers = {column.number: column.name for column in before.columns}
        return {column.name: numbers[column.number] for column in now.columns if column.number in numbers}
    pairs = (
        [(column.name, (column.type, column.not_null, column.default)) for column in t.columns] for t in (before, now)
    )
    found = renamed(*pairs)
    return found | {column.name: column.name for column in now.columns if before.column(column.name) is not None}


def _dropping(own: SqliteTable, column: str) -> Iterator[tuple[str, str]]:
    """SQLite refuses to drop a column that an index is over."""
    for index in own.indexes:
        names = {name.lower() for name in index.columns if name is not None}
        if index.origin == "c" and column.lower() in names:
            yield f"The index {index.name} is dropped.", f"DROP INDEX {quoted(index.name)}"
    yield f"{own.name}.{column} is dropped.", f"ALTER TABLE {quoted(own.name)} DROP COLUMN {quoted(column)}"


def _index_there(index: PostgresIndex, own: SqliteTable, one: Recorded) -> bool:
    names = {column.target: column.name for column in one.table.columns}
    columns = tuple(names.get(name, name) for name in index.columns if name is not None)

    def same(found: SqliteIndex) -> bool:
        return found.columns == columns and found.unique == index.unique and found.partial is None

    return any(found.name.lower() == index.name.lower() or same(found) for found in own.indexes)


def _unmirrored(column: PostgresColumn) -> str:
    """Why values of this column cannot be mirrored; empty if they can."""
    declared = _DECLARED.get(column.type.partition("(")[0], "TEXT")
    mapped = Column(
        column.name,
        declared,
        affinity_of(declared),
        column.name,
        column.type,
        base_type=column.base_type,
        labels=column.labels,
    )
    try:
        codec_for(mapped)
    except SchemaError as error:
        return error.message
    return ""


def _is_alias(table: PostgresTable) -> bool:
    key = table.primary_key
    only = table.column(key[0]) if len(key) == 1 else None
    return only is not None and only.type in _WHOLE


def _column(column: PostgresColumn, table: PostgresTable | None) -> str:
    """One column of CREATE TABLE; without a table what follows ADD COLUMN, which takes NOT NULL with a default only."""
    kind = _DECLARED.get(column.type.partition("(")[0], "TEXT")
    text = f"{quoted(column.name)} {kind}"
    if table is not None and _is_alias(table) and column.name == table.primary_key[0]:
        automatic = column.identity or column.sequence or "nextval(" in (column.default or "")
        return f"{text} PRIMARY KEY" + (" AUTOINCREMENT" if automatic else "")
    default = _default(column, kind)
    if column.not_null and (table is not None or default):
        text += " NOT NULL"
    return text + (f" DEFAULT {default}" if default else "")


def _default(column: PostgresColumn, kind: str) -> str:
    """A constant default; empty where there is none that means the same."""
    found = _LITERAL.fullmatch((column.default or "").strip().removeprefix("(").removesuffix(")"))
    if found is None:
        return ""
    if found["word"]:
        return "1" if found["word"] == "true" else "0"
    if found["number"]:
        return found["number"] if kind in ("INTEGER", "REAL", "NUMERIC") else ""
    return f"'{found['text']}'" if column.type.startswith(("text", "character varying")) else ""


def _reference(key: PostgresForeignKey, parent: str, columns: tuple[str, ...]) -> str:
    actions = "".join(
        f" {found[0]}"
        for found in re.finditer(r"ON (?:UPDATE|DELETE) (?:CASCADE|RESTRICT|SET NULL|SET DEFAULT)", key.definition)
    )
    late = " DEFERRABLE INITIALLY DEFERRED" if "INITIALLY DEFERRED" in key.definition else ""
    return f"FOREIGN KEY ({_quoted(key.columns)}) REFERENCES {quoted(parent)} ({_quoted(columns)}){actions}{late}"


def _quoted(names: tuple[str, ...] | list[str]) -> str:
    return ", ".join(quoted(name) for name in names)
