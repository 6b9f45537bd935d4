"""Writes made on both stores in one state, compared, and undone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from cutover.dialect.executor import PostgresExecutor
from cutover.dialect.looks import look_of
from cutover.dialect.replay import BEHIND, NO_VERDICT, NOT_THERE, Found, answered, code_of, digest_of
from cutover.dialect.replaying import State
from cutover.dialect.sameness import changing, difference, may_change
from cutover.dialect.trial import LeftBehind, NotTried
from cutover.errors import StatementError
from cutover.model.statement import Statement
from cutover.model.table import Table
from cutover.schema.arguments import bind
from cutover.schema.sqlite_schema import quoted
from cutover.schema.sqltext import inspect
from cutover.stores.sqlite.trying import Answer, Tried

_HELD = 0.05
"""Seconds for which SQLite's write lock is held, for all writes of one state."""
_SECONDS = 0.25
"""That one may take on Postgres, where the mirror waits for the rows that it locks."""
_MOST = 1 << 20
"""Bytes that the answer may take."""
_LEFT_BEHIND = "Others wrote before Postgres had been asked."
_CONSTRAINT = "SQLITE_CONSTRAINT"
_BUSY = ("SQLITE_BUSY", "SQLITE_LOCKED")
_UNFIT = ("SQLITE_MISMATCH", "SQLITE_TOOBIG")
"""Of a value that a column on Postgres cannot hold."""
_LAST_KEY = (1 << 63) - 1


class ReplayedWrites:
    """Both stores in one state. The snapshot of SQLite is over when its writes are made."""

    def __init__(self, executor: PostgresExecutor, state: State) -> None:
        self._executor = executor
        self._state = state
        self._primary = state.primary
        self.schema = state.schema(executor.dialect)

    async def compared(self, statements: Sequence[Statement]) -> list[Found | None]:
        """A verdict on each of the first of them; none on those that SQLite had no time for, or had another writer.

        None for what there is nothing to compare of. Raises `StoreUnavailable`.
        """
        tables = [self._table(statement) for statement in statements]
        made = [at for at, table in enumerate(tables) if isinstance(table, Table)]
        untried = {
            at: await self._untried(statements[at], error)
            for at, error in enumerate(tables)
            if isinstance(error, StatementError)
        }
        lasts = {table.name: await self._last_key(table) for table in tables if isinstance(table, Table)}
        tried = iter(await self._primary.try_writes([statements[at] for at in made], _HELD, _MOST) if made else ())
        found: list[Found | None] = []
        for at, (statement, table) in enumerate(zip(statements, tables, strict=True)):
            if not isinstance(table, Table):
                found.append(untried[at])
                continue
            one = next(tried, None)
            if one is None or (isinstance(one.answer, StatementError) and one.answer.code in _BUSY):
                break
            verdict = await self._verdict(statement, one, table, lasts[table.name])
            look = look_of(digest_of(one.answer), self._state, self._executor.dialect)
            found.append(replace(verdict, look=look) if verdict is not None else None)
        return found

    def _table(self, statement: Statement) -> Table | StatementError:
        """The table that it writes, or why it has no translation."""
        dialect = self._executor.dialect
        try:
            dialect.checks.check(statement.sql)
            table = dialect.translate(statement.sql, bind(inspect(statement.sql), statement)).table
        except StatementError as error:
            return error.alone()
        assert table is not None
        return table

    async def _untried(self, statement: Statement, error: StatementError) -> Found:
        """Of a statement that Postgres is not asked: it has no translation, or SQLite's own compiler refuses it; unless
        that has another schema by now."""
        if error.code in NOT_THERE:
            return Found("inconclusive", f"Not answered on Postgres ({error.code}).")
        compiled, _ = await answered(self._primary.ask(explained(statement), _HELD, _MOST))
        if isinstance(compiled, StatementError):
            return Found("match")
        return Found("inconclusive", BEHIND, early=True)

    async def _last_key(self, table: Table) -> int | None:
        """The key after which SQLite gives the next one."""
        if table.rowid_alias is None:
            return None
        last = f"SELECT max({quoted(table.rowid_alias)}) AS last FROM {quoted(table.name)}"
        if table.autoincrement:
            last += f" UNION ALL SELECT seq FROM sqlite_sequence WHERE name = {_text(table.name)}"
        found = await self._primary.scalar(f"SELECT max(last) FROM ({last})")
        return int(found) if found is not None else None

    async def _verdict(self, statement: Statement, tried: Tried, table: Table, last: int | None) -> Found | None:
        here = tried.answer
        if isinstance(here, StatementError) and here.code in NO_VERDICT:
            return Found("inconclusive", f"Not answered on SQLite within the limits of a replay ({here.code}).")
        if last is not None and last >= _LAST_KEY:
            return Found("inconclusive", "The table has the highest key there is: SQLite gives keys at random.")
        try:
            writing = self._executor.rehearsal.write(self._state.exported, statement, _SECONDS, last)
            there, took = await answered(writing)
        except NotTried as reason:
            return Found("inconclusive", str(reason))
        except LeftBehind as behind:
            if _difference(here, behind.error, keys=False) is not None:
                return Found("inconclusive", _LEFT_BEHIND, early=True)
            there, took = behind.error, 0.0
        if there is None:
            return None
        if isinstance(there, StatementError) and there.code in NO_VERDICT:
            return Found("inconclusive", f"Not answered on Postgres ({there.code}).")
        if isinstance(there, StatementError) and there.code in NOT_THERE and not isinstance(here, StatementError):
            return Found("mismatch", f"With these values or rows it is refused: {there.message}", tried.seconds, took)
        differs = _difference(here, there, keys=table.rowid_alias is not None)
        if differs is None:
            return Found("match", None, tried.seconds, took)
        excuse = await self._excuse(statement, tried, there, table)
        if excuse is None and code_of(here) == _CONSTRAINT and await self._executor.rehearsal.foreign_keys_rest():
            excuse = "Foreign keys are put aside on Postgres as long as it is the shadow."
        return (
            Found("inconclusive", excuse, tried.seconds, took)
            if excuse
            else Found("mismatch", differs, tried.seconds, took)
        )

    async def _excuse(self, statement: Statement, tried: Tried, there: Answer, table: Table) -> str | None:
        """Why the answers may differ all the same."""
        if may_change(statement) or (changing(table.sql) and _only_returned(tried.answer, there)):
            return "What it does may be another thing at each execution."
        if tried.backwards is not None and _difference(tried.answer, tried.backwards, keys=True) is not None:
            return "It depends on the order in which rows are read, which it leaves open."
        if code_of(there) in _UNFIT:  # whatever rows there are
            return None
        state, dialect = self._state, self._executor.dialect
        return await state.quarantined(dialect, statement) or state.not_whole(dialect, statement)


