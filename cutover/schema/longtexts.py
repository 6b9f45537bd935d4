"""A memory for what long texts are, bounded by their length together instead of by their number."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


OF_EACH = 1000
"""Characters that what is known of a text counts as."""


class LongTexts(Generic[T]):
    """Calls `find` once for a text as long as it is remembered. Usable from any thread."""

    def __init__(self, find: Callable[[str], T], characters: int) -> None:
        """`characters`: of all texts that are remembered, about as many as a request can have."""
        self._find = find
        self._room = characters
        self._known: OrderedDict[str, T] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, text: str) -> T:
        """What the text is."""
        with self._lock:
            if text in self._known:
                self._known.move_to_end(text)
                return self._known[text]
        found = self._find(text)
        with self._lock:
            if text not in self._known:
                self._known[text] = found
                self._room -= len(text) + OF_EACH
            while self._room < 0:
                old, _ = self._known.popitem(last=False)
                self._room += len(old) + OF_EACH
        return found
