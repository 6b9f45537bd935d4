"""The disk of the state directory is full: applications must not notice."""

from __future__ import annotations

import asyncio

from tests.support.checks import check_promises, settled
from tests.support.service import Service


async def _settled_alive(service: Service) -> None:
    assert service.process is not None
    ended, level = asyncio.create_task(service.process.wait()), asyncio.create_task(settled(service))
    await asyncio.wait({ended, level}, return_when=asyncio.FIRST_COMPLETED)
    ended.cancel()
    level.cancel()
    service.check_alive()


async def test_a_high_water_mark_that_cannot_be_written_stops_nobody(service: Service, postgres_url: str) -> None:
    await service.start()
    await service.up()
    in_the_way = service.folder / "state" / "high-water.new"  # as a disk without room would be
    in_the_way.mkdir()
    keys = [f"k{number}" for number in range(6)]
    for key in keys:
        assert (await service.sql("INSERT INTO items VALUES (?, 1, NULL)", key))["type"] == "ok"
        await _settled_alive(service)
    in_the_way.rmdir()
    await check_promises(service, postgres_url, keys)


async def test_a_switch_that_cannot_be_recorded_says_so_and_can_be_repeated(service: Service) -> None:
    await service.start()
    await service.up()
    await service.verified()
    log = service.folder / "state" / "audit.jsonl"
    kept = log.rename(log.with_suffix(".kept"))
    log.mkdir()
    code, body = await service.switch("promote")
    assert (code, body["error"]["code"]) == (503, "disk")
    assert "state_dir" in body["error"]["message"]
    assert (await service.status())["primary"] == "sqlite"
    log.rmdir()
    kept.rename(log)
    await service.switched("promote")


async def test_a_state_directory_that_cannot_be_made_is_a_wrong_setting(service: Service) -> None:
    (service.folder / "state").write_text("in its place")
    await service.start()
    assert service.process is not None
    assert await service.process.wait() == 2
    (told,) = [line for line in service.log.read_text().splitlines() if line.startswith("cutover: ")]
    assert told.startswith("cutover: service.state_dir ")
    assert "File exists" in told
