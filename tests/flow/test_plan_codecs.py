"""Codecs against real columns: every value comes back the same, or was refused; both databases make one digest."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cutover.errors import Unrepresentable
from cutover.model.table import Column, Table
from cutover.model.values import SqlValue
from cutover.schema.canonical import MODULUS, digest
from cutover.schema.codecs import codec_for, codecs_for
from cutover.stores.postgres.rows import Rows

_TYPES = [
    "smallint", "integer", "bigint", "double precision", "text", "character varying(4)", "bytea", "boolean", "json",
    "jsonb",
]  # fmt: skip
_BATCH = 400
"""Values in one trip to the server: many cheap examples in one of hypothesis's dear ones."""


def _column(target_type: str, name: str = "v") -> Column:
    return Column(name=name, declared="", affinity="", target=name, target_type=target_type)


_json_values = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-(10**30), 10**30), st.floats(allow_nan=False, allow_infinity=False),
        st.text(max_size=5),
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)  # fmt: skip
_json_texts = st.one_of(
    st.builds(lambda value, plain: json.dumps(value, ensure_ascii=plain), _json_values, st.booleans()),
    st.text(alphabet='{}[]",:0123456789.eE-+ ntf\\u\x00dD8', max_size=8),
    st.sampled_from(
        [
            "1.10", "-0", "-0.0", "1e5", "1E+2", "0.000", ' {"a" : [ 1 , 2 ] } ', '{"b":1,"a":2}', '{"a":1,"a":2}',
            '"\\u0000"', '"\\ud83d\\ude00"', '"\\ud83d"', '"\\/"', '" , : "', "1e131071", "1e131072", "1e-16383",
            "1e-16384", "[" * 500 + "]" * 500,
        ]
    ),
)  # fmt: skip
_values = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    st.sampled_from([0, 1, 2**15, 2**15 - 1, -(2**31), 2**31, 2**53 + 1]),
    st.floats(),
    st.text(st.characters(), max_size=6),
    st.binary(max_size=6),
    _json_texts,
)


@pytest.fixture
async def postgres(postgres_url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(postgres_url)
    yield connection
    await connection.close()


@pytest.mark.parametrize("target_type", _TYPES)
async def test_a_value_comes_back_the_same_or_was_refused(postgres: asyncpg.Connection, target_type: str) -> None:
    codec = codec_for(_column(target_type))
    await postgres.execute(f"CREATE TABLE t (n bigint, v {target_type})")
    found: list[SqlValue] = []

    @settings(max_examples=_BATCH, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(_values)
    def collect(value: SqlValue) -> None:
        found.append(value)

    collect()
    sent = list[tuple[int, Any]]()
    for number, value in enumerate(found):
        try:
            sent.append((number, codec.to_target(value)))
        except Unrepresentable:
            continue
    assert len(sent) >= 2
    await postgres.executemany(f"INSERT INTO t VALUES ($1, $2::{codec.sql_type})", sent)
    back = {row["n"]: row["v"] for row in await postgres.fetch("SELECT n, v FROM t")}
    assert len(back) == len(sent)
    for number, _ in sent:
        value, returned = found[number], codec.to_source(back[number])
        assert type(returned) is type(value)
        assert codec.canonical(returned) == codec.canonical(value), (value, returned)
        if target_type != "jsonb":
            assert returned == value
        # What came back can be sent again: the way back is the way there.
        assert codec.canonical(codec.to_source(codec.to_target(returned))) == codec.canonical(value)


_COLUMNS = ("bigint", "double precision", "text", "bytea")
_rows = st.lists(
    st.tuples(
        *(
            st.none() | strategy
            for strategy in (
                st.integers(-(2**63), 2**63 - 1),
                st.floats(allow_nan=False),
                st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=8),
                st.binary(max_size=8),
            )
        )
    ),
    max_size=200,
)


async def test_python_and_both_databases_make_one_digest(postgres: asyncpg.Connection) -> None:
    columns = tuple(_column(kind, f"c{number}") for number, kind in enumerate(_COLUMNS))
    table = Table("t", "public", "t", columns, ("c0",))
    hashed = Rows(table).hash
    codecs = codecs_for(table)
    found: list[list[tuple[SqlValue, ...]]] = []

    @settings(max_examples=30, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(_rows)
    def collect(rows: list[tuple[SqlValue, ...]]) -> None:
        found.append(rows)

    collect()
    await postgres.execute(f"CREATE TABLE t ({', '.join(f'c{n} {kind}' for n, kind in enumerate(_COLUMNS))})")
    sqlite = sqlite3.connect(":memory:")
    sqlite.execute("CREATE TABLE t (c0, c1, c2, c3)")
    assert any(len(rows) > 10 for rows in found)
    for rows in found:
        await postgres.execute("TRUNCATE t")
        await postgres.copy_records_to_table("t", records=rows)
        total = await postgres.fetchval(f"SELECT coalesce(sum({hashed}), 0) FROM t")
        assert int(total) % MODULUS == digest(rows, codecs)
        sqlite.execute("DELETE FROM t")
        sqlite.executemany("INSERT INTO t VALUES (?, ?, ?, ?)", rows)
        assert digest(sqlite.execute("SELECT * FROM t").fetchall(), codecs) == digest(rows, codecs)
    sqlite.close()
