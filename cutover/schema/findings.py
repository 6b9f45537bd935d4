"""What stands between a schema, or its data, and a move that loses nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from cutover.model.values import Key

Severity = Literal["blocks", "warns", "informs"]
"""blocks: a promotion would lose or change something; warns: something will differ; informs: good to know."""

_ORDER: dict[Severity, int] = {"blocks": 0, "warns": 1, "informs": 2}


@dataclass(frozen=True)
class Finding:
    """One thing to know or to mend. Names are those of the SQLite schema."""

    severity: Severity
    code: str
    """Stable, snake_case; safe to match on."""
    message: str
    todo: str
    """What to do about it, as an imperative sentence; empty where nothing is to be done."""
    table: str = ""
    column: str = ""
    count: int | None = None
    """Rows concerned, where rows were counted."""
    examples: tuple[Key, ...] = ()
    """Keys of up to ten of those rows."""


def in_order(findings: list[Finding]) -> tuple[Finding, ...]:
    """The most severe first, then by table, column and code."""
    return tuple(sorted(findings, key=lambda f: (_ORDER[f.severity], f.table, f.column, f.code, f.message)))
