"""What clients wrote through the door is on Postgres as well, value by value, as the comparison says."""

from __future__ import annotations

from typing import Any

import asyncpg
import pytest

from tests.clients.door import Door
from tests.support.service import until


@pytest.mark.asyncio(loop_scope="session")
async def test_what_a_client_wrote_arrives_on_postgres(door: Door) -> None:
    told = door.node("mirrored")
    connection = await asyncpg.connect(door.postgres)
    try:

        async def arrived() -> bool:
            exists = await connection.fetchval("SELECT to_regclass('mirrored_http_all') IS NOT NULL")
            rows = await connection.fetch("SELECT id FROM mirrored_http_all ORDER BY id") if exists else []
            return [row["id"] for row in rows] == told["ids"]

        await until(arrived, "the arrival of every row")
    finally:
        await connection.close()

    async def verified() -> Any:
        """Of this table alone, once it is mapped; it ends early where tables of other scenarios come to the mirror."""
        if "mirrored_http_all" not in {table["name"] for table in (await door.service.status())["tables"]}:
            return None
        answer = await door.service.verification("mirrored_http_all")
        return None if answer["state"] == "failed" and "changed meanwhile" in answer["error"] else answer

    found = await until(verified, "a verification to its end")
    assert found["state"] == "done", found
    assert found["drift_rows"] == 0
    assert "mirrored_http_all" in str(found)
