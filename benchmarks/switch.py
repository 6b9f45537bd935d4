"""The pause of a promotion and of a demotion, as 32 writing connections feel it, with a small table and a large one."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from benchmarks.harness import Service, Stage, cutover, make_database, write_load
from benchmarks.load import TABLE
from benchmarks.report import Line, Report, median, milliseconds, our_versions

_TITLES = {"promote": "promotion", "demote": "demotion"}
_LIMIT = 150
"""Milliseconds."""
_LONGEST = 300.0
"""Seconds of load at most; it ends soon after the switch."""


@dataclass
class _Felt:
    """What switches in one direction cost at one size. Seconds."""

    pauses: list[float] = field(default_factory=list)
    slowest: list[float] = field(default_factory=list)
    steps: list[dict[str, float]] = field(default_factory=list)

    def breakdown(self) -> str:
        """Where the pause went, as medians of each step; `count` comes before it, with writes going on."""
        took = {name: median([steps[name] for steps in self.steps]) * 1000 for name in self.steps[0]}
        before = took.pop("count")
        pause = ", ".join(f"{name} {milliseconds:.0f} ms" for name, milliseconds in took.items())
        return f"{pause}; before it, rows counted in {before:.0f} ms"


async def run(stage: Stage) -> Report:
    """There and back, each under load, at two sizes. A single failed request fails the benchmark."""
    report = Report("switch", "the pause of a switch under 32 writing connections, no request failed")
    report.versions = {**our_versions(), "Postgres": await stage.postgres_version()}
    sizes = (2_000, 20_000) if stage.quick else (10_000, 1_000_000)
    report.settings = {
        "rounds": f"{stage.rounds} switches each way, medians",
        "rows before": " and ".join(f"{size:,}" for size in sizes),
        "fsync": stage.fsync_milliseconds(),
    }
    seen = await _measure(stage, sizes)
    small, large = sizes
    for verb, title in _TITLES.items():
        for size in sizes:
            felt = seen[size][verb]
            for what, values in (("pause", felt.pauses), ("slowest request", felt.slowest)):
                report.lines.append(_limit(f"{title} with {size:,} rows, {what}", median(values)))
            report.notes.append(f"{title} with {size:,} rows: {felt.breakdown()}")
        mine, theirs = (median(seen[size][verb].pauses) for size in (large, small))
        report.lines.append(
            Line(
                f"{title}, pause with {large:,} rows, against {small:,}",
                milliseconds(mine),
                milliseconds(theirs),
                mine / theirs,
                1.2,
                at_least=False,
            )
        )
    return report


def _limit(what: str, value: float) -> Line:
    return Line(what, milliseconds(value), "-", value * 1000, _LIMIT, at_least=False, unit=" ms")


async def _measure(stage: Stage, sizes: tuple[int, int]) -> dict[int, dict[str, _Felt]]:
    """Both sizes in turns, so that a busy moment of the machine meets either."""
    seen = {size: {verb: _Felt() for verb in _TITLES} for size in sizes}
    async with AsyncExitStack() as stack:
        services = {
            size: await stack.enter_async_context(
                cutover(stage, make_database(stage.path("switch.db"), TABLE, size), wait=False)
            )
            for size in sizes
        }
        for service in services.values():
            await service.phase("shadowing")
            await service.caught_up()
        for _ in range(stage.rounds):
            for verb in _TITLES:
                for size, service in services.items():
                    await service.verify()
                    await _under_load(service, verb, stage.seconds, seen[size][verb])
                    await service.caught_up()
        for service in services.values():
            await service.verify()
    return seen


async def _under_load(service: Service, verb: str, seconds: float, felt: _Felt) -> None:
    """One switch, with the load going on before it and after it, however long its preparation takes."""
    stop = asyncio.Event()
    load = asyncio.create_task(write_load(service.front, 32, _LONGEST, stop=stop))
    try:
        await asyncio.sleep(max(seconds, 2.0) / 2)
        answer = await service.post(f"/v1/{verb}", {"approval": "benchmark"})
        await asyncio.sleep(max(seconds, 2.0) / 2)
    finally:
        stop.set()
        result = await load
    felt.pauses.append(float(answer["pause_seconds"]))
    felt.slowest.append(max(result.latencies))
    felt.steps.append(answer["steps_seconds"])
