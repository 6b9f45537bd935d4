"""Every drift that is known now: found by whichever detector, gone as soon as a second look finds it healed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from cutover import clock
from cutover.metrics import Metrics
from cutover.model.drift import Drift, DriftKind
from cutover.model.values import Key, Row

HELD_ROWS = 5000
HELD_BYTES = 16 * 1024 * 1024
"""Limits a table. Beyond either, drifts are counted and not held; a repair or verification takes them in turns."""


@dataclass
class _Page:
    """One table's part."""

    held: dict[Key, Drift] = field(default_factory=dict)
    kinds: Counter[DriftKind] = field(default_factory=Counter)
    """Of those held."""
    weight: int = 0
    beyond: Counter[DriftKind] = field(default_factory=Counter)
    beyond_since: float | None = None


class Ledger:
    """Known drifts by table and key. Counts are exact for what was scanned, also beyond the rows held."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._pages: dict[str, _Page] = {}
        self.reign = 0
        """Goes up when everything is forgotten: what was found before does not belong in here any more."""
        self.compared = 0
        """Rows compared since the start, by all detectors."""

    def record(self, drift: Drift) -> bool:
        """Take note of a drift; the time it was first seen is kept. False: no room, and the caller may count it."""
        page = self._pages.setdefault(drift.table, _Page())
        known = page.held.get(drift.key)
        if known is None and (len(page.held) >= HELD_ROWS or page.weight + _weight(drift) > HELD_BYTES):
            return False
        if known is not None:
            drift = replace(drift, first_seen=known.first_seen)
            page.weight -= _weight(known)
            page.kinds[known.kind] -= 1
        page.held[drift.key] = drift
        page.kinds[drift.kind] += 1
        page.weight += _weight(drift)
        self._show(drift.table)
        return True

    def heal(self, table: str, keys: Iterable[Key]) -> int:
        """These rows are known not to be drift. Returns how many of them were held as such."""
        page = self._pages.get(table)
        if page is None:
            return 0
        healed = [drift for key in keys if (drift := page.held.pop(key, None)) is not None]
        if healed:
            page.weight -= sum(_weight(drift) for drift in healed)
            page.kinds -= Counter(drift.kind for drift in healed)
            self._show(table)
        return len(healed)

    def count_beyond(self, table: str, counts: Mapping[DriftKind, int]) -> None:
        """Set how many drifts the scan that just ended found and could not have held."""
        page = self._pages.setdefault(table, _Page())
        page.beyond = Counter({kind: rows for kind, rows in counts.items() if rows})
        page.beyond_since = (page.beyond_since or clock.wall()) if page.beyond else None
        self._show(table)

    def keys(self, table: str) -> list[Key]:
        """Keys held for the table."""
        return list(self._pages[table].held) if table in self._pages else []

    def beyond(self, table: str) -> int:
        """Drifts of the table that are counted only."""
        return self._pages[table].beyond.total() if table in self._pages else 0

    def drifts(self, table: str | None, limit: int) -> list[Drift]:
        """Held drifts of one table or of all, oldest first within a table, at most `limit`."""
        pages = [page for name, page in sorted(self._pages.items()) if table in (None, name)]
        held = (drift for page in pages for drift in page.held.values())
        return [drift for _, drift in zip(range(limit), held, strict=False)]

    def held(self, table: str) -> Counter[DriftKind]:
        """Held drifts of the table by kind."""
        return Counter(self._pages[table].kinds) if table in self._pages else Counter()

    def counts(self, table: str) -> dict[str, int]:
        """Drifts by kind, all kinds named."""
        page = self._pages.get(table, _Page())
        return {kind.value: page.kinds[kind] + page.beyond[kind] for kind in DriftKind}

    def total(self, table: str | None = None) -> int:
        """Drifts of one table, or of all."""
        pages = self._pages.values() if table is None else [self._pages.get(table, _Page())]
        return sum(len(page.held) + page.beyond.total() for page in pages)

    def tables(self) -> list[str]:
        """Tables with at least one drift."""
        return [name for name in sorted(self._pages) if self.total(name)]

    def oldest(self) -> float | None:
        """When the oldest drift was first seen, seconds since 1970."""
        seen = [drift.first_seen for page in self._pages.values() for drift in page.held.values()]
        seen += [page.beyond_since for page in self._pages.values() if page.beyond_since is not None]
        return min(seen, default=None)

    def forget(self) -> None:
        """Start afresh: what was found was about other states."""
        self.reign += 1
        names = list(self._pages)
        self._pages.clear()
        for name in names:
            self._show(name)

    def show_age(self) -> None:
        """Set the gauge of the oldest drift, which grows by itself."""
        oldest = self.oldest()
        self._metrics.drift_oldest.set(max(0.0, clock.wall() - oldest) if oldest is not None else 0.0)

    def _show(self, table: str) -> None:
        for kind, rows in self.counts(table).items():
            self._metrics.drift_rows.labels(table, kind).set(rows)


def _weight(drift: Drift) -> int:
    return 200 + sum(_size(row) for row in (drift.key, drift.primary, drift.shadow) if row is not None)


def _size(row: Row) -> int:
    return sum(50 + (len(value) if isinstance(value, str | bytes) else 0) for value in row)
