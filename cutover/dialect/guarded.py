"""A connection in a transaction, with the savepoint before each statement: what fails undoes only itself.

Postgres ends a transaction at its first error. So a savepoint, the guard, stands before each statement. It is renewed
only after a statement that wrote, together with the release of the last one, in one message.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cutover.dialect.connections import DRIVER_ERRORS, Connections, discard
from cutover.dialect.failures import Lost, translate_failure
from cutover.dialect.unchecked import told
from cutover.errors import CutoverError

if TYPE_CHECKING:
    from cutover.dialect.direct import Connection

GUARD = '"cutover: statement"'


class Guarded:
    """What every part of a transaction works with."""

    def __init__(self, connections: Connections, connection: Connection) -> None:
        self.connection = connection
        self.writing = False
        self.changed = False
        """Whether a row or the schema was changed in it."""
        self.seen: int | None = None
        """How much had been committed in this process when its first statement had it see one moment."""
        self.dialect = connections.dialect
        self._connections = connections
        self._guarded = False
        self._dirty = True
        self._acting = False
        """Foreign keys were switched off, and Postgres goes on with them."""

    def _see(self) -> None:
        if self.seen is None:
            self.seen = self._connections.turns.committed

    async def _guard(self) -> None:
        if self._guarded and not self._dirty:
            return
        await self.connection.execute(f"{self._release_text()}SAVEPOINT {GUARD}")
        self._guarded, self._dirty = True, False

    def _release_text(self) -> str:
        text = f"RELEASE SAVEPOINT {GUARD}; " if self._guarded else ""
        self._guarded = False
        return text

    def _undo_text(self) -> str:
        self._dirty = False
        return f"ROLLBACK TO SAVEPOINT {GUARD}"

    async def _undo(self) -> None:
        await self.connection.execute(self._undo_text())

    async def _talk(self, sql: str) -> str:
        try:
            return await self.connection.execute(sql)
        except (*DRIVER_ERRORS, TimeoutError) as error:
            raise self._failure(error) from None

    def _failure(self, error: Exception) -> CutoverError:
        failure = translate_failure(error, self.dialect.catalog)
        if isinstance(failure, Lost):
            discard(self.connection)
        return told(failure) if self._acting else failure
