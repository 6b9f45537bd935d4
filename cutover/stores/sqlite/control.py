"""cutover's own tables in the SQLite file, and the control row. Functions on a plain connection, inside a transaction
of the caller unless said otherwise."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from cutover.clock import wall
from cutover.errors import StaleApplier, StoreError
from cutover.model.control import (
    BackfillProgress,
    Control,
    Identity,
    Outcome,
    SwitchState,
    columns_of,
    unreadable,
    unsealed,
)
from cutover.model.table import Tables
from cutover.model.values import Quarantined
from cutover.stores.sqlite.keys import decode_key, encode_key
from cutover.stores.sqlite.triggers import LOG

ROWIDS = "_cutover_rowids"
_OWN_TABLES = (
    """CREATE TABLE IF NOT EXISTS _cutover_control (
  one INTEGER PRIMARY KEY CHECK (one = 1), pair_id TEXT NOT NULL, primary_store TEXT NOT NULL, epoch INTEGER NOT NULL,
  state TEXT NOT NULL, switch_id TEXT, generation INTEGER NOT NULL, applied_batch INTEGER NOT NULL,
  trimmed_batch INTEGER NOT NULL, peer_system TEXT, peer_timeline INTEGER, audit_sequence INTEGER NOT NULL,
  audit_hash TEXT NOT NULL, seal TEXT NOT NULL, applying INTEGER NOT NULL DEFAULT 0)""",
    """CREATE TABLE IF NOT EXISTS _cutover_switches (
  switch_id TEXT PRIMARY KEY, outcome TEXT NOT NULL, at REAL NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS _cutover_quarantine (
  table_name TEXT NOT NULL, key TEXT NOT NULL, reason TEXT NOT NULL, since REAL NOT NULL,
  PRIMARY KEY (table_name, key))""",
    """CREATE TABLE IF NOT EXISTS _cutover_backfill (
  table_name TEXT PRIMARY KEY, state TEXT NOT NULL, after TEXT, rows INTEGER NOT NULL, total INTEGER NOT NULL)""",
    # What the schema was when capture or the fence was last made whole; '' holds the set of application tables.
    "CREATE TABLE IF NOT EXISTS _cutover_schema (table_name TEXT PRIMARY KEY, fingerprint TEXT NOT NULL)",
    # One row with a number that VACUUM would change, as it changes those of the application's tables without a key.
    f"CREATE TABLE IF NOT EXISTS {ROWIDS} (note TEXT NOT NULL)",
    # The application's own triggers, at rest while this file is the shadow.
    """CREATE TABLE IF NOT EXISTS _cutover_suspended (
  name TEXT PRIMARY KEY, table_name TEXT NOT NULL, sql TEXT NOT NULL)""",
    # The last entry of the last batch that was trimmed: batches are numbered on from there by their entries.
    "CREATE TABLE IF NOT EXISTS _cutover_trimmed (one INTEGER PRIMARY KEY CHECK (one = 1), seq INTEGER NOT NULL)",
    # Key columns have no type, so that they keep each key as it is. AUTOINCREMENT: a number is never used twice.
    f"CREATE TABLE IF NOT EXISTS {LOG} (seq INTEGER PRIMARY KEY AUTOINCREMENT, table_id INTEGER, at REAL, k1)",
)


def create_own_tables(connection: sqlite3.Connection, tables: Tables) -> None:
    """Create what is missing, and widen the change log to the widest key."""
    for statement in _OWN_TABLES:
        connection.execute(statement)
    present = {row[1] for row in connection.execute(f"PRAGMA table_info({LOG})")}
    for number in range(1, max((len(table.key) for table in tables), default=1) + 1):
        if f"k{number}" not in present:
            connection.execute(f"ALTER TABLE {LOG} ADD COLUMN k{number}")


def exists(connection: sqlite3.Connection, table: str = "_cutover_control") -> bool:
    """Whether this one of cutover's tables is there."""
    return bool(
        connection.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", (table,)).fetchone()
    )


def read_control(connection: sqlite3.Connection) -> Control | None:
    """The control row; None where cutover was never installed. Raises `ControlDamaged`."""
    if not exists(connection):
        left = connection.execute(
            r"SELECT name FROM sqlite_master WHERE name LIKE '\_cutover\_%' ESCAPE '\'"
        ).fetchone()
        if left is not None:
            raise unreadable("SQLite", f"its table is gone, and cutover was installed here ({left[0]} is left)")
        return None
    row = connection.execute(
        "SELECT pair_id, primary_store, epoch, state, switch_id, generation, applied_batch, trimmed_batch, "
        "peer_system, peer_timeline, audit_sequence, audit_hash, seal FROM _cutover_control"
    ).fetchone()
    if row is None:
        raise unreadable("SQLite", "the row is missing")
    peer = Identity(row[8], row[9]) if row[8] is not None else None
    try:
        state = SwitchState(row[3])
    except ValueError:
        raise unreadable("SQLite", f"its state is {row[3]!r}, which cutover never writes") from None
    found = Control(
        row[0], row[1], row[2], state, row[4], row[5], row[6], row[7],
        reached_batch(connection, row[7], last_entry(connection)), peer, row[10], row[11],
    )  # fmt: skip
    return unsealed(found, row[12], "SQLite")


def last_entry(connection: sqlite3.Connection) -> int:
    """The number of the newest entry that was ever logged."""
    if not exists(connection, LOG):
        return 0
    row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (LOG,)).fetchone()
    return row[0] if row else 0


