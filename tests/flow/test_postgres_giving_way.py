"""A snapshot that has been open for a while ends for a schema change that waits for one of its tables."""

from __future__ import annotations

import asyncio

import pytest

from cutover.stores.base import Snapshot
from cutover.stores.postgres.giving_way import GaveWay, Patience
from cutover.stores.postgres.store import PostgresStore
from tests.support.postgres import PRIMARY, native, ready, run
from tests.support.samples import PAIRS

WAITS = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'ALTER TABLE%')"


async def until_it_waits(url: str) -> None:
    async with native(url) as looking, asyncio.timeout(60):
        while not await looking.fetchval(WAITS):
            await asyncio.sleep(0.01)


async def read_until_the_end(snapshot: Snapshot) -> None:
    async with asyncio.timeout(60):
        while True:
            await snapshot.rows(PAIRS, [(1, "x")])
            await asyncio.sleep(0.01)


async def begun(store: PostgresStore, url: str) -> asyncio.Task[None]:
    """A change that waits for the snapshot that is open."""
    change = asyncio.create_task(run(url, "ALTER TABLE pairs ADD COLUMN more text"))
    await until_it_waits(url)
    return change


async def test_a_schema_change_has_its_table_and_the_next_snapshot_is_kept_longer(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Patience, "FIRST", 0.05)
    async with ready(postgres_url, PRIMARY) as store:
        async with store.snapshot() as snapshot:
            await snapshot.rows(PAIRS, [(1, "x")])  # nobody waits
            change = await begun(store, postgres_url)
            with pytest.raises(GaveWay):
                await read_until_the_end(snapshot)
        async with asyncio.timeout(60):
            await change
        assert store._waits.seconds() == 0.1  # what it learned


async def test_a_young_snapshot_is_read_to_its_end(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Patience, "FIRST", 60.0)
    async with ready(postgres_url, PRIMARY) as store:
        await run(postgres_url, "INSERT INTO pairs VALUES (1, 'x', 'n')")
        async with store.snapshot() as snapshot:
            change = await begun(store, postgres_url)
            assert await snapshot.rows(PAIRS, [(1, "x")]) == {(1, "x"): (1, "x", "n")}
        await change


async def test_writers_that_wait_for_each_other_end_no_snapshot(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Patience, "FIRST", 0.0)
    async with ready(postgres_url, PRIMARY) as store, native(postgres_url) as writer:
        await run(postgres_url, "INSERT INTO pairs VALUES (1, 'x', 'n')")
        async with store.snapshot() as snapshot, writer.transaction():
            await writer.execute("UPDATE pairs SET note = 'a'")
            other = asyncio.create_task(run(postgres_url, "UPDATE pairs SET note = 'b'"))
            for _ in range(3):
                assert await snapshot.rows(PAIRS, [(1, "x")]) == {(1, "x"): (1, "x", "n")}
        await other
