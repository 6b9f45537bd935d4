"""Whether this SQLite file could be the primary (again)."""

from __future__ import annotations

import os
import shutil
import sqlite3
from pathlib import Path

from cutover.model.table import Tables
from cutover.stores.sqlite.capture import application_tables

_OLDEST = (3, 35, 0)


def probe(connection: sqlite3.Connection, path: str, tables: Tables) -> list[tuple[str, bool, str]]:
    """(check, ok, detail) for each condition."""
    mode = connection.execute("PRAGMA journal_mode").fetchone()[0]
    synchronous = connection.execute("PRAGMA synchronous").fetchone()[0]
    directory = Path(os.path.realpath(path)).parent
    writable = os.access(path, os.W_OK) and os.access(directory, os.W_OK)
    size = os.stat(path).st_size  # stat takes no lock
    free = shutil.disk_usage(directory).free
    missing = {table.name.lower() for table in tables} - {name.lower() for name in application_tables(connection)}
    return [
        ("version", sqlite3.sqlite_version_info >= _OLDEST, f"SQLite {sqlite3.sqlite_version}"),
        ("privileges", writable, "file and directory can be written" if writable else f"{path} cannot be written"),
        ("durability", mode == "wal" and synchronous >= 2, f"journal_mode {mode}, synchronous {synchronous}"),
        ("space", free > size, f"{free >> 20} MiB free, the database has {size >> 20} MiB"),
        ("tables", not missing, f"missing: {', '.join(sorted(missing))}" if missing else f"{len(tables)} tables"),
        ("sequences", True, _sequences(connection, tables)),
    ]


def _sequences(connection: sqlite3.Connection, tables: Tables) -> str:
    counted = [table.name for table in tables if table.autoincrement]
    if not counted:
        return "no table counts with AUTOINCREMENT"
    rows = dict(connection.execute("SELECT name, seq FROM sqlite_sequence").fetchall())
    return ", ".join(f"{name} stands at {rows.get(name, 0)}" for name in counted)
