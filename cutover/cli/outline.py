"""Any JSON as a readable page: headings, facts and tables; then as Markdown, as HTML, or on the terminal."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cutover.cli.show import clean, console, grid, number


@dataclass(frozen=True)
class Heading:
    """Level 1 is the outermost section."""

    level: int
    text: str


@dataclass(frozen=True)
class Facts:
    """Names with one value each."""

    pairs: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Grid:
    """A table of texts."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


Block = Heading | Facts | Grid


def outline(value: Mapping[str, Any], level: int = 1) -> list[Block]:
    """A JSON object as blocks: its plain members first, then a section for each object or list in it."""
    blocks: list[Block] = []
    plain = {name: inner for name, inner in value.items() if not isinstance(inner, dict | list) or not inner}
    if plain:
        blocks.append(Facts(tuple((_words(name), cell(inner)) for name, inner in plain.items())))
    for name, inner in value.items():
        if name in plain:
            continue
        blocks.append(Heading(level, _words(name)))
        blocks += outline(inner, level + 1) if isinstance(inner, dict) else [_grid(inner)]
    return blocks


def to_terminal(blocks: Sequence[Block]) -> None:
    """Print the blocks."""
    from rich.text import Text

    out = console()
    for block in blocks:
        if isinstance(block, Heading):
            out.print(Text(block.text, style="bold underline" if block.level == 1 else "bold"))
        elif isinstance(block, Grid):
            out.print(grid(block.header, block.rows))
        else:
            width = max(len(name) for name, _ in block.pairs)
            for name, value in block.pairs:
                out.print(Text.assemble((f"{name:<{width}}  ", "bold"), value))


def to_markdown(title: str, blocks: Sequence[Block]) -> str:
    """The blocks as Markdown."""
    lines = [f"# {_escape(title)}", ""]
    for block in blocks:
        if isinstance(block, Heading):
            lines.append(f"{'#' * min(block.level + 1, 6)} {_escape(block.text)}")
        elif isinstance(block, Grid):
            lines += [_markdown_row(block.header), _markdown_row(["---"] * len(block.header), raw=True)]
            lines += [_markdown_row(row) for row in block.rows]
        else:
            lines += [f"- **{_escape(name)}**: {_escape(value)}" for name, value in block.pairs]
        lines.append("")
    return "\n".join(lines)


def to_html(title: str, blocks: Sequence[Block]) -> str:
    """The blocks as one HTML page that needs nothing else."""
    name = html.escape(title)
    head = (
        f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{name}</title>'
        f"<style>{_STYLE}</style>"
    )
    body = "\n".join(_html_blocks(blocks))
    return (
        f'<!doctype html>\n<html lang="en">\n<head>{head}</head>\n<body>\n<h1>{name}</h1>\n{body}\n</body>\n</html>\n'
    )


def cell(value: object) -> str:
    """One value as text, harmless on a terminal."""
    if value is None or value in ([], {}, ""):
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list) and not any(isinstance(item, dict | list) for item in value):
        return ", ".join(clean(item) for item in value)
    if isinstance(value, dict):
        return ", ".join(f"{_words(name)}: {cell(inner)}" for name, inner in value.items())
    return number(value)


_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:1000px;margin:40px auto;padding:0 20px;color:#1d2421}"
    "h1{font-size:24px}h2{font-size:18px;margin-top:32px;border-bottom:1px solid #e1e4df}h3{font-size:15px}"
    "table{border-collapse:collapse;font-size:14px}th,td{text-align:left;padding:4px 14px 4px 0;"
    "border-bottom:1px solid #e1e4df;vertical-align:top;overflow-wrap:anywhere}"
    "dl{display:grid;grid-template-columns:max-content 1fr;gap:2px 18px}dt{font-weight:600}"
    "dd{margin:0;overflow-wrap:anywhere}"
)


def _grid(items: Sequence[Any]) -> Block:
    if not all(isinstance(item, dict) for item in items):
        return Facts(tuple((str(index), cell(item)) for index, item in enumerate(items, 1)))
    header = tuple(dict.fromkeys(name for item in items for name in item))
    rows = tuple(tuple(cell(item.get(name)) for name in header) for item in items)
    return Grid(tuple(_words(name) for name in header), rows)


def _html_blocks(blocks: Sequence[Block]) -> Iterator[str]:
    for block in blocks:
        if isinstance(block, Heading):
            level = min(block.level + 1, 6)
            yield f"<h{level}>{html.escape(block.text)}</h{level}>"
        elif isinstance(block, Grid):
            yield f"<table><thead>{_html_row('th', block.header)}</thead>"
            yield f"<tbody>{''.join(_html_row('td', row) for row in block.rows)}</tbody></table>"
        else:
            pairs = "".join(f"<dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd>" for name, value in block.pairs)
            yield f"<dl>{pairs}</dl>"


def _html_row(tag: str, cells: Sequence[str]) -> str:
    return f"<tr>{''.join(f'<{tag}>{html.escape(text)}</{tag}>' for text in cells)}</tr>"


def _markdown_row(cells: Sequence[str], *, raw: bool = False) -> str:
    return f"| {' | '.join(text if raw else _escape(text) for text in cells)} |"


def _escape(text: str) -> str:
    """Text that Markdown takes for nothing but text."""
    return "".join(f"\\{c}" if c in "\\`*_[]<>|#" else c for c in text)


def _words(name: str) -> str:
    return clean(name.replace("_", " "))
