"""What is said of things that are not rows: the file, views, triggers, full-text tables, indexes; and their fate."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from cutover.model.table import Table
from cutover.schema.demands import of_target_check
from cutover.schema.findings import Finding
from cutover.schema.postgres_schema import PostgresTable
from cutover.schema.searching import content_table, keeps_search
from cutover.schema.space import of_space
from cutover.schema.sqlite_schema import SqliteObject, SqliteSchema, SqliteTable, quoted
from cutover.settings import Settings


def of_file(connection: sqlite3.Connection, settings: Settings) -> list[Finding]:
    """What is said of the file as a whole, and of the disks it needs."""
    (path,) = connection.execute("SELECT file FROM pragma_database_list WHERE name = 'main'").fetchone()
    found = list(of_space(path, settings)) if path else []
    (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
    if mode != "wal":
        found.append(
            Finding(
                "warns",
                "not_wal",
                f"The journal mode is {mode}; cutover needs WAL, so that it never blocks the application.",
                "PRAGMA journal_mode = WAL, once, by the application; otherwise `cutover serve` sets it.",
            )
        )
    (encoding,) = connection.execute("PRAGMA encoding").fetchone()
    if encoding != "UTF-8":
        found.append(
            Finding(
                "blocks",
                "encoding",
                f"The database's encoding is {encoding}; cutover compares text by its UTF-8 bytes.",
                "Make a UTF-8 copy: PRAGMA encoding = 'UTF-8' in a new file, then .dump the old one into it.",
            )
        )
    return found


def of_objects(source: SqliteSchema) -> Iterator[Finding]:
    """What becomes of each while SQLite is primary, while it is the shadow, and in the switches."""
    names = [table.name for table in source.virtual_tables]
    kept = [trigger for trigger in source.triggers if keeps_search(trigger.sql, trigger.table, names)]
    for table in source.virtual_tables:
        yield _of_virtual(source, table, {trigger.table.lower() for trigger in kept})
    for view in source.views:
        message = f"The view {view.name} is not created on Postgres. On SQLite it stays as it is."
        yield Finding("warns", "view", message, "Create it there, if the application reads it.", view.name)
    for trigger in source.triggers:
        rests = (
            "It only keeps a full-text table, and goes on while SQLite is the shadow"
            if trigger in kept
            else "It rests while SQLite is the shadow, and is put back by a demotion"
        )
        yield Finding(
            "warns",
            "trigger",
            f"The trigger {trigger.name} is not created on Postgres; what it writes is mirrored as data. {rests}.",
            "Create its equivalent there, if the application relies on it once Postgres is primary.",
            trigger.table,
        )
    for each in source.tables:
        yield from _of_table(each)


def _of_virtual(source: SqliteSchema, table: SqliteObject, kept: set[str]) -> Finding:
    content = content_table(table.sql)
    if content is not None and content.lower() in kept:
        fate = "Its triggers keep it right while SQLite is the shadow."
    elif content is not None:
        fate = f"It is built again from {content} after a demotion."
    else:
        fate = "While SQLite is the shadow, only triggers that write nothing else keep it right."
    own = [name for name in source.shadow_tables if name.lower().startswith(f"{table.name.lower()}_")]
    belong = f" The tables {', '.join(own)} belong to it." if own else ""
    return Finding(
        "warns",
        "virtual_table",
        f"A virtual table (such as a full-text index) is not mirrored. {fate}{belong}",
        "Build its equivalent on Postgres (such as a tsvector index), filled from the mirrored tables.",
        table.name,
    )


def of_sequences(connection: sqlite3.Connection, source: SqliteSchema) -> Iterator[Finding]:
    """How far AUTOINCREMENT has counted. Rows that were deleted since are why that may be more than the highest key."""
    counted = [table for table in source.tables if table.autoincrement and table.rowid_alias]
    given = dict(connection.execute("SELECT name, seq FROM sqlite_sequence").fetchall()) if counted else {}
    for table in counted:
        (highest,) = connection.execute(f"SELECT max(rowid) FROM {quoted(table.name)}").fetchone()
        number = given.get(table.name)
        message = "AUTOINCREMENT: numbers are never used again. An identity column on Postgres keeps to that"
        column = table.rowid_alias or ""
        if number is not None and not isinstance(number, int):
            told = "sqlite_sequence holds no number for it, so that the count begins after the highest key"
            todo = f"UPDATE sqlite_sequence SET seq = {highest or 0} WHERE name = '{table.name}'."
            yield Finding("warns", "autoincrement", f"{message}; but {told}.", todo, table.name, column)
            continue
        state = f"; the highest number given is {max(number or 0, highest or 0):,}, the highest in use {highest or 0:,}"
        yield Finding("informs", "autoincrement", f"{message}{state}.", "", table.name, column)


def _of_table(table: SqliteTable) -> Iterator[Finding]:
    if table.conflict:
        yield Finding(
            "warns",
            "constraint_conflict",
            f"A constraint has ON CONFLICT {', '.join(sorted(set(table.conflict)))}, which Postgres does not know:"
            " what comes through the front door goes by it, what is written natively fails.",
            "Put the clause into the statements (INSERT OR ...).",
            table.name,
        )
    for index in table.indexes:
        if None in index.columns:
            message = f"The {'unique ' if index.unique else ''}index {index.name} is over an expression."
            todo = "Check that Postgres has its equivalent."
            yield Finding("informs", "expression_index", message, todo, table.name)
        if index.partial:
            message = f"The index {index.name} is partial (WHERE {index.partial})."
            yield Finding("informs", "partial_index", message, "Check that Postgres has it too.", table.name)
    for column in table.columns:
        if column.generated:
            message = f"Generated as {column.generated}: each database computes it for itself."
            todo = "Check that both give the same."
            yield Finding("informs", "generated_column", message, todo, table.name, column.name)


def of_target(table: Table, target: PostgresTable) -> Iterator[Finding]:
    """What becomes of a table's triggers, and which of its CHECKs the plan could not ask SQLite's rows about."""
    for trigger in target.triggers:
        message = f"The trigger {trigger.name} rests while Postgres is the shadow, and is put back by a promotion."
        yield Finding("informs", "target_trigger", message, "", table.name)
    for check in target.checks:
        if of_target_check(table, check) is None:
            message = (
                f"{check.name} on Postgres is {check.definition}, which SQLite could not be asked: rows that break"
            )
            todo = "Check that SQLite's rows keep it."
            yield Finding("informs", "target_check", f"{message} it are held back.", todo, table.name)
