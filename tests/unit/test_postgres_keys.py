"""Bounds and stored keys, with no database."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cutover.model.values import Key, SqlValue
from cutover.stores.postgres.errors import PostgresRefused, translate
from cutover.stores.postgres.keys import Bound, decode_key, encode_key, order, raw_text, text_above, within
from tests.support.samples import ITEMS, PAIRS

values: st.SearchStrategy[SqlValue] = st.one_of(
    st.none(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), st.text(), st.binary()
)


@given(st.lists(values, min_size=1, max_size=3))
def test_stored_keys_come_back(key: list[SqlValue]) -> None:
    back = decode_key(encode_key(tuple(key)))
    assert back == tuple(key)
    assert [type(value) for value in back] == [type(value) for value in key]


def test_lone_surrogates_come_back() -> None:
    assert decode_key(encode_key(("\ud800\udcff",))) == ("\ud800\udcff",)


@given(st.binary(min_size=1, max_size=6), st.text(st.characters(exclude_categories=["Cs"]), max_size=4))
def test_text_above_splits_representable_text_exactly(raw: bytes, text: str) -> None:
    try:
        holdable = "\0" not in raw.decode()
    except UnicodeDecodeError:
        holdable = False
    text = text.replace("\0", "\x01")
    above = text_above(raw)
    if holdable:
        return
    assert (above is not None and text.encode() >= above.encode()) == (text.encode() > raw)


@given(values, st.integers(-(2**63), 2**63 - 1))
def test_an_integer_key_is_split_as_sqlite_orders_it(bound: SqlValue, key: int) -> None:
    made = Bound.of(ITEMS, (bound,))
    below = made.inclusive if not made.values else (key <= made.values[0] if made.inclusive else key < made.values[0])
    if isinstance(bound, float) and abs(bound) > 2**53:
        expected = key <= int(bound) if abs(bound) < 2**64 else bound > 0
    else:
        expected = order((key,)) <= order((bound,))
    assert below == expected


@given(st.tuples(values, values), st.integers(-3, 3), st.sampled_from(["", "a", "b", "é"]))
def test_a_composite_key_is_split_as_sqlite_orders_it(bound: Key, a: int, b: str) -> None:
    made = Bound.of(PAIRS, bound)
    mine = (a, b.encode())[: len(made.values)]
    theirs = tuple(value.encode() if isinstance(value, str) else value for value in made.values)
    below = mine < theirs or (made.inclusive and mine == theirs)
    assert below == within((a, b), None, bound)


def test_raw_text_is_what_the_file_holds() -> None:
    assert raw_text("a\udcff") == b"a\xff"
    assert raw_text("\ud800") == b"\xed\xa0\x80"


def test_errors_of_unknown_kind_do_not_pass_unchanged() -> None:
    assert translate(TimeoutError()).code == "store_unavailable"
    assert translate(ConnectionRefusedError(111, "Connection refused")).code == "store_unavailable"
    assert PostgresRefused("x", "23505").of_rows
    assert not PostgresRefused("x", "42703").of_rows
