"""What a row costs as tables grow from ten thousand rows to ten million: copied, compared, mirrored; and memory."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

from benchmarks.harness import Service, Stage, add_rows, cutover, make_database, until
from benchmarks.load import TABLE
from benchmarks.report import Line, Report, our_versions, rate

_CHANGED = 20_000


async def run(stage: Stage) -> Report:
    """Each size once, a million rows as the measure for the largest: the smallest is over before it is warm."""
    report = Report("growth", "cost of a row, and memory, as tables grow")
    report.versions = {**our_versions(), "Postgres": await stage.postgres_version()}
    sizes = (2_000, 20_000, 60_000) if stage.quick else (10_000, 1_000_000, 10_000_000)
    report.settings = {
        "sizes": ", ".join(f"{size:,}" for size in sizes) + " rows of 200 bytes",
        "changed": f"{_CHANGED:,}",
    }
    seen = {size: await _measure(stage, size) for size in sizes}
    middle, largest = seen[sizes[1]], seen[sizes[2]]
    for number, what in enumerate(("rows copied a second", "rows compared a second", "changes mirrored a second")):
        shown = rate(largest[number]), f"{rate(middle[number])} with {sizes[1]:,}"
        report.lines.append(Line(f"{what}, {sizes[2]:,} rows", *shown, largest[number] / middle[number], 0.8))
    peak = max(found[3] for found in seen.values())
    shown = f"{peak:.0f} MiB", ", ".join(f"{found[3]:.0f}" for found in seen.values())
    report.lines.append(Line("peak memory, against each size", *shown, peak, 200, at_least=False, unit=" MiB"))
    return report


async def _measure(stage: Stage, size: int) -> tuple[float, float, float, float]:
    """(copied, compared, mirrored rows a second, peak MiB)."""
    database = make_database(stage.path("grown.db"), TABLE, size)
    async with cutover(stage, database, wait=False) as service:
        began = await until(lambda: _begun(service), "the begin of the copy", service.log)
        copied = size / (await service.phase("shadowing", 1200) - began)
        began = time.perf_counter()
        result = await service.verify()
        compared = result["rows"] / (time.perf_counter() - began)
        mirrored = await _mirrored(service, database, size)
        return copied, compared, mirrored, _peak(service.pid)


async def _begun(service: Service) -> bool:
    """A small copy may be over before anybody looks."""
    return bool((await service.get("/v1/status"))["phase"] != "idle")


async def _mirrored(service: Service, database: Path, size: int) -> float:
    """Changes a second of one burst, written past the front door by a direct writer."""
    connection = sqlite3.connect(database, isolation_level=None, timeout=30)
    add_rows(connection, size, _CHANGED)
    connection.close()
    began = time.perf_counter()
    return _CHANGED / max(await service.caught_up() - began, 0.001)


def _peak(pid: int) -> float:
    """MiB that were resident at the most."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024
