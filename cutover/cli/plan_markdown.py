"""The plan as a Markdown page, as for a ticket."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from cutover.cli.plan_page import HEADINGS, TABLES, groups, places, table_lines
from cutover.cli.show import clean, rows

if TYPE_CHECKING:
    from cutover.cli.plan_page import View
    from cutover.schema.findings import Severity


def as_markdown(view: View) -> str:
    """The whole page, whatever the number of tables."""
    return "\n".join(_lines(view))


def _lines(view: View) -> Iterator[str]:
    found = view.plan
    yield f"# Plan for `{clean(str(view.path), limit=500)}`"
    yield ""
    yield f"**{view.verdict()[1]}**"
    yield ""
    if found.mapping.tables:
        yield "## Tables"
        yield ""
        yield from _grid(TABLES, table_lines(found))
    for severity, heading in HEADINGS.items():
        yield from _findings(view, severity, heading)
    for note in found.notes:
        yield _text(note)
        yield ""
    if found.mapping.create:
        yield "## Postgres DDL"
        yield ""
        yield "```sql"
        yield ";\n\n".join(found.mapping.create) + ";"
        yield "```"


def _findings(view: View, severity: Severity, heading: str) -> Iterator[str]:
    chosen = [finding for finding in view.plan.findings if finding.severity == severity]
    if not chosen:
        return
    yield f"## {heading} ({len(chosen)})"
    yield ""
    for group in groups(chosen):
        finding = group[0]
        count = f" [{rows(finding.count)}]" if finding.count is not None else ""
        yield f"- **{_text(places(group, full=True))}**{count} (`{finding.code}`): {_text(finding.message)}"
        if finding.histogram:
            yield f"  - The column holds {finding.histogram}."
        if examples := view.examples(finding):
            yield f"  - For example {_text(', '.join(examples))}"
        if finding.todo:
            yield f"  - To do: {_text(finding.todo)}"
    yield ""


def _grid(titles: Sequence[str], lines: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(titles)} |"
    yield f"|{' --- |' * len(titles)}"
    for line in lines:
        yield f"| {' | '.join(_text(cell) for cell in line)} |"
    yield ""


def _text(text: str) -> str:
    """What would be taken for markup, or for the end of a cell, is not."""
    plain = clean(text, limit=2000)
    return "".join(f"\\{char}" if char in "\\`*_[]<>|#" else char for char in plain)
