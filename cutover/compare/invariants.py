"""Sentences about the data that must hold on both sides, whatever the rows are."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from cutover.compare.counts import count_problem, uncountable
from cutover.compare.ledger import Ledger
from cutover.compare.ports import Applying
from cutover.compare.states import Ground, States
from cutover.errors import CutoverError, StoreUnavailable
from cutover.model.drift import DriftKind
from cutover.model.table import Table, Tables
from cutover.stores.base import Snapshot
from cutover.stores.pair import Pair

Ask = Callable[[States, Table, str], Awaitable["InvariantResult"]]
"""Evaluates an invariant of one table, under this name."""


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
        results = [await self._guarded(check) for check in self._checks]
        children = [table for table in tables if table.foreign_keys]
        results += await self._each("orphans of", children, self._orphans)
        return results + await self._each("rows of", tables, self._rows)

    async def _each(self, what: str, tables: Sequence[Table], ask: Ask) -> list[InvariantResult]:
        """The same question about each table."""
        results: list[InvariantResult] = []

        async def work(states: States, table: Table) -> None:
            results.append(await ask(states, table, f"{what} {table.name}"))

        while left := tables[len(results) :]:
            try:
                await self._ground.visit(left, work, quarantine=True)
            except StoreUnavailable:
                raise
            except CutoverError as error:  # its states may be of no more use
                results.append(_failed(f"{what} {tables[len(results)].name}", error))
        return results

    # -- configured ------------------------------------------------------------------------------------------------

    async def _guarded(self, check: InvariantCheck) -> InvariantResult:
        try:
            return await self._configured(check)
        except StoreUnavailable:
            raise
        except CutoverError as error:
            return _failed(check.name, error)

    async def _configured(self, check: InvariantCheck) -> InvariantResult:
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

    async def _orphans(self, states: States, table: Table, name: str) -> InvariantResult:
        """No orphan on either side. Asked of each by itself, as no committed state may have one."""
        if self._applying.catching_up:
            return _inconclusive(name, "tables are being copied")
        primary, shadow = await asyncio.gather(states.primary.orphans(table), states.shadow.orphans(table))
        bad = [
            f"{key}: {primary.get(key, 0)} rows without a parent on the primary, {shadow.get(key, 0)} on the shadow"
            for key in sorted(primary | shadow)
            if primary.get(key) or shadow.get(key)
        ]
        return InvariantResult(name, not bad, "; ".join(bad) or f"none in {len(table.foreign_keys)} foreign keys")

    async def _rows(self, states: States, table: Table, name: str) -> InvariantResult:
        if why := uncountable(states, table):
            return _inconclusive(name, why)
        problem = await count_problem(states, table, known_missing(self._ledger, table.name))
        return InvariantResult(name, problem is None, problem or "both sides agree")


def _failed(name: str, error: CutoverError) -> InvariantResult:
    return InvariantResult(name, ok=False, detail=f"could not be evaluated: {error}")


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
