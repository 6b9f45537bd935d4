"""The process dies by SIGKILL at every named point, is started again, and every promise is checked."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
import pytest

import cutover
from tests.support.checks import check_promises, postgres_script
from tests.support.service import Service, until
from tests.support.writers import DirectWriter, FrontWriter

_ROOT = Path(cutover.__file__).parent
POINTS = sorted(
    {
        name
        for path in _ROOT.rglob("*.py")
        if path.name != "crashpoints.py"
        for name in re.findall(r'crash_point\(\s*"([a-z_.]+)"', path.read_text())
    }
)

Story = Callable[[Service], Awaitable[None]]


async def _ignore(call: Awaitable[object]) -> None:
    with contextlib.suppress(aiohttp.ClientError, OSError, asyncio.TimeoutError):
        await call


async def _just_start(_service: Service) -> None:
    """Backfill, mirror and group commit happen by themselves, with the writers running."""


async def _promote(service: Service) -> None:
    await service.up()
    await service.verified()
    await _ignore(service.switch("promote"))


async def _demote(service: Service) -> None:
    await service.up("promoted")
    await service.verified()
    await _ignore(service.switch("demote"))


async def _finish(service: Service) -> None:
    await service.up("promoted")
    await _ignore(service.post("/v1/finish", approval="CHANGE-2"))


async def _repair(service: Service) -> None:
    await service.up()
    assert (await service.verified())["drift_rows"] == 1
    await _ignore(service.post("/v1/repair"))


_SPOIL = """
BEGIN;
SELECT set_config('cutover.applier', generation::text, true) FROM cutover.control;
UPDATE items SET body = 'forged' WHERE id = 'old-7';
COMMIT;
"""
"""Changes a row of the shadow past its fence, as only an applier could."""


def _cases() -> list[object]:
    cases = []
    for point in POINTS:
        area = point.partition(".")[0]
        directions = {
            "switch": ["promote", "demote"],
            "finish": ["finish"],
            "mirror": ["start", "reverse"],
            "backfill": ["start"],
            "group": ["start"],
            "recovery": ["recover"],
            "repair": ["repair"],
            "sqlite": [{"sqlite.fence": "promote", "sqlite.receive": "demote"}.get(point, "reverse")],
        }.get(area, [])
        cases += [pytest.param(point, direction, id=f"{point}-{direction}") for direction in directions]
    return cases


@pytest.mark.parametrize(("point", "direction"), _cases())
async def test_a_kill_at_this_point_costs_nothing(
    service: Service, postgres_url: str, point: str, direction: str
) -> None:
    if direction in ("demote", "reverse", "finish"):
        await service.start()
        await service.up()
        await service.verified()
        code, body = await service.switch("promote")
        assert code == 200, body
        assert await service.stop() == 0
    if direction == "recover":
        await service.start(crash_point="switch.commit.after")
        promoting = asyncio.create_task(_promote(service))
        assert await service.died() == -9
        await _ignore_failure(promoting)
    if direction == "repair":
        await service.start()
        await service.up()
        assert await service.stop() == 0
        await postgres_script(postgres_url, _SPOIL)
    stories: dict[str, Story] = {"promote": _promote, "demote": _demote, "finish": _finish, "repair": _repair}
    story = stories.get(direction, _just_start)
    await service.start(crash_point=point)
    with DirectWriter(service.sqlite, "direct") as direct:
        async with FrontWriter(service, "one") as one, FrontWriter(service, "two") as two:
            telling = asyncio.create_task(story(service))
            assert await service.died() == -9
            await _ignore_failure(telling)
            await service.start()

            async def steady() -> bool:
                service.check_alive()
                status = await service.status()
                ends = ("shadowing", "promoted", "finished")
                return status["attached"] and not status["problem"] and status["phase"] in ends

            await until(steady, "a steady phase after the restart")
            count = len(one.acknowledged)
            await until(lambda: len(one.acknowledged) > count + 10, "writes after the restart")
    acknowledged = one.acknowledged | two.acknowledged | direct.acknowledged
    if (await service.status())["phase"] == "finished":
        keys = {row[0] for row in await service.rows("SELECT id FROM items")}
        assert acknowledged <= keys
        return
    if direction == "repair":  # cut off before or after: it is still known, and asked for once more
        await service.verified()
        assert (await service.post("/v1/repair"))[1]["remaining"] == 0
    await check_promises(service, postgres_url, acknowledged, one.unknown | two.unknown)


async def _ignore_failure(task: asyncio.Task[None]) -> None:
    """The story was cut off in the middle; how it noticed does not matter."""
    task.cancel()
    with contextlib.suppress(BaseException):
        await task


def test_every_point_is_in_a_story() -> None:
    covered = {case.values[0] for case in _cases()}  # type: ignore[attr-defined]
    elsewhere = {point for point in POINTS if point.partition(".")[0] == "force"}
    assert covered | elsewhere == set(POINTS)
