"""Writes of applications, each way there is; whoever sends them must be told what the model would have told."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace

import asyncpg

from tests.support.stateful.judging import Judge
from tests.support.stateful.model import Outcome, code_of
from tests.support.stateful.program import Fill, Rewrite, Write
from tests.support.stateful.schema import Column, Schema, Value
from tests.support.stateful.statements import Delete, Insert, Statement, Truncate

_FENCED = "25006"
_TAKE_OVER = "so that another store can take over"
Execute = Callable[[Statement], Outcome]


class Writer(Judge):
    """Writes to the world and to the model."""

    def write(self, write: Write) -> None:
        """Perform a write, on whatever it meets."""
        if write.way == "beside":
            write = replace(write, way="direct" if self.primary == "sqlite" else "native")
        statements = [each for each in write.statements if self._comparable(each, write.way)]
        if not statements:
            return
        self.tally[f"write {write.way} on {self.primary}"] += 1
        if write.way == "front":
            for statement in statements:
                self._judge(statement, self._at_door(statement))
        elif write.way == "session":
            self._transaction(statements, self._at_door, self._control_at_door, commit=write.commit)
        elif write.way == "script":
            self._script(statements)
        elif write.way == "native":
            self._native(statements, commit=write.commit)
        else:
            self._direct(statements, write)
        self._remember(native=write.way == "native")

    def rewrite(self, step: Rewrite) -> None:
        """Save everything anew."""
        self.write(Write(step.way, tuple(self._everything(step))))

    def fill(self, step: Fill) -> None:
        """Insert rows that nothing forbids, if they are not there yet."""
        columns = [column for column in self.schema.columns(step.table) if column.name != "up"]
        rows = tuple(tuple(_numbered(column, 1000 + at) for column in columns) for at in range(step.count))
        names = tuple(column.name for column in columns)
        self.write(Write(step.way, (Insert(step.table, names, rows, "IGNORE"),)))

    def _everything(self, step: Rewrite) -> list[Statement]:
        """Parents first; deleted in the other order, but where each row is replaced as it comes."""
        made: list[Statement] = [Delete(table.name) for table in reversed(self.schema.tables)]
        for table in self.schema.tables:
            names = tuple(column.name for column in self.schema.columns(table.name))
            for row in self.model.rows(table.name):
                values = dict(zip(names, row, strict=True))
                if step.v is not None:
                    values["v"] = step.v
                made.append(Insert(table.name, names, (tuple(values.values()),)))
        return made

    # -- the front door ----------------------------------------------------------------------------------------------

    def _at_door(self, statement: Statement, stream: str = "app") -> Outcome:
        assert not isinstance(statement, Truncate)
        outcome: Outcome = self.world.service.call("execute", stream, *statement.sqlite(self.schema))
        return outcome

    def _control_at_door(self, word: str, stream: str = "app") -> Outcome:
        outcome: Outcome = self.world.service.call("execute", stream, word, ())
        return outcome

    def _script(self, statements: Sequence[Statement]) -> None:
        portable = [each.sqlite(self.schema) for each in statements if not isinstance(each, Truncate)]
        *outcomes, committed = self.world.service.call("script", portable)
        self.model.db.execute("BEGIN")
        for statement, outcome in zip(statements, outcomes, strict=True):
            if not self._judge(statement, outcome):
                assert not committed.done
                self.model.db.execute("ROLLBACK")
                return
        self._end(committed)

    def _transaction(
        self, statements: Sequence[Statement], execute: Execute, control: Callable[[str], Outcome], *, commit: bool
    ) -> None:
        """BEGIN, each statement whether or not those before it failed, COMMIT or ROLLBACK."""
        begun = control("BEGIN IMMEDIATE")
        assert begun.done, begun
        self.model.db.execute("BEGIN")
        for statement in statements:
            outcome = execute(statement)
            if self._expelled(outcome):
                self.model.db.execute("ROLLBACK")
                control("ROLLBACK")
                return
            self._judge(statement, outcome)
        if not commit:
            assert control("ROLLBACK").done or self.switching
            self.model.db.execute("ROLLBACK")
        elif not self._end(control("COMMIT")):
            control("ROLLBACK")

    def _expelled(self, outcome: Outcome) -> bool:
        """Whether a switch rolled the transaction back, which it may after a moment's grace."""
        return self.switching and outcome.code == "SQLITE_BUSY" and _TAKE_OVER in outcome.message

    def _end(self, committed: Outcome) -> bool:
        """The model commits, or both could not."""
        if self._expelled(committed):
            self.model.db.execute("ROLLBACK")
            return False
        expected = _attempt(self.model.db, "COMMIT")
        assert committed.code == expected.code, (committed, expected)
        if not expected.done:
            self.model.db.execute("ROLLBACK")
        return expected.done

    # -- past it -----------------------------------------------------------------------------------------------------

    def _direct(self, statements: Sequence[Statement], write: Write) -> None:
        with ExitStack() as stack:
            if write.way == "unchecked":
                stack.enter_context(self.model.unchecked())
                self.world.file.execute("PRAGMA foreign_keys = OFF")
            stack.callback(self.world.file.execute, "PRAGMA foreign_keys = ON")
            if self.maybe_postgres:
                self._against_fence(statements)
            elif len(statements) == 1 and write.commit:
                self._judge(statements[0], self._on_file(statements[0]))
            else:
                self._transaction(statements, self._on_file, self._control_file, commit=write.commit)

    def _on_file(self, statement: Statement) -> Outcome:
        assert not isinstance(statement, Truncate)
        return _attempt(self.world.file, *statement.sqlite(self.schema))

    def _control_file(self, word: str) -> Outcome:
        return _attempt(self.world.file, word)

    def _against_fence(self, statements: Sequence[Statement]) -> None:
        """On the shadow nothing is written. While a switch is under way, it may be written still, or again."""
        for statement in statements:
            outcome = self._on_file(statement)
            fenced = "cutover" in outcome.message
            assert not self.world.file.in_transaction
            if fenced:
                self.tally["fenced on sqlite"] += 1
                assert self.switching or "postgres" in outcome.message, outcome
                assert self.switching or str(self.epoch) in outcome.message, outcome
            elif self.switching:
                self._judge(statement, outcome)
            else:
                assert not outcome.affected, (statement, outcome)

    def _native(self, statements: Sequence[Statement], *, commit: bool) -> None:
        if not self.maybe_postgres:
            for statement in statements:
                self._against_fence_of_postgres(statement)
            return
        self.world.fetch("BEGIN")
        self.model.db.execute("BEGIN")
        done = all(self._natively(statement) for statement in statements)
        if not commit or not done:
            self.world.fetch("ROLLBACK")
            self.model.db.execute("ROLLBACK")
        else:
            self._end(self._on_postgres("COMMIT"))

    def _natively(self, statement: Statement) -> bool:
        """In a transaction, which ends with the first statement that fails."""
        outcome = self._on_postgres(*statement.native(self.schema))
        if outcome.code == _FENCED:
            assert self.switching, outcome
            self.tally["fenced in a switch"] += 1
            return False
        return not _own_fault(statement, outcome, self.schema) and self._judge(statement, outcome, native=True)

    def _on_postgres(self, sql: str, arguments: Sequence[Value] = ()) -> Outcome:
        try:
            affected, rows = self.world.native(sql, *arguments)
        except asyncpg.ReadOnlySQLTransactionError as error:
            return Outcome(_FENCED, message=str(error))
        except (asyncpg.IntegrityConstraintViolationError, asyncpg.ObjectInUseError) as error:
            return Outcome("SQLITE_CONSTRAINT", message=str(error))
        except asyncpg.DataError as error:
            return Outcome("SQLITE_MISMATCH", message=str(error))
        return Outcome(affected=affected, keys=tuple(row[0] for row in rows))

    def _against_fence_of_postgres(self, statement: Statement) -> None:
        outcome = self._on_postgres(*statement.native(self.schema))
        if outcome.code == "SQLITE_MISMATCH":  # the driver cannot even send it
            return
        self.tally["fenced on postgres"] += 1
        assert outcome.code == _FENCED, (statement, outcome)
        assert all(word in outcome.message for word in ("cutover", "sqlite", str(self.epoch))), outcome


def _own_fault(statement: Statement, outcome: Outcome, schema: Schema) -> bool:
    """Whether Postgres refuses a native client what SQLite knows nothing of.

    Its sequence met a key that another native client chose, or it does not TRUNCATE what a deferred key looks at.
    """
    of_sequence = isinstance(statement, Insert) and statement.returning(schema)
    return not outcome.done and (of_sequence or isinstance(statement, Truncate))


def _numbered(column: Column, number: int) -> Value:
    values: dict[str, Value] = {"TEXT": f"f{number}", "INTEGER": number, "REAL": float(number)}
    return values.get(column.kind, f"f{number}".encode())


def _attempt(connection: sqlite3.Connection, sql: str, arguments: Sequence[Value] = ()) -> Outcome:
    try:
        cursor = connection.execute(sql, arguments)
        keys = tuple(row[0] for row in cursor.fetchall())
    except sqlite3.Error as error:
        return Outcome(code_of(error), message=str(error))
    return Outcome(affected=cursor.rowcount, keys=keys)
