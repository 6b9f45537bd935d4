"""What stands between a schema, or its data, and a move that loses nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from cutover.model.values import Key, SqlValue

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
    values: tuple[SqlValue, ...] = field(default=(), repr=False)
    """What the column holds in those rows. Somebody's data: shown only when asked for, else `masked`."""
    histogram: str = ""
    """What the column holds, by storage class: `41,200 integer, 3 text`."""

    def to_json(self, *, show_values: bool) -> dict[str, Any]:
        """For machines. Values are masked unless shown."""
        return {
            "severity": self.severity,
            "code": self.code,
            "message": self.message,
            "todo": self.todo,
            "table": self.table,
            "column": self.column,
            "count": self.count,
            "examples": [[_plain(part) for part in key] for key in self.examples],
            "values": [_plain(value) if show_values else masked(value) for value in self.values],
            "histogram": self.histogram,
        }


def _plain(value: SqlValue) -> int | float | str | None:
    return f"x'{value.hex()}'" if isinstance(value, bytes) else value


def masked(value: SqlValue) -> str:
    """What kind of value it is, and how long, without a word of it."""
    match value:
        case None:
            return "NULL"
        case str():
            return f"text of {len(value):,} character{'' if len(value) == 1 else 's'}"
        case bytes():
            return f"a blob of {len(value):,} byte{'' if len(value) == 1 else 's'}"
        case int():
            return f"an integer of {len(str(abs(value)))} digit{'' if abs(value) < 10 else 's'}"
        case float():
            return "a real number"


def in_order(findings: list[Finding]) -> tuple[Finding, ...]:
    """The most severe first, then by table, column and code."""
    return tuple(sorted(findings, key=lambda f: (_ORDER[f.severity], f.table, f.column, f.code, f.message)))
