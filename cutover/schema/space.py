"""Room on the disks that a move needs: for the copy before each switch, for the change log, for an embedded server."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from cutover.schema.findings import Finding
from cutover.settings import Settings

_BACKUP = 1.2
"""Times the size of the file, as the gate `backup` has it."""
_GROWTH = 0.5
"""Times its size: the change log and the write-ahead log, while a long copy runs."""
_POSTGRES = 3.0
"""Times its size: row headers of 24 bytes, no compression of short rows, the write-ahead log. A rough guess."""


def _free(place: Path) -> int:
    return shutil.disk_usage(place).free


def of_space(path: str, settings: Settings, free: Callable[[Path], int] = _free) -> Iterator[Finding]:
    """Disks that are too small for what is to come onto them. Looks at sizes alone."""
    size = sum(os.stat(path + suffix).st_size for suffix in ("", "-wal") if os.path.exists(path + suffix))
    embedded = not settings.postgres.url.get_secret_value()
    wanted = [
        (Path(path).absolute().parent, size * _GROWTH, "the change log and the write-ahead log beside SQLite's file"),
        (settings.state_dir, size * _BACKUP, "a copy of SQLite's file before a switch"),
    ]
    if embedded:
        wanted.append((settings.state_dir, size * _POSTGRES, "the embedded Postgres"))
    disks: dict[int, tuple[Path, list[tuple[float, str]]]] = {}
    for place, need, what in wanted:
        standing = next(parent for parent in (place, *place.parents) if parent.exists())
        disks.setdefault(os.stat(standing).st_dev, (standing, []))[1].append((need, what))
    for standing, needs in disks.values():
        total, there = sum(need for need, _ in needs), free(standing)
        if there < total:
            listed = ", ".join(f"{_size(need)} for {what}" for need, what in needs)
            yield Finding(
                "warns",
                "disk",
                f"{_size(there)} are free on the disk of {standing}, and about {_size(total)} are needed: {listed}.",
                "Make room, or set service.state_dir to a larger disk.",
            )


def _size(count: float) -> str:
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:,.1f} GB"
