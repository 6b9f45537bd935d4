"""A SQLite file as primary and Postgres as its shadow, for what carries changes of the schema over."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from cutover.serve.following import Follower
from cutover.settings import Settings
from cutover.stores.postgres.store import PostgresStore
from cutover.stores.sqlite.store import SqliteStore
from tests.support.postgres import SHADOW, ready
from tests.support.sqlite_world import PRIMARY, make, served


@asynccontextmanager
async def followed(
    path: str, url: str, *statements: str, copied: bool
) -> AsyncIterator[tuple[Follower, PostgresStore]]:
    """A file with a schema that Postgres, the shadow, has as well. `copied`: whether its rows are there, too."""
    make(path, *statements)
    async with served(path, PRIMARY) as (sqlite, _), ready(url, SHADOW, ddl=(), tables=()) as postgres:
        follower = Follower(Settings(), sqlite, postgres, lambda _: copied)
        await follower.follow("sqlite")
        yield follower, postgres


@asynccontextmanager
async def unfollowed(path: str, url: str, *, placed: bool) -> AsyncIterator[tuple[SqliteStore, PostgresStore]]:
    """Both stores before the very first look. `placed`: whether there is room on Postgres for a record of it."""
    async with AsyncExitStack() as stack:
        sqlite, _ = await stack.enter_async_context(served(path, PRIMARY))
        postgres = PostgresStore(url)
        await postgres.open()
        stack.push_async_callback(postgres.close)
        if placed:
            await postgres.initialise(SHADOW)
        yield sqlite, postgres
