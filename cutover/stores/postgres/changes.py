"""The change log from outside a snapshot: waiting for entries, counting them, removing them."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress

from cutover.clock import monotonic
from cutover.crashpoints import crash_point
from cutover.errors import StoreError
from cutover.model.values import Pending
from cutover.stores.postgres.link import Connections, Link
from cutover.stores.postgres.rows import Rows
from cutover.stores.postgres.snapshot import Seen

_LONGEST_PAUSE = 1.0
_VACUUM_AFTER = 20_000
"""Removed entries of one table: from there on, looking for new ones past them costs more than clearing up."""

_LONG = 4_000_000
"""Bytes of a log's file that no load needs which the mirror keeps up with."""
_TRIED_MS = 100


class Changes:
    """One store's change log."""

    def __init__(self, connections: Connections, poll_interval: float) -> None:
        self._connections = connections
        self._poll_interval = poll_interval
        self._tables: Mapping[str, Rows] = {}
        self._woken = asyncio.Event()
        self._removed: defaultdict[str, int] = defaultdict(int)

    def watch(self, tables: Mapping[str, Rows]) -> None:
        """Say which tables there are."""
        self._tables = tables

    def wake(self) -> None:
        """Somebody here committed."""
        self._woken.set()

    async def wait(self, timeout: float) -> bool:
        """True once there is an entry or somebody called `wake`; False after `timeout` seconds, also if the server
        is away all that time."""
        deadline = monotonic() + timeout
        pause = self._poll_interval
        while True:
            if self._woken.is_set():
                self._woken.clear()
                return True
            left = deadline - monotonic()
            if left <= 0:
                return False
            try:
                async with asyncio.timeout(left):
                    if await self._any():
                        return True
                pause = self._poll_interval
            except TimeoutError:
                return False
            except StoreError:
                pause = min(pause * 2, _LONGEST_PAUSE)
            try:
                async with asyncio.timeout(min(pause, max(deadline - monotonic(), 0))):
                    await self._woken.wait()
            except TimeoutError:
                continue

    async def _any(self) -> bool:
        if not self._tables:
            return False
        async with self._connections.use() as link:
            entries = " OR ".join(f"EXISTS (SELECT FROM {rows.log})" for rows in self._tables.values())
            return bool(await link.value(f"SELECT {entries}"))

    async def lag(self) -> tuple[int, float | None]:
        """Entries, and when the oldest was written."""
        if not self._tables:
            return 0, None
        parts = " UNION ALL ".join(f"SELECT at FROM {rows.log}" for rows in self._tables.values())
        async with self._connections.use() as link:
            row = await link.row(f"SELECT count(*), extract(epoch FROM min(at))::float8 FROM ({parts}) entries")
        assert row is not None, "an aggregate has a row"
        return row[0], row[1]

    async def trim(self, pending: Pending, batch: int) -> None:
        """Remove the entries of the transactions that the snapshot saw, unless this batch was trimmed already.

        A snapshot sees all of a transaction or nothing, so it names its entries exactly, however many they are.
        """
        seen = pending.token
        assert isinstance(seen, Seen), "a token of this store"
        affected = [rows for name, rows in self._tables.items() if pending.tables is None or name in pending.tables]
        async with self._connections.use() as link:
            async with link.transaction():
                trimmed = await link.value("SELECT trimmed_batch FROM cutover.control FOR NO KEY UPDATE")
                if trimmed is None or trimmed >= batch:
                    return
                for rows in affected:
                    removed = await link.execute(
                        f"DELETE FROM {rows.log} WHERE pg_visible_in_snapshot(xid, $1::text::pg_snapshot)",
                        seen.snapshot,
                    )
                    self._removed[rows.log] += removed
                await link.execute(
                    """
                    UPDATE cutover.installed i SET fingerprint = seen.fingerprint
                    FROM unnest($1::int[], $2::text[]) AS seen(table_id, fingerprint)
                    WHERE seen.table_id = i.table_id AND seen.fingerprint <> i.fingerprint""",
                    [table_id for table_id, _ in seen.fingerprints],
                    [fingerprint for _, fingerprint in seen.fingerprints],
                )
                await link.execute("UPDATE cutover.control SET trimmed_batch = $1", batch)
                crash_point("postgres.trim")
            for log in [log for log, removed in self._removed.items() if removed >= _VACUUM_AFTER]:
                self._removed[log] = 0
                with suppress(StoreError):  # autovacuum would come by as well, a minute later
                    await _clear_up(link, log)


async def _clear_up(link: Link, log: str) -> None:
    """Make room of removed entries. To cut the file off, Postgres would wait for writers for up to 5 s, and the mirror
    with it: that is only tried, and only of a file that has become long."""
    await link.execute(f"VACUUM (SKIP_LOCKED, TRUNCATE FALSE) {log}")
    if await link.value("SELECT pg_relation_size($1::text::regclass)", log) > _LONG:
        await link.execute(f"SET statement_timeout = {_TRIED_MS}")
        try:
            await link.execute(f"VACUUM (SKIP_LOCKED) {log}")
        finally:
            await link.execute("RESET statement_timeout")
