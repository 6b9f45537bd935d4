"""Keys and values as operators see and type them."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutover.compare.jsonable import NoSuchKey, json_drift, json_key, jsonable, parse_key
from cutover.model.drift import Drift, DriftKind
from cutover.model.table import Column, Table


def table(*affinities: str) -> Table:
    columns = tuple(
        Column(f"k{number}", affinity, affinity, f"k{number}", "text") for number, affinity in enumerate(affinities)
    )
    return Table("notes", "public", "notes", columns, tuple(column.name for column in columns))


@pytest.mark.parametrize(
    ("affinity", "typed", "expected"),
    [
        ("INTEGER", "42", 42),
        ("INTEGER", "-7", -7),
        ("INTEGER", 42, 42),
        ("INTEGER", 42.0, 42),
        ("INTEGER", "abc", "abc"),
        ("INTEGER", "9223372036854775807", 2**63 - 1),
        ("TEXT", "42", "42"),
        ("TEXT", 42, "42"),
        ("REAL", "1", 1.0),
        ("REAL", 1, 1.0),
        ("NUMERIC", "1.5", 1.5),
        ("BLOB", "x'00ff'", b"\x00\xff"),
        ("BLOB", "plain", "plain"),
        ("BLOB", {"base64": "AP8="}, b"\x00\xff"),
        ("TEXT", None, None),
        ("TEXT", '{"null": true}', None),
        ("TEXT", {"null": True}, None),
        ("TEXT", "null", "null"),
        ("TEXT", '{"text_hex": "61ff"}', "a\udcff"),
        ("BLOB", '{"base64": "AP8="}', b"\x00\xff"),
        ("REAL", '{"real": "-inf"}', float("-inf")),
        ("BLOB", '{"text": "x\'00\'"}', "x'00'"),
        ("TEXT", '{"text": "{\\"null\\": true}"}', '{"null": true}'),
        ("TEXT", '{"id": 1}', '{"id": 1}'),
        ("TEXT", '{"text": "a", "null": true}', '{"text": "a", "null": true}'),
        ("TEXT", "{broken", "{broken"),
        ("INTEGER", "9223372036854775808", float(2**63)),
        ("NUMERIC", "-9223372036854775809", -float(2**63)),
        ("INTEGER", "1e300", 1e300),
        ("NUMERIC", "nan", "nan"),
    ],
)
def test_a_typed_key_becomes_what_the_column_holds(affinity: str, typed: Any, expected: Any) -> None:
    (value,) = parse_key(table(affinity), [typed])
    assert value == expected
    assert type(value) is type(expected)


@pytest.mark.parametrize(
    "typed",
    [
        [],
        ["1", "2", "3"],
        [True, "b"],
        [[1], "b"],
        [{"base64": "?"}, "b"],
        [{"x": 1}, "b"],
        ['{"base64": "?"}', "b"],
        ['{"text_hex": "6"}', "b"],
        ['{"null": false}', "b"],
    ],
)
def test_a_key_that_does_not_fit_is_refused_naming_the_columns(typed: list[Any]) -> None:
    with pytest.raises(NoSuchKey, match=r"k0 \(INTEGER\), k1 \(TEXT\)"):
        parse_key(table("INTEGER", "TEXT"), typed)


@pytest.mark.parametrize(
    "typed",
    ["9223372036854775808", "-9223372036854775809", "1e300", 1e300, "1.5", "abc", "nan", "inf", "x'00'", None, ""],
)
def test_a_key_that_is_the_rowid_is_an_integer_of_64_bits(typed: Any) -> None:
    alias = replace(table("INTEGER"), rowid_alias="k0")
    assert parse_key(alias, ["-9223372036854775808"]) == (-(2**63),)
    assert parse_key(alias, [5.0]) == (5,)
    with pytest.raises(NoSuchKey, match=r"k0 \(INTEGER\): .* is no integer of 64 bits"):
        parse_key(alias, [typed])


@given(
    st.one_of(
        st.none(),
        st.integers(-(2**63), 2**63 - 1),
        st.floats(allow_nan=False),
        st.text(max_size=10),
        st.binary(max_size=10).map(lambda stored: stored.decode("utf-8", "surrogateescape")),
        st.binary(max_size=10),
    )
)
def test_every_value_survives_json(value: Any) -> None:
    if isinstance(value, str) and value[:1] in "xX":
        return
    back = parse_key(table("BLOB"), json.loads(json.dumps(json_key((value,)), allow_nan=False)))
    assert back == (value,)
    assert type(back[0]) is type(value)


def test_text_that_is_not_unicode_is_shown_as_bytes() -> None:
    assert jsonable("\ud800") == {"text_hex": "eda080"}


@pytest.mark.parametrize("stored", [b"\xff", b"a\xff\x00", b"\xed\xa0\x80"])
def test_the_bytes_shown_are_those_stored(stored: bytes) -> None:
    assert jsonable(stored.decode("utf-8", "surrogateescape")) == {"text_hex": stored.hex()}


def test_a_drift_shows_both_rows_by_column() -> None:
    found = Drift("notes", (1, "a"), DriftKind.EXTRA, (), None, (1, "a"), 0.0)
    shown = json_drift(table("INTEGER", "TEXT"), found, "1970-01-01T00:00:00.000Z")
    assert shown["primary"] is None
    assert shown["shadow"] == {"k0": 1, "k1": "a"}
    assert (shown["key"], shown["kind"]) == ([1, "a"], "extra")
