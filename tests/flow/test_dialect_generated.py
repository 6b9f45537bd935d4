"""Generated predicates, orderings and arithmetic: both databases answer alike, or the translator refuses."""

from __future__ import annotations

import sqlite3
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cutover.errors import StatementError
from tests.flow.dialect_world import world

SCHEMA = "CREATE TABLE t (id INTEGER PRIMARY KEY, i INTEGER, r REAL, s TEXT, c TEXT COLLATE NOCASE, b BOOLEAN NOT NULL)"
DATA = (
    "INSERT INTO t (i, r, s, c, b) VALUES (1, 1.0, 'a', 'A', 1), (2, 2.5, 'B', 'b', 0), (NULL, NULL, NULL, NULL, 1), "
    "(10, -1.5, '10', '10', 0), (-7, 1e10, '', 'é', 1), (0, 0.0, '2', 'a', 0), (2, 2.0, 'a%', 'B', 1)",
)

columns = st.sampled_from(["i", "r", "s", "c", "b", "id"])
literals = st.sampled_from(
    ["0", "1", "2", "-7", "2.5", "1.0", "'a'", "'B'", "'10'", "' 2 '", "'x'", "''", "NULL", "TRUE"]
)
arguments = st.sampled_from([0, 1, 2, -7, 2.5, 1.0, "a", "B", "10", "x", "", None])
operators = st.sampled_from(["=", "<>", "<", "<=", ">", ">=", "IS", "IS NOT"])
numbers = st.sampled_from(["i", "r", "id", "b", "1", "2", "2.5", "0", "-3"])


@st.composite
def arithmetic(draw: Any) -> str:
    left, op, right = draw(numbers), draw(st.sampled_from(["+", "-", "*", "/", "%"])), draw(numbers)
    return f"({left} {op} {right})"


operands = st.one_of(columns, columns, literals, arithmetic(), st.just("?"))


@st.composite
def predicates(draw: Any) -> str:
    left = draw(operands)
    match draw(st.integers(0, 5)):
        case 0 | 1:
            return f"{left} {draw(operators)} {draw(operands)}"
        case 2:
            negated = draw(st.sampled_from(["", "NOT "]))
            return f"{left} {negated}IN ({', '.join(draw(st.lists(literals, min_size=1, max_size=4)))})"
        case 3:
            return f"{left} BETWEEN {draw(literals)} AND {draw(operands)}"
        case 4:
            return f"{left} {draw(st.sampled_from(['IS NULL', 'IS NOT NULL']))}"
        case _:
            pattern = draw(st.sampled_from(["'a%'", "'_'", "'%B'", "'1%'", "'A\\%'"]))
            return f"{draw(columns)} {draw(st.sampled_from(['LIKE', 'NOT LIKE']))} {pattern}"


conditions = st.recursive(
    predicates(),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["AND", "OR"]), inner).map(lambda parts: "(" + " ".join(parts) + ")"),
        inner.map(lambda part: f"NOT ({part})"),
    ),
    max_leaves=4,
)
orderings = st.lists(
    st.tuples(columns, st.sampled_from(["", " DESC", " COLLATE NOCASE", " NULLS LAST"])).map("".join), max_size=2
)


queries = st.lists(
    st.tuples(conditions, orderings, arithmetic(), st.lists(arguments, min_size=20, max_size=20)),
    min_size=8,
    max_size=8,
)


def collected() -> list[tuple[str, tuple[Any, ...]]]:
    """The same statements in each run."""
    found: list[tuple[str, tuple[Any, ...]]] = []

    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None)
    @given(queries)
    def collect(made: list[Any]) -> None:
        for condition, ordering, expression, values in made:
            order = ", ".join([*ordering, "id"])
            sql = f"SELECT id, {expression}, {condition} FROM t WHERE {condition} ORDER BY {order}"
            found.append((sql, tuple(values[: sql.count("?")])))

    collect()
    return found


async def test_generated_queries(postgres_url: str) -> None:
    statements = collected()
    async with world(postgres_url, SCHEMA, data=DATA) as both:
        refused, failures = 0, []
        for sql, values in statements:
            try:
                await both.same(sql, *values)
            except StatementError as error:
                refused += 1
                if error.code != "SQL_NOT_TRANSLATABLE":
                    failures.append(f"{sql} {values}\n    {error}")
            except (AssertionError, sqlite3.Error) as error:
                failures.append(f"{sql} {values}\n    {error}")
        assert not failures, f"{len(failures)} of {len(statements)}\n" + "\n".join(failures[:4])
        assert refused < len(statements) // 20


async def test_whole_reals_that_a_function_gives_on_come_back_from_returning_as_integers(postgres_url: str) -> None:
    schema = """
    CREATE TABLE r (id INTEGER PRIMARY KEY, c REAL, d REAL);
    CREATE TABLE first (c REAL, id INTEGER PRIMARY KEY, n INTEGER);
    """
    given = "c, +c, coalesce(c, 'x'), ifnull(d, c), iif(1, c, d), max(c, d), min(c, 9.5), nullif(c, 3)"
    given += ", CASE WHEN d THEN c END"
    computed = "c + 1, coalesce(c + 0, d), -c, c || '', typeof(c), typeof(coalesce(c, 1)), coalesce(1.0, c), round(c)"
    async with world(postgres_url, schema) as both:
        await both.all_same(
            (
                f"INSERT INTO r VALUES (1, 2, 2.5), (2, 4, NULL), (3, NULL, 7) RETURNING {given}, {computed}",
                f"UPDATE r SET c = id + 1 RETURNING {given}, {computed}",
                f"DELETE FROM r RETURNING {given}, {computed}",
                "INSERT INTO first VALUES (2, 5, 4) RETURNING c, id, n, coalesce(c, 1), coalesce(n, 1), max(id, c)",
            )
        )
