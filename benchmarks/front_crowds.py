"""Writes and reads through the front door by 1, 32, 256 and 2,000 connections, against sqld: rate, p50, p99, memory."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

from benchmarks.harness import Service, Stage, cutover, make_database, resident
from benchmarks.load import TABLE, Load, drive, host_of, inserts, reads
from benchmarks.peers import Sqld, sqld, sqld_binary, version_of
from benchmarks.report import Line, Report, median, milliseconds, our_versions, rate

_CROWDS = (1, 32, 256, 2000)
_IDS = 1000
_MEBIBYTE = 1024 * 1024


@dataclass(frozen=True)
class _Side:
    """One server under load."""

    name: str
    url: str
    pid: int
    writes: bool
    ours: Service | None = None

    def requests(self, ids: list[str]) -> Iterator[bytes]:
        host = host_of(self.url)
        return inserts(host, f"c{self.pid}") if self.writes else reads(host, ids)


@dataclass
class _Seen:
    """What one side did with one crowd, round after round."""

    loads: list[Load]
    memory: list[int]

    @property
    def rate(self) -> float:
        return median([load.rate for load in self.loads])

    def quantile(self, share: float) -> float:
        return median([load.quantile(share) for load in self.loads])


async def run(stage: Stage) -> Report:
    """Every crowd, every side in turn. sqld's undurable default is the peer; its durable mode is one for writes too.

    Raises `Missing`.
    """
    report = Report("front_crowds", "writes and reads by one to two thousand connections")
    report.versions = {**our_versions(), "sqld": version_of(sqld_binary())}
    report.settings = {
        "row": "200 bytes, text key",
        "rounds": f"{stage.rounds} of {stage.seconds:g} s each, interleaved, medians",
        "fsync": stage.fsync_milliseconds(),
    }
    ids = [f"seed-{number:016d}" for number in range(_IDS)]
    database = make_database(stage.path("crowds.db"), TABLE, 20_000)
    async with cutover(stage, database) as ours:
        mine = _Side("cutover", ours.front, ours.pid, True, ours)
        async with sqld(stage, strong=True) as durable, sqld(stage, strong=False) as relaxed:
            peers = [_peer("sqld durable", durable, True), _peer("sqld default", relaxed, True)]
            for crowd in _CROWDS:
                await _crowd(stage, report, [mine, *peers], crowd, ids)
        async with sqld(stage, strong=False) as fresh:  # the others may be busy with what they never answered
            await drive(fresh.url, inserts(host_of(fresh.url), "r"), 8, stage.seconds, lenient=True)
            for crowd in _CROWDS:
                await _crowd(stage, report, [replace(mine, writes=False), _peer("sqld", fresh, False)], crowd, ids)
    return report


def _peer(name: str, server: Sqld, writes: bool) -> _Side:
    return _Side(name, server.url, server.pid, writes)


async def _crowd(stage: Stage, report: Report, sides: list[_Side], crowd: int, ids: list[str]) -> None:
    seen = {side.name: _Seen([], []) for side in sides}
    for _ in range(stage.rounds):
        for side in sides:
            watching = asyncio.create_task(_watch(side.pid, seen[side.name].memory))
            try:
                load = await drive(side.url, side.requests(ids), crowd, stage.seconds, lenient=side.ours is None)
            except RuntimeError as error:
                report.notes.append(f"{side.name}, {crowd} connections: {error}")
                continue
            finally:
                watching.cancel()
            seen[side.name].loads.append(load)
            if side.ours is not None:
                await side.ours.caught_up()  # or its mirror would work during the peers' turns
    kind = "writes" if sides[0].writes else "reads"
    mine, *peers = sides
    for peer in peers:
        if seen[peer.name].loads:
            _compare(report, f"{kind}, {crowd}, against {peer.name}", seen[mine.name], seen[peer.name])


def _compare(report: Report, what: str, mine: _Seen, peer: _Seen) -> None:
    report.lines.append(Line(f"{what}: rate", rate(mine.rate), rate(peer.rate), mine.rate / peer.rate, 1.0))
    at_most = partial(Line, target=1.0, at_least=False)
    for name, share in (("p50", 0.5), ("p99", 0.99)):
        ours, theirs = mine.quantile(share), peer.quantile(share)
        report.lines.append(at_most(f"{what}: {name}", milliseconds(ours), milliseconds(theirs), ours / theirs))
    ours, theirs = max(mine.memory), max(peer.memory)
    shown = f"{ours / _MEBIBYTE:.0f} MiB", f"{theirs / _MEBIBYTE:.0f} MiB"
    report.lines.append(at_most(f"{what}: memory", *shown, ours / theirs))


async def _watch(pid: int, memory: list[int]) -> None:
    while True:
        memory.append(resident(pid))
        await asyncio.sleep(0.2)
