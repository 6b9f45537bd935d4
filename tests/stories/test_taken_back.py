"""A switch that is taken back costs its pause, and nothing else."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from contextlib import closing

import aiohttp
import asyncpg

from tests.support.checks import check_promises, settled
from tests.support.service import Service, until
from tests.support.streams import Stream

PAUSE = "2s"
"""Time for every step up to the one that somebody is in the way of, also on a busy machine."""


async def taken_back(service: Service, direction: str, pid: int) -> None:
    """A switch is taken back soon after its pause, and names who was in its way.

    Where the machine is so busy that the pause is over before that is known, it is asked for again.
    """

    async def look() -> bool:
        began = time.monotonic()
        code, body = await service.switch(direction)
        assert code == 409, body
        assert body["error"]["code"] in ("aborted", "gates_failed"), body
        soon = time.monotonic() - began < 10  # 5 s and more for each wait too many
        return soon and f"pid {pid}" in body["error"]["message"]

    await service.explained(until(look, f"the end of a switch that process {pid} is in the way of"))


async def test_a_direct_writer_that_outlasts_the_pause(service: Service, postgres_url: str) -> None:
    """The fence does not get SQLite's lock. To be back costs the pause, and no waiting for that lock once more."""
    await service.start(environment={"CUTOVER_PROMOTION_PAUSE_TIMEOUT": PAUSE})
    await service.up()
    await service.verified()
    with closing(sqlite3.connect(service.sqlite, isolation_level=None)) as direct:
        direct.execute("BEGIN IMMEDIATE")
        direct.execute("INSERT INTO items VALUES ('direct', 1, NULL)")
        await taken_back(service, "promote", os.getpid())
        direct.execute("COMMIT")
    assert (await service.up())["primary"] == "sqlite"
    assert (await service.sql("INSERT INTO items VALUES ('after', 1, NULL)"))["type"] == "ok"
    await check_promises(service, postgres_url, ["direct", "after"])
    await service.switched("promote")
    assert await service.stop() == 0


async def test_a_native_transaction_that_outlasts_the_pause(service: Service, postgres_url: str) -> None:
    """Held writes go on as soon as the pause is over, not when the transaction in the way ends."""
    await service.start(environment={"CUTOVER_PROMOTION_PAUSE_TIMEOUT": PAUSE})
    await service.up()
    await service.verified()
    await service.switched("promote")
    await service.up("promoted")
    await service.verified()
    native = await asyncpg.connect(postgres_url)
    try:
        transaction = native.transaction()
        await transaction.start()
        await native.execute("INSERT INTO items VALUES ('native', 1, NULL)")
        await taken_back(service, "demote", native.get_server_pid())
        assert (await service.sql("INSERT INTO items VALUES ('after', 1, NULL)"))["type"] == "ok"
        await transaction.commit()
    finally:
        await native.close()
    assert (await service.up("promoted"))["primary"] == "postgres"
    await check_promises(service, postgres_url, ["native", "after"])
    await service.switched("demote")
    assert await service.stop() == 0


async def test_a_row_that_the_receiver_cannot_hold_ends_a_switch(service: Service, postgres_url: str) -> None:
    """It was written after the gates were looked at, and committed within its grace: to go on would lose it."""
    await service.start(environment={"CUTOVER_PROMOTION_GRACE": "20s", "CUTOVER_PROMOTION_PAUSE_TIMEOUT": "40s"})
    await service.up()
    await service.verified()
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as session:
        late = Stream(service, session)
        assert await late.execute("BEGIN IMMEDIATE") == ""
        assert await late.execute("INSERT INTO items VALUES ('late', 1, 'no' || char(0) || 'text')") == ""
        switching = asyncio.create_task(service.switch("promote"))

        async def under_way() -> bool:
            return bool((await service.status())["phase"] == "promoting")

        await service.explained(until(under_way, "the fence"))
        assert await late.execute("COMMIT") == ""
    code, body = await switching
    assert (code, body["error"]["code"]) == (409, "aborted"), body
    assert "1 row of items in quarantine would be left behind" in body["error"]["message"]
    assert (await service.up())["primary"] == "sqlite"
    assert await service.rows("SELECT n FROM items WHERE id = 'late'") == [[1]]
    await service.verified()
    # The INSERT is rehearsed as well, which finds what Postgres says to that text.
    code, body = await service.switch("promote", override=["no_quarantine", "shadow_reads_match"])
    assert code == 200, body


async def test_a_table_made_behind_the_gates_takes_a_switch_back_before_its_pause(
    service: Service, postgres_url: str
) -> None:
    await service.start()
    await service.up()
    await service.verified()
    native = await asyncpg.connect(postgres_url)
    try:
        await native.execute("BEGIN; LOCK TABLE cutover.switches IN SHARE MODE")
        switching = asyncio.create_task(service.switch("promote"))

        async def preparing() -> bool:
            return bool(await native.fetchval("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)"))

        await service.explained(until(preparing, "the record of the switch"))
        assert (await service.sql("CREATE TABLE late (id INTEGER PRIMARY KEY, n INTEGER)"))["type"] == "ok"
        await native.execute("ROLLBACK")
    finally:
        await native.close()
    code, body = await switching
    assert (code, body["error"]["code"]) == (409, "aborted"), body
    assert "could not be prepared" in body["error"]["message"]
    assert "schema" in body["error"]["message"]
    assert (await service.sql("INSERT INTO late VALUES (1, 1)"))["type"] == "ok"

    async def followed() -> bool:
        tables = {table["name"]: table for table in (await service.status())["tables"]}
        return "late" in tables and not (await service.status())["problem"]

    await service.explained(until(followed, "the table on Postgres"))
    await settled(service)
    assert (await service.verified())["drift_rows"] == 0
    await service.switched("promote")
    assert await service.rows("SELECT * FROM late") == [[1, 1]]
    assert await service.stop() == 0


async def test_a_session_on_the_receiver_that_outlasts_the_pause(service: Service, postgres_url: str) -> None:
    """Whoever keeps Postgres from committing the promotion is named, and SQLite goes on as if nothing had been."""
    await service.start(environment={"CUTOVER_PROMOTION_PAUSE_TIMEOUT": PAUSE})
    await service.up()
    await service.verified()
    native = await asyncpg.connect(postgres_url)
    try:
        await native.execute("BEGIN; LOCK TABLE items IN SHARE MODE")
        await taken_back(service, "promote", native.get_server_pid())
        assert (await service.up())["primary"] == "sqlite"
        assert (await service.sql("INSERT INTO items VALUES ('after', 1, NULL)"))["type"] == "ok"
        await native.execute("ROLLBACK")
    finally:
        await native.close()
    await check_promises(service, postgres_url, ["after"])
    await service.switched("promote")
    assert await service.stop() == 0


async def test_a_writer_that_ends_within_the_pause_is_waited_for(service: Service, postgres_url: str) -> None:
    await service.start(environment={"CUTOVER_PROMOTION_PAUSE_TIMEOUT": "20s"})
    await service.up()
    await service.verified()
    with closing(sqlite3.connect(service.sqlite, isolation_level=None)) as direct:
        direct.execute("BEGIN IMMEDIATE")
        direct.execute("INSERT INTO items VALUES ('direct', 1, NULL)")
        switching = asyncio.create_task(service.switch("promote"))

        async def waits() -> bool:
            return bool((await service.status())["phase"] == "promoting")

        await until(waits, "a promotion that waits for the writer")
        direct.execute("COMMIT")
    code, body = await switching
    assert code == 200, body
    await check_promises(service, postgres_url, ["direct"])
