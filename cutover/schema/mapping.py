"""From two schemas and the configuration: what is mirrored to where, what to create, what is in the way. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping as MappingOf
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from cutover.model.table import Table, Tables, Unkept
from cutover.schema.codecs import scalars
from cutover.schema.ddl import Ddl, Terms
from cutover.schema.enforceable import is_key, unenforceable
from cutover.schema.findings import Finding, in_order
from cutover.schema.links import Family, link
from cutover.schema.matching import Histograms, nearest
from cutover.schema.migrations import OF_BOTH, OF_ONE_STORE
from cutover.schema.one_table import Asked, map_table
from cutover.schema.postgres_schema import PostgresSchema, PostgresTable
from cutover.schema.rowids import carried
from cutover.schema.sqlite_schema import SqliteForeignKey, SqliteSchema, SqliteTable, quoted
from cutover.settings import Settings, TableSettings

_SET_THEM = "Have the application set them before it writes to Postgres, in the smoke command for instance."
_MOST_NAMED = 10
_UNSAID = TableSettings()
_OWN_MIGRATIONS = (
    "It records migrations that were written for one kind of database, and Postgres has such a record already, "
    "so each store keeps its own."
)
_MIRROR_ALL_THE_SAME = "If the application goes on migrating through the front door, give it a [tables] section."
_ONE_STORES_MIGRATIONS = (
    "It records migrations that were written for SQLite, and is mirrored for an application that goes on migrating "
    "through the front door."
)
_IF_IT_LEAVES = "If the application is to migrate Postgres by itself, set ignore = true."
_SAME_MIGRATIONS = "It records which migrations ran; what Postgres has there is replaced by what SQLite has."
_IF_THEY_DIFFER = "If the two stores have migrations of their own, set ignore = true."


@dataclass(frozen=True)
class Mapping:
    """What is mirrored. Tables that cannot be mirrored safely are not in `tables`; a finding that blocks says why."""

    tables: Tables
    """In name order."""
    create: tuple[str, ...]
    """DDL for target tables that do not exist yet, in an order that can be executed statement by statement."""
    findings: tuple[Finding, ...]

    @property
    def blocking(self) -> tuple[Finding, ...]:
        """The findings that forbid to serve: something would be lost or changed."""
        return tuple(finding for finding in self.findings if finding.severity == "blocks")


def map_tables(
    source: SqliteSchema,
    target: PostgresSchema | None,
    settings: Settings,
    histograms: Histograms | None = None,
    *,
    born: bool = False,
    loose: bool = False,
    terms: Terms | None = None,
) -> Mapping:
    """Map every table of `source` that is not ignored. Never raises: what is wrong is in the findings.

    A `target` of None, or a table that it does not have, means that cutover creates it. `histograms` decide types
    where the declared ones do not (`profile.read_histograms`); `born`: there never were any (`types.choose_type`).
    `loose`: keys that are not declared NOT NULL take NULL. `terms`: what the DDL's expressions may be besides.
    """
    return _Mapper(source, target, settings, histograms or {}, born, loose, terms).map()


@dataclass
class _Mapper:
    source: SqliteSchema
    target: PostgresSchema | None
    settings: Settings
    histograms: Histograms
    born: bool
    loose: bool
    terms: Terms | None
    findings: list[Finding] = field(default_factory=list)
    mapped: dict[str, Table] = field(default_factory=dict)
    """By source name; those that are adopted are also in `adopted`."""
    declared: dict[str, Sequence[SqliteForeignKey]] = field(default_factory=dict)
    adopted: dict[str, PostgresTable] = field(default_factory=dict)
    keyed: dict[str, SqliteTable] = field(default_factory=dict)
    """Tables that have their hidden rowid on Postgres, with it."""

    @cached_property
    def profiled(self) -> frozenset[str]:
        """Tables of which it was read what they hold."""
        return frozenset(table for table, _ in self.histograms)

    def map(self) -> Mapping:
        self._check_settings()
        given = {name.lower(): each for name, each in self.settings.tables.items()}
        for source in self.source.tables:
            chosen = given.get(source.name.lower(), _UNSAID)
            if chosen.ignore:
                self._say("informs", "table_ignored", "The configuration leaves this table out.", "", source.name)
            elif source.name.lower() not in OF_ONE_STORE or source.name.lower() in given:
                self._map_table(source, chosen)
            elif (there := self.target.named(source.name) if self.target else None) and not there.mirrored:
                self._say("informs", "migrations_left_out", _OWN_MIGRATIONS, _MIRROR_ALL_THE_SAME, source.name)
            else:
                self._say("informs", "migrations_mirrored", _ONE_STORES_MIGRATIONS, _IF_IT_LEAVES, source.name)
                self._map_table(source, chosen)
        if self.target and (free := self.target.free_sequences):
            self._say("warns", "sequences_of_their_own", _free_sequences(free), _SET_THEM)
        made = self.mapped.keys() - self.adopted.keys()
        self.findings += carried(table for name, table in self.keyed.items() if name in made)
        self._refuse_collisions()
        self._add_foreign_keys()
        ddl = self._ddl()
        statements = ddl.statements
        if statements and self.target is not None and not self.target.exists:
            statements = (f"CREATE SCHEMA {quoted(self.target.name)}", *statements)
        if any(scalars.NAME in statement for statement in statements):
            statements = (scalars.CREATE, *statements)
        tables = tuple(self.mapped[name] for name in sorted(self.mapped))
        return Mapping(tables, statements, in_order([*self.findings, *ddl.findings]))

    def _say(self, severity: str, code: str, message: str, todo: str, table: str = "", column: str = "") -> None:
        self.findings.append(Finding(severity, code, message, todo, table, column))  # type: ignore[arg-type]  # literal

    def _check_settings(self) -> None:
        names = [table.name for table in self.source.tables]
        for name, chosen in self.settings.tables.items():
            table = self.source.table(name)
            if table is None and chosen.ignore and self.target and self.target.table(name):
                continue  # what is only on Postgres is left out of what is carried back
            if table is None:
                self._say(
                    "blocks",
                    "setting_unknown_table",
                    f"The configuration speaks of table {name}, which SQLite does not have.{nearest(name, names)}",
                    "Correct or remove [tables." + name + "].",
                )
                continue
            columns = [column.name for column in table.columns]
            for column in chosen.columns:
                if table.column(column) is None:
                    self._say(
                        "blocks",
                        "setting_unknown_column",
                        f"The configuration speaks of column {column}, which the table does not have."
                        + nearest(column, columns),
                        f"Correct or remove [tables.{name}.columns.{column}].",
                        table.name,
                    )

    def _map_table(self, source: SqliteTable, chosen: TableSettings) -> None:
        wanted = chosen.target or source.name
        target = self.target.named(wanted) if self.target else None
        if target is not None and source.name.lower() in OF_BOTH:
            self._say("informs", "migrations_mirrored", _SAME_MIGRATIONS, _IF_THEY_DIFFER, source.name)
        asked = Asked(
            source,
            target,
            chosen,
            (target.place if target else "") or self.settings.postgres.schema_,
            taken=target is None and self.target is not None and wanted in self.target.others,
            born=self.born and target is None,
            loose=self.loose and target is None,
            numbered=target is None and (chosen.rowid or self.settings.postgres.rowid) == "keep",
        )
        found = map_table(asked, self.histograms if source.name in self.profiled else {})
        self.findings += found.findings
        if found.keyed is not None:
            self.keyed[source.name] = found.keyed
        if found.table is None:
            return
        if target is not None:
            self.adopted[source.name] = target
        self.mapped[source.name] = found.table

    def _refuse_collisions(self) -> None:
        targets = Counter(table.target for table in self.mapped.values())
        ids = Counter(table.id for table in self.mapped.values())
        for table in list(self.mapped.values()):
            if targets[table.target] > 1:
                self._say(
                    "blocks",
                    "target_twice",
                    f"Another table is mapped to {table.target} as well.",
                    "Give one of them another `target`.",
                    table.name,
                )
            elif ids[table.id] > 1:
                self._say(
                    "blocks",
                    "id_collision",
                    "Its number in change logs is that of another table.",
                    "Rename one of the two tables in SQLite.",
                    table.name,
                )
            else:
                continue
            del self.mapped[table.name]
            self.adopted.pop(table.name, None)

    # -- foreign keys ----------------------------------------------------------------------------------------------

    def _add_foreign_keys(self) -> None:
        given = dict(self.mapped)
        by_target = {table.target: table for table in given.values()}
        for name, table in given.items():
            source, adopted = self.source.table(name), self.adopted.get(name)
            assert source is not None
            there = adopted.foreign_keys if adopted else ()
            linked = link(
                Family(
                    table,
                    source,
                    adopted,
                    tuple(self._parent(key, given) for key in source.foreign_keys),
                    tuple(
                        by_target.get(key.parent) if key.parent_schema == table.target_schema else None for key in there
                    ),
                )
            )
            self.mapped[name], self.declared[name] = linked.table, linked.declared
            self.findings += linked.findings
        for name in self.adopted:
            for key in self.declared.get(name, ()):
                if key.parent in self.adopted and not self._is_there(self.mapped[name], key):
                    self._note_unenforced(self.mapped[name], self.mapped[key.parent], key)

    def _is_there(self, table: Table, key: SqliteForeignKey) -> bool:
        targets = {column.name: column.target for column in table.columns}
        columns = tuple(targets[name] for name in key.columns)
        parent = self.mapped[key.parent].target
        return any(
            (found.parent, found.columns) == (parent, columns) for found in self.adopted[table.name].foreign_keys
        )

    def _note_unenforced(self, table: Table, parent: Table, key: SqliteForeignKey) -> None:
        """A foreign key that Postgres cannot have; others may be put aside for now, or nobody wanted them."""
        problem = unenforceable(table, parent, key, self.adopted.get(parent.name))
        if not problem:
            return
        what = f"FOREIGN KEY ({', '.join(key.columns)}) REFERENCES {parent.name}"
        enforced = is_key(self.source.table(parent.name), key)
        writes = "writes which could break it are refused there" if enforced else "SQLite refuses writes as a mismatch"
        self._say(
            "warns",
            "constraint_lacking",
            f"Postgres cannot enforce {what}: {problem}; so {writes}.",
            "Mend it in SQLite, or drop it there.",
            table.name,
        )
        if not enforced:
            return  # where foreign keys are off, nobody minds it
        # Of a table that refers to itself both are the same one.
        self._add_unkept(table.name, Unkept(what, key.columns))
        self._add_unkept(parent.name, Unkept(f"{what} of {table.name}", key.parent_columns, deletes=True))

    def _add_unkept(self, name: str, one: Unkept) -> None:
        table = self.mapped[name]
        self.mapped[name] = replace(table, unkept=(*table.unkept, one))

    def _parent(self, key: SqliteForeignKey, given: MappingOf[str, Table]) -> tuple[SqliteTable, Table] | None:
        parent = self.source.table(key.parent)
        mapped = given.get(parent.name) if parent else None
        return (parent, mapped) if parent and mapped else None

    # -- DDL -------------------------------------------------------------------------------------------------------

    def _ddl(self) -> Ddl:
        existing = self.target
        ddl = Ddl(taken={*existing.others, *(table.name for table in existing.tables)} if existing else set())
        ddl.terms = self.terms
        new = [self.mapped[name] for name in sorted(self.mapped) if name not in self.adopted]
        ddl.taken |= {table.target for table in new}
        for table in new:
            source = self.keyed.get(table.name) or self.source.table(table.name)
            assert source is not None
            ddl.add_table(table, source)
        for table in new:
            for key in self.declared[table.name]:
                parent = self.mapped[key.parent]
                problem = unenforceable(table, parent, key, self.adopted.get(parent.name))
                if problem:
                    self._say(
                        "warns",
                        "foreign_key_not_carried_over",
                        f"The foreign key ({', '.join(key.columns)}) to {key.parent} is left out: {problem}.",
                        "Mend it in SQLite, or accept that Postgres does not enforce it.",
                        table.name,
                    )
                else:
                    ddl.add_foreign_key(table, parent, key)
        return ddl


def _free_sequences(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:_MOST_NAMED]) + (", ..." if len(names) > _MOST_NAMED else "")
    return f"Sequences on Postgres that no column is filled from stay where they are in a promotion: {shown}."
