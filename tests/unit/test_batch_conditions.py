"""Which steps of a batch run, and which way a batch goes."""

import itertools

import pytest

from cutover.errors import StatementError
from cutover.model.statement import (
    All,
    Any,
    BatchResult,
    Failed,
    IsAutocommit,
    Not,
    Ok,
    Statement,
    StatementResult,
    Step,
    holds,
)
from cutover.schema.batches import Route, route, writes

RAN, FAILED, SKIPPED = 0, 1, 2
SO_FAR = BatchResult([StatementResult(), None, None], [None, StatementError("x", "SQLITE_CONSTRAINT"), None])


def test_ok_and_error_of_a_skipped_step_are_both_false() -> None:
    assert [holds(Ok(step), SO_FAR, autocommit=True) for step in (RAN, FAILED, SKIPPED)] == [True, False, False]
    assert [holds(Failed(step), SO_FAR, autocommit=True) for step in (RAN, FAILED, SKIPPED)] == [False, True, False]


def test_connectives() -> None:
    yes, no = Ok(RAN), Ok(FAILED)
    assert holds(All(()), SO_FAR, autocommit=True)
    assert not holds(Any(()), SO_FAR, autocommit=True)
    for pair in itertools.product((yes, no), repeat=2):
        truths = [condition is yes for condition in pair]
        assert holds(All(pair), SO_FAR, autocommit=True) is all(truths)
        assert holds(Any(pair), SO_FAR, autocommit=True) is any(truths)
    assert holds(Not(no), SO_FAR, autocommit=True)
    assert holds(None, SO_FAR, autocommit=False)
    assert holds(IsAutocommit(), SO_FAR, autocommit=True)
    assert not holds(IsAutocommit(), SO_FAR, autocommit=False)


def transaction(*inner: str, begin: str = "BEGIN IMMEDIATE") -> list[Step]:
    """As libSQL's clients send it."""
    steps = [Step(Statement(begin))]
    steps += [Step(Statement(sql), Ok(at)) for at, sql in enumerate(inner)]
    steps.append(Step(Statement("COMMIT"), Ok(len(steps) - 1)))
    steps.append(Step(Statement("ROLLBACK"), Not(Ok(len(steps) - 1))))
    return steps


@pytest.mark.parametrize(
    ("steps", "way"),
    [
        ([Step(Statement("SELECT 1"))], Route.READ),
        ([Step(Statement("nonsense"))], Route.READ),
        ([Step(Statement("VACUUM"))], Route.READ),
        ([Step(Statement("DELETE FROM t"))], Route.WRITE),
        ([Step(Statement("SELECT 1")), Step(Statement("DELETE FROM t"))], Route.WRITE),
        ([Step(Statement("BEGIN"))], Route.SESSION),
        ([Step(Statement("COMMIT"))], Route.SESSION),
        ([Step(Statement("SAVEPOINT a")), Step(Statement("RELEASE a"))], Route.SESSION),
        ([Step(Statement("PRAGMA foreign_keys = OFF"))], Route.SESSION),
        (transaction("DELETE FROM t", "SELECT 1"), Route.WRITE),
        (transaction("SELECT 1", begin="BEGIN TRANSACTION READONLY"), Route.READ),
        (transaction("SELECT 1"), Route.WRITE),
        (transaction("BEGIN"), Route.SESSION),
        (transaction("DELETE FROM t")[:-1], Route.SESSION),
        ([*transaction("DELETE FROM t"), Step(Statement("BEGIN"))], Route.SESSION),
        ([], Route.READ),
    ],
)
def test_the_way_of_a_batch(steps: list[Step], way: Route) -> None:
    assert route(steps) is way


def test_what_may_write() -> None:
    assert writes([Step(Statement("BEGIN IMMEDIATE"))])
    assert writes([Step(Statement("SELECT 1")), Step(Statement("CREATE TABLE t(a)"))])
    assert not writes([Step(Statement("BEGIN")), Step(Statement("SELECT 1")), Step(Statement("COMMIT"))])
