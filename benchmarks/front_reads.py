"""Reads by key through the front door, one stream a request, against sqld."""

from __future__ import annotations

from benchmarks.harness import Stage, cutover, make_database
from benchmarks.load import TABLE, Load, drive, host_of, inserts, reads
from benchmarks.peers import sqld, sqld_binary, version_of
from benchmarks.report import Line, Report, median, our_versions, rate

_IDS = 1000


async def run(stage: Stage) -> Report:
    """Both sides hold rows of the same size and are asked for the same number of keys. Raises `Missing`."""
    report = Report("front_reads", "reads by key through the front door")
    report.versions = {**our_versions(), "sqld": version_of(sqld_binary())}
    report.settings = {"keys": str(_IDS), "rounds": f"{stage.rounds} of {stage.seconds:g} s each, interleaved, medians"}
    ids = [f"seed-{number:016d}" for number in range(_IDS)]
    database = make_database(stage.path("reads.db"), TABLE, 20_000)
    async with cutover(stage, database) as ours, sqld(stage, strong=False) as peer:
        await drive(peer.url, inserts(host_of(peer.url), "r"), 8, stage.seconds, lenient=True)
        urls = {"cutover": ours.front, "sqld": peer.url}
        seen: dict[str, list[Load]] = {name: [] for name in urls}
        for url in urls.values():
            await drive(url, reads(host_of(url), ids), 32, min(1.0, stage.seconds))
        for _ in range(stage.rounds):
            for name, url in urls.items():
                seen[name].append(await drive(url, reads(host_of(url), ids), 32, stage.seconds))
    mine, theirs = (median([load.rate for load in seen[name]]) for name in ("cutover", "sqld"))
    report.lines.append(Line("32 connections, against sqld", rate(mine), rate(theirs), mine / theirs, 1.0))
    return report
