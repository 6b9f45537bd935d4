"""`cutover promote`, `demote` and `finish`: the gates first, then a question, then the switch."""

from __future__ import annotations

import sys
from typing import Annotated, Any, NoReturn

import typer

from cutover.cli.client import LONG, AdminClient
from cutover.cli.exits import BLOCKED, USAGE, Refused
from cutover.cli.options import AdminUrl, AsJson, ConfigFile, Token, reach
from cutover.cli.show import clean, console, gate_lines, print_json, span

Approval = Annotated[
    str, typer.Option("--approval", metavar="REF", help="Reference of the approved change. Goes into the audit log.")
]
Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why, for the audit log.")]
Override = Annotated[
    list[str] | None,
    typer.Option("--override", metavar="GATE", help="Go on though this gate is not passed (admin only); repeatable."),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Show gates and steps; change nothing. Exit code 3 if blocked.")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask. Needed where there is no terminal.")]
Force = Annotated[bool, typer.Option("--force", help="When Postgres is lost for good (admin only).")]
AcceptDataLoss = Annotated[
    bool, typer.Option("--accept-data-loss", help="With --force: what only Postgres has may be lost.")
]

_ASKS = {
    "promote": "The shadow becomes the primary. Writes pause for the switch.",
    "demote": "The primary goes back to SQLite. Writes pause for the switch.",
    "finish": "This ends the migration: there is no way back by `cutover demote` afterwards.",
}
_THERE = {"promote": ("promoted",), "demote": ("idle", "backfilling", "shadowing"), "finish": ("finished",)}
_FORCED = "Postgres is given up. Writes that only it has are lost, and it is not fenced while it is away."


def promote(
    approval: Approval = "",
    reason: Reason = "",
    override: Override = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: AsJson = False,
    config: ConfigFile = None,
    admin_url: AdminUrl = None,
    token: Token = None,
) -> None:
    """Make Postgres the primary. Shows the gates, asks, and answers when it is done or taken back.

    \b
    Example:
      cutover promote --dry-run
      cutover promote --approval CHANGE-123 --reason "planned move"
      cutover promote --approval CHANGE-123 --yes     (from a script)
    """
    body = {"approval": approval, "reason": reason, "override": override, "dry_run": dry_run}
    _switch("promote", body, yes=yes, as_json=as_json, client=reach(config, admin_url, token))


def demote(
    approval: Approval = "",
    reason: Reason = "",
    override: Override = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    force: Force = False,
    accept_data_loss: AcceptDataLoss = False,
    as_json: AsJson = False,
    config: ConfigFile = None,
    admin_url: AdminUrl = None,
    token: Token = None,
) -> None:
    """Make SQLite the primary again: the way back, which loses nothing.

    \b
    Example:
      cutover demote --approval CHANGE-124 --reason "latency on Postgres"
      cutover demote --approval CHANGE-125 --force --accept-data-loss     (Postgres is lost)
    """
    if force != accept_data_loss:
        _usage("--force and --accept-data-loss go together: a forced demotion may lose acknowledged writes.")
    body = {"approval": approval, "reason": reason, "override": override, "dry_run": dry_run}
    body |= {"force": force, "accept_data_loss": accept_data_loss}
    _switch("demote", body, yes=yes, as_json=as_json, client=reach(config, admin_url, token))


def finish(
    approval: Approval = "",
    reason: Reason = "",
    override: Override = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: AsJson = False,
    config: ConfigFile = None,
    admin_url: AdminUrl = None,
    token: Token = None,
) -> None:
    """End the migration: cutover's triggers and logs leave Postgres; SQLite stays fenced and backed up.

    \b
    Example:
      cutover finish --approval CHANGE-130
    """
    body = {"approval": approval, "reason": reason, "override": override, "dry_run": dry_run}
    _switch("finish", body, yes=yes, as_json=as_json, client=reach(config, admin_url, token))


def _switch(verb: str, body: dict[str, Any], *, yes: bool, as_json: bool, client: AdminClient) -> None:
    dry_run = body["dry_run"]
    if not dry_run and not str(body["approval"]).strip():
        _usage(f"{verb} needs --approval REF, the reference of the approved change.")
    if not dry_run and not yes and not (sys.stdin.isatty() and sys.stderr.isatty()):
        _usage(f"There is no terminal to ask on. Add --yes to {verb} without a question.")
    path = f"/v1/{verb}"
    if dry_run or not yes:
        plan = client.post(path, {**body, "dry_run": True}, timeout=LONG)
        _show_plan(verb, plan, as_json=as_json, last=dry_run)
        if _already(verb, plan):
            return
        if not plan["would_proceed"]:
            raise typer.Exit(BLOCKED)
        if dry_run:
            return
        _ask(verb, forced=bool(body.get("force")))
    try:
        result = client.post(path, body, timeout=LONG)
    except Refused as refused:
        _show_refusal(refused, as_json=as_json)
        raise
    _show_result(result, as_json=as_json)


def _show_plan(verb: str, plan: dict[str, Any], *, as_json: bool, last: bool) -> None:
    """What a dry run found: on standard output when that is all that was asked, else beside it."""
    if last and as_json:
        print_json(plan)
        return
    out = console(stderr=as_json or not last)
    if _already(verb, plan):
        out.print(f"There is nothing to do: the phase is {plan['phase']}, the primary {plan['primary']}.")
        return
    out.print(gate_lines(plan["gates"]))
    if last:
        for index, step in enumerate(plan.get("steps", ()), 1):
            out.print(f"{index}. {clean(step['name'])}: {clean(step['does'], 2000)}")
    if plan["would_proceed"]:
        out.print(f"{verb} would go on." if last else f"Ready to {verb}.")
    elif all(gate["ok"] for gate in plan["gates"]):
        out.print(f"{verb} cannot be done now: the phase is {plan['phase']}.")
    else:
        out.print(f"{verb} is blocked by the gates marked ✗. See to them, or let an admin --override each by name.")
    out.print("Nothing was changed." if last else "")


def _already(verb: str, plan: dict[str, Any]) -> bool:
    """Whether a dry run found the service where this verb would bring it."""
    return not plan["would_proceed"] and plan["phase"] in _THERE[verb]


def _ask(verb: str, *, forced: bool) -> None:
    """Only the verb itself, typed, is a yes."""
    typer.echo(_FORCED if forced else _ASKS[verb], err=True)
    typer.echo(f"Type {verb} to go on: ", err=True, nl=False)
    if sys.stdin.readline().strip() != verb:
        typer.echo("Nothing was changed.", err=True)
        raise typer.Exit(1)


def _show_refusal(refused: Refused, *, as_json: bool) -> None:
    if as_json:
        print_json(refused.body)
    elif isinstance(gates := refused.body.get("gates"), list):
        console(stderr=True).print(gate_lines(gates))


def _show_result(result: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(result)
        return
    said = [_words(result["result"]), f"primary {result['primary']}, epoch {result['epoch']}"]
    done = not str(result["result"]).startswith("already_")
    if done and result.get("pause_seconds") is not None:
        said.append(f"writes were held for {span(result['pause_seconds'])}")
    typer.echo(f"{'; '.join(said)}.")
    for note in result.get("warnings", ()):
        if note:
            typer.echo(f"Note: {clean(note, 2000)}", err=True)


def _words(result: object) -> str:
    return clean(str(result).replace("_", " ")).capitalize()


def _usage(message: str) -> NoReturn:
    typer.echo(f"cutover: {message}", err=True)
    raise typer.Exit(USAGE)
