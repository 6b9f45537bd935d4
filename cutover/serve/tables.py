"""Which table is which on both stores, and what stands in the way."""

from __future__ import annotations

from cutover.logs import get_logger
from cutover.model.table import Tables
from cutover.promote.parts import Situation
from cutover.schema.findings import Finding
from cutover.schema.mapping import Mapping, map_tables
from cutover.schema.plan import map_with_data
from cutover.schema.sqlite_schema import SqliteSchema
from cutover.serve.spelling import Spelling
from cutover.settings import Settings
from cutover.stores.postgres.store import PostgresStore
from cutover.stores.sqlite.store import SqliteStore

_log = get_logger("serve")


class Mapper:
    """Maps both schemas as they are now, and gives the stores the result."""

    def __init__(self, settings: Settings, sqlite: SqliteStore, postgres: PostgresStore, situation: Situation) -> None:
        self.ddl: tuple[str, ...] = ()
        """The SQLite schema's CREATE statements as last read, for the copy that statements are translated with."""
        self.spelling = Spelling(sqlite)
        self._settings = settings
        self._sqlite = sqlite
        self._postgres = postgres
        self._situation = situation

    async def map_sqlite(self) -> Tables:
        """The mapping from SQLite's schema alone, which serves until Postgres was asked."""
        source = await self._sqlite.read_schema()
        mapping = map_tables(source, None, self._settings)
        self.ddl = _statements(source)
        self._sqlite.serve_tables(mapping.tables)
        return mapping.tables

    async def map_tables(self, *, create: bool) -> Tables:
        """Read both schemas, with `create` make what is missing on Postgres, and give both stores the mapping."""
        source = await self._sqlite.read_schema()
        target = await self._postgres.read_schema(self._settings.postgres.schema_)
        mapping = map_tables(source, target, self._settings)
        if create:  # only for tables to be made do types depend on what the data are
            mapping = await self._sqlite.read(lambda c: map_with_data(c, source, target, self._settings))
        if create and mapping.create:
            await self._postgres.create_tables(mapping.create)
            target = await self._postgres.read_schema(self._settings.postgres.schema_)
            mapping = map_tables(source, target, self._settings)
        self._note(mapping)
        self.ddl = _statements(source)
        tables = await self.spelling.settle(mapping.tables)
        self._sqlite.serve_tables(tables)
        self._postgres.serve_tables(tables)
        return tables

    def _note(self, mapping: Mapping) -> None:
        """Say what stands in the way, once; the gate `target_ready` says it until it is gone."""
        blocking = tuple(_sentence(finding) for finding in mapping.blocking)
        if blocking != self._situation.blocking:
            for sentence in blocking:
                _log.warning(f"Cannot be mirrored: {sentence}")
        self._situation.blocking = blocking


def _sentence(finding: Finding) -> str:
    message = finding.message if finding.message.endswith((".", "!", "?")) else f"{finding.message}."
    place = ".".join(filter(None, (finding.table, finding.column)))
    return ": ".join(filter(None, (place, f"{message} {finding.todo}".strip())))


def _statements(schema: SqliteSchema) -> tuple[str, ...]:
    """The CREATE statements of everything that SQL of applications can name."""
    tables = [table.sql for table in schema.tables]
    indexes = [index.sql for table in schema.tables for index in table.indexes if index.sql]
    return (*tables, *indexes, *(view.sql for view in schema.views))
