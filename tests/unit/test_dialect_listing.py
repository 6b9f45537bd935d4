"""Statements that were seen, filtered and a page at a time."""

from __future__ import annotations

from typing import Any

import pytest

from cutover.dialect.listing import listed, shortened, told
from cutover.model.requests import StatementsRequest


def row(name: str, status: str, count: int, **replayed: Any) -> dict[str, Any]:
    found = {"match": 0, "mismatch": 0, "inconclusive": 0, "latest": None, "differs": None} | replayed
    made = {"id": name, "sql": "SELECT 1", "translation": None, "status": status, "count": count}
    return told(made | {"shadow_reads": found if replayed else None, "shadow_writes": None})


ROWS = [
    row("e", "ready", 9, latest="match", match=1),
    row("d", "ready", 9, latest="match", match=3, differs="Row 1"),
    row("c", "ready", 70, match=2),
    row("b", "refused", 1),
    row("a", "unseen", 5, inconclusive=1),
]


def test_the_worst_come_first_and_no_page_has_one_twice() -> None:
    for limit in (1, 2, 3, 5, 9):
        names, after = list[str](), ""
        while True:
            page, following = listed(ROWS, StatementsRequest(limit, after))
            names += [each["id"] for each in page]
            if following is None:
                break
            after = following
            assert StatementsRequest(after=after).is_placed
        assert names == ["b", "d", "a", "c", "e"]


@pytest.mark.parametrize(
    ("status", "result", "names"),
    [
        ("ready", "", "dce"),
        ("", "match", "ce"),
        ("", "mismatch", "d"),
        ("", "inconclusive", "a"),
        ("", "none", "b"),
        ("refused", "match", ""),
    ],
)
def test_those_that_are_asked_for(status: str, result: str, names: str) -> None:
    found, following = listed(ROWS, StatementsRequest(status=status, result=result))
    assert ("".join(each["id"] for each in found), following) == (names, None)


def test_a_long_text_is_told_by_its_beginning() -> None:
    assert shortened("x" * 8192) == "x" * 8192
    assert shortened("x" * 1_000_000) == "x" * 8192 + " ... (1,000,000 characters)"
