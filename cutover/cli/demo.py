"""`cutover demo`: the whole story on a scratch database, with the real service and writers on every door."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cutover.cli.exits import DONE, FAILED
from cutover.cli.options import AsJson
from cutover.cli.show import clean, console, grid, number, print_json, span
from cutover.clock import monotonic
from cutover.errors import ConfigurationError, CutoverError

if TYPE_CHECKING:
    from cutover.cli.demo_stage import Folder
    from cutover.cli.demo_story import Step, Story

_TITLE = "HumanOnly moves from SQLite to PostgreSQL, and back, with writers on every door."
_STRETCH_SECONDS = 3.0


@dataclass(frozen=True)
class _Wish:
    rows: int
    once: bool
    as_json: bool
    folder: Path | None
    postgres: str
    config: Path | None


def demo(
    rows: Annotated[
        int, typer.Option("--rows", min=100, metavar="N", help="About so many rows to begin with.")
    ] = 20_000,
    once: Annotated[
        bool, typer.Option("--once", help="Play the whole story unattended; exit code 0 if all is proved.")
    ] = False,
    folder: Annotated[
        Path | None,
        typer.Option("--dir", metavar="DIR", help="Keep the files in this new folder; else a scratch folder."),
    ] = None,
    postgres: Annotated[
        str,
        typer.Option(
            "--postgres", metavar="URL", help="Use this server, in a database of our own; else an embedded one."
        ),
    ] = "",
    as_json: AsJson = False,
    config: Annotated[
        Path | None,
        typer.Option("--config", metavar="FILE", help="Take [mirror], [compare] and [promotion] from FILE."),
    ] = None,
) -> None:
    """Move a scratch application from SQLite to Postgres and back, under load, and prove that no write was lost.

    Without --once it copies and mirrors, then waits for you to promote and demote from another terminal.

    \b
    Example:
      cutover demo
      cutover demo --once
      cutover demo --once --rows 200000 --json
    """
    if as_json and not once:
        raise ConfigurationError("--json needs --once: the other form is a view for people.")
    wish = _Wish(rows, once, as_json, folder, postgres, config)
    raise typer.Exit(asyncio.run(_Demo(wish).run()))


class _Demo:
    """One run. The first Ctrl-C while the operator looks on ends the show in order; any other stops everything."""

    def __init__(self, wish: _Wish) -> None:
        self._wish = wish
        self._out = console()
        self._began = monotonic()
        self._steps: list[Step] = []
        self._ended = asyncio.Event()
        self._watching = False
        self._stopping = False

    async def run(self) -> int:
        """The exit code. Whatever happens, no process is left."""
        from cutover.logs import configure_logs

        configure_logs("console", "error")
        work = asyncio.ensure_future(self._play())
        loop = asyncio.get_running_loop()
        for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(name, self._interrupt, work)
        try:
            problems = await work
        except asyncio.CancelledError:
            raise CutoverError("Interrupted. Everything that was started has been stopped.") from None
        except CutoverError as error:
            if self._wish.as_json:
                self._print_json([str(error)], [])
            raise
        return FAILED if problems else DONE

    def _interrupt(self, work: asyncio.Future[list[str]]) -> None:
        if self._watching:
            self._watching = False
            self._ended.set()
        elif not self._stopping:
            self._stopping = True
            work.cancel()

    async def _play(self) -> list[str]:
        from cutover.cli.demo_stage import folder

        wish = self._wish
        async with folder(wish.folder, keep=not wish.once) as where:
            try:
                async with self._postgres(where) as url:
                    problems = await self._on_stage(where, url)
            except ConfigurationError:
                raise
            except Exception as error:
                where.keep = True
                raise CutoverError(
                    f"{error or type(error).__name__}", hint=f"The files are in {where.path}."
                ) from error
            where.keep = where.keep or bool(problems)
            if where.keep and not wish.as_json:
                self._out.print(f"The files are in {where.path}.")
        return problems

    @asynccontextmanager
    async def _postgres(self, where: Folder) -> AsyncIterator[str]:
        from cutover.cli.demo_stage import borrowed, create_tables, embedded

        began = monotonic()
        given = self._wish.postgres
        async with borrowed(given, where) if given else embedded(where) as url:
            await create_tables(url)
            server = "a database of our own on the given server" if given else "embedded server"
            seconds = monotonic() - began
            self._say("postgres", f"{server}, with the application's own tables, in {span(seconds)}", seconds=seconds)
            yield url

    async def _on_stage(self, where: Folder, url: str) -> list[str]:
        """The service and the writers, and what they play."""
        from cutover.cli.demo_crew import Crew
        from cutover.cli.demo_stage import Service, to_its_end, write_configuration
        from cutover.cli.demo_story import Story

        await self._database(where)
        front, admin = write_configuration(where, url if self._wish.postgres else "", self._wish.config)
        service = Service(where, front, admin)
        crew = Crew(where.database, front, url)
        story = Story(where, service, crew, url, self._tell, seeded=self._wish.rows)
        try:
            try:
                async with asyncio.TaskGroup() as writers:
                    await story.copy(writers)
                    await (self._unattended(story) if self._wish.once else self._attended(story, where))
                    crew.stop.set()
            except ExceptionGroup as group:
                raise group.exceptions[0] from None
            problems = await story.proof()
        finally:
            await to_its_end(service.stop())
        self._conclude(story, problems)
        return problems

    async def _database(self, where: Folder) -> None:
        from cutover.cli.demo_data import generate
        from cutover.cli.demo_stage import to_its_end
        from cutover.cli.demo_story import SEED

        began = monotonic()
        counts = await to_its_end(asyncio.to_thread(generate, where.database, self._wish.rows, SEED))
        seconds = monotonic() - began
        listed = ", ".join(f"{number(count)} {table}" for table, count in counts.items())
        self._say("database", f"SQLite file with {listed}, in {span(seconds)}", rows=counts, seconds=seconds)

    async def _unattended(self, story: Story) -> None:
        from cutover.cli.demo_crew import DIRECT, NATIVE

        await story.shadow(_STRETCH_SECONDS)
        await story.verify()
        await story.switch("promote", DIRECT)
        await story.shadow(_STRETCH_SECONDS, "on Postgres")
        await story.verify()
        await story.switch("demote", NATIVE)
        await story.shadow(_STRETCH_SECONDS, "back on SQLite")

    async def _attended(self, story: Story, where: Folder) -> None:
        from cutover.cli.demo_live import next_commands, watch

        await story.verify()
        self._out.print(next_commands(where, story.service))
        self._watching = True
        await watch(self._out, story.service, story.crew, self._ended)

    def _say(self, name: str, says: str, **figures: object) -> None:
        from cutover.cli.demo_story import Step

        self._tell(Step(name, says, figures))

    def _tell(self, step: Step) -> None:
        if not self._steps and not self._wish.as_json:
            self._out.print(_TITLE + "\n")
        self._steps.append(step)
        if self._wish.as_json:
            return
        from rich.padding import Padding
        from rich.text import Text

        failed = bool(step.figures.get("problems"))
        mark = ("✗ ", "bold red") if failed else ("✓ ", "green")
        self._out.print(Text.assemble(mark, (f"{step.name:<9} ", "bold"), clean(step.says, 4000)))
        for note in step.notes:
            self._out.print(Padding(Text(note, style="yellow"), (0, 0, 0, 12), expand=False))

    def _conclude(self, story: Story, problems: list[str]) -> None:
        if self._wish.as_json:
            self._print_json(problems, [part.figures() for part in story.stretches])
            return
        lines = [
            (
                part.name,
                *(number(part.total(kind)) for kind in ("acknowledged", "refused", "unknown")),
                *((span(part.quantile(q)) for q in (0.5, 0.99, 1.0)) if part.latencies else ("", "", "")),
            )
            for part in story.stretches
        ]
        header = ("part", "acknowledged", "refused", "unknown", "p50", "p99", "slowest")
        self._out.print(grid(header, lines, numbers=range(1, 7)))
        self._out.print("Times are of writes through the front door; refused are those of the fenced applications.")
        self._out.print(f"{'FAILED' if problems else 'Done'} after {span(monotonic() - self._began)}.")

    def _print_json(self, problems: list[str], parts: list[dict[str, Any]]) -> None:
        print_json(
            {
                "ok": not problems,
                "problems": problems,
                "seconds": monotonic() - self._began,
                "steps": [asdict(step) for step in self._steps],
                "parts": parts,
            }
        )
