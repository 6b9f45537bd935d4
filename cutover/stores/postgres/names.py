"""Names and literals in generated SQL."""

from __future__ import annotations

from cutover.model.table import Table, number_of

SCHEMA = "cutover"

CAPTURE = "cutover_capture"
CAPTURE_TRUNCATE = "cutover_capture_truncate"
FENCE = "cutover_fence"
FENCE_ROW = "cutover_fence_row"
"""Triggers on mirrored tables."""

TRIGGERS = (CAPTURE, CAPTURE_TRUNCATE, FENCE, FENCE_ROW)


def quote(name: str) -> str:
    """An identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A string constant, whatever `standard_conforming_strings` says."""
    escaped = text.replace("'", "''")
    return "E'" + escaped.replace("\\", "\\\\") + "'" if "\\" in escaped else f"'{escaped}'"


def target(table: Table) -> str:
    """The application's table, qualified."""
    return f"{quote(table.target_schema)}.{quote(table.target)}"


def log(table: Table) -> str:
    """Its change log."""
    return f"{SCHEMA}.log_{table.id}"


def capture_function(table: Table) -> str:
    """The trigger function that writes the change log."""
    return capture_function_of(table.name)


def capture_function_of(name: str) -> str:
    """The same by the table's name on SQLite."""
    return f"{SCHEMA}.capture_{number_of(name)}"


def applier_name(generation: int) -> str:
    """Application name of an applier's sessions; a takeover ends the older ones by it."""
    return f"cutover applier {generation}"


def switch_name(switch_id: str) -> str:
    """Application name of a session that commits a switch; a tombstone ends it by it. The server keeps 63 bytes."""
    return f"cutover switch {switch_id}"[:63]
