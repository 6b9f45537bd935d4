"""Was whoever sent a statement told what the model says, and if the statement was refused, was that for a reason?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from tests.support.stateful.model import Model, Outcome
from tests.support.stateful.program import Way
from tests.support.stateful.schema import Value, converts
from tests.support.stateful.statements import Insert, Shift, Statement, Truncate, Update
from tests.support.stateful.world import World

_TWICE = "meets the same row twice"
_COMPUTED_KEY = "UPDATE that computes the unique key"
"""SQLite does it row by row, and its outcome depends on their order."""


class Judge:
    """The world, the model, and who is primary."""

    def __init__(self, world: World, model: Model, tally: Counter[str]) -> None:
        self.world, self.model, self.schema, self.tally = world, model, world.schema, tally
        self.primary = "sqlite"
        self.epoch = 1
        self.switching = False
        """Either store may be primary now."""

    @property
    def maybe_postgres(self) -> bool:
        """Whether Postgres may be primary."""
        return self.primary == "postgres" or self.switching

    def _comparable(self, statement: Statement, way: Way) -> bool:
        """Whether both stores, by what is documented, do the same."""
        if isinstance(statement, Truncate):
            return way == "native"
        table = self.schema.table(statement.table)
        replaces = isinstance(statement, Insert) and statement.conflict == "REPLACE"
        # With one unique key a REPLACE is an update on Postgres, and no foreign key acts.
        return not (replaces and self.maybe_postgres and table.unique_keys == 1 and self.schema.children(table.name))

    def _judge(self, statement: Statement, real: Outcome, *, native: bool = False) -> bool:
        """Have the model do what was done. Returns whether it was done."""
        if self._refused(statement, real):
            self.tally["refused"] += 1
            return False
        expected = self.model.run(statement, real.keys, native=native)
        assert expected.code == real.code, (statement, real, expected)
        if real.done and isinstance(statement, Insert) and statement.returning(self.schema):
            self._check_keys(statement, real.keys)
        elif real.done and not isinstance(statement, Truncate) and not self.schema.table(statement.table).triggers:
            assert expected.affected == real.affected, (statement, real, expected)
        return real.done

    def _refused(self, statement: Statement, real: Outcome) -> bool:
        """Postgres does not take what it would not hold, or do otherwise than SQLite; that must be for a reason."""
        if not self.maybe_postgres:
            return False
        untranslated = real.code == "SQL_NOT_TRANSLATABLE"
        if untranslated and isinstance(statement, Shift | Update) and real.message.startswith(_COMPUTED_KEY):
            return True
        if untranslated and getattr(statement, "conflict", "") == "REPLACE":
            return True
        nullable = self.schema.table(statement.table).key == "nullable"
        if untranslated or real.code == "SQLITE_MISMATCH" or (nullable and "NOT NULL" in real.message):
            columns = {column.name: column for column in self.schema.columns(statement.table)}
            assert not all(converts(columns[name], value) for name, value in statement.assigned()), (statement, real)
            return True
        if _TWICE in real.message:
            assert isinstance(statement, Insert), (statement, real)
            assert statement.conflict == "REPLACE", (statement, real)
            return True
        return False

    def _check_keys(self, statement: Insert, keys: Sequence[Value]) -> None:
        assert len(set(keys)) == len(statement.rows), (statement, keys)
        if self.schema.table(statement.table).key == "counted":
            assert not self.model.given[statement.table].intersection(keys), (statement, keys)

    def _remember(self, *, native: bool) -> None:
        """AUTOINCREMENT gives no key twice; of keys that native clients chose themselves Postgres knows nothing."""
        for table in self.schema.tables:
            if table.key == "counted":
                keys = {row[0] for row in self.model.rows(table.name)}
                known, foreign = self.model.given[table.name], self.model.foreign[table.name]
                (foreign if native else known).update(keys - known - foreign)
