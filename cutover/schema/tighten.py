"""Tighter types for tables that cutover creates, each with its proof from the data. Proposed always, used when asked.

what a column is declared and called ─▶ candidate ─▶ no value misfits (SQL, in the pass of the checks)
    ─▶ its codec takes every value (second pass, candidates only) ─▶ both ends of each foreign key agree ─▶ proposal
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from cutover.errors import SchemaError
from cutover.model.table import Column, Table
from cutover.schema.findings import Finding
from cutover.schema.judging import Judge
from cutover.schema.profile import Progress, count_conditions
from cutover.schema.sqlite_schema import SqliteTable, quoted
from cutover.settings import ColumnSettings, Settings, TableSettings

_CALLED_BOOLEAN = re.compile(
    r"^(is|has|can|should|was)_|(^|_)(active|enabled|disabled|deleted|archived|hidden|public)$"
)
_CALLED_JSON = re.compile(r"(^|_)(json|meta|metadata|settings|config|payload|preferences)$")
_DECIMAL = re.compile(r"(?:DECIMAL|NUMERIC)\s*(?:\(\s*(\d+)\s*(?:,\s*(\d+)\s*)?\))?", re.IGNORECASE)
_HEX = "[0-9a-f]"
_DAY = "[0-9][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9]"
_TIME = "[T ][0-2][0-9]:[0-5][0-9]:[0-5][0-9]*"
_ZONE = "({0} LIKE '%Z' OR substr({0}, 20) GLOB '*[+-][0-9][0-9]*')"
_UUID = "-".join(_HEX * length for length in (8, 4, 4, 4, 12))


_SAMPLE = 500
"""Rows that are looked at before all others are."""


@dataclass(frozen=True)
class Candidate:
    """A type that a column may have, if its values allow it."""

    column: Column
    type: str
    fits: str
    """SQL of a value (`s` names the row) that may be of the type, as far as a look tells."""
    because: str
    """What the values are, for people: `0 or 1`."""


@dataclass(frozen=True)
class Proposal:
    """A type that every value of the column has passed."""

    table: str
    column: str
    type: str
    values: int
    proof: str

    def finding(self) -> Finding:
        """As part of the plan."""
        return Finding(
            "informs",
            "tighter_type",
            f"It can be {self.type} on Postgres: {self.proof}.",
            f'Plan with --tighten, or set type = "{self.type}" for the column.',
            self.table,
            self.column,
            self.values,
        )


def candidates(table: Table) -> Iterator[Candidate]:
    """What is worth a look, at most one a column. Keys only where the order stays the same."""
    for column in table.columns:
        if column.name == table.rowid_alias:
            continue
        for kind, test, because in _kinds(column):
            if column.name in table.key and kind not in ("uuid", "date"):
                continue
            yield Candidate(column, kind, test.format(f"s.{quoted(column.name)}"), because)


def _kinds(column: Column) -> Iterator[tuple[str, str, str]]:
    declared, name = column.declared.upper(), column.name.lower()
    if column.affinity in ("INTEGER", "NUMERIC"):
        if "BOOL" in declared or _CALLED_BOOLEAN.search(name):
            yield "boolean", "(typeof({0}) = 'integer' AND {0} IN (0, 1))", "0 or 1"
        elif found := _DECIMAL.fullmatch(column.declared.strip()):
            kind = f"numeric({found[1]},{found[2] or 0})" if found[1] else "numeric"
            yield kind, "typeof({0}) IN ('integer', 'real')", "a number that it holds exactly"
    if column.affinity in ("TEXT", "NUMERIC", "BLOB"):
        text = "(typeof({0}) = 'text' AND %s)"
        timed = f"{{0}} GLOB '{_DAY}{_TIME}'"
        yield "timestamp with time zone", text % f"{timed} AND {_ZONE}", "a moment with its offset"
        yield "timestamp without time zone", text % f"{timed} AND NOT {_ZONE}", "a date with a time and no offset"
        yield "date", text % f"{{0}} GLOB '{_DAY}'", "a day"
        yield "uuid", text % f"({{0}} GLOB '{_UUID}' OR {{0}} GLOB '{_HEX * 32}')", "a UUID"
        if "JSON" in declared or _CALLED_JSON.search(name):
            yield "jsonb", text % "substr(ltrim({0}), 1, 1) IN ('{{', '[')", "an object or a list in JSON"


def plausible(connection: sqlite3.Connection, source: SqliteTable, chosen: Sequence[Candidate]) -> list[Candidate]:
    """Those that the first rows do not speak against: most are out of the question, and dear to count in every row."""
    if not chosen:
        return []
    tests = ", ".join(
        f"coalesce(min(CASE WHEN {value(each)} IS NULL THEN 1 ELSE {each.fits} END), 1)" for each in chosen
    )
    sample = f"(SELECT * FROM {quoted(source.name)} LIMIT {_SAMPLE}) AS s"
    fitting = connection.execute(f"SELECT {tests} FROM {sample}").fetchone()
    return [each for each, fits in zip(chosen, fitting, strict=True) if fits]


def value(candidate: Candidate) -> str:
    """SQL of its column."""
    return f"s.{quoted(candidate.column.name)}"


def propose(
    connection: sqlite3.Connection,
    found: Mapping[str, tuple[Table, SqliteTable, Sequence[Candidate]]],
    progress: Progress,
) -> list[Proposal]:
    """Candidates (by table) whose every value the codec takes, and whose foreign keys keep equal types at both ends."""
    proven = dict[tuple[str, str], Proposal]()
    for table, source, chosen in found.values():
        judged = [(each, judge) for each in chosen if (judge := _judge(connection, table, each))]
        conditions = [judge.condition(value(each)) for each, judge in judged]
        present = [f"{value(each)} IS NOT NULL" for each, _ in judged]
        if not judged:
            continue
        _, counts = count_conditions(connection, source, [*conditions, *present], progress)
        for number, (each, _) in enumerate(judged):
            refused, values = counts[number], counts[len(judged) + number]
            if values and not refused:
                proof = f"all {values:,} values are {each.because}"
                proven[table.name, each.column.name] = Proposal(table.name, each.column.name, each.type, values, proof)
    _agree(proven, [table for table, _, _ in found.values()])
    return [proven[where] for where in sorted(proven)]


def _judge(connection: sqlite3.Connection, table: Table, each: Candidate) -> Judge | None:
    column = replace(each.column, target_type=each.type, exact=each.column.name in table.key)
    try:
        return Judge(connection, column)
    except SchemaError:
        return None


def _agree(proven: dict[tuple[str, str], Proposal], tables: Iterable[Table]) -> None:
    """A foreign key between two types is none on Postgres: both ends change, or neither."""
    pairs = [
        ((table.name, mine), (key.parent, theirs))
        for table in tables
        for key in table.foreign_keys
        for mine, theirs in zip(key.columns, key.parent_columns, strict=True)
    ]
    changed = True
    while changed:
        changed = False
        for mine, theirs in pairs:
            ends = [proven[end].type if end in proven else "" for end in (mine, theirs)]
            if ends[0] != ends[1]:
                changed = True
                proven.pop(mine, None)
                proven.pop(theirs, None)


def with_types(settings: Settings, proposals: Iterable[Proposal]) -> Settings:
    """The configuration with these types, where it does not name one itself."""
    tables = dict(settings.tables)
    for each in proposals:
        name = next((name for name in tables if name.lower() == each.table.lower()), each.table)
        table = tables.get(name, TableSettings())
        columns = dict(table.columns)
        spelled = next((name for name in columns if name.lower() == each.column.lower()), each.column)
        chosen = columns.get(spelled, ColumnSettings())
        if not chosen.type:
            columns[spelled] = chosen.model_copy(update={"type": each.type})
            tables[name] = table.model_copy(update={"columns": columns})
    return settings.model_copy(update={"tables": tables})
