"""The demonstration while it waits for its operator: how things are, and what can be typed next."""

from __future__ import annotations

import asyncio
import shutil
import sys
from pathlib import Path
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from cutover.cli.demo_crew import DIRECT, FRONT, NATIVE, Crew
from cutover.cli.demo_stage import Folder, Service
from cutover.cli.exits import Refused, Unreachable
from cutover.cli.show import clean, grid, number, span
from cutover.cli.status import headline
from cutover.clock import monotonic

_QUIET_EVERY = 10.0


def commands() -> list[tuple[str, str]]:
    """What to type in the demo's folder, where the configuration is found by itself, and what it does."""
    return [
        (f"{_program()} {typed}", does)
        for typed, does in (
            ("status --watch", "phase, lag, drift, gates"),
            ("verify", "compare every row now"),
            ("promote --approval DEMO-1", "make Postgres the primary"),
            ("demote --approval DEMO-2", "and the way back"),
            ("audit show", "who did what"),
        )
    ]


def _program() -> str:
    """How this program is called from any folder."""
    if shutil.which("cutover"):
        return "cutover"
    beside = Path(sys.executable).with_name("cutover")
    return str(beside) if beside.exists() else f"{sys.executable} -m cutover"


def next_commands(where: Folder, service: Service) -> Text:
    """The console's address and the commands, a line each."""
    lines = Text.assemble(
        ("\nConsole     ", "bold"), f"{service.admin}/\n", ("Front door  ", "bold"), f"{service.front}\n"
    )
    lines.append("\nIn another terminal:\n", "bold").append(f"  cd {where.path}\n")
    typed = commands()
    width = max(len(command) for command, _ in typed)
    for command, does in typed:
        lines.append(f"  {command:<{width}}  ").append(f"{does}\n", "dim")
    return lines


async def watch(out: Console, service: Service, crew: Crew, ended: asyncio.Event) -> None:
    """Show how things are once a second, and tell the writers where the primary is, until `ended`."""
    view = _View(crew)
    if not out.is_terminal:
        out.print("Ctrl-C ends it and proves what became of every write.")
        await _quietly(out, service, view, ended)
        return
    with Live(console=out, auto_refresh=False, transient=True) as live:
        while not ended.is_set():
            live.update(await view.look(service), refresh=True)
            await _pause(ended, 1.0)


async def _quietly(out: Console, service: Service, view: _View, ended: asyncio.Event) -> None:
    told = 0.0
    while not ended.is_set():
        await view.look(service)
        if monotonic() - told > _QUIET_EVERY:
            out.print(view.line)
            sys.stdout.flush()
            told = monotonic()
        await _pause(ended, 1.0)


async def _pause(ended: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(ended.wait(), seconds)
    except TimeoutError:
        return


class _View:
    """What is shown, from the service's status and the writers' own counts."""

    def __init__(self, crew: Crew) -> None:
        self.line = ""
        self._crew = crew
        self._rates: dict[str, float] = dict.fromkeys(crew.ledgers, 0.0)
        self._counts = {name: crew.acknowledged(name) for name in crew.ledgers}
        self._at = monotonic()

    async def look(self, service: Service) -> RenderableType:
        """Ask the service, move the writers on, and draw."""
        try:
            status = await service.status()
        except (Unreachable, Refused) as error:
            return Text(f"{error} Trying again.", style="red")
        if status["phase"] not in ("promoting", "demoting"):
            self._crew.follow(status["primary"])
        self._measure()
        self.line = headline(status)
        return Group(Text(self.line, style="bold"), self._writers(), *self._refusals(), *self._gates(status), _END)

    def _measure(self) -> None:
        now = monotonic()
        for name in self._rates:
            count = self._crew.acknowledged(name)
            self._rates[name] = (count - self._counts[name]) / max(now - self._at, 0.001)
            self._counts[name] = count
        self._at = now

    def _writers(self) -> RenderableType:
        seen = {DIRECT: self._crew.taken[DIRECT], FRONT: self._crew.front.stats, NATIVE: self._crew.taken[NATIVE]}
        lines = []
        for name, ledger in self._crew.ledgers.items():
            counts, stats = ledger.outcomes, seen[name]
            took = [span(stats.quantile(share)) for share in (0.5, 0.99)] if stats.latencies else ["", ""]
            outcomes = [number(counts[kind]) for kind in ("acknowledged", "refused", "unknown")]
            lines.append((name, *outcomes, f"{self._rates[name]:.0f}", *took))
        header = ("writer", "acknowledged", "refused", "unknown", "per second", "p50", "p99")
        return grid(header, lines, numbers=range(1, 7))

    def _refusals(self) -> list[RenderableType]:
        told = self._crew.refusals.items()
        return [Text(f"The application {name} was refused: {clean(message)}", style="yellow") for name, message in told]

    def _gates(self, status: dict[str, Any]) -> list[RenderableType]:
        closed = [gate for gate in status["gates"] if not gate["ok"]]
        verb = "demote" if status["primary"] == "postgres" else "promote"
        if not closed:
            return [Text(f"All {len(status['gates'])} gates are passed: `cutover {verb}` would go on.", style="green")]
        return [Text(f"Gate {gate['name']} is not passed: {clean(gate['detail'])}", style="red") for gate in closed]


_END = Text("\nCtrl-C ends it and proves what became of every write.", style="dim")
