"""The plan of a move: mapping, DDL, and everything in schema and data that stands in its way. Reads only."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping as MappingOf
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from cutover.model.table import Column, Table
from cutover.model.values import Key, SqlValue
from cutover.schema.checks import Check, checks_for, register_functions
from cutover.schema.ddl import Terms
from cutover.schema.demands import demanded
from cutover.schema.findings import Finding, in_order
from cutover.schema.formats import with_formats
from cutover.schema.forms import mixed_forms, of_mixed_forms
from cutover.schema.mapping import Mapping, map_tables
from cutover.schema.matching import Histograms
from cutover.schema.objects import of_file, of_objects, of_sequences, of_target
from cutover.schema.postgres_schema import PostgresSchema, PostgresTable
from cutover.schema.profile import Progress, Questions, count_conditions, read_histograms, silent
from cutover.schema.server import ServerFacts, of_server
from cutover.schema.sqlite_schema import SqliteSchema, SqliteTable, quoted, read_sqlite_schema
from cutover.schema.tighten import Candidate, Proposal, candidates, plausible, propose, with_types
from cutover.schema.types import Histogram
from cutover.schema.uniqueness import find_duplicates
from cutover.settings import Settings

_EXAMPLES = 10
_CLASSES = ("integer", "real", "text", "blob")


@dataclass(frozen=True)
class Plan:
    """What `cutover plan` shows."""

    mapping: Mapping
    rows: dict[str, int]
    """Of each mapped table."""
    findings: tuple[Finding, ...]
    """Those of the mapping, of the data and of the file, in order."""
    adopted: frozenset[str] = frozenset()
    """Source names of the tables that exist on Postgres already."""
    histograms: MappingOf[tuple[str, str], Histogram] = field(default_factory=dict)
    """What each mapped column holds, by (table, column)."""
    proposals: tuple[Proposal, ...] = ()
    """Tighter types that the data would allow; in use already in a tightened plan."""
    tightened: bool = False

    @property
    def blocks(self) -> bool:
        """Whether anything forbids the move as things are."""
        return any(finding.severity == "blocks" for finding in self.findings)

    @property
    def notes(self) -> tuple[str, ...]:
        """What holds for every move."""
        return (_DROP_COLUMN,) if self.mapping.tables else ()

    def to_json(self, *, show_values: bool = False) -> dict[str, Any]:
        """For machines: tables with their columns, DDL, findings, proposals. Values are masked unless shown."""
        return {
            "blocks": self.blocks,
            "tables": [self._table_json(table) for table in self.mapping.tables],
            "ddl": list(self.mapping.create),
            "findings": [finding.to_json(show_values=show_values) for finding in self.findings],
            "notes": list(self.notes),
            "tightened": self.tightened,
            "proposals": [
                {
                    "table": each.table,
                    "column": each.column,
                    "type": each.type,
                    "values": each.values,
                    "proof": each.proof,
                }
                for each in self.proposals
            ],
        }

    def _table_json(self, table: Table) -> dict[str, Any]:
        return {
            "name": table.name,
            "target": f"{table.target_schema}.{table.target}",
            "exists": table.name in self.adopted,
            "rows": self.rows.get(table.name, 0),
            "key": list(table.key),
            "columns": [
                {
                    "name": column.name,
                    "declared": column.declared,
                    "target": column.target,
                    "type": column.target_type,
                    "classes": self.histograms.get((table.name, column.name), Histogram()).counts,
                }
                for column in table.columns
            ],
        }


def make_plan(
    connection: sqlite3.Connection,
    target: PostgresSchema | None,
    settings: Settings,
    progress: Progress = silent,
    *,
    tighten: bool = False,
    server: ServerFacts | None = None,
) -> Plan:
    """Read schema and data and say what a move would do and what is in its way.

    `connection` may be read-only; functions are registered on it and text that is no UTF-8 is read with replacement
    characters. A live database is not disturbed: each read is short. With `tighten`, tables to be created get every
    type that was proposed. Raises `sqlite3.Error`.
    """
    connection.text_factory = lambda raw: raw.decode(errors="replace")
    connection.row_factory = None
    register_functions(connection)
    try:
        file = of_file(connection, settings)
        source = read_sqlite_schema(connection)
    except sqlite3.OperationalError as error:
        if "locked" not in str(error):
            raise
        return Plan(Mapping((), (), ()), {}, (_LOCKED,))
    survey = _Survey(connection, source, target, settings, progress, server)
    found = survey.plan(file)
    return survey.tightened(found, file) if tighten and found.proposals else found


@dataclass
class _Survey:
    """One look at everything."""

    connection: sqlite3.Connection
    source: SqliteSchema
    target: PostgresSchema | None
    settings: Settings
    progress: Progress
    server: ServerFacts | None = None
    rows: dict[str, int] = field(default_factory=dict)
    histograms: dict[tuple[str, str], Histogram] = field(default_factory=dict)
    read: Histograms = field(default_factory=dict)
    """Those that decided types."""
    findings: list[Finding] = field(default_factory=list)
    """Those of the data."""
    candidates: dict[str, tuple[Table, SqliteTable, list[Candidate]]] = field(default_factory=dict)

    def plan(self, file: Sequence[Finding]) -> Plan:
        mapping, self.read = _map_with_data(self.connection, self.source, self.target, self.settings, self.progress)
        mapping = replace(mapping, tables=with_formats(self.connection, mapping.tables).tables)
        mapped = {table.name: table for table in mapping.tables}
        adopted = set[str]()
        for table in mapping.tables:
            existing = self.target.table(table.target) if self.target else None
            if existing is not None:
                adopted.add(table.name)
                self.findings += find_duplicates(self.connection, table, existing)
                self.findings += of_target(table, existing)
            self._look_at(table, existing, mapped)
        proposals = propose(self.connection, self.candidates, self.progress)
        plan = Plan(mapping, self.rows, (), frozenset(adopted), self.histograms, tuple(proposals))
        return replace(plan, findings=self._all_findings(plan, file))

    def tightened(self, plan: Plan, file: Sequence[Finding]) -> Plan:
        """The same with the types proposed. No row is read again: each value has passed the codec of its new type."""
        settings = with_types(self.settings, plan.proposals)
        mapping = map_tables(self.source, self.target, settings, self.read)
        mapping = replace(mapping, tables=with_formats(self.connection, mapping.tables).tables)
        tighter = replace(plan, mapping=mapping, tightened=True)
        return replace(tighter, findings=self._all_findings(tighter, file))

    def _all_findings(self, plan: Plan, file: Sequence[Finding]) -> tuple[Finding, ...]:
        found = [*file, *plan.mapping.findings, *of_objects(self.source), *self.findings]
        found += of_sequences(self.connection, self.source)
        if self.server is not None:
            there = [table for table in plan.mapping.tables if table.name in plan.adopted]
            schema = self.settings.postgres.schema_
            found += of_server(self.server, schema, there, creates=bool(plan.mapping.create))
        types = {
            (table.name, column.name): column.target_type for table in plan.mapping.tables for column in table.columns
        }
        found += [each.finding() for each in plan.proposals if types.get((each.table, each.column)) != each.type]
        return in_order(found)

    def _look_at(self, table: Table, existing: PostgresTable | None, mapped: MappingOf[str, Table]) -> None:
        """One pass over the rows: checks, what each column holds, forms of dates, and what could be tighter."""
        own = self.source.table(table.name)
        assert own is not None
        checks = checks_for(self.connection, table, own, existing, mapped)
        if existing is not None:
            facts = self.server.tables.get(existing.name) if self.server else None
            checks += demanded(table, existing, facts.domains if facts else ())
        forms = list(mixed_forms(table))
        tighter = plausible(self.connection, own, list(candidates(table))) if existing is None else []
        ask = Questions()
        checked = ask.all(check.condition for check in checks)
        classes = {
            column.name: ask.all(f"typeof(s.{quoted(column.name)}) = '{each}'" for each in _CLASSES)
            for column in table.columns
        }
        formed = [
            (column, [name for name, _ in (*some, *zones)], len(some), ask.all(sql for _, sql in (*some, *zones)))
            for column, some, zones in forms
        ]
        fitting = ask.all(candidate.fits for candidate in tighter)
        rows, counts = count_conditions(self.connection, own, ask.conditions, self.progress)
        self.rows[table.name] = rows
        for column in table.columns:
            held = [counts[at] for at in classes[column.name]]
            self.histograms[table.name, column.name] = Histogram(rows - sum(held), *held)
        for check, at in zip(checks, checked, strict=True):
            if counts[at]:
                self.findings.append(self._with_examples(own, table, check, counts[at]))
        for column, names, split, places in formed:
            numbers = [counts[at] for at in places]
            for part in (slice(0, split), slice(split, None)):
                seen = {name: count for name, count in zip(names[part], numbers[part], strict=True) if count}
                self.findings += of_mixed_forms(table, column, seen)
        chosen = [
            candidate
            for candidate, at in zip(tighter, fitting, strict=True)
            if 0 < counts[at] == rows - self.histograms[table.name, candidate.column.name].null
            and candidate.column.target_type != candidate.type
        ]
        if chosen:
            self.candidates[table.name] = (table, own, chosen)

    def _with_examples(self, own: SqliteTable, table: Table, check: Check, count: int) -> Finding:
        finding = check.found(count)
        column = finding.column if table_column(table, finding.column) else table.key[0]
        examples, values = _examples(self.connection, own, table.key, check, column)
        histogram = self.histograms.get((table.name, finding.column))
        return replace(
            finding, examples=examples, values=values, histogram=str(histogram) if histogram is not None else ""
        )


def table_column(table: Table, name: str) -> Column | None:
    """The mapped column of exactly that name."""
    return next((column for column in table.columns if column.name == name), None)


def map_with_data(
    connection: sqlite3.Connection,
    source: SqliteSchema,
    target: PostgresSchema | None,
    settings: Settings,
    progress: Progress = silent,
    terms: Terms | None = None,
) -> Mapping:
    """`map_tables`, asking the data of tables to be created where the declared types leave something open.

    Where every table exists on Postgres nothing is read, so it is as cheap as `map_tables`. Raises `sqlite3.Error`.
    """
    return _map_with_data(connection, source, target, settings, progress, terms)[0]


def _map_with_data(
    connection: sqlite3.Connection,
    source: SqliteSchema,
    target: PostgresSchema | None,
    settings: Settings,
    progress: Progress,
    terms: Terms | None = None,
) -> tuple[Mapping, Histograms]:
    first = map_tables(source, target, settings, terms=terms)
    open_tables = {finding.table for finding in first.findings if finding.code == "type_undecided"}
    created = {table.name for table in first.tables if target is None or target.table(table.target) is None}
    histograms = read_histograms(connection, source, sorted(open_tables | created), progress)
    return map_tables(source, target, settings, histograms, terms=terms) if histograms else first, histograms


def _examples(
    connection: sqlite3.Connection, source: SqliteTable, key: tuple[str, ...], check: Check, column: str
) -> tuple[tuple[Key, ...], tuple[SqlValue, ...]]:
    """Keys of the first rows that meet the condition, and what the column holds in them."""
    if check.judge is not None:
        check.judge.counting = False
    listed = ", ".join(f"s.{quoted(name)}" for name in (*key, column))
    sql = f"SELECT {listed} FROM {quoted(source.name)} AS s WHERE {check.condition} LIMIT {_EXAMPLES}"
    rows = connection.execute(sql).fetchall()
    return tuple(row[:-1] for row in rows), tuple(row[-1] for row in rows)


_DROP_COLUMN = (
    "While cutover runs, SQLite refuses ALTER TABLE ... DROP COLUMN to programs that open the file themselves, because "
    "the triggers of capture name columns. Other migrations are followed; through the front door this one is, too."
)

_LOCKED = Finding(
    "blocks",
    "locked",
    "The database is locked: a program holds it for itself alone (locking_mode = EXCLUSIVE, or a long write).",
    "Have that program use PRAGMA locking_mode = NORMAL and WAL, and plan again.",
)
