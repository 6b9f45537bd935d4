"""Snapshots that are given up in the middle of being opened leave nothing behind."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from cutover.stores.sqlite.store import SqliteStore


@pytest.mark.parametrize("steps", range(12))
async def test_a_cancelled_snapshot_returns_its_connection_at_rest(sqlite_path: str, steps: int) -> None:
    store = SqliteStore(sqlite_path)
    await store.open()
    try:

        async def look() -> None:
            async with store.snapshot() as snapshot:
                await snapshot.scalar("SELECT 1")

        await look()  # a connection is there and idle, so that the next one borrows it
        task = asyncio.create_task(look())
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        for _ in range(3):
            await look()
    finally:
        await store.close()
