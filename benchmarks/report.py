"""What a benchmark hands back, and how it is shown."""

from __future__ import annotations

import json
import platform
import sqlite3
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

from cutover import __version__


@dataclass
class Line:
    """One comparison. `ratio` is ours to the peer's; without a peer, our own figure, in `unit`."""

    what: str
    ours: str
    peer: str
    ratio: float
    target: float
    at_least: bool = True
    unit: str = "x"

    @property
    def met(self) -> bool:
        """Whether the target is reached."""
        return self.ratio >= self.target if self.at_least else self.ratio <= self.target

    def cells(self) -> tuple[str, ...]:
        """The columns of a table."""
        sign = "≥" if self.at_least else "≤"
        mark = "met" if self.met else "MISSED"
        return (
            self.what,
            self.ours,
            self.peer,
            f"{self.ratio:.2f}{self.unit}",
            f"{sign} {self.target:g}{self.unit}",
            mark,
        )


@dataclass
class Report:
    """All lines of one benchmark, with what it takes to run it again and to believe it."""

    name: str
    title: str
    lines: list[Line] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)
    settings: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def text(self) -> str:
        """For a terminal."""
        rows = [("", "cutover", "peer", "ratio", "target", ""), *(line.cells() for line in self.lines)]
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        table = [
            "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ]
        facts = [
            f"  {kind}: {_pairs(pairs)}" for kind, pairs in (("settings", self.settings), ("versions", self.versions))
        ]
        return "\n".join([f"{self.name}: {self.title}", *table, *facts, *(f"  note: {note}" for note in self.notes)])

    def markdown(self) -> str:
        """For docs/benchmarks.md."""
        head = ["what", "cutover", "peer", "ratio", "target", ""]
        rows = [head, ["---"] * len(head), *(line.cells() for line in self.lines)]
        table = ["| " + " | ".join(row) + " |" for row in rows]
        facts = [f"Settings: {_pairs(self.settings)}.", f"Versions: {_pairs(self.versions)}."]
        notes = [f"Note: {note}." for note in self.notes]
        return "\n\n".join(
            [f"## {self.name}", f"{self.title[0].upper()}{self.title[1:]}.", "\n".join(table), *facts, *notes]
        )

    def json(self) -> str:
        """One line for machines."""
        return json.dumps({**asdict(self), "met": all(line.met for line in self.lines)}, ensure_ascii=False)


def _pairs(pairs: dict[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in pairs.items())


def our_versions() -> dict[str, str]:
    """Of cutover and what it stands on."""
    return {"cutover": __version__, "Python": platform.python_version(), "SQLite": sqlite3.sqlite_version}


def median(values: Sequence[float]) -> float:
    """Of the rounds."""
    return statistics.median(values)


def rate(value: float) -> str:
    """Operations a second, readable."""
    return f"{value:,.0f}/s"


def milliseconds(seconds: float) -> str:
    """A duration, readable."""
    return f"{seconds * 1000:.2f} ms"
