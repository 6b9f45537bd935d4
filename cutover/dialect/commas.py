"""FROM a, b ON ...: SQLite takes a comma for JOIN, the parser does not."""

from __future__ import annotations

from cutover.schema.sqltokens import Token

_BEHIND_FROM = frozenset(
    {
        "SELECT",
        "WHERE",
        "GROUP",
        "HAVING",
        "WINDOW",
        "ORDER",
        "LIMIT",
        "UNION",
        "INTERSECT",
        "EXCEPT",
        "RETURNING",
        "SET",
    }
)


def joined_commas(run: list[Token]) -> list[Token]:
    """Each comma in FROM that a condition belongs to becomes JOIN."""
    joined: dict[int, Token] = {}
    levels: list[int | None] = [None]
    """For each open parenthesis: None outside of FROM, else where its last comma stands, or -1."""
    for at, token in enumerate(run):
        word = token.text.upper() if token.type in ("word", "other") else ""
        if token.type == "open":
            before = run[at - 1].text.upper() if at else ""
            levels.append(-1 if levels[-1] is not None and before in ("FROM", "JOIN", ",", "(") else None)
        elif token.type == "close" and len(levels) > 1:
            levels.pop()
        elif word == "FROM" or (word == "JOIN" and levels[-1] is not None):
            levels[-1] = -1
        elif word in _BEHIND_FROM:
            levels[-1] = None
        elif word == "," and levels[-1] is not None:
            levels[-1] = at
        elif word in ("ON", "USING") and levels[-1] is not None:
            comma = levels[-1]
            if comma >= 0 and (at + 1 == len(run) or run[at + 1].text.upper() != "CONFLICT"):
                joined[comma] = run[comma]._replace(type="word", text="JOIN")
            levels[-1] = -1
    return [joined.get(at, token) for at, token in enumerate(run)] if joined else run
