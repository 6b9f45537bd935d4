"""An application that writes to Postgres with a driver of its own, as it will after the migration."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any, Literal

import asyncpg

from tests.support.ledger import MOVED, Writer, moves

Isolation = Literal["read_committed", "serializable"]

_FENCED = "25006"
_RENEWED = 300
"""Statements of one connection: some thirty transactions."""
_REFUSED_REST = 0.05
"""Seconds, after a transaction that failed."""


class _Unset(asyncpg.Connection):
    """Its writers set nothing, so nothing is set back between two transactions."""

    __slots__ = ()

    def get_reset_query(self) -> str:
        return ""


class NativeWriter(Writer):
    """One writer with a pool of its own; its connection is renewed every now and then."""

    def __init__(self, url: str, name: str, isolation: Isolation = "read_committed", *, rest: float = 0.01) -> None:
        super().__init__(name)
        self.url, self.isolation, self.rest = url, isolation, rest

    async def _run(self) -> None:
        options: dict[str, Any] = {"timeout": 10, "command_timeout": 30, "connection_class": _Unset}
        async with asyncpg.create_pool(self.url, min_size=0, max_size=2, max_queries=_RENEWED, **options) as pool:
            await self._until_fenced(pool)
            number = 0
            while not self._stop.is_set():
                number += 1
                done = await self._one(pool, f"{self.name}-{number}", number)
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._stop.wait(), self.rest if done else _REFUSED_REST)

    async def _until_fenced(self, pool: asyncpg.Pool) -> None:
        """Tables that cutover makes are nobody's until the fence stands: an application does not know them yet."""
        sql = "SELECT count(*) FROM pg_trigger WHERE tgrelid = to_regclass('items') AND tgname LIKE '%cutover%'"
        while not self._stop.is_set() and not await pool.fetchval(sql):
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), 0.02)

    async def _one(self, pool: asyncpg.Pool, key: str, number: int) -> bool:
        """One transaction; whether it was acknowledged."""
        try:
            async with pool.acquire() as connection:
                transaction = connection.transaction(isolation=self.isolation)
                try:
                    await self._write(connection, transaction, key, number)
                    # By another snapshot, since this one may be older. The lock of its table holds a switch off.
                    found = await pool.fetchrow("SELECT epoch, primary_store FROM cutover.control")
                except BaseException:
                    with suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
                        await transaction.rollback()
                    raise
                return await self._commit(transaction, key, (found[0], found[1]))
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
            self._not_executed(key, error)
            return False

    async def _write(
        self, connection: asyncpg.Connection, transaction: asyncpg.transaction.Transaction, key: str, number: int
    ) -> None:
        """Everything but the commit."""
        await transaction.start()
        await connection.execute("INSERT INTO items VALUES ($1, $2, $3)", key, number, MOVED)
        for account, by in moves(number):
            await connection.execute("UPDATE accounts SET balance = balance + $1 WHERE id = $2", by, account)
        await connection.execute("UPDATE pairs SET b = $1 WHERE a = $2", number, self.name)

    async def _commit(self, transaction: asyncpg.transaction.Transaction, key: str, found: tuple[int, str]) -> bool:
        try:
            await transaction.commit()
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
            if getattr(error, "sqlstate", None) in {"40001", "40P01"}:
                raise  # rolled back, for certain
            self.errors.append(_told(error))
            self.unknown.add(key)
            return False
        self.acknowledged.add(key)
        self.note(*found, "postgres")
        return True

    def _not_executed(self, key: str, error: BaseException) -> None:
        self.refused.add(key)
        code = getattr(error, "sqlstate", None)
        if code == _FENCED:
            self.fenced.append(str(error))
        else:
            self.errors.append(_told(error))


def _told(error: BaseException) -> str:
    return f"{getattr(error, 'sqlstate', None) or type(error).__name__}: {error}"
