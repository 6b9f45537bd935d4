"""Bounds and stored keys, with no database."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cutover.model.table import Column, Table
from cutover.model.values import Key, SqlValue
from cutover.schema.codecs import Foreign, codec_for
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


_KEYS = [
    ("uuid", "TEXT", "", st.uuids().map(str)),
    ("uuid", "TEXT", "HEX", st.uuids().map(lambda it: it.hex.upper())),
    ("uuid", "BLOB", "blob", st.uuids().map(lambda it: it.bytes)),
    ("date", "TEXT", "", st.dates().map(str)),
    ("timestamp with time zone", "TEXT", "YYYY-MM-DDTHH:MM:SSZ",
     st.datetimes().map(lambda it: it.replace(microsecond=0).isoformat() + "Z")),
    ("timestamp without time zone", "TEXT", "", st.datetimes().map(str)),
    ("timestamp with time zone", "INTEGER", "epoch_milliseconds", st.integers(-(10**13), 10**13)),
    ("numeric(18,0)", "INTEGER", "", st.integers(1 - 10**18, 10**18 - 1)),
    ("boolean", "TEXT", "false|true", st.sampled_from(["false", "true"])),
    ("time(3) without time zone", "TEXT", "HH:MM:SS.fff", st.sampled_from(["00:00:00.000", "24:00:00.000"])),
    ("macaddr", "TEXT", "", st.binary(min_size=6, max_size=6).map(lambda it: it.hex(":"))),
]  # fmt: skip


@given(st.data(), st.sampled_from(_KEYS))
def test_keys_of_other_types_are_split_as_sqlite_orders_them(
    data: st.DataObject, kind: tuple[str, str, str, st.SearchStrategy[SqlValue]]
) -> None:
    name, affinity, form, keys = kind
    column = Column("k", "", affinity, "k", name, format=form, exact=True)
    table = Table("t", "public", "t", (column,), ("k",))
    convert = codec_for(column).to_target
    key = data.draw(keys)
    convert(key)
    near = keys.map(lambda it: it[: len(it) // 2] + "5" if isinstance(it, str) else it)
    bound = data.draw(keys | near | values)
    made = Bound.of(table, (bound,))
    if not made.values:  # NULL
        assert bound is None
        assert not made.inclusive
        return
    # Postgres's order is SQLite's, so the bound's value can stand for its place.
    ladder = codec_for(column).ladder
    assert ladder is not None
    split = codec_for(column).to_source(made.values[0])
    below = order((key,)) <= order((split,)) if made.inclusive else order((key,)) < order((split,))
    assert below == (order((key,)) <= order((bound,)))
    assert order((ladder.at(ladder.low),)) < order((ladder.at(ladder.high),))


def test_a_key_that_only_postgres_holds_has_a_place_and_comes_back() -> None:
    column = Column("k", "", "TEXT", "k", "timestamp with time zone", format="YYYY-MM-DDTHH:MM:SSZ", exact=True)
    back = codec_for(column).to_source
    places = [
        back(text)
        for text in ("-infinity", "0044-03-15 00:00:00+00 BC", "2024-02-29 10:00:00+00", "2024-02-29 10:00:00.5+00",
                     "2024-02-29 10:00:01+00", "infinity")
    ]  # fmt: skip
    assert [type(place) is Foreign for place in places] == [True, True, False, True, False, True]
    assert sorted(places, key=lambda place: order((place,))) == places
    assert Bound.of(Table("t", "public", "t", (column,), ("k",)), (places[3],)) == Bound((str(places[3]),), True)


def test_raw_text_is_what_the_file_holds() -> None:
    assert raw_text("a\udcff") == b"a\xff"
    assert raw_text("\ud800") == b"\xed\xa0\x80"


def test_errors_of_unknown_kind_do_not_pass_unchanged() -> None:
    assert translate(TimeoutError()).code == "store_unavailable"
    assert translate(ConnectionRefusedError(111, "Connection refused")).code == "store_unavailable"
    assert PostgresRefused("x", "23505").of_rows
    assert not PostgresRefused("x", "42703").of_rows
