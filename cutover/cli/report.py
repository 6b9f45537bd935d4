"""`cutover report`: the evidence for a change ticket."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from cutover.cli.options import AdminUrl, AsJson, ConfigFile, Token, reach
from cutover.cli.outline import outline, to_html, to_markdown
from cutover.cli.show import print_json
from cutover.errors import ConfigurationError

_TITLE = "cutover: evidence"


def report(
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE", help="Write FILE (.html or .md) and, beside it, the .json."),
    ] = None,
    as_json: AsJson = False,
    config: ConfigFile = None,
    admin_url: AdminUrl = None,
    token: Token = None,
) -> None:
    """Evidence for a change ticket: gates, verifications, fingerprints, switches, overrides, audit head.

    Without --out the page goes to standard output as Markdown.

    \b
    Example:
      cutover report --out CHANGE-123.html     (writes CHANGE-123.json as well)
      cutover report --json > evidence.json
    """
    evidence = reach(config, admin_url, token).get("/v1/report")
    written = _write(out, evidence) if out is not None else []
    if as_json:
        print_json(evidence)
    elif written:
        typer.echo("\n".join(f"wrote {path}" for path in written))
    else:
        sys.stdout.write(to_markdown(_TITLE, outline(evidence)))


def _write(out: Path, evidence: dict[str, Any]) -> list[Path]:
    """The page and the JSON, whichever of the two was named."""
    page = out.with_suffix(".html") if out.suffix in (".json", "") else out
    data = out.with_suffix(".json")
    if page.suffix not in (".html", ".htm", ".md"):
        raise ConfigurationError(f"{out}: a report is .html, .md or .json.", hint="Name it so.")
    for path in (page, data):
        if path.exists():
            raise ConfigurationError(f"{path} exists already.", hint="Name a new file; a report never overwrites one.")
    blocks = outline(evidence)
    text = to_html(_TITLE, blocks) if page.suffix in (".html", ".htm") else to_markdown(_TITLE, blocks)
    try:
        page.write_text(text, encoding="utf-8")
        data.write_text(json.dumps(evidence, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"{error.filename} cannot be written: {error.strerror}.") from None
    return [page, data]
