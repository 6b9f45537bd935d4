"""Connections kept for applications' statements: who asks first is served first, and none is lost."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from cutover.dialect.connections import abandon
from cutover.dialect.lending import Lending
from cutover.model.statement import Statement, Step
from tests.flow.dialect_world import Pool, world


async def test_those_who_wait_are_served_in_order_and_cancelled_ones_take_nothing_with_them(postgres_url: str) -> None:
    async with asyncpg.create_pool(postgres_url, min_size=0, max_size=1) as pool:
        lending = Lending(Pool(pool), 60)  # type: ignore[arg-type]  # all that is used of it
        served: list[int] = []

        async def one(number: int) -> None:
            connection = await lending.take()
            served.append(number)
            await connection.execute("SELECT 1")
            await lending.give(connection)

        first = await lending.take()
        waiting = [asyncio.ensure_future(one(number)) for number in range(6)]
        await asyncio.sleep(0)
        waiting[2].cancel()
        await lending.give(first)
        waiting[1].cancel()  # whose turn may have come already
        await asyncio.gather(*waiting, return_exceptions=True)
        assert served == [0, 3, 4, 5]
        assert await lending.take() is first
        await lending.give(first)
        await lending.close()


async def test_a_connection_that_died_or_is_in_a_transaction_makes_room_for_another(postgres_url: str) -> None:
    async with asyncpg.create_pool(postgres_url, min_size=0, max_size=1) as pool:
        lending = Lending(Pool(pool), 60)  # type: ignore[arg-type]  # all that is used of it
        connection = await lending.take()
        await connection.execute("BEGIN")
        waiting = asyncio.ensure_future(lending.take())
        await asyncio.sleep(0)
        await lending.give(connection)
        other = await waiting
        assert connection.is_closed()
        await lending.give(other)
        other.terminate()
        third = await lending.take()
        assert await third.fetchval("SELECT 3") == 3
        await lending.close()
        await lending.give(third)  # goes to the pool, which closes at once


async def test_one_that_waited_for_a_pool_that_is_gone_does_not_count_for_the_next(postgres_url: str) -> None:
    async with (
        asyncpg.create_pool(postgres_url, min_size=0, max_size=1) as old,
        asyncpg.create_pool(postgres_url, min_size=0, max_size=1) as new,
    ):
        store = Pool(old)
        lending = Lending(store, 60)  # type: ignore[arg-type]  # all that is used of it
        async with old.acquire():
            early = asyncio.ensure_future(lending.take())
            await asyncio.sleep(0)
            store.pool = new
            connection = await lending.take()
            early.cancel()
            await asyncio.gather(early, return_exceptions=True)
            waiting = asyncio.ensure_future(lending.take())
            await asyncio.sleep(0)
            await lending.give(connection)
            assert await waiting is connection
        await lending.give(connection)
        await lending.close()


async def test_nobody_waits_for_ever(postgres_url: str) -> None:
    async with asyncpg.create_pool(postgres_url, min_size=1, max_size=1) as pool:
        lending = Lending(Pool(pool), 0.5)  # type: ignore[arg-type]  # all that is used of it
        connection = await lending.take()
        with pytest.raises(TimeoutError):
            await lending.take()
        await lending.give(connection)
        await lending.close()


async def test_a_caller_that_is_cancelled_while_the_schema_is_read_takes_no_connection_with_it(
    postgres_url: str,
) -> None:
    async with world(postgres_url, "CREATE TABLE t (id INTEGER PRIMARY KEY);") as both:
        both.executor._connections._lending._patience = 600
        for _ in range(10):  # more than there are connections
            both.executor.dialect.forget()
            asking = asyncio.ensure_future(both.executor.run([Step(Statement("SELECT count(*) FROM t"))]))
            await asyncio.sleep(0)
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
        async with asyncio.timeout(60):  # less than one waits for a connection
            await both.same("SELECT count(*) FROM t")


async def test_a_connection_whose_begin_was_cancelled_on_its_way_is_lent_to_nobody_in_that_transaction(
    postgres_url: str,
) -> None:
    async with world(postgres_url, "CREATE TABLE t (id INTEGER PRIMARY KEY);") as both:
        connections = both.executor._connections

        async def look() -> None:
            async with connections.lend() as connection:
                try:
                    await connection.execute("BEGIN READ ONLY")
                finally:
                    await abandon(connection)

        for turns in range(1, 8):
            looking = asyncio.ensure_future(look())
            for _ in range(turns):  # until its BEGIN is on its way, and no further
                await asyncio.sleep(0)
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)
            for sql in ("BEGIN", "INSERT INTO t DEFAULT VALUES", "COMMIT"):
                await both.same(sql)
