"""Every function over a grid of edge values of every kind: what SQLite answers, and what Postgres does."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product
from typing import TypeAlias

from cutover.errors import StatementError
from cutover.model.values import SqlValue
from tests.flow.dialect_world import World, typed_rows

SCHEMA = "CREATE TABLE g (id INTEGER PRIMARY KEY, i INTEGER, r REAL, s TEXT, k BLOB, b BOOLEAN, n NUMERIC, d)"

INTS = (0, 1, -1, 2, -7, 64, 65, 255, 8364, 9223372036854775807, -9223372036854775808, None)
REALS = (0.0, 0.5, -0.5, 1.0, -1.5, 2.5, 3.14159265358979, 1e15, 1e-7, 123456789.987654321, -1e300, None)
TEXTS = ("", "a", "Aé€ b", "  x ", "12", " -3.5abc", "0x1F", "it's", "%d", "9223372036854775808", "1e3", None)
BLOBS = (b"", b"a", b"ab\xc3\xa9", b"12", b"-3.5", b"xyz", b"\x00\x01", b"\xff\xfe", b"it's", b" ", b"1e3", None)
BOOLS = (0, 1, None) * 4
NUMERICS = (0, 1, 2.5, -7, 1e15, -0.25, 100, 3.75, 9007199254740993, 0.1, -1, None)
DYNAMICS = (0, 1.5, "a", b"a", "12", b"", -7, 2.0, " 3x", "", 1e15, None)
ROWS = tuple(zip(INTS, REALS, TEXTS, BLOBS, BOOLS, NUMERICS, DYNAMICS, strict=True))

KINDS = ("i", "r", "s", "k", "b", "n", "d", "CASE WHEN id % 2 THEN i ELSE r END", "NULL")
"""One expression of each kind that the translator tells apart."""


@dataclass
class Outcome:
    """What came of a batch."""

    different: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    """Only Postgres failed, and told so."""
    same: int = 0


_Answer: TypeAlias = list[tuple[tuple[str, SqlValue], ...]] | StatementError


async def compare(both: World, expressions: list[str], outcome: Outcome | None = None) -> Outcome:
    """Each expression over all rows of the grid, row by row where a row fails; or a whole SELECT."""
    outcome = outcome or Outcome()
    for expression in expressions:
        if expression.startswith("SELECT"):
            await ask(both, expression, (), outcome, row_by_row=False)
            continue
        sql = f"SELECT id, {expression}, typeof({expression}) FROM g"
        if not await ask(both, sql, (), outcome, row_by_row=True):
            for number in range(1, len(ROWS) + 1):
                await ask(both, sql + " WHERE id = ?", (number,), outcome, row_by_row=False)
    return outcome


async def ask(both: World, sql: str, args: tuple[SqlValue, ...], outcome: Outcome, *, row_by_row: bool) -> bool:
    """False: a row fails, so each has to be asked for on its own."""
    expected: _Answer
    found: _Answer
    try:
        expected = typed_rows(both.on_sqlite(sql, *args), False)
    except StatementError as error:
        expected = error
    try:
        found = typed_rows(await both.on_postgres(sql, *args), False)
    except StatementError as error:
        if error.code == "SQL_NOT_TRANSLATABLE":
            outcome.refused.append(sql)
            return True
        found = error
    failures = [side for side in (expected, found) if isinstance(side, StatementError)]
    if failures and row_by_row:
        return False
    if isinstance(found, StatementError):
        if not isinstance(expected, StatementError):
            outcome.failed.append(f"{sql} {args}: {found.message}; SQLite {expected}")
    elif isinstance(expected, StatementError):
        outcome.different.append(f"{sql} {args}\n  postgres {found}\n  sqlite {expected.message}")
    elif expected != found:
        rows = [f"  postgres {one}\n  sqlite   {two}" for one, two in zip(found, expected, strict=True) if one != two]
        outcome.different.append(f"{sql} {args}\n" + "\n".join(rows))
    else:
        outcome.same += 1
    return True


def unary(names: str) -> list[str]:
    """f(x) for each kind."""
    return [f"{name}({kind})" for name, kind in product(names.split(), KINDS)]


def binary(names: str, seconds: tuple[str, ...]) -> list[str]:
    """f(x, y) for each kind of x and each y."""
    return [f"{name}({kind}, {second})" for name, kind, second in product(names.split(), KINDS, seconds)]
