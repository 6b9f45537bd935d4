"""An open transaction on a pinned connection, in which a failed statement undoes only itself, as on SQLite.

Postgres ends a transaction at its first error. So a savepoint, the guard, stands before each statement. It is renewed
only after a statement that wrote, together with the release of the last one, in one message.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

import asyncpg

from cutover.crashpoints import crash_point
from cutover.dialect import patience
from cutover.dialect.ahead import translate_ahead
from cutover.dialect.aside import Kept, fetch, kept_at, ready
from cutover.dialect.changing import change_schema, forbidden_by_rows, overtaken_change, widen_column
from cutover.dialect.connections import (
    BEGIN,
    DRIVER_ERRORS,
    REPEATABLE,
    Connections,
    abandon,
    discard,
    locking_text,
    meeting_none,
)
from cutover.dialect.ddl import Change, change_of
from cutover.dialect.failures import Conflict, Halfway, Lost, translate_failure
from cutover.dialect.giving import Giving
from cutover.dialect.opening import Opening, place
from cutover.dialect.owed import demand_paid, forgotten
from cutover.dialect.patience import in_short_tries
from cutover.dialect.pending import (
    DEFERRED,
    OWN_DEFERRED,
    beside_violations,
    check_at_once,
    check_now,
    checked_too_soon,
    defer_again,
)
from cutover.dialect.running import Memory, prepare, run
from cutover.dialect.typed import Refused
from cutover.dialect.unchecked import demand_no_action, told
from cutover.dialect.widening import Unheld
from cutover.errors import CutoverError, Fenced, StatementError
from cutover.model.statement import Statement, StatementResult
from cutover.schema.arguments import bind
from cutover.schema.objects_wanted import schema_of
from cutover.schema.sqltext import inspect, refusal

if TYPE_CHECKING:
    from cutover.dialect.dialect import Dialect
    from cutover.dialect.running import Connection, Prepared
    from cutover.model.table import Table

T = TypeVar("T")

_UNCHECKED = """
SELECT set_config('session_replication_role', 'replica', true)
WHERE pg_catalog.has_parameter_privilege('session_replication_role', 'SET')"""
"""PRAGMA foreign_keys = OFF. Without the privilege Postgres goes on with them: see `unchecked`."""
_GUARD = '"cutover: statement"'


class Transaction:
    """One transaction. After `Conflict`, `Lost` or `Fenced` it is over: call `abandon`."""

    def __init__(self, connections: Connections, connection: Connection, altered: int, *, by_savepoint: bool) -> None:
        """`altered`: how many changes of the schema had been committed when it began."""
        self.connection = connection
        self.writing = False
        self.changed = False
        """Whether a row or the schema was changed in it."""
        self.seen: int | None = None
        """How much had been committed in this process when its first statement had it see one moment."""
        self._connections = connections
        self.dialect = connections.dialect
        self._altered = altered
        self.foreign_keys = True
        self.written: dict[str, Table] = {}
        """Those that its statements have written to, or tried to."""
        self._savepoints: list[str] = []
        self._dialects: list[Dialect] = []
        self._giving = Giving()
        self._by_savepoint = by_savepoint
        """SAVEPOINT outside of a transaction opened it, so releasing the outermost one commits."""
        self._guarded = False
        self._dirty = True
        self._deferring = False
        self._deferred = False
        """Whether they were deferred at any time."""
        self._wholly = False
        """Whether they have been since before the first change."""
        self._checked = False
        """Whether what was deferred was checked before COMMIT."""
        self._patience = patience.PATIENCE
        self._kept: Kept | None = None
        """The temporary tables that its stream had before it."""
        self.keeps: Kept | None = None
        """Those that it has after the commit."""
        self._place: int | None = None
        """Where they are, or were before a savepoint that was gone back to."""
        self._lasting = False
        """Whether the schema was changed for others, too."""
        self._acting = False
        """Foreign keys were switched off, and Postgres goes on with them."""

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
        run = self._change if self.dialect.changes(statement.sql) else self._run
        try:
            result = await run(statement, memory)
        except StatementError:
            self.demand_as_before()
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
                prepared = await self._connections.instead(self.connection, prepared, error)
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
                failure = await checked_too_soon(self.connection, error, deferring=self._deferring) or failure
            raise failure from None

    async def _wider(self, told: Unheld, statement: Statement, memory: Memory) -> StatementResult:
        """The statement, which was undone, once more: a column may be widened for what it computed."""
        try:
            await self._widen(told, statement)
        except Unheld:
            error = told.__cause__
            raise self._failure(error) if isinstance(error, Exception) else told from None
        return await self._run(statement, memory)

    def _see(self) -> None:
        if self.seen is None:
            self.seen = self._connections.turns.committed

    async def _prepared(self, statement: Statement, memory: Memory) -> Prepared:
        """The statement for the schema as it is, or as it becomes when columns are widened for its values."""
        while True:
            with suppress(Unheld):  # of a copy's column: `prepare` tells of our own
                await translate_ahead(self.dialect, statement)
            try:
                return prepare(self.dialect, statement, memory)
            except Unheld as told:
                await self._widen(told, statement)

    async def _widen(self, told: Unheld, statement: Statement) -> None:
        before, bound = self.dialect, bind(inspect(statement.sql), statement)
        await self._changing(
            lambda: widen_column(self.connection, before, told, bound),
            lambda table: table.name.lower() not in before.temporary,
        )

    async def _change(self, statement: Statement, memory: Memory) -> StatementResult:
        """One statement that changes the schema: for this transaction alone, until it commits."""
        shape, before = inspect(statement.sql), self.dialect
        refused = refusal(shape)
        if refused:
            raise refused
        try:
            arguments = bind(shape, statement)
        except StatementError:  # what is wrong with the statement itself is told first
            change_of(before.ddl, statement.sql, (None,) * len(shape.params))
            raise
        await self._changing(
            lambda: change_schema(
                self.connection,
                before,
                statement.sql,
                arguments,
                foreign_keys=self.foreign_keys,
                deferring=self._deferring,
                place=self._beside,
            ),
            lambda change: bool(change.lasting),
            lambda change: self._filled(change, statement, memory),
        )
        return StatementResult()

    async def _changing(
        self,
        change: Callable[[], Awaitable[tuple[Dialect, T]]],
        lasts: Callable[[T], bool],
        then: Callable[[T], Awaitable[None]] | None = None,
    ) -> None:
        """Go by the schema that `change` makes, which is undone as a whole where it fails."""
        before, wrote = self.dialect, self.writing
        if wrote:
            await self._check_pending()
        self._see()
        await self._guard()
        self.writing = self.changed = self._dirty = True
        try:
            self.dialect, made = await in_short_tries(
                self.connection,
                before.tables,
                change,
                self._undo,
                standing=self._connections.standing,
                patience=self._patience,
            )
            if then is not None:
                await then(made)
            self._lasting = self._lasting or lasts(made)
        except CutoverError as told:
            self.dialect = before
            if not isinstance(told, (Conflict, Lost, Fenced)):
                await self._talk(f"ROLLBACK TO SAVEPOINT {_GUARD}")
            raise
        except Exception as error:  # noqa: BLE001  # as above
            self.dialect = before
            known = overtaken_change(error) or forbidden_by_rows(error)
            failure = known or beside_violations(error, deferring=self._deferring) or self._failure(error)
            if isinstance(failure, StatementError):
                await self._talk(f"ROLLBACK TO SAVEPOINT {_GUARD}")
            raise failure from None
        await self._check_pending()  # DROP TABLE has checked all, and left them so

    async def _check_pending(self) -> None:
        await self._guard()
        self._checked = True
        try:
            await check_now(self.connection, deferring=self._deferring)
        except asyncpg.ForeignKeyViolationError:
            await self._undo()  # tables that this is not about can be changed all the same
            await defer_again(self.connection, deferring=self._deferring)
        self._dirty = True  # so that no failure takes it back

    async def _filled(self, change: Change, statement: Statement, memory: Memory) -> None:
        if change.query and change.created:
            await self._fill(change.created[0].name, change.query, statement, memory)

    async def _fill(self, table: str, query: str, statement: Statement, memory: Memory) -> None:
        """CREATE TABLE ... AS: the rows. SQLite does not count them as changes."""
        name = table.replace('"', '""')
        insert = Statement(f'INSERT INTO "{name}" {query}', statement.args, statement.named, want_rows=False)
        prepared = prepare(self.dialect, insert, memory)
        await run(self.connection, prepared, self.dialect, replace(memory), self._giving)

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

    @property
    def _changes(self) -> bool:
        """Whether a commit changes the schema for others."""
        own = self._kept is not None or bool(self.dialect.temporary)
        return self._lasting if own else self.dialect is not self._connections.dialect

    async def _beside(self) -> str:
        """The schema for temporary tables, of which there are none."""
        if self._place is None:
            self._place = self._connections.aside.take()
        return await ready(self.connection, self._place)

    def _leave(self) -> None:
        """It is over: a place that its stream did not have before and does not need is another's."""
        if self._place is not None and self._kept is None and self.keeps is None:
            self._connections.aside.free(self._place)
        self._place = None

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

    async def _demand_paid(self) -> None:
        dialect = self.dialect
        await self._guard()
        try:
            await demand_paid(self.connection, dialect.owed, schema_of(dialect.ddl), dialect.tables)
        except (*DRIVER_ERRORS, TimeoutError) as error:
            raise self._failure(error) from None

    def _commit_text(self) -> str:
        """COMMIT alone would end the transaction at a deferred check that fails; so they are made before, guarded."""
        if not self.writing:
            return "COMMIT"
        return f"{self._release_text()}SAVEPOINT {_GUARD}; SET CONSTRAINTS ALL IMMEDIATE; COMMIT"

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
        failure = translate_failure(error, self.dialect.catalog)
        if isinstance(failure, Lost):
            discard(self.connection)
        return told(failure) if self._acting else failure


def _quoted(name: str) -> str:
    name = name.lower()
    return '"app: ' + name.replace('"', '""') + '"'
