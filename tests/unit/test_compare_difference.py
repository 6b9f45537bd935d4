"""When rows differ, and how."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutover.compare.difference import (
    difference,
    differing_keys,
    is_after,
    reaches_end,
    same_text,
    same_value,
    storage_type,
)
from cutover.model.drift import DriftKind
from cutover.model.table import Column, Table
from cutover.model.values import Row, ScannedRange
from cutover.schema.canonical import canonical_row
from cutover.schema.codecs import codec_for, codecs_for


def column(name: str, target_type: str, affinity: str = "TEXT") -> Column:
    return Column(name, affinity, affinity, name, target_type)


TABLE = Table(
    "notes",
    "public",
    "notes",
    (column("id", "bigint", "INTEGER"), column("body", "text"), column("score", "double precision", "REAL")),
    ("id",),
)
CODECS = codecs_for(TABLE)
TEXT, JSONB, REAL = (codec_for(column("c", kind)) for kind in ("text", "jsonb", "double precision"))

values = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.text(max_size=8),
    st.binary(max_size=8),
)


@pytest.mark.parametrize(
    ("primary", "shadow", "expected"),
    [
        (None, None, None),
        ((1, "a", 1.0), (1, "a", 1.0), None),
        ((1, "a", 1.0), None, (DriftKind.MISSING, ())),
        (None, (1, "a", 1.0), (DriftKind.EXTRA, ())),
        ((1, "a", 1.0), (1, "b", 2.0), (DriftKind.DIFFERENT, ("body", "score"))),
        ((1, "7", 1.0), (1, 7, 1.0), (DriftKind.TYPE_CHANGED, ("body",))),
        ((1, "a", 1), (1, "a", 1.0), (DriftKind.TYPE_CHANGED, ("score",))),
        ((1, "a", 1.0), (1, b"a", 1.0), (DriftKind.TYPE_CHANGED, ("body",))),
        ((1, "7", 1.0), (1, 7, 2.0), (DriftKind.DIFFERENT, ("body", "score"))),
        ((1, None, 1.0), (1, "", 1.0), (DriftKind.DIFFERENT, ("body",))),
        ((1, "a", 0.0), (1, "a", -0.0), (DriftKind.DIFFERENT, ("score",))),
        ((1, "e\u0301", 0.0), (1, "\u00e9", 0.0), (DriftKind.DIFFERENT, ("body",))),
    ],
)
def test_each_kind_of_difference(
    primary: Row | None, shadow: Row | None, expected: tuple[DriftKind, tuple[str, ...]] | None
) -> None:
    assert difference(TABLE, CODECS, primary, shadow) == expected


def test_json_is_compared_as_json_and_text_as_text() -> None:
    assert same_value('{"a": 1, "b": 2.0}', '{"b":2,"a":1}', JSONB)
    assert not same_value('{"a": 1}', '{"a": 2}', JSONB)
    assert not same_value('{"a": 1}', '{"a":1}', TEXT)
    assert not same_value(None, "null", JSONB)


@given(values, values)
def test_same_value_agrees_with_the_canonical_form(primary: object, shadow: object) -> None:
    row = [(value, 1) for value in (primary, shadow)]
    canonical = [canonical_row(each, (TEXT, TEXT)) for each in row]  # type: ignore[arg-type]
    assert same_value(primary, shadow, TEXT) == (canonical[0] == canonical[1])  # type: ignore[arg-type]


@given(values)
def test_nothing_is_of_another_type_than_itself(value: object) -> None:
    assert not same_text(value, value)  # type: ignore[arg-type]
    assert storage_type(value) in {"null", "integer", "real", "text", "blob"}  # type: ignore[arg-type]


rows = st.dictionaries(st.integers(0, 20), st.tuples(st.text(max_size=1), st.sampled_from([0.0, 1.0])), max_size=15)


@given(rows, rows)
def test_differing_keys_are_exactly_those_that_differ(
    primary: dict[int, tuple[str, float]], shadow: dict[int, tuple[str, float]]
) -> None:
    mine = [(key, *rest) for key, rest in primary.items()]
    theirs = [(key, *rest) for key, rest in shadow.items()]
    expected = {(key,) for key in primary.keys() | shadow.keys() if primary.get(key) != shadow.get(key)}
    found = differing_keys(TABLE, CODECS, mine, theirs)
    assert set(found) == expected
    assert len(found) == len(expected)


def test_keys_are_ordered_as_sqlite_orders_them() -> None:
    ordered: list[tuple[object, ...]] = [(None,), (-1,), (0.5,), (1,), ("A",), ("a",), ("\u00e9",), (b"",), (b"a",)]
    for place, upper in enumerate(ordered):
        for key in ordered[: place + 1]:
            assert not is_after(key, upper)  # type: ignore[arg-type]
        for key in ordered[place + 1 :]:
            assert is_after(key, upper)  # type: ignore[arg-type]
    assert is_after((1, "b"), (1, "a"))
    assert not is_after((10**9,), None)


@pytest.mark.parametrize(
    ("rows_in_ranges", "end"),
    [([], True), ([10], True), ([10, 10], False), ([10, 3], True), ([3], True)],
)
def test_a_scan_ends_with_fewer_ranges_or_a_short_one(rows_in_ranges: list[int], end: bool) -> None:
    ranges = [ScannedRange((number,), count, 0) for number, count in enumerate(rows_in_ranges)]
    assert reaches_end(ranges, asked=2, rows_per_range=10) is end
