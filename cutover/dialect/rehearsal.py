"""One statement tried on Postgres without running it: translated, and prepared inside a transaction that is undone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from cutover.dialect.connections import DRIVER_ERRORS, Connections, abandon
from cutover.dialect.failures import Lost, translate_failure
from cutover.dialect.typed import Refused
from cutover.errors import StatementError, StoreUnavailable


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """What came of it."""

    status: Literal["ready", "refused", "failing", "invalid"]
    translation: str | None = None
    reason: str | None = None


class Rehearsal:
    """Tries statements. Holds a connection only while it tries one."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    async def ready(self) -> None:
        """Have today's schema loaded. Raises `StatementError` (SQLITE_BUSY) if Postgres is away."""
        async with self._connections.lend():
            return

    async def rehearse(self, sql: str) -> Rehearsed:
        """Try one statement. Raises `StoreUnavailable` or `StatementError` (SQLITE_BUSY) if Postgres is away."""
        dialect = self._connections.dialect
        try:
            checked = dialect.check(sql)
        except Refused as refused:
            return Rehearsed("refused", reason=refused.message)
        except StatementError as error:
            return Rehearsed("invalid", reason=error.message)
        if checked.local:
            return Rehearsed("ready", reason="Answered by cutover itself.")
        try:
            translation = dialect.typical(sql)
        except StatementError as refused:
            return Rehearsed("refused", reason=refused.message)
        commands = [command.sql for command in (translation.before, translation.command) if command is not None]
        text = ";\n".join(commands)
        for command in commands:
            reason = await self._prepare(command)
            if reason is not None:
                return Rehearsed("failing", text, reason)
        return Rehearsed("ready", text)

    async def _prepare(self, sql: str) -> str | None:
        """Why Postgres refuses the statement. A prepare outside of a transaction would leave its locks behind."""
        async with self._connections.lend() as connection:
            try:
                await connection.execute("BEGIN READ ONLY")
                await connection.prepare(sql)
            except DRIVER_ERRORS as error:
                failure = translate_failure(error, self._connections.dialect.catalog)
                if isinstance(failure, Lost):
                    raise StoreUnavailable(failure.message) from None
                return failure.message
            finally:
                await abandon(connection)
        return None
