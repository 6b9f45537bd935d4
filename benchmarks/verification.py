"""A full verification of identical data, against the slower of the two scans that it cannot do without."""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
import time
from pathlib import Path

import asyncpg

from benchmarks.harness import Service, Stage, cutover, make_database, write_load
from benchmarks.load import TABLE
from benchmarks.report import Line, Report, median, milliseconds, our_versions, rate

_HASHED = """SELECT sum(('x' || substr(md5(concat(id, author, body, created_at)), 1, 16))::bit(64)::bigint)
FROM items"""


async def run(stage: Stage) -> Report:
    """Rows a second, and what writers feel of it."""
    rows = 20_000 if stage.quick else 300_000
    report = Report("verification", "full verification of identical data")
    report.versions = {**our_versions(), "Postgres": await stage.postgres_version()}
    report.settings = {
        "rows": f"{rows:,} of 200 bytes",
        "rounds": f"{stage.rounds}, interleaved, medians",
        "limit": "the slower of a SQLite scan hashing each row in Python and a Postgres scan with md5 of each",
    }
    async with cutover(stage, make_database(stage.path("verify.db"), TABLE, rows)) as service:
        ours, limits, quiet, loud = [], [], [], []
        await service.verify()
        for _ in range(stage.rounds):
            began = time.perf_counter()
            result = await service.verify()
            ours.append(result["rows"] / (time.perf_counter() - began))
            slower = max(await asyncio.to_thread(_sqlite_scan, service.sqlite), await _postgres_scan(service.postgres))
            limits.append(rows / slower)
        for _ in range(stage.rounds):
            quiet.append((await write_load(service.front, 8, stage.seconds)).quantile(0.99))
            await service.caught_up()
            loud.append(await _p99_meanwhile(service, stage.seconds))
    speed, limit = median(ours), median(limits)
    report.lines.append(Line("rows a second, against the limit", rate(speed), rate(limit), speed / limit, 0.6))
    with_, without = median(loud), median(quiet)
    shown = milliseconds(with_), milliseconds(without)
    title = "write p99 at 8 connections, with against without"
    report.lines.append(Line(title, *shown, with_ / without, 1.5, at_least=False))
    return report


async def _p99_meanwhile(service: Service, seconds: float) -> float:
    """One verification after the other as long as the load runs."""
    load = asyncio.create_task(write_load(service.front, 8, seconds))
    while not load.done():
        await service.verify()
    return (await load).quantile(0.99)


def _sqlite_scan(path: Path) -> float:
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    began, total = time.perf_counter(), 0
    for row in connection.execute("SELECT id, author, body, created_at FROM items ORDER BY id"):
        total += int.from_bytes(hashlib.blake2b("".join(row).encode(), digest_size=8).digest())
    took = time.perf_counter() - began
    connection.close()
    assert total
    return took


async def _postgres_scan(url: str) -> float:
    connection = await asyncpg.connect(url)
    began = time.perf_counter()
    await connection.execute("SET max_parallel_workers_per_gather = 0")
    await connection.fetchval(_HASHED)
    took = time.perf_counter() - began
    await connection.close()
    return took
