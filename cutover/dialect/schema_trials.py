"""Schema changes that applications send while SQLite is primary: what Postgres would be told if it were.

SQLite makes them, and the mirror follows in its own way. Here each is made on an empty copy of the schema as it was
when it came, and planned for Postgres as `changing` would; nothing is sent there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from cutover.dialect.ddl import Plan
from cutover.dialect.dialect import Dialect
from cutover.dialect.executor import PostgresExecutor
from cutover.dialect.rehearsal import Rehearsed
from cutover.dialect.remembered import KeptChange, name_of
from cutover.dialect.schema_change import Change, change_of
from cutover.dialect.typed import Refused
from cutover.errors import CutoverError, StatementError
from cutover.logs import get_logger
from cutover.model.table import Tables
from cutover.schema.fingerprint import fingerprint
from cutover.schema.mapping import map_tables
from cutover.schema.postgres_schema import PostgresSchema
from cutover.schema.sqltext import inspect
from cutover.settings import Settings

_log = get_logger("rehearsal")

_TEXTS = 500
_REFUSED = ("refused", "failing")
_REPEATABLE = re.compile(r"^\W*(CREATE|DROP)\b.{0,60}?\bIF\s+(NOT\s+)?EXISTS\b", re.IGNORECASE | re.DOTALL)
_WITHOUT_CHANGE = ("ANALYZE", "REINDEX")


@dataclass(slots=True)
class _Seen:
    mapped: tuple[str, ...]
    """The schema as it was mapped when it came first."""
    count: int = 1
    found: Rehearsed | None = None
    before: tuple[str, ...] = ()
    """The schema that it was tried on: with what the migration had made by then."""
    generation: int = 0
    """Of the mapping that it was tried with."""

    def may_come_again(self, sql: str) -> bool:
        """Whether it is one that does, as far as is known."""
        return self.count > 1 or _REPEATABLE.search(sql) is not None


class SchemaTrials:
    """The distinct texts, in the order in which they came."""

    def __init__(self, schema: Callable[[], Sequence[str]]) -> None:
        """`schema`: the CREATE statements of SQLite, as mapped by now."""
        self._schema = schema
        self._seen: dict[str, _Seen] = {}
        self._before: tuple[str, ...] = ()
        """What was mapped when the last came that was tried."""
        self._after: tuple[str, ...] = ()
        """That, with what came since: a migration goes on with what it has just made."""

    def seen(self, sql: str) -> bool:
        """Note one. Whether it is new."""
        known = self._seen.get(sql)
        if known is not None:
            known.count += 1
            if known.found is None or known.found.status not in _REFUSED:
                return False
            known.mapped, known.found = tuple(self._schema()), None  # perhaps it is not any more
            return True
        if len(self._seen) >= _TEXTS:
            return False
        self._seen[sql] = _Seen(tuple(self._schema()))
        return True

    async def rehearse(self, executor: PostgresExecutor) -> None:
        """Try those that were not, and what was refused before tables were mapped as they are now. Raises
        `StatementError` if Postgres is away."""
        for sql, one in list(self._seen.items()):
            generation = executor.dialect.generation
            if one.found is None:
                if one.mapped != self._before:
                    self._before = self._after = one.mapped
                one.before, one.generation = self._after, generation
                one.found, self._after = await try_change(executor, self._after, sql)
            elif one.found.status in _REFUSED and one.generation != generation:
                one.found, _ = await try_change(executor, one.before, sql)
                one.generation = generation

    @property
    def refused(self) -> int:
        """Those that Postgres would refuse and that may come again: SQLite makes no such change twice, unless it is
        told that it may have been made (IF NOT EXISTS), or was undone in between."""
        return sum(
            one.found is not None and refused_again(one.found.status, again=one.may_come_again(sql))
            for sql, one in self._seen.items()
        )

    def kept(self, known: Callable[[str], bool]) -> list[KeptChange]:
        """What is to be known of them after a restart, without the values in them. `known`: see `fingerprint`."""
        return [
            KeptChange(
                id=name_of(sql),
                sql=fingerprint(sql, known),
                status=one.found.status if one.found is not None else "unseen",
                reason=fingerprint(one.found.reason, known) if one.found is not None and one.found.reason else None,
                count=one.count,
                again=one.may_come_again(sql),
            )
            for sql, one in self._seen.items()
        ]

    def rows(self) -> list[dict[str, Any]]:
        """One object a schema change."""
        return [{"sql": sql, "count": one.count} | told(one.found) for sql, one in self._seen.items()]


def refused_again(status: str, *, again: bool) -> bool:
    """Whether Postgres would refuse what is to be expected."""
    return again and status in _REFUSED


def told(found: Rehearsed | None) -> dict[str, Any]:
    """What came of one."""
    if found is None:
        return {"status": "unseen", "translation": None, "reason": None}
    return {"status": found.status, "translation": found.translation, "reason": found.reason}


async def try_change(executor: PostgresExecutor, ddl: tuple[str, ...], sql: str) -> tuple[Rehearsed, tuple[str, ...]]:
    """(what would happen on Postgres, the schema after it). Raises `StatementError` if Postgres is away."""
    try:
        return await _tried(executor, ddl, sql)
    except CutoverError:
        raise
    except Exception:  # noqa: BLE001  # a defect of ours
        _log.exception("A schema change could not be rehearsed")
        return Rehearsed("failing", reason="its translation met a defect; see the log"), ddl


async def _tried(executor: PostgresExecutor, ddl: tuple[str, ...], sql: str) -> tuple[Rehearsed, tuple[str, ...]]:
    if inspect(sql).verb in _WITHOUT_CHANGE:
        return Rehearsed("ready", reason="Postgres does this by itself."), ddl
    try:
        change = change_of(ddl, sql)
    except Refused as refused:
        return Rehearsed("refused", reason=refused.message), ddl
    except StatementError as error:
        return Rehearsed("invalid", reason=error.message), ddl
    executor.rehearsal.made(change.ddl)
    settings = executor.dialect.settings
    if not change.changes or settings is None:
        return Rehearsed("ready", reason="It asks for nothing that is not there."), ddl
    target = await executor.rehearsal.target(settings)
    try:
        planned = _planned(executor.dialect, change, target, settings)
    except Refused as refused:
        return Rehearsed("refused", reason=refused.message), change.ddl
    return Rehearsed("ready", ";\n".join(planned) or None), change.ddl


def _planned(dialect: Dialect, change: Change, target: PostgresSchema, settings: Settings) -> list[str]:
    """The statements for Postgres, where the mirror may have made the change already."""
    created = {table.name.lower() for table in change.created}
    before = replace(target, tables=tuple(table for table in target.tables if table.name.lower() not in created))
    tables = _mapped(dialect.tables, change, before, settings)
    return Plan(change, tables, before, settings, foreign_keys=True).made()


def _mapped(tables: Tables, change: Change, target: PostgresSchema, settings: Settings) -> Tables:
    """With those that the mirror has not followed yet: what Postgres has in their places are tables of before."""
    texts = {table.name: table.sql for table in change.before.tables}
    known = {table.name: table for table in tables if texts.get(table.name) == table.sql}
    if known.keys() == texts.keys():
        return tables
    own = {table.target for table in known.values()}
    beside = replace(target, tables=tuple(table for table in target.tables if table.name in own))
    fresh = map_tables(change.before, beside, settings, born=True, loose=True).tables
    return (*known.values(), *(table for table in fresh if table.name not in known))
