"""Which way a batch of statements goes, told from its text alone. Pure.

A batch is *self-contained* if it leaves neither an open transaction nor changed connection state behind, whatever
fails in it. Such a batch may run on any connection, together with others; anything else belongs to its stream.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

from cutover.model.statement import Not, Ok, Step
from cutover.schema.sqltext import StatementKind, inspect


class Route(Enum):
    """How to run a batch that meets no open transaction."""

    READ = "read"
    """Self-contained, and writes nothing."""
    WRITE = "write"
    """Self-contained, and may write."""
    SESSION = "session"
    """Needs a connection of its own."""


_READS = frozenset((StatementKind.READ, StatementKind.REFUSED, StatementKind.EMPTY, StatementKind.MANY))
_PLAIN = _READS | {StatementKind.WRITE, StatementKind.DDL}
_BEGINS = frozenset((StatementKind.BEGIN, StatementKind.BEGIN_WRITE, StatementKind.BEGIN_READ))


def route(steps: Sequence[Step]) -> Route:
    """The way of a batch. Refused and malformed statements count as reads: they are answered without a database."""
    if len(steps) == 1:
        shape = inspect(steps[0].statement.sql)
        kind = shape.kind
        if kind in _READS or shape.default:
            return Route.READ
        if shape.temporary:
            return Route.SESSION
        return Route.WRITE if kind in _PLAIN else Route.SESSION
    shapes = [inspect(step.statement.sql) for step in steps]
    if any(shape.temporary for shape in shapes):
        return Route.SESSION
    kinds = [shape.kind for shape in shapes]
    if all(kind in _PLAIN for kind in kinds):
        return Route.READ if all(kind in _READS for kind in kinds) else Route.WRITE
    if not _closes_itself(steps, kinds):
        return Route.SESSION
    return Route.READ if kinds[0] is not StatementKind.BEGIN_WRITE and _reads_only(kinds) else Route.WRITE


def writes(steps: Sequence[Step]) -> bool:
    """Whether any statement may write, or take the write lock."""
    return any(
        kind in (StatementKind.WRITE, StatementKind.DDL, StatementKind.BEGIN_WRITE)
        for kind in (inspect(step.statement.sql).kind for step in steps)
    )


def _reads_only(kinds: Sequence[StatementKind]) -> bool:
    return not any(kind in (StatementKind.WRITE, StatementKind.DDL) for kind in kinds)


def _closes_itself(steps: Sequence[Step], kinds: Sequence[StatementKind]) -> bool:
    """Whether this is BEGIN, plain statements, COMMIT, and a ROLLBACK for the case that the COMMIT was not reached.

    That is the shape in which libSQL's clients send a transaction. Without the ROLLBACK a COMMIT that fails (a
    deferred foreign key) would leave the transaction open, and it would be the stream's.
    """
    if len(steps) < 3 or kinds[0] not in _BEGINS or steps[0].condition is not None:
        return False
    if kinds[-2] is not StatementKind.COMMIT or kinds[-1] is not StatementKind.ROLLBACK:
        return False
    if steps[-1].condition != Not(Ok(len(steps) - 2)):
        return False
    return all(kind in _PLAIN for kind in kinds[1:-2])
