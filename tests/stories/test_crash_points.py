"""The process dies by SIGKILL at every named point, is started again, and every promise is checked.

Three kinds of writers go on all the time: through the front door, on the SQLite file, and on Postgres with a driver.
`tests/support/crash_matrix.py` says which stories lead to which points.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.checks import check_all
from tests.support.crash_matrix import AREAS, IN_STORES, KNOWN_GAPS, Case, cases, points, unplaced
from tests.support.crash_run import NotReachedError, Run
from tests.support.crash_ways import WAYS, Way
from tests.support.crash_worlds import RECIPES
from tests.support.promises import UnrecordedError
from tests.support.tamper import tampering_is_found
from tests.support.worlds import Worlds


def _marks(case: Case) -> list[pytest.MarkDecorator]:
    gap = KNOWN_GAPS.get(case.id)
    return [pytest.mark.xfail(raises=UnrecordedError, strict=True, reason=gap)] if gap else []


@pytest.mark.parametrize("case", [pytest.param(case, id=case.id, marks=_marks(case)) for case in cases()])
async def test_a_kill_at_this_point_costs_nothing(worlds: Worlds, tmp_path: Path, case: Case) -> None:
    missed = []
    for name in case.ways:
        try:
            await _play(worlds, tmp_path / name, case, WAYS[name])
        except NotReachedError as error:
            missed.append(f"{name}: {error}")
        else:
            return
    told = "; say in crash_matrix.AREAS (or IN_STORES) which ways lead to it. "
    pytest.fail(f"No way of {case.id} passes the point" + told + " ".join(missed))


async def _play(worlds: Worlds, folder: Path, case: Case, way: Way) -> None:
    service, url = await worlds.copy(way.world, folder)
    try:
        run = Run(service, url, case.point, (await worlds.get(way.world)).ledgers)
        async with run.sampler:
            async with run.writers:
                await way.story(run)
                status = await run.back()
                if way.heal is not None:
                    await way.heal(run)
                await run.writes(status["primary"])
            await check_all(run.evidence())
        if case.first and status["phase"] != "finished":
            await tampering_is_found(service, url)
        assert await service.stop() == 0
    finally:
        if service.process is not None and service.process.returncode is None:
            await service.kill()
        await worlds.drop(url)


def test_every_point_is_in_a_story() -> None:
    assert not unplaced(), "\n".join(unplaced())
    gone = set(IN_STORES) - set(points())
    assert not gone, f"placed in crash_matrix.IN_STORES, and no longer in the code: {gone}"
    mended = set(KNOWN_GAPS) - {case.id for case in cases()}
    assert not mended, f"in crash_matrix.KNOWN_GAPS, and no case any more: {mended}"


def test_every_direction_has_ways_that_exist() -> None:
    named = {
        way for directions in (*AREAS.values(), *IN_STORES.values()) for ways in directions.values() for way in ways
    }
    assert named == set(WAYS), f"unknown or unused: {named ^ set(WAYS)}"
    begun = {way.world for way in WAYS.values()} | {recipe.parent for recipe in RECIPES.values()} - {""}
    assert begun == set(RECIPES), f"unknown or unused worlds: {begun ^ set(RECIPES)}"
