"""What the commands print: other people's data made harmless, tables that do not cut, JSON for machines."""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

_PIPE_WIDTH = 200


def clean(value: object, limit: int = 400) -> str:
    """`value` as one line that a terminal only prints: control and direction characters are escaped."""
    if isinstance(value, str):
        text = value
    elif value is None:
        text = "NULL"
    else:
        text = json.dumps(value, ensure_ascii=False, default=str)
    if len(text) > limit:
        text = f"{text[:limit]}… ({len(text)} characters)"
    return "".join(
        c if unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Zl", "Zp") else c.encode("unicode_escape").decode()
        for c in text
    )


def print_json(value: object, *, compact: bool = False) -> None:
    """Print JSON: indented, or one line with `compact`."""
    text = json.dumps(value) if compact else json.dumps(value, indent=2)
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def console(*, stderr: bool = False) -> Console:
    """A console that takes nothing for markup. Into a pipe it writes wide lines, so that nothing is wrapped."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else _PIPE_WIDTH
    return Console(stderr=stderr, markup=False, highlight=False, emoji=False, width=width)


def grid(header: Sequence[str], rows: Iterable[Sequence[object]], numbers: Iterable[int] = ()) -> Table:
    """A table; the columns in `numbers` are set to the right. Cells are cleaned, `Text` is taken as it is."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    right = set(numbers)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for index, name in enumerate(header):
        table.add_column(name, justify="right" if index in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else Text(clean(cell)) for cell in row))
    return table


def gate_lines(gates: Sequence[Any]) -> Text:
    """One line for each gate: a mark, its name, the actual value against the limit."""
    from rich.text import Text

    width = max((len(str(gate["name"])) for gate in gates), default=0)
    lines = Text()
    for gate in gates:
        lines.append("✓ " if gate["ok"] else "✗ ", style="green" if gate["ok"] else "bold red")
        lines.append(f"{clean(gate['name']):<{width}}  ")
        lines.append(f"{clean(gate['detail'])}\n", style="" if gate["ok"] else "red")
    lines.rstrip()
    return lines


def number(value: object) -> str:
    """12345 → 12,345; anything else as it is."""
    return f"{value:,}" if isinstance(value, int | float) else clean(value)


def rows(count: int) -> str:
    """ "1 row", "1,200 rows"."""
    return "1 row" if count == 1 else f"{count:,} rows"


def rows_differ(count: int) -> str:
    """ "no row differs", "1 row differs", "1,200 rows differ"."""
    return "no row differs" if not count else "1 row differs" if count == 1 else f"{count:,} rows differ"


def span(seconds: float) -> str:
    """A duration as a person says it."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def moment(stamp: object) -> str:
    """A time stamp (ISO 8601, or seconds since 1970) to the second, in UTC."""
    if isinstance(stamp, int | float):
        from cutover.clock import iso

        stamp = iso(stamp)
    try:
        return datetime.fromisoformat(str(stamp)).strftime("%Y-%m-%d %H:%M:%S")
    except ValueError:
        return clean(stamp)
