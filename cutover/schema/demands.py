"""What CHECKs and domains on Postgres demand, asked of SQLite's rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from cutover.model.table import Column, Table
from cutover.schema.backwards import ask_check
from cutover.schema.checks import Check
from cutover.schema.findings import Finding
from cutover.schema.parts import Untranslatable
from cutover.schema.postgres_schema import PostgresCheck, PostgresTable
from cutover.schema.sqlite_schema import quoted


def demanded(table: Table, target: PostgresTable, domains: Iterable[tuple[str, str, str]]) -> list[Check]:
    """All that can be asked. `domains` are (column, domain, CHECK) of the table."""
    asked = [of_target_check(table, check) for check in target.checks]
    asked += [of_domain(table, *domain) for domain in domains]
    return [check for check in asked if check is not None]


def of_target_check(table: Table, check: PostgresCheck) -> Check | None:
    """A CHECK of Postgres asked of SQLite's rows; None if it has no form that surely asks the same."""
    return _asked(table, check.name, check.definition, {column.target: column for column in table.columns})


def of_domain(table: Table, target: str, domain: str, definition: str) -> Check | None:
    """The same for a CHECK of the domain that the column named `target` on Postgres has."""
    column = next((column for column in table.columns if column.target == target), None)
    return _asked(table, f"the domain {domain}", definition, {"VALUE": column}) if column else None


def _asked(table: Table, name: str, definition: str, columns: Mapping[str, Column]) -> Check | None:
    try:
        broken = ask_check(definition, columns)
    except Untranslatable:
        return None
    named = [column.name for column in table.columns if f"s.{quoted(column.name)}" in broken]
    return Check(
        broken,
        Finding(
            "blocks",
            "target_check_broken",
            f"Rows break {name} on Postgres, which is {definition}.",
            "Mend them in SQLite, or drop the constraint on Postgres.",
            table.name,
            named[0] if len(named) == 1 else "",
        ),
    )
