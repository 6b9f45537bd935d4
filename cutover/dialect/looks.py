"""What a statement was replayed with: it tells whether a later replay has the same rows, or another translation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from cutover import __version__
from cutover.dialect.dialect import Dialect
from cutover.dialect.reached import reached
from cutover.dialect.remembered import name_of
from cutover.dialect.replaying import State
from cutover.model.statement import Statement
from cutover.model.table import Tables
from cutover.schema.objects_wanted import objects_of
from cutover.schema.sqltext import StatementKind, inspect


@dataclass(frozen=True, slots=True)
class Look:
    """Only what costs nothing to note: few of them are ever asked."""

    answer: int
    """What tells SQLite's answer from others, without telling it."""
    changes: Mapping[str, int]
    """By table, how often the mirror had found it changed."""
    ddl: tuple[str, ...]
    tables: Tables
    any_of_ties: bool

    def of_same_rows(self, then: Look, statement: Statement) -> bool:
        """Whether none of the tables that the statement reaches was changed in between."""
        if self.answer != then.answer:
            return False
        return self.changes == then.changes or all(
            self.changes.get(name) == then.changes.get(name) for name in _reached(statement.sql, self.ddl)
        )

    def of_same_schema(self, then: Look) -> bool:
        """Whether nothing changed that translations go by."""
        return (self.ddl, self.tables, self.any_of_ties) == (then.ddl, then.tables, then.any_of_ties)

    def translates_as(self, then: Look, statement: Statement) -> bool:
        """Whether the statement had the same translation, as far as the schema tells."""
        return self.of_same_schema(then) or self.translated_by(statement) == then.translated_by(statement)

    def translated_by(self, statement: Statement) -> str:
        """What tells all that its translation depends on, also in another process."""
        names = _reached(statement.sql, self.ddl)
        texts = [each.sql for each in objects_of(self.ddl).values() if names & {each.name, each.table}]
        tables = [table for table in self.tables if table.name in names]
        return name_of(repr((__version__, self.any_of_ties, sorted(texts), tables)))


@lru_cache(256)
def _reached(sql: str, ddl: tuple[str, ...]) -> frozenset[str]:
    """Tables and views."""
    names = {each.name for each in objects_of(ddl).values() if each.kind in ("table", "view")}
    return frozenset(reached(sql, ddl, names, writes=inspect(sql).kind is StatementKind.WRITE))


def look_of(answer: int, state: State, dialect: Dialect) -> Look:
    """As of now."""
    return Look(answer, state.changes, dialect.ddl, dialect.tables, dialect.catalog.any_of_ties)
