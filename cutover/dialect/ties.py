"""Rows that ORDER BY leaves in ties: found by having SQLite break the ties both ways. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence

from cutover.schema.sqltokens import tokens

_COUNTED = "row_number() OVER ()"
"""Of a row as it comes to be sorted."""


def breaking_ties(sql: str, direction: str) -> str | None:
    """The query with its ties broken by the order in which rows are read; None if it has no ORDER BY of its own.

    A compound query takes no such term: SQLite refuses the text.
    """
    depth, ends, before = 0, None, ""
    for token in tokens(sql):
        word = token.text.upper() if token.type == "word" else ""
        depth += {"open": 1, "close": -1}.get(token.type, 0)
        if depth or token.type == "close":
            continue
        if before == "ORDER" and word == "BY":
            ends = len(sql)
        elif ends is not None and (word == "LIMIT" or token.type == "semi"):
            ends = min(ends, token.at)
        before = word
    if ends is None:
        return None
    return f"{sql[:ends].rstrip()}\n, {_COUNTED} {direction} {sql[ends:]}"


def differ_in_ties(
    here: Sequence[Hashable], there: Sequence[Hashable], up: Sequence[Hashable], down: Sequence[Hashable]
) -> bool:
    """Whether two answers are the same but for ties. `up`, `down`: the first one's, with the ties broken both ways.

    What is in ties is turned round, so wherever as many of the first rows are the same in both, a group of ties ends.
    A LIMIT may cut through the last one: which of its rows are answered is open as well.
    """
    if not len(here) == len(there) == len(up) == len(down):
        return False
    answers = (there, up, down)
    balances: list[Counter[Hashable]] = [Counter() for _ in answers]
    for at, row in enumerate(here):
        for balance, answer in zip(balances, answers, strict=True):
            _move(balance, row, 1)
            _move(balance, answer[at], -1)
        if balances[0] and not balances[1] and not balances[2]:
            return False
    return True


def _move(balance: Counter[Hashable], row: Hashable, by: int) -> None:
    balance[row] += by
    if not balance[row]:
        del balance[row]
