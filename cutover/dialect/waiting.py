"""What waits to be replayed: of each text one statement for each combination of classes of arguments."""

from __future__ import annotations

from cutover.dialect.folds import Classes, classes_of
from cutover.model.sizes import answer_size
from cutover.model.statement import Statement

Sort = tuple[str, Classes]
"""A text, and the classes of the arguments that it came with."""

_MOST = 4096
"""Statements that wait; further ones do not."""
_BYTES = 16 << 20
"""The same of their texts and arguments, about."""
_LARGEST = 1 << 16
"""Of the arguments of one."""


def sort_of(statement: Statement) -> Sort:
    """What tells statements apart that are looked at each for itself."""
    return statement.sql, classes_of(statement)


class Waiting:
    """In the order in which they came."""

    def __init__(self) -> None:
        self._held: dict[Sort, tuple[Statement, int]] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._held)

    def __contains__(self, sort: Sort) -> bool:
        return sort in self._held

    def put(self, statement: Statement) -> bool:
        """Have it wait, in place of one of its sort. Whether there was room; what is too large has had its turn."""
        arguments = answer_size([(*statement.args, *(value for _, value in statement.named))])
        sort, size = sort_of(statement), arguments + len(statement.sql)
        if arguments > _LARGEST:
            return True
        if sort not in self._held and (len(self._held) >= _MOST or self._bytes + size > _BYTES):
            return False
        self._bytes += size - self._held.get(sort, (None, 0))[1]
        self._held[sort] = statement, size
        return True

    def first(self, number: int | None = None) -> list[Statement]:
        """So many of them, or all."""
        return [statement for statement, _ in list(self._held.values())[:number]]

    def holds(self, statement: Statement) -> bool:
        """Whether this very one waits."""
        return self._held.get(sort_of(statement), (None, 0))[0] is statement

    def take(self, statement: Statement) -> bool:
        """It waits no longer. Whether it did: another one of its sort may have come in its place."""
        if not self.holds(statement):
            return False
        self._bytes -= self._held.pop(sort_of(statement))[1]
        return True

    def behind(self, statement: Statement) -> None:
        """It goes on waiting, behind all others."""
        sort = sort_of(statement)
        if sort in self._held:
            self._held[sort] = self._held.pop(sort)
