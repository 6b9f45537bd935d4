"""Functions, casts and operators on Postgres: SQLite's values and types at the edges, or a clear refusal."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.flow.dialect_world import World, world
from tests.flow.functions_grid import KINDS, ROWS, SCHEMA, binary, compare, unary

OPERATORS = ("+", "-", "*", "/", "%", "||", "&", "|", "<<", ">>")
HALVES = ("0.5", "1.5", "0.125", "1.005", "-2.675", "12345.0", "99999.5", "0.0", "9.995", "1e-7", "123456789.5")
"""Where rounding shows."""
WINDOW_CALLS = (
    "sum(b)",
    "avg(b)",
    "total(b)",
    "count(i)",
    "group_concat(s)",
    "min(n)",
    "lag(i)",
    "lag(s, 0)",
    "lead(i, id % 2 + 1, id)",
    "nth_value(s, id)",
    "lag(s, id % 3)",
    "lead(s, 2)",
    "lag(d, 1, 'x')",
    "ntile(5)",
    "first_value(r)",
    "last_value(k)",
    "nth_value(n, 2)",
    "row_number()",
    "percent_rank()",
)
FRAMES = (
    "",
    "ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING",
    "RANGE BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING EXCLUDE CURRENT ROW",
    "GROUPS BETWEEN CURRENT ROW AND 2 FOLLOWING EXCLUDE TIES",
)
WRITTEN = (
    "9223372036854774800",
    "-9223372036854775808",
    "9223372036854775808",
    "00000000000000000000012",
    "12e",
    "12e+",
    "12ex",
    "12.5e",
    "12e5x",
    "12.",
    ".",
    ".5",
    "-",
    "+5",
    "- 5",
    "1_000",
    "1e400",
    "0x10",
    "  7  ",
    "7 8",
    "-0",
    "1.0",
    "1e2",
)
"""Numbers, nearly."""
GLOBS = (
    "*",
    "",
    "?",
    "a",
    "*[0-9]*",
    "[]]",
    "[^]]",
    "[]a]*",
    "[a",
    "[^]",
    "[^]x",
    "a[^-]b",
    "[^^]",
    "*[[]*",
    "[\\\\].",
    "*é*",
    "[z-a]",
    "[^z-a]",
)
SETS = ("a-c", "a-", "-a", "^a-c", "--z", "a-b-c", "[:alpha:]", "[.a.]", "a-é", "\\\\", "^-", "c-a", "b-")
BATCHES = {
    "text": [
        *unary("lower upper length trim ltrim rtrim hex unicode quote soundex"),
        "char(i)",
        *(f"substr(s, {start})" for start in ("4294967298", "-4611686018427387904", "i", "-2147483648")),
        *(f"substr(k, 2, {size})" for size in ("4294967297", "-4294967297", "i")),
        "round(r, 4294967297)",
        "char(65, 233, 8364, 1114112, -1, '66', 67.9)",
        *binary("trim ltrim rtrim instr", ("'a'", "s", "x'61'", "1", "NULL")),
        *(f"substr({kind}, {start})" for kind in KINDS for start in ("0", "-2", "2")),
        *(f"substr({kind}, {start}, {size})" for kind in KINDS for start in ("0", "-2", "2") for size in ("1", "-1")),
        *(f"replace({kind}, {old}, {new})" for kind in KINDS for old in ("'a'", "''", "1") for new in ("'zz'", "k")),
    ],
    "numbers": [
        *unary("abs round sign typeof likely unlikely"),
        *(f"zeroblob({kind} % 100)" for kind in KINDS if "CASE" not in kind),
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
    "patterns": [
        *(f"s GLOB '{glob}'" for glob in GLOBS),
        *(f"{subject} GLOB '{glob}'" for glob in GLOBS for subject in ("']'", "'a-b'", "'^'", "'b[c'", "'\\.'", "i")),
        *(f"'x' || {char} GLOB 'x[{members}]'" for char in ("'b'", "'-'", "'\\'", "'é'", "'['") for members in SETS),
        *(f"glob('*1*', {kind})" for kind in KINDS if kind != "k"),
        *(f"like('%1%', {kind})" for kind in KINDS if kind != "k"),
        *(f"like('%{pattern}', s, '!')" for pattern in ("!%d", "b", "!_")),
        "like(s, 'it''S')",
        "glob(NULL, s)",
    ],
    "formats": [
        *(f"printf('{code}', {kind})" for kind in KINDS for code in ("%d", "%s", "%Q", "%q|%%", "%.3f", "%g", "%x")),
        *(f"printf('[{code}]', i)" for code in ("%5d", "%-5i", "%+d", "% d", "%05d", "%,d", "%#x", "%#X", "%o", "%u")),
        *(f"printf('[{code}]', r)" for code in ("%8.2f", "%-8.1e", "%+G", "%08.1f", "%!.15g", "%.0f", "%#.0f", "%!f")),
        *(f"printf('[{code}]', s)" for code in ("%8s", "%-8s", "%.1s", "%!.1s", "%!8s", "%w", "%8q")),
        "printf('%*d|%-*d|%*s', 5, i, 6, i, -4, b)",
        "printf('%c|%5c', s || 'x', n)",
        "printf('%d %s')",
        "printf('%lld %ld', i, b)",
        "format(NULL, i)",
        "printf('')",
        *(f"printf('%.{places}f %.{places}e %.{places}g', {x}, {x}, {x})" for places in (0, 1, 2) for x in HALVES),
    ],
    "aggregates": [
        *(
            f"SELECT b, {name}({kind}), typeof({name}({kind})) FROM g WHERE id <> 10 GROUP BY b"
            for name in ("sum", "avg", "total", "min", "max", "count", "group_concat")
            for kind in KINDS
            if (name, kind) != ("group_concat", "k")
        ),
        *(f"SELECT {name}({kind}) FROM g WHERE id < 0" for name in ("sum", "total", "min") for kind in KINDS),
        *(f"SELECT count(DISTINCT {kind}), sum(DISTINCT {kind}) FROM g WHERE id < 10" for kind in KINDS),
        "SELECT sum(i) FROM g WHERE id IN (9, 10)",
        "SELECT sum(i) FROM g WHERE i > 0",
        "SELECT sum(n) FROM g WHERE n > 1",
        "SELECT sum(CASE WHEN id > 0 THEN n ELSE i END), sum(n * 0.1), sum(n) / 3 FROM g",
        "SELECT group_concat(s, '-'), group_concat(s, id), group_concat(s, NULL), group_concat(DISTINCT b) FROM g",
        "SELECT sum(i) FILTER (WHERE i < 100), avg(r) FILTER (WHERE id < 0), total(s) FILTER (WHERE id = 5) FROM g",
    ],
    "windows": [
        *(f"SELECT id, {call} OVER (ORDER BY id {frame}) FROM g" for call in WINDOW_CALLS for frame in FRAMES),
        *(f"SELECT id, {call} OVER (PARTITION BY b ORDER BY id) FROM g" for call in WINDOW_CALLS),
    ],
    "literals": ["1e-7", "1.5E+3", ".5e-1", "-9223372036854775808", "9223372036854775808", "0x10", "-0x10", "1e22"],
    "prefixes": [
        *(f"CAST('{written}' AS {affinity})" for written in WRITTEN for affinity in ("NUMERIC", "INTEGER", "REAL")),
        *(f"'{written}' + 0" for written in WRITTEN),
        *(f"abs('{written}') = '{written}'" for written in WRITTEN),
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

REFUSED = ("iif(",)
"""What has no translation yet; anything else has to be answered."""
LOUD = (
    "NUL character",
    "too large for PostgreSQL",
    "quote() of a real with more than 15 digits",
    "group_concat() of an empty text in a frame that slides",
)
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
