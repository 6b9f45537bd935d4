"""The story, step by step: the application alone, copy, shadow, promotion, Postgres, demotion, proof.

Each step tells one sentence and its figures. A step that goes wrong ends the story with `CutoverError`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from cutover.audit import verify_chain
from cutover.cli.demo_crew import DIRECT, FRONT, NATIVE, Crew, Stretch
from cutover.cli.demo_data import rows_of
from cutover.cli.demo_ledger import postgres_rows, sqlite_rows
from cutover.cli.demo_stage import Folder, Service
from cutover.cli.demo_verdict import Evidence, judge
from cutover.cli.exits import Refused
from cutover.cli.show import clean, number, rows, rows_differ, span
from cutover.clock import monotonic
from cutover.errors import CutoverError

SEED = 1
_SOON = 30.0
"""Seconds in which a machine that is busy comes to it all the same."""
_WHOLE_STORY = ("shadowing", "promotion", "on Postgres", "demotion", "back on SQLite")


@dataclass(frozen=True)
class Step:
    """One thing that was done: `says` for people, `figures` (seconds, rows, counts) for machines."""

    name: str
    says: str
    figures: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


Tell = Callable[[Step], None]


class Story:
    """Plays on one stage. `copy` comes first; `proof` last, when the writers have stopped."""

    def __init__(
        self, where: Folder, service: Service, crew: Crew, postgres_url: str, tell: Tell, *, seeded: int
    ) -> None:
        self.stretches: list[Stretch] = []
        self._where, self.service, self.crew = where, service, crew
        self._postgres_url, self._tell, self._seeded = postgres_url, tell, seeded

    async def copy(self, writers: asyncio.TaskGroup) -> None:
        """The application is at work; the service starts beside it, clients come, everything is copied."""
        crew = self.crew
        writers.create_task(crew.run_direct())
        writers.create_task(crew.run_native())
        if not await crew.until(lambda: crew.acknowledged(DIRECT) >= 5, 30):
            raise CutoverError("The application on the file could not write.")
        self._stretch("application alone")
        began = monotonic()
        await self.service.start()
        status = await self.service.phase("shadowing")
        seconds = monotonic() - began
        writers.create_task(crew.run_front())
        copied = sum(table["backfill"]["rows"] for table in status["tables"])
        saved = self._stretch("copy").total("acknowledged")
        self._tell(
            Step(
                "copy",
                f"service started and {rows(copied)} copied in {span(seconds)}, {number(round(copied / seconds))} a"
                f" second with the start; the application saved {saved} times meanwhile",
                {"rows": copied, "seconds": seconds, "rows_per_second": copied / seconds},
            )
        )

    async def shadow(self, seconds: float, name: str = "shadowing") -> None:
        """Steady traffic, with the lag looked at all the time."""
        lag = 0.0
        end = monotonic() + seconds
        while monotonic() < end:
            lag = max(lag, float((await self.service.status())["mirror"]["lag_seconds"]))
            await asyncio.sleep(0.1)
        await self._everyone_wrote()
        seen = self._stretch(name)
        self._tell(
            Step("write", f"{traffic(seen)}; lag at most {span(lag)}", {"lag_seconds_max": lag, **seen.figures()})
        )

    async def verify(self) -> None:
        """Every row of both sides, while writes go on or after their end."""
        began = monotonic()
        result = await self.service.verify()
        seconds = monotonic() - began
        if result["state"] != "done" or result["drift_rows"] or result.get("problems"):
            raise CutoverError(f"The verification is not clean: {clean(result, 2000)}")
        compared, load = result["rows"], "at rest" if self.crew.stop.is_set() else "with writes going on"
        self._tell(
            Step(
                "verify",
                f"{rows(compared)} compared in {span(seconds)}, {load}: {rows_differ(0)}",
                {"rows": compared, "drift_rows": 0, "seconds": seconds},
            )
        )

    async def switch(self, verb: str, refused: str) -> None:
        """Promote or demote under load; the writer `refused` is turned away by the fence."""
        crew = self.crew
        plan, answer = await self._asked(verb)
        if not await crew.until(lambda: refused in crew.refusals, _SOON):
            raise CutoverError(f"The application {refused} was not refused after {verb}.")
        crew.follow(answer["primary"])
        before = crew.acknowledged(FRONT)
        await crew.until(lambda: crew.acknowledged(FRONT) > before, _SOON)
        passed = [gate["name"] for gate in plan["gates"] if gate["ok"]]
        seen = self._stretch({"promote": "promotion", "demote": "demotion"}[verb])
        slowest = max(seen.latencies, default=0.0)
        pause = float(answer["pause_seconds"])
        self._tell(
            Step(
                verb,
                f"{len(passed)} of {len(plan['gates'])} gates passed; primary {answer['primary']}, epoch"
                f" {answer['epoch']}; writes held for {span(pause)}, the slowest took {span(slowest)}, "
                f"{_failed(seen)}",
                {"gates": passed, "pause_seconds": pause, "slowest_seconds": slowest, "epoch": answer["epoch"]}
                | seen.figures(),
                (f"The application {refused} was refused, and stopped: {clean(crew.refusals[refused])}",),
            )
        )

    async def _asked(self, verb: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """The plan and the answer. On a machine so busy that the mirror is behind just now, or that the pause does not
        suffice, it is asked for again."""
        end = monotonic() + _SOON
        while True:
            try:
                plan = await self.service.post(f"/v1/{verb}", dry_run=True)
                return plan, await self.service.post(f"/v1/{verb}", approval="DEMO-1", reason="demonstration")
            except Refused as error:
                closed = {str(gate["name"]): gate["detail"] for gate in _gates(error) if not gate["ok"]}
                passes = error.code == "aborted" or list(closed) == ["mirror_caught_up"]
                if not passes or monotonic() > end:
                    why = "; ".join(f"{name}: {detail}" for name, detail in closed.items())
                    raise CutoverError(f"{verb} was refused: {error} {why}") from None
            await asyncio.sleep(0.2)

    async def proof(self) -> list[str]:
        """Let the mirror catch up, compare, and judge both stores by what the writers were told. They have stopped."""
        crew, service = self.crew, self.service
        stores = {}
        if (await service.status())["phase"] != "finished":  # after that SQLite stays as it was
            await service.settled()
            await self.verify()
            stores["SQLite"] = await asyncio.to_thread(sqlite_rows, self._where.database)
        stores["Postgres"] = await postgres_rows(self._postgres_url)
        self._stretch("end")
        names = {stretch.name for stretch in self.stretches}
        evidence = Evidence(
            crew.ledgers,
            crew.tags,
            stores,
            rows_of(self._seeded, SEED),
            self.stretches,
            crew.front.stats.stale_reads,
            [name for name in _WHOLE_STORY if name in names],
        )
        problems = await asyncio.to_thread(judge, evidence)
        chain = await asyncio.to_thread(verify_chain, self._where.state / "audit.jsonl")
        if not chain.ok:
            problems.append(f"The audit log is broken: {chain.problem}.")
        self._tell(self._verdict(problems, list(stores), chain.records))
        return problems

    def _verdict(self, problems: list[str], stores: list[str], records: int) -> Step:
        counts = {name: sum(part.total(name) for part in self.stretches) for name in ("acknowledged", "refused")}
        unknown = sum(part.total("unknown") for part in self.stretches)
        reads = self.crew.front.stats.reads
        told = {**counts, "unknown": unknown, "reads": reads, "audit_records": records, "problems": problems}
        if problems:
            more = f"; and {len(problems) - 10} more" if len(problems) > 10 else ""
            return Step("proof", f"FAILED: {' '.join(clean(problem) for problem in problems[:10])}{more}", told)
        return Step(
            "proof",
            f"each of {number(counts['acknowledged'])} acknowledged writes is in {' and in '.join(stores)} exactly"
            f" once; of {counts['refused']} refused writes there is none; {number(reads)} reads, none stale;"
            f" audit log whole, {records} records",
            told,
        )

    async def _everyone_wrote(self) -> None:
        """On a slow machine a stretch takes longer, so that it means something."""
        crew = self.crew
        active = (FRONT, NATIVE) if (await self.service.status())["primary"] == "postgres" else (FRONT, DIRECT)
        before = {writer: crew.acknowledged(writer) for writer in active}
        if not await crew.until(lambda: all(crew.acknowledged(name) > before[name] for name in active), _SOON):
            idle = [name for name in active if crew.acknowledged(name) == before[name]]
            raise CutoverError(f"These writers cannot write: {', '.join(idle)}.")

    def _stretch(self, name: str) -> Stretch:
        found = self.crew.stretch(name)
        self.stretches.append(found)
        return found


def traffic(seen: Stretch) -> str:
    """A stretch in one clause."""
    count = seen.total("acknowledged")
    by = ", ".join(
        f"{writer} {counts['acknowledged']}" for writer, counts in seen.outcomes.items() if any(counts.values())
    )
    return f"{number(count)} writes acknowledged in {span(seen.seconds)} ({by})"


def _failed(seen: Stretch) -> str:
    counts = seen.outcomes[FRONT]
    failed = counts["refused"] + counts["unknown"]
    return "none failed" if not failed else f"{failed} failed"


def _gates(error: Refused) -> list[dict[str, Any]]:
    gates = error.body.get("gates")
    return gates if isinstance(gates, list) else []
