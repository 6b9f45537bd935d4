"""SQLite's schema changed: what Postgres, the shadow, needs. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from cutover.model.table import Column, Table
from cutover.schema.ddl import Ddl
from cutover.schema.defaults import translate_default
from cutover.schema.evolution import Evolution, Step, TableChange, declarations, renamed, same_shape
from cutover.schema.findings import Finding
from cutover.schema.matching import pick
from cutover.schema.parts import Untranslatable
from cutover.schema.postgres_schema import PostgresColumn, PostgresForeignKey, PostgresSchema, PostgresTable
from cutover.schema.recorded import Record, Recorded
from cutover.schema.sqlite_schema import SqliteForeignKey, SqliteIndex, SqliteSchema, SqliteTable, quoted
from cutover.settings import ColumnSettings, Settings, TableSettings


def evolve_postgres(
    record: Record, source: SqliteSchema, target: PostgresSchema, fresh: Mapping[str, Table], settings: Settings
) -> Evolution:
    """Steps that bring Postgres's tables to what SQLite's are now.

    `fresh` holds, by SQLite name, the tables as they would be mapped if Postgres had none: their types are those of
    new columns. Tables that are new altogether are the mapping's to create.
    """
    return _Planner(record, source, target, fresh, settings).plan()


def missing_columns(source: SqliteSchema, target: PostgresSchema, settings: Settings) -> list[str]:
    """Tables with a column that Postgres lacks: their types may have to be read from the data."""
    return [
        table.name
        for table in source.tables
        if (there := _target_of(table, target, settings)) is not None
        and any(_counterpart(column.name, there, _chosen(table.name, settings)) is None for column in table.columns)
    ]


@dataclass
class _Planner:
    record: Record
    source: SqliteSchema
    target: PostgresSchema
    fresh: Mapping[str, Table]
    settings: Settings
    changes: list[TableChange] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    def plan(self) -> Evolution:
        moved = self._moved_tables()
        for table in self.source.tables:
            if table.name not in moved and not _chosen(table.name, self.settings).ignore:
                there = _target_of(table, self.target, self.settings)
                if there is not None:
                    self._table(table, there)
        return Evolution(self.record, tuple(self.changes), tuple(self.findings))

    # -- whole tables ------------------------------------------------------------------------------------------------

    def _moved_tables(self) -> set[str]:
        """Tables that the application renamed. Nothing else is planned for them before that is done."""
        gone = [each for each in self.record.tables if self.source.table(each.table.name) is None]
        gone = [each for each in gone if self.target.table(each.table.target) is not None]
        moved = set[str]()
        for table in self.source.tables:
            alike = [each for each in gone if same_shape(each.sqlite, table)]
            known, chosen = self.record.of(table.name), _chosen(table.name, self.settings)
            if len(alike) != 1 or chosen.ignore or chosen.target:
                continue
            one = alike[0]
            taken = pick(table.name, [*self.target.others, *(it.name for it in self.target.tables)])
            if known is None and taken is None and self._only_heir(one, table):
                self._rename_table(one, table)
                moved.add(table.name)
            elif known is not None and one.made and known.sqlite.sql != table.sql:
                self._drop_interim(one, table)
        return moved

    def _only_heir(self, one: Recorded, table: SqliteTable) -> bool:
        """Whether no other new table looks like the one that is gone."""
        return not any(
            other.name != table.name and self.record.of(other.name) is None and same_shape(one.sqlite, other)
            for other in self.source.tables
        )

    def _rename_table(self, one: Recorded, table: SqliteTable) -> None:
        before = one.table
        sql = f"ALTER TABLE {_qualified(before)} RENAME TO {quoted(table.name)}"
        sentence = f"Table {before.name} was renamed to {table.name}; {before.target} is renamed."
        self.changes.append(TableChange(table.name, (Step(sentence, sql),)))
        heir = replace(one, table=replace(before, name=table.name, target=table.name))
        self.record = self.record.having(heir, instead=before.name)

    def _drop_interim(self, one: Recorded, table: SqliteTable) -> None:
        """A table that was made to take another's place, and took it while the other's counterpart still stood."""
        sentence = f"Table {one.table.name} became {table.name}; its copy {one.table.target} is dropped."
        self.changes.append(TableChange(one.table.name, soft=(Step(sentence, f"DROP TABLE {_qualified(one.table)}"),)))

    # -- one table ---------------------------------------------------------------------------------------------------

    def _table(self, table: SqliteTable, there: PostgresTable) -> None:
        known = self.record.of(table.name)
        if known is None or known.table.target != there.name:
            return  # adopted as it is: nobody changed it under us
        pairing = _Pairing(table, there, known, _chosen(table.name, self.settings), self.fresh.get(table.name))
        steps = tuple(self._columns(pairing))
        soft = () if steps else tuple(self._rest(pairing, known))
        if steps or soft:
            self.changes.append(TableChange(table.name, steps, soft))

    def _columns(self, pairing: _Pairing) -> Iterator[Step]:
        """Columns that were renamed, added, dropped, or are of another type."""
        on = f"ALTER TABLE {quoted(self.target.name)}.{quoted(pairing.there.name)}"
        where = pairing.there.name
        renames = pairing.renames()
        for now, old in renames.items():
            name = pairing.target_name(now)
            yield Step(f"{where}.{old} is renamed to {name}.", f"{on} RENAME COLUMN {quoted(old)} TO {quoted(name)}")
        for old in pairing.dropped(renames):
            yield Step(f"{where}.{old} is dropped.", f"{on} DROP COLUMN {quoted(old)}")
        ddl = Ddl()
        for name in pairing.added(renames):
            definition = ddl.added_column(pairing.fresh, pairing.source, name) if pairing.fresh else ""
            if definition:
                kind = definition.removeprefix(quoted(pairing.target_name(name))).strip()
                yield Step(f"{where}.{pairing.target_name(name)} is added ({kind}).", f"{on} ADD COLUMN {definition}")
        self.findings += ddl.findings
        for column, found in pairing.retyped():
            name = quoted(found.name)
            collation = ' COLLATE "C"' if column.target_type.startswith(("text", "character varying")) else ""
            default = f"ALTER COLUMN {name} DROP DEFAULT, " if found.default is not None else ""
            cast = f"{name}::text::{column.target_type}"
            yield Step(
                f"{where}.{found.name} becomes {column.target_type}, it was {found.type}.",
                f"{on} {default}ALTER COLUMN {name} TYPE {column.target_type}{collation} USING {cast}",
            )

    def _rest(self, pairing: _Pairing, known: Recorded) -> Iterator[Step]:
        """What changed of the table beside its columns, since that was last carried over."""
        if known.sqlite.sql == pairing.source.sql and known.sqlite.indexes == pairing.source.indexes:
            return
        taken = {*self.target.others, *(table.name for table in self.target.tables)}
        rest = _Rest(pairing, known, Ddl(taken=taken), f"{quoted(self.target.name)}.{quoted(pairing.there.name)}")
        yield from rest.steps()
        yield from self._foreign_keys(pairing, known)
        self.findings += rest.ddl.findings

    def _foreign_keys(self, pairing: _Pairing, known: Recorded) -> Iterator[Step]:
        table, there = known.table, pairing.there
        on = f"ALTER TABLE {quoted(self.target.name)}.{quoted(there.name)}"
        before, now = set(known.sqlite.foreign_keys), set(pairing.source.foreign_keys)
        for key in sorted(before - now, key=str):
            for found in there.foreign_keys:
                if self._same_key(key, found, pairing):
                    yield Step(
                        f"The foreign key {found.name} is dropped.", f"{on} DROP CONSTRAINT {quoted(found.name)}"
                    )
        fresh = pairing.fresh
        for key in sorted(now - before, key=str):
            parent = self.fresh.get(self._parent(key))
            if (
                fresh is None
                or parent is None
                or any(self._same_key(key, found, pairing) for found in there.foreign_keys)
            ):
                continue
            ddl = Ddl()
            ddl.add_foreign_key(replace(fresh, target=there.name), replace(parent, target=self._name_of(parent)), key)
            said = f"{table.target} gets a foreign key ({', '.join(key.columns)}) to {key.parent}."
            yield from (Step(said, sql) for sql in ddl.foreign_keys)

    def _parent(self, key: SqliteForeignKey) -> str:
        parent = self.source.table(key.parent)
        return parent.name if parent else key.parent

    def _name_of(self, table: Table) -> str:
        own = self.source.table(table.name)
        there = _target_of(own, self.target, self.settings) if own else None
        return there.name if there else table.target

    def _same_key(self, key: SqliteForeignKey, found: PostgresForeignKey, pairing: _Pairing) -> bool:
        parent = self.fresh.get(self._parent(key))
        named = self._name_of(parent) if parent else key.parent
        return found.parent == named and found.columns == tuple(pairing.target_name(name) for name in key.columns)


@dataclass
class _Pairing:
    """One table on both sides, and what it was."""

    source: SqliteTable
    there: PostgresTable
    known: Recorded | None
    chosen: TableSettings
    fresh: Table | None

    def setting(self, column: str) -> ColumnSettings:
        return _column_setting(column, self.chosen)

    def target_name(self, column: str) -> str:
        """What its counterpart is called, or will be."""
        return _counterpart(column, self.there, self.chosen) or self.setting(column).target or column

    def _ignored(self, column: str) -> bool:
        return self.setting(column).ignore

    def _claimed(self) -> set[str]:
        """Postgres columns that are a present column's counterpart."""
        found = (_counterpart(column.name, self.there, self.chosen) for column in self.source.columns)
        return {name for name in found if name}

    def _orphans(self) -> dict[str, str]:
        """Source name of before → Postgres column, for those that are gone on SQLite and still stand on Postgres."""
        if self.known is None:
            return {}
        claimed = self._claimed()
        return {
            column.name: column.target
            for column in self.known.table.columns
            if self.source.column(column.name) is None
            and column.target not in claimed
            and self.there.column(column.target) is not None
        }

    def renames(self) -> dict[str, str]:
        """Source name of now → Postgres column that gets its counterpart's name."""
        if self.known is None:
            return {}
        orphans = self._orphans()
        pairs = renamed(declarations(self.known.sqlite), declarations(self.source))
        return {now: orphans[old] for now, old in pairs.items() if old in orphans and now in self.added({})}

    def dropped(self, renames: Mapping[str, str]) -> list[str]:
        return [name for name in self._orphans().values() if name not in renames.values()]

    def added(self, renames: Mapping[str, str]) -> list[str]:
        """Source columns without a counterpart. Generated ones only if they are new: others were left out before."""
        return [
            column.name
            for column in self.source.columns
            if not self._ignored(column.name)
            and column.name not in renames
            and _counterpart(column.name, self.there, self.chosen) is None
            and (not column.generated or (self.known and self.known.sqlite.column(column.name) is None))
        ]

    def retyped(self) -> Iterator[tuple[Column, PostgresColumn]]:
        """Columns that were declared anew, of tables whose types are cutover's to choose."""
        if self.known is None or not self.known.made or self.fresh is None:
            return
        before = {column.name.lower(): column for column in self.known.table.columns}
        for column in self.fresh.columns:
            was, found = before.get(column.name.lower()), self.there.column(self.target_name(column.name))
            if was and found and was.declared != column.declared and found.type not in (column.target_type, ""):
                yield column, found


