"""Names that SQLite allows and Postgres cannot keep."""

from __future__ import annotations

import re
from dataclasses import dataclass

LONGEST_NAME = 63
"""Bytes of an identifier that Postgres keeps; it cuts longer ones silently."""

_OF_SYSTEM = frozenset({"tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"})
"""Columns that every table on Postgres has."""


@dataclass(frozen=True)
class Unusable:
    """Why a name cannot stand on Postgres, and what to do."""

    code: str
    message: str
    todo: str


def unusable(name: str, *, of_column: bool = False) -> Unusable | None:
    """What is wrong with a name, if anything."""
    if not name:
        return Unusable("name_unusable", "Postgres has no like of an empty name.", "Set a plain `target`.")
    if len(name.encode()) > LONGEST_NAME:
        message = f"The name {name} is longer than the {LONGEST_NAME} bytes that Postgres keeps."
        return Unusable("name_too_long", message, "Give it a shorter `target` in the configuration.")
    if re.search(r"[\x00-\x1f]", name):
        return Unusable("name_unusable", f"The name {name!r} holds control characters.", "Set a plain `target`.")
    if of_column and name in _OF_SYSTEM:
        return Unusable("name_reserved", f"Postgres keeps the name {name} for itself.", "Give it another `target`.")
    return None
