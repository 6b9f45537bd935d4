"""What a writer was told, and what each of its transactions does: so plain that any snapshot can be held against it.

Transaction number `n` of a writer, whichever door it uses, inserts the item `NAME-n`, moves one unit of balance between
two accounts that `n` alone decides, and moves the writer's own row in `pairs` (its lane) to the key `(NAME, n)`. So in
every committed state the balances follow from the items, and a lane stands at its writer's highest item.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

MOVED = "moved"
"""Body of the items whose transaction also moved a balance."""
ACCOUNTS = 10
OPENING = 100
TOTAL = ACCOUNTS * OPENING
"""Sum of all balances, always."""


def transfer(number: int) -> tuple[int, int]:
    """(debited, credited) account of transaction `number`. Never the same one, since 6n = 7 mod 10 has no answer."""
    return number % 10 + 1, (number * 7 + 3) % 10 + 1


def moves(number: int) -> list[tuple[int, int]]:
    """(account, by how much), lower account first: so writers lock in one order and never wait in a ring."""
    debit, credit = transfer(number)
    return sorted([(debit, -1), (credit, 1)])


def balances_after(counts: Mapping[int, int]) -> dict[int, int]:
    """What the accounts hold after transactions of which `counts[d]` had a number that ends in the digit `d`."""
    balances = dict.fromkeys(range(1, ACCOUNTS + 1), OPENING)
    for digit, count in counts.items():
        debit, credit = transfer(digit)
        balances[debit] -= count
        balances[credit] += count
    return balances


@dataclass
class Ledger:
    """The outcomes of one writer's transactions, by the key of the item."""

    name: str
    acknowledged: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)
    """Certainly not executed."""
    unknown: set[str] = field(default_factory=set)
    """The commit was sent and its answer never came."""
    errors: list[str] = field(default_factory=list)
    """`CODE: message` of each failure that a client saw."""
    fenced: list[str] = field(default_factory=list)
    """Refusals by a fence, as told to the writer."""
    accepted: set[tuple[int, str, str]] = field(default_factory=set)
    """(epoch, primary by the control row, store that took the write) of acknowledged writes, read before each commit,
    when no switch can come in between any more. Epoch 0: cutover was not there yet."""

    def note(self, epoch: int, primary: str, store: str) -> None:
        """A write into `store` was acknowledged while its control row said this."""
        self.accepted.add((epoch, primary, store))


class Writer(Ledger):
    """Writes for as long as it is entered."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._task: asyncio.Task[None] | None = None
        self._stop = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._stop.set()
        assert self._task is not None
        await self._task

    async def _run(self) -> None:
        """One transaction after the other, until `_stop` is set."""
        raise NotImplementedError


def acknowledged(ledgers: Iterable[Ledger]) -> set[str]:
    """Everything that any of them was told is there."""
    return set().union(*(ledger.acknowledged for ledger in ledgers))


def possible(ledgers: Iterable[Ledger]) -> set[str]:
    """Everything that may be there."""
    return set().union(*(ledger.acknowledged | ledger.unknown for ledger in ledgers))