@dataclass
class _Rest:
    """Constraints, defaults and indexes of one table."""

    pairing: _Pairing
    known: Recorded
    ddl: Ddl
    on: str

    def steps(self) -> Iterator[Step]:
        yield from self._columns()
        yield from self._dropped_indexes()
        yield from self._checks()
        yield from self._indexes()

    @property
    def _mapped(self) -> Table:
        """With the columns as they are on Postgres."""
        pairing, fresh = self.pairing, self.pairing.fresh
        known = fresh or self.known.table
        columns = []
        for column in known.columns:
            found = pairing.there.column(pairing.target_name(column.name))
            if found is not None:
                columns.append(replace(column, target=found.name, target_type=found.type))
        return replace(
            known, target=pairing.there.name, target_schema=self.known.table.target_schema, columns=tuple(columns)
        )

    def _columns(self) -> Iterator[Step]:
        pairing = self.pairing
        for column in self._mapped.columns:
            found, was = pairing.there.column(column.target), self.known.sqlite.column(column.name)
            if found is None or found.identity or column.name in self._mapped.key:
                continue
            alter = f"ALTER TABLE {self.on} ALTER COLUMN {quoted(found.name)}"
            if (was is None or was.not_null != column.not_null) and found.not_null != column.not_null:
                verb = "SET" if column.not_null else "DROP"
                said = "demands a value" if column.not_null else "may be NULL"
                yield Step(f"{pairing.there.name}.{found.name} {said}.", f"{alter} {verb} NOT NULL")
            if was is not None and was.default != column.default:
                yield from self._default(column, alter)

    def _default(self, column: Column, alter: str) -> Iterator[Step]:
        name = f"{self.pairing.there.name}.{column.target}"
        if column.default is None or column.default.upper() == "NULL":
            yield Step(f"{name} has no default any more.", f"{alter} DROP DEFAULT")
            return
        try:
            default = translate_default(column.default, column)
        except Untranslatable:
            self._left_out(f"The default {column.default}", column.name)
            yield Step(f"{name} has no default any more.", f"{alter} DROP DEFAULT")
        else:
            yield Step(f"{name} gets the default {default}.", f"{alter} SET DEFAULT {default}")

    def _indexes(self) -> Iterator[Step]:
        before = {_index_essence(index) for index in self.known.sqlite.indexes}
        for index in self.pairing.source.indexes:
            if _index_essence(index) in before or index.origin == "pk" or self._index_there(index):
                continue
            sql = self.ddl.added_index(self._mapped, index)
            if sql:
                yield Step(f"{self.pairing.there.name} gets the index {index.name}.", sql)

    def _index_there(self, index: SqliteIndex) -> bool:
        """Whether Postgres has it already, by its name or, if it is plain, by what it is over."""
        columns = tuple(self.pairing.target_name(name) for name in index.columns if name is not None)
        plain = len(columns) == len(index.columns) and index.partial is None
        return any(
            found.name == index.name
            or (plain and found.partial is None and found.unique == index.unique and found.columns == columns)
            for found in self.pairing.there.indexes
        )

    def _dropped_indexes(self) -> Iterator[Step]:
        now = {_index_essence(index) for index in self.pairing.source.indexes}
        schema, there = self.known.table.target_schema, self.pairing.there
        for index in self.known.sqlite.indexes:
            if _index_essence(index) in now or index.origin == "pk":
                continue
            made = "_".join([there.name, *filter(None, index.columns), "key"])
            wanted = index.name if index.origin == "c" else made
            found = next((each for each in there.indexes if each.name == wanted and not each.primary), None)
            if found is not None:
                yield Step(f"The index {found.name} is dropped.", f"DROP INDEX {quoted(schema)}.{quoted(found.name)}")
            elif index.unique:
                self._left_out(
                    f"That {index.name} is gone", "", verb="could not be carried over: Postgres's is unknown"
                )

    def _checks(self) -> Iterator[Step]:
        before, now = set(self.known.sqlite.checks), set(self.pairing.source.checks)
        mapped = self._mapped
        for check in sorted(before - now):
            text = Ddl().added_check(self.known.table, check)
            found = [each for each in self.pairing.there.checks if text and _bare(each.definition) == _bare(text)]
            for each in found:
                yield Step(f"{each.name} is dropped.", f"ALTER TABLE {self.on} DROP CONSTRAINT {quoted(each.name)}")
            if not found:
                self._left_out(f"That CHECK ({check}) is gone", "", verb="was not carried over: Postgres's is unknown")
        for check in sorted(now - before):
            text = self.ddl.added_check(mapped, check)
            if text and not any(_bare(each.definition) == _bare(text) for each in self.pairing.there.checks):
                yield Step(f"{self.pairing.there.name} gets {text}.", f"ALTER TABLE {self.on} ADD {text}")

    def _left_out(self, what: str, column: str, *, verb: str = "has no sure equivalent on Postgres") -> None:
        self.ddl.findings.append(
            Finding(
                "warns",
                "change_not_carried_over",
                f"{what} {verb}.",
                "Change it on Postgres yourself, if anything depends on it there.",
                self.pairing.source.name,
                column,
            )
        )


