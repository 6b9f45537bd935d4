"""Where the files of a run are: in memory where there is room, since each commit of each test waits for the disk.

Nothing is tested less: a killed process loses no more on a disk than in memory, and the same calls are made.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

_MEMORY = Path("/dev/shm")
_ROOM = 4 << 30
"""Bytes. A run has a few servers with their WAL; of what tests write, only what failed is kept."""


def memory() -> Path | None:
    """A file system in memory with room for a run."""
    return _MEMORY if _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > _ROOM else None


def settle() -> None:
    """Have temporary files of this process, and of those it starts, in memory; unless somebody chose a place."""
    place = memory()
    if place is not None and "TMPDIR" not in os.environ:
        os.environ["TMPDIR"] = str(place)
        tempfile.tempdir = None  # it is looked for again
