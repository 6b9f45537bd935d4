"""python -m tests.torture --minutes 5 --seed 7 [--faults kill,freeze] [--workloads bank,lists] [--keep DIR]

Exit code 0: every promise was kept. 1: one was broken; the account says which, and the folder is kept.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

from tests.torture.plan import FAULTS
from tests.torture.run import Verdict, Wish, run
from tests.torture.workloads import WORKLOADS


def _names(known: tuple[str, ...], text: str) -> tuple[str, ...]:
    names = tuple(name for name in text.split(",") if name)
    strangers = [name for name in names if name not in known]
    if strangers:
        raise argparse.ArgumentTypeError(f"{', '.join(strangers)}: there are {', '.join(known)}")
    return names


def main() -> int:
    """Parse, run, say."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.torture", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--faults",
        type=lambda text: _names(FAULTS, text),
        default=FAULTS,
        help=f"of {', '.join(FAULTS)}; empty for none",
    )
    parser.add_argument(
        "--workloads",
        type=lambda text: _names(tuple(WORKLOADS), text),
        default=tuple(WORKLOADS),
        help=f"of {', '.join(WORKLOADS)}",
    )
    parser.add_argument(
        "--keep",
        type=Path,
        help="keep the folder here in any case (default: beside the temporary one, if a promise broke)",
    )
    parser.add_argument(
        "--gap", type=float, default=0.05, help="mean seconds between a client's operations (default: %(default)s)"
    )
    given = parser.parse_args()
    wish = Wish(given.minutes, given.seed, given.faults, workloads=given.workloads, keep=given.keep, gap=given.gap)
    verdict = asyncio.run(run(wish))
    _say(verdict)
    return 1 if verdict.problems else 0


def _say(verdict: Verdict) -> None:
    print("\n".join(["", *verdict.summary, ""]))
    if not verdict.problems:
        print("Every promise was kept." + f" The folder is in {verdict.kept}." * (verdict.kept is not None))
        return
    print(f"{len(verdict.problems)} PROBLEMS")
    for problem in verdict.problems:
        print(f"  {problem}")
    print(f"Everything is in {verdict.kept}.")


if __name__ == "__main__":
    sys.exit(main())
