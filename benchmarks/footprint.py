"""Start to ready with existing state, and memory as the data grow."""

from __future__ import annotations

import time

from benchmarks.harness import Stage, cutover, make_database, write_load
from benchmarks.load import TABLE
from benchmarks.report import Line, Report, median, our_versions


async def run(stage: Stage) -> Report:
    """A small and a large file, each copied, verified and written to; then started again."""
    report = Report("footprint", "memory and start")
    report.versions = our_versions()
    sizes = (2_000, 20_000) if stage.quick else (10_000, 1_000_000)
    report.settings = {"sizes": " and ".join(f"{size:,} rows" for size in sizes)}
    memory: dict[int, float] = {}
    starts: list[float] = []
    for size in sizes:
        database, postgres = make_database(stage.path("size.db"), TABLE, size), await stage.database()
        state = stage.path("kept-state")
        async with cutover(stage, database, postgres=postgres, state=state) as service:
            await service.verify()
            await write_load(service.front, 32, stage.seconds)
            await service.caught_up()
            memory[size] = service.memory() / 2**20
        for _ in range(stage.rounds):
            began = time.perf_counter()
            async with cutover(stage, database, wait=False, postgres=postgres, state=state) as service:
                starts.append(await service.ready() - began)
    small, large = (memory[size] for size in sizes)
    shown = f"{large:.0f} MiB", f"{small:.0f} MiB with {sizes[0]:,} rows"
    report.lines.append(Line(f"memory with {sizes[1]:,} rows", *shown, large, 200, at_least=False, unit=" MiB"))
    report.lines.append(Line("the same, against the small file", *shown, large / small, 1.2, at_least=False))
    start = median(starts)
    report.lines.append(
        Line("start to ready, existing state", f"{start:.2f} s", "-", start, 1.5, at_least=False, unit=" s")
    )
    return report
