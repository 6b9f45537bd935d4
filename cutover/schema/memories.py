"""last_insert_rowid(), changes() and total_changes() in a text: things of the stream's own past. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from cutover.schema.sqltokens import Token, tokens

_MEMORIES = ("LAST_INSERT_ROWID", "CHANGES", "TOTAL_CHANGES")
_BEHIND_COLUMNS = frozenset(
    ("FROM", "WHERE", "GROUP", "HAVING", "WINDOW", "UNION", "INTERSECT", "EXCEPT", "ORDER", "LIMIT")
)
_ENDS_EXPRESSION = frozenset(
    ("END", "NULL", "ISNULL", "NOTNULL", "TRUE", "FALSE", "CURRENT_DATE", "CURRENT_TIME", "CURRENT_TIMESTAMP")
)
"""Words that are no alias where they come last."""
_BEFORE_OPERAND = frozenset(
    ("AND", "OR", "NOT", "IS", "IN", "LIKE", "GLOB", "REGEXP", "MATCH", "BETWEEN", "COLLATE", "ESCAPE", "CASE", "WHEN",
     "THEN", "ELSE", "DISTINCT", "FROM", "OVER", "ALL")
)  # fmt: skip


class _Edit(NamedTuple):
    """`text` takes the place of what is between two places."""

    begin: int
    end: int
    text: str


@dataclass(slots=True)
class _Level:
    """What is between two parentheses."""

    column: int | None = None
    """The token that a result column begins with, in a list of such."""
    remembers: bool = False
    """Whether that column asks for the stream's past."""
    anything: bool = False
    """Whether anything there does."""
    places: bool = False
    """Whether a number is the place of a result column: in ORDER BY and GROUP BY."""


def is_memory(run: list[Token], at: int) -> bool:
    """Whether a call of one of the three begins with this token."""
    name, opened, closed = run[at : at + 3]
    return name.type == "word" and opened.type == "open" and closed.type == "close" and name.text.upper() in _MEMORIES


def remembered(sql: str, last_insert_rowid: int | None, changes: int, total_changes: int) -> str:
    """The text with last_insert_rowid(), changes() and total_changes() replaced by these numbers; None: left alone.

    For a statement that is to run on a connection which has another past than its stream. A result column keeps the
    name that SQLite gives it, which is its text.
    """
    values = dict(zip(_MEMORIES, (last_insert_rowid, changes, total_changes), strict=True))
    run = list(tokens(sql))
    edits: list[_Edit] = []
    levels = [_Level()]
    for at, token in enumerate(run):
        level = levels[-1]
        if at + 2 < len(run) and is_memory(run, at) and (value := values[token.text.upper()]) is not None:
            edits.append(_Edit(token.at, run[at + 2].at + 1, f"({value}+0)" if level.places else str(value)))
            level.remembers = level.anything = True
        if token.type == "open":
            levels.append(_Level(places=level.places))
        elif token.type == "close":
            edits += _named(sql, run, level, at)
            if len(levels) > 1:
                levels.pop()
                levels[-1].remembers |= level.anything
                levels[-1].anything |= level.anything
        elif _ends_column(run, at):
            if token.text != ",":
                level.places = token.text.upper() in ("ORDER", "GROUP")
            edits += _named(sql, run, level, at)
            level.column = at + 1 if token.text == "," and level.column is not None else None
        elif token.type == "word" and token.text.upper() in ("SELECT", "RETURNING"):
            level.column, level.remembers, level.places = at + 1, False, False
        elif level.column == at and token.text.upper() in ("DISTINCT", "ALL"):
            level.column = at + 1
    edits += _named(sql, run, levels[-1], len(run))
    return _edited(sql, edits)


def _ends_column(run: list[Token], at: int) -> bool:
    token = run[at]
    if token.type == "word":
        word = token.text.upper()
        compares = word == "FROM" and at > 0 and run[at - 1].text.upper() == "DISTINCT"
        return word in _BEHIND_COLUMNS and not compares
    return token.type == "semi" or token.text == ","


def _named(sql: str, run: list[Token], level: _Level, end: int) -> list[_Edit]:
    """The name of the column that ends before this token, where it needs one; what comes then begins anew."""
    begin, remembers = level.column, level.remembers
    level.remembers = False
    if begin is None or not remembers or _has_name(run, begin, end):
        return []
    last = run[end - 1]
    behind = last.at + len(last.text)
    reaches = run[end].at if end < len(run) else len(sql)  # comments are part of it
    name = sql[run[begin].at : reaches].rstrip().replace('"', '""')
    return [_Edit(behind, behind, f' AS "{name}"')]


def _has_name(run: list[Token], begin: int, end: int) -> bool:
    """Whether an alias ends these tokens, with AS or without."""
    if end - begin < 2:
        return False
    before, last = run[end - 2 : end]
    if before.type == "word" and before.text.upper() == "AS":
        return True
    if last.type not in ("word", "quoted", "string") or (last.type == "word" and last.text.upper() in _ENDS_EXPRESSION):
        return False
    if before.type == "word":
        blob = last.type == "string" and before.text.upper() == "X"
        return not blob and before.text.upper() not in _BEFORE_OPERAND
    return before.type in ("close", "string", "quoted", "number", "param")


def _edited(sql: str, edits: list[_Edit]) -> str:
    pieces: list[str] = []
    done = 0
    for edit in edits:
        pieces += [sql[done : edit.begin], edit.text]
        done = edit.end
    return "".join([*pieces, sql[done:]])
