"""Random schemas, random writes from every side, switches in between: both stores stay equal, and equal to a model.

A failure prints its program, shrunk; put into `test_stateful_found.py`, it is played again as it is. For a long run:

    CUTOVER_TEST_STATEFUL_EXAMPLES=1000 pytest tests/flow/test_switch_stateful.py --hypothesis-seed=7
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, settings

from tests.support.stateful.player import play
from tests.support.stateful.program import Program
from tests.support.stateful.service import hosting
from tests.support.stateful.strategies import programs
from tests.support.stateful.world import scratch

_LONG = int(os.environ.get("CUTOVER_TEST_STATEFUL_EXAMPLES", "0"))
"""Examples of a run that is another each time; not set, the same few are played."""
_EXAMPLES = 20


def everything_happened(tally: Counter[str]) -> bool:
    """The programs are worth something: all that they are about occurs in them."""
    deaths = sum(count for name, count in tally.items() if name.startswith("died at "))
    return min(deaths, *(tally[name] for name in ("promote promoted", "demote demoted", "Tamper", "refused"))) > 0


def test_both_stores_stay_equal_to_the_model(postgres_server: str) -> None:
    tally = Counter[str]()
    with hosting() as host:
        run(lambda program, folder: play(program, host=host, server=postgres_server, folder=folder, tally=tally))
    assert everything_happened(tally), tally


def run(play_one: Callable[[Program, Path], None]) -> None:
    """Each program in a folder of its own."""

    @settings(
        max_examples=_LONG or _EXAMPLES,
        derandomize=not _LONG,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
    )
    @given(programs())
    def test(program: Program) -> None:
        with scratch() as folder:
            play_one(program, folder)

    test()
