"""What a writer was told, and the proof that the store agrees: nothing acknowledged is lost, nothing happened twice."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import asyncpg

from cutover.cli.demo_data import TABLES, postgres_columns
from cutover.model.values import Row, SqlValue

Outcome = Literal["acknowledged", "refused", "unknown"]
"""refused: certainly not executed. unknown: the answer was lost, so either may be true, but only ever one of them."""

RowId = tuple[str, SqlValue]
"""Table and id."""

Change = Callable[[Row | None], Row | None]
"""From the row before to the row after; None is no row."""


@dataclass
class Ledger:
    """Every state that each written row may rightly be in. One state, unless an outcome is unknown.

    A change is a function of the row before it, so that a write that ran twice (an append, say) shows as a state that
    is not among them. Each row has one writer, and a row with an unknown outcome is not written again: its write could
    still land after a later one.
    """

    states: dict[RowId, set[Row | None]] = field(default_factory=dict)
    outcomes: dict[Outcome, int] = field(
        default_factory=lambda: dict.fromkeys(("acknowledged", "refused", "unknown"), 0)
    )

    def record(self, outcome: Outcome, changes: Mapping[RowId, Change]) -> None:
        """Note the outcome of one transaction, given the changes it makes if it runs."""
        self.outcomes[outcome] += 1
        if outcome == "refused":
            return
        for row_id, change in changes.items():
            before = self.states.get(row_id, {None})
            after = {change(row) for row in before}
            self.states[row_id] = after if outcome == "acknowledged" else before | after

    def certain(self, table: str) -> list[Row]:
        """Rows of `table` that certainly exist and may be written again."""
        return [
            row
            for (name, _), rows in self.states.items()
            if name == table and len(rows) == 1
            for row in rows
            if row is not None
        ]

    def check(self, stored: Mapping[str, Iterable[Row]], tag: str = "") -> list[str]:
        """Compare with what a store holds; each problem is one sentence, none is the proof.

        `stored` has the rows of each table, in the order of `TABLES`. With a `tag`, rows of that writer which the
        ledger does not know are problems too.
        """
        found: dict[RowId, Row] = {}
        problems = []
        for table, rows in stored.items():
            for row in rows:
                if (table, row[0]) in found:
                    problems.append(f"{table} {row[0]!r} is there twice")
                found[table, row[0]] = row
        for (table, key), allowed in self.states.items():
            stored_row = found.get((table, key))
            if stored_row not in allowed:
                problems.append(_problem(table, key, stored_row, allowed))
        if tag:
            strangers = [row_id for row_id in found if str(row_id[1]).startswith(f"{tag}-")]
            problems += [
                f"{t} {k!r} is there, though no write made it" for t, k in strangers if (t, k) not in self.states
            ]
        return problems


def _problem(table: str, key: SqlValue, row: Row | None, allowed: set[Row | None]) -> str:
    if row is None:
        return f"{table} {key!r} is lost, though its write was acknowledged"
    if allowed == {None}:
        return f"{table} {key!r} is there, though its delete was acknowledged"
    wanted = next(state for state in allowed if state is not None)
    columns = [name for name, have, want in zip(TABLES[table], row, wanted, strict=True) if have != want]
    return f"{table} {key!r} differs from what was acknowledged in {', '.join(columns)}"


def sqlite_rows(path: str) -> dict[str, list[Row]]:
    """Everything a SQLite file holds of the application. Not for the process that serves the file."""
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        connection.execute("BEGIN")
        return {
            table: connection.execute(f"SELECT {', '.join(columns)} FROM {table}").fetchall()
            for table, columns in TABLES.items()
        }
    finally:
        connection.close()


async def postgres_rows(url: str, schema: str = "public") -> dict[str, list[Row]]:
    """Everything a Postgres schema holds of the application, spelt as SQLite would."""
    connection: asyncpg.Connection = await asyncpg.connect(url, server_settings={"search_path": schema})
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            return {
                table: [
                    plain_row(table, row)
                    for row in await connection.fetch(f"SELECT {', '.join(postgres_columns(table))} FROM {table}")
                ]
                for table in TABLES
            }
    finally:
        await connection.close()


def plain_row(table: str, values: Iterable[Any]) -> Row:
    """A row as Postgres gives it, with JSON spelt as the application spells it: without spaces."""
    row = list(values)
    if table == "users":
        place = TABLES["users"].index("assurance_signals_json")
        if row[place] is not None:
            row[place] = json.dumps(json.loads(row[place]), separators=(",", ":"), ensure_ascii=False)
    return tuple(row)
