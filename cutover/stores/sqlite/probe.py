"""Whether this SQLite file could be the primary (again)."""

from __future__ import annotations

import os
import shutil
import sqlite3
from pathlib import Path

from cutover.model.table import Table, Tables
from cutover.schema.sqlite_schema import quoted
from cutover.stores.sqlite.capture import application_tables

_OLDEST = (3, 35, 0)


def probe(connection: sqlite3.Connection, path: str, tables: Tables) -> list[tuple[str, bool, str]]:
    """(check, ok, detail) for each condition."""
    mode = connection.execute("PRAGMA journal_mode").fetchone()[0]
    synchronous = connection.execute("PRAGMA synchronous").fetchone()[0]
    directory = _directory(path)
    writable = os.access(path, os.W_OK) and os.access(directory, os.W_OK)
    size = os.stat(path).st_size  # stat takes no lock
    free = free_bytes(path)
    missing = {table.name.lower() for table in tables} - {name.lower() for name in application_tables(connection)}
    standing = [table for table in tables if table.name.lower() not in missing]
    faults = [fault for table in standing if (fault := _cannot_write(connection, table))]
    return [
        ("version", sqlite3.sqlite_version_info >= _OLDEST, f"SQLite {sqlite3.sqlite_version}"),
        ("privileges", writable, "file and directory can be written" if writable else f"{path} cannot be written"),
        ("durability", mode == "wal" and synchronous >= 2, f"journal_mode {mode}, synchronous {synchronous}"),
        ("space", free > size, f"{free >> 20} MiB free, the database has {size >> 20} MiB"),
        ("tables", not missing, f"missing: {', '.join(sorted(missing))}" if missing else f"{len(tables)} tables"),
        ("writing", not faults, "; ".join(faults) or "each table can be written by this service"),
        ("sequences", True, _sequences(connection, tables)),
    ]


def free_bytes(path: str) -> int:
    """Of the disk that the database is on."""
    return shutil.disk_usage(_directory(path)).free


def _directory(path: str) -> Path:
    return Path(os.path.realpath(path)).parent


def _cannot_write(connection: sqlite3.Connection, table: Table) -> str:
    """Why our own connections cannot write the table: a collation or function that only the application registers."""
    # A table that others refer to is missing between two statements of a migration that makes it anew.
    checked = connection.execute("PRAGMA foreign_keys").fetchone()[0]
    columns = ", ".join(quoted(column.name) for column in table.columns)
    statement = f"INSERT INTO {quoted(table.name)} ({columns}) SELECT {columns} FROM {quoted(table.name)} WHERE 0"
    connection.execute("PRAGMA foreign_keys = OFF")
    try:
        connection.execute(statement)
    except sqlite3.Error as error:
        # Compiled with all indexes, checks and triggers, and refused because this connection only reads.
        return "" if getattr(error, "sqlite_errorname", "") == "SQLITE_READONLY" else f"{table.name}: {error}"
    finally:
        connection.execute(f"PRAGMA foreign_keys = {checked}")
    return ""


def _sequences(connection: sqlite3.Connection, tables: Tables) -> str:
    counted = [table.name for table in tables if table.autoincrement]
    if not counted:
        return "no table counts with AUTOINCREMENT"
    rows = dict(connection.execute("SELECT name, seq FROM sqlite_sequence").fetchall())
    return ", ".join(f"{name} stands at {rows.get(name, 0)}" for name in counted)
