"""From two schemas and the configuration: what is mirrored to where, what to create, what is in the way. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping as MappingOf
from dataclasses import dataclass, field, replace

from cutover.model.table import ForeignKey, Table, Tables
from cutover.schema.codecs import scalars
from cutover.schema.ddl import LONGEST_NAME, Ddl
from cutover.schema.findings import Finding, in_order
from cutover.schema.matching import Histograms, Match, choose_key, match_columns, nearest, pick
from cutover.schema.migrations import OF_BOTH, OF_ONE_STORE
from cutover.schema.postgres_schema import PostgresSchema, PostgresTable
from cutover.schema.rowids import keyed_by_rowid, with_rowid
from cutover.schema.sqlite_schema import ROWID, SqliteForeignKey, SqliteSchema, SqliteTable, quoted
from cutover.settings import Settings, TableSettings

_FAMILIES = {"character varying": "text", "smallint": "bigint", "integer": "bigint"}
_OF_SYSTEM = frozenset({"tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"})
"""Columns that every table on Postgres has."""
_MOST_COLUMNS = 1600

_SET_THEM = "Have the application set them before it writes to Postgres, in the smoke command for instance."
_MOST_NAMED = 10
_OWN_MIGRATIONS = "It records migrations that were written for one kind of database, so each store keeps its own."
_MIRROR_ALL_THE_SAME = "To mirror it all the same, give it a [tables] section."
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
) -> Mapping:
    """Map every table of `source` that is not ignored. Never raises: what is wrong is in the findings.

    A `target` of None, or a table that it does not have, means that cutover creates it. `histograms` decide types
    where the declared ones do not (`profile.read_histograms`); `born`: there never were any (`types.choose_type`).
    """
    return _Mapper(source, target, settings, histograms or {}, born).map()


@dataclass
class _Mapper:
    source: SqliteSchema
    target: PostgresSchema | None
    settings: Settings
    histograms: Histograms
    born: bool
    findings: list[Finding] = field(default_factory=list)
    mapped: dict[str, Table] = field(default_factory=dict)
    """By source name; those that are adopted are also in `adopted`."""
    declared: dict[str, list[SqliteForeignKey]] = field(default_factory=dict)
    adopted: dict[str, PostgresTable] = field(default_factory=dict)
    keyed: dict[str, SqliteTable] = field(default_factory=dict)
    """Tables whose declared key is none for Postgres, with their rowid."""

    def map(self) -> Mapping:
        self._check_settings()
        given = {name.lower(): each for name, each in self.settings.tables.items()}
        for source in self.source.tables:
            chosen = given.get(source.name.lower(), TableSettings())
            if chosen.ignore:
                self._say("informs", "table_ignored", "The configuration leaves this table out.", "", source.name)
            elif source.name.lower() in OF_ONE_STORE and source.name.lower() not in given:
                self._say("informs", "migrations_left_out", _OWN_MIGRATIONS, _MIRROR_ALL_THE_SAME, source.name)
            else:
                self._map_table(source, chosen)
        if self.target and (free := self.target.free_sequences):
            self._say("warns", "sequences_of_their_own", _free_sequences(free), _SET_THEM)
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
        existing = pick(wanted, [table.name for table in self.target.tables]) if self.target else None
        target = self.target.table(existing) if self.target and existing else None
        if target is not None and source.name.lower() in OF_BOTH:
            self._say("informs", "migrations_mirrored", _SAME_MIGRATIONS, _IF_THEY_DIFFER, source.name)
        if keyed_by_rowid(source, target, chosen, born=self.born):
            source = self.keyed[source.name] = with_rowid(source)
        match = Match(source, target, chosen, self.findings)
        if target is None and self.target is not None and wanted in self.target.others:
            match.blocks("name_taken", f"{wanted} exists on Postgres and is not a table.", "Set `target`, or drop it.")
        match_columns(match, self.histograms, born=self.born)
        key = choose_key(match) if match.whole else ()
        if target is None:
            _check_names(match, wanted)
        if not match.whole or not key:
            return
        if target is not None:
            self.adopted[source.name] = target
        self.mapped[source.name] = Table(
            name=source.name,
            target_schema=self.settings.postgres.schema_,
            target=target.name if target else wanted,
            columns=tuple(match.columns),
            key=key,
            unique=tuple(index for index in source.unique if index.columns != (ROWID,) or key == (ROWID,)),
            rowid_alias=source.rowid_alias if key == (source.rowid_alias,) else None,
            autoincrement=source.autoincrement,
            keys=chosen.keys,
            without_rowid=source.without_rowid,
            sql=source.sql,
            target_shape=tuple(f"{column.name} {column.type}" for column in target.columns) if target else (),
        )

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
        by_target = {table.target: table for table in self.mapped.values()}
        for name, table in list(self.mapped.items()):
            keys = dict[ForeignKey, None]()
            self.declared[name] = self._declared(name)
            for key in self.declared[name]:
                keys[ForeignKey(key.columns, key.parent, key.parent_columns)] = None
            for found in self._of_target(table, by_target):
                keys[found] = None
            self.mapped[name] = replace(table, foreign_keys=tuple(keys))

    def _declared(self, table: str) -> list[SqliteForeignKey]:
        """Foreign keys that SQLite declares between mapped tables, names as in CREATE TABLE."""
        source = self.source.table(table)
        assert source is not None
        found = []
        for key in source.foreign_keys:
            parent = self.source.table(key.parent)
            mapped = self.mapped.get(parent.name) if parent else None
            columns = _as_declared(source, key.columns, self.mapped[table])
            theirs = _as_declared(parent, key.parent_columns, mapped) if parent and mapped else None
            if mapped is None or not columns or not theirs or len(columns) != len(theirs):
                self._say(
                    "warns",
                    "foreign_key_unchecked",
                    f"Its foreign key ({', '.join(key.columns)}) points to {key.parent}, which is not mirrored.",
                    f"Mirror {key.parent}, or have the application check these rows.",
                    table,
                )
                continue
            found.append(replace(key, columns=columns, parent=mapped.name, parent_columns=theirs))
        return found

    def _of_target(self, table: Table, by_target: MappingOf[str, Table]) -> list[ForeignKey]:
        found = []
        adopted = self.adopted.get(table.name)
        for key in adopted.foreign_keys if adopted else ():
            parent = by_target.get(key.parent) if key.parent_schema == table.target_schema else None
            columns = _source_names(key.columns, table)
            theirs = _source_names(key.parent_columns, parent) if parent else None
            if parent is None or not columns or not theirs:
                self._say(
                    "warns",
                    "foreign_key_unchecked",
                    f"Postgres's foreign key {key.name} involves what is not mirrored, so orphans are not found before"
                    " a promotion.",
                    f"Mirror {key.parent} and its columns, or drop {key.name}.",
                    table.name,
                )
            else:
                found.append(ForeignKey(columns, parent.name, theirs))
        return found

    # -- DDL -------------------------------------------------------------------------------------------------------

    def _ddl(self) -> Ddl:
        existing = self.target
        ddl = Ddl(taken={*existing.others, *(table.name for table in existing.tables)} if existing else set())
        ddl.helpers = self.born
        new = [self.mapped[name] for name in sorted(self.mapped) if name not in self.adopted]
        ddl.taken |= {table.target for table in new}
        for table in new:
            source = self.keyed.get(table.name) or self.source.table(table.name)
            assert source is not None
            ddl.add_table(table, source)
        for table in new:
            for key in self.declared[table.name]:
                parent = self.mapped[key.parent]
                problem = self._unenforceable(table, parent, key)
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

    def _unenforceable(self, table: Table, parent: Table, key: SqliteForeignKey) -> str:
        """Why Postgres would refuse this foreign key; empty if it would not."""
        own = {column.name: column.target_type for column in table.columns}
        theirs = {column.name: column.target_type for column in parent.columns}
        for mine, other in zip(key.columns, key.parent_columns, strict=True):
            if _family(own[mine]) != _family(theirs[other]):
                return f"{mine} is {own[mine]} and {other} is {theirs[other]}"
        wanted = set(key.parent_columns)
        adopted = self.adopted.get(parent.name)
        if adopted:
            targets = {column.target for column in parent.columns if column.name in wanted}
            unique = any(
                index.unique and not index.partial and index.immediate and set(index.columns) == targets
                for index in adopted.indexes
            )
        else:
            unique = wanted == set(parent.key) or any(
                not index.partial
                and set(index.columns) == wanted
                and all(collation == "BINARY" for _, collation in index.terms)
                for index in parent.unique
            )
        return "" if unique else f"({', '.join(key.parent_columns)}) is not unique there"


def _as_declared(source: SqliteTable, names: tuple[str, ...], table: Table | None) -> tuple[str, ...]:
    """`names` as CREATE TABLE spells them; empty if one is not mirrored."""
    mapped = {column.name for column in table.columns} if table else set()
    found = [column.name for name in names if (column := source.column(name)) and column.name in mapped]
    return tuple(found) if len(found) == len(names) else ()


def _source_names(targets: tuple[str, ...], table: Table) -> tuple[str, ...]:
    names = {column.target: column.name for column in table.columns}
    return tuple(names[target] for target in targets) if all(target in names for target in targets) else ()


def _family(target_type: str) -> str:
    """Types that a foreign key may join are of one family."""
    base = target_type.partition("(")[0]
    return _FAMILIES.get(base, base)


def _free_sequences(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:_MOST_NAMED]) + (", ..." if len(names) > _MOST_NAMED else "")
    return f"Sequences on Postgres that no column is filled from stay where they are in a promotion: {shown}."


def _check_names(match: Match, table: str) -> None:
    for name in (table, *(column.target for column in match.columns)):
        if len(name.encode()) > LONGEST_NAME:
            match.blocks(
                "name_too_long",
                f"The name {name} is longer than the {LONGEST_NAME} bytes that Postgres keeps.",
                "Give it a shorter `target` in the configuration.",
            )
        elif re.search(r"[\x00-\x1f]", name):
            match.blocks("name_unusable", f"The name {name!r} holds control characters.", "Set a plain `target`.")
    for column in match.columns:
        if column.target in _OF_SYSTEM:
            message = f"Postgres keeps the name {column.target} for itself."
            match.blocks("name_reserved", message, "Give it another `target`.", column=column.name)
    if len(match.columns) > _MOST_COLUMNS:
        message = f"The table has {len(match.columns):,} columns, and Postgres takes {_MOST_COLUMNS:,}."
        match.blocks("too_many_columns", message, "Leave some out with ignore = true, or split the table in SQLite.")
    folded = Counter(column.target for column in match.columns)
    for name in (name for name, count in folded.items() if count > 1):
        match.blocks("target_twice", f"Two columns are mapped to {name}.", "Give one of them another `target`.")
