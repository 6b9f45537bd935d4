"""A consistent, checked copy of the database while it is in use."""

from __future__ import annotations

import hashlib
import os
import sqlite3
from pathlib import Path

from cutover.errors import CutoverError, StoreError
from cutover.schema.sqlite_schema import quoted
from cutover.stores.sqlite.capture import application_tables

_PAGES = 4096
"""Copied in one step: 16 MiB with pages of 4 KiB."""


def backup(source: sqlite3.Connection, path: str, database: str) -> str:
    """Copy what `source` (a connection used for nothing else) sees to the new file `path`; returns its SHA-256.

    Raises `CutoverError` if `path` exists or belongs beside `database`, `StoreError` if the copy is not whole: no file
    is left.
    """
    target, own = Path(path), os.path.realpath(database)
    if os.path.realpath(path).startswith(f"{own}-"):
        raise CutoverError(
            f"{path} is a name that SQLite or cutover gives a meaning beside the database.",
            hint="Name another file; a folder of its own is best.",
        )
    if target.exists():
        raise CutoverError(f"{path} exists already.", hint="Name a new file; a backup never overwrites one.")
    partial = target.with_name(target.name + ".partial")
    partial.unlink(missing_ok=True)
    try:
        _copy(source, partial)
        digest = _sync_and_hash(partial)
        partial.rename(target)
    except BaseException:
        for leftover in (partial, Path(f"{partial}-wal"), Path(f"{partial}-shm"), Path(f"{partial}-journal")):
            leftover.unlink(missing_ok=True)
        raise
    _sync(target.parent)
    return digest


def _copy(source: sqlite3.Connection, partial: Path) -> None:
    copy = sqlite3.connect(partial, isolation_level=None)
    try:
        # A read transaction around all steps: a write between two of them would begin the copy again, for ever.
        source.execute("BEGIN")
        try:
            before = _counts(source)
            source.backup(copy, pages=_PAGES, sleep=0)
        finally:
            source.execute("ROLLBACK")
        verdict = [row[0] for row in copy.execute("PRAGMA integrity_check(10)")]
        if verdict != ["ok"]:
            raise StoreError(f"The backup is damaged: {'; '.join(verdict)}.", hint="Check the original and the disk.")
        if _counts(copy) != before:
            raise StoreError("The backup does not hold the rows of the original.", hint="Check the disk.")
    finally:
        copy.close()


def _counts(connection: sqlite3.Connection) -> dict[str, int]:
    tables = [
        name
        for name in application_tables(connection)
        if not connection.execute(
            "SELECT sql LIKE 'CREATE VIRTUAL%' FROM sqlite_master WHERE type = 'table' AND name = ?", (name,)
        ).fetchone()[0]
    ]
    return {name: connection.execute(f"SELECT count(*) FROM {quoted(name)}").fetchone()[0] for name in tables}


def _sync_and_hash(path: Path) -> str:
    with path.open("rb") as file:
        os.fsync(file.fileno())
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
