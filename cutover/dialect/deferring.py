"""PRAGMA defer_foreign_keys within a transaction, and the checks that wait for COMMIT beside its schema changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import asyncpg

from cutover.dialect.connections import DRIVER_ERRORS, Connections
from cutover.dialect.guarded import Guarded
from cutover.dialect.owed import demand_paid, forgotten
from cutover.dialect.pending import DEFERRED, check_at_once, check_now, defer_again
from cutover.schema.objects_wanted import schema_of

if TYPE_CHECKING:
    from cutover.dialect.direct import Connection


class Deferring(Guarded):
    """A transaction's foreign keys: when they are checked."""

    def __init__(self, connections: Connections, connection: Connection) -> None:
        super().__init__(connections, connection)
        self._deferring = False
        self._deferred = False
        """Whether they were deferred at any time."""
        self._wholly = False
        """Whether they have been since before the first change."""
        self._checked = False
        """Whether what was deferred was checked before COMMIT."""

    async def defer(self) -> None:
        """Have foreign keys checked at COMMIT. A statement that fails after it does not take it back."""
        await self._talk(f"{self._release_text()}{DEFERRED}")
        self._wholly = self._wholly or not self.changed
        self._deferring = self._deferred = True

    async def check_again(self) -> None:
        """Have foreign keys checked with each statement again, but for those that are declared INITIALLY DEFERRED.
        Raises `Refused` beside violations that SQLite would forget and Postgres cannot."""
        if not self._deferred:
            return
        dialect, wholly = self.dialect, self._wholly
        await self._at_once(excusing=True)
        if dialect.owed:
            known = (dialect.owed, schema_of(dialect.ddl), dialect.tables)
            self.dialect = dialect.owing(await forgotten(self.connection, *known, wholly=wholly))
        self._wholly = False

    async def _at_once(self, *, excusing: bool) -> None:
        await self._guard()
        try:
            await check_at_once(self.connection, self._undo, wholly=self._wholly, excusing=excusing)
        except (*DRIVER_ERRORS, TimeoutError) as error:
            raise self._failure(error) from None
        self._dirty, self._deferring = True, False

    async def _check_pending(self) -> None:
        await self._guard()
        self._checked = True
        try:
            await check_now(self.connection, deferring=self._deferring)
        except asyncpg.ForeignKeyViolationError:
            await self._undo()  # tables that this is not about can be changed all the same
            await defer_again(self.connection, deferring=self._deferring)
        self._dirty = True  # so that no failure takes it back

    async def _demand_paid(self) -> None:
        dialect = self.dialect
        await self._guard()
        try:
            await demand_paid(self.connection, dialect.owed, schema_of(dialect.ddl), dialect.tables)
        except (*DRIVER_ERRORS, TimeoutError) as error:
            raise self._failure(error) from None
