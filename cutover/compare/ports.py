"""What the comparator needs from the mirror: stillness, a hand that writes, and the wait for both."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from cutover.model.table import Table
from cutover.model.values import Applied, Key
from cutover.stores.base import Snapshot
from cutover.stores.pair import Pair


class Applying(Protocol):
    """The single applier, as the comparator sees it."""

    @property
    def catching_up(self) -> bool:
        """While tables are copied or copied again."""
        ...

    def copied(self, table: str) -> bool:
        """Whether the table was copied to its end. Until then its rows are not judged."""
        ...

    def quiesced(self) -> AbstractAsyncContextManager[Pair]:
        """Hold the applier's lock: inside, nothing is applied to the shadow. Yields the pair that is current."""
        ...

    def level(self) -> AbstractAsyncContextManager[tuple[Pair, Snapshot, Snapshot]]:
        """Both stores in exactly one state, under whatever load: the pair, the primary's snapshot, the shadow's.

        Raises `StoreError` while the mirror is paused.
        """
        ...

    async def reapply(self, table: Table, keys: Sequence[Key]) -> Applied:
        """Make the shadow's rows with these keys equal to the primary's current ones."""
        ...

    async def caught_up(self, timeout: float) -> bool:
        """Wait until everything committed before the call is applied; False if `timeout` seconds did not do."""
        ...
