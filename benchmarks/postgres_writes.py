"""Writes and reads through the front door while Postgres is primary, against the same SQL straight on asyncpg."""

from __future__ import annotations

import asyncio
import time

import asyncpg

from benchmarks.harness import Stage, cutover, make_database, write_load
from benchmarks.load import BODY, STAMP, TABLE, Load, drive, host_of, reads
from benchmarks.report import Line, Report, median, our_versions, rate

_STRAIGHT = TABLE.replace("items", "straight")
_INSERT = "INSERT INTO straight (id, author, body, created_at) VALUES ($1, $2, $3, $4)"
_SELECT = "SELECT body FROM items WHERE id = $1"
_IDS = [f"seed-{number:016d}" for number in range(1000)]


async def run(stage: Stage) -> Report:
    """The service is promoted first; both sides then write to the same server, ours with capture for the way back."""
    report = Report("postgres_writes", "one-row inserts and reads by key with Postgres as primary")
    report.versions = {**our_versions(), "Postgres": await stage.postgres_version(), "asyncpg": asyncpg.__version__}
    report.settings = {
        "connections": "32 on both sides",
        "rounds": f"{stage.rounds} of {stage.seconds:g} s each, interleaved, medians",
        "cutover": "SQLite's SQL over Hrana, translated; reverse capture and mirror on",
    }
    async with cutover(stage, make_database(stage.path("promoted.db"), TABLE, 1000)) as service:
        await service.verify()
        await service.post("/v1/promote", {"approval": "benchmark"})
        pool = await asyncpg.create_pool(service.postgres, min_size=32, max_size=32)
        try:
            await pool.execute(_STRAIGHT)
            await write_load(service.front, 32, min(1.0, stage.seconds))
            await _straight(pool, min(1.0, stage.seconds))
            ours, peers, our_reads, peer_reads = [], [], [], []
            for _ in range(stage.rounds):
                ours.append((await write_load(service.front, 32, stage.seconds)).rate)
                await service.caught_up()
                peers.append((await _straight(pool, stage.seconds)).rate)
                found = await drive(service.front, reads(host_of(service.front), _IDS), 32, stage.seconds)
                our_reads.append(found.rate)
                peer_reads.append((await _straight(pool, stage.seconds, reading=True)).rate)
        finally:
            await pool.close()
    for what, one, two in (("writes", ours, peers), ("reads", our_reads, peer_reads)):
        mine, theirs = median(one), median(two)
        line = Line(f"{what}, 32 connections, against asyncpg", rate(mine), rate(theirs), mine / theirs, 0.5)
        report.lines.append(line)
    return report


async def _straight(pool: asyncpg.Pool, seconds: float, *, reading: bool = False) -> Load:
    load, began = Load(), time.perf_counter()

    async def client(number: int) -> None:
        count = 0
        async with pool.acquire() as connection:
            statement = await connection.prepare(_SELECT if reading else _INSERT)
            while (sent := time.perf_counter()) < began + seconds:
                count += 1
                if reading:
                    await statement.fetch(_IDS[(number * 31 + count) % len(_IDS)])
                else:
                    await statement.fetch(f"{began}-{number}-{count}", "author-1", BODY, STAMP)
                load.latencies.append(time.perf_counter() - sent)

    await asyncio.gather(*(client(number) for number in range(32)))
    load.seconds = time.perf_counter() - began
    return load
