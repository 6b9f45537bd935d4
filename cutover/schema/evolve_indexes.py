"""Indexes of a table whose columns are in order: which of Postgres's stand for which of SQLite's, and what is to do.

Tables are renamed with what they have, and a constraint's index is named by cutover, so names alone tell little.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from cutover.model.table import Table
from cutover.schema.counterparts import Counterparts
from cutover.schema.ddl import Ddl
from cutover.schema.evolution import Step, declarations, renamed
from cutover.schema.evolve_pairing import Pairing
from cutover.schema.naming import placed
from cutover.schema.postgres_schema import PostgresIndex
from cutover.schema.recorded import Recorded
from cutover.schema.sqlite_schema import SqliteIndex, SqliteTable, quoted


@dataclass
class Indexes:
    """The indexes of one table on both sides."""

    pairing: Pairing
    known: Recorded
    ddl: Ddl
    mapped: Table
    """With the columns as they are on Postgres."""

    @cached_property
    def _now(self) -> list[SqliteIndex]:
        return _beside_the_key(self.pairing.source, self.mapped)

    @cached_property
    def _gone(self) -> list[SqliteIndex]:
        now = {_essence(index) for index in self._now}
        return [index for index in _beside_the_key(self.known.sqlite, self.known.table) if _essence(index) not in now]

    @cached_property
    def _there(self) -> tuple[PostgresIndex, ...]:
        return self.pairing.there.indexes

    @cached_property
    def _counterparts(self) -> Counterparts:
        return Counterparts(self.mapped, self.pairing.there)

    def steps(self) -> Iterator[Step]:
        """What stands for nothing any more is dropped, what has another name is renamed, and the rest is made."""
        dropped = list[PostgresIndex]()
        for index in self._gone:
            found = self._left_by(index)
            if found is not None and not self._needed(found, dropped):
                dropped.append(found)
        schema, where = quoted(self.known.table.target_schema), self.pairing.there.name
        for found in dropped:
            yield Step(f"The index {found.name} is dropped.", f"DROP INDEX {schema}.{quoted(found.name)}")
        left = [found for found in self._there if found not in dropped]
        before = {_essence(index) for index in self.known.sqlite.indexes}
        for index in self._now:
            if _essence(index) in before and not (index.unique and self.known.made):
                continue  # whoever dropped it on Postgres had a reason; without a unique one rows could differ
            if any(self._is_by_name(found, index) for found in left):
                continue
            standing = [found for found in left if self._stands_for(found, index) and self._is_free(found, index)]
            if not standing:
                ddl = Ddl(taken=self.ddl.taken) if _essence(index) in before else self.ddl  # said once
                sql = ddl.added_index(self.mapped, index)
                if sql:
                    yield Step(f"{where} gets the index {index.name}.", sql)
            elif (named := self._named_anew(index, standing)) is not None:
                sql = f"ALTER INDEX {schema}.{quoted(named.name)} RENAME TO {quoted(placed(index.name))}"
                yield Step(f"The index {named.name} is renamed to {index.name}.", sql)

    def _left_by(self, index: SqliteIndex) -> PostgresIndex | None:
        """What stood for an index that is gone; of tables that cutover did not make only what has its name."""
        wanted = self._counterparts.named(index)
        droppable = [each for each in self._there if not each.primary]
        found = next((each for each in droppable if each.name == wanted), None)
        if found is None and self.known.made:
            alike = self._counterparts.alike
            found = next((each for each in droppable if alike(each, index, self._moved)), None)
        return found

    def _needed(self, found: PostgresIndex, dropped: Sequence[PostgresIndex]) -> bool:
        """Whether it is all that stands for one that SQLite has."""
        others = [each for each in self._there if each is not found and each not in dropped]
        return any(
            self._stands_for(found, one) and not any(self._stands_for(other, one) for other in others)
            for one in self._now
        )

    def _stands_for(self, found: PostgresIndex, index: SqliteIndex) -> bool:
        """Whether it is the same. What Postgres prints in other words than cutover is known by its name, unless that
        was the name of another one."""
        return self._is_by_name(found, index) or self._counterparts.alike(found, index, adopted=not self.known.made)

    def _is_free(self, found: PostgresIndex, index: SqliteIndex) -> bool:
        """Whether it stands for no other one, which would go with it when an application drops this one by its name."""
        others = [one for one in self._now if one is not index]
        return not self.known.made or not any(self._stands_for(found, one) for one in others)

    def _is_by_name(self, found: PostgresIndex, index: SqliteIndex) -> bool:
        another = any(self._counterparts.named(gone) == found.name for gone in self._gone)
        return found.name == self._counterparts.named(index) and found.unique == index.unique and not another

    @cached_property
    def _moved(self) -> dict[str, str]:
        """Name of before → name of now, of columns that were renamed since."""
        pairs = renamed(declarations(self.known.sqlite), declarations(self.pairing.source))
        return {old: new for new, old in pairs.items()}

    def _named_anew(self, index: SqliteIndex, standing: Sequence[PostgresIndex]) -> PostgresIndex | None:
        """The one that gets the name of `index`: an application may drop it by that, and errors name it. None: it is
        called so, or by a name that another one goes by."""
        names = {placed(each.name) for each in self._now}
        if index.origin != "c" or not self.known.made or any(found.name == placed(index.name) for found in self._there):
            return None
        return next((found for found in standing if found.name not in names), None)


def _beside_the_key(source: SqliteTable, mapped: Table) -> list[SqliteIndex]:
    """Those that are indexes on Postgres, too: a declared key is one where the hidden rowid is the key."""
    hidden = any(column.hidden for column in mapped.key_columns)
    return [index for index in source.indexes if index.origin != "pk" or hidden]


def _essence(index: SqliteIndex) -> tuple[object, ...]:
    name = index.name if index.origin == "c" else ""
    return name, index.unique, index.terms, index.partial
