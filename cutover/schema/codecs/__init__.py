"""How one value crosses between SQLite and a Postgres column, and the one form in which both sides are compared.

A codec belongs to a Postgres type and a column. It never changes a value silently: what the column cannot hold, or
would not give back the same, raises `Unrepresentable` on the way to Postgres and becomes `Foreign` on the way back;
either way the row goes to quarantine.
"""

from __future__ import annotations

from cutover.model.table import Table
from cutover.schema.codecs.base import Codec, Foreign, canonical_any
from cutover.schema.codecs.choice import FITTING, base_of, codec_for

__all__ = ["FITTING", "Codec", "Foreign", "base_of", "canonical_any", "codec_for", "codecs_for", "digestible"]


def codecs_for(table: Table) -> tuple[Codec, ...]:
    """One codec a column, in the order of `table.columns`."""
    return tuple(codec_for(column) for column in table.columns)


def digestible(table: Table) -> bool:
    """Whether both databases can digest this table's rows in SQL (else rows are fetched and digested here)."""
    return all(codec.digest is not None for codec in codecs_for(table))
