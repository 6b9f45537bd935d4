"""What the rehearsal costs applications: reads and writes through the front door with replays, against none.

Statements are prepared on both sides; that is done once for each text. What goes on is the replays.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass

from benchmarks.harness import Service, Stage, cutover, make_database, processor_seconds, write_load
from benchmarks.load import TABLE, Load, drive, host_of, pipeline, reads
from benchmarks.report import Line, Report, median, milliseconds, our_versions, rate

_IDS = [f"seed-{number:016d}" for number in range(1000)]
_OFF = "shadow_read_sample = 0\nshadow_write_sample = 0"
_ALL = "shadow_read_sample = 1\nshadow_write_sample = 1"
_SIDES = {"none": _OFF, "default": "", "all": _ALL}


async def run(stage: Stage) -> Report:
    """Three services, each with a file and a database of its own: without replays, with the default share, with all."""
    report = Report("rehearsal", "reads, writes and new texts beside the rehearsal")
    report.versions = {**our_versions(), "Postgres": await stage.postgres_version()}
    report.settings = {
        "connections": "32",
        "rounds": f"{stage.rounds} of {stage.seconds:g} s each, interleaved, medians",
        "default": "1 in 100 reads and 1 in 1,000 writes are replayed, besides the first of each text",
    }
    found = {what: {side: list[_Seen]() for side in _SIDES} for what in ("reads", "writes", "new")}
    async with AsyncExitStack() as stack:
        served = {
            side: await stack.enter_async_context(
                cutover(stage, make_database(stage.path(f"{side}.db"), TABLE, 20_000), compare=chosen)
            )
            for side, chosen in _SIDES.items()
        }
        for service in served.values():
            await drive(service.front, reads(host_of(service.front), _IDS), 32, min(1.0, stage.seconds))
        for number in range(stage.rounds):
            first = number % len(_SIDES)
            for side in [*_SIDES, *_SIDES][first : first + len(_SIDES)]:
                into = {what: seen[side] for what, seen in found.items()}
                await _round(served[side], number, stage.seconds, into)
    for what, name in (("reads", "reads by key"), ("writes", "one-row inserts")):
        report.lines += _lines(name, found[what])
    tails = {side: median([one.load.quantile(0.99) for one in seen]) for side, seen in found["new"].items()}
    told = milliseconds(tails["default"]), milliseconds(tails["none"])
    ratio = tails["default"] / tails["none"]
    report.lines.append(Line("new texts, one connection, p99", *told, ratio, 1.5, at_least=False))
    return report


@dataclass
class _Seen:
    load: Load
    processor: float
    """Seconds of it that the service had."""


def _lines(name: str, seen: dict[str, list[_Seen]]) -> list[Line]:
    """By the clock, which all share, and by the processor's time, which is the service's own."""
    rates = {side: median([one.load.rate for one in each]) for side, each in seen.items()}
    own = {
        side: median([len(one.load.latencies) / max(one.processor, 0.01) for one in each])
        for side, each in seen.items()
    }
    lines = []
    for side, told, least in (("default", "by default", 0.9), ("all", "each replayed", 0.3)):
        for what, of in (("", rates), (", by a second of the processor", own)):
            compared = rate(of[side]), rate(of["none"])
            lines.append(Line(f"{name}, {told}{what}", *compared, of[side] / of["none"], least))
    return lines


async def _round(service: Service, number: int, seconds: float, into: dict[str, list[_Seen]]) -> None:
    host = host_of(service.front)
    into["reads"].append(await _seen(service, drive(service.front, reads(host, _IDS), 32, seconds)))
    into["writes"].append(await _seen(service, write_load(service.front, 32, seconds)))
    await service.caught_up()
    new = drive(service.front, _new_texts(host, number), 1, min(2.0, seconds))
    into["new"].append(await _seen(service, new))


async def _seen(service: Service, load: Awaitable[Load]) -> _Seen:
    began = processor_seconds(service.pid)
    found = await load
    return _Seen(found, processor_seconds(service.pid) - began)


def _new_texts(host: str, number: int) -> Iterator[bytes]:
    """As an application sends that has just started: none of them was seen before."""
    at = 0
    while True:
        at += 1
        yield pipeline(host, f"SELECT body AS c{number}_{at} FROM items WHERE id = ?", (_IDS[at % len(_IDS)],))
