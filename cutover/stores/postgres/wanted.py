"""Schema changes that applications sent in SQLite's SQL while Postgres was primary, until SQLite has them too.

They are written in the transaction that makes the change, so they are there if and only if the change is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from cutover.schema.objects_wanted import SchemaObject

_CREATE = """
CREATE TABLE IF NOT EXISTS cutover.wanted (
    kind text, name text, spelled text NOT NULL, on_table text NOT NULL, sql text NOT NULL, PRIMARY KEY (kind, name)
)"""
_WRITE = """
INSERT INTO cutover.wanted VALUES ($1, lower($2), $2, $3, $4)
ON CONFLICT (kind, name) DO UPDATE SET spelled = excluded.spelled, on_table = excluded.on_table, sql = excluded.sql"""


class Asks(Protocol):
    """A connection, or a link."""

    async def execute(self, sql: str, *args: Any) -> Any:  # noqa: ANN401  # as drivers have it
        """Run."""

    async def fetch(self, sql: str, *args: Any) -> list[Any]:  # noqa: ANN401  # as drivers have it
        """All rows."""


async def want(link: Asks, changes: Sequence[SchemaObject]) -> None:
    """Have SQLite get these, too."""
    if not (await link.fetch("SELECT to_regclass('cutover.wanted') IS NOT NULL"))[0][0]:
        await link.execute(_CREATE)
    for each in changes:
        await link.execute(_WRITE, each.kind, each.name, each.table, each.sql)


async def wanted(link: Asks) -> list[SchemaObject]:
    """All that were sent since SQLite was last known to have everything."""
    if not (await link.fetch("SELECT to_regclass('cutover.wanted') IS NOT NULL"))[0][0]:
        return []
    rows = await link.fetch("SELECT kind, spelled, on_table, sql FROM cutover.wanted ORDER BY kind, name")
    return [SchemaObject(*row) for row in rows]


async def settled(link: Asks, changes: Sequence[SchemaObject]) -> None:
    """SQLite has these; one that was changed again since then stays."""
    for each in changes:
        await link.execute(
            "DELETE FROM cutover.wanted WHERE kind = $1 AND name = lower($2) AND sql = $3",
            *(each.kind, each.name, each.sql),
        )
