"""Capture installed, checked and read: triggers against what they should be, and the change log they write.

Functions on a plain connection. Those that change something run inside a transaction of the caller.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from dataclasses import dataclass
from string import ascii_lowercase, ascii_uppercase

from cutover.crashpoints import crash_point
from cutover.errors import CaptureBroken
from cutover.model.control import Control
from cutover.model.table import Table, Tables
from cutover.model.values import Pending
from cutover.stores.sqlite.control import (
    ROWIDS,
    create_own_tables,
    exists,
    last_entry,
    note_trimmed,
    reached_batch,
    read_control,
)
from cutover.stores.sqlite.triggers import (
    CAPTURE,
    FENCE,
    LOG,
    WITNESS,
    WITNESS_SQL,
    capture_triggers,
    fence_triggers,
    read_facts,
)

_FOLD = str.maketrans(ascii_uppercase, ascii_lowercase)
_FAR = 1 << 40


@dataclass(frozen=True)
class LogToken:
    """The entries of a snapshot. SQLite writes one transaction at a time, so a later entry has a higher number."""

    upto: int


def whole_id(table: Table) -> int:
    """The table id of a log entry that means: changes of this table were missed, copy it again."""
    return ~table.id


# -- what should be and what is --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Schema:
    """The schema, read once: asking it anew for each table takes the square of their number, in a switch's pause."""

    definitions: dict[str, list[tuple[str, str, str]]]
    """(type, name, text) of each table and its indexes, by the table's folded name."""
    triggers: dict[str, tuple[str, str]]
    """Trigger name → (table, text)."""
    put_back: frozenset[str]
    """Triggers that were made after the witness: taken away for a while and put back, as SQLite's own recipe for schema
    changes has it. Their text is right, and what happened meanwhile nobody knows (hazard 35).

    The schema's rows are numbered in the order in which they were made, and VACUUM keeps that order."""

    @classmethod
    def read(cls, connection: sqlite3.Connection) -> _Schema:
        """As this transaction sees it."""
        rows = connection.execute("SELECT type, name, tbl_name, sql, rowid FROM sqlite_master ORDER BY type, name")
        definitions: dict[str, list[tuple[str, str, str]]] = {}
        triggers, numbers = {}, {}
        for kind, name, table, sql, number in rows:
            if kind == "trigger":
                triggers[name], numbers[name] = (table, sql), number
            elif kind in ("table", "index"):
                definitions.setdefault(_folded(table), []).append((kind, name, sql))
        witness = numbers.get(WITNESS, 0)
        return cls(definitions, triggers, frozenset(name for name, number in numbers.items() if number > witness))

    def fingerprint(self, table: str) -> str:
        """Changes with the definition of the table or of its indexes; triggers do not count. Empty: no such table."""
        rows = self.definitions.get(_folded(table), [])
        return hashlib.sha256(json.dumps(rows).encode()).hexdigest() if any(row[0] == "table" for row in rows) else ""

    def indexed(self, table: str) -> bool:
        """Whether the table has an index; VACUUM then leaves its rowids as they are."""
        return any(kind == "index" for kind, _, _ in self.definitions.get(_folded(table), []))


def _folded(name: str) -> str:
    """As SQLite compares names: only ASCII letters have no case."""
    return name.translate(_FOLD)


def own_triggers(connection: sqlite3.Connection, prefix: str) -> dict[str, tuple[str, str]]:
    """Trigger name → (table, text) of cutover's triggers with this prefix."""
    rows = connection.execute("SELECT name, tbl_name, sql FROM sqlite_master WHERE type = 'trigger'")
    return {name: (table, sql) for name, table, sql in rows if name.startswith(prefix)}


def _set_witness(connection: sqlite3.Connection) -> None:
    """From here on every other trigger is younger. Whoever calls this has just made sure of those that stand."""
    connection.execute(f"DROP TRIGGER IF EXISTS {WITNESS}")
    connection.execute(WITNESS_SQL)


def _expected_capture(connection: sqlite3.Connection, table: Table) -> dict[str, str]:
    return capture_triggers(table, read_facts(connection, table))


_VIEWS = " views"
"""Under which views are recorded, among the names of tables."""


def application_tables(connection: sqlite3.Connection) -> list[str]:
    """Every table but SQLite's and cutover's own, in name order."""
    rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
    return [name for (name,) in rows if not name.lower().startswith(("sqlite_", "_cutover_"))]


