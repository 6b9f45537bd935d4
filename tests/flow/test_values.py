"""Values of every type through real columns of both databases: they come back as they were, or are refused."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cutover.errors import Unrepresentable
from cutover.model.table import Column
from cutover.model.values import SqlValue
from cutover.schema.codecs import Codec, Foreign, base_of, canonical_any, codec_for
from cutover.schema.codecs.names import TypeName
from cutover.stores.postgres.link import SPELLING
from cutover.stores.sqlite.apply import altered
from tests.support.value_samples import ARRAYS, NATIVE, TEXTS

LABELS = ("sad", "ok", "it's; fine", "ÿ")
_EXAMPLES = 120
HELD = """
CREATE FUNCTION held(kind text, natives text[]) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE n integer := 0;
BEGIN
    FOR i IN 1..array_length(natives, 1) LOOP
        BEGIN
            EXECUTE format('INSERT INTO t SELECT $1, $2::%s', kind) USING i, natives[i];
            n := n + 1;
        EXCEPTION WHEN data_exception OR array_subscript_error THEN NULL;
        END;
    END LOOP;
    RETURN n;
END $$"""
"""Stores those of some texts that a type's input takes, and counts them."""


@dataclass(frozen=True)
class Pair:
    """A declared type of SQLite beside a type of Postgres, and the format of the column."""

    declared: str
    affinity: str
    type: str
    format: str = ""
    base: str = ""

    def column(self, *, exact: bool = False) -> Column:
        labels = LABELS if self.base.startswith("enum") else ()
        kind = self.type
        return Column("v", self.declared, self.affinity, "v", kind, None, None, "BINARY", None, self.base, labels,
                      self.format, exact)  # fmt: skip

    def __str__(self) -> str:
        return "-".join(filter(None, (self.declared, self.type, self.format)))


_AFFINITY = {"INTEGER": "INTEGER", "TEXT": "TEXT", "REAL": "REAL", "DECIMAL": "NUMERIC", "DATETIME": "NUMERIC",
             "BOOLEAN": "NUMERIC", "BLOB": "BLOB", "": "BLOB"}  # fmt: skip


def _pairs(declared: str, types: str, formats: Sequence[str] = ("",), base: str = "") -> list[Pair]:
    return [
        Pair(one, _AFFINITY[one], kind, form, base)
        for one in declared.split(",")
        for kind in types.split(",,")
        for form in formats
    ]


PAIRS = [
    *_pairs("INTEGER,DECIMAL,REAL,TEXT,", "numeric,,numeric(10,2),,numeric(18,0)"),
    *_pairs("INTEGER,DECIMAL,REAL,BLOB", "double precision,,real"),
    *_pairs("BOOLEAN,INTEGER", "boolean"),
    *_pairs("TEXT,BOOLEAN", "boolean", ("f|t", "False|True")),
    *_pairs("TEXT", "boolean"),
    *_pairs("TEXT", "character(3),,name"),
    *_pairs("TEXT", "mood", base="enum"),
    *_pairs(
        "TEXT,DATETIME", "timestamp with time zone,,timestamp(3) without time zone",
        ("", "YYYY-MM-DD HH:MM:SS", "YYYY-MM-DDTHH:MM:SS.fffZ", "YYYY-MM-DD HH:MM:SS.ffffff",
         "YYYY-MM-DDTHH:MM:SS[.f]+00:00", "YYYY-MM-DD HH:MM:SS[.fff] +0000 UTC", "YYYY-MM-DD"),
    ),
    *_pairs("INTEGER,DATETIME", "timestamp with time zone,,timestamp(0) without time zone",
            ("epoch_seconds", "epoch_milliseconds", "epoch_microseconds")),
    *_pairs("REAL", "timestamp with time zone", ("epoch_real", "julian_day")),
    *_pairs("TEXT,DATETIME", "date", ("", "YYYY-MM-DDTHH:MM:SS.fffZ")),
    *_pairs("DATETIME,INTEGER", "date", ("epoch_days", "epoch_milliseconds")),
    *_pairs("TEXT,DATETIME", "time without time zone", ("", "HH:MM:SS.fff", "YYYY-MM-DDTHH:MM:SS.fffZ")),
    *_pairs("TEXT", "time(0) without time zone,,time with time zone"),
    *_pairs("INTEGER", "time(3) without time zone", ("epoch_milliseconds",)),
    *_pairs("INTEGER", "interval", ("", "seconds")),
    *_pairs("TEXT", "interval", ("postgres", "iso")),
    *_pairs("DATETIME", "interval", ("YYYY-MM-DD HH:MM:SS.ffffff",)),
    *_pairs("TEXT", "uuid", ("dashed", "hex", "DASHED", "HEX")),
    *_pairs("BLOB", "uuid", ("blob",)),
    *_pairs("TEXT", "bigint[],,numeric(9,2)[],,double precision[],,real[],,text[],,character varying(3)[],,boolean[]"),
    *_pairs("TEXT", "timestamp(3) with time zone[],,uuid[]"),
    *_pairs("TEXT", "mood[]", base="enum[]"),
    *_pairs("TEXT", "inet,,cidr,,macaddr,,macaddr8"),
]  # fmt: skip


