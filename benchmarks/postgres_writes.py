"""Writes and reads through the front door while Postgres is primary, against the same SQL straight on asyncpg."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable
from dataclasses import dataclass

import asyncpg

from benchmarks.harness import Stage, cutover, make_database, processor_seconds, write_load
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
        "connections": "32 on both sides; every one over TCP, cutover's own to Postgres, too",
        "rounds": f"{stage.rounds} of {stage.seconds:g} s each, interleaved, medians",
        "cutover": "SQLite's SQL over Hrana, translated; reverse capture and mirror on",
    }
    database = make_database(stage.path("promoted.db"), TABLE, 1000)
    async with cutover(stage, database, postgres=await stage.database(by_network=True)) as service:
        await service.verify()
        await service.post("/v1/promote", {"approval": "benchmark"})
        pool = await asyncpg.create_pool(service.postgres, min_size=32, max_size=32)
        try:
            await pool.execute(_STRAIGHT)
            await write_load(service.front, 32, min(1.0, stage.seconds))
            await _straight(pool, min(1.0, stage.seconds))
            writes, found = _Both([], []), _Both([], [])
            for _ in range(stage.rounds):
                writes.ours.append(await _seen(service.pid, write_load(service.front, 32, stage.seconds)))
                await service.caught_up()
                writes.peers.append(await _seen(os.getpid(), _straight(pool, stage.seconds)))
                keys = reads(host_of(service.front), _IDS)
                found.ours.append(await _seen(service.pid, drive(service.front, keys, 32, stage.seconds)))
                found.peers.append(await _seen(os.getpid(), _straight(pool, stage.seconds, reading=True)))
        finally:
            await pool.close()
    report.lines += [*writes.lines("writes"), *found.lines("reads")]
    return report


@dataclass
class _Seen:
    """One run: requests a second of the clock, and a second of the processor that their own process had."""

    rate: float
    rate_of_processor: float


@dataclass
class _Both:
    ours: list[_Seen]
    peers: list[_Seen]

    def lines(self, what: str) -> list[Line]:
        """By the clock both share the machine with the load and with Postgres; the processor's time is their own."""
        mine, theirs = (median([seen.rate for seen in side]) for side in (self.ours, self.peers))
        own, their = (median([seen.rate_of_processor for seen in side]) for side in (self.ours, self.peers))
        return [
            Line(f"{what}, 32 connections, against asyncpg", rate(mine), rate(theirs), mine / theirs, 0.5),
            Line(f"{what}, by a second of the processor", rate(own), rate(their), own / their, 0.5),
        ]


async def _seen(pid: int, load: Awaitable[Load]) -> _Seen:
    began = processor_seconds(pid)
    found = await load
    return _Seen(found.rate, len(found.latencies) / max(processor_seconds(pid) - began, 0.01))


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
