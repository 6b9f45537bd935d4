"""The pause of a promotion and of a demotion, as 32 writing connections feel it."""

from __future__ import annotations

import asyncio

from benchmarks.harness import Service, Stage, cutover, make_database, write_load
from benchmarks.load import TABLE
from benchmarks.report import Line, Report, median, milliseconds, our_versions

_TITLES = {"promote": "promotion", "demote": "demotion"}


async def run(stage: Stage) -> Report:
    """There and back, each under load. A single failed request fails the benchmark."""
    report = Report("switch", "the pause of a switch under 32 writing connections, no request failed")
    report.versions = {**our_versions(), "Postgres": await stage.postgres_version()}
    report.settings = {"rounds": f"{stage.rounds} switches each way, medians", "rows": "20,000 before"}
    async with cutover(stage, make_database(stage.path("switch.db"), TABLE, 20_000)) as service:
        seen: dict[str, list[tuple[float, float]]] = {verb: [] for verb in _TITLES}
        for _ in range(stage.rounds):
            for verb in _TITLES:
                await service.verify()
                seen[verb].append(await _under_load(service, verb, stage.seconds))
                await service.caught_up()
    for verb, title in _TITLES.items():
        pause, slowest = (median([both[n] for both in seen[verb]]) for n in (0, 1))
        for what, value in ((f"{title}, pause", pause), (f"{title}, slowest request", slowest)):
            report.lines.append(Line(what, milliseconds(value), "-", value * 1000, 150, at_least=False, unit=" ms"))
    return report


async def _under_load(service: Service, verb: str, seconds: float) -> tuple[float, float]:
    """(the pause as the service tells it, the slowest request as a client felt it)."""
    load = asyncio.create_task(write_load(service.front, 32, max(seconds, 2.0)))
    await asyncio.sleep(max(seconds, 2.0) / 2)
    answer = await service.post(f"/v1/{verb}", {"approval": "benchmark"})
    return float(answer["pause_seconds"]), max((await load).latencies)
