"""Verdicts over two answers, which name no value."""

import pytest

from cutover.dialect.sameness import changing, difference, may_change
from cutover.model.statement import ResultColumn, Statement, StatementResult
from cutover.model.values import Row


def answer(*rows: Row, names: str = "ab") -> StatementResult:
    return StatementResult([ResultColumn(name) for name in names], list(rows))


ONE = answer((1, "x"), (2, None))


@pytest.mark.parametrize(
    ("other", "in_order", "told"),
    [
        (answer((1, "x"), (2, None)), True, None),
        (answer((2, None), (1, "x")), False, None),
        (answer((2, None), (1, "x")), True, "The same rows in another order."),
        (answer((1, "x")), False, "2 rows on SQLite, 1 on Postgres."),
        (answer((1, "x"), (2, None), names="aB"), True, "The columns have other names on Postgres."),
        (answer((1, "x"), (2.0, None)), True, "Row 2, column a: an integer on SQLite, a real on Postgres."),
        (answer((1, "secret"), (2, None)), True, "Row 1, column b: a text on both, but not the same."),
        (
            answer((2, None), (1, b"x")),
            False,
            "1 of 2 rows differ. Row 1, column b: a text on SQLite, a blob on Postgres.",
        ),
    ],
)
def test_the_first_difference_is_told_without_values(other: StatementResult, in_order: bool, told: str | None) -> None:
    assert difference(ONE, other, in_order=in_order) == told


def test_reals_are_the_same_to_twelve_digits() -> None:
    assert difference(answer((0.1 + 0.2, 1)), answer((0.3, 1)), in_order=True) is None
    assert difference(answer((0.3000001, 1)), answer((0.3, 1)), in_order=True) is not None


@pytest.mark.parametrize(
    ("sql", "open_"),
    [
        ("SELECT random()", True),
        ("SELECT Current_Timestamp", True),
        ("SELECT date ( 'NOW', '+1 day')", True),
        ("SELECT datetime()", True),
        ("SELECT strftime('%s')", True),
        ("SELECT changes ()", True),
        ("SELECT date(made) FROM t", False),
        ("SELECT strftime('%s', made) FROM t", False),
        ("SELECT randomness, changes FROM t", False),
    ],
)
def test_what_may_answer_differently_each_time(sql: str, open_: bool) -> None:
    assert changing(sql) is open_


def test_an_argument_may_be_the_time() -> None:
    assert may_change(Statement("SELECT date(?)", ("Now",)))
    assert may_change(Statement("SELECT date(:at)", named=(("at", "now"),)))
    assert not may_change(Statement("SELECT date(?)", ("2024-01-01",)))
