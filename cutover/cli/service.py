"""Commands that run the service, and the small ones that steer it: serve, backup, backfill, mirror."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cutover.cli.client import LONG
from cutover.cli.options import AdminUrl, AsJson, ConfigFile, SomeTables, Token, reach, settings_of
from cutover.cli.show import clean, number, print_json, span


def serve(
    as_json: Annotated[bool, typer.Option("--json", help="Log as JSON lines, also on a terminal.")] = False,
    config: ConfigFile = None,
) -> None:
    """Run the service: capture, mirror, compare, and both doors. SIGTERM drains and stops in order.

    \b
    Example:
      cutover serve --config cutover.toml
    """
    from cutover.serve import run

    settings = settings_of(config)
    if as_json:
        logged = settings.service.model_copy(update={"log_format": "json"})
        settings = settings.model_copy(update={"service": logged})
    raise typer.Exit(run(settings))


def backup(
    file: Annotated[
        Path | None,
        typer.Argument(metavar="FILE", help="Where to, on the service's machine; in service.state_dir if not given."),
    ] = None,
    as_json: AsJson = False,
    config: ConfigFile = None,
    admin_url: AdminUrl = None,
    token: Token = None,
) -> None:
    """Take a consistent copy of the SQLite file, check it, and print its SHA-256 and how to put it back.

    \b
    Example:
      cutover backup /backup/app-before-CHANGE-123.db
    """
    client = reach(config, admin_url, token)
    path = str(file.absolute()) if file is not None else None
    done = client.post("/v1/backup", {"path": path}, timeout=LONG)
    if as_json:
        print_json(done)
        return
    typer.echo(f"{clean(done['path'])}: {number(done['bytes'])} bytes, checked.")
    typer.echo(f"SHA-256: {clean(done['sha256'])}")
    typer.echo(f"To put it back: {clean(done['restore'], 2000)}")


def backfill(
    table: SomeTables = None,
    new_target: Annotated[
        bool,
        typer.Option("--new-target", help="The paired Postgres is lost for good: pair with the empty one given now"),
    ] = False,
    as_json: AsJson = False,
    config: ConfigFile = None,
    admin_url: AdminUrl = None,
    token: Token = None,
) -> None:
    """Copy tables to the shadow again, from the first row. Writes go on meanwhile; `status` shows how far it is.

    \b
    Example:
      cutover backfill --table posts
    """
    client = reach(config, admin_url, token)
    begun = client.post("/v1/backfill", {"tables": table, "new_target": new_target or None}, timeout=LONG)
    if as_json:
        print_json(begun)
    else:
        typer.echo(f"Copying again: {', '.join(clean(name) for name in begun['tables'])}.")


mirror = typer.Typer(
    help="Pause or resume the mirror. While paused, changes are kept in the log and nothing is lost.\n\n"
    "\b\nExample:\n  cutover mirror pause\n  cutover mirror resume",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
)


@mirror.command()
def pause(as_json: AsJson = False, config: ConfigFile = None, admin_url: AdminUrl = None, token: Token = None) -> None:
    """Stop applying changes to the shadow, until `resume`.

    \b
    Example:
      cutover mirror pause
    """
    _steer("pause", as_json, config, admin_url, token)


@mirror.command()
def resume(as_json: AsJson = False, config: ConfigFile = None, admin_url: AdminUrl = None, token: Token = None) -> None:
    """Go on applying changes to the shadow.

    \b
    Example:
      cutover mirror resume
    """
    _steer("resume", as_json, config, admin_url, token)


def _steer(action: str, as_json: bool, config: Path | None, admin_url: str | None, token: str | None) -> None:
    now = reach(config, admin_url, token).post(f"/v1/mirror/{action}")
    if as_json:
        print_json(now)
    else:
        lag = f"lag {span(now['lag_seconds'])}, {number(now['lag_changes'])} changes"
        typer.echo(f"The mirror is {now['state']}: {lag}.")
