"""Differences between the stores, as they are counted and shown."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from cutover.model.values import Key, Row


class DriftKind(StrEnum):
    """Named by what is wrong with the shadow."""

    MISSING = "missing"
    EXTRA = "extra"
    DIFFERENT = "different"
    TYPE_CHANGED = "type_changed"
    """Equal as text, of another storage type."""


@dataclass(frozen=True)
class Drift:
    """One row that differs though nothing of it is in flight."""

    table: str
    key: Key
    kind: DriftKind
    columns: tuple[str, ...]
    """The differing columns; empty for missing and extra."""
    primary: Row | None
    shadow: Row | None
    first_seen: float
    """Seconds since 1970."""
