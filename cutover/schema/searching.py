"""Full-text tables and the triggers that keep them: what may go on while SQLite is the shadow. Pure.

A trigger that writes nothing but virtual tables, from nothing but its own row, does the same for a mirrored row as it
did for the application's; so it need not rest, and the index it keeps is right at any time.
https://sqlite.org/fts5.html, "External Content Tables".
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence

from cutover.schema.createsql import keyword, unquote
from cutover.schema.sqltokens import Token, tokens

_CONTENT = re.compile(r"""content\s*=\s*('(?:[^']|'')*'|"(?:[^"]|"")*"|[^\s,)'"]+)""", re.IGNORECASE)
_FULL_TEXT = re.compile(r"\bUSING\s+[\"'`\[]?(fts[345])\b", re.IGNORECASE)


def keeps_search(trigger: str, table: str, virtual: Collection[str]) -> bool:
    """Whether this trigger (CREATE TRIGGER text) on `table` writes only to tables named in `virtual`."""
    words = list(tokens(trigger))
    begin = next((at for at, token in enumerate(words) if keyword(token) == "BEGIN"), None)
    if begin is None:
        return False
    folded = {name.lower() for name in virtual}
    bodies = list(_statements(words[begin + 1 :]))
    return bool(bodies) and all(_is_kept(body, folded, table.lower()) for body in bodies)


def _statements(words: Sequence[Token]) -> Iterator[list[Token]]:
    body: list[Token] = []
    for token in words:
        if token.type == "semi":
            yield body
            body = []
        else:
            body.append(token)
    # What is left is the END.


def _is_kept(body: list[Token], virtual: set[str], own: str) -> bool:
    names = [keyword(token) for token in body]
    written = _written(body, names)
    if written is None or _name(body, written) not in virtual:
        return False
    read = [at + 1 for at, word in enumerate(names) if word in ("FROM", "JOIN") and at + 1 != written]
    return all(_name(body, at) in {*virtual, own} for at in read)


def _written(body: list[Token], names: list[str]) -> int | None:
    """Where the name of the table stands that this statement writes; None if it is not plain to see."""
    match names[:1]:
        case ["INSERT"] | ["REPLACE"]:
            at = names.index("INTO") + 1 if "INTO" in names else None
        case ["DELETE"]:
            at = 2
        case ["UPDATE"]:
            at = 3 if names[1:2] == ["OR"] else 1
        case _:
            at = None
    return at if at is not None and at < len(body) else None


def _name(body: list[Token], at: int) -> str:
    """The table named there, folded; a schema in front of it is passed over."""
    if at + 2 < len(body) and body[at + 1].type == "dot":
        at += 2
    return unquote(body[at].text).lower() if at < len(body) else ""


def content_table(sql: str) -> str | None:
    """Of a full-text table (CREATE VIRTUAL TABLE text): the table whose rows it indexes without a copy of them."""
    found = _CONTENT.search(sql) if _FULL_TEXT.search(sql) else None
    return (unquote(found[1]) or None) if found else None


_ASIDE = re.compile(r"--[^\n]*|/\*.*?\*/|'(?:[^']|'')*'", re.DOTALL)
_ACTS = re.compile(
    r"\b(insert|update|delete|merge|perform|execute|truncate|copy|call|notify|lock|into|raise|alter|create|drop|set)\b"
    r"|\bnew\s*:?=",
    re.IGNORECASE,
)
_ASSIGNED = re.compile(r'(?:;|\bbegin\b|\bthen\b|\belse\b|\bloop\b)\s*new\s*\.\s*"?(\w+)"?\s*:?=', re.IGNORECASE)
_TOUCHED = re.compile(r'\bnew\s*\.\s*"?(\w+)"?\s*:=', re.IGNORECASE)


def fills_only(body: str, columns: Collection[str]) -> bool:
    """Whether a trigger function in PL/pgSQL (its source) does nothing but set these columns of NEW."""
    text = _ASIDE.sub("''", body)
    if _ACTS.search(text):
        return False
    assigned = set(_ASSIGNED.findall(text))
    return bool(assigned) and assigned | set(_TOUCHED.findall(text)) <= set(columns)
