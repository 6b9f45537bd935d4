"""How the columns on SQLite spell their values: settled with every mapping, and learned when there are data."""

from __future__ import annotations

from cutover.logs import get_logger
from cutover.model.table import Tables
from cutover.schema.formats import with_formats
from cutover.stores.sqlite.store import SqliteStore

_log = get_logger("serve")


class Spelling:
    """Knows the formats of columns, and remembers for what tables they were last asked."""

    def __init__(self, sqlite: SqliteStore) -> None:
        self._sqlite = sqlite
        self._asked: Tables = ()

    async def settle(self, tables: Tables) -> Tables:
        """`tables` with the formats of their columns; what the data say is recorded at once."""
        found = await self._sqlite.survey(lambda connection: with_formats(connection, tables))
        self._asked = tables
        if found.fresh:
            for (table, column), (_, name) in sorted(found.fresh.items()):
                _log.info(f"Values of {table}.{column} are written as {name} on SQLite.")
            await self._sqlite.record_formats(found.fresh)
        return found.tables

    async def learned(self) -> list[str]:
        """Tables that had nothing to say when they were asked, and now have."""
        found = await self._sqlite.survey(lambda connection: with_formats(connection, self._asked))
        return sorted({table for table, _ in found.fresh})