def _views(connection: sqlite3.Connection) -> dict[str, str]:
    """By name, the texts of views: no row of theirs is mirrored, but statements are translated by them."""
    return dict(connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'view' ORDER BY name").fetchall())


def schema_fingerprint(connection: sqlite3.Connection, tables: Tables) -> str:
    """Changes with any mapped table, the set of tables, any view, and when a trigger of ours is not in order.

    The latter because a rebuilt table may look as before and have no triggers. Whole, it is the same in both roles.
    """
    schema = _Schema.read(connection)
    parts = [schema.fingerprint(table.name) for table in tables]
    faults = problems(connection, tables)
    others = [application_tables(connection), _views(connection)]
    return hashlib.sha256(json.dumps([parts, *others, faults]).encode()).hexdigest()


def _recorded(connection: sqlite3.Connection) -> dict[str, str]:
    if not exists(connection, "_cutover_schema"):
        return {}
    return dict(connection.execute("SELECT table_name, fingerprint FROM _cutover_schema").fetchall())


def record_schema(connection: sqlite3.Connection, tables: Tables) -> None:
    """Take the schema as it is for the one that is right."""
    connection.execute("DELETE FROM _cutover_schema")
    schema = _Schema.read(connection)
    rows = [(table.name, schema.fingerprint(table.name)) for table in tables]
    rows.append(("", json.dumps(application_tables(connection))))
    rows.append((_VIEWS, json.dumps(_views(connection))))
    connection.executemany("INSERT INTO _cutover_schema (table_name, fingerprint) VALUES (?, ?)", rows)
    connection.execute(f"DELETE FROM {ROWIDS}")
    connection.execute(f"INSERT INTO {ROWIDS} (rowid, note) VALUES (?, 'moves with VACUUM')", (_FAR,))


# -- capture ---------------------------------------------------------------------------------------------------------


def broken_tables(connection: sqlite3.Connection, tables: Tables) -> Tables:
    """Tables that are not in order, unless it is a first time: what happened to their rows meanwhile nobody knows.

    That holds for a table which is new among the others as well: it may have been left out for a while.
    """
    control, recorded = read_control(connection), _recorded(connection)
    if not recorded:
        return ()
    schema = _Schema.read(connection)
    return tuple(table for table in tables if _table_problems(connection, schema, table, recorded, control))


def is_whole(connection: sqlite3.Connection, tables: Tables) -> bool:
    """Whether exactly these tables are recorded, and nothing is wrong."""
    recorded = _recorded(connection).keys() - {"", _VIEWS}
    return recorded == {table.name for table in tables} and not problems(connection, tables)


def install_capture(connection: sqlite3.Connection, tables: Tables, broken: Tables = ()) -> None:
    """Make the triggers what they should be, and log the tables of `broken` as changed as a whole.

    Raises `CaptureBroken` where the mapping is older than the schema: SQLite would make such triggers, and then fail
    every write of the application.
    """
    create_own_tables(connection, tables)
    drop_triggers(connection, CAPTURE)
    for table in tables:
        facts = read_facts(connection, table)
        missing = [column.name for column in table.columns if column.name not in facts.columns]
        if missing:
            raise CaptureBroken(
                f"Table {table.name} has no column {', '.join(missing)} any more.", hint="It has to be mapped anew."
            )
        for sql in capture_triggers(table, facts).values():
            connection.execute(sql)
    connection.executemany(
        f"INSERT INTO {LOG} (table_id, at) VALUES (?, (julianday('now') - 2440587.5) * 86400.0)",
        [(whole_id(table),) for table in broken],
    )
    _set_witness(connection)
    record_schema(connection, tables)


def drop_triggers(connection: sqlite3.Connection, prefix: str) -> None:
    """Drop cutover's triggers with this prefix, on whatever table they are."""
    for name in own_triggers(connection, prefix):
        connection.execute(f"DROP TRIGGER {name}")


def drop_capture(connection: sqlite3.Connection) -> None:
    """Triggers first: one that named a missing log would fail the application's writes."""
    drop_triggers(connection, CAPTURE)
    drop_triggers(connection, WITNESS)
    if exists(connection, LOG):
        connection.execute(f"DELETE FROM {LOG}")


def install_fence(connection: sqlite3.Connection, tables: Tables, control: Control) -> None:
    """Fence every mapped table with the text that fits `control`."""
    drop_triggers(connection, FENCE)
    for table in tables:
        for sql in fence_triggers(table, control).values():
            connection.execute(sql)
    _set_witness(connection)


def problems(connection: sqlite3.Connection, tables: Tables) -> list[str]:
    """What is wrong with capture (on the primary), the fence (wherever there must be one) or the schema."""
    control = read_control(connection)
    recorded = _recorded(connection)
    schema = _Schema.read(connection)
    found = [it for table in tables for it in _table_problems(connection, schema, table, recorded, control)]
    if "" in recorded:
        before, now = set(json.loads(recorded[""])), set(application_tables(connection))
        mapped = {table.name for table in tables}
        found += [f"Table {name} appeared and is not mirrored." for name in sorted(now - before - mapped)]
        found += [f"Table {name}, which is not mirrored, is gone." for name in sorted(before - now - mapped)]
    if _VIEWS in recorded and (control is None or control.primary == "sqlite"):
        known, there = json.loads(recorded[_VIEWS]), _views(connection)
        changed = sorted({name for name, _ in known.items() ^ there.items()})
        found += [f"The view {name} was made, changed or dropped." for name in changed]
    return found


def _table_problems(
    connection: sqlite3.Connection, schema: _Schema, table: Table, recorded: dict[str, str], control: Control | None
) -> list[str]:
    """Problems of one table; without a control row, as on a primary that is not fenced."""
    fingerprint = schema.fingerprint(table.name)
    if not fingerprint:
        return [f"Table {table.name} is gone."]
    found = []
    if table.name in recorded and not schema.indexed(table.name) and _has_rowid(table) and _numbered_anew(connection):
        found.append(f"VACUUM gave the rows of table {table.name}, which has no index, new numbers.")
    if recorded.get(table.name, fingerprint) != fingerprint:
        found.append(f"The definition of table {table.name} or of its indexes changed.")
    if control is None or control.primary == "sqlite":
        expected = _expected_capture(connection, table)
        found += _trigger_problems(schema, table, expected, "Capture")
    if control is not None and fenced(control):
        found += _trigger_problems(schema, table, fence_triggers(table, control), "The fence")
    return found


def _has_rowid(table: Table) -> bool:
    return any(column.hidden for column in table.columns)


def _numbered_anew(connection: sqlite3.Connection) -> bool:
    """Whether VACUUM ran: a table without index and key is then numbered from 1 on, ours as the application's."""
    found = exists(connection, ROWIDS) and connection.execute(f"SELECT 1 FROM {ROWIDS} WHERE rowid = ?", (_FAR,))
    return not found or found.fetchone() is None


def fenced(control: Control) -> bool:
    """Whether this file must be fenced: it is not the primary, or is giving the primacy away."""
    return control.primary != "sqlite" or control.state.value in ("promoting", "committing")


def _trigger_problems(schema: _Schema, table: Table, expected: dict[str, str], what: str) -> list[str]:
    standing = {name: schema.triggers[name] for name in expected if name in schema.triggers}
    mine = {name: sql for name, (on, sql) in standing.items() if _folded(on) == _folded(table.name)}
    missing = sorted(expected.keys() - mine.keys())
    altered = sorted(name for name in expected.keys() & mine.keys() if expected[name] != mine[name])
    again = sorted(expected.keys() & mine.keys() & schema.put_back - set(altered))
    found = []
    if missing:
        found.append(f"{what} of table {table.name} lacks {', '.join(missing)}.")
    if altered:
        found.append(f"{what} of table {table.name} was altered: {', '.join(altered)}.")
    if again:
        found.append(f"{what} of table {table.name} was away for a while and put back: {', '.join(again)}.")
    return found


def demand_intact(connection: sqlite3.Connection, tables: Tables) -> None:
    """Raise `CaptureBroken` with every problem there is."""
    found = problems(connection, tables)
    if found:
        raise CaptureBroken(
            " ".join(found), hint="Capture is repaired and the tables concerned are copied again; then repeat."
        )


# -- the log ---------------------------------------------------------------------------------------------------------


def read_pending(connection: sqlite3.Connection, tables: Tables, after: int = 0) -> Pending:
    """The log as this transaction sees it, from the entry after the one numbered `after`."""
    rows = []
    if exists(connection, LOG):
        sql = f"SELECT table_id, count(*), min(at), max(seq) FROM {LOG} WHERE seq > ? GROUP BY table_id"
        rows = connection.execute(sql, (after,)).fetchall()
    ids = {row[0] for row in rows}
    last = max((row[3] for row in rows), default=0)
    return Pending(
        count=sum(row[1] for row in rows),
        oldest_at=min((row[2] for row in rows), default=None),
        token=LogToken(last),
        batch=_batch(connection, last) if last else 0,
        whole=frozenset(table.name for table in tables if whole_id(table) in ids),
        tables=frozenset(table.name for table in tables if table.id in ids),
    )


def _batch(connection: sqlite3.Connection, entry: int) -> int:
    if not exists(connection):
        return 0
    row = connection.execute("SELECT trimmed_batch FROM _cutover_control").fetchone()
    return reached_batch(connection, row[0], entry) if row else 0


def passed(connection: sqlite3.Connection, token: LogToken) -> int:
    """The number up to which entries are passed over; 0 if the log is not the one that `token` was taken from."""
    return token.upto if last_entry(connection) >= token.upto else 0


def read_lag(connection: sqlite3.Connection, token: LogToken) -> tuple[int, float | None]:
    """Entries in the log that are not passed over, and when the first of them was written."""
    if not exists(connection, LOG):
        return 0, None
    after = passed(connection, token)
    count = connection.execute(f"SELECT count(*) FROM {LOG} WHERE seq > ?", (after,)).fetchone()[0]
    first = connection.execute(f"SELECT at FROM {LOG} WHERE seq > ? ORDER BY seq LIMIT 1", (after,)).fetchone()
    return count, first[0] if first else None


def trim(connection: sqlite3.Connection, token: LogToken, batch: int) -> None:
    """Remove the entries of `token`, unless that was done under this batch number or a later one before."""
    control = read_control(connection)
    if control is not None and control.trimmed_batch >= batch:
        return
    connection.execute(f"DELETE FROM {LOG} WHERE seq <= ?", (token.upto,))
    connection.execute("UPDATE _cutover_control SET trimmed_batch = ?", (batch,))
    note_trimmed(connection, token.upto)
    crash_point("sqlite.trim")
