"""The vocabulary of data. A value, wherever it is, is spoken of as SQLite would hold it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

SqlValue = int | float | str | bytes | None
"""One value in one of SQLite's five storage classes. `bool` never occurs."""

Key = tuple[SqlValue, ...]
"""A row's key, in the order of `Table.key`."""

Row = tuple[SqlValue, ...]
"""A whole row, in the order of `Table.columns`."""


class RangeDigest(NamedTuple):
    """What is in one key range: how many rows, and the sum of their 64-bit hashes modulo 2**64."""

    rows: int
    digest: int


class ScannedRange(NamedTuple):
    """A key range as the primary cut it: up to and including `upper`, from where the previous one ended."""

    upper: Key
    rows: int
    digest: int


class Page(NamedTuple):
    """Consecutive rows in byte order of the key, as many as fit into a limit of rows and one of bytes."""

    rows: list[Row]
    more: bool
    """Whether the table goes on after them."""


@dataclass(frozen=True, slots=True)
class Pending:
    """What one snapshot of the source saw in the change log."""

    count: int
    """Log entries (not distinct keys)."""
    oldest_at: float | None
    """When the oldest of them was written, seconds since 1970; None if there are none."""
    token: object
    """The identity of exactly these entries, for `Store.trim`. Opaque outside its store."""
    whole: frozenset[str] = frozenset()
    """Tables that changed as a whole (TRUNCATE, a rewrite) and must be copied again."""
    tables: frozenset[str] | None = None
    """Names of the tables that have entries; None: the store did not look."""
    batch: int = 0
    """The number of a batch that holds everything up to these entries; 0: the one after the last."""


@dataclass(frozen=True, slots=True)
class Applied:
    """What applying some rows did to the shadow. Counts of rows."""

    upserted: int = 0
    deleted: int = 0
    unchanged: int = 0
    quarantined: int = 0

    def __add__(self, other: Applied) -> Applied:
        return Applied(
            self.upserted + other.upserted,
            self.deleted + other.deleted,
            self.unchanged + other.unchanged,
            self.quarantined + other.quarantined,
        )


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A row that the shadow cannot hold. It is not on the shadow at all while it is here."""

    table: str
    key: Key
    reason: str
    since: float
