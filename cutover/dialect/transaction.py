"""An open transaction on a pinned connection, in which a failed statement undoes only itself, as on SQLite."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import asyncpg

from cutover.crashpoints import crash_point
from cutover.dialect import patience
from cutover.dialect.ahead import translate_ahead
from cutover.dialect.altering import Altering
from cutover.dialect.aside import Kept, fetch, kept_at
from cutover.dialect.catalog import column_kind
from cutover.dialect.connections import BEGIN, DRIVER_ERRORS, Connections, abandon, locking_text
from cutover.dialect.failures import Conflict, Halfway, translate_failure
from cutover.dialect.guarded import GUARD
from cutover.dialect.instead import REPEATABLE, instead, meeting_none
from cutover.dialect.opening import Opening, place
from cutover.dialect.pending import (
    DEFERRED,
    OWN_DEFERRED,
    checked_too_soon,
)
from cutover.dialect.preparing import Memory, prepare
from cutover.dialect.running import run
from cutover.dialect.telling import Failed, is_unclear, placed
from cutover.dialect.typed import Refused
from cutover.dialect.unchecked import demand_no_action
from cutover.dialect.widening import Unheld
from cutover.errors import StatementError
from cutover.model.statement import Statement, StatementResult

if TYPE_CHECKING:
    from cutover.dialect.dialect import Dialect
    from cutover.dialect.direct import Connection
    from cutover.dialect.preparing import Prepared
    from cutover.model.table import Table

_UNCHECKED = """
SELECT set_config('session_replication_role', 'replica', true)
WHERE pg_catalog.has_parameter_privilege('session_replication_role', 'SET')"""
"""PRAGMA foreign_keys = OFF. Without the privilege Postgres goes on with them: see `unchecked`."""


class Transaction(Altering):
    """One transaction. After `Conflict`, `Lost` or `Fenced` it is over: call `abandon`."""

    def __init__(self, connections: Connections, connection: Connection, altered: int, *, by_savepoint: bool) -> None:
        """`altered`: how many changes of the schema had been committed when it began."""
        super().__init__(connections, connection)
        self._altered = altered
        self.written: dict[str, Table] = {}
        """Those that its statements have written to, or tried to."""
        self._savepoints: list[str] = []
        self._dialects: list[Dialect] = []
        self._by_savepoint = by_savepoint
        """SAVEPOINT outside of a transaction opened it, so releasing the outermost one commits."""

    @property
    def is_open(self) -> bool:
        """Whether Postgres has it open still, failed or not."""
        return not self.connection.is_closed() and self.connection.is_in_transaction()

    @classmethod
    async def begin(
        cls,
        connections: Connections,
        *,
        by_savepoint: bool = False,
        read_only: bool = False,
        foreign_keys: bool = True,
        deferring: bool = False,
        lasting: bool = True,
        locking: Sequence[Table] = (),
    ) -> Transaction:
        """Borrow a connection and begin. Raises `StatementError`. Not `lasting`: who has it comes again when a table is
        in use, rather than wait long. `locking`: tables that it keeps other writers from, from its beginning."""
        connection = await connections.acquire()
        altered = connections.dialect.altered
        try:
            await connection.execute(f"{BEGIN} READ ONLY" if read_only else f"{BEGIN}{locking_text(locking)}")
            acting = not foreign_keys and not await connection.fetch(_UNCHECKED)
            if deferring:
                await connection.execute(DEFERRED)
        except DRIVER_ERRORS as error:
            await connections.release(connection)
            if isinstance(error, asyncpg.LockNotAvailableError) and len(locking) > 1:
                raise Conflict("Others had one of the tables.") from None
            raise translate_failure(error, connections.dialect.catalog) from None
        made = cls(connections, connection, altered, by_savepoint=by_savepoint)
        made.foreign_keys = foreign_keys
        made._deferring = made._deferred = made._wholly = deferring
        made._acting = acting
        made._patience = patience.PATIENCE if lasting else patience.ROUND
        if not foreign_keys:
            made.seen = connections.turns.committed
        return made

    async def fetch(self, kept: Kept) -> None:
        """Have the stream's temporary tables, before anything else. Raises `StatementError`, or as `run`."""
        self._see()
        try:
            self.dialect = await fetch(self.connection, self.dialect, kept)
        except (*DRIVER_ERRORS, TimeoutError) as error:
            raise self._failure(error) from None
        self._kept, self._place = kept, kept.place

    async def run(self, statement: Statement, memory: Memory) -> StatementResult:
        """One statement. Raises `StatementError` (and goes on), `Conflict`, `Lost` or `Fenced`.

        One that meets a schema which others have changed since the transaction began is a conflict, whatever it
        answered: to a snapshot from before it, a table that was written anew is empty, and types are those of before.
        """
        run = self._change if self.dialect.checks.changes(statement.sql) else self._run
        try:
            result = await run(statement, memory)
        except StatementError as failed:
            self.demand_as_before()
            self.changed = self.changed or isinstance(failed, Halfway)
            raise
        self.demand_as_before()
        self.changed = self.changed or result.affected > 0
        return result

    def demand_as_before(self) -> None:
        """Raises `Conflict` if others have changed the schema since it began."""
        if not self._connections.dialect.as_before(self._altered):
            raise Conflict("Another transaction changed the schema.")

    async def _run(self, statement: Statement, memory: Memory) -> StatementResult:
        prepared = await self._prepared(statement, memory)
        dialect, translation = self.dialect, prepared.translation
        if prepared.answered is not None or translation is None:
            return prepared.answered or StatementResult()
        if self._acting and translation.writes:
            demand_no_action(statement.sql, translation, dialect.catalog)
        self._see()
        try:
            await self._guard()
            if translation.writes:
                self.writing = self._dirty = True
                if translation.table is not None:
                    self.written[translation.table.name] = translation.table
            try:
                return await run(self.connection, prepared, dialect, memory, self._giving)
            except asyncpg.InvalidCachedStatementError:
                await self._undo()
            except REPEATABLE as error:
                await self._undo()
                prepared = await instead(self.connection, prepared, error)
            self._dirty = self._dirty or translation.writes
            with meeting_none(prepared):
                return await run(self.connection, prepared, dialect, memory, self._giving)
        except Halfway:
            raise
        except Unheld as told:
            return await self._wider(told, statement, memory)
        except Exception as error:  # noqa: BLE001  # also a defect of ours, behind which the transaction goes on
            failure = self._failure(error)
            if isinstance(failure, StatementError):
                await self._talk(self._undo_text())
                too_soon = await checked_too_soon(self.connection, error, deferring=self._deferring)
                failure = placed(too_soon or await self._told(prepared, memory, error) or failure, translation.filled)
            raise failure from None

    async def _told(self, prepared: Prepared, memory: Memory, error: Exception) -> StatementError | None:
        """What SQLite says of a statement that failed so, and was undone."""
        if not is_unclear(prepared, error):
            return None
        told = await Failed(self.connection, prepared, self.dialect, memory, error).within(self._giving)
        await self._talk(self._undo_text())
        return told

    async def _wider(self, told: Unheld, statement: Statement, memory: Memory) -> StatementResult:
        """The statement, which was undone, once more: a column may be widened for what it computed."""
        try:
            await self._widen(told, statement)
        except Unheld:
            error = told.__cause__
            if not isinstance(error, Exception):
                raise told from None
            raise placed(self._failure(error), {told.column.name: column_kind(told.column)}) from None
        return await self._run(statement, memory)

    async def _prepared(self, statement: Statement, memory: Memory) -> Prepared:
        """The statement for the schema as it is, or as it becomes when columns are widened for its values."""
        while True:
            with suppress(Unheld):  # of a copy's column: `prepare` tells of our own
                await translate_ahead(self.dialect, statement, foreign_keys=self.foreign_keys)
            try:
                return prepare(self.dialect, statement, memory, foreign_keys=self.foreign_keys)
            except Unheld as told:
                await self._widen(told, statement)

    def unopened(self) -> Opening:
        """How one begins that is to be as this one, which has neither read nor written."""
        opening = Opening(by_savepoint=self._by_savepoint)
        opening.savepoints = list(self._savepoints)
        return opening

    async def savepoint(self, name: str) -> None:
        """SAVEPOINT."""
        await self._talk(f"{self._release_text()}SAVEPOINT {_quoted(name)}")
        self._savepoints.append(name)
        self._dialects.append(self.dialect)
        self._giving.savepoint()

    async def release(self, name: str) -> bool:
        """RELEASE. Whether that means COMMIT, which is then to be called."""
        at = place(self._savepoints, name)
        if at == 0 and self._by_savepoint:
            return True
        await self._talk(f"RELEASE SAVEPOINT {_quoted(name)}")
        del self._savepoints[at:], self._dialects[at:]
        self._giving.release(at)
        self._guarded = False
        return False

    async def rollback_to(self, name: str, *, deferring: bool = False) -> None:
        """ROLLBACK TO. `deferring`: foreign keys are as now, whatever was said of them since the savepoint."""
        at = place(self._savepoints, name)
        again = f"; {DEFERRED}" if deferring else f"; {OWN_DEFERRED}" if self._checked else ""
        await self._talk(f"ROLLBACK TO SAVEPOINT {_quoted(name)}{again}")
        del self._savepoints[at + 1 :], self._dialects[at + 1 :]
        self.dialect = self._dialects[at]
        self._giving.rollback_to(at)
        self._guarded = False
        self._deferring = deferring or self._deferred
        if self._deferring and not deferring:
            with suppress(Refused):  # then they are checked at COMMIT, as they would have been before
                await self._at_once(excusing=False)

    async def commit(self) -> None:
        """COMMIT, and give the connection back. Raises `Conflict`, `Lost` (outcome unknown) or `StatementError`.

        After a deferred foreign key that fails, a `StatementError`, the transaction is still open, as on SQLite.
        """
        crash_point("translated.before_commit")
        shared, changes = self._connections.dialect, self._changes
        shared.committing += changes
        try:
            await self._commit()
        except StatementError:
            raise
        except BaseException:
            self._leave()
            raise
        finally:
            shared.committing -= changes
        if self._place is not None and self.dialect.temporary:
            self.keeps = kept_at(self._place, self.dialect)
        self._leave()

    async def _commit(self) -> None:
        try:
            if self.dialect.owed:
                await self._demand_paid()
            status = await self._talk(self._commit_text())
        except StatementError:
            if self.is_open:
                await self._talk(self._undo_text())
                self._guarded = True
            raise
        except BaseException:
            if self._changes:  # nobody knows whether it committed
                self._connections.dialect.forget()
                self._connections.on_schema_change()
            raise
        if self._changes and status == "COMMIT":
            shared = self._connections.dialect
            if not self.dialect.temporary and self._kept is None:
                shared.adopt(self.dialect)
            else:
                shared.altered_beside()
            self._connections.on_schema_change()
        crash_point("translated.after_commit")
        if status == "COMMIT":
            self._giving.committed()
        else:
            self._undone()
        await self._connections.release(self.connection)
        if status != "COMMIT":
            raise Conflict("The transaction had failed.")

    def _commit_text(self) -> str:
        """COMMIT alone would end the transaction at a deferred check that fails; so they are made before, guarded."""
        if not self.writing:
            return "COMMIT"
        return f"{self._release_text()}SAVEPOINT {GUARD}; SET CONSTRAINTS ALL IMMEDIATE; COMMIT"

    async def abandon(self) -> None:
        """ROLLBACK if that is still possible, and give the connection back."""
        self._undone()
        try:
            await abandon(self.connection)
        finally:
            self._leave()
        await self._connections.release(self.connection)

    def _undone(self) -> None:
        self._giving.rolled_back()
        if self.dialect is not self._connections.dialect:
            self._connections.dialect.keys.unsettle_all()


def _quoted(name: str) -> str:
    name = name.lower()
    return '"app: ' + name.replace('"', '""') + '"'
