"""Functions, casts and operators on Postgres: SQLite's values and types at the edges, or a clear refusal."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.flow.dialect_world import World, world
from tests.flow.functions_grid import KINDS, ROWS, SCHEMA, binary, compare, unary

OPERATORS = ("+", "-", "*", "/", "%", "||", "&", "|", "<<", ">>")
BATCHES = {
    "text": [
        *unary("lower upper length trim ltrim rtrim hex unicode quote soundex"),
        "char(i)",
        "char(65, 233, 8364, 1114112, -1, '66', 67.9)",
        *binary("trim ltrim rtrim instr", ("'a'", "s", "x'61'", "1", "NULL")),
        *(f"substr({kind}, {start})" for kind in KINDS for start in ("0", "-2", "2")),
        *(f"substr({kind}, {start}, {size})" for kind in KINDS for start in ("0", "-2", "2") for size in ("1", "-1")),
        *(f"replace({kind}, {old}, {new})" for kind in KINDS for old in ("'a'", "''", "1") for new in ("'zz'", "k")),
    ],
    "numbers": [
        *unary("abs round sign typeof zeroblob likely unlikely"),
        *binary("round", ("0", "2", "-1", "15", "31", "NULL", "'1'")),
    ],
    "mathematics": [
        *unary("acos asin atan cos sin tan cosh sinh tanh acosh asinh atanh ceil ceiling floor trunc exp ln log"),
        *unary("log10 log2 radians degrees sqrt"),
        *binary("atan2 mod pow power log", ("2", "0.5", "0", "-3", "'2'", "NULL")),
        "pi()",
    ],
    "choices": [
        *binary("nullif ifnull coalesce min max", ("i", "r", "s", "k", "d", "NULL")),
        *(f"iif({kind}, 1, 'x')" for kind in KINDS),
        *binary("likelihood", ("0.5",)),
    ],
    "more than one": [
        *binary("instr", ("k", "d")),
        "max(i, r, n)",
        "min(i, r, s, k, d, n)",
        "coalesce(NULL, i, s)",
    ],
    "casts": [
        f"CAST({kind} AS {affinity})" for kind in KINDS for affinity in ("INTEGER", "REAL", "TEXT", "BLOB", "NUMERIC")
    ],
    "operators": [
        *(f"{kind} {op} {other}" for kind in KINDS for op in OPERATORS for other in ("i", "s", "d", "0", "2.5")),
        *(f"-{kind}" for kind in KINDS if "CASE" not in kind),
        *(f"~{kind}" for kind in KINDS if "CASE" not in kind),
    ],
}

REFUSED = ("quote(", "soundex(", "iif(")
"""What has no translation yet; anything else has to be answered."""
LOUD = ("NUL character", "integer overflow")
"""Where Postgres has no such value and says so."""


@pytest.fixture
async def both(postgres_url: str) -> AsyncIterator[World]:
    async with world(postgres_url, SCHEMA) as made:
        for row in ROWS:
            await made.same("INSERT INTO g (i, r, s, k, b, n, d) VALUES (?, ?, ?, ?, ?, ?, ?)", *row)
        yield made


@pytest.mark.parametrize("batch", BATCHES)
async def test_no_function_answers_differently(both: World, batch: str) -> None:
    outcome = await compare(both, BATCHES[batch])
    assert not outcome.different, "\n".join(outcome.different)
    assert not (refused := [sql for sql in outcome.refused if not any(part in sql for part in REFUSED)]), refused
    loud = [failure for failure in outcome.failed if not any(text in failure for text in LOUD)]
    assert not loud, "\n".join(loud)
