"""How fast the backfill goes: no faster than it may, and gentler while the mirror is behind. Pure but for the clock."""

from __future__ import annotations

from collections import deque

from cutover import clock

_ROUND = 0.25
"""Seconds that one range should take at most: the mirror waits for so long."""

_LEAST_ROWS = 500

_LAG = 1.0
"""Seconds. A mirror that is further behind than this gets room: the copy takes one range at a time."""

_WINDOW = 15.0
"""Seconds over which the rate is measured."""


class CopyPace:
    """Rows of one range, and a speed limit (rows a second; 0: none)."""

    def __init__(self, most_rows: int, limit: int) -> None:
        self._most = most_rows
        self._limit = limit
        self._rows = min(most_rows, limit or most_rows)
        self._free_at = 0.0

    def rows(self) -> int:
        """How many rows the next range may have."""
        return self._rows

    def waits(self) -> float:
        """Seconds until the limit lets the next range pass."""
        return max(0.0, self._free_at - clock.monotonic())

    def is_gentle(self, lag: float) -> bool:
        """Whether to copy one range and no more, because of the limit or of a mirror that is so far behind."""
        return lag > _LAG or bool(self._limit)

    def spent(self, rows: int, seconds: float) -> None:
        """`rows` rows took this long. Time that the limit left unused is not saved up."""
        if self._limit:
            self._free_at = max(self._free_at, clock.monotonic() - seconds) + rows / self._limit
        if rows:
            fitting = int(rows * _ROUND / max(seconds, 0.001))
            most = min(self._most, self._limit or self._most)
            # Up by doubling at most: a range that happened to be quick says little about the next one.
            self._rows = max(min(_LEAST_ROWS, most), min(most, fitting, self._rows * 2))


class CopyRate:
    """Rows a second over the last while."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, float, int]] = deque()

    def note(self, rows: int, seconds: float) -> None:
        """`rows` more were copied just now, in so many seconds."""
        now = clock.monotonic()
        self._seen.append((now - seconds, now, rows))
        while now - self._seen[0][0] > _WINDOW and len(self._seen) > 1:
            self._seen.popleft()

    def now(self) -> float:
        """Rows a second; 0 while nothing is copied."""
        if not self._seen or clock.monotonic() - self._seen[-1][1] > _WINDOW:
            return 0.0
        seconds = clock.monotonic() - self._seen[0][0]
        return sum(rows for _, _, rows in self._seen) / max(seconds, 0.001)
