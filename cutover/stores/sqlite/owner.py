"""Who has the SQLite file: the owner's lock, and the processes that hold the file open.

The lock is a file of its own beside the database, because opening and closing the database file itself would drop
SQLite's own locks in this process.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
from pathlib import Path

from cutover.clock import iso
from cutover.errors import OwnedElsewhere, StoreUnavailable


def owner_lock_path(database: str) -> Path:
    """Where the owner's lock of this database belongs: beside it, so that every owner finds the same one."""
    return Path(os.path.realpath(database) + "-cutover-owner")


class OwnerLock:
    """An exclusive lock that ends with the process, however it ends."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock. Raises `OwnedElsewhere` naming the holder, `StoreUnavailable` if the file cannot be made."""
        if self._descriptor is not None:
            return
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise StoreUnavailable(
                f"The owner's lock {self._path} cannot be opened: {error.strerror}.",
                hint="The service must be able to write to the directory of the SQLite file.",
            ) from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 4096, 0)
            os.close(descriptor)
            raise OwnedElsewhere(
                f"Another cutover service owns this SQLite file: {_named(holder)}.",
                hint="Stop it first, or run this one as a gateway. A live or frozen owner is never taken over.",
            ) from None
        who = {"pid": os.getpid(), "host": socket.gethostname(), "since": iso()}
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(who).encode(), 0)
        os.fsync(descriptor)
        self._descriptor = descriptor

    def release(self) -> None:
        """Let go. The file stays: removing it would let two owners lock two different ones."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _named(holder: bytes) -> str:
    try:
        who = json.loads(holder)
        return f"pid {who['pid']} on host {who['host']}, since {who['since']}"
    except (ValueError, KeyError, TypeError):
        return "a process that has not written its name yet"


def holders(database: str) -> list[tuple[int, str]]:
    """(pid, name) of other processes that have the database file or its WAL open, as far as /proc lets us see."""
    real = os.path.realpath(database)
    wanted = {real, real + "-wal", real + "-shm"}
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        if entry.name == str(os.getpid()):
            continue
        try:
            links = {os.readlink(link) for link in (entry / "fd").iterdir()}
            if links & wanted:
                found.append((int(entry.name), (entry / "comm").read_text(encoding="utf-8").strip()))
        except OSError:
            continue  # gone meanwhile, or not ours to see
    return sorted(found)


def describe_holders(database: str) -> str:
    """The same for an error message."""
    named = [f"{name} (pid {pid})" for pid, name in holders(database)]
    return f"Open in other processes: {', '.join(named)}." if named else "No other process that we can see has it open."
