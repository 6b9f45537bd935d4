"""The audit log's anchors in the stores: moved along with it, and nobody waits long for a store that is silent."""

from __future__ import annotations

from pathlib import Path

from cutover.audit import AuditLog
from cutover.clock import monotonic
from cutover.metrics import Metrics
from cutover.model.requests import SERVICE
from cutover.promote.parts import Trail
from cutover.stores.sqlite.store import SqliteStore
from tests.support.service import until
from tests.support.sqlite_world import PRIMARY, direct, make, served


async def anchored(store: SqliteStore) -> int:
    found = await store.control()
    assert found is not None
    return found.audit_sequence


async def test_a_store_that_is_silent_is_waited_for_once(tmp_path: Path, sqlite_path: str) -> None:
    make(sqlite_path, "CREATE TABLE t (k TEXT NOT NULL PRIMARY KEY)")
    async with served(sqlite_path, PRIMARY, busy_timeout=5) as (store, _):
        log = AuditLog(tmp_path / "audit.jsonl")
        log.open()
        trail = Trail(log, Metrics("0"), (store,))
        await trail.write("one", SERVICE)
        assert await anchored(store) == log.sequence
        with direct(sqlite_path) as application:
            application.execute("BEGIN IMMEDIATE")
            began = monotonic()
            for number in range(50):
                await trail.write(f"silent {number}", SERVICE)
            assert monotonic() - began < 60  # to wait each time takes longer than 100 s
            assert await anchored(store) == 1
            application.execute("ROLLBACK")
        await trail.write("answered", SERVICE)

        async def arrived() -> bool:
            return await anchored(store) == log.sequence

        await until(arrived, "the anchor")

        async def at_once() -> bool:
            await trail.write("at once again", SERVICE)
            return await anchored(store) == log.sequence

        await until(at_once, "an anchor that is waited for")
