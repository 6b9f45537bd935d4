"""An open transaction on a pinned connection, in which a failed statement undoes only itself, as on SQLite.

Postgres ends a transaction at its first error. So a savepoint, the guard, stands before each statement. It is renewed
only after a statement that wrote, together with the release of the last one, in one message.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import asyncpg

from cutover.crashpoints import crash_point
from cutover.dialect.connections import BEGIN, DRIVER_ERRORS, REPEATABLE, Connections, abandon, discard
from cutover.dialect.failures import Conflict, Lost, translate_failure
from cutover.dialect.running import Memory, prepare, run
from cutover.errors import CutoverError, StatementError
from cutover.model.statement import Statement, StatementResult

if TYPE_CHECKING:
    from cutover.dialect.running import Connection

_GUARD = '"cutover: statement"'


class Transaction:
    """One transaction. After `Conflict`, `Lost` or `Fenced` it is over: call `abandon`."""

    def __init__(self, connections: Connections, connection: Connection, *, by_savepoint: bool) -> None:
        self.connection = connection
        self.writing = False
        self._connections = connections
        self._savepoints: list[str] = []
        self._by_savepoint = by_savepoint
        """SAVEPOINT outside of a transaction opened it, so releasing the outermost one commits."""
        self._guarded = False
        self._dirty = True

    @classmethod
    async def begin(
        cls, connections: Connections, *, by_savepoint: bool = False, read_only: bool = False
    ) -> Transaction:
        """Borrow a connection and begin. Raises `StatementError`."""
        connection = await connections.acquire()
        try:
            await connection.execute(f"{BEGIN} READ ONLY" if read_only else BEGIN)
        except DRIVER_ERRORS as error:
            await connections.release(connection)
            raise translate_failure(error, connections.dialect.catalog) from None
        return cls(connections, connection, by_savepoint=by_savepoint)

    async def run(self, statement: Statement, memory: Memory) -> StatementResult:
        """One statement. Raises `StatementError` (and goes on), `Conflict`, `Lost` or `Fenced`."""
        dialect = self._connections.dialect
        prepared = prepare(dialect, statement, memory)
        translation = prepared.translation
        if prepared.answered is not None or translation is None:
            return prepared.answered or StatementResult()
        try:
            await self._guard()
            self.writing = self.writing or translation.writes
            self._dirty = self._dirty or translation.writes
            try:
                return await run(self.connection, prepared, dialect, memory)
            except asyncpg.InvalidCachedStatementError:
                await self._undo()
            except REPEATABLE as error:
                await self._undo()
                prepared = await self._connections.instead(self.connection, prepared, error)
            return await run(self.connection, prepared, dialect, memory)
        except (*DRIVER_ERRORS, TimeoutError) as error:
            failure = self._failure(error)
            if isinstance(failure, StatementError):
                await self._talk(self._undo_text())
            raise failure from None

    async def savepoint(self, name: str) -> None:
        """SAVEPOINT."""
        await self._talk(f"{self._release_text()}SAVEPOINT {_quoted(name)}")
        self._savepoints.append(name)

    async def release(self, name: str) -> bool:
        """RELEASE. Whether that means COMMIT, which is then to be called."""
        at = self._find(name)
        if at == 0 and self._by_savepoint:
            return True
        await self._talk(f"RELEASE SAVEPOINT {_quoted(name)}")
        del self._savepoints[at:]
        self._guarded = False
        return False

    async def rollback_to(self, name: str) -> None:
        """ROLLBACK TO."""
        at = self._find(name)
        await self._talk(f"ROLLBACK TO SAVEPOINT {_quoted(name)}")
        del self._savepoints[at + 1 :]
        self._guarded = False

    async def commit(self) -> None:
        """COMMIT, and give the connection back. Raises `Conflict`, `Lost` (outcome unknown) or `StatementError`."""
        crash_point("translated.before_commit")
        status = await self._talk("COMMIT")
        crash_point("translated.after_commit")
        await self._connections.release(self.connection)
        if status != "COMMIT":
            raise Conflict("The transaction had failed.")

    async def abandon(self) -> None:
        """ROLLBACK if that is still possible, and give the connection back."""
        await abandon(self.connection)
        await self._connections.release(self.connection)

    async def _guard(self) -> None:
        if self._guarded and not self._dirty:
            return
        await self.connection.execute(f"{self._release_text()}SAVEPOINT {_GUARD}")
        self._guarded, self._dirty = True, False

    def _release_text(self) -> str:
        text = f"RELEASE SAVEPOINT {_GUARD}; " if self._guarded else ""
        self._guarded = False
        return text

    def _undo_text(self) -> str:
        self._dirty = False
        return f"ROLLBACK TO SAVEPOINT {_GUARD}"

    async def _undo(self) -> None:
        await self.connection.execute(self._undo_text())

    async def _talk(self, sql: str) -> str:
        try:
            return await self.connection.execute(sql)
        except (*DRIVER_ERRORS, TimeoutError) as error:
            raise self._failure(error) from None

    def _failure(self, error: Exception) -> CutoverError:
        failure = translate_failure(error, self._connections.dialect.catalog)
        if isinstance(failure, Lost):
            discard(self.connection)
        return failure

    def _find(self, name: str) -> int:
        for at in range(len(self._savepoints) - 1, -1, -1):
            if self._savepoints[at] == name:
                return at
        raise StatementError(f"no such savepoint: {name}", "SQLITE_UNKNOWN")


def _quoted(name: str) -> str:
    return '"app: ' + name.replace('"', '""') + '"'
