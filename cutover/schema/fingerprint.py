"""What a statement looks like without its values: its shape. Pure.

Shapes go into logs, so nothing may stay in one that could be an application's data. A word in double quotes is a name
to most, but SQLite takes one that names nothing for a string; so only names that are known are kept.
"""

from __future__ import annotations

import re
from collections.abc import Callable

LONGEST = 2048
"""Characters of a text that are looked at; what is beyond them makes no other shape."""

_DIGITS = 19
"""Of integers that may be too large to be one."""
_GAP = r"[\t\n\f\r\ufeff]|--[^\n]*|/\*.*?(?:\*/|\Z)"
_WORD = r"A-Za-z0-9_$\x80-\U0010ffff"
# The tokens of `sqltokens` that concern a shape. Words and single blanks are none: they would take most of the time.
_PIECE = re.compile(
    rf"""(?P<blank>[ ]*(?:[ ]{{2}}|{_GAP})(?:[ ]|{_GAP})*)
       |(?P<value>(?:(?<![{_WORD}])[xX])?'(?:[^']|'')*(?:'|\Z)
                 |(?<![{_WORD}])\.?[0-9][0-9A-Za-z_.]*
                 |\?[0-9]*)
       |(?P<doubtful>"(?:[^"]|"")*(?:"|\Z))
       |(?P<name>`(?:[^`]|``)*(?:`|\Z)|\[[^\]]*(?:\]|\Z))""",
    re.VERBOSE | re.DOTALL,
)
_TIGHT = re.compile(r" , ?|,(?=[^ ])|\( | \)")
_LIST = re.compile(r"-?\?(?:, -?\?)+")
_ROWS = re.compile(r"(\((?:\?|\?, \.\.\.)\))(?:, \1)+")


def nothing_known(_name: str) -> bool:
    """Take no word in double quotes for a name."""
    return False


def fingerprint(sql: str, known: Callable[[str], bool] = nothing_known) -> str:
    """The text with `?` in place of each literal, without comments and in one line; lists of values have one length.

    `known`: whether a word in double quotes is a name of the schema, and no string.
    """

    def shorter(found: re.Match[str]) -> str:
        match found.lastgroup:
            case "blank":
                return " "
            case "value":
                return "?"
            case "doubtful" if not known(found[0][1:-1].replace('""', '"')):
                return "?"
        return found[0]

    return _listed(_PIECE.sub(shorter, sql[:LONGEST])) + (" ..." if len(sql) > LONGEST else "")


def fold(sql: str, longest: int) -> tuple[str, str]:
    """(a name of all texts that differ in literals alone, a letter for the class of each literal and parameter).

    Not for logs: what stands in double quotes is taken for a name. Classes that follow each other are told once, so
    that the length of a list makes no difference. `longest`: characters that are looked at.
    """
    classes: list[str] = []

    def shorter(found: re.Match[str]) -> str:
        match found.lastgroup:
            case "blank":
                return " "
            case "value":
                one = _class(found[0])
                if not classes or one != classes[-1]:
                    classes.append(one)
                return "?"
        return found[0]

    return _listed(_PIECE.sub(shorter, sql[:longest])), "".join(classes)


def _class(value: str) -> str:
    first = value[0]
    if first in "?'":
        return first
    if "'" in value:
        return "x"
    return "i" if value.isdigit() and len(value) < _DIGITS else "h" if value[:2].lower() == "0x" else "r"


def _listed(made: str) -> str:
    return _ROWS.sub(r"\1, ...", _LIST.sub("?, ...", _TIGHT.sub(_tight, made))).strip("; ")


def _tight(found: re.Match[str]) -> str:
    """Blanks around commas and inside of brackets mean nothing: all texts are written alike."""
    return ", " if "," in found[0] else found[0].strip()
