"""LIKE and GLOB of SQLite as conditions of Postgres. Pure."""

from __future__ import annotations

import re

_PLAIN_CLASS = re.compile(r"\^?[A-Za-z0-9 _.,:/@+-]+")


def literal(text: str) -> str:
    """A Postgres string literal."""
    return "'" + text.replace("'", "''") + "'"


def like(value: str, pattern: str, escape: str) -> str | None:
    """SQLite's LIKE takes ASCII letters of both cases for equal, and no character escapes unless one is named.

    None for a pattern that ends in the middle of an escape: an error to Postgres, whatever it is compared with.
    """
    if escape and (len(pattern) - len(pattern.rstrip(escape))) % 2:
        return None
    # Folding the pattern must not change which character escapes.
    assert escape == escape.lower()
    return f'(lower({value} COLLATE "C") LIKE lower({literal(pattern)} COLLATE "C") ESCAPE {literal(escape)})'


def glob(value: str, pattern: str) -> str | None:
    """GLOB as a regular expression over the whole value; None where a class holds what the two read differently."""
    found, at = "", 0
    while at < len(pattern):
        letter = pattern[at]
        if letter == "[":
            end = pattern.find("]", at + 2)
            inner = pattern[at + 1 : end]
            if end < 0 or not _PLAIN_CLASS.fullmatch(inner):
                return None
            found += f"[{inner}]"
            at = end
        elif letter in "*?":
            found += {"*": ".*", "?": "."}[letter]
        else:
            found += letter if letter.isalnum() or letter in "_ " else _escaped(letter)
        at += 1
    return f'({value} COLLATE "C" ~ {literal(f"^{found}$")})'


def _escaped(letter: str) -> str:
    return "\\" + letter if letter.isascii() else letter
