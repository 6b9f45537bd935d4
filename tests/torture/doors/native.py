"""On Postgres itself, past the service: in vain while it is not the primary."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Sequence

import asyncpg

from tests.torture.doors.base import Door, Expected, Statement, Told

_NATIVE_TIMEOUT = 6.0
_LEVELS = ("READ COMMITTED", "READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE")


class NativeDoor(Door):
    """asyncpg on Postgres, past the service, at any isolation level, its snapshot sometimes older than its write."""

    name = "native"

    def __init__(self, url: str, rng: random.Random, levels: Sequence[str] = _LEVELS) -> None:
        self.url, self.rng, self.levels = url, rng, levels
        self._connection: asyncpg.Connection | None = None

    async def run(self, statements: tuple[Statement, ...], expect: Expected = ()) -> Told:
        level = self.rng.choice(self.levels)
        pause = self.rng.choice([0.0, 0.0, 0.0, self.rng.uniform(0, 0.03)])
        explicit = len(statements) > 1 or self.rng.random() < 0.3
        sent = not explicit
        try:
            async with asyncio.timeout(_NATIVE_TIMEOUT):
                sent = False
                connection = self._connection or await self._open()
                told = Told("acknowledged")
                if explicit:
                    await connection.execute(f"BEGIN ISOLATION LEVEL {level}")
                    await connection.execute("SELECT 1 FROM pg_class LIMIT 1")  # the snapshot stands from here
                for at, statement in enumerate(statements):
                    if pause and at < 2:
                        await asyncio.sleep(pause)
                    sent = not explicit
                    await self._one(connection, statement, told)
                if explicit:
                    sent = True
                    status = await connection.execute("COMMIT")
                    if status != "COMMIT":
                        return Told("refused", "ROLLED_BACK", status)
                return told
        except asyncpg.PostgresError as error:
            return await self._failed(error, sent)
        except (OSError, TimeoutError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
            self._drop()
            return Told("unknown" if sent else "refused", "CONNECTION", repr(error))

    async def _one(self, connection: asyncpg.Connection, statement: Statement, told: Told) -> None:
        sql = numbered(statement.native or statement.sql)
        prepared = await connection.prepare(sql)
        rows = await prepared.fetch(*statement.values(told.rows))
        told.rows.append([tuple(row) for row in rows])
        count = re.search(r"(\d+)$", prepared.get_statusmsg())
        told.affected.append(int(count.group(1)) if count else 0)

    async def _failed(self, error: asyncpg.PostgresError, sent: bool) -> Told:
        state = error.sqlstate or "?"
        # Ended from outside: the session's last words do not say what became of a commit.
        doubtful = sent and (state.startswith(("08", "57P", "XX")) or isinstance(error, asyncpg.InternalServerError))
        if state.startswith(("08", "57P", "53", "XX")) or self._connection is None or self._connection.is_closed():
            self._drop()
        elif self._connection.is_in_transaction():
            try:
                await self._connection.execute("ROLLBACK", timeout=2)
            except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError):
                self._drop()
        return Told("unknown" if doubtful else "refused", state, str(error))

    async def _open(self) -> asyncpg.Connection:
        self._connection = await asyncpg.connect(self.url, timeout=3, statement_cache_size=0)
        return self._connection

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None and not connection.is_closed():
            connection.terminate()

    async def close(self) -> None:
        self._drop()


def numbered(sql: str) -> str:
    """`?` as `$1`, `$2`, ..."""
    parts = sql.split("?")
    return parts[0] + "".join(f"${at}{part}" for at, part in enumerate(parts[1:], 1))