def _index_essence(index: SqliteIndex) -> tuple[object, ...]:
    name = index.name if index.origin == "c" else ""
    return name, index.unique, index.terms, index.partial


def _bare(definition: str) -> str:
    """A CHECK as Postgres prints it and as it was written, made alike."""
    return re.sub(r'::[a-z ]+|[\s()"]|COLLATEC\b', "", definition.replace('COLLATE "C"', "")).upper()


def _chosen(table: str, settings: Settings) -> TableSettings:
    return next((each for name, each in settings.tables.items() if name.lower() == table.lower()), TableSettings())


def _column_setting(column: str, chosen: TableSettings) -> ColumnSettings:
    found = (each for name, each in chosen.columns.items() if name.lower() == column.lower())
    return next(found, ColumnSettings())


def _target_of(table: SqliteTable, target: PostgresSchema, settings: Settings) -> PostgresTable | None:
    name = pick(_chosen(table.name, settings).target or table.name, [each.name for each in target.tables])
    return target.table(name) if name else None


def _counterpart(column: str, there: PostgresTable, chosen: TableSettings) -> str | None:
    return pick(_column_setting(column, chosen).target or column, [each.name for each in there.columns])


def _qualified(table: Table) -> str:
    return f"{quoted(table.target_schema)}.{quoted(table.target)}"
