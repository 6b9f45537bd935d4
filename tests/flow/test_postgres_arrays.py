"""Array types are known to a connection when it opens: no statement has the driver ask the catalog for one."""

from __future__ import annotations

import asyncio
import datetime as dt
import decimal
import uuid
from typing import Any

import asyncpg

from cutover.stores.postgres.arrays import ARRAYS
from cutover.stores.postgres.link import Connections

_DAY = dt.date(2024, 2, 29)
_NOON = dt.datetime(2024, 2, 29, 12, 30, tzinfo=dt.UTC)
_VALUES: dict[str, Any] = {
    "bool": True,
    "bytea": b"\x00\xff",
    "char": b"x",
    "name": "relname",
    "int2": -3,
    "int4": 1 << 30,
    "text": 'a, "b" {c}',
    "bpchar": "x",
    "varchar": "",
    "int8": -(1 << 62),
    "float4": 0.5,
    "float8": 1e300,
    "oid": 4_000_000_000,
    "timestamp": _NOON.replace(tzinfo=None),
    "date": _DAY,
    "time": _NOON.time(),
    "timestamptz": _NOON,
    "numeric": decimal.Decimal("1.50"),
    "uuid": uuid.UUID(int=7),
    "json": '{"a": [1]}',
    "jsonb": "[1]",
}


async def test_arrays_cross_and_nothing_is_asked_for_them(postgres_url: str) -> None:
    connections = Connections(postgres_url, connect_timeout=30, ssl_mode="prefer")
    pool = await connections.pool(1, 30)
    async with connections.use() as link, pool.acquire() as pooled:
        for connection in (link.raw, pooled):
            asked: list[str] = []
            connection.add_query_logger(lambda told, asked=asked: asked.append(told.query))
            for name, value in _VALUES.items():
                sql = f'SELECT $1::pg_catalog."{name}"[]'
                assert await connection.fetchval(sql, [value, None]) == [value, None], name
            await asyncio.sleep(0)  # loggers are called a little later
            assert [sql for sql in asked if "pg_catalog" not in sql or "typeinfo" in sql] == []
            assert len(asked) == len(_VALUES)
    await pool.close()
    connections.close()


async def test_they_have_the_numbers_that_the_server_gives_them(postgres_url: str) -> None:
    assert ARRAYS.keys() == _VALUES.keys()
    connection = await asyncpg.connect(postgres_url)
    rows = await connection.fetch(
        "SELECT typname::text, typarray::int8, oid::int8 FROM pg_type WHERE oid::int8 = ANY($1::int8[])",
        [element for _, element in ARRAYS.values()],
    )
    await connection.close()
    assert {name: (array, element) for name, array, element in rows} == ARRAYS
