"""The statements that were seen, as they are told: filtered, and a page at a time. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cutover.model.requests import StatementsRequest

Row = dict[str, Any]

_ORDER = {"failing": 0, "refused": 0, "unseen": 2, "invalid": 3, "ready": 4}
_DIFFERS = 1
_LONGEST = 8192
"""Characters of a text that are told; of one that an application fills with values there may be a million."""


def listed(rows: Iterable[Row], wanted: StatementsRequest) -> tuple[list[Row], str | None]:
    """(those that are wanted, what to ask for what follows them; None: nothing does).

    Those that would fail come first, then those that differ, each by how often they were sent. What is sent while
    somebody turns the pages may move, and so be told twice or not at all.
    """
    found = [
        row for row in rows
        if wanted.status in ("", row["status"]) and wanted.result in ("", row["result"])
    ]  # fmt: skip
    if wanted.after:
        begin = _parsed(wanted.after)
        found = [row for row in found if _place(row) > begin]
    found.sort(key=_place)
    if wanted.limit is None or len(found) <= wanted.limit:
        return found, None
    page = found[: wanted.limit]
    order, count, name = _place(page[-1])
    return page, f"{order}.{-count}.{name}"


def told(row: Row) -> Row:
    """With what came of its replays in a word, and no more of its text than somebody would read."""
    replayed = row["shadow_reads"] or row["shadow_writes"]
    return row | {
        "sql": shortened(row["sql"]),
        "translation": shortened(row["translation"]),
        "result": _result(replayed),
    }


def shortened(text: str | None) -> str | None:
    """As much as is told of it."""
    if text is None or len(text) <= _LONGEST:
        return text
    return f"{text[:_LONGEST]} ... ({len(text):,} characters)"


def _parsed(after: str) -> tuple[int, int, str]:
    order, count, name = after.split(".")
    return int(order), -int(count), name


def _place(row: Row) -> tuple[int, int, str]:
    order = _ORDER[row["status"]]
    return min(order, _DIFFERS) if row["result"] == "mismatch" else order, -row["count"], row["id"]


def _result(replayed: Row | None) -> str:
    if replayed is None:
        return "none"
    if replayed["differs"]:
        return "mismatch"
    latest: str | None = replayed["latest"]  # None: it was replayed before the service was started alone
    return latest or ("match" if replayed["match"] else "inconclusive")
