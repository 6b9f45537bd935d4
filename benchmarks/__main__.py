"""`python -m benchmarks [name...]`: each prints its ratios, the versions of both sides and the settings."""

from __future__ import annotations

import argparse
import asyncio
import importlib
import sys
from pathlib import Path

import uvloop

from benchmarks.harness import Missing, stage
from benchmarks.report import Report
from cutover.logs import configure_logs

NAMES = (
    "front_writes",
    "front_reads",
    "front_crowds",
    "mirror_catch_up",
    "backfill",
    "verification",
    "postgres_writes",
    "translation",
    "rehearsal",
    "switch",
    "footprint",
    "growth",
)
EXAMPLE = "example: python -m benchmarks front_writes backfill --rounds 5"


def main() -> int:
    """Exit code 0 when every target is met, 3 when one is missed, 1 when a benchmark failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__, epilog=EXAMPLE)
    parser.add_argument("names", nargs="*", metavar="name", help=f"which ones (all): {', '.join(NAMES)}")
    parser.add_argument(
        "--rounds", type=int, default=5, help="rounds of each; medians are shown (default: %(default)s)"
    )
    parser.add_argument("--seconds", type=float, default=5.0, help="of load in a round (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="one short round of small data: does it run at all")
    parser.add_argument("--directory", type=Path, help="where to work; a real disk, or fsync costs nothing")
    shape = parser.add_mutually_exclusive_group()
    shape.add_argument("--json", action="store_true", help="one JSON object a line")
    shape.add_argument("--markdown", action="store_true", help="as in docs/benchmarks.md")
    options = parser.parse_args()
    unknown = set(options.names) - set(NAMES)
    if unknown:
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    configure_logs("console", "warning")
    uvloop.install()
    return asyncio.run(_run(options))


async def _run(options: argparse.Namespace) -> int:
    rounds, seconds = (1, 1.0) if options.quick else (options.rounds, options.seconds)
    worst = 0
    for name in options.names or NAMES:
        try:
            async with stage(rounds, seconds, quick=options.quick, folder=options.directory) as place:
                report: Report = await importlib.import_module(f"benchmarks.{name}").run(place)
        except Missing as missing:
            print(f"{name}: skipped, {missing}", file=sys.stderr)
            continue
        except RuntimeError as error:
            print(f"{name}: FAILED, {error}", file=sys.stderr)
            worst = 1
            continue
        print(report.json() if options.json else report.markdown() + "\n" if options.markdown else report.text() + "\n")
        if worst == 0 and not all(line.met for line in report.lines):
            worst = 3
    return worst


if __name__ == "__main__":
    sys.exit(main())
