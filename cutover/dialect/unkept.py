"""Writes that may break what SQLite has and Postgres lacks: they would succeed there, and nobody would be told."""

from __future__ import annotations

from collections.abc import Collection

from cutover.dialect.halfway import is_in
from cutover.dialect.typed import Refused
from cutover.model.table import Table


def refuse_unkept(table: Table, assigned: Collection[str] | None = None, *, deletes: bool = False) -> None:
    """Raise `Refused` for a write that may break what Postgres lacks: INSERT, UPDATE of these, what deletes rows."""
    for index in table.unique:
        if index.lacks and (assigned is None or any(is_in(index, name, table) for name in assigned)):
            over = ", ".join(term for term, _ in index.terms)
            named = "" if index.name.startswith("sqlite_") else f" {index.name}"
            raise Refused(
                f"A write to {table.name} while Postgres lacks its unique index{named} ({over})",
                "Create its equal on Postgres under that name, or drop it in SQLite.",
            )
    changed = None if assigned is None else {name.lower() for name in assigned}
    for each in table.unkept:
        concerned = not each.deletes if changed is None else bool(changed & {name.lower() for name in each.columns})
        if concerned or (deletes and each.deletes):
            raise Refused(
                f"A write to {table.name} while Postgres lacks {each.what}",
                "Create its equal on Postgres, or drop it in SQLite.",
            )