@pytest.fixture
async def postgres(postgres_url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(postgres_url, server_settings=SPELLING)
    labels = ", ".join("'" + label.replace("'", "''") + "'" for label in LABELS)
    await connection.execute(f"CREATE TYPE mood AS ENUM ({labels})")
    await connection.execute(HELD)
    yield connection
    await connection.close()


_values = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    st.integers(-300, 300),
    st.sampled_from([0, 1, 10**10, 1_700_000_000, 1_700_000_000_123, 2**53 + 1, 10**17, -(2**63)]),
    st.floats(allow_nan=False),
    st.floats(width=32, allow_nan=False),
    st.integers(-(10**9), 10**9).map(lambda cents: cents / 100),
    st.integers(-(2**40), 2**40).map(lambda micros: micros / 1e6),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=4),
    st.binary(max_size=3),
    st.binary(min_size=16, max_size=16),
    st.datetimes().map(str),
    st.datetimes().map(lambda moment: moment.replace(microsecond=moment.microsecond // 1000 * 1000).isoformat() + "Z"),
    st.dates().map(str),
    st.uuids().map(str),
    st.uuids().map(lambda it: it.hex.upper()),
    st.ip_addresses().map(str),
    st.decimals(allow_nan=False, allow_infinity=False).map(str),
    st.sampled_from([*TEXTS, *LABELS]),
)


def _drawn() -> list[SqlValue]:
    found: list[SqlValue] = [*TEXTS, *LABELS]

    @settings(max_examples=_EXAMPLES, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(_values)
    def collect(value: SqlValue) -> None:
        found.append(value)

    collect()
    return found


def held(declared: str, values: Sequence[SqlValue]) -> list[SqlValue]:
    """What SQLite makes of values in a column declared so."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute(f"CREATE TABLE t (n INTEGER PRIMARY KEY, v {declared})")
        connection.executemany("INSERT INTO t (v) VALUES (?)", [(value,) for value in values])
        return [value for (value,) in connection.execute("SELECT v FROM t ORDER BY n")]


def identical(left: SqlValue, right: SqlValue) -> bool:
    if isinstance(left, float) and isinstance(right, float) and left == right == 0:
        return math.copysign(1, left) == math.copysign(1, right)
    return type(left) is type(right) and left == right


async def stored(
    postgres: asyncpg.Connection, pair: Pair, codec: Codec, given: Sequence[object]
) -> list[tuple[Any, str | None]]:
    """What Postgres gives back, each with the digest's form of it."""
    await postgres.execute(f"DROP TABLE IF EXISTS t; CREATE TABLE t (n bigint, v {pair.type})")
    await postgres.execute(
        f"INSERT INTO t SELECT u.n, {codec.write('u.v')} FROM unnest($1::bigint[], $2::{codec.sql_type}[]) AS u(n, v)",
        list(range(len(given))),
        list(given),
    )
    digest = codec.digest.format("v") if codec.digest is not None else "NULL"
    nothing = (codec.digest or "NULL").format(f"NULL::{pair.type}")
    assert await postgres.fetchval(f"SELECT {nothing}") is None, str(pair)
    return [tuple(row) for row in await postgres.fetch(f"SELECT {codec.read('v')}, {digest} FROM t ORDER BY n")]


def check_digest(codec: Codec, form: str | None, value: SqlValue) -> None:
    if codec.digest is None:
        return
    assert form is not None
    if type(value) is Foreign:
        assert form[0] == "x" or "nan" in value.lower() or form == "r8000000000000000", (form, value)
    else:
        # Postgres and Python may differ in the last digit of a real; then rows are compared one by one.
        assert form == canonical_any(value).decode() or (codec.native == "numeric" and form[0] == "x"), (form, value)


async def test_what_sqlite_holds_comes_back_or_is_refused(postgres: asyncpg.Connection) -> None:
    drawn = _drawn()
    barren = []
    for pair in PAIRS:
        returned: list[SqlValue] = []
        for exact in (False, True):
            codec = codec_for(pair.column(exact=exact))
            if exact and codec.key:
                continue
            taken: list[SqlValue] = []
            sent: list[object] = []
            for value in held(pair.declared, [*drawn, *returned]):
                try:
                    there = codec.to_target(value)
                except Unrepresentable:
                    continue
                taken.append(value)
                sent.append(there)
            if len(set(taken)) < 2:
                barren.append((str(pair), exact))
            back = await stored(postgres, pair, codec, sent)
            returned = [codec.to_source(value) for value, _ in back]
            for value, again, (_, form) in zip(taken, returned, back, strict=True):
                assert type(again) is not Foreign, (str(pair), value, again)
                assert codec.canonical(again) == codec.canonical(value), (str(pair), value, again)
                if exact or codec.exact:
                    assert identical(value, again), (str(pair), value, again)
                check_digest(codec, form, again)
            for again, kept in zip(returned, held(pair.declared, returned), strict=True):
                assert identical(again, kept), (str(pair), again, kept)
    assert not barren


async def test_what_postgres_holds_comes_back_or_is_refused(postgres: asyncpg.Connection) -> None:
    for pair in PAIRS:
        codec = codec_for(pair.column())
        kind = TypeName.of(pair.base or pair.type)
        natives = list(LABELS) if pair.base == "enum" else ARRAYS if kind.array else NATIVE[base_of(pair.column())]
        await postgres.execute(f"DROP TABLE IF EXISTS t; CREATE TABLE t (n bigint, v {pair.type})")
        held_there = await postgres.fetchval("SELECT held($1, $2)", pair.type, natives)
        assert held_there > 1, str(pair)
        digest = codec.digest.format("v") if codec.digest is not None else "NULL"
        found = await postgres.fetch(f"SELECT {codec.read('v')}, {digest}, v::text FROM t ORDER BY n")
        sources = [codec.to_source(value) for value, _, _ in found]
        for (_, form, _), value in zip(found, sources, strict=True):
            check_digest(codec, form, value)
        possible = [
            (row[2], value)
            for row, value in zip(found, sources, strict=True)
            if type(value) is not Foreign and not altered(pair.column(), value)
        ]
        assert possible, str(pair)
        values = [value for _, value in possible]
        for value, kept in zip(values, held(pair.declared, values), strict=True):
            assert identical(value, kept), (str(pair), value, kept)
        await stored(postgres, pair, codec, [codec.to_target(value) for value in values])
        texts = [text for (text,) in await postgres.fetch("SELECT v::text FROM t ORDER BY n")]
        if base_of(pair.column()) not in ("numeric", "interval"):  # 1.50 is 1.5, and 24 hours are a day
            assert texts == [text for text, _ in possible], str(pair)
        # What SQLite has no room for equals nothing that it has.
        forms = {codec.canonical(value) for value in values}
        assert not forms & {codec.canonical(value) for value in sources if type(value) is Foreign}
