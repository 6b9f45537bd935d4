"""Whether the SQLite file is still the one that was opened."""

from __future__ import annotations

import os

from cutover.errors import StoreError


def file_of(path: str) -> tuple[int, int] | None:
    """What file stands at `path` (device, inode), without opening it (hazard 28)."""
    try:
        found = os.stat(path)  # no pathlib here
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def demand_same_file(path: str, file: tuple[int, int] | None) -> None:
    """Raises `StoreError` if another file stands at `path`: writes would go into one that nobody finds any more."""
    if file_of(path) != file:
        raise StoreError(
            f"The SQLite file {path} was moved or replaced while the service ran.",
            hint="Stop the service before restoring a backup; start it again on the file that is meant.",
        )
