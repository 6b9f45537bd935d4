"""How Postgres would run a statement of SQLite's: the plan of its translation, for any arguments."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import count
from typing import Any

from cutover.dialect.connections import DRIVER_ERRORS, Connections, abandon, as_statement_error
from cutover.dialect.failures import translate_failure
from cutover.dialect.typed import Refused
from cutover.errors import StatementError

_numbers = count(1)
"""For names: what a caller that was cancelled leaves behind is in nobody's way."""


async def plan_of(connections: Connections, sql: str) -> list[str]:
    """A line for each node of the plan, inner ones further in. Conditions are left out: they hold the text's literals.

    Raises `StatementError`, also for a statement that has no translation.
    """
    dialect = connections.dialect
    async with connections.lend() as connection:
        try:
            if dialect.checks.check(sql).local:
                return []
            command = dialect.typical(sql).command
        except Refused as refused:
            raise StatementError(refused.message, "SQL_NOT_TRANSLATABLE") from None
        name = f"cutover_plan_{next(_numbers)}"
        arguments = ", ".join(["NULL"] * len(command.uses))
        try:
            await connection.execute("BEGIN READ ONLY; SET LOCAL plan_cache_mode = force_generic_plan")
            await connection.execute(f"PREPARE {name} AS {command.sql}")
            try:
                explain = f"EXPLAIN (FORMAT JSON) EXECUTE {name}" + (f"({arguments})" if arguments else "")
                found = await connection.fetchval(explain)
            finally:
                await abandon(connection)
                await connection.execute(f"DEALLOCATE {name}")
        except DRIVER_ERRORS as error:
            await abandon(connection)
            raise as_statement_error(translate_failure(error, dialect.catalog)) from None
    plan = json.loads(found) if isinstance(found, str) else found
    return list(_lines(plan[0]["Plan"], ""))


def _lines(node: dict[str, Any], indent: str) -> Iterator[str]:
    line = indent + str(node["Node Type"])
    if "Index Name" in node:
        line += f" using {node['Index Name']}"
    if "Relation Name" in node:
        line += f" on {node['Relation Name']}"
    yield f"{line} (about {node['Plan Rows']} rows)"
    for inner in node.get("Plans", ()):
        yield from _lines(inner, indent + "  ")
