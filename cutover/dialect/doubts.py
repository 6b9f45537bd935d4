"""What differs for the first time: it is asked again in another state of both stores, before anybody is told.

A change of the schema that is on its way to Postgres makes answers differ for a moment, and says nothing of the
statement. Where the schema was the same for both looks, the first of them counts whatever the second one finds: what
differs with some rows differs.
"""

from __future__ import annotations

from cutover.dialect.replay import Found
from cutover.dialect.replaying import Schema
from cutover.dialect.waiting import Sort

_MOST = 1000


class Doubts:
    """Of reads, or of writes, by their texts and the classes of their arguments."""

    def __init__(self) -> None:
        self._first: dict[Sort, tuple[Found, Schema]] = {}

    def __bool__(self) -> bool:
        return bool(self._first)

    def settled(self, sort: Sort, found: Found, schema: Schema, *, known: bool) -> Found | None:
        """What counts of this look; None: it is to be asked once more. `known`: to differ, so there is no doubt."""
        first = self._first.pop(sort, None)
        if first is None:
            if found.verdict != "mismatch" or known or len(self._first) >= _MOST:
                return found
            self._first[sort] = found, schema
            return None
        return first[0] if first[1] == schema else found

    def forget(self, sort: Sort) -> None:
        """It is not asked again."""
        self._first.pop(sort, None)
