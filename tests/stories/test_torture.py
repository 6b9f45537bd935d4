"""Short tortures: every workload by every door, under faults that strike into the pauses of switches.

`make torture` does the same for as long as one likes, with more faults, in an order that its seed gives.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest

from tests.torture.plan import FAULTS, Blow, Step, plan
from tests.torture.run import Wish, run

_PLAIN = Step(0.2, verify=True, switch=True, blows=(), calm=True)


def _into_pause(*blows: Blow) -> Step:
    return Step(0.2, verify=True, switch=True, blows=blows, calm=True)


STORIES = {
    "killed, frozen, and Postgres lost": (
        _PLAIN,
        _into_pause(Blow("kill", 0.02, 0.3, in_pause=True)),
        _into_pause(Blow("freeze", 0.0, 1.0, in_pause=True)),
        Step(0.2, verify=False, switch=False, blows=(Blow("postgres-kill", 0.0, 0.5),), calm=True),
        _PLAIN,
        _PLAIN,
    ),
    "cut off, stopped, and out of space": (
        _PLAIN,
        _into_pause(Blow("cut", 0.01, 0.5, in_pause=True)),
        _into_pause(Blow("postgres-freeze", 0.0, 0.8, in_pause=True), Blow("lock", 0.0, 0.5)),
        Step(0.2, verify=False, switch=False, blows=(Blow("disk", 0.0, 0.5),), calm=True),
        _into_pause(Blow("stop", 0.0, 0.2, in_pause=True)),
        _PLAIN,
    ),
}


@pytest.mark.parametrize("story", STORIES.values(), ids=STORIES)
async def test_every_promise_is_kept(story: Sequence[Step]) -> None:
    seed = len(story[1].blows[0].fault)
    verdict = await run(Wish(minutes=15, seed=seed, steps=story, gap=0.7, quiet=True))
    assert not verdict.problems, "\n".join([*verdict.problems, "--- events ---", *verdict.events])
    struck = {blow.fault for step in story for blow in step.blows}
    assert set(verdict.faults) == struck
    plain = sum(step is _PLAIN for step in story)
    assert sum(verdict.switches.get(result, 0) for result in ("promoted", "demoted")) >= plain
    assert verdict.operations > 300


def test_the_plan_is_a_function_of_the_seed() -> None:
    first, again, other = (list(itertools.islice(plan(seed, FAULTS), 120)) for seed in (7, 7, 8))
    assert first == again != other
    assert {blow.fault for step in first for blow in step.blows} == set(FAULTS)
