"""A switch that is taken back costs its pause, and nothing else."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing

import asyncpg

from tests.support.checks import check_promises
from tests.support.service import Service


async def test_a_direct_writer_that_outlasts_the_pause(service: Service, postgres_url: str) -> None:
    """The fence does not get SQLite's lock. To be back costs the pause, and no waiting for that lock once more."""
    await service.start(environment={"CUTOVER_PROMOTION_PAUSE_TIMEOUT": "1s"})
    await service.up()
    await service.verified()
    with closing(sqlite3.connect(service.sqlite, isolation_level=None)) as direct:
        direct.execute("BEGIN IMMEDIATE")
        direct.execute("INSERT INTO items VALUES ('direct', 1, NULL)")
        began = time.monotonic()
        code, body = await service.switch("promote")
        assert (code, body["error"]["code"]) == (409, "aborted"), body
        assert time.monotonic() - began < 10  # 5 s and more for each wait too many
        direct.execute("COMMIT")
    assert (await service.up())["primary"] == "sqlite"
    assert (await service.sql("INSERT INTO items VALUES ('after', 1, NULL)"))["type"] == "ok"
    await check_promises(service, postgres_url, ["direct", "after"])
    code, body = await service.switch("promote")
    assert code == 200, body
    assert await service.stop() == 0


async def test_a_native_transaction_that_outlasts_the_pause(service: Service, postgres_url: str) -> None:
    """Held writes go on as soon as the pause is over, not when the transaction in the way ends."""
    await service.start(environment={"CUTOVER_PROMOTION_PAUSE_TIMEOUT": "1s"})
    await service.up()
    await service.verified()
    assert (await service.switch("promote"))[0] == 200
    await service.up("promoted")
    await service.verified()
    native = await asyncpg.connect(postgres_url)
    try:
        transaction = native.transaction()
        await transaction.start()
        await native.execute("INSERT INTO items VALUES ('native', 1, NULL)")
        began = time.monotonic()
        code, body = await service.switch("demote")
        assert (code, body["error"]["code"]) == (409, "aborted"), body
        assert time.monotonic() - began < 10
        assert (await service.sql("INSERT INTO items VALUES ('after', 1, NULL)"))["type"] == "ok"
        await transaction.commit()
    finally:
        await native.close()
    assert (await service.up("promoted"))["primary"] == "postgres"
    await check_promises(service, postgres_url, ["native", "after"])
    code, body = await service.switch("demote")
    assert code == 200, body
    assert await service.stop() == 0
