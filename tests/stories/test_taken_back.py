"""A switch that is taken back costs its pause, and nothing else."""

from __future__ import annotations

import sqlite3
from contextlib import closing

from tests.support.checks import check_promises
from tests.support.service import Service


async def test_a_direct_writer_that_outlasts_the_pause(service: Service, postgres_url: str) -> None:
    """Neither the fence nor its removal gets SQLite's lock; the service goes on as soon as the writer lets go."""
    await service.start(
        environment={"CUTOVER_SQLITE_BUSY_TIMEOUT": "500ms", "CUTOVER_PROMOTION_PAUSE_TIMEOUT": "1s"},
    )
    await service.up()
    await service.verified()
    with closing(sqlite3.connect(service.sqlite, isolation_level=None)) as direct:
        direct.execute("BEGIN IMMEDIATE")
        direct.execute("INSERT INTO items VALUES ('direct', 1, NULL)")
        code, body = await service.switch("promote")
        assert (code, body["error"]["code"]) == (409, "aborted"), body
        direct.execute("COMMIT")
    assert (await service.up())["primary"] == "sqlite"
    assert (await service.sql("INSERT INTO items VALUES ('after', 1, NULL)"))["type"] == "ok"
    await check_promises(service, postgres_url, ["direct", "after"])
    code, body = await service.switch("promote")
    assert code == 200, body
    assert await service.stop() == 0
