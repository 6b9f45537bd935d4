"""Which tests stay together in one process of a parallel run, and which come first.

What a process makes once (a world of crash stories, a door for clients, a module's fixture) is made seldom; long tests
begin early, and short ones fill the end.
"""

from __future__ import annotations

import os
import re
from functools import cache

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

_LONG = (
    "tests/stories/test_crash_points",
    "tests/stories/test_torture",
    "tests/flow/test_switch_stateful",
    "tests/stories/test_demo",
    "tests/frameworks/",
    "tests/stories/",
    "tests/clients/",
    "tests/hazards/",
    "tests/flow/",
    "tests/contract/",
)
"""Where the longest tests are, in falling order; all others come after them."""

_EACH_BY_ITSELF = ("tests/stories/", "tests/hazards/", "tests/frameworks/")
"""Nearly every test starts a service of its own there, which takes more than any fixture."""


def workers() -> int:
    """Processes for `-n auto`: some tests wait, so there are more than cores."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return cores + (cores + 1) // 2


def order(items: list[pytest.Item]) -> None:
    """Long ones first, and those that stay together beside each other."""
    first: dict[str, int] = {}
    for place, item in enumerate(items):
        first.setdefault(unit_of(item.nodeid), place)
    items.sort(key=lambda item: (_rank(item.nodeid), first[unit_of(item.nodeid)]))


def _rank(nodeid: str) -> int:
    return next((rank for rank, prefix in enumerate(_LONG) if nodeid.startswith(prefix)), len(_LONG))


@cache
def unit_of(nodeid: str) -> str:
    """The tests of one unit run in one process, one after the other."""
    path, _, name = nodeid.partition("::")
    parameters = re.search(r"\[(.*)\]$", name)
    if parameters and path.endswith("/test_crash_points.py"):
        return f"crashes of {_world_of(parameters[1])}"
    if parameters and path.startswith("tests/clients/"):
        return f"door {parameters[1].partition('-')[0]}"
    return nodeid if path.startswith(_EACH_BY_ITSELF) else path


def _world_of(case: str) -> str:
    return _worlds().get(case, "")


@cache
def _worlds() -> dict[str, str]:
    from tests.support.crash_matrix import cases
    from tests.support.crash_ways import WAYS

    return {case.id: WAYS[case.ways[0]].world for case in cases()}


class Scheduling(LoadScopeScheduling):
    """Hands units out in the order of collection, to whichever process is nearly done."""

    def __init__(self, config: pytest.Config, log: Producer | None = None) -> None:
        super().__init__(config, log)
        config.option.loadscopereorder = False

    def _split_scope(self, nodeid: str) -> str:
        return unit_of(nodeid)
