"""Codecs and canonical forms: nothing is changed silently, equal means equal. Real columns: test_plan_codecs."""

from __future__ import annotations

import json
import math
import sqlite3
from contextlib import closing
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutover.errors import SchemaError, Unrepresentable
from cutover.model.table import Column, Table
from cutover.model.values import Row, SqlValue
from cutover.schema.canonical import MODULUS, canonical_row, digest, row_hash
from cutover.schema.codecs import Codec, Foreign, canonical_any, codec_for, codecs_for, digestible


def codec(target_type: str) -> Codec:
    return codec_for(Column(name="c", declared="", affinity="", target="c", target_type=target_type))


values = st.one_of(
    st.none(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), st.text(max_size=8), st.binary(max_size=8)
)


@given(values, values)
def test_canonical_forms_are_equal_only_for_one_value_of_one_class(left: SqlValue, right: SqlValue) -> None:
    same = type(left) is type(right) and left == right
    if isinstance(left, float) and isinstance(right, float) and left == right == 0:
        same = math.copysign(1, left) == math.copysign(1, right)
    assert (canonical_any(left) == canonical_any(right)) == same


@given(st.lists(values, min_size=1, max_size=4), st.lists(values, min_size=1, max_size=4))
def test_columns_cannot_run_into_each_other(left: list[SqlValue], right: list[SqlValue]) -> None:
    any_codec = codec("text")
    forms = [canonical_row(tuple(row), [any_codec] * len(row)) for row in (left, right)]
    assert (forms[0] == forms[1]) == (list(map(canonical_any, left)) == list(map(canonical_any, right)))


@given(st.lists(st.tuples(values, values), max_size=6), st.randoms(use_true_random=False))
def test_a_digest_does_not_depend_on_order_and_sees_every_row(rows: list[Row], random: object) -> None:
    codecs = [codec("text")] * 2
    shuffled = list(rows)
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis's Random
    assert digest(rows, codecs) == digest(shuffled, codecs)
    assert 0 <= digest(rows, codecs) < MODULUS
    # Pairs do not cancel, as they would with XOR.
    one = row_hash(canonical_row((1, "a"), codecs))
    assert digest([*rows, (1, "a"), (1, "a")], codecs) == (digest(rows, codecs) + 2 * one) % MODULUS


def test_the_canonical_form_is_fixed() -> None:
    """Both stores write the same in SQL: a change here is a change there."""
    row = (42, 1.5, "é;", b"\x00\xff", None)
    codecs = [codec(name) for name in ("bigint", "double precision", "text", "bytea", "text")]
    canonical = canonical_row(row, codecs)
    assert canonical == b"i42;r3ff8000000000000;t3:\xc3\xa9;;b00ff;n;"
    assert row_hash(canonical) == 0xB3B1CE100F687058


@pytest.mark.parametrize(
    ("target_type", "value"),
    [
        ("bigint", "1"), ("bigint", 1.0), ("bigint", b"1"), ("smallint", 2**15), ("smallint", -(2**15) - 1),
        ("integer", 2**31), ("double precision", 1), ("double precision", math.nan), ("double precision", "1.0"),
        ("text", 1), ("text", b"a"), ("text", "a\x00b"), ("text", "\ud800"), ("character varying(3)", "abcd"),
        ("bytea", "a"), ("boolean", 2), ("boolean", -1), ("boolean", "t"), ("boolean", 1.0),
        ("json", "{"), ("json", ""), ("json", "NaN"), ("json", "[Infinity]"), ("json", 1), ("json", "'a'"),
        ("jsonb", '"\\u0000"'), ("jsonb", '{"\\u0000":1}'), ("jsonb", '"\\ud800"'), ("jsonb", '"\\udc00\\ud800"'),
        ("jsonb", '{"a":1,"a":1}'), ("jsonb", "1e131073"), ("jsonb", "1e-16384"), ("jsonb", "1e999999999999999999999"),
        ("jsonb", "["  * 100_000), ("jsonb", "9" * 5000 + "e" + "9" * 5000),
    ],
)  # fmt: skip
def test_what_a_column_cannot_hold_is_refused(target_type: str, value: SqlValue) -> None:
    with pytest.raises(Unrepresentable):
        codec(target_type).to_target(value)


