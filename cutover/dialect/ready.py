"""Texts that were found fit to be begun at once, by the types of their arguments: what of that does not depend on
their values is found out once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from cutover.dialect.ahead import LONG
from cutover.dialect.preparing import Memory, Prepared, prepare
from cutover.dialect.recent import Recent
from cutover.errors import StatementError
from cutover.model.statement import Columns, Statement
from cutover.schema.sqltext import inspect

if TYPE_CHECKING:
    from cutover.dialect.dialect import Dialect

_NOTHING_BEFORE = Memory().value
"""What a statement that stands alone remembers: those that ask for more are not known here."""


@dataclass(slots=True)
class Known:
    """A text with arguments of some types."""

    like: Prepared
    """It, with the arguments of one execution."""
    plain: bool
    """Whether arguments go to Postgres as they come."""
    tagged: str | None
    """What it is when it is sent together with others like it; None if it always goes alone."""

    def arguments(self, statement: Statement) -> Sequence[Any] | None:
        """The arguments of another execution, as they go to Postgres; None if that cannot be."""
        if self.plain:
            return statement.args
        assert self.like.translation is not None
        try:
            return self.like.translation.command.arguments(statement.args, _NOTHING_BEFORE)
        except Exception:  # noqa: BLE001  # the long way tells
            return None


class Ready:
    """Those of one state of the schema."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._generation = -1
        self._known: Recent[tuple[object, ...], Known] = Recent(1024)

    def query(self, statement: Statement) -> tuple[Known, Sequence[Any]] | None:
        """A query and its arguments; None if it has to go the long way, which tells what is wrong with it."""
        known = self._of(statement)
        if known is None:
            found = self._found(statement, writes=False)
            return None if found is None else (self._remember(statement, found), found.arguments)
        translation = known.like.translation
        assert translation is not None
        if translation.writes:
            return None
        arguments = statement.args if known.plain else known.arguments(statement)
        return None if arguments is None else (known, arguments)

    def write(self, statement: Statement) -> tuple[Known, Prepared] | None:
        """The same for a statement that writes, with what is to come of this execution."""
        known = self._of(statement)
        if known is None:
            found = self._found(statement, writes=True)
            if found is None:
                return None
            known = self._remember(statement, found)
        else:
            like = known.like
            arguments = known.arguments(statement)
            assert like.translation is not None
            if arguments is None or not like.translation.writes:
                return None
            found = Prepared(like.checked, like.translation, arguments, want_rows=like.want_rows, columns=like.columns)
        assert found.translation is not None
        return (known, found) if self._dialect.keys.ready(found.translation.drawing) else None

    def _of(self, statement: Statement) -> Known | None:
        if self._dialect.generation != self._generation:
            self._known, self._generation = Recent(1024), self._dialect.generation
        if statement.named:
            return None
        key = (statement.sql, statement.want_rows, *map(type, statement.args))
        return self._known.young.get(key) or self._known.get(key)

    def _remember(self, statement: Statement, found: Prepared) -> Known:
        translation = found.translation
        assert translation is not None
        columns = Columns(self._dialect.columns(found.checked, translation))
        uses = translation.command.uses
        plain = len(uses) == len(statement.args) and all(
            use.slot == at and use.encode is None for at, use in enumerate(uses)
        )
        like = replace(found, columns=columns)
        known = Known(like, plain, translation.command.tagged if translation.compared else None)
        if not statement.named and self._dialect.generation == self._generation:
            self._known.put((statement.sql, statement.want_rows, *map(type, statement.args)), known)
        return known

    def _found(self, statement: Statement, *, writes: bool) -> Prepared | None:
        if len(statement.sql) > LONG or (writes and self._dialect.checks.changes(statement.sql)):
            return None
        if inspect(statement.sql).remembers:  # what its stream did before, which is another thing each time
            return None
        try:
            found = prepare(self._dialect, statement, Memory())
        except StatementError:
            return None
        translation = found.translation
        if found.answered is not None or translation is None or translation.writes is not writes or found.several:
            return None
        return None if translation.marked or (writes and found.may_be_undone) else found
