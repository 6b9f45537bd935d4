"""Plans of statements on Postgres: of their translation, without values, and without running anything."""

from collections.abc import AsyncIterator

import pytest

from cutover.errors import StatementError
from tests.flow.dialect_world import World, world

SCHEMA = "CREATE TABLE users (id INTEGER PRIMARY KEY, handle TEXT NOT NULL, n INTEGER);"


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
