"""What must be true whenever everything is mirrored: both stores are equal to each other and to the model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from tests.support.stateful.model import Model
from tests.support.stateful.schema import Row, Table
from tests.support.stateful.world import World
from tests.support.stateful.writes import Writer


class Checker(Writer):
    """Compares."""

    def __init__(self, world: World, model: Model, tally: Counter[str]) -> None:
        super().__init__(world, model, tally)
        self.paused = False
        """The mirror is, so that nothing can be compared."""

    def _settle(self) -> None:
        if not self.paused:
            self.world.service.call("settle")

    def _verify(self) -> None:
        if self.paused:
            return
        drift = self._drift()
        assert not drift, drift
        quarantined = sorted(map(repr, self.world.service.call("quarantine")))
        misfits = {(table.name, self.model.key(table.name, row)) for table, row in self._misfits()}
        assert quarantined == sorted(map(repr, misfits)), (quarantined, misfits)
        shadow = "postgres" if self.primary == "sqlite" else "sqlite"
        for table in self.schema.tables:
            wanted, unfit = self.model.rows(table.name), self.model.misfits(table.name)
            fitting = [row for row in wanted if row not in unfit]
            _same(self.primary, table.name, self.world.rows(self.primary, table.name), wanted)
            _same(shadow, table.name, self.world.rows(shadow, table.name), fitting)
        self._check_standing()

    def _misfits(self) -> Iterable[tuple[Table, Row]]:
        return ((table, row) for table in self.schema.tables for row in self.model.misfits(table.name))

    def _drift(self) -> list[Any]:
        """What a full verification finds, all being mirrored."""
        self._settle()
        found = self.world.service.call("verify")
        assert found["state"] == "done", found
        # Rows without a key cannot be told apart, and are one in quarantine; that they are more is said.
        assert len(found["problems"]) == len(self.model.without_keys()), found
        assert found["drift_rows"] == found["drift"]["drift_rows"] == len(found["drift"]["rows"]), found
        rows: list[Any] = found["drift"]["rows"]
        return rows

    def _check_standing(self) -> None:
        """Primary, epoch, phase, and the application's triggers."""
        primary, epoch, phase, problem = self.world.service.call("standing")
        assert (primary, epoch, problem) == (self.primary, self.epoch, "")
        # That everything is copied is noticed by a clock.
        assert phase in (("backfilling", "shadowing") if primary == "sqlite" else ("promoted",))
        standing = self.world.triggers()
        wanted = self.schema.triggers() if self.primary == "sqlite" else {}
        assert {name: sql for name, sql in standing.items() if not name.startswith("_cutover_")} == wanted
        fenced = any(name.startswith("_cutover_fence_") for name in standing)
        assert fenced == (self.primary == "postgres")


def _same(store: str, table: str, found: Iterable[Row], wanted: Iterable[Row]) -> None:
    """Equal by value and storage class, in any order."""
    there, model = Counter(map(repr, found)), Counter(map(repr, wanted))
    assert there == model, f"{store} {table}: lacks {list(model - there)}, has besides {list(there - model)}"
