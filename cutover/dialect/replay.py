"""One read on both stores in one state, and the verdict."""

from __future__ import annotations

import re
from collections.abc import Awaitable
from dataclasses import dataclass, replace
from typing import Literal

from cutover.dialect.executor import PostgresExecutor
from cutover.dialect.looks import Look, look_of
from cutover.dialect.replaying import State
from cutover.dialect.sameness import changing, difference, may_change, ordered, typed
from cutover.dialect.ties import breaking_ties, differ_in_ties
from cutover.errors import Fenced, StatementError
from cutover.model.statement import Statement, StatementResult, Timed
from cutover.schema.arguments import bind
from cutover.schema.objects_wanted import SCHEMA, objects_of
from cutover.schema.sqltext import inspect

Verdict = Literal["match", "mismatch", "inconclusive"]

_SECONDS = 2.0
"""That a replay may take on each store."""
_MOST = 4 << 20
"""Bytes that the answer may take."""
NO_VERDICT = ("SQLITE_INTERRUPT", "SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_NOMEM", "RESPONSE_TOO_LARGE")
_REFUSED = "SQL_NOT_TRANSLATABLE"
NOT_THERE = (*NO_VERDICT, _REFUSED)
_MOVED = "Its rows come in another order on Postgres, which it leaves open: give it an ORDER BY if that matters."
BEHIND = "The schema changed on SQLite, and that is not carried over yet."
_GONE = ("no such table", "no such column")
_VIRTUAL = re.compile(r"\s*CREATE\s+VIRTUAL\b", re.IGNORECASE)
_VIEW = re.compile(r"""CREATE\s+VIEW\s+(?:"([^"]+)"|\[([^\]]+)\]|`([^`]+)`|([\w$]+))""", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Found:
    """What came of one replay. No value of an answer is in `reason`."""

    verdict: Verdict
    reason: str | None = None
    sqlite_seconds: float = 0.0
    postgres_seconds: float = 0.0
    early: bool = False
    """It is to be asked again: the schema is on its way."""
    look: Look | None = None
    """What it was replayed with; None: both stores were not asked."""


class Replay:
    """Reads on both stores in one state."""

    def __init__(self, executor: PostgresExecutor, state: State) -> None:
        self._executor = executor
        self._state = state
        self._primary = state.primary
        self.schema = state.schema(executor.dialect)

    async def compared(self, statement: Statement) -> Found | None:
        """The verdict; None for what cutover answers itself on both sides. Raises `StoreUnavailable`."""
        if may_change(statement) or inspect(statement.sql).explain:
            return Found("inconclusive", "Its answer may be another at each execution, so it is only prepared.")
        here, here_took = await answered(self._primary.ask(statement, _SECONDS, _MOST))
        if isinstance(here, StatementError) and here.code in NO_VERDICT:
            return Found("inconclusive", f"Not answered on SQLite within the limits of a replay ({here.code}).")
        there, there_took = await answered(self._executor.rehearsal.read(self._state.exported, statement, _SECONDS))
        if here is None or there is None:
            return None
        found = await self._judged(statement, here, there)
        if isinstance(here, StatementResult) and isinstance(there, StatementResult):
            found = replace(found, sqlite_seconds=here_took, postgres_seconds=there_took)
        return replace(found, look=look_of(digest_of(here), self._state, self._executor.dialect))

    async def _judged(
        self, statement: Statement, here: StatementResult | StatementError, there: StatementResult | StatementError
    ) -> Found:
        if isinstance(there, StatementError) and there.code in NOT_THERE:
            if there.code == _REFUSED and isinstance(here, StatementResult) and self._is_translated(statement):
                return Found("mismatch", f"With these values or rows it is refused: {there.message}")
            return Found("inconclusive", f"Not answered on Postgres ({there.code}).")
        if isinstance(here, StatementError) or isinstance(there, StatementError):
            if code_of(here) == code_of(there):
                return Found("match")
            if await self._behind(statement, there):
                return Found("inconclusive", BEHIND, early=True)
            reason = f"SQLite answers {code_of(here) or 'rows'}, Postgres {code_of(there) or 'rows'}."
            return Found("mismatch", reason)
        in_order = ordered(statement.sql)
        differs = difference(here, there, in_order=in_order)
        if differs is None:
            moved = not in_order and difference(here, there, in_order=True) is not None
            return Found("match", _MOVED if moved else None)
        if await self._behind(statement, there):
            return Found("inconclusive", BEHIND, early=True)
        if early := self._state.not_whole(self._executor.dialect, statement):
            return Found("inconclusive", early, early=True)
        excuse = await self._excuse(statement, here, there)
        return Found("inconclusive", excuse) if excuse else Found("mismatch", differs)

    async def _behind(self, statement: Statement, there: StatementResult | StatementError) -> bool:
        """Whether the statement names what SQLite has otherwise than the schema that Postgres's statements go by, or
        than Postgres had when its snapshot was taken."""
        if isinstance(there, StatementError) and there.message.startswith(_GONE) and self._is_known(statement):
            return True
        asked, _ = await answered(self._primary.ask(Statement(SCHEMA), _SECONDS, _MOST))
        if not isinstance(asked, StatementResult):
            return False
        named = set(re.findall(r"[\w$]+", statement.sql.lower()))
        known = {each.sql for each in objects_of(self._executor.dialect.ddl).values()}
        return any(
            str(name).lower() in named and sql not in known and not _VIRTUAL.match(str(sql))
            for _, name, _, sql in asked.rows
        )

    def _is_translated(self, statement: Statement) -> bool:
        """Whether it is its rows that it was refused for: of one that has no translation its readiness tells."""
        try:
            self._executor.dialect.translate(statement.sql, bind(inspect(statement.sql), statement))
        except StatementError:
            return False
        return True

    def _is_known(self, statement: Statement) -> bool:
        try:
            self._executor.dialect.checks.check(statement.sql)
        except StatementError:
            return False
        return True

    async def _excuse(self, statement: Statement, here: StatementResult, there: StatementResult) -> str | None:
        """Why the answers may differ all the same."""
        if await self._in_ties(statement, here, there):
            return "Rows that are equal to its ORDER BY come in another order, which it leaves open."
        backwards, _ = await answered(self._primary.ask(statement, _SECONDS, _MOST, backwards=True))
        in_order = ordered(statement.sql)
        if not isinstance(backwards, StatementResult) or difference(here, backwards, in_order=in_order) is not None:
            return "The statement leaves the rows or their order open: SQLite may answer it in more than one way."
        views = [found for text in self._executor.dialect.ddl if changing(text) and (found := _VIEW.match(text))]
        names = {next(filter(None, view.groups())).lower() for view in views}
        if names & set(re.findall(r"[\w$]+", statement.sql.lower())):
            return "It reads a view whose rows may be others at each execution."
        return await self._state.quarantined(self._executor.dialect, statement)

    async def _in_ties(self, statement: Statement, here: StatementResult, there: StatementResult) -> bool:
        """Whether nothing differs but rows that ORDER BY leaves in ties."""
        if [column.name for column in here.columns] != [column.name for column in there.columns]:
            return False
        answers = [here, there]
        for direction in ("ASC", "DESC"):
            sql = breaking_ties(statement.sql, direction)
            if sql is None:
                return False
            broken, _ = await answered(self._primary.ask(replace(statement, sql=sql), _SECONDS, _MOST))
            if not isinstance(broken, StatementResult):
                return False
            answers.append(broken)
        return differ_in_ties(*(list(map(typed, answer.rows)) for answer in answers))


async def answered(asked: Awaitable[Timed | None]) -> tuple[StatementResult | StatementError | None, float]:
    """(the answer, also where it is an error, the seconds that it took). Raises what is none of the statement's."""
    try:
        timed = await asked
    except StatementError as error:
        return error.alone(), 0.0
    except Fenced as error:
        return StatementError(error.message, "SQLITE_BUSY"), 0.0
    return (timed.result, timed.seconds) if timed is not None else (None, 0.0)


def digest_of(answer: StatementResult | StatementError) -> int:
    """What tells an answer from others, in this process alone; not the key of a new row, which is another each time."""
    if isinstance(answer, StatementError):
        return hash(answer.code)
    return hash((answer.affected, *map(tuple, answer.rows)))


def code_of(answer: StatementResult | StatementError) -> str:
    """Of an error; empty: there is none."""
    return answer.code if isinstance(answer, StatementError) else ""
