"""The command line: which command lives where, and how every failure ends.

A command's module is imported when the command is used, so `cutover status` does not pay for what `cutover plan` needs.
"""

from __future__ import annotations

import difflib
import importlib
import sys
from typing import Annotated, cast

import typer
from typer.core import TyperCommand, TyperGroup

from cutover import __version__
from cutover.cli.exits import FAILED, exit_code
from cutover.errors import CutoverError

COMMANDS: dict[str, tuple[str, str]] = {
    "plan": ("cutover.cli.plan", "plan"),
    "serve": ("cutover.cli.service", "serve"),
    "status": ("cutover.cli.status", "status"),
    "verify": ("cutover.cli.checking", "verify"),
    "drift": ("cutover.cli.checking", "drift"),
    "explain": ("cutover.cli.checking", "explain"),
    "repair": ("cutover.cli.checking", "repair"),
    "quarantine": ("cutover.cli.checking", "quarantine"),
    "rehearse": ("cutover.cli.rehearsing", "rehearse"),
    "promote": ("cutover.cli.switching", "promote"),
    "demote": ("cutover.cli.switching", "demote"),
    "finish": ("cutover.cli.switching", "finish"),
    "backup": ("cutover.cli.service", "backup"),
    "backfill": ("cutover.cli.service", "backfill"),
    "mirror": ("cutover.cli.service", "mirror"),
    "report": ("cutover.cli.report", "report"),
    "audit": ("cutover.cli.audit", "audit"),
    "inspect": ("cutover.cli.inspecting", "inspect"),
    "demo": ("cutover.cli.demo", "demo"),
}
"""name → (module, function or typer app), in the order of a migration."""


class Commands(TyperGroup):
    """Finds commands by name, and imports only the one that is asked for."""

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]  # typer's own Context
        """Every command's name."""
        return [name for name in COMMANDS if self.get_command(ctx, name) is not None]

    def get_command(self, ctx: typer.Context, cmd_name: str) -> TyperCommand | TyperGroup | None:  # type: ignore[override]  # typer's own Context  # noqa: ARG002
        """The command, None for an unknown name."""
        if cmd_name not in COMMANDS:
            return None
        module, attribute = COMMANDS[cmd_name]
        try:
            found = getattr(importlib.import_module(module), attribute)
        except ModuleNotFoundError as error:
            if error.name != module:
                raise
            return None
        if not isinstance(found, typer.Typer):
            function, found = found, typer.Typer(add_completion=False, rich_markup_mode=None)
            found.command(cmd_name)(function)
        command = cast("TyperCommand | TyperGroup", typer.main.get_command(found))
        command.name = cmd_name
        return command

    def resolve_command(  # type: ignore[override]  # typer's own Context
        self, ctx: typer.Context, args: list[str]
    ) -> tuple[str | None, TyperCommand | TyperGroup | None, list[str]]:
        """As typer's, with the nearest name for an unknown one."""
        command = self.get_command(ctx, args[0])
        if command is None and not ctx.resilient_parsing:
            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            ctx.fail(
                f"There is no command {args[0]!r}. " + (f"Did you mean {near[0]!r}?" if near else "See cutover --help.")
            )
        return (args[0] if command else None), command, args[1:]


app = typer.Typer(
    name="cutover",
    cls=Commands,
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Moves a live application from SQLite to PostgreSQL with no lost write, proof of parity, and a way back.",
)


def _say_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"cutover {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """Moves a live application from SQLite to PostgreSQL with no lost write, proof of parity, and a way back.

    \b
    Begin with:
      cutover plan --sqlite app.db     what will be moved, and what stands in the way
      cutover serve                    copy, mirror, compare; the application goes on
      cutover status --watch           how far it is
    """


def main() -> None:
    """Entry point of the `cutover` script. Failures are one sentence on standard error and an exit code."""
    try:
        app(prog_name="cutover")
    except CutoverError as error:
        typer.echo(f"cutover: {error}", err=True)
        sys.exit(exit_code(error))
    except Exception as error:  # noqa: BLE001  # last line of defence
        typer.echo(f"cutover: unexpected {type(error).__name__}: {error} ({_place(error)})", err=True)
        sys.exit(FAILED)


def _place(error: Exception) -> str:
    """File and line where it was raised, which is what a defect report needs."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else "no place known"
