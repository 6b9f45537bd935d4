"""Schema changes within a transaction, each undone as a whole where it fails, and seen by nobody else before COMMIT."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from cutover.dialect import patience
from cutover.dialect.aside import Kept, ready
from cutover.dialect.changing import change_schema, forbidden_by_rows, overtaken_change, widen_column
from cutover.dialect.connections import Connections
from cutover.dialect.deferring import Deferring
from cutover.dialect.failures import Conflict, Lost
from cutover.dialect.giving import Giving
from cutover.dialect.guarded import GUARD
from cutover.dialect.patience import in_short_tries
from cutover.dialect.pending import beside_violations
from cutover.dialect.preparing import Memory, prepare
from cutover.dialect.running import run
from cutover.dialect.schema_change import Change, change_of
from cutover.dialect.widening import Unheld
from cutover.errors import CutoverError, Fenced, StatementError
from cutover.model.statement import Statement, StatementResult
from cutover.schema.arguments import bind
from cutover.schema.sqltext import inspect, refusal

if TYPE_CHECKING:
    from cutover.dialect.dialect import Dialect
    from cutover.dialect.direct import Connection

T = TypeVar("T")


class Altering(Deferring):
    """A transaction's own state of the schema, and where its stream's temporary tables are."""

    def __init__(self, connections: Connections, connection: Connection) -> None:
        super().__init__(connections, connection)
        self.foreign_keys = True
        self._giving = Giving(connections)
        self._patience = patience.PATIENCE
        self._kept: Kept | None = None
        """The temporary tables that its stream had before it."""
        self.keeps: Kept | None = None
        """Those that it has after the commit."""
        self._place: int | None = None
        """Where they are, or were before a savepoint that was gone back to."""
        self._lasting = False
        """Whether the schema was changed for others, too."""

    @property
    def _changes(self) -> bool:
        """Whether a commit changes the schema for others."""
        own = self._kept is not None or bool(self.dialect.temporary)
        return self._lasting if own else self.dialect is not self._connections.dialect

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
                await self._talk(f"ROLLBACK TO SAVEPOINT {GUARD}")
            raise
        except Exception as error:  # noqa: BLE001  # as above
            self.dialect = before
            known = overtaken_change(error) or forbidden_by_rows(error)
            failure = known or beside_violations(error, deferring=self._deferring) or self._failure(error)
            if isinstance(failure, StatementError):
                await self._talk(f"ROLLBACK TO SAVEPOINT {GUARD}")
            raise failure from None
        await self._check_pending()  # DROP TABLE has checked all, and left them so

    async def _filled(self, change: Change, statement: Statement, memory: Memory) -> None:
        if change.query and change.created:
            await self._fill(change.created[0].name, change.query, statement, memory)

    async def _fill(self, table: str, query: str, statement: Statement, memory: Memory) -> None:
        """CREATE TABLE ... AS: the rows. SQLite does not count them as changes."""
        name = table.replace('"', '""')
        insert = Statement(f'INSERT INTO "{name}" {query}', statement.args, statement.named, want_rows=False)
        prepared = prepare(self.dialect, insert, memory)
        await run(self.connection, prepared, self.dialect, replace(memory), self._giving)

    async def _widen(self, told: Unheld, statement: Statement) -> None:
        before, bound = self.dialect, bind(inspect(statement.sql), statement)
        await self._changing(
            lambda: widen_column(self.connection, before, told, bound),
            lambda table: table.name.lower() not in before.temporary,
        )

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
