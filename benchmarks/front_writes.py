"""Durable single-row inserts through the front door, one stream a request, against four peers."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial

from benchmarks.harness import Missing, Service, Stage, cutover, make_database, write_load
from benchmarks.load import TABLE, Load
from benchmarks.peers import dual_write, sqld, sqld_binary, sqlite_in_process, version_of
from benchmarks.report import Line, Report, median, milliseconds, our_versions, rate

Run = Callable[[int, float], Awaitable[Load]]
"""(connections, seconds) → what came of it."""


async def run(stage: Stage) -> Report:
    """Every side in turn, round after round; medians."""
    report = Report("front_writes", "durable single-row inserts through the front door")
    report.versions = {**our_versions(), "Postgres": await stage.postgres_version()}
    report.settings = {
        "row": "200 bytes, text key",
        "rounds": f"{stage.rounds} of {stage.seconds:g} s each, interleaved, medians",
        "cutover": "synchronous=FULL, capture on, mirror running to a Postgres on the same machine",
        "fsync": stage.fsync_milliseconds(),
    }
    async with AsyncExitStack() as stack:
        sides: dict[str, Run] = {}
        ours = await stack.enter_async_context(cutover(stage, make_database(stage.path("front.db"), TABLE)))
        acknowledged: list[int] = []
        sides["cutover"] = partial(_ours, ours, acknowledged)
        await _add_sqld(stage, stack, sides, report)
        path = stage.path("in-process.db")
        sides["sqlite3"] = lambda _, seconds: asyncio.to_thread(sqlite_in_process, path, seconds)
        dual = await stack.enter_async_context(dual_write(stage))
        sides["dual write"] = partial(write_load, dual)
        busy, alone = await _measure(stage, sides, 32, report), await _measure(stage, sides, 1, report)
        await _check(ours, sum(acknowledged))
    _judge(report, busy, alone)
    return report


async def _ours(service: Service, acknowledged: list[int], connections: int, seconds: float) -> Load:
    load = await write_load(service.front, connections, seconds)
    acknowledged.append(len(load.latencies))
    await service.caught_up()  # or its mirror would work during the peers' turns
    return load


async def _add_sqld(stage: Stage, stack: AsyncExitStack, sides: dict[str, Run], report: Report) -> None:
    try:
        report.versions["sqld"] = version_of(sqld_binary())
        for name, strong in (("sqld durable", True), ("sqld default", False)):
            peer = await stack.enter_async_context(sqld(stage, strong=strong))
            sides[name] = partial(write_load, peer.url, lenient=True)
    except Missing as missing:
        report.notes.append(f"skipped: {missing}")


async def _measure(
    stage: Stage, sides: dict[str, Run], connections: int, report: Report
) -> dict[str, tuple[float, float]]:
    """(rate, p50) of each side."""
    for name, side in sides.items():
        await _turn(name, side, connections, min(1.0, stage.seconds))  # caches, connections, the first pages of the log
    seen: dict[str, list[Load]] = {name: [] for name in sides}
    for _ in range(stage.rounds):
        for name, side in sides.items():
            seen[name].append(await _turn(name, side, connections, stage.seconds))
    for name, loads in seen.items():
        if lost := sum(load.unanswered for load in loads):
            report.notes.append(f"{name} left {lost} requests at {connections} connections without an answer for 20 s")
        if refused := sum(load.errors for load in loads):
            report.notes.append(f"{name} refused {refused} requests at {connections} connections")
    return {
        name: (median([load.rate for load in loads]), median([load.quantile(0.5) for load in loads]))
        for name, loads in seen.items()
    }


async def _turn(name: str, side: Run, connections: int, seconds: float) -> Load:
    try:
        return await side(connections, seconds)
    except RuntimeError as error:
        raise RuntimeError(f"{name} at {connections} connections: {error}") from error


async def _check(service: Service, acknowledged: int) -> None:
    """The rate would mean nothing if a row were missing on either side. Raises `RuntimeError`."""
    await service.verify()
    connection = sqlite3.connect(f"file:{service.sqlite}?mode=ro", uri=True)
    rows = connection.execute("SELECT count(*) FROM items").fetchone()[0]
    connection.close()
    if rows != acknowledged:
        raise RuntimeError(f"{acknowledged} inserts were acknowledged, and {rows} rows are there")


def _judge(report: Report, busy: dict[str, tuple[float, float]], alone: dict[str, tuple[float, float]]) -> None:
    ours = busy["cutover"][0]
    for name, target in (("sqld durable", 25.0), ("sqld default", 15.0), ("sqlite3", 2.0), ("dual write", 5.0)):
        if name in busy:
            peer = busy[name][0]
            report.lines.append(Line(f"32 connections, against {name}", rate(ours), rate(peer), ours / peer, target))
    latency = alone["cutover"][1]
    for name, target in (("sqld durable", 0.5), ("sqld default", 1.0)):
        if name in alone:
            peer = alone[name][1]
            shown = milliseconds(latency), milliseconds(peer)
            report.lines.append(
                Line(f"1 connection, p50, against {name}", *shown, latency / peer, target, at_least=False)
            )
