"""What Postgres tells of a statement before it runs, and how one that runs is ended when the service stops."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from cutover.errors import StatementError
from cutover.model.statement import Statement, Step
from tests.flow.dialect_world import World, world

SCHEMA = "CREATE TABLE users (id INTEGER PRIMARY KEY, handle TEXT NOT NULL, n INTEGER);"

RUNNING = """
SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%RECURSIVE%' AND pid <> pg_backend_pid()
AND state = 'active' AND clock_timestamp() - query_start > interval '0.1 seconds'
"""
"""It is not just being prepared: between that and its run there is nothing to end."""


@pytest.fixture
async def both(postgres_url: str) -> AsyncIterator[World]:
    async with world(postgres_url, SCHEMA, store=True) as made:
        yield made


async def test_plans(both: World) -> None:
    plan = both.executor.plan
    assert "users" in (await plan("SELECT * FROM users WHERE handle = 'secret' AND n = ?"))[-1]
    nested = await plan("SELECT n, count(*) FROM users WHERE handle LIKE 'secret%' GROUP BY n ORDER BY 2")
    assert len(nested) >= 3
    assert nested[1].startswith("  ")
    assert "secret" not in str(nested)
    write = await plan("UPDATE users SET handle = ? WHERE id = ?")
    assert "users_pkey" in "".join(write)
    assert await plan("PRAGMA table_info(users)") == []
    with pytest.raises(StatementError):
        await plan("SELECT missing FROM users")
    with pytest.raises(StatementError):
        await plan("SELECT load_extension('x')")
    async with both.executor._connections.lend() as connection:
        assert await connection.fetchval("SELECT count(*) FROM users") == 0
        assert await connection.fetchval("SELECT count(*) FROM pg_prepared_statements WHERE name LIKE 'cutover%'") == 0
        assert not connection.is_in_transaction()


async def test_a_statement_that_runs_is_ended_in_a_hurry(both: World) -> None:
    endless = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT count(*) FROM c"
    running = asyncio.create_task(both.executor.run([Step(Statement(endless))]))
    connections = both.executor._connections
    async with asyncio.timeout(60):
        async with connections.lend() as watching:
            while not await watching.fetchval(RUNNING):
                await asyncio.sleep(0.01)
        while not running.done():  # once would do, were it certain that it is not still being prepared
            both.executor.hurry()
            await asyncio.wait({running}, timeout=0.3)
        error = running.result().errors[0]
    assert error is not None
    assert error.code == "SQLITE_INTERRUPT"
    assert not connections._lent
    assert (await both.executor.run([Step(Statement("SELECT 1"))])).errors == [None], "nothing else is ended"
