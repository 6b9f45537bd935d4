"""Rows that this database cannot hold, within one apply transaction."""

from __future__ import annotations

from collections.abc import Iterable

from cutover.model.table import Table
from cutover.model.values import Key
from cutover.stores.postgres.keys import decode_key, encode_key, within
from cutover.stores.postgres.link import Link


class Quarantine:
    """The quarantine as this transaction sees it. Almost always empty, so it is asked for once and then known."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._tables: set[str] | None = None

    async def put(self, table: Table, faults: Iterable[tuple[Key, str]]) -> int:
        """Put these keys in, each with its reason; returns how many. Rows without a key share one: NULL."""
        entries = {encode_key(key): reason for key, reason in faults}
        if entries:
            await self._link.execute(
                """
                INSERT INTO cutover.quarantine (table_name, key, reason)
                SELECT $1, v.key, v.reason FROM unnest($2::text[], $3::text[]) AS v(key, reason)
                ON CONFLICT (table_name, key_hash) DO UPDATE SET reason = excluded.reason""",
                table.name,
                list(entries),
                list(entries.values()),
            )
            (await self._known()).add(table.name)
        return len(entries)

    async def clear(self, table: Table, keys: Iterable[Key]) -> None:
        """Take these keys out: they fit again, or are gone."""
        if table.name in await self._known():
            await self._link.execute(
                "DELETE FROM cutover.quarantine WHERE table_name = $1 AND key = ANY($2::text[])",
                table.name,
                [encode_key(key) for key in keys],
            )

    async def clear_range(self, table: Table, after: Key | None, upto: Key | None) -> None:
        """Take out every key of a range."""
        if table.name in await self._known():
            rows = await self._link.fetch("SELECT key FROM cutover.quarantine WHERE table_name = $1", table.name)
            keys = [decode_key(row["key"]) for row in rows]
            await self.clear(table, [key for key in keys if within(key, after, upto)])

    async def _known(self) -> set[str]:
        if self._tables is None:
            rows = await self._link.fetch("SELECT DISTINCT table_name FROM cutover.quarantine")
            self._tables = {row["table_name"] for row in rows}
        return self._tables
