"""SQLite's schema changed: what Postgres, the shadow, needs. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace

from cutover.model.table import Column, Table
from cutover.schema.ddl import Ddl, Terms
from cutover.schema.defaults import translate_default
from cutover.schema.evolution import Evolution, Step, TableChange, same_shape
from cutover.schema.evolve_anew import is_another, let_go
from cutover.schema.evolve_pairing import Pairing, counterpart, qualified, settings_of, target_of
from cutover.schema.evolve_rest import Rest
from cutover.schema.findings import Finding
from cutover.schema.matching import pick
from cutover.schema.migrations import marked
from cutover.schema.parts import Untranslatable
from cutover.schema.postgres_schema import PostgresForeignKey, PostgresSchema, PostgresTable
from cutover.schema.recorded import Record, Recorded
from cutover.schema.sqlite_schema import SqliteForeignKey, SqliteSchema, SqliteTable, quoted
from cutover.settings import Settings


def evolve_postgres(
    record: Record,
    source: SqliteSchema,
    target: PostgresSchema,
    fresh: Mapping[str, Table],
    settings: Settings,
    terms: Terms | None = None,
) -> Evolution:
    """Steps that bring Postgres's tables to what SQLite's are now.

    `fresh` holds, by SQLite name, the tables as they would be mapped if Postgres had none: their types are those of
    new columns. Tables that are new altogether are the mapping's to create. `terms`: as `map_tables` takes them.
    """
    return _Planner(record, source, target, fresh, settings, terms).plan()


def missing_columns(source: SqliteSchema, target: PostgresSchema, settings: Settings) -> list[str]:
    """Tables with a column that Postgres lacks: their types may have to be read from the data."""
    return [
        table.name
        for table in source.tables
        if (there := target_of(table, target, settings)) is not None
        and any(counterpart(column.name, there, settings_of(table.name, settings)) is None for column in table.columns)
    ]


@dataclass
class _Planner:
    record: Record
    source: SqliteSchema
    target: PostgresSchema
    fresh: Mapping[str, Table]
    settings: Settings
    terms: Terms | None = None
    changes: list[TableChange] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    forgets: bool = False

    def plan(self) -> Evolution:
        moved = self._moved_tables()
        for table in self.source.tables:
            if table.name not in moved and not settings_of(table.name, self.settings).ignore:
                there = target_of(table, self.target, self.settings)
                if there is not None:
                    self._table(table, there)
        return Evolution(self.record, tuple(self.changes), tuple(self.findings), self.forgets)

    # -- whole tables ------------------------------------------------------------------------------------------------

    def _moved_tables(self) -> set[str]:
        """Tables that the application renamed. Nothing else is planned for them before that is done."""
        gone = [each for each in self.record.tables if self.source.table(each.table.name) is None]
        gone = [each for each in gone if each.table.name not in self.record.gone]  # those were dropped
        gone = [each for each in gone if self.target.table(each.table.target) is not None]
        moved = set[str]()
        for table in self.source.tables:
            alike = [each for each in gone if same_shape(each.sqlite, table)]
            known, chosen = self.record.of(table.name), settings_of(table.name, self.settings)
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
        sql = f"ALTER TABLE {qualified(before)} RENAME TO {quoted(table.name)}"
        sentence = f"Table {before.name} was renamed to {table.name}; {before.target} is renamed."
        named = marked(f"{quoted(before.target_schema)}.{quoted(table.name)}", table.name)
        self.changes.append(TableChange(table.name, (Step(sentence, "; ".join([sql, *named])),)))
        heir = replace(one, table=replace(before, name=table.name, target=table.name))
        self.record = self.record.having(heir, instead=before.name)

    def _drop_interim(self, one: Recorded, table: SqliteTable) -> None:
        """A table that was made to take another's place, and took it while the other's counterpart still stood."""
        sentence = f"Table {one.table.name} became {table.name}; its copy {one.table.target} is dropped."
        self.changes.append(TableChange(one.table.name, soft=(Step(sentence, f"DROP TABLE {qualified(one.table)}"),)))

    # -- one table ---------------------------------------------------------------------------------------------------

    def _table(self, table: SqliteTable, there: PostgresTable) -> None:
        known = self.record.of(table.name)
        if known is None or known.table.target != there.name:
            return  # adopted as it is: nobody changed it under us
        pairing = Pairing(table, there, known, settings_of(table.name, self.settings), self.fresh.get(table.name))
        if is_another(pairing, known):
            sentence = f"Table {table.name} has another key; {there.name} is made anew, and copied again."
            step = Step(sentence, f"DROP TABLE {quoted(self.target.name)}.{quoted(there.name)}")
            self.changes.insert(0, TableChange(table.name, (*self._let_go(there), step)))  # others may be held by it
            return
        steps = tuple(self._columns(pairing))
        soft = () if steps else tuple(self._rest(pairing, known))
        if steps or soft:
            self.changes.append(TableChange(table.name, steps, soft))

    def _let_go(self, there: PostgresTable, columns: Collection[str] | None = None) -> list[Step]:
        self.record, steps = let_go(self.record, self.target, there, columns)
        self.forgets = self.forgets or bool(steps)
        return steps

    def _columns(self, pairing: Pairing) -> Iterator[Step]:
        """Columns that were renamed, added, dropped, or are of another type."""
        on = f"ALTER TABLE {quoted(self.target.name)}.{quoted(pairing.there.name)}"
        where = pairing.there.name
        renames = pairing.renames()
        for now, old in renames.items():
            name = pairing.target_name(now)
            yield Step(f"{where}.{old} is renamed to {name}.", f"{on} RENAME COLUMN {quoted(old)} TO {quoted(name)}")
        for old in pairing.dropped(renames):
            yield Step(f"{where}.{old} is dropped.", f"{on} DROP COLUMN {quoted(old)}")
        ddl = Ddl(terms=self.terms)
        for name in pairing.added(renames):
            definition = ddl.added_column(pairing.fresh, pairing.source, name) if pairing.fresh else ""
            if definition:
                kind = definition.removeprefix(quoted(pairing.target_name(name))).strip()
                yield Step(f"{where}.{pairing.target_name(name)} is added ({kind}).", f"{on} ADD COLUMN {definition}")
        self.findings += ddl.findings
        retyped = list(pairing.retyped())
        yield from self._let_go(pairing.there, [found.name for _, found in retyped])
        for column, found in retyped:
            name = quoted(found.name)
            collation = ' COLLATE "C"' if column.target_type.startswith(("text", "character varying")) else ""
            default = f"ALTER COLUMN {name} DROP DEFAULT, " if found.default is not None else ""
            cast = f"{name}::text::{column.target_type}"
            again = _default(column) if default else ""
            yield Step(
                f"{where}.{found.name} becomes {column.target_type}, it was {found.type}.",
                f"{on} {default}ALTER COLUMN {name} TYPE {column.target_type}{collation} USING {cast}"
                + (f", ALTER COLUMN {name} SET DEFAULT {again}" if again else ""),
            )

    def _rest(self, pairing: Pairing, known: Recorded) -> Iterator[Step]:
        """What changed of the table beside its columns, since that was last carried over."""
        own, was = pairing.source, known.sqlite
        taken = {*self.target.others, *(table.name for table in self.target.tables)}
        place = f"{quoted(self.target.name)}.{quoted(pairing.there.name)}"
        rest = Rest(pairing, known, Ddl(taken=taken, terms=self.terms), place)
        if was.sql == own.sql and was.indexes == own.indexes and set(was.foreign_keys) == set(own.foreign_keys):
            if known.postgres is not pairing.there:  # the very table that was looked at before has nothing new to tell
                yield from rest.standing()
            return
        yield from rest.steps()
        yield from self._foreign_keys(pairing, known)
        self.findings += rest.ddl.findings

    def _foreign_keys(self, pairing: Pairing, known: Recorded) -> Iterator[Step]:
        table, there = known.table, pairing.there
        on = f"ALTER TABLE {quoted(self.target.name)}.{quoted(there.name)}"
        before, now = set(known.sqlite.foreign_keys), set(pairing.source.foreign_keys)
        stay = list(there.foreign_keys)
        for key in sorted(before - now, key=str):
            for found in [each for each in stay if self._same_key(key, each, pairing)]:
                stay.remove(found)
                yield Step(f"The foreign key {found.name} is dropped.", f"{on} DROP CONSTRAINT {quoted(found.name)}")
        fresh = pairing.fresh
        for key in sorted(now - before, key=str):
            parent = self.fresh.get(self._parent(key))
            if fresh is None or parent is None or any(self._same_key(key, found, pairing) for found in stay):
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
        there = target_of(own, self.target, self.settings) if own else None
        return there.name if there else table.target

    def _same_key(self, key: SqliteForeignKey, found: PostgresForeignKey, pairing: Pairing) -> bool:
        parent = self.fresh.get(self._parent(key))
        named = self._name_of(parent) if parent else key.parent
        return found.parent == named and found.columns == tuple(pairing.target_name(name) for name in key.columns)


def _default(column: Column) -> str:
    """What a column that was declared anew has for a default in its type; empty: none that is sure."""
    if column.default is None or column.default.upper() == "NULL":
        return ""
    try:
        return translate_default(column.default, column)
    except Untranslatable:
        return ""
