"""Whether something is kept in memory for longer than it is needed."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def keeping_little(most: int) -> Iterator[None]:
    """What is done inside leaves no more bytes than this, and that before the garbage collector comes by."""
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        yield
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        gc.enable()
    assert after - before < most, after - before
