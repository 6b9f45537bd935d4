"""Random SELECTs: both databases answer alike, or the translator refuses, which it may not do often."""

from __future__ import annotations

from collections import Counter
from random import Random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cutover.errors import StatementError
from tests.flow.dialect_selects import DATA, SCHEMA, Selects
from tests.flow.dialect_world import World, world


def collected(examples: int) -> list[str]:
    """The same statements in each run, ten from each source of chance."""
    found: list[str] = []

    @settings(
        max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None
    )
    @given(st.integers(0, 1 << 40))
    def collect(seed: int) -> None:
        chance = Random(seed)
        found.extend(Selects(chance).statement() for _ in range(10))

    collect()
    return found


async def alike(both: World, sql: str) -> bool:
    """Whether the rows are equal where 1 and 1.0 are: of rows that are, either database keeps any one."""
    found, expected = await both.on_postgres(sql), both.on_sqlite(sql)
    rows = [
        sorted(repr([float(value) if isinstance(value, int) else value for value in row]) for row in result.rows)
        for result in (found, expected)
    ]
    return rows[0] == rows[1]


async def outcome(both: World, sql: str) -> str:
    """`same`, `refused` or `invalid` (for SQLite itself); anything else is a failure."""
    try:
        both.on_sqlite(sql)
    except StatementError:
        return "invalid"
    try:
        await both.same(sql, ordered=False)
    except StatementError as error:
        if error.code in ("SQL_NOT_TRANSLATABLE", "SQLITE_MISMATCH"):
            return "refused"
        return f"{sql}\n    {error}"
    except AssertionError as error:
        if any(word in sql for word in ("DISTINCT", "UNION", "INTERSECT", "EXCEPT")) and await alike(both, sql):
            return "same"
        return f"{sql}\n    {error}"
    return "same"


async def test_random_selects(postgres_url: str) -> None:
    statements = collected(30)
    async with world(postgres_url, SCHEMA, data=DATA) as both:
        outcomes = [await outcome(both, sql) for sql in statements]
    known = ("same", "refused", "invalid")
    failures = [found for found in outcomes if found not in known]
    assert not failures, f"{len(failures)} of {len(statements)}\n" + "\n".join(sorted(failures, key=len)[:4])
    counts = Counter(outcomes)
    assert counts["refused"] < len(statements) // 10, counts
