"""`cutover status`: how far the migration is."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cutover.cli.client import AdminClient
from cutover.cli.exits import Unreachable
from cutover.cli.options import AdminUrl, AsJson, ConfigFile, Token, reach
from cutover.cli.show import clean, console, gate_lines, grid, moment, number, print_json, rows_differ, span

if TYPE_CHECKING:
    from rich.console import RenderableType

_EVERY = 1.0


def status(
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Again every second, until Ctrl-C.")] = False,
    as_json: AsJson = False,
    config: ConfigFile = None,
    admin_url: AdminUrl = None,
    token: Token = None,
) -> None:
    """Phase, primary, epoch, lag, rows and drift of each table, and the gates.

    \b
    Example:
      cutover status --watch
      cutover status --json | jq .mirror.lag_seconds
    """
    client = reach(config, admin_url, token)
    now = client.get("/v1/status")
    if not watch:
        print_json(now) if as_json else console().print(page(now))
        return
    try:
        with noticing_ctrl_c() as over:
            if as_json or not sys.stdout.isatty():
                _watch_lines(client, now, over, as_json=as_json)
            else:
                _watch_screen(client, now, over)
    except KeyboardInterrupt:
        return


@contextmanager
def noticing_ctrl_c() -> Iterator[Callable[[], bool]]:
    """Whether Ctrl-C was pressed.

    It raises `KeyboardInterrupt` as ever, but an exception that comes while a finaliser runs is lost, and whoever
    watches would go on.
    """
    if threading.current_thread() is not threading.main_thread():  # which alone is told of it
        yield lambda: False
        return
    pressed = False

    def note(_number: int, _frame: FrameType | None) -> None:
        nonlocal pressed
        pressed = True
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, note)
    try:
        yield lambda: pressed
    finally:
        signal.signal(signal.SIGINT, before)


def page(status: dict[str, Any]) -> RenderableType:
    """The whole status for a terminal."""
    from rich.console import Group
    from rich.text import Text

    tables = grid(
        ("table", "on the other side", "rows", "copied", "missing", "extra", "different", "quarantined"),
        [_table_row(table) for table in status["tables"]],
        numbers=(2, 4, 5, 6, 7),
    )
    parts: list[RenderableType] = [*_headlines(status), tables]
    if status["gates"]:
        closed = sum(not gate["ok"] for gate in status["gates"])
        verb = "demotion" if status["phase"] in ("promoted", "demoting") else "promotion"
        state = f"{closed} not passed" if closed else "all passed"
        parts += [Text(f"gates of the {verb}: {state}", style="bold"), gate_lines(status["gates"])]
    return Group(*parts)


def _replayed(rehearsal: dict[str, Any]) -> str:
    """How replayed reads and writes came out; nothing of those of which none was replayed."""
    told = ""
    for name, what in (("shadow_reads", "shadow reads"), ("shadow_writes", "shadow writes")):
        counts = rehearsal.get(name, {})
        if any(counts.values()):
            found = ", ".join(f"{number(count)} {outcome}" for outcome, count in counts.items())
            told += f"; {what}: {found}"
    return told


def headline(status: dict[str, Any]) -> str:
    """The status in one line."""
    mirror, compare = status["mirror"], status["compare"]
    return (
        f"{status['phase']}: primary {status['primary']}, epoch {status['epoch']}; mirror {mirror['state']}, "
        f"lag {span(mirror['lag_seconds'])} ({number(mirror['lag_changes'])} changes); "
        f"{rows_differ(compare['drift_rows'])}"
    )


def _headlines(status: dict[str, Any]) -> list[Any]:
    from rich.text import Text

    mirror, compare, rehearsal = status["mirror"], status["compare"], status["rehearsal"]
    full = compare["last_full"]
    told = "never verified in full"
    if full:
        when = f"last full verification {moment(full['finished_at'])} UTC"
        told = f"{when}: {number(full['rows'])} rows, {rows_differ(full['drift_rows'])}"
    error = f"; {clean(mirror['last_error'])}" if mirror["last_error"] else ""
    facts = (
        (
            "phase",
            f"{status['phase']}: primary {status['primary']}, shadow {status['shadow']}, epoch {status['epoch']} "
            f"({status['role']}, version {status['version']}, up {span(status['uptime_seconds'])})",
        ),
        (
            "mirror",
            f"{mirror['state']}, lag {span(mirror['lag_seconds'])} ({number(mirror['lag_changes'])} changes), "
            f"{number(mirror['applied_rows'])} rows applied, {number(mirror['quarantined_rows'])} quarantined{error}",
        ),
        *_copying(status.get("backfill")),
        ("drift", f"{rows_differ(compare['drift_rows'])}; {told}"),
        (
            "statements",
            f"{number(rehearsal['statements'])} seen, {number(rehearsal['ready'])} ready, "
            f"{number(rehearsal['failing'])} failing{_replayed(rehearsal)}",
        ),
    )
    lines = [Text.assemble((f"{name:<11}", "bold"), value) for name, value in facts]
    if problem := status.get("problem") or status.get("attach_error"):
        lines.append(Text.assemble((f"{'problem':<11}", "bold red"), clean(problem, 2000)))
    return lines


def _copying(backfill: dict[str, Any] | None) -> tuple[tuple[str, str], ...]:
    """A line while something is copied; none after that, or from a service that does not tell."""
    if backfill is None or backfill["tables_done"] == backfill["tables"]:
        return ()
    left = backfill["remaining_seconds"]
    remaining = f", {span(left)} remaining" if left else ""
    return (
        (
            "copy",
            f"{number(backfill['rows'])} of {number(backfill['total'])} rows, {backfill['tables_done']} of "
            f"{backfill['tables']} tables done, {number(round(backfill['rows_per_second']))} rows a second{remaining}",
        ),
    )


def _table_row(table: dict[str, Any]) -> tuple[str, ...]:
    copied, drift = table["backfill"], table["drift"]
    done = copied["state"] == "done"
    progress = "done" if done else f"{copied['state']} {number(copied['rows'])} of {number(copied['total'])}"
    different = drift["different"] + drift.get("type_changed", 0)
    figures = (drift["missing"], drift["extra"], different, table["quarantined"])
    return (table["name"], table["target"], number(table["rows"]), progress, *map(number, figures))


def _watch_lines(client: AdminClient, now: dict[str, Any], over: Callable[[], bool], *, as_json: bool) -> None:
    while not over():
        if as_json:
            print_json(now, compact=True)
        else:
            print(headline(now), flush=True)
        time.sleep(_EVERY)
        now = client.get("/v1/status")


def _watch_screen(client: AdminClient, now: dict[str, Any], over: Callable[[], bool]) -> None:
    from rich.console import Group
    from rich.live import Live
    from rich.text import Text

    with Live(page(now), console=console(), auto_refresh=False, screen=True) as live:
        shown = page(now)
        while not over():
            time.sleep(_EVERY)
            try:
                shown = page(client.get("/v1/status"))
                live.update(shown, refresh=True)
            except Unreachable as error:  # a restart of the service is part of what is watched
                live.update(Group(Text(f"{error} Trying again.", style="bold red"), shown), refresh=True)
