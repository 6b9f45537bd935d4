"""How fast the mirror works off a backlog, against the front door's best write rate; and its lag under that load."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from pathlib import Path

from benchmarks.harness import Service, Stage, add_rows, cutover, make_database, write_load
from benchmarks.load import TABLE
from benchmarks.report import Line, Report, median, milliseconds, our_versions, rate


async def run(stage: Stage) -> Report:
    """A backlog of new rows by a direct writer while the mirror is paused, then the time until it is gone."""
    rows = 20_000 if stage.quick else 300_000
    report = Report("mirror_catch_up", "the mirror works off a backlog")
    report.versions = {**our_versions(), "Postgres": await stage.postgres_version()}
    report.settings = {"backlog": f"{rows:,} new rows of 200 bytes, one table", "rounds": f"{stage.rounds}, medians"}
    database = make_database(stage.path("mirror.db"), TABLE)
    async with cutover(stage, database) as service:
        writes, lags = [], []
        for _ in range(stage.rounds):
            load, lag = await asyncio.gather(
                write_load(service.front, 32, stage.seconds), _worst_lag(service, stage.seconds)
            )
            writes.append(load.rate)
            lags.append(lag)
            await service.caught_up()
        speeds = [await _backlog(service, number * rows, rows) for number in range(stage.rounds)]
        await service.verify()
    made, mirrored = median(writes), median(speeds)
    title = "catch-up, against the front door's write rate"
    report.lines.append(Line(title, rate(mirrored), rate(made), mirrored / made, 8.0))
    lag = median(lags)
    report.lines.append(
        Line("lag p99 under that load", milliseconds(lag), "-", lag * 1000, 250, at_least=False, unit=" ms")
    )
    return report


async def _backlog(service: Service, first: int, rows: int) -> float:
    """Rows a second."""
    await service.post("/v1/mirror/pause")
    await asyncio.to_thread(_write, service.sqlite, first, rows)
    began = time.perf_counter()
    await service.post("/v1/mirror/resume")
    return rows / (await service.caught_up() - began)


def _write(path: Path, first: int, rows: int) -> None:
    connection = sqlite3.connect(path, isolation_level=None, timeout=30)
    add_rows(connection, first, rows)
    connection.close()


async def _worst_lag(service: Service, seconds: float) -> float:
    """p99 of the lag, looked at every 50 ms. Seconds."""
    seen, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end:
        seen.append(float((await service.get("/v1/status"))["mirror"]["lag_seconds"]))
        await asyncio.sleep(0.05)
    return sorted(seen)[int(0.99 * len(seen))]
