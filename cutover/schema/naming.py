"""Names that SQLite allows and Postgres cannot keep."""

from __future__ import annotations

import hashlib
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


def _cut(name: str, limit: int = LONGEST_NAME) -> str:
    """As much of a name as has room."""
    return name.encode()[:limit].decode(errors="ignore")


def placed(name: str) -> str:
    """What an index that is called `name` in SQLite is called on Postgres: so, or where that is too long its beginning
    with a digest of it, so that two names stay two and each is found again."""
    if len(name.encode()) <= LONGEST_NAME:
        return name
    digest = hashlib.sha256(name.lower().encode()).hexdigest()[:8]
    return f"{_cut(name, LONGEST_NAME - 9)}_{digest}"


def numbered(name: str, number: int) -> str:
    """The name for one whose own was given already, `number` from 2 on."""
    return f"{_cut(name, LONGEST_NAME - 4)}_{number}"


def may_be_called(wanted: str, name: str) -> int:
    """How well the name of an index goes with the one that it was to have: 2 exactly, 1 if Postgres had that already or
    it was cut (as cutover did before there were digests), 0 not at all."""
    if name in (wanted, placed(wanted)):
        return 2
    number = name.rpartition("_")[2]
    made = numbered(wanted, int(number)) if number.isdecimal() and number.isascii() and len(number) < 4 else ""
    return int(name in (_cut(wanted), made) or name.lower() == wanted.lower())


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
