"""How much is held in memory at one time: rows are fetched the more at once, the smaller they are. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from cutover.model.values import Row

_LARGEST_FETCH = 2000
_FETCHED_SIZE = 1 << 20
"""Bytes that the rows fetched at one time should come to."""


def size_of(rows: Sequence[Row]) -> int:
    """About how many bytes these rows hold."""
    total = 0
    for column in zip(*rows, strict=True):
        try:
            total += sum(map(len, column))
        except TypeError:
            total += sum([len(value) if isinstance(value, str | bytes) else 8 for value in column])
    return total


def next_fetch(rows: int, size: int) -> int:
    """How many rows to fetch next, after `rows` rows were `size` bytes. The first time it is one."""
    return max(1, min(_LARGEST_FETCH, 32 * rows, _FETCHED_SIZE * rows // (size or 1)))
