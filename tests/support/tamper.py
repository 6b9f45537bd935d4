"""Changing a shadow past its fence, as only cutover's own applier could, to see that it is noticed."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import asyncpg

from tests.support.service import Service

KEY = "old-7"
COLUMN = "body"


async def forge(service: Service, postgres: str, shadow: str) -> None:
    """Change one row of the store that is the shadow."""
    await run_past_fence(service.sqlite, postgres, shadow, f"UPDATE items SET {COLUMN} = 'forged' WHERE id = '{KEY}'")


async def take_away(service: Service, postgres: str, shadow: str) -> None:
    """Remove that row, so that also the counts differ."""
    await run_past_fence(service.sqlite, postgres, shadow, f"DELETE FROM items WHERE id = '{KEY}'")


async def run_past_fence(sqlite: str, postgres: str, shadow: str, sql: str) -> None:
    """Run one statement on a fenced store."""
    if shadow == "sqlite":
        with closing(sqlite3.connect(sqlite, timeout=60, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("UPDATE _cutover_control SET applying = 1")
            connection.execute(sql)
            connection.execute("UPDATE _cutover_control SET applying = 0")
            connection.execute("COMMIT")
        return
    connection = await asyncpg.connect(postgres)
    try:
        async with connection.transaction():
            await connection.execute(
                "SELECT set_config('cutover.applier', generation::text, true) FROM cutover.control"
            )
            await connection.execute(sql)
    finally:
        await connection.close()


async def tampering_is_found(service: Service, postgres: str) -> None:
    """Promise 8 from its other side: exactly the changed row is reported, and a repair ends it."""
    await forge(service, postgres, (await service.status())["shadow"])
    assert (await service.verified())["drift_rows"] == 1
    _, drift = await service.request("GET", service.admin + "/v1/drift")
    found = [(row["table"], row["key"], row["kind"], row["columns"]) for row in drift["rows"]]
    assert found == [("items", [KEY], "different", [COLUMN])], found
    code, repaired = await service.post("/v1/repair")
    assert code == 200, repaired
    assert (repaired["repaired"], repaired["remaining"]) == (1, 0), repaired
    assert (await service.verified())["drift_rows"] == 0
