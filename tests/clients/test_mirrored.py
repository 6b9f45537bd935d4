"""What clients wrote through the door is on Postgres as well, value by value, as the comparison says."""

from __future__ import annotations

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
    verified = await door.service.verified()
    assert verified["drift_rows"] == 0
    assert "mirrored_http_all" in str(verified)
