"""What a workload is: tables, operations, and what must be true of them."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from tests.torture.doors import Expected, Rows, Statement, Told
from tests.torture.ledger import Entry


@dataclass
class Client:
    """One client, which does one thing after the other, always by the same door or by any."""

    name: str
    number: int
    door: str
    rng: random.Random
    memory: dict[str, Any] = field(default_factory=dict)
    count: int = 0

    def tick(self) -> int:
        """A number that this client has not used."""
        self.count += 1
        return self.count


@dataclass(frozen=True)
class Operation:
    """One transaction. `expect` is the number of rows that each statement must touch if it is acknowledged."""

    what: str
    statements: tuple[Statement, ...]
    data: Any = None
    expect: Expected = ()


class Workload(ABC):
    """One kind of traffic with its tables, its clients' memory and its checks. Problems are sentences."""

    name: ClassVar[str]
    schema: ClassVar[str]
    """DDL on SQLite, with the first rows."""
    tables: ClassVar[tuple[str, ...]]
    doors: ClassVar[tuple[str, ...]] = ("front", "direct", "native", "any")
    hasty: ClassVar[bool] = False
    """Whether its clients may give up at any time: each operation stands for itself."""
    samples: ClassVar[Mapping[str, str]] = {}
    """Queries of one snapshot, in words that both stores know."""

    @abstractmethod
    def propose(self, client: Client, door: str) -> Operation:
        """What this client does next."""

    def settle(self, client: Client, operation: Operation, entry: Entry, told: Told) -> Iterable[str]:
        """The client learns the outcome."""
        return ()

    def check_sample(self, store: str, rows: Mapping[str, Rows]) -> Iterable[str]:
        """What is wrong with this snapshot, taken while clients write."""
        return ()

    @abstractmethod
    def check_end(self, entries: list[Entry], rows: Mapping[str, Rows]) -> Iterable[str]:
        """What is wrong with the final rows, given what clients were told."""


def split(entries: Iterable[Entry]) -> dict[str, list[Entry]]:
    """Entries by outcome."""
    found: dict[str, list[Entry]] = {"acknowledged": [], "refused": [], "unknown": []}
    for entry in entries:
        found[entry.outcome].append(entry)
    return found
