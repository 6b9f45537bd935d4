"""Functions and operators within each other, over literals and bound arguments of every kind, picked at random."""

from __future__ import annotations

from random import Random

from cutover.model.values import SqlValue
from tests.flow.dialect_world import world
from tests.flow.functions_grid import Outcome, ask

VALUES: tuple[SqlValue, ...] = (
    *(0, 1, -1, 3, -10, 1 << 62, 0.5, -3.75, 1e10, 1e-5, "", "abc", "12", "-3.5", "1e2", " 7 ", "é", "%a%"),
    *(b"", b"abc", b"12", None),
)
ONE = "lower upper length trim hex unicode quote soundex abs round sign typeof acos cos exp ceil floor ln log2 sqrt"
TWO = "trim instr round atan2 mod pow log nullif ifnull max min coalesce substr like glob"
OPERATORS = "+ - * / % || & | << >> = < <> IS LIKE"
TYPES = ("INTEGER", "REAL", "TEXT", "NUMERIC", "BLOB")
LOUD = ("more than 15 digits", "too large for PostgreSQL", "NUL character")


async def test_nested_expressions_answer_alike(postgres_url: str) -> None:
    random, outcome = Random(7), Outcome()
    async with world(postgres_url, "CREATE TABLE t (id INTEGER PRIMARY KEY)") as both:
        for _ in range(200):
            args: list[SqlValue] = []
            sql = f"SELECT {_expression(random, args, depth=2)}"
            await ask(both, sql, tuple(args), outcome, row_by_row=False)
    assert not outcome.different, "\n".join(outcome.different)
    assert not [failure for failure in outcome.failed if not any(text in failure for text in LOUD)], outcome.failed
    assert outcome.same > 150


def _expression(random: Random, args: list[SqlValue], depth: int) -> str:
    if depth == 0 or random.random() < 0.2:
        value = random.choice(VALUES)
        if random.random() < 0.5:
            args.append(value)
            return "?"
        return _literal(value)

    def inner() -> str:
        return _expression(random, args, depth - 1)

    match random.randrange(5):
        case 0:
            return f"{random.choice(ONE.split())}({inner()})"
        case 1:
            return f"{random.choice(TWO.split())}({inner()}, {inner()})"
        case 2:
            return f"CAST({inner()} AS {random.choice(TYPES)})"
        case 3:
            return f"CASE WHEN {inner()} THEN {inner()} ELSE {inner()} END"
        case _:
            return f"({inner()} {random.choice(OPERATORS.split())} {inner()})"


def _literal(value: SqlValue) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, bytes):
        return f"x'{value.hex()}'"
    return "'" + value + "'" if isinstance(value, str) else repr(value)
