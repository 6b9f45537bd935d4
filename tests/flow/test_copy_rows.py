"""Rows that go to Postgres by COPY: any value arrives as it was, or the row is held back and all others arrive."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cutover.errors import Unrepresentable
from cutover.model.table import Column, Table
from cutover.model.values import Applied, Row
from cutover.schema.codecs import codecs_for
from cutover.stores.postgres.copytext import copy_text, encoders
from tests.support.postgres import SHADOW, native, ready, run
from tests.support.samples import ITEMS, PEOPLE

_KINDS = (
    ("whole", "INTEGER", "bigint"),
    ("small", "INTEGER", "smallint"),
    ("real", "REAL", "double precision"),
    ("words", "TEXT", "text"),
    ("code", "TEXT", "character varying(5)"),
    ("bytes", "BLOB", "bytea"),
    ("yes", "INTEGER", "boolean"),
    ("doc", "TEXT", "jsonb"),
)
MANY = Table(
    "many",
    "public",
    "many",
    (
        Column("id", "INTEGER", "INTEGER", "id", "bigint"),
        *(Column(name, affinity, affinity, name, kind) for name, affinity, kind in _KINDS),
    ),
    ("id",),
)
_ODD = ["", "\\N", "\\.", "\\", "\t", "\n", "\r\n", "a\\tb", "é\U0001f600", "\x1e\x1f", "\x7f", "\\x00"]
_TEXT = st.sampled_from(_ODD) | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
_VALUES: Sequence[st.SearchStrategy[object]] = (
    st.integers(-(2**63), 2**63 - 1),
    st.integers(-(2**15), 2**15 - 1),
    st.floats(allow_nan=False),
    _TEXT,
    _TEXT.map(lambda text: text[:5]),
    st.binary(max_size=20),
    st.integers(0, 1),
    st.sampled_from(["{}", '{"a":"\\\\t\\n"}', "[1,2]", '"\\\\"', "null"]),
)


async def _through(url: str, rows: list[Row]) -> list[Row]:
    ddl = ", ".join(f"{name} {kind}" for name, _, kind in _KINDS)
    async with ready(url, SHADOW, ddl=[f"CREATE TABLE many (id bigint PRIMARY KEY, {ddl})"], tables=(MANY,)) as store:
        async with store.applier(1, 1, None) as applier:
            assert await applier.replace_range(MANY, None, None, rows) == Applied(upserted=len(rows))
        async with store.snapshot() as snapshot:
            return await snapshot.range(MANY, None, len(rows) + 1)


async def test_any_value_arrives_as_it_was(postgres_url: str) -> None:
    rows: list[tuple[object, ...]] = []

    @settings(max_examples=150, database=None, derandomize=True)
    @given(st.tuples(*(st.none() | values for values in _VALUES)))
    def collect(row: tuple[object, ...]) -> None:
        rows.append((len(rows), *row))

    collect()
    rows += [(len(rows) + n, *([None] * 3), text, text[:5], *([None] * 3)) for n, text in enumerate(_ODD)]
    rows += [(len(rows) + n, None, None, real, *([None] * 5)) for n, real in enumerate((-0.0, math.inf, 5e-324, 0.1))]
    found = await _through(postgres_url, rows)  # type: ignore[arg-type]  # generated values
    assert [repr(row) for row in found] == [repr(row) for row in rows]


@pytest.mark.parametrize(
    "value",
    [
        (1, 2**15, None, None, None, None, None, None),
        (1, "1", None, None, None, None, None, None),
        (1.0, None, None, None, None, None, None, None),
        (1, None, 1, None, None, None, None, None),
        (1, None, None, "a\0b", None, None, None, None),
        (1, None, None, "\ud800", None, None, None, None),
        (1, None, None, None, "abcdef", None, None, None),
        (1, None, None, None, "abcd   ", None, None, None),
        (1, None, None, None, None, "text", None, None),
        (1, None, None, None, None, None, 2, None),
        (1, None, None, None, None, None, None, "{"),
    ],
)
def test_what_cannot_be_held_is_refused_among_others(value: Row) -> None:
    encode = encoders(MANY.columns, codecs_for(MANY))
    good: Row = (7, 1, 1, 0.5, "a", "b", b"c", 1, "{}")
    assert copy_text([good], encode) == b"7\t1\t1\t0.5\ta\tb\t\\\\x63\tTrue\t{}\n"
    with pytest.raises(Unrepresentable):
        copy_text([good, (8, *value), (9, *good[1:])], encode)


async def test_one_row_that_cannot_be_held_keeps_no_other_back(postgres_url: str) -> None:
    async with ready(postgres_url, SHADOW) as store:
        rows: list[Row] = [(f"k{n:05d}", f"h{n}", "nul\0" if n == 2500 else None) for n in range(5000)]
        async with store.applier(1, 1, None) as applier:
            assert await applier.replace_range(PEOPLE, None, None, rows) == Applied(upserted=4999, quarantined=1)
        assert [it.key for it in await store.quarantined()] == [("k02500",)]
        async with store.snapshot() as snapshot:
            assert await snapshot.count(PEOPLE) == 4999


async def test_plain_indexes_wait_for_the_end_of_a_copy(postgres_url: str) -> None:
    shown = "SELECT indexname FROM pg_indexes WHERE schemaname = 'public' AND tablename = 'items' ORDER BY 1"
    async with ready(postgres_url, SHADOW) as store, native(postgres_url) as app:
        await run(
            postgres_url,
            "CREATE INDEX items_label ON items (label DESC NULLS LAST) WHERE size > 1",
            "CREATE INDEX items_size ON items (size, lower(label))",
            "CREATE INDEX items_told ON items (owner)",
            "COMMENT ON INDEX items_told IS 'a comment is not in the definition'",
            "CREATE UNIQUE INDEX items_unique ON items (label, size)",
        )
        before = await app.fetch("SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1")
        fingerprint = await store.schema_fingerprint()
        async with store.applier(1, 1, None) as applier:
            await applier.begin_copy(ITEMS)
            await applier.replace_range(ITEMS, None, (1,), [(1, None, "a", 1.5, b"")])
        assert [row[0] for row in await app.fetch(shown)] == ["items_pkey", "items_told", "items_unique"]
        async with store.applier(1, 1, None) as applier:
            await applier.begin_copy(ITEMS)  # after a kill, with rows there
            await applier.replace_range(ITEMS, (1,), None, [(2, None, "b", 1.5, b"")])
        assert await store.schema_fingerprint() == fingerprint, "nothing has to be mapped anew for that"
        again = []
        for _ in range(3):
            async with store.applier(1, 1, None) as applier:
                again.append(await applier.end_copy(ITEMS))
        assert again == [True, True, False]
        after = await app.fetch("SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1")
        assert after == before
        assert await app.fetchval("SELECT count(*) FROM cutover.suspended") == 0


async def test_indexes_of_a_table_that_somebody_reads_stay(postgres_url: str) -> None:
    async with ready(postgres_url, SHADOW) as store, native(postgres_url) as app:
        await run(postgres_url, "CREATE INDEX items_label ON items (label)")
        async with app.transaction():
            await app.fetch("SELECT * FROM items")
            async with store.applier(1, 1, None) as applier:
                await applier.begin_copy(ITEMS)
                await applier.replace_range(ITEMS, None, None, [(1, None, "a", 1.5, b"")])
        assert await app.fetchval("SELECT to_regclass('items_label') IS NOT NULL")
        assert await app.fetchval("SELECT count(*) FROM cutover.suspended") == 0
