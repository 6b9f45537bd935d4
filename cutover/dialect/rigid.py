"""Columns of STRICT tables, which take no value of another type: SQLite's own error tells which, once a row comes."""

from __future__ import annotations

from sqlglot import exp

from cutover.dialect.catalog import column_kind
from cutover.dialect.comparing import dynamic
from cutover.dialect.typed import Kind, Typed, helper
from cutover.model.table import Column, Table
from cutover.schema.createsql import read_create_table

_FITS = {
    Kind.INT: frozenset({Kind.INT}),
    Kind.REAL: frozenset({Kind.INT, Kind.REAL, Kind.NUM}),
    Kind.TEXT: frozenset({Kind.INT, Kind.REAL, Kind.NUM, Kind.TEXT}),
    Kind.BLOB: frozenset({Kind.BLOB}),
}
"""What is taken whatever its value."""


def is_rigid(table: Table) -> bool:
    """Whether the table is STRICT."""
    return "STRICT" in table.sql.upper() and read_create_table(table.sql).strict


def rigidly(typed: Typed, column: Column, table: Table) -> exp.Expr | None:
    """The value as the column takes it, or the error; None where it is taken, or of a type that no column says."""
    kind = column_kind(column)
    if kind not in _FITS or typed.kind in _FITS[kind] or column.affinity != _AFFINITIES.get(column.declared.upper()):
        return None
    told = [exp.Literal.string(text) for text in (column.declared.upper(), f"{table.name}.{column.name}")]
    return helper(f"rigid_{kind}_strict", dynamic(typed), *told)


_AFFINITIES = {"INT": "INTEGER", "INTEGER": "INTEGER", "REAL": "REAL", "TEXT": "TEXT", "BLOB": "BLOB"}
