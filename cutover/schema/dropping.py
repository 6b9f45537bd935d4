"""Which index of Postgres's goes when SQLite drops one by its name. Pure.

The name may be another there: Postgres keeps 63 bytes of it, and may have had it already, since a key's index is called
`t_b_key` or `t_pkey` there and has no such name in SQLite.
"""

from __future__ import annotations

from dataclasses import dataclass

from cutover.schema.counterparts import Counterparts
from cutover.schema.naming import may_be_called
from cutover.schema.postgres_schema import PostgresIndex
from cutover.schema.sqlite_schema import SqliteIndex, SqliteTable


@dataclass
class Dropping:
    """One table on both sides, before the change."""

    both: Counterparts
    source: SqliteTable

    def standing_for(self, index: SqliteIndex) -> PostgresIndex | None:
        """The one of its name, if it is over the same; else of its name and in words that nobody here understands;
        else a unique one that is the same, which would go on refusing rows. None: nothing stands for it.

        Raises `LookupError` where names and words leave several.
        """
        free = [each for each in self.both.there.indexes if not each.primary and each.unique == index.unique]
        free = [each for each in free if not self._needed(each, index)]
        alike = [each for each in free if self.both.alike(each, index)]
        named = [each for each in free if may_be_called(self.both.named(index), each.name)]
        sure = [each for each in named if each in alike]
        if sure:
            return max(sure, key=lambda each: may_be_called(self.both.named(index), each.name))
        claimed = {each.name: self._claim(each, index) for each in named}
        likely = [each for each in named if claimed[each.name] >= 0]
        if len(likely) > 1 or any(claimed[each.name] == 0 for each in likely):
            raise LookupError(index.name)
        return likely[0] if likely else alike[0] if alike and index.unique else None

    def _needed(self, found: PostgresIndex, index: SqliteIndex) -> bool:
        """Whether it is all that stands for another one."""
        others = [each for each in self.both.there.indexes if each is not found]
        return any(
            self.both.alike(found, one) and not any(self.both.alike(other, one) for other in others)
            for one in self.source.indexes
            if one is not index
        )

    def _claim(self, found: PostgresIndex, index: SqliteIndex) -> int:
        """By how much its name goes better with this one than with any other that is not known by its words."""
        told = [one for one in self.source.indexes if one is not index and one.unique == found.unique]
        unsure = [one for one in told if not any(self.both.alike(each, one) for each in self.both.there.indexes)]
        best = max((may_be_called(self.both.named(one), found.name) for one in unsure), default=0)
        return may_be_called(self.both.named(index), found.name) - best
