"""The disk of the state directory is full: applications must not notice."""

from __future__ import annotations

import pytest

from tests.support.checks import check_promises, settled
from tests.support.service import Service


@pytest.mark.xfail(strict=True, reason="the service ends")
async def test_a_high_water_mark_that_cannot_be_written_stops_nobody(service: Service, postgres_url: str) -> None:
    await service.start()
    await service.up()
    in_the_way = service.folder / "state" / "high-water.new"  # as a disk without room would be
    in_the_way.mkdir()
    keys = [f"k{number}" for number in range(6)]
    for key in keys:
        assert (await service.sql("INSERT INTO items VALUES (?, 1, NULL)", key))["type"] == "ok"
        await settled(service)
    in_the_way.rmdir()
    service.check_alive()
    await check_promises(service, postgres_url, keys)