def reached_batch(connection: sqlite3.Connection, trimmed_batch: int, entry: int) -> int:
    """The number of a batch that ends with this entry, which grows with the log without any write of ours."""
    row = None
    if exists(connection, "_cutover_trimmed"):
        row = connection.execute("SELECT seq FROM _cutover_trimmed").fetchone()
    if row is None:  # nothing was trimmed yet, or not since batches are numbered so
        return trimmed_batch + (0 if trimmed_batch else entry)
    return trimmed_batch + max(0, int(entry - row[0]))


def note_trimmed(connection: sqlite3.Connection, entry: int) -> None:
    """Everything up to this entry is in the batch that the control row names."""
    connection.execute("INSERT OR REPLACE INTO _cutover_trimmed (one, seq) VALUES (1, ?)", (entry,))


def need_control(connection: sqlite3.Connection) -> Control:
    """The control row, or `StoreError` where there is none."""
    control = read_control(connection)
    if control is None:
        raise StoreError(
            "The SQLite file has no control row.", hint="Start the service on it once, which installs cutover."
        )
    return control


def put_control(connection: sqlite3.Connection, control: Control) -> None:
    """Write the control row. Counters that others move meanwhile (batches, audit anchor) never go back."""
    before = read_control(connection) if _has_row(connection) else None
    if before is not None:
        control = control.but(
            applied_batch=max(control.applied_batch, before.applied_batch),
            trimmed_batch=max(control.trimmed_batch, before.trimmed_batch),
        )
        if before.audit_sequence > control.audit_sequence:
            control = control.but(audit_sequence=before.audit_sequence, audit_hash=before.audit_hash)
    row = columns_of(control)
    connection.execute(
        f"INSERT OR REPLACE INTO _cutover_control (one, {', '.join(row)}) VALUES (1, {', '.join('?' * len(row))})",
        tuple(row.values()),
    )


def _has_row(connection: sqlite3.Connection) -> bool:
    """Whether there is a control row yet: in the transaction that installs cutover there is none."""
    return connection.execute("SELECT 1 FROM _cutover_control").fetchone() is not None


_MOVING = {"applied_batch", "trimmed_batch", "reached_batch", "audit_sequence", "audit_hash"}


def differences(found: Control, expect: Control) -> list[str]:
    """How `found` is not `expect`, batches and anchor aside."""
    return [
        f"{field.name} is {getattr(found, field.name)!s} and not {getattr(expect, field.name)!s}"
        for field in fields(Control)
        if field.name not in _MOVING and getattr(found, field.name) != getattr(expect, field.name)
    ]


