"""How much is held in memory at one time: rows are fetched the more at once, the smaller they are. Pure."""

from __future__ import annotations

import marshal
from collections.abc import Sequence

from cutover.errors import StatementError
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


def answer_size(rows: list[Row]) -> int:
    """About how many bytes these rows take in an answer, whose JSON puts some thirty around each value."""
    # Nothing else adds up the lengths of mixed values as fast; version 2 writes equal ones each time.
    return len(marshal.dumps(rows, 2)) + 25 * len(rows) * len(rows[0]) if rows else 0


def too_large(most: int) -> StatementError:
    """What a statement is told that answers too much."""
    return StatementError(
        f"The answer would be larger than front.max_response_bytes ({most}); nothing was changed.", "RESPONSE_TOO_LARGE"
    )


def next_fetch(rows: int, size: int) -> int:
    """How many rows to fetch next, after `rows` rows were `size` bytes. The first time it is one."""
    return max(1, min(_LARGEST_FETCH, 32 * rows, _FETCHED_SIZE * rows // (size or 1)))
