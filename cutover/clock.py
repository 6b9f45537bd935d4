"""Time, in one place so that tests can say where it came from."""

from __future__ import annotations

import time
from datetime import UTC, datetime


def wall() -> float:
    """Seconds since 1970, UTC. May step; use only to stamp and to compare with other machines' stamps."""
    return time.time()


monotonic = time.monotonic
"""Seconds that never go back. For durations and deadlines."""


def iso(at: float | None = None) -> str:
    """ISO 8601 in UTC with milliseconds and `Z`, as in `2026-01-31T12:00:00.123Z`."""
    moment = datetime.fromtimestamp(wall() if at is None else at, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
