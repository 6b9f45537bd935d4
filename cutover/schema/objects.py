"""What is said of things that are not rows: the file, views, triggers, full-text tables, indexes; and their fate."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from cutover.schema.findings import Finding
from cutover.schema.postgres_schema import PostgresTable
from cutover.schema.sqlite_schema import SqliteSchema, SqliteTable


def of_file(connection: sqlite3.Connection) -> list[Finding]:
    found = []
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
    for name in source.virtual_tables:
        yield Finding(
            "warns",
            "virtual_table",
            "A virtual table (such as a full-text index) is not mirrored.",
            "Build its equivalent on Postgres (such as a tsvector index), filled from the mirrored tables.",
            name,
        )
    for view in source.views:
        message = f"The view {view.name} is not created on Postgres."
        yield Finding("warns", "view", message, "Create it there, if the application reads it.", view.name)
    for trigger in source.triggers:
        yield Finding(
            "warns",
            "trigger",
            f"The trigger {trigger.name} is not created on Postgres. What it writes is mirrored as data.",
            "Create its equivalent there, if the application relies on it once Postgres is primary.",
            trigger.table,
        )
    for table in source.tables:
        yield from _of_table(table)


def _of_table(table: SqliteTable) -> Iterator[Finding]:
    if table.autoincrement:
        message = "AUTOINCREMENT: numbers are never used again. An identity column on Postgres keeps to that."
        yield Finding("informs", "autoincrement", message, "", table.name)
    if table.conflict:
        yield Finding(
            "warns",
            "constraint_conflict",
            f"A constraint has ON CONFLICT {', '.join(sorted(set(table.conflict)))}, which Postgres does not know.",
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


def of_target(name: str, target: PostgresTable) -> Iterator[Finding]:
    for trigger in target.triggers:
        message = f"The trigger {trigger.name} on Postgres rests while Postgres is the shadow."
        yield Finding("informs", "target_trigger", message, "", name)
    for check in target.checks:
        message = f"{check.name} on Postgres is {check.definition}: rows that break it are held back."
        yield Finding("informs", "target_check", message, "Check that SQLite's rows keep it.", name)
