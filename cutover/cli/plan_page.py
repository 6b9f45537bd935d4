"""The page of `cutover plan` in a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cutover.cli.show import clean, console, grid, number, rows
from cutover.logs import counted
from cutover.schema.findings import masked

if TYPE_CHECKING:
    from rich.console import Console

    from cutover.model.table import Column, Table
    from cutover.schema.findings import Finding, Severity
    from cutover.schema.plan import Plan

_STYLES: dict[Severity, str] = {"blocks": "bold red", "warns": "yellow", "informs": "dim"}
HEADINGS: dict[Severity, str] = {
    "blocks": "Blocks the move",
    "warns": "Will behave differently",
    "informs": "Good to know",
}
_FEW = 3
"""Examples of a finding, and findings of one kind, on a page that is not full."""
_SHORT = 12
"""Tables whose columns and DDL are shown on a page that is not full."""


@dataclass(frozen=True)
class Saved:
    """A file that was written, and where the one that stood there is now."""

    path: Path
    kept: Path | None

    def __str__(self) -> str:
        return f"{self.path}" + (f" (what stood there is kept as {self.kept.name})" if self.kept else "")


@dataclass(frozen=True)
class View:
    """A plan, and how it is to be shown."""

    plan: Plan
    path: Path
    has_target: bool
    saved: Sequence[Saved]
    show_values: bool = False
    full: bool = False

    def value(self, value: object) -> str:
        """An example's value, as far as it may be seen."""
        if not self.show_values:
            return masked(value)  # type: ignore[arg-type]  # an SqlValue
        return f"x'{value[:40].hex()}'" if isinstance(value, bytes) else clean(repr(value), limit=80)

    def examples(self, finding: Finding) -> list[str]:
        """Keys of rows, each with what the column holds there."""
        found = [
            key_text(key) + (f" ({self.value(value)})" if finding.column else "")
            for key, value in zip(finding.examples, finding.values, strict=False)
        ]
        found += [key_text(key) for key in finding.examples[len(found) :]]
        return found if self.full else found[:_FEW]

    def verdict(self) -> tuple[str, str]:
        """(style, sentence)."""
        blocking = sum(finding.severity == "blocks" for finding in self.plan.findings)
        if blocking:
            return "bold red", f"Not ready: {counted(blocking, 'finding')} must be dealt with."
        if not self.plan.mapping.tables:
            return "yellow", "There is no table to move."
        held = sum(self.plan.rows.values())
        return "bold green", f"Ready: {rows(held)} in {counted(len(self.plan.rows), 'table')}."


def show(view: View) -> None:
    """Print it."""
    page, found = console(), view.plan
    page.print(f"Plan for {clean(str(view.path))}", style="bold")
    page.print()
    if found.mapping.tables:
        page.print(grid(TABLES, table_lines(found), numbers=(3,)))
    brief = not view.full and len(found.mapping.tables) > _SHORT
    if brief:
        page.print("Columns and DDL are left out: there are many tables. --full shows them, --write saves the DDL.")
        page.print()
    else:
        _show_columns(page, found)
        _show_ddl(page, view)
    for severity in HEADINGS:
        _show_findings(page, view, severity)
    for note in found.notes:
        page.print(note, style="dim", soft_wrap=True)
        page.print()
    for saved in view.saved:
        page.print(f"Saved {clean(str(saved), limit=500)}", soft_wrap=True)
    style, sentence = view.verdict()
    page.print(sentence, style=style)


TABLES = ("table", "on Postgres", "", "rows", "key")
"""Heads of `table_lines`."""


def table_lines(found: Plan) -> list[tuple[str, ...]]:
    """What is moved to where, a line each."""
    return [
        (
            table.name,
            f"{table.target_schema}.{table.target}",
            "exists" if table.name in found.adopted else "to be created",
            number(found.rows.get(table.name, 0)),
            ", ".join(table.key),
        )
        for table in found.mapping.tables
    ]


def _show_columns(page: Console, found: Plan) -> None:
    """Columns are listed where the mapping says more than the DDL does: another name, or another kind of type."""
    for table in found.mapping.tables:
        if any(_is_worth_showing(column) for column in table.columns):
            page.print(clean(table.name), style="bold")
            page.print(_columns(found, table))


def _is_worth_showing(column: Column) -> bool:
    return column.name != column.target or column.declared.lower() != column.target_type


def _columns(found: Plan, table: Table) -> object:
    lines = [
        (
            column.name,
            "(rowid)" if column.hidden else column.declared or "(none)",
            str(held) if (held := found.histograms.get((table.name, column.name))) else "",
            column.target if column.target != column.name else "",
            column.target_type,
        )
        for column in table.columns
    ]
    return grid(("column", "declared", "holds", "named on Postgres", "type on Postgres"), lines)


def _show_ddl(page: Console, view: View) -> None:
    if view.plan.mapping.create:
        where = "" if view.has_target else " (no --postgres given: for an empty target)"
        page.print(f"Postgres DDL{where}", style="bold")
        page.print()
        page.print(";\n\n".join(clean_lines(each) for each in view.plan.mapping.create) + ";", soft_wrap=True)
        page.print()


def clean_lines(text: str) -> str:
    """`show.clean` for text whose lines are meant."""
    return "\n".join(clean(line, limit=10_000) for line in text.split("\n"))


def groups(findings: Sequence[Finding]) -> Iterator[list[Finding]]:
    """Findings of one kind that say the same of several places, together; in their order otherwise."""
    seen: dict[tuple[str, str, str], list[Finding]] = {}
    for finding in findings:
        alone = finding.count is not None or finding.examples
        what = (finding.code, finding.message, finding.todo) if not alone else (str(len(seen)), "", "")
        seen.setdefault(what, []).append(finding)
    yield from seen.values()


def places(group: Sequence[Finding], *, full: bool) -> str:
    """Where it was found."""
    names = [".".join(filter(None, (each.table, each.column))) or "the database" for each in group]
    shown = names if full or len(names) <= 2 * _FEW else [*names[: 2 * _FEW], f"{len(names) - 2 * _FEW} others"]
    return ", ".join(shown)


def _show_findings(page: Console, view: View, severity: Severity) -> None:
    chosen = [finding for finding in view.plan.findings if finding.severity == severity]
    if not chosen:
        return
    page.print(f"{HEADINGS[severity]} ({len(chosen)})", style=_STYLES[severity])
    for group in groups(chosen):
        finding = group[0]
        count = f" [{rows(finding.count)}]" if finding.count is not None else ""
        place = clean(places(group, full=view.full), limit=2000)
        page.print(f"  {place}{count}: {clean(finding.message, limit=2000)}")
        if finding.histogram:
            page.print(f"    the column holds {finding.histogram}", style="dim")
        if examples := view.examples(finding):
            page.print(f"    for example {', '.join(examples)}", style="dim")
        if finding.todo:
            page.print(f"    → {clean(finding.todo, limit=2000)}")
    page.print()


def key_text(key: Sequence[object]) -> str:
    """A row's key for people."""
    parts = [f"x'{part.hex()}'" if isinstance(part, bytes) else clean(str(part), limit=60) for part in key]
    return parts[0] if len(parts) == 1 else f"({', '.join(parts)})"