def _difference(here: Answer, there: Answer, *, keys: bool) -> str | None:
    """The first thing that differs in what two writes answer; None if nothing does."""
    if isinstance(here, StatementError) and isinstance(there, StatementError) and here.code == there.code:
        said = [error.message.partition(":")[0] for error in (here, there)]  # which applications match on
        if here.code != _CONSTRAINT or said[0] == said[1]:
            return None
        return f"SQLite says {said[0]!r}, Postgres {said[1]!r}."
    if isinstance(here, StatementError) or isinstance(there, StatementError):
        return f"SQLite answers {code_of(here) or 'a change'}, Postgres {code_of(there) or 'a change'}."
    if here.affected != there.affected:
        return f"{here.affected} rows changed on SQLite, {there.affected} on Postgres."
    given = there.last_insert_rowid  # none where an upsert only changed rows: SQLite tells of one before then
    if keys and here.affected and given is not None and (here.last_insert_rowid or 0) != given:
        return "Another key is given on Postgres."
    return difference(here, there, in_order=False)


def explained(statement: Statement) -> Statement:
    """What has SQLite compile it, and do nothing."""
    return replace(statement, sql=f"EXPLAIN {statement.sql}", want_rows=True)


def _only_returned(here: Answer, there: Answer) -> bool:
    """Whether it is the values of RETURNING that differ: those of a default that changes, perhaps."""
    if isinstance(here, StatementError) or isinstance(there, StatementError):
        return False
    return here.affected == there.affected and len(here.rows) == len(there.rows)


def _text(name: str) -> str:
    return "'" + name.replace("'", "''") + "'"
