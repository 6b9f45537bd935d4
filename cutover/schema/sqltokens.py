"""SQL text cut into tokens and statements, as SQLite's own tokenizer would. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple


class Token(NamedTuple):
    """One token that is neither blank nor comment: what it is, its text, and where it begins."""

    type: str
    """word, string, quoted, param, number, semi, open, close, dot, or other."""
    text: str
    at: int


_TOKEN = re.compile(
    r"""(?P<blank>[ \t\n\f\r\ufeff]+|--[^\n]*|/\*.*?(?:\*/|\Z))
      |(?P<word>[A-Za-z_\x80-\U0010ffff][A-Za-z0-9_$\x80-\U0010ffff]*)
      |(?P<string>'(?:[^']|'')*(?:'|\Z))
      |(?P<quoted>"(?:[^"]|"")*(?:"|\Z)|`(?:[^`]|``)*(?:`|\Z)|\[[^\]]*(?:\]|\Z))
      |(?P<param>\?[0-9]*|[:@\#$][A-Za-z0-9_$\x80-\U0010ffff]+(?:::[A-Za-z0-9_$\x80-\U0010ffff]*)*(?:\([^\s)]*\)?)?)
      |(?P<number>0[xX][0-9A-Fa-f]+|(?:[0-9]+\.?[0-9]*|\.[0-9]+)[eE][+-]?[0-9]+|\.?[0-9][0-9A-Za-z_.]*)
      |(?P<semi>;)|(?P<open>\()|(?P<close>\))|(?P<dot>\.)
      |(?P<other>.)""",
    re.VERBOSE | re.DOTALL,
)


def tokens(sql: str) -> Iterator[Token]:
    """The tokens of a text, without blanks and comments."""
    for found in _TOKEN.finditer(sql):
        kind = found.lastgroup
        if kind != "blank":
            yield Token(kind or "other", found[0], found.start())


def statements(sql: str) -> list[tuple[str, list[Token]]]:
    """Text and tokens of each statement of a script, without semicolons; empty ones are left out.

    A semicolon ends a statement as in `sqlite3_complete`: inside CREATE TRIGGER only the one after END does.
    """
    found: list[tuple[str, list[Token]]] = []
    run: list[Token] = []
    trigger = _Trigger()
    for token in tokens(sql):
        if token.type == "semi" and trigger.ends(run):
            if run:
                found.append((_text(sql, run), run))
            run, trigger = [], _Trigger()
            continue
        run.append(token)
        trigger.see(token, len(run))
    if run:
        found.append((_text(sql, run), run))
    return found


def _text(sql: str, run: list[Token]) -> str:
    return sql[run[0].at : run[-1].at + len(run[-1].text)]


class _Trigger:
    """Follows one statement as far as needed to know whether it is a CREATE TRIGGER."""

    def __init__(self) -> None:
        self._open = True
        self._create = False
        self._inside = False

    def see(self, token: Token, position: int) -> None:
        if not self._open:
            return
        word = token.text.upper() if token.type == "word" else ""
        if position == 1 and word == "EXPLAIN":
            return
        if word == "CREATE" and not self._create:
            self._create = True
        elif self._create and word == "TRIGGER":
            self._inside, self._open = True, False
        elif word not in (("TEMP", "TEMPORARY") if self._create else ("QUERY", "PLAN")):
            self._open = False

    def ends(self, run: list[Token]) -> bool:
        if not self._inside:
            return True
        return len(run) >= 2 and run[-1].text.upper() == "END" and run[-2].type == "semi"