def expect_control(connection: sqlite3.Connection, expect: Control) -> None:
    """Raise `StaleApplier` if the control row is not `expect`, batches and anchor aside."""
    differing = differences(need_control(connection), expect)
    if differing:
        raise StaleApplier(
            f"The control row in SQLite was changed by another owner: {', '.join(differing)}.",
            hint="Stop this process; the other one is in charge.",
        )


def put_anchor(connection: sqlite3.Connection, sequence: int, digest: str) -> None:
    """Record the head of the audit log; an older head does not replace a newer one."""
    need_control(connection)
    connection.execute(
        "UPDATE _cutover_control SET audit_sequence = ?, audit_hash = ? WHERE audit_sequence <= ?",
        (sequence, digest, sequence),
    )


def touch(connection: sqlite3.Connection) -> None:
    """Write pages, and leave what they say. SQLite writes no row again that stays as it is."""
    connection.execute("INSERT INTO _cutover_quarantine VALUES ('', hex(randomblob(999)), '', 0)")
    connection.execute("DELETE FROM _cutover_quarantine WHERE table_name = ''")


def raise_generation(connection: sqlite3.Connection, generation: int) -> None:
    """Record a new owner. Raises `StaleApplier` if a newer one is recorded."""
    found = need_control(connection)
    if found.generation > generation:
        raise StaleApplier(
            f"Generation {found.generation} owns the SQLite file already; this process is {generation}.",
            hint="Stop this process; the other one is in charge.",
        )
    connection.execute("UPDATE _cutover_control SET generation = ?", (generation,))


# -- switches --------------------------------------------------------------------------------------------------------


def read_outcome(connection: sqlite3.Connection, switch_id: str) -> Outcome | None:
    """What is recorded of this switch here."""
    if not exists(connection, "_cutover_switches"):
        return None
    row = connection.execute("SELECT outcome FROM _cutover_switches WHERE switch_id = ?", (switch_id,)).fetchone()
    return Outcome(row[0]) if row else None


def put_outcome(connection: sqlite3.Connection, switch_id: str, outcome: Outcome) -> None:
    """Record it."""
    connection.execute(
        "INSERT OR REPLACE INTO _cutover_switches (switch_id, outcome, at) VALUES (?, ?, ?)",
        (switch_id, outcome.value, wall()),
    )


# -- what an applier records -----------------------------------------------------------------------------------------


def read_progress(connection: sqlite3.Connection) -> dict[str, BackfillProgress]:
    """Backfill progress by table."""
    if not exists(connection, "_cutover_backfill"):
        return {}
    rows: list[Any] = connection.execute(
        "SELECT table_name, state, after, rows, total FROM _cutover_backfill"
    ).fetchall()
    return {
        name: BackfillProgress(name, state, decode_key(after) if after is not None else None, count, total)
        for name, state, after, count, total in rows
    }


def put_progress(connection: sqlite3.Connection, progress: BackfillProgress) -> None:
    """Record it."""
    after = encode_key(progress.after) if progress.after is not None else None
    connection.execute(
        "INSERT OR REPLACE INTO _cutover_backfill (table_name, state, after, rows, total) VALUES (?, ?, ?, ?, ?)",
        (progress.table, progress.state, after, progress.rows, progress.total),
    )


def drop_progress(connection: sqlite3.Connection, tables: Sequence[str]) -> None:
    """Forget it for these tables."""
    connection.executemany("DELETE FROM _cutover_backfill WHERE table_name = ?", [(name,) for name in tables])


def drop_quarantine(connection: sqlite3.Connection, tables: Sequence[str]) -> None:
    """Take everything of these tables out of quarantine."""
    connection.executemany("DELETE FROM _cutover_quarantine WHERE table_name = ?", [(name,) for name in tables])


def read_quarantine(connection: sqlite3.Connection) -> list[Quarantined]:
    """Rows in quarantine, oldest first."""
    if not exists(connection, "_cutover_quarantine"):
        return []
    rows = connection.execute("SELECT table_name, key, reason, since FROM _cutover_quarantine ORDER BY since, rowid")
    return [Quarantined(name, decode_key(key), reason, since) for name, key, reason, since in rows]
