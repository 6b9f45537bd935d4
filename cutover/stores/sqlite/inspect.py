"""What stands in a SQLite file, read without the service and without changing anything.

For a process of its own: inside the service the file is opened by the store alone (hazard 28).
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from cutover.errors import ControlDamaged
from cutover.model.control import Inspected
from cutover.schema.sqlite_schema import quoted
from cutover.stores.sqlite.capture import own_triggers
from cutover.stores.sqlite.control import exists, read_control
from cutover.stores.sqlite.triggers import FENCE, LOG

_SWITCHES = 5


def inspect_sqlite(path: str) -> Inspected:
    """Read the control row and what belongs to it. Never raises for what it finds there."""
    if not Path(path).is_file():
        return Inspected(path, None, None, f"there is no file {path}")
    try:
        with closing(sqlite3.connect(f"file:{quote(path)}?mode=ro", uri=True, timeout=5, isolation_level=None)) as file:
            file.row_factory = sqlite3.Row
            file.execute("BEGIN")
            return _inspect(file, path)
    except sqlite3.Error as error:
        return Inspected(path, None, None, f"it cannot be read: {error}")


def _inspect(file: sqlite3.Connection, path: str) -> Inspected:
    rows = file.execute("SELECT * FROM _cutover_control").fetchall() if exists(file) else []
    control, damaged = None, False
    try:
        control, problem = read_control(file), ""
        if control is None:
            problem = "cutover was never installed here"
    except ControlDamaged as error:
        problem, damaged = error.message, True
    return Inspected(
        path,
        dict(rows[0]) if rows else None,
        control,
        problem,
        damaged=damaged,
        fenced=bool(own_triggers(file, FENCE)),
        changes=_count(file, LOG),
        switches=_switches(file),
    )


def _count(file: sqlite3.Connection, table: str) -> int | None:
    return int(file.execute(f"SELECT count(*) FROM {quoted(table)}").fetchone()[0]) if exists(file, table) else None


def _switches(file: sqlite3.Connection) -> tuple[tuple[str, str], ...]:
    if not exists(file, "_cutover_switches"):
        return ()
    found = file.execute(
        "SELECT switch_id, outcome FROM _cutover_switches ORDER BY at DESC, rowid DESC LIMIT ?", (_SWITCHES,)
    )
    return tuple((row[0], row[1]) for row in reversed(found.fetchall()))
