"""What a transaction is, and what a client knows of it afterwards, whichever way it took."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.torture.ledger import Outcome

Rows = list[tuple[Any, ...]]
Expected = tuple[int | None, ...]


@dataclass(frozen=True)
class Statement:
    """One statement in SQLite's SQL; `native` where Postgres wants another text. Parameters are `?` in both."""

    sql: str
    args: tuple[Any, ...] = ()
    native: str = ""
    compute: Callable[[list[Rows]], tuple[Any, ...]] | None = None
    """Parameters from the rows of the statements before, where the door is interactive."""

    def values(self, rows: list[Rows]) -> tuple[Any, ...]:
        """The parameters."""
        return self.compute(rows) if self.compute is not None else self.args


@dataclass
class Told:
    """What a client knows afterwards. `affected` and `rows` have one entry for each statement."""

    outcome: Outcome
    code: str = ""
    message: str = ""
    affected: list[int] = field(default_factory=list)
    rows: list[Rows] = field(default_factory=list)

    def missed(self, expect: Expected) -> list[str]:
        """Statements that touched another number of rows than they must."""
        pairs = enumerate(zip(self.affected, expect, strict=False), 1)
        return [
            f"statement {at} touched {now} rows, not {must}" for at, (now, must) in pairs if must not in (None, now)
        ]


class Door(ABC):
    """One client's way to the data. Used by one task."""

    name = ""

    @abstractmethod
    async def run(self, statements: tuple[Statement, ...], expect: Expected = ()) -> Told:
        """Run the statements as one transaction. Never raises. `expect`: rows that each must touch, None for any."""

    @abstractmethod
    async def close(self) -> None:
        """Let go of what is open."""
