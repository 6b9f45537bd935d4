"""The verdict on single rows. There is one, and every detector asks for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Self

from cutover import clock
from cutover.compare.difference import difference
from cutover.compare.ports import Applying
from cutover.compare.states import Ground, States
from cutover.model.drift import Drift, DriftKind
from cutover.model.sizes import next_fetch, size_of
from cutover.model.table import Table
from cutover.model.values import Key, Row
from cutover.schema.codecs import codecs_for

KEYS_AT_ONCE = 500
_PAUSES = (0.02, 0.05, 0.1, 0.2)
"""Seconds between looks at rows in flight; the last one repeats."""


@dataclass
class Verdicts:
    """What became of the keys that were asked about. Each is in exactly one list."""

    equal: list[Key] = field(default_factory=list)
    drifts: list[Drift] = field(default_factory=list)
    quarantined: list[Key] = field(default_factory=list)
    """On the primary, absent from the shadow, with a recorded reason."""
    pending: list[Key] = field(default_factory=list)
    """A change of the row is in flight, or its table is not copied. Says nothing about the row."""

    def settled(self) -> list[Key]:
        """Keys that are known not to be drift."""
        return [*self.equal, *self.quarantined]

    def __iadd__(self, other: Verdicts) -> Self:
        self.equal += other.equal
        self.drifts += other.drifts
        self.quarantined += other.quarantined
        self.pending += other.pending
        return self


_FIRST = 2
"""Keys that are looked up first, when nothing is known of the size of their rows."""


class Judge:
    """Judges keys in states that match (see `states`), so a drift it names is one."""

    def __init__(self, ground: Ground, applying: Applying) -> None:
        self._ground = ground
        self._applying = applying

    async def judge(self, table: Table, keys: Sequence[Key]) -> Verdicts:
        """One look at each key. Raises `StoreUnavailable`."""
        verdicts = Verdicts()
        rest = iter(keys)
        while batch := list(islice(rest, KEYS_AT_ONCE)):
            verdicts += await self._look(table, batch)
        return verdicts

    async def settle(self, table: Table, keys: Sequence[Key], timeout: float) -> Verdicts:
        """Look again at keys in flight until they rest; those that did not within `timeout` s stay in `pending`."""
        deadline = clock.monotonic() + timeout
        verdicts = await self.judge(table, keys)
        turn = 0
        while verdicts.pending and (left := deadline - clock.monotonic()) > 0:
            await self._applying.caught_up(left)
            again, verdicts.pending = verdicts.pending, []
            verdicts += await self.judge(table, again)
            if verdicts.pending:
                await asyncio.sleep(min(_PAUSES[min(turn, len(_PAUSES) - 1)], left))
            turn += 1
        return verdicts

    async def _look(self, table: Table, keys: Sequence[Key]) -> Verdicts:
        async with self._ground.matched([table], quarantine=True) as states:
            return await look(states, table, keys)


async def look(states: States, table: Table, keys: Sequence[Key]) -> Verdicts:
    """The verdict on each key in these states, which were opened with `quarantine`. Raises `StoreUnavailable`."""
    codecs = codecs_for(table)
    verdicts = Verdicts()
    in_flight = await states.in_flight(table, keys)
    still = [key for key in keys if key not in in_flight]
    verdicts.pending = [key for key in keys if key in in_flight]
    away = states.quarantined.get(table.name, {})
    now = clock.wall()
    async for key, primary, shadow in _both(states, table, still):
        found = difference(table, codecs, primary, shadow)
        if found is None:
            verdicts.equal.append(key)
        elif found[0] is DriftKind.MISSING and key in away:
            verdicts.quarantined.append(key)
        else:
            verdicts.drifts.append(Drift(table.name, key, *found, primary, shadow, now))
    return verdicts


async def _both(states: States, table: Table, keys: Sequence[Key]) -> AsyncIterator[tuple[Key, Row | None, Row | None]]:
    """Each key with its row on the primary and on the shadow, read the more at a time, the smaller they are."""
    at, count = 0, _FIRST
    while at < len(keys):
        part = keys[at : at + count]
        mine, theirs = await asyncio.gather(states.primary.rows(table, part), states.shadow.rows(table, part))
        for key in part:
            yield key, mine.get(key), theirs.get(key)
        at, count = at + len(part), next_fetch(len(part), size_of(list(mine.values())) + size_of(list(theirs.values())))
