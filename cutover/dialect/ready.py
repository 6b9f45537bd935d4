"""Texts that were found fit to be begun at once, by the types of their arguments: what of that does not depend on
their values is found out once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cutover.dialect.ahead import LONG
from cutover.dialect.recent import Recent
from cutover.dialect.running import Memory, Prepared, prepare
from cutover.errors import StatementError
from cutover.model.statement import Columns, Statement
from cutover.schema.sqltext import inspect

if TYPE_CHECKING:
    from cutover.dialect.dialect import Dialect

_NOTHING_BEFORE = Memory().value
"""What a statement that stands alone remembers: those that ask for more are not known here."""


class Ready:
    """Those of one state of the schema."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._generation = -1
        self._known: Recent[tuple[object, ...], tuple[Prepared, Columns]] = Recent(1024)

    def prepared(self, statement: Statement, *, writes: bool) -> Prepared | None:
        """The statement with its arguments; None if it has to go the long way, which tells what is wrong with it."""
        dialect = self._dialect
        if dialect.generation != self._generation:
            self._known, self._generation = Recent(1024), dialect.generation
        key = (statement.sql, *map(type, statement.args))
        known = None if statement.named else self._known.young.get(key) or self._known.get(key)
        if known is None:
            found = self._found(statement, writes=writes)
            if found is not None and not statement.named and dialect.generation == self._generation:
                assert found.translation is not None
                self._known.put(key, (found, Columns(dialect.columns(found.checked, found.translation))))
        else:
            like, columns = known
            translation = like.translation
            assert translation is not None
            if translation.writes is not writes:
                return None
            try:
                arguments = translation.command.arguments(statement.args, _NOTHING_BEFORE)
            except Exception:  # noqa: BLE001  # the long way tells
                return None
            found = Prepared(like.checked, translation, arguments, want_rows=statement.want_rows, columns=columns)
        if found is not None and writes:
            assert found.translation is not None
            if not dialect.keys.ready(found.translation.drawing):
                return None
        return found

    def _found(self, statement: Statement, *, writes: bool) -> Prepared | None:
        if len(statement.sql) > LONG or (writes and self._dialect.changes(statement.sql)):
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
