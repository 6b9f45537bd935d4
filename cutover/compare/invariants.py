"""Sentences about the data that must hold on both sides, whatever the rows are."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import partial

from cutover.compare.counts import count_problem, uncountable
from cutover.compare.ledger import Ledger
from cutover.compare.ports import Applying
from cutover.compare.states import Ground
from cutover.errors import CutoverError, StoreUnavailable
from cutover.model.drift import DriftKind
from cutover.model.table import Table, Tables
from cutover.stores.base import Snapshot
from cutover.stores.pair import Pair

Ask = Callable[[str], Awaitable["InvariantResult"]]
"""Evaluates one invariant under this name."""


@dataclass(frozen=True)
class InvariantCheck:
    """A configured invariant: its query in each store's own SQL, by the store's name."""

    name: str
    queries: Mapping[str, str]
    expect: str | None = None
    """What each store must answer, as text. None: both must answer the same."""


@dataclass(frozen=True)
class InvariantResult:
    """One invariant's outcome."""

    name: str
    ok: bool
    detail: str
    conclusive: bool = True
    """False: the stores could not be asked about states that correspond. `ok` is False then."""


class Invariants:
    """Evaluates the configured invariants, orphans of every foreign key, and row counts."""

    def __init__(self, ground: Ground, applying: Applying, ledger: Ledger, checks: Sequence[InvariantCheck]) -> None:
        self._ground = ground
        self._applying = applying
        self._ledger = ledger
        self._checks = checks

    async def check(self, tables: Tables) -> list[InvariantResult]:
        """All results, in a fixed order. Raises `StoreUnavailable`."""
        asked: list[tuple[str, Ask]] = [(check.name, partial(self._configured, check)) for check in self._checks]
        asked += [(f"orphans of {table.name}", partial(self._orphans, table)) for table in tables if table.foreign_keys]
        asked += [(f"rows of {table.name}", partial(self._rows, table)) for table in tables]
        return [await self._guarded(name, ask) for name, ask in asked]

    async def _guarded(self, name: str, ask: Ask) -> InvariantResult:
        try:
            return await ask(name)
        except StoreUnavailable:
            raise
        except CutoverError as error:
            return InvariantResult(name, ok=False, detail=f"could not be evaluated: {error}")

    # -- configured ------------------------------------------------------------------------------------------------

    async def _configured(self, check: InvariantCheck, _name: str) -> InvariantResult:
        if check.expect is not None:
            return await self._expected(check, check.expect)
        async with self._applying.level() as (pair, primary, shadow):
            if self._applying.catching_up:
                return _inconclusive(check.name, "tables are being copied")
            answers = await _ask_both(pair, primary, shadow, check)
        detail = f"primary {answers[0]}, shadow {answers[1]}"
        return InvariantResult(check.name, _same_answer(*answers), detail)

    async def _expected(self, check: InvariantCheck, expect: str) -> InvariantResult:
        """Each side by itself: the shadow is some committed state of the primary, and this must hold in each."""
        async with self._ground.matched([]) as states:
            if self._applying.catching_up:
                return _inconclusive(check.name, "tables are being copied")
            primary, shadow = await _ask_both(states.pair, states.primary, states.shadow, check)
        ok = primary == expect and shadow == expect
        return InvariantResult(check.name, ok, f"expected {expect}; primary {primary}, shadow {shadow}")

    # -- always ----------------------------------------------------------------------------------------------------

    async def _orphans(self, table: Table, name: str) -> InvariantResult:
        """No orphan on either side. Asked of each by itself, as no committed state may have one."""
        async with self._ground.matched([table]) as states:
            if self._applying.catching_up:
                return _inconclusive(name, "tables are being copied")
            primary, shadow = await asyncio.gather(states.primary.orphans(table), states.shadow.orphans(table))
        bad = [
            f"{key}: {primary.get(key, 0)} rows without a parent on the primary, {shadow.get(key, 0)} on the shadow"
            for key in sorted(primary | shadow)
            if primary.get(key) or shadow.get(key)
        ]
        return InvariantResult(name, not bad, "; ".join(bad) or f"none in {len(table.foreign_keys)} foreign keys")

    async def _rows(self, table: Table, name: str) -> InvariantResult:
        async with self._ground.matched([table], quarantine=True) as states:
            if why := uncountable(states, table):
                return _inconclusive(name, why)
            problem = await count_problem(states, table, known_missing(self._ledger, table.name))
        return InvariantResult(name, problem is None, problem or "both sides agree")


def known_missing(ledger: Ledger, table: str) -> int:
    """How many rows more the primary has, by known drift."""
    counts = ledger.counts(table)
    return counts[DriftKind.MISSING] - counts[DriftKind.EXTRA]


async def _ask_both(
    pair: Pair, primary: Snapshot, shadow: Snapshot, check: InvariantCheck
) -> tuple[str | None, str | None]:
    return await asyncio.gather(
        primary.scalar(check.queries[pair.source.name]), shadow.scalar(check.queries[pair.target.name])
    )


def _inconclusive(name: str, why: str) -> InvariantResult:
    return InvariantResult(name, ok=False, detail=f"inconclusive: {why}", conclusive=False)


def _same_answer(primary: str | None, shadow: str | None) -> bool:
    """Equal as text, or the same number: one store says 1.0 where the other says 1."""
    if primary is None or shadow is None or primary == shadow:
        return primary == shadow
    try:
        return Decimal(primary) == Decimal(shadow)
    except InvalidOperation:
        return False
