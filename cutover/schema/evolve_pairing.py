"""One table on both sides, and what it was: which columns were renamed, dropped, added. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from cutover.model.table import Column, Table
from cutover.schema.evolution import declarations, renamed
from cutover.schema.matching import pick
from cutover.schema.postgres_schema import PostgresColumn, PostgresSchema, PostgresTable
from cutover.schema.recorded import Recorded
from cutover.schema.rowids import may_have_rowid
from cutover.schema.sqlite_schema import SqliteTable, quoted
from cutover.schema.types import is_guessed
from cutover.settings import ColumnSettings, Settings, TableSettings

_NO_TABLE, _NO_COLUMN = TableSettings(), ColumnSettings()
"""Making one for each column of each table takes longer than all the rest."""


@dataclass
class Pairing:
    """One table on both sides, and what it was."""

    source: SqliteTable
    there: PostgresTable
    known: Recorded | None
    chosen: TableSettings
    fresh: Table | None

    def setting(self, column: str) -> ColumnSettings:
        return column_setting(column, self.chosen)

    def target_name(self, column: str) -> str:
        """What its counterpart is called, or will be."""
        return counterpart(column, self.there, self.chosen) or self.setting(column).target or column

    def _ignored(self, column: str) -> bool:
        return self.setting(column).ignore

    def _claimed(self) -> set[str]:
        """Postgres columns that are a present column's counterpart."""
        found = (counterpart(column.name, self.there, self.chosen) for column in self.source.columns)
        return {name for name in found if name}

    def _orphans(self) -> dict[str, str]:
        """Source name of before → Postgres column, for those that are gone on SQLite and still stand on Postgres."""
        if self.known is None:
            return {}
        claimed = self._claimed()
        return {
            column.name: column.target
            for column in self.known.table.columns
            if self.source.column(column.name) is None
            and column.target not in claimed
            and not may_have_rowid(self.source, column)
            and self.there.column(column.target) is not None
        }

    def renames(self) -> dict[str, str]:
        """Source name of now → Postgres column that gets its counterpart's name."""
        if self.known is None:
            return {}
        orphans = self._orphans()
        pairs = renamed(declarations(self.known.sqlite), declarations(self.source))
        return {now: orphans[old] for now, old in pairs.items() if old in orphans and now in self.added({})}

    def dropped(self, renames: Mapping[str, str]) -> list[str]:
        return [name for name in self._orphans().values() if name not in renames.values()]

    def added(self, renames: Mapping[str, str]) -> list[str]:
        """Source columns without a counterpart. Generated ones only if they are new: others were left out before."""
        return [
            column.name
            for column in self.source.columns
            if not self._ignored(column.name)
            and not column.hidden
            and column.name not in renames
            and counterpart(column.name, self.there, self.chosen) is None
            and (not column.generated or (self.known and self.known.sqlite.column(column.name) is None))
        ]

    def retyped(self) -> Iterator[tuple[Column, PostgresColumn]]:
        """Columns that were declared anew, or hold something else than their names said while they held nothing, of
        tables whose types are cutover's to choose."""
        if self.known is None or not self.known.made or self.fresh is None:
            return
        before = {column.name.lower(): column for column in self.known.table.columns}
        for column in self.fresh.columns:
            was, found = before.get(column.name.lower()), self.there.column(self.target_name(column.name))
            if was is None or found is None or found.type in (column.target_type, ""):
                continue
            if was.declared != column.declared or (is_guessed(was) and found.type == "text"):
                yield column, found


def settings_of(table: str, settings: Settings) -> TableSettings:
    """What the configuration says of a table, whatever the case of its name."""
    return next((each for name, each in settings.tables.items() if name.lower() == table.lower()), _NO_TABLE)


def column_setting(column: str, chosen: TableSettings) -> ColumnSettings:
    """What it says of a column."""
    found = (each for name, each in chosen.columns.items() if name.lower() == column.lower())
    return next(found, _NO_COLUMN)


def target_of(table: SqliteTable, target: PostgresSchema, settings: Settings) -> PostgresTable | None:
    """The Postgres table that stands for this one, if there is one."""
    name = pick(settings_of(table.name, settings).target or table.name, [each.name for each in target.tables])
    return target.table(name) if name else None


def counterpart(column: str, there: PostgresTable, chosen: TableSettings) -> str | None:
    """The Postgres column that stands for this one, if there is one."""
    return pick(column_setting(column, chosen).target or column, [each.name for each in there.columns])


def qualified(table: Table) -> str:
    """The table on Postgres, with its schema, in quotes."""
    return f"{quoted(table.target_schema)}.{quoted(table.target)}"
