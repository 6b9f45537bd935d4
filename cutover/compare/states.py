"""Two states that can be compared: the ground under every verdict.

    applier held ─▶ snapshot of the primary ─▶ snapshot of the shadow ─▶ applier let go ─▶ read both at leisure

While the applier is held, the shadow does not move, and what the primary's change log names is exactly what the
shadow does not have yet. Both snapshots are fixed then, so this stays true of them after the mirror went on: a key
that differs and is not in that log is drift, with no waiting and no second look.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from cutover import clock
from cutover.compare.ports import Applying
from cutover.errors import RolesChanging
from cutover.model.table import Table
from cutover.model.values import Key, Pending
from cutover.stores.base import Snapshot
from cutover.stores.pair import Pair

_FRESH = 1.0
"""Seconds after which states are not used for a further table."""


@dataclass(frozen=True)
class States:
    """A snapshot of each side, and all that may rightly differ between them."""

    pair: Pair
    primary: Snapshot
    shadow: Snapshot
    pending: Pending
    """The change log as `primary` sees it."""
    uncopied: frozenset[str]
    """Tables, of those asked for, that are not copied to their end."""
    quarantined: Mapping[str, Mapping[Key, str]] = field(default_factory=dict)
    """Reason by table and key; only filled where asked for."""

    def unready(self, table: str) -> str | None:
        """Why no row of the table can be judged in these states; None if they can."""
        if table in self.uncopied:
            return "it is not copied to its end yet"
        if table in self.pending.whole:
            return "it changed as a whole and is to be copied again"
        return None

    async def in_flight(self, table: Table, keys: Sequence[Key]) -> set[Key]:
        """Those of `keys` whose newest change is not on the shadow. All of them where the table is not ready."""
        if self.unready(table.name):
            return set(keys)
        logged = self.pending.tables is None or table.name in self.pending.tables
        return await self.primary.pending_keys(table, keys) if keys and logged else set()


class Ground:
    """Opens matching states, as long as everybody agrees who is primary."""

    def __init__(self, applying: Applying, pair: Callable[[], Pair]) -> None:
        self._applying = applying
        self._pair = pair

    @asynccontextmanager
    async def matched(self, tables: Iterable[Table], *, quarantine: bool = False) -> AsyncIterator[States]:
        """Matching snapshots for `tables`. Keep them open for a second, not for minutes.

        Raises `StoreUnavailable`, and `RolesChanging` while a switch is being finished: the new primary may have taken
        writes that the mirror does not know of yet, and each would look like drift.
        """
        async with AsyncExitStack() as stack:
            async with self._applying.quiesced() as pair:
                primary = await stack.enter_async_context(pair.source.snapshot())
                shadow = await stack.enter_async_context(pair.target.snapshot())
                uncopied = frozenset(table.name for table in tables if not self._applying.copied(table.name))
                away = await pair.target.quarantined() if quarantine else []
                if self._pair() != pair:
                    raise RolesChanging("The roles are changing; nothing can be compared now.", hint="Try again.")
            reasons: dict[str, dict[Key, str]] = {}
            for row in away:
                reasons.setdefault(row.table, {})[row.key] = row.reason
            yield States(pair, primary, shadow, await primary.pending(), uncopied, reasons)

    async def visit(
        self, tables: Iterable[Table], work: Callable[[States, Table], Awaitable[None]], *, quarantine: bool = False
    ) -> None:
        """`work` on one table after the other, in matching states opened no more than a second before it begins.

        For small tables opening states costs more than the work: it waits for a turn of the mirror.
        """
        left = deque(tables)
        while left:
            async with self.matched(tuple(left), quarantine=quarantine) as states:
                fresh_until = clock.monotonic() + _FRESH
                await work(states, left.popleft())
                while left and clock.monotonic() < fresh_until:
                    await work(states, left.popleft())
