"""The steps of a switch on the SQLite side, each one transaction. Functions on the writer's plain connection."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping

from cutover.crashpoints import crash_point
from cutover.errors import StoreError
from cutover.logs import get_logger
from cutover.model.control import Control, Outcome
from cutover.model.table import Tables
from cutover.schema import formats
from cutover.schema.sqlite_schema import free_rowid_name, quoted
from cutover.stores.sqlite.capture import (
    application_tables,
    broken_tables,
    demand_intact,
    drop_capture,
    drop_triggers,
    fenced,
    install_capture,
    install_fence,
    is_whole,
    own_triggers,
    record_schema,
)
from cutover.stores.sqlite.control import (
    ROWIDS,
    create_own_tables,
    differences,
    drop_progress,
    last_entry,
    need_control,
    note_trimmed,
    put_control,
    put_outcome,
    read_control,
    read_outcome,
)
from cutover.stores.sqlite.resting import note_stale, restore_triggers, suspend_triggers
from cutover.stores.sqlite.triggers import FENCE, LOG

_log = get_logger("sqlite")

_LAST_KEY = 2**63 - 1


def initialise(connection: sqlite3.Connection, tables: Tables, control: Control) -> None:
    """Own tables and a first control row; an existing one of the same pair stays. A shadow is fenced at once."""
    found = read_control(connection)  # before our own tables are made: with them, a row that is missing was removed
    create_own_tables(connection, tables)
    if found is None:
        put_control(connection, control)
        if control.primary != "sqlite":
            _rest(connection, tables, control)
    elif found.pair_id != control.pair_id:
        raise StoreError(
            f"The SQLite file belongs to pair {found.pair_id}, not to {control.pair_id}.",
            hint="It was paired with another Postgres; connect the one it belongs to, or start from a fresh copy.",
        )


def install(connection: sqlite3.Connection, tables: Tables, held: Tables = ()) -> None:
    """Make triggers what the control row demands: capture on the primary, the fence on the shadow.

    A table that was in order before and is not now is copied again: on the primary by an entry in its log, on the
    shadow by forgetting that it was copied.
    """
    create_own_tables(connection, tables)
    if is_whole(connection, tables):
        return
    broken, control = broken_tables(connection, tables), read_control(connection)
    if broken:
        _log.warning("tables were found changed under cutover", tables=[table.name for table in broken])
    if control is not None and control.primary != "sqlite":
        drop_progress(connection, [table.name for table in broken])
        _rest(connection, tables, control, held)
        return
    install_capture(connection, tables, broken)
    drop_triggers(connection, FENCE)
    if control is not None and fenced(control):
        install_fence(connection, tables, control)


def _rest(connection: sqlite3.Connection, tables: Tables, control: Control, held: Tables = ()) -> None:
    """A fenced shadow with nothing of its own that acts on applied rows."""
    drop_capture(connection)
    suspend_triggers(connection, tables)
    there = {*application_tables(connection)}
    install_fence(connection, (*tables, *(table for table in held if table.name in there)), control)
    record_schema(connection, tables)


def fence(connection: sqlite3.Connection, tables: Tables, control: Control) -> None:
    """Giver: capture found intact, fence in place, control written."""
    demand_intact(connection, tables)
    install_fence(connection, tables, control)
    put_control(connection, control)
    crash_point("sqlite.fence")


def released(connection: sqlite3.Connection, control: Control) -> bool:
    """Whether there is no fence and the control row is `control`. Only reads.

    At rest, the row keeps the number of the switch that brought it here.
    """
    standing = read_control(connection)
    return (
        standing is not None
        and not differences(standing.but(switch_id=control.switch_id), control)
        and not own_triggers(connection, FENCE)
    )


def release(connection: sqlite3.Connection, control: Control) -> None:
    """Giver, abort."""
    drop_triggers(connection, FENCE)
    put_control(connection, control)
    crash_point("sqlite.release")


def prepare(connection: sqlite3.Connection, tables: Tables, switch_id: str) -> None:
    """Receiver: the switch may be committed from now on."""
    create_own_tables(connection, tables)
    outcome = read_outcome(connection, switch_id)
    if outcome in (Outcome.ABORTED, Outcome.COMMITTED):
        raise StoreError(f"Switch {switch_id} is {outcome.value} already.", hint="Begin a new one.")
    put_outcome(connection, switch_id, Outcome.PREPARED)


def receive(
    connection: sqlite3.Connection, tables: Tables, control: Control, switch_id: str, floors: Mapping[str, int]
) -> None:
    """Receiver: the commit point. Repeated after success it changes nothing."""
    outcome = read_outcome(connection, switch_id)
    if outcome is Outcome.COMMITTED:
        return
    if outcome is not Outcome.PREPARED:
        raise StoreError(
            f"Switch {switch_id} cannot be committed: it is {outcome.value if outcome else 'not prepared here'}."
        )
    demand_intact(connection, tables)
    drop_triggers(connection, FENCE)
    note_stale(connection, tables)
    restore_triggers(connection)
    connection.execute(f"DELETE FROM {LOG}")
    note_trimmed(connection, last_entry(connection))
    install_capture(connection, tables)
    _set_sequences(connection, tables, floors)
    put_outcome(connection, switch_id, Outcome.COMMITTED)
    put_control(connection, control)
    crash_point("sqlite.receive")


def settle(connection: sqlite3.Connection, tables: Tables, control: Control) -> None:
    """Giver, after the commit: become shadow."""
    create_own_tables(connection, tables)
    _rest(connection, tables, control)
    put_control(connection, control)
    crash_point("sqlite.settle")


def tombstone(connection: sqlite3.Connection, tables: Tables, switch_id: str) -> Outcome:
    """Receiver: never to be committed, unless it was."""
    create_own_tables(connection, tables)
    if read_outcome(connection, switch_id) is Outcome.COMMITTED:
        return Outcome.COMMITTED
    put_outcome(connection, switch_id, Outcome.ABORTED)
    return Outcome.ABORTED


def dismantle(connection: sqlite3.Connection, control: Control) -> None:
    """Remove capture and what appliers kept; the control row and the outcomes of switches stay."""
    need_control(connection)
    drop_capture(connection)
    drop_triggers(connection, FENCE)
    own = ("_cutover_quarantine", "_cutover_backfill", "_cutover_schema", ROWIDS, "_cutover_rebuild")
    for table in (LOG, *own, formats.RECORD):
        connection.execute(f"DROP TABLE IF EXISTS {table}")
    put_control(connection, control)


# -- automatic keys --------------------------------------------------------------------------------------------------


def highest_keys(connection: sqlite3.Connection, tables: Tables) -> dict[str, int]:
    """What AUTOINCREMENT remembers of the mapped tables, and the highest rowid of those without an integer key."""
    found = dict(_highest_rowids(connection, tables))
    counted = {table.name for table in tables if table.autoincrement}
    if counted:  # otherwise there may be no sqlite_sequence
        rows = connection.execute("SELECT name, iif(typeof(seq) = 'integer', seq, NULL) FROM sqlite_sequence")
        given = dict.fromkeys(counted, 0) | {name: seq for name, seq in rows if name in counted}
        found |= {name: seq for name, seq in given.items() if seq is not None}
    return found


def _highest_rowids(connection: sqlite3.Connection, tables: Tables) -> Iterator[tuple[str, int]]:
    """Zero for an empty table: what was told of it before holds no longer."""
    for table in tables:
        if table.rowid_alias is None and not table.without_rowid:
            rowid = free_rowid_name(column.name for column in table.columns)
            if rowid is not None:
                (highest,) = connection.execute(f"SELECT max({rowid}) FROM {quoted(table.name)}").fetchone()
                yield table.name, highest or 0


def _set_sequences(connection: sqlite3.Connection, tables: Tables, floors: Mapping[str, int]) -> None:
    """AUTOINCREMENT goes on where the giver would have, whatever it counted while the rows were only applied here.

    Where nobody knows, above the highest key there is or ever was here; so too at the very end: above that floor there
    is no key, and the table would take no row any more.
    """
    for table in tables:
        if not table.autoincrement or table.rowid_alias is None:
            continue
        floor = floors.get(table.name)
        if floor is None or floor >= _LAST_KEY:
            top = f"SELECT max({quoted(table.rowid_alias)}), NULL FROM {quoted(table.name)}"
            known = "SELECT NULL, max(seq) FROM sqlite_sequence WHERE name = ?"
            keys = [*connection.execute(top).fetchone(), *connection.execute(known, (table.name,)).fetchone()]
            floor = max((key for key in keys if key is not None), default=None)
        connection.execute("DELETE FROM sqlite_sequence WHERE name = ?", (table.name,))
        if floor or connection.execute(f"SELECT EXISTS (SELECT 1 FROM {quoted(table.name)})").fetchone()[0]:
            connection.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", (table.name, floor or 0))
