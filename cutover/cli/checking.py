"""Commands that compare the two sides: verify, drift, explain, repair, quarantine."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from cutover.cli.client import LONG, AdminClient
from cutover.cli.exits import BLOCKED, DRIFT
from cutover.cli.options import AdminUrl, AsJson, ConfigFile, OneTable, SomeTables, Token, reach
from cutover.cli.outline import outline, to_terminal
from cutover.cli.show import clean, console, grid, moment, number, print_json, rows, rows_differ
from cutover.errors import CutoverError

_POLL = 0.2


def verify(
    table: SomeTables = None,
    as_json: AsJson = False,
    config: ConfigFile = None,
    admin_url: AdminUrl = None,
    token: Token = None,
) -> None:
    """Compare every row of both sides now. Exit code 4 if rows differ, 3 if some could not be compared.

    \b
    Example:
      cutover verify
      cutover verify --table posts --table users
    """
    client = reach(config, admin_url, token)
    started = client.post("/v1/verify", {"tables": table})
    result = _follow(client, started, quiet=as_json or not sys.stderr.isatty())
    if as_json:
        print_json(result)
    else:
        _show_verification(result)
    if result["state"] != "done":
        raise CutoverError(
            "The verification did not come to its end.", hint=f"{clean(result.get('error') or 'The log says why.')}"
        )
    if result["drift_rows"]:
        raise typer.Exit(DRIFT)
    if result.get("problems"):
        raise typer.Exit(BLOCKED)


def drift(
    table: OneTable = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000, help="List at most so many rows.")] = 100,
    as_json: AsJson = False,
    config: ConfigFile = None,
    admin_url: AdminUrl = None,
    token: Token = None,
) -> None:
    """The rows known to differ, with both versions. Exit code 4 if there are any.

    \b
    Example:
      cutover drift --table posts --limit 20
    """
    query = {"limit": str(limit)} | ({"table": table} if table else {})
    found = reach(config, admin_url, token).get("/v1/drift", query)
    if as_json:
        print_json(found)
    else:
        _show_drift(found["rows"])
        console().print(f"{rows_differ(found['drift_rows'])}.")
    if found["rows"]:
        raise typer.Exit(DRIFT)


def explain(
    table: Annotated[str, typer.Argument(metavar="TABLE", help="The table, by its SQLite name.")],
    key: Annotated[list[str], typer.Argument(metavar="KEY", help="The row's key: one value for each key column.")],
    as_json: AsJson = False,
    config: ConfigFile = None,
    admin_url: AdminUrl = None,
    token: Token = None,
) -> None:
    """One row on both sides: values, storage types, what is still on its way, and the verdict.

    \b
    Example:
      cutover explain posts 0192f3c4
      cutover explain memberships 17 42       (a key of two columns)
      cutover explain -- readings -5          (a key that begins with a dash)
      cutover explain notes '{"null": true}'  (NULL; docs/cli.md has the other forms)
    """
    found = reach(config, admin_url, token).get("/v1/explain", {"table": table, "key": key})
    if as_json:
        print_json(found)
    else:
        _show_row(found)


def repair(
    table: OneTable = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List what would be repaired; change nothing.")] = False,
    as_json: AsJson = False,
    config: ConfigFile = None,
    admin_url: AdminUrl = None,
    token: Token = None,
) -> None:
    """Make the shadow's drifted rows equal to the primary's. The primary is never changed. Exit code 4 if some remain.

    \b
    Example:
      cutover repair --dry-run
      cutover repair --table posts
    """
    client = reach(config, admin_url, token)
    result = client.post("/v1/repair", {"table": table, "dry_run": dry_run}, timeout=LONG)
    if as_json:
        print_json(result)
    else:
        _show_drift(result["rows"])
        done = f"{rows(result['repaired'])} repaired, {number(result['remaining'])} remain."
        would = f"{rows(result['remaining'])} would be repaired; nothing was changed."
        console().print(would if dry_run else done)
    if result["remaining"] and not dry_run:
        raise typer.Exit(DRIFT)


def quarantine(
    as_json: AsJson = False, config: ConfigFile = None, admin_url: AdminUrl = None, token: Token = None
) -> None:
    """The rows that the shadow cannot hold, and why. They leave by themselves once they fit.

    \b
    Example:
      cutover quarantine
    """
    found = reach(config, admin_url, token).get("/v1/quarantine")
    if as_json:
        print_json(found)
        return
    if found["rows"]:
        lines = [(row["table"], _key(row["key"]), moment(row["since"]), row["reason"]) for row in found["rows"]]
        console().print(grid(("table", "key", "since (UTC)", "reason"), lines))
    console().print(f"{rows(found['quarantined_rows'])} in quarantine.")


def _follow(client: AdminClient, started: dict[str, Any], *, quiet: bool) -> dict[str, Any]:
    """Wait for the verification that was started; its result."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("rows"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console(stderr=True), transient=True, disable=quiet) as bar:
        task = bar.add_task("verifying", total=None)
        while True:
            now = client.get("/v1/verify")
            if now["id"] != started["id"]:
                raise CutoverError("Another verification took the place of this one.", hint="Run it again.")
            bar.update(task, completed=now["rows"], total=now["total"] or None)
            if now["state"] != "running":
                return now
            time.sleep(_POLL)


def _show_verification(result: dict[str, Any]) -> None:
    if result["tables"]:
        to_terminal(outline({"tables": result["tables"]}))
    for problem in result.get("problems", ()):
        console().print(f"Not proved: {clean(problem)}")
    console().print(f"{rows(result['rows'])} compared: {rows_differ(result['drift_rows'])}.")


def _show_row(found: dict[str, Any]) -> None:
    """The verdict, then column by column."""
    from rich.text import Text

    out = console()
    key = ", ".join(f"{clean(name)} = {clean(value)}" for name, value in found["key"].items())
    out.print(Text(f"{clean(found['table'])} ({key})", style="bold"))
    out.print(clean(found["sentence"], 2000))
    if found["verdict"] == "absent":
        return  # no column of it is equal, nor differs
    sides = [f"{side}: {found[side]['store']}" for side in ("primary", "shadow")]
    lines = [
        (
            Text("=" if column["equal"] else "≠", style="" if column["equal"] else "bold red"),
            column["name"],
            _cell(column["primary"]),
            _cell(column["shadow"]),
        )
        for column in found["columns"]
    ]
    out.print(grid(("", "column", *sides), lines))


def _show_drift(drifted: Sequence[dict[str, Any]]) -> None:
    if not drifted:
        return
    header = ("table", "key", "kind", "columns", "on the primary", "on the shadow")
    lines = [
        (
            row["table"],
            _key(row["key"]),
            row["kind"],
            ", ".join(row.get("columns") or ()),
            _side(row, "primary"),
            _side(row, "shadow"),
        )
        for row in drifted
    ]
    console().print(grid(header, lines))


def _key(key: object) -> str:
    return ", ".join(clean(part) for part in key) if isinstance(key, list) else clean(key)


def _side(row: dict[str, Any], side: str) -> str:
    """The row on that side: only the differing columns, where it is known which those are."""
    values = row.get(side)
    if values is None:
        return "no row"
    if isinstance(values, dict):
        shown = {name: value for name, value in values.items() if name in row["columns"]} or values
        return ", ".join(f"{clean(name)} = {clean(value, 60)}" for name, value in shown.items())
    return clean(values)


def _cell(cell: dict[str, Any] | None) -> str:
    """A value with its storage type, where there is a row."""
    return "no row" if cell is None else f"{clean(cell['value'])} ({cell['type']})"
