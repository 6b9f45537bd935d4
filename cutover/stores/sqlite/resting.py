"""The application's own machinery while SQLite is the shadow: its triggers rest, its full-text tables stay right.

A trigger that only keeps a full-text table goes on (`schema.searching`). A full-text table over the rows of a mapped
table (external content) that no trigger kept is built again after a demotion, once its writers go on.
"""

from __future__ import annotations

import sqlite3

from cutover.logs import get_logger
from cutover.model.table import Tables
from cutover.schema.searching import content_table, keeps_search
from cutover.schema.sqlite_schema import quoted

_log = get_logger("sqlite")


def application_triggers(connection: sqlite3.Connection, tables: Tables) -> list[tuple[str, str, str]]:
    """(name, table, text) of triggers on mapped tables that are not cutover's."""
    mapped = {table.name.lower() for table in tables}
    rows = connection.execute("SELECT name, tbl_name, sql FROM sqlite_master WHERE type = 'trigger' ORDER BY rowid")
    return [
        (name, table, sql)
        for name, table, sql in rows
        if table.lower() in mapped and not name.lower().startswith("_cutover_")
    ]


def suspend_triggers(connection: sqlite3.Connection, tables: Tables) -> bool:
    """Record and drop them: what they did is in the rows that the primary sends. Returns whether there were any."""
    found = application_triggers(connection, tables)
    usable = [name for name in _virtual(connection) if _is_usable(connection, name)] if found else []
    resting = [trigger for trigger in found if not keeps_search(trigger[2], trigger[1], usable)]
    for name, table, sql in resting:
        connection.execute("INSERT OR REPLACE INTO _cutover_suspended VALUES (?, ?, ?)", (name, table, sql))
        connection.execute(f"DROP TRIGGER {quoted(name)}")
    return bool(resting)


def restore_triggers(connection: sqlite3.Connection) -> None:
    """Put them back as they were."""
    for (sql,) in connection.execute("SELECT sql FROM _cutover_suspended ORDER BY rowid").fetchall():
        connection.execute(sql)
    connection.execute("DELETE FROM _cutover_suspended")


def _virtual(connection: sqlite3.Connection) -> dict[str, str]:
    """Virtual tables, name → text."""
    sql = "SELECT name, sql FROM sqlite_master WHERE type = 'table' AND sql LIKE 'CREATE VIRTUAL TABLE%'"
    return dict(connection.execute(sql).fetchall())


def _is_usable(connection: sqlite3.Connection, name: str) -> bool:
    """Whether this process has the module, and the tokenizer, that the application made it with."""
    try:
        connection.execute(f"SELECT 1 FROM {quoted(name)} LIMIT 0").close()
    except sqlite3.Error as error:
        _log.warning("a virtual table cannot be used here, so its triggers rest", table=name, why=str(error))
        return False
    return True


def note_stale(connection: sqlite3.Connection, tables: Tables) -> None:
    """In a demotion's commit, before triggers come back: the full-text tables that nothing kept right meanwhile."""
    mapped = {table.name.lower() for table in tables}
    kept = _kept(connection, tables)
    connection.execute("CREATE TABLE IF NOT EXISTS _cutover_rebuild (name TEXT PRIMARY KEY)")
    for name, sql in _virtual(connection).items():
        content = content_table(sql)
        if content is not None and content.lower() in mapped - kept:
            connection.execute("INSERT OR IGNORE INTO _cutover_rebuild VALUES (?)", (name,))


def _kept(connection: sqlite3.Connection, tables: Tables) -> set[str]:
    """Tables whose triggers went on for all that can happen to a row."""
    events: dict[str, set[str]] = {}
    for _, table, sql in application_triggers(connection, tables):
        head = sql.upper().partition("BEGIN")[0]
        events.setdefault(table.lower(), set()).update(word for word in ("INSERT", "UPDATE", "DELETE") if word in head)
    return {table for table, seen in events.items() if len(seen) == 3}


def stale(connection: sqlite3.Connection) -> list[str]:
    """Full-text tables that are still to be built again."""
    known = connection.execute("SELECT 1 FROM sqlite_master WHERE name = '_cutover_rebuild'").fetchone()
    return [name for (name,) in connection.execute("SELECT name FROM _cutover_rebuild ORDER BY name")] if known else []


def rebuild(connection: sqlite3.Connection, name: str) -> None:
    """Build one again, from the rows that there are. Inside the caller's transaction."""
    if name in _virtual(connection):
        connection.execute(f"INSERT INTO {quoted(name)} ({quoted(name)}) VALUES ('rebuild')")
    connection.execute("DELETE FROM _cutover_rebuild WHERE name = ?", (name,))
