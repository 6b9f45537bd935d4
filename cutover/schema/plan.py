"""The plan of a move: mapping, DDL, and everything in schema and data that stands in its way. Reads only."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from cutover.model.values import Key, SqlValue
from cutover.schema.checks import Check, checks_for, find_duplicates, register_functions
from cutover.schema.findings import Finding, in_order
from cutover.schema.mapping import Mapping, map_tables
from cutover.schema.postgres_schema import PostgresSchema, PostgresTable
from cutover.schema.profile import Progress, count_conditions, read_histograms, silent
from cutover.schema.sqlite_schema import SqliteSchema, SqliteTable, quoted, read_sqlite_schema
from cutover.settings import Settings

_EXAMPLES = 10


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

    @property
    def blocks(self) -> bool:
        """Whether anything forbids the move as things are."""
        return any(finding.severity == "blocks" for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """For machines: tables with their columns, DDL, findings."""
        return {
            "blocks": self.blocks,
            "tables": [
                {
                    "name": table.name,
                    "target": f"{table.target_schema}.{table.target}",
                    "exists": table.name in self.adopted,
                    "rows": self.rows.get(table.name, 0),
                    "key": list(table.key),
                    "columns": [
                        {"name": c.name, "declared": c.declared, "target": c.target, "type": c.target_type}
                        for c in table.columns
                    ],
                }
                for table in self.mapping.tables
            ],
            "ddl": list(self.mapping.create),
            "findings": [
                {**asdict(finding), "examples": [[_plain(part) for part in key] for key in finding.examples]}
                for finding in self.findings
            ],
        }


def _plain(value: SqlValue) -> int | float | str | None:
    return f"x'{value.hex()}'" if isinstance(value, bytes) else value


def make_plan(
    connection: sqlite3.Connection,
    target: PostgresSchema | None,
    settings: Settings,
    progress: Progress = silent,
) -> Plan:
    """Read schema and data and say what a move would do and what is in its way.

    `connection` may be read-only; functions are registered on it and text that is no UTF-8 is read with replacement
    characters. A live database is not disturbed: each read is short. Raises `sqlite3.Error`.
    """
    connection.text_factory = lambda raw: raw.decode(errors="replace")
    connection.row_factory = None
    register_functions(connection)
    findings = list[Finding]()
    try:
        findings += _of_file(connection)
        source = read_sqlite_schema(connection)
    except sqlite3.OperationalError as error:
        if "locked" not in str(error):
            raise
        return Plan(Mapping((), (), ()), {}, (_LOCKED,))
    mapping = map_with_data(connection, source, target, settings, progress)
    findings += [*mapping.findings, *_of_objects(source)]
    rows, adopted = dict[str, int](), set[str]()
    mapped = {table.name: table for table in mapping.tables}
    for table in mapping.tables:
        own = source.table(table.name)
        existing = target.table(table.target) if target else None
        assert own is not None
        if existing is not None:
            adopted.add(table.name)
            findings += find_duplicates(connection, table, existing)
            findings += _of_target(table.name, existing)
        checks = checks_for(table, own, existing, mapped)
        rows[table.name], counts = count_conditions(connection, own, [check.condition for check in checks], progress)
        for check, count in zip(checks, counts, strict=True):
            if count:
                findings.append(
                    replace(check.finding, count=count, examples=_examples(connection, own, table.key, check))
                )
    return Plan(mapping, rows, in_order(findings), frozenset(adopted))


def map_with_data(
    connection: sqlite3.Connection,
    source: SqliteSchema,
    target: PostgresSchema | None,
    settings: Settings,
    progress: Progress = silent,
) -> Mapping:
    """`map_tables`, asking the data of tables to be created where the declared types leave something open.

    Where every table exists on Postgres nothing is read, so it is as cheap as `map_tables`. Raises `sqlite3.Error`.
    """
    first = map_tables(source, target, settings)
    open_tables = {finding.table for finding in first.findings if finding.code == "type_undecided"}
    created = {table.name for table in first.tables if target is None or target.table(table.target) is None}
    histograms = read_histograms(connection, source, sorted(open_tables | created), progress)
    return map_tables(source, target, settings, histograms) if histograms else first


def _examples(
    connection: sqlite3.Connection, source: SqliteTable, key: tuple[str, ...], check: Check
) -> tuple[Key, ...]:
    listed = ", ".join(f"s.{quoted(name)}" for name in key)
    sql = f"SELECT {listed} FROM {quoted(source.name)} AS s WHERE {check.condition} LIMIT {_EXAMPLES}"
    return tuple(connection.execute(sql).fetchall())


_LOCKED = Finding(
    "blocks",
    "locked",
    "The database is locked: a program holds it for itself alone (locking_mode = EXCLUSIVE, or a long write).",
    "Have that program use PRAGMA locking_mode = NORMAL and WAL, and plan again.",
)


def _of_file(connection: sqlite3.Connection) -> list[Finding]:
    found = []
    (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
    if mode != "wal":
        found.append(
            Finding(
                "warns",
                "not_wal",
                f"The journal mode is {mode}; cutover needs WAL, so that it never blocks the application.",
                "PRAGMA journal_mode = WAL, once, by the application; otherwise `cutover serve` sets it.",
            )
        )
    (encoding,) = connection.execute("PRAGMA encoding").fetchone()
    if encoding != "UTF-8":
        found.append(
            Finding(
                "blocks",
                "encoding",
                f"The database's encoding is {encoding}; cutover compares text by its UTF-8 bytes.",
                "Make a UTF-8 copy: PRAGMA encoding = 'UTF-8' in a new file, then .dump the old one into it.",
            )
        )
    return found


def _of_objects(source: SqliteSchema) -> Iterator[Finding]:
    for name in source.virtual_tables:
        yield Finding(
            "warns",
            "virtual_table",
            "A virtual table (such as a full-text index) is not mirrored.",
            "Build its equivalent on Postgres (such as a tsvector index), filled from the mirrored tables.",
            name,
        )
    for view in source.views:
        message = f"The view {view.name} is not created on Postgres."
        yield Finding("warns", "view", message, "Create it there, if the application reads it.", view.name)
    for trigger in source.triggers:
        yield Finding(
            "warns",
            "trigger",
            f"The trigger {trigger.name} is not created on Postgres. What it writes is mirrored as data.",
            "Create its equivalent there, if the application relies on it once Postgres is primary.",
            trigger.table,
        )
    for table in source.tables:
        yield from _of_table(table)


def _of_table(table: SqliteTable) -> Iterator[Finding]:
    if table.autoincrement:
        message = "AUTOINCREMENT: numbers are never used again. An identity column on Postgres keeps to that."
        yield Finding("informs", "autoincrement", message, "", table.name)
    if table.conflict:
        yield Finding(
            "warns",
            "constraint_conflict",
            f"A constraint has ON CONFLICT {', '.join(sorted(set(table.conflict)))}, which Postgres does not know.",
            "Put the clause into the statements (INSERT OR ...).",
            table.name,
        )
    for index in table.indexes:
        if None in index.columns:
            message = f"The {'unique ' if index.unique else ''}index {index.name} is over an expression."
            todo = "Check that Postgres has its equivalent."
            yield Finding("informs", "expression_index", message, todo, table.name)
        if index.partial:
            message = f"The index {index.name} is partial (WHERE {index.partial})."
            yield Finding("informs", "partial_index", message, "Check that Postgres has it too.", table.name)
    for column in table.columns:
        if column.generated:
            message = f"Generated as {column.generated}: each database computes it for itself."
            todo = "Check that both give the same."
            yield Finding("informs", "generated_column", message, todo, table.name, column.name)


def _of_target(name: str, target: PostgresTable) -> Iterator[Finding]:
    for trigger in target.triggers:
        message = f"The trigger {trigger.name} on Postgres rests while Postgres is the shadow."
        yield Finding("informs", "target_trigger", message, "", name)
    for check in target.checks:
        message = f"{check.name} on Postgres is {check.definition}: rows that break it are held back."
        yield Finding("informs", "target_check", message, "Check that SQLite's rows keep it.", name)
