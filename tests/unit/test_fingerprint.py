"""Shapes of statements: one for what differs in its values alone, and no value in any."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutover.schema.fingerprint import LONGEST, fingerprint, fold
from cutover.schema.sqltokens import tokens

SHAPES = [
    ("SELECT * FROM t WHERE a = 'x' AND b = 12", "SELECT * FROM t WHERE a = ? AND b = ?"),
    ("select  a -- secret\n from t /* secret */ where b=?1 ;", "select a from t where b=?"),
    ("INSERT INTO t VALUES (1, 'a'), (2,'b' ) , (3, 'it''s')", "INSERT INTO t VALUES (?, ...), ..."),
    ("INSERT INTO t VALUES (?)", "INSERT INTO t VALUES (?)"),
    ("SELECT a FROM t WHERE a IN (1,2,3)", "SELECT a FROM t WHERE a IN (?, ...)"),
    ("SELECT x'00ff', X'01', x, 1.5e3, .5, 0x1F", "SELECT ?, ..., x, ?, ..."),
    ("SELECT :name, @name, $name", "SELECT :name, @name, $name"),
    ('SELECT "a" FROM "t" WHERE "a" = "secret"', 'SELECT "a" FROM "t" WHERE "a" = ?'),
    ("SELECT `a`, [b c] FROM t", "SELECT `a`, [b c] FROM t"),
    ("SELECT 'never closed", "SELECT ?"),
    ("", ""),
]


@pytest.mark.parametrize(("sql", "shape"), SHAPES)
def test_shapes(sql: str, shape: str) -> None:
    assert fingerprint(sql, {"a", "t"}.__contains__) == shape


def test_long_texts_are_cut_and_nothing_of_a_cut_value_is_left() -> None:
    sql = "SELECT 1 WHERE a = '" + "secret" * LONGEST
    assert fingerprint(sql) == "SELECT ? WHERE a = ? ..."
    assert len(fingerprint("SELECT " + "a + " * LONGEST)) < LONGEST + 10


@given(
    st.text(st.characters(exclude_categories=("Cs", "Cc"))),
    st.integers(),
    st.binary(),
    st.lists(st.integers(), min_size=2, max_size=4),
)
def test_values_make_no_difference(text: str, number: int, blob: bytes, many: list[int]) -> None:
    quoted = text.replace("'", "''")
    sql = "SELECT a FROM t WHERE b = '{}' AND c = {} AND d = x'{}' AND e IN ({})"
    one = sql.format(quoted, abs(number), blob.hex(), ", ".join(map(str, map(abs, many))))
    assert fingerprint(one) == fingerprint(sql.format("", 0, "", "1, 2"))


@given(st.lists(st.sampled_from(["'", '"', "`", "[", "]", "x", "--", "/*", "*/", "\n", " ", "7", ".", "?", "(", ","])))
def test_no_literal_of_any_text_is_in_its_shape(pieces: list[str]) -> None:
    sql = "".join(pieces)
    literals = [token for token in tokens(sql) if token.type in ("string", "number")]
    names = "".join(token.text for token in tokens(sql) if token.type in ("quoted", "word"))
    shape = fingerprint(sql, lambda _: True)
    assert sum(char == "7" for char in shape) == names.count("7") + len(re.findall(r"[@#:]7", shape))
    assert ("?" in shape) >= bool(literals)


@pytest.mark.parametrize(
    ("sql", "shape", "classes"),
    [
        ("SELECT a FROM t WHERE b = 'x' AND c = ?", "SELECT a FROM t WHERE b = ? AND c = ?", "'?"),
        ("SELECT a FROM t WHERE b = 12 AND c = 1.5e3", "SELECT a FROM t WHERE b = ? AND c = ?", "ir"),
        ("SELECT x'00' = 0x1F, 9223372036854775808", "SELECT ? = ?, ...", "xhr"),
        ('SELECT "b" FROM t WHERE a IN (1, 2,3)', 'SELECT "b" FROM t WHERE a IN (?, ...)', "i"),
        ("INSERT INTO t VALUES (1, 'a'), (2, 'b')", "INSERT INTO t VALUES (?, ...), ...", "i'i'"),
    ],
)
def test_texts_that_differ_in_literals_fold(sql: str, shape: str, classes: str) -> None:
    assert fold(sql, LONGEST) == (shape, classes)
