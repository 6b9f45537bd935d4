"""One application's conversation with the primary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from cutover import clock
from cutover.errors import StatementError, StoreUnavailable
from cutover.model.sizes import too_large
from cutover.model.statement import BatchResult, Description, Past, Statement, Step
from cutover.schema.batches import Route, route, writes
from cutover.schema.memories import remembered
from cutover.schema.pragmas import ONLY_TOLD
from cutover.schema.sqltext import LONG, StatementKind, inspect
from cutover.schema.temporary import gone
from cutover.stores.batched import Batched
from cutover.stores.executing import Pieces, Session, WholePieces
from cutover.write_through.alone import alone
from cutover.write_through.errors import ShuttingDown
from cutover.write_through.limits import MANY, cut, demand_few, demand_reading, demand_short, look_through
from cutover.write_through.primary import Primary, unknown
from cutover.write_through.tallied import TalliedPieces

_BEGINS = (StatementKind.BEGIN, StatementKind.BEGIN_WRITE, StatementKind.SAVEPOINT)


_SOME = 1000
"""Statements of a script that run before others are looked after."""


class Stream(Batched):
    """Its calls come one after the other.

    It needs a `Session` only in a transaction, or once it switched foreign keys off; before and after, its statements
    go the common way. It does not notice a switch unless a transaction of its own is in the way.
    """

    __slots__ = (
        "_deferring",
        "_epoch",
        "_keeping",
        "_open",
        "_past",
        "_primary",
        "_session",
        "_sticky",
        "_uncommitted",
        "changing",
        "client",
        "reader",
        "spent",
    )

    def __init__(self, primary: Primary, reader: str = "", client: str = "") -> None:
        self._primary = primary
        self.reader = reader
        """Name of a token that may only read; empty: it may write."""
        self.client = client
        """Name of any token, for the log."""
        self.spent = 0
        """About how many bytes of rows its statements have answered."""
        self._session: Session | None = None
        self._epoch = 0
        self._sticky = False
        self._uncommitted = False
        """PRAGMA read_uncommitted, as it was set: it changes nothing but what it tells."""
        self._deferring = False
        """PRAGMA defer_foreign_keys was said, and holds until the end of the next transaction, or statement."""
        self._open = False  # whether the client believes in a transaction; it may have been taken away
        self._keeping = False  # whether the client believes in temporary tables, which may have been taken away
        self._past = Past()
        self.changing = False
        """Whether the open transaction has changed the schema."""

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open."""
        return self._session is not None and self._session.in_transaction

    @property
    def believed_open(self) -> bool:
        """Whether the client believes in a transaction, which may have been taken away meanwhile."""
        return self._open

    @property
    def writing(self) -> bool:
        """Whether an open transaction has written or may write at once, or there are temporary tables: of what is done
        by them one statement after the other, a switch must not cut off the second half."""
        return self._session is not None and (self._session.writing or self._session.keeping)

    @property
    def _has_state(self) -> bool:
        """Whether its statements go by a session of its own: in a transaction, or with what a connection keeps."""
        return self._sticky or self._deferring or self._open or self._keeping

    def demand_room(self) -> None:
        """Raises `StatementError` if its statements have answered so much that no more of them fit into one answer."""
        most = self._primary.max_response_bytes
        if self.spent > most:
            raise too_large(most)

    async def sequence(self, sql: str) -> None:
        """Run every statement of a script until one fails (`StatementError`)."""
        texts = await cut(sql)
        for at in range(0, len(texts), _SOME):
            await self._script(texts[at : at + _SOME])

    async def batch(self, steps: Sequence[Step]) -> BatchResult:
        """Run a batch. Raises `StatementError` if nothing of it was executed."""
        if not steps:
            return BatchResult()
        primary, began = self._primary, clock.monotonic()
        demand_few(steps, primary.max_batch_steps)
        if len(steps) >= MANY or any(len(step.statement.sql) > LONG for step in steps):
            await look_through(steps, primary.max_statement_bytes)
        try:
            if self.reader:
                demand_reading(steps, self.reader)
            primary.observe(steps)
            known = self._with_memory(steps)
            kind = Route.SESSION if self._has_state else route(known)
            if kind is Route.READ:
                result = await primary.read(known)
            elif kind is Route.WRITE:
                result = await primary.write(known)
            else:
                result = await self._in_session(known)
        except StatementError as error:
            primary.shapes.refused(steps, error, began, self.client)
            raise
        primary.shapes.ended(steps, result, began, self.client)
        self._remember(known, result)
        return result

    async def pieces(self, steps: Sequence[Step]) -> Pieces:
        """Run a batch whose result is taken piece by piece. Raises `StatementError`.

        Plain queries outside of a transaction are read as they are taken, unless they are small; anything else is run
        as a whole.
        """
        demand_few(steps, self._primary.max_batch_steps)
        texts = [step.statement.sql for step in steps]
        reads = all(len(text) <= LONG and _reads(text) for text in texts)
        if not steps or not reads or self._has_state:
            return WholePieces(await self.batch(steps))
        primary, began = self._primary, clock.monotonic()
        primary.observe(steps)
        try:
            found = await primary.read_pieces(self._with_memory(steps))
        except StatementError as error:
            primary.shapes.refused(steps, error, began, self.client)
            raise
        return TalliedPieces(found, steps, primary.shapes, self.client, clock.monotonic() - began)

    def joins(self, steps: Sequence[Step]) -> bool:
        """Whether this batch would be one that `batches` can run together with others."""
        apart = self._has_state or self.reader or len(steps) > self._primary.max_batch_steps
        return not apart and alone(steps) is Route.WRITE

    async def batches(self, batches: Sequence[Sequence[Step]]) -> list[BatchResult | StatementError]:
        """Run batches that `joins` is true of, in order, each atomic as it would be alone; one outcome each.

        On SQLite they share one commit. Raises `StatementError` if none of them was begun.
        """
        primary, began = self._primary, clock.monotonic()
        for steps in batches:
            primary.observe(steps)
        if any(inspect(step.statement.sql).upserts for steps in batches for step in steps):
            batches = [self._with_past(batches[0]), *batches[1:]]
        try:
            outcomes = await primary.write_all(batches)
        except StatementError as error:
            for steps in batches:
                primary.shapes.refused(steps, error, began, self.client)
            raise
        for steps, outcome in zip(batches, outcomes, strict=True):
            if isinstance(outcome, BatchResult):
                primary.shapes.ended(steps, outcome, began, self.client)
                self._remember(steps, outcome)
            else:
                primary.shapes.refused(steps, outcome, began, self.client)
        return outcomes

    async def describe(self, sql: str) -> Description:
        """Prepare only. Raises `StatementError`."""
        demand_short(sql, self._primary.max_statement_bytes)
        if self._session is not None and (self._session.in_transaction or self._session.keeping):
            return await self._session.describe(sql)
        session = self._primary.member.executor.session()
        try:
            return await session.describe(sql)
        finally:
            await session.close()

    async def expel(self) -> None:
        """Roll back the open transaction; the next statement of the stream answers SQLITE_BUSY."""
        if self._session is not None:
            await self._session.expel()
        self._primary.gate.opened(self, self.in_transaction or self.writing)

    async def close(self) -> None:
        """Roll back what is open; idempotent."""
        session, self._session = self._session, None
        if session is not None:
            try:
                await session.close()
            finally:
                self._primary.gate.opened(self, False)

    async def _in_session(self, steps: Sequence[Step]) -> BatchResult:
        gate = self._primary.gate
        may_write = writes(steps)
        while True:
            begins = may_write or (not self.in_transaction and _begins(steps))
            waits = (begins or not self._primary.known) and not self.writing and not self._taken_away()
            if waits:
                await gate.admit()
            session = await self._current_session(may_write)
            if not (waits and gate.held):
                break
        if gate.draining:
            raise ShuttingDown
        store = self._primary.member.store
        try:
            result = await gate.track(self._run(session, steps), writes=may_write, cut_off=session.expel)
        finally:
            # One that was taken away just now is still believed in: what follows must not run on its own.
            self._open = session.in_transaction or session.expelled
            self._deferring, self._keeping = session.deferring, session.keeping
        if not self._open:
            store.wake()
        return result

    def _taken_away(self) -> bool:
        """Whether the client's transaction was rolled back, or its tables dropped, without its knowing; its session
        will tell it."""
        kept = self._session is not None and self._session.keeping
        return (self._open and not self.in_transaction) or (self._keeping and not kept)

    async def _run(self, session: Session, steps: Sequence[Step]) -> BatchResult:
        try:
            return await session.batch(steps)
        except StoreUnavailable as away:
            raise unknown(away) from None
        finally:
            self.changing = session.in_transaction and (self.changing or any(map(_changes, steps)))
            self._primary.gate.opened(self, session.in_transaction or session.keeping)

    async def _current_session(self, may_write: bool) -> Session:
        """The session on today's primary. A transaction that began on another one may read on, but not write."""
        primary = self._primary
        if self._session is not None and self._epoch != primary.epoch:
            if self._session.in_transaction and not may_write:
                return self._session
            began_before, kept_before = self._open, self._keeping
            self._open = self._keeping = False
            await self.close()
            if began_before:
                raise StatementError(
                    "The transaction began before a switch and was rolled back; repeat it.", "SQLITE_BUSY", retry=True
                )
            if kept_before:
                raise gone()
        if self._session is None:
            epoch, session = primary.epoch, primary.member.executor.session(read_only=bool(self.reader))
            if self._sticky:
                await _switch_off(session)
            self._epoch, self._session = epoch, session
        return self._session

    def _with_memory(self, steps: Sequence[Step]) -> Sequence[Step]:
        """Put the stream's own past where a query asks for it, since its statements run on shared connections. Where
        it goes on in the batch, or within a statement, whoever runs the batch is told it, and goes on with it."""
        shapes = [inspect(step.statement.sql) for step in steps]
        if not any(shape.remembers or shape.upserts for shape in shapes):
            return steps
        known: list[Step] = []
        goes_on = False
        for step, shape in zip(steps, shapes, strict=True):
            goes_on = goes_on or shape.upserts or (shape.remembers and shape.kind is not StatementKind.READ)
            if shape.remembers and not goes_on:
                past = self._past
                text = remembered(step.statement.sql, past.last_insert_rowid, past.changes, past.total_changes)
                known.append(Step(replace(step.statement, sql=text), step.condition))
            else:
                known.append(step)
            goes_on = goes_on or shape.kind is StatementKind.WRITE
        return self._with_past(known)

    def _with_past(self, steps: Sequence[Step]) -> list[Step]:
        """With the stream's past for whoever runs them."""
        first = steps[0]
        return [Step(replace(first.statement, past=replace(self._past)), first.condition), *steps[1:]]

    def _remember(self, steps: Sequence[Step], result: BatchResult) -> None:
        for step, outcome, error in zip(steps, result.results, result.errors, strict=True):
            shape = inspect(step.statement.sql)
            if outcome is None:
                if error is not None and shape.kind is StatementKind.WRITE:
                    self._past.failed(error)
                continue
            self.spent += outcome.size
            if shape.kind is StatementKind.WRITE:
                self._past.note(outcome)
                if shape.into:  # which may have changed a row, or passed it over
                    outcome.last_insert_rowid = self._past.last_insert_rowid
            elif shape.pragma == ONLY_TOLD:
                if shape.sets:
                    self._uncommitted = shape.on
                elif outcome.rows:
                    outcome.rows = [(int(self._uncommitted),)]
            elif shape.pragma == "foreign_keys" and shape.kind is StatementKind.STATE and not self.in_transaction:
                self._sticky = not shape.default


async def _switch_off(session: Session) -> None:
    """Have a new session check no foreign keys, as its stream asked before a switch: a migration that goes on would
    otherwise lose the rows that refer to a table which it makes anew."""
    try:
        (error,) = (await session.batch((Step(Statement("PRAGMA foreign_keys = OFF")),))).errors
        if error is not None:
            raise error
    except BaseException:
        await session.close()
        raise


def _begins(steps: Sequence[Step]) -> bool:
    return any(inspect(step.statement.sql).kind in _BEGINS for step in steps)


def _reads(sql: str) -> bool:
    """Whether it is answered by a store alone, and changes nothing."""
    shape = inspect(sql)
    return shape.kind is StatementKind.READ and shape.pragma != ONLY_TOLD


def _changes(step: Step) -> bool:
    """Whether it is to change the schema, with what is said of it by PRAGMA."""
    shape = inspect(step.statement.sql)
    return shape.kind is StatementKind.DDL or (shape.kind is StatementKind.WRITE and bool(shape.pragma))
