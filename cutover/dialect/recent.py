"""A memory of what was used last, in which finding costs no more than in a dictionary."""

from __future__ import annotations

from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Recent(Generic[K, V]):
    """Holds at least the `size` entries used last, and at most twice as many.

    What is used moves to the young half. When that is full it becomes the old half, and what was old, and not used
    since, is forgotten. So nothing has to be noted when an entry is found where most are.
    """

    __slots__ = ("_old", "_size", "young")

    def __init__(self, size: int) -> None:
        self._size = size
        self.young: dict[K, V] = {}
        """For who cannot afford a call."""
        self._old: dict[K, V] = {}

    def get(self, key: K) -> V | None:
        """The entry, which is remembered longer for it."""
        found = self.young.get(key)
        if found is None:
            found = self._old.get(key)
            if found is not None:
                self.put(key, found)
        return found

    def put(self, key: K, value: V) -> None:
        """Remember."""
        if len(self.young) >= self._size:
            self._old, self.young = self.young, {}
        self.young[key] = value

    def __len__(self) -> int:
        return len(self.young.keys() | self._old.keys())
