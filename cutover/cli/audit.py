"""`cutover audit`: the audit log, read and checked without the service."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from cutover.cli.exits import FAILED
from cutover.cli.options import AsJson, ConfigFile, settings_of
from cutover.cli.outline import cell
from cutover.cli.show import clean, console, grid, moment, print_json
from cutover.errors import ConfigurationError
from cutover.logs import counted

audit = typer.Typer(
    help="The audit log: every operator action, chained by SHA-256. Works without the service.\n\n"
    "\b\nExample:\n  cutover audit verify\n  cutover audit show --limit 50",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
)

AuditFile = Annotated[
    Path | None, typer.Argument(metavar="FILE", help="The log; audit.jsonl in service.state_dir if not given.")
]


@audit.command()
def verify(file: AuditFile = None, as_json: AsJson = False, config: ConfigFile = None) -> None:
    """Check the hash chain. Exit code 0 when it is whole, 1 when it is broken.

    Without FILE, the records that both stores remember must be in it, too: a chain alone does not show a cut tail.

    \b
    Example:
      cutover audit verify
      cutover audit verify /backup/audit.jsonl
    """
    from cutover.cli.inspecting import check_audit, look

    path = _find(file, config)
    stores = {} if file is not None else look(settings_of(config))
    asked = [name for name, found in stores.items() if found.control is not None]
    check = check_audit(path, stores)
    if as_json:
        print_json({"file": str(path), **dataclasses.asdict(check), "anchors": asked})
    elif check.ok:
        verb = "remembers" if len(asked) == 1 else "remember"
        held = f" What {' and '.join(asked)} {verb} of it is in it." if asked else ""
        typer.echo(f"{path}: whole, {counted(check.records, 'record')}.{held}")
        for name, found in stores.items():
            if found.problem:
                typer.echo(f"Not asked: {name}, {clean(found.problem)}", err=True)
        typer.echo(f"The last is number {check.head_sequence}, with hash {check.head_hash}.")
    else:
        typer.echo(f"{path}: broken after {counted(check.records, 'good record')}: {check.problem}.", err=True)
    if not check.ok:
        raise typer.Exit(FAILED)


@audit.command()
def show(
    file: AuditFile = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="The last so many records.")] = 20,
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """List the last records, newest last.

    \b
    Example:
      cutover audit show --limit 50
    """
    from cutover.audit import read_records

    records = read_records(_find(file, config), limit)
    if as_json:
        print_json({"records": records})
        return
    rows = [
        (
            record.get("sequence"),
            moment(record.get("createdAt")),
            record.get("actorId"),
            record.get("action"),
            cell(record.get("metadata")),
        )
        for record in records
    ]
    console().print(grid(("no.", "when (UTC)", "who", "what", "details"), rows, numbers=(0,)))


def _find(file: Path | None, config: Path | None) -> Path:
    path = file if file is not None else settings_of(config).state_dir / "audit.jsonl"
    if not path.is_file():
        raise ConfigurationError(
            f"There is no audit log at {path}.", hint="Name the file, or the configuration with --config."
        )
    try:
        path.open("rb").close()
    except OSError as error:
        raise ConfigurationError(f"The audit log {path} cannot be read: {error.strerror}.") from None
    return path
