"""Whether the SQLite file is still the one that was opened, and still ours."""

from __future__ import annotations

import os

from cutover.errors import StaleApplier, StoreError
from cutover.model.control import Control


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


def demand_in_charge(control: Control, generation: int) -> None:
    """Raises `StaleApplier` if a newer owner is recorded in the file: this process slept while it was replaced.

    The stores refuse its writes all the same; but it would go on answering reads from what is no longer the primary.
    """
    if control.generation > generation:
        raise StaleApplier(
            f"A newer owner (generation {control.generation}) has taken over this SQLite file from this process "
            f"(generation {generation}).",
            hint="Use the other one; two owners on one file need a lock that was removed by hand.",
        )