@pytest.mark.parametrize(
    ("target_type", "value"),
    [
        ("smallint", -(2**15)), ("integer", 2**31 - 1), ("bigint", -(2**63)), ("double precision", math.inf),
        ("character varying(3)", "äöü"), ("text", ""), ("text", "😀"), ("bytea", b""), ("boolean", 1), ("boolean", 0),
        ("json", '{"a":1,"a":2}'), ("jsonb", '"\\\\u0000"'), ("jsonb", '"\\ud83d\\ude00"'), ("jsonb", "1e131071"),
    ],
)  # fmt: skip
def test_what_a_column_can_hold_is_let_pass(target_type: str, value: SqlValue) -> None:
    assert codec(target_type).to_target(value) == value


@pytest.mark.parametrize(
    ("left", "right", "same"),
    [
        ('{"a": 1, "b": [1.0, 2e0]}', '{"b":[1,2],"a":1.00}', True),
        ("0.10", "1e-1", True),
        ("-0.0", "0", True),
        ("123456789012345678901234567890123456789", "123456789012345678901234567890123456780", False),
        ("1e400", "1e401", False),
        ('"1"', "1", False),
        ("[]", "null", False),
        ("[]", "{}", False),
        ("[1,2]", "[2,1]", False),
        ('"a "', '"a"', False),
        ('"\\u00e9"', '"é"', True),
        ("true", "1", False),
        ('{"number":"1e0"}', "1", False),
        ("not json", "not json", True),
        ("not json", "not  json", False),
    ],
)
def test_json_is_compared_by_what_it_means(left: str, right: str, same: bool) -> None:
    canonical = codec("jsonb").canonical
    assert (canonical(left) == canonical(right)) == same


@given(
    st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=4)),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
        max_leaves=6,
    )
)
def test_printing_json_as_postgres_does_and_back_changes_nothing(value: object) -> None:
    printed = json.dumps(value, ensure_ascii=False)  # the same spacing as jsonb
    compact = codec("jsonb").to_source(printed)
    assert compact == json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    assert codec("jsonb").canonical(compact) == codec("jsonb").canonical(printed)


@pytest.mark.parametrize(
    "kind",
    ["money", "oid", "tsvector", "bit(3)", "bit varying", "xml", "geometry", "tsvector[]", "hll"],
)
def test_types_without_a_codec_are_refused_by_name(kind: str) -> None:
    with pytest.raises(SchemaError) as error:
        codec(kind)
    assert kind in str(error.value)
    assert "bigint" in str(error.value)


json_numbers = st.one_of(
    st.integers(-(2**63), 2**63 - 1).map(str),
    st.integers(-(10**30), 10**30).map(str),
    # SQLite itself reads decimals far from 1 with an error in the last place.
    st.floats(-1e20, 1e20).filter(lambda real: real == 0 or abs(real) > 1e-20).map(repr),
    st.decimals(allow_nan=False, allow_infinity=False, places=4).map(str),
    st.sampled_from(["1.0", "0", "-0", "-0.0", "1e3", "1E-2", "9223372036854775808", "1e400", "5e-324"]),
)


@pytest.mark.parametrize("target_type", ["json", "jsonb"])
@given(text=json_numbers)
def test_json_that_is_a_number_is_one_in_a_column_declared_json(target_type: str, text: str) -> None:
    made = codec_for(Column(name="c", declared="JSON", affinity="NUMERIC", target="c", target_type=target_type))
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE TABLE t (v JSON)")
        connection.execute("INSERT INTO t VALUES (?)", (text,))
        (stored,) = connection.execute("SELECT v FROM t").fetchone()
    back = made.to_source(text)
    if type(back) is Foreign:  # SQLite has changed it
        assert Decimal(text) != Decimal(repr(stored))
        return
    assert (type(back), back) == (type(stored), stored)
    there = made.to_target(stored)
    assert Decimal(there) == Decimal(text)
    assert made.canonical(made.to_source(there)) == made.canonical(stored)


def test_json_tables_are_digested_here() -> None:
    columns = tuple(Column(n, "", "TEXT", n, kind) for n, kind in (("a", "text"), ("b", "jsonb")))
    table = Table("t", "public", "t", columns, ("a",))
    assert len(codecs_for(table)) == 2
    assert not digestible(table)
    assert digestible(Table("t", "public", "t", columns[:1], ("a",)))
