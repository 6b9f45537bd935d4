"""A statement on its way to Postgres: checked, bound, translated, its arguments encoded."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from cutover.dialect.checking import Checked
from cutover.dialect.context import CHANGES, LAST_INSERT_ROWID
from cutover.dialect.dialect import Dialect
from cutover.dialect.spelling import Spelled
from cutover.dialect.translation import Command, Translation
from cutover.errors import CutoverError, StatementError, Unrepresentable
from cutover.model.statement import Past, ResultColumn, Statement, StatementResult
from cutover.model.values import SqlValue
from cutover.schema.arguments import bind
from cutover.schema.sqltext import inspect
from cutover.stores.defects import defect


@dataclass(slots=True)
class Memory(Past):
    """What SQLite remembers for a connection."""

    deferring: bool = False
    """PRAGMA defer_foreign_keys, for the transaction that is open."""

    def value(self, slot: int) -> int:
        """The number in a slot of `dialect.context`."""
        if slot == LAST_INSERT_ROWID:
            return self.last_insert_rowid
        return self.changes if slot == CHANGES else self.total_changes

    def recall(self, past: Past | None) -> None:
        """Go on with the past of the stream whose batch is next."""
        if past is not None:
            self.last_insert_rowid, self.changes, self.total_changes = (
                past.last_insert_rowid, past.changes, past.total_changes,
            )  # fmt: skip


@dataclass(slots=True)
class Prepared:
    """One statement, bound and translated; or answered already."""

    checked: Checked
    translation: Translation | None
    arguments: Sequence[Any] = ()
    before: Sequence[Any] = ()
    answered: StatementResult | None = None
    want_rows: bool = True
    keys: Sequence[int | None] = ()
    """The automatic keys that it returned, when it has run; None for a row that was changed instead."""
    marks: Sequence[tuple[str, int | None, int | None]] = ()
    """Of a write to sqlite_sequence: the sequences that it set, what SQLite has there, and where they stand."""
    numbered: int | None = None
    """The number of the last row that it inserted, where Postgres does not give it."""
    bound: Sequence[SqlValue] = ()
    """The statement's arguments, where it is run a row at a time."""
    again: Callable[[], Prepared] | None = None
    """The same in parts, where that may help."""
    columns: list[ResultColumn] | None = None
    """The answer's, if they were looked up before; whoever gets them leaves them as they are."""
    wider: Callable[[], Prepared] | None = None
    """The same with numbers that go on where 64 bits or a double end."""
    keyed: Callable[[list[int]], Prepared] | None = None
    """The same with these automatic keys."""
    naming: Callable[[], Prepared | None] | None = None
    """The query for the constraints that its row breaks."""
    telling: Callable[[], Prepared] | None = None
    """The same a row at a time, to tell which failed, and how."""

    @property
    def may_be_undone(self) -> bool:
        """Whether it may turn out that it has to be done in another way, or something has to be done beside it."""
        if self.translation is None:
            return False
        drawing = self.translation.drawing
        beside = self.translation.marked or self.translation.raised
        return bool(beside) or (drawing is not None and drawing.by_rows)

    def by_rows(self) -> Prepared | None:
        """The same a row at a time, to tell which failed. Raises `StatementError` where that has no translation."""
        one = self.translation
        if one is not None and (one.parts or one.by_row is not None):
            return self
        return self.telling() if self.telling is not None else None

    @property
    def numbers(self) -> bool:
        """Whether it inserts rows that are counted only."""
        drawing = self.translation.drawing if self.translation is not None else None
        return drawing is not None and drawing.counted

    @property
    def several(self) -> bool:
        """Whether more than one statement goes to Postgres."""
        one = self.translation
        return one is not None and (bool(one.parts) or one.by_row is not None or one.before is not None)


def prepare(dialect: Dialect, statement: Statement, memory: Memory, *, foreign_keys: bool = True) -> Prepared:
    """Check, bind, translate and encode. Raises `StatementError`; nothing was sent then. `foreign_keys`: the PRAGMA."""
    try:
        return _prepared(dialect, statement, memory, foreign_keys=foreign_keys)
    except CutoverError:
        raise
    except Exception as error:  # noqa: BLE001  # a defect of ours
        raise defect(error) from None


def _prepared(dialect: Dialect, statement: Statement, memory: Memory, *, foreign_keys: bool) -> Prepared:
    checked = dialect.checks.check(statement.sql, foreign_keys=foreign_keys)
    bound = bind(inspect(statement.sql), statement)
    if checked.local:
        answered = dialect.checks.answer(statement.sql, bound)
        return Prepared(checked, None, answered=answered if statement.want_rows else replace(answered, rows=[]))
    while True:
        translation = dialect.translate(statement.sql, bound)
        try:
            return with_arguments(checked, translation, bound, memory, want_rows=statement.want_rows)
        except Spelled:
            dialect.learn()


def with_arguments(
    checked: Checked, translation: Translation, bound: Sequence[SqlValue], memory: Memory, *, want_rows: bool
) -> Prepared:
    """The statement in this translation. Raises `StatementError` for an argument that Postgres cannot hold."""

    def prepared(one: Translation, *more: SqlValue, wanted: bool = want_rows) -> Prepared:
        return with_arguments(checked, one, [*bound, *more], memory, want_rows=wanted)

    def named() -> Prepared | None:  # whose rows are for nobody but us
        query = naming() if naming is not None else None
        return prepared(query, wanted=True) if query is not None else None

    if translation.parts or translation.by_row is not None:
        return Prepared(checked, translation, bound=bound, want_rows=want_rows)
    before, apart, wider, keyed = translation.before, translation.apart, translation.wider, translation.keyed
    naming, telling = translation.naming, translation.telling
    return Prepared(
        checked,
        translation,
        _encoded(translation.command, bound, memory),
        _encoded(before, bound, memory) if before is not None else (),
        want_rows=want_rows,
        again=(lambda: prepared(apart())) if apart is not None else None,
        wider=(lambda: prepared(wider())) if wider is not None else None,
        telling=(lambda: prepared(telling())) if telling is not None else None,
        naming=named if naming is not None else None,
        keyed=(lambda keys: prepared(keyed(), json.dumps(keys))) if keyed is not None else None,
    )


def _encoded(command: Command, bound: Sequence[SqlValue], memory: Memory) -> list[Any]:
    try:
        return command.arguments(bound, memory.value)
    except Unrepresentable as error:
        raise StatementError(f"datatype mismatch: {error.message}", "SQLITE_MISMATCH") from None
