"""Which tables a statement may read or write, by its text and the schema's. Pure. Rather one too many."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

_MADE = re.compile(
    r"""CREATE\s+(?:TEMP\s+|TEMPORARY\s+)?(VIEW|TRIGGER|TABLE)\s+(?:IF\s+NOT\s+EXISTS\s+)?"""
    r"""(?:"([^"]+)"|\[([^\]]+)\]|`([^`]+)`|([\w$]+))""",
    re.IGNORECASE,
)
_ACTS = re.compile(r"\bON\s+(DELETE|UPDATE)\s+(CASCADE|SET)\b", re.IGNORECASE)


def reached(sql: str, ddl: Sequence[str], tables: Collection[str], *, writes: bool) -> set[str]:
    """Those of `tables` that it names, or that a view does which it names.

    Of a write also those that its table refers to, and those in which foreign keys or triggers act then.
    """
    made = [
        (match[1].upper(), next(filter(None, match.groups()[1:])), text)
        for text in ddl
        if (match := _MADE.match(text.lstrip()))
    ]
    names = {*tables, *(name for kind, name, _ in made if kind != "TRIGGER")}
    found = _named(sql, names)
    if writes:
        found |= {name for kind, own, text in made if kind == "TABLE" and own in found for name in _named(text, names)}
    while True:
        more = set(found)
        for kind, name, text in made:
            mentioned = _named(text, names)
            if kind == "VIEW" and name in found:
                more |= mentioned
            elif writes and mentioned & found and (kind == "TRIGGER" or (kind == "TABLE" and _ACTS.search(text))):
                more |= mentioned if kind == "TRIGGER" else {name}
        if more == found:
            return found & set(tables)
        found = more


def _named(text: str, names: Collection[str]) -> set[str]:
    """Names that stand in a text, however they are quoted; one within a literal counts as well."""
    lowered = text.lower()
    words = set(re.findall(r"[\w$]+", lowered))
    return {name for name in names if name.lower() in words or (not name.isidentifier() and name.lower() in lowered)}
