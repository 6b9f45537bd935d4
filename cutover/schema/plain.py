"""Recognises queries so plain that the declared type of each result column is certain from the text. Pure."""

from __future__ import annotations

from cutover.schema.sqltokens import Token

_NOT_PLAIN = ("JOIN", "UNION", "EXCEPT", "INTERSECT", "NATURAL", "CROSS", "LEFT", "INNER", "OUTER", "RIGHT", "FULL")
_NOT_NAMES = frozenset(("DISTINCT", "ALL", "NULL", "CASE", "CAST", "NOT", "EXISTS", "TRUE", "FALSE", "RAISE"))
_NOW = ("CURRENT_TIME", "CURRENT_DATE", "CURRENT_TIMESTAMP")


def plain_select(run: list[Token]) -> tuple[str, tuple[str, ...]] | None:
    """(table, columns) of `SELECT a, t.b AS c, * FROM t ...`; None for anything less plain. Names are in lower case."""
    columns: list[str] = []
    at = 1
    while True:
        name, at = _column(run, at)
        if not name or at >= len(run):
            return None
        columns.append(name)
        if run[at].text.upper() == "FROM":
            break
        if run[at].text != ",":
            return None
        at += 1
    table = name_of(run[at + 1]) if at + 1 < len(run) else ""
    rest = run[at + 2 :]
    if not table or any(token.text == "," and not depth for token, depth in _depths(rest)):
        return None
    if any(token.type == "word" and token.text.upper() in _NOT_PLAIN for token, depth in _depths(rest) if not depth):
        return None
    return (table, tuple(columns)) if not rest or rest[0].type in ("word", "quoted") else None


def _column(run: list[Token], at: int) -> tuple[str, int]:
    """Name of the plain result column that begins here and where it ends; empty if it is not plain."""
    name, at = name_of(run[at]) if at < len(run) else "", at + 1
    if at + 1 < len(run) and run[at].type == "dot":
        name, at = name_of(run[at + 1]), at + 2
    if at + 1 < len(run) and run[at].text.upper() == "AS":
        at += 2
    return name, at


def name_of(token: Token) -> str:
    """The name that a token stands for, in lower case; "*" for itself; empty for anything that is no name."""
    if token.text == "*":
        return "*"
    if token.type == "quoted" and len(token.text) > 2:
        mark = token.text[-1]
        return token.text[1:-1].replace(mark * 2, mark).lower()
    word = token.text.upper() if token.type == "word" else ""
    return "" if word in _NOT_NAMES or word in _NOW else word.lower()


def _depths(run: list[Token]) -> list[tuple[Token, int]]:
    depth = 0
    found = []
    for token in run:
        depth += (token.type == "open") - (token.type == "close")
        found.append((token, depth))
    return found
