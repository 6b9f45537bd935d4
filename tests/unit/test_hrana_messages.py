"""Hrana's JSON, read strictly and written as clients need it."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutover.errors import StatementError
from cutover.hrana.answers import write_batch, write_error, write_json, write_result, write_row, written_result
from cutover.hrana.cursor import Cursor, error_entry
from cutover.hrana.fields import ProtocolError, read_json, read_value
from cutover.hrana.messages import (
    Batch,
    Close,
    CloseSql,
    Describe,
    Execute,
    GetAutocommit,
    SequenceOf,
    StoredSql,
    StoreSql,
    look_up,
    read_batch,
    read_pipeline,
    read_request,
    resolved,
)
from cutover.model.statement import All, BatchResult, Columns, Not, Ok, ResultColumn, Statement, StatementResult, Step
from cutover.model.values import Row
from cutover.stores.executing import WholePieces


@given(
    st.one_of(
        st.none(),
        st.integers(-(2**63), 2**63 - 1),
        st.floats(allow_nan=False),
        st.binary(max_size=40),
        st.text(st.characters(exclude_categories=("Cs",)), max_size=40),
    )
)
def test_values_travel_unchanged(value: object) -> None:
    there = json.loads(write_json(write_row((value,))))[0]
    if isinstance(value, float) and math.isinf(value):
        assert math.isinf(there["value"])  # valid JSON, beyond every double
        return
    back = read_value(there)
    assert back == value
    assert type(back) is type(value)


@pytest.mark.parametrize(
    "value",
    [
        {"type": "integer", "value": 5},
        {"type": "integer", "value": "1_000"},
        {"type": "integer", "value": " 12 "},
        {"type": "integer", "value": "٣"},
        {"type": "integer", "value": "+1"},
        {"type": "integer", "value": ""},
        {"type": "integer", "value": "9223372036854775808"},
        {"type": "integer", "value": "-9223372036854775809"},
        {"type": "integer", "value": "0" * 5000},
        {"type": "float", "value": "1.0"},
        {"type": "float", "value": True},
        {"type": "float"},
        {"type": "text", "value": 1},
        {"type": "text"},
        {"type": "blob", "base64": "a-_b"},
        {"type": "blob", "base64": "YQ==\n"},
        {"type": "blob", "base64": "é"},
        {"type": "blob", "base64": "A"},
        {"type": "bool", "value": True},
        {},
        "text",
        None,
    ],
)
def test_malformed_values_are_refused(value: object) -> None:
    with pytest.raises(ProtocolError):
        read_value(value)


@pytest.mark.parametrize(("text", "blob"), [("", b""), ("YQ", b"a"), ("YQ==", b"a"), ("/+8", b"\xff\xef")])
def test_blobs_are_read_with_and_without_padding(text: str, blob: bytes) -> None:
    assert read_value({"type": "blob", "base64": text}) == blob


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": "\\ud800"}',
        b'{"a": "\xff"}',
        b'{"a": 1} x',
        b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}",
    ],
)
def test_what_is_not_json_is_refused(body: bytes) -> None:
    with pytest.raises(ProtocolError) as caught:
        read_json(body)
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("request_", "read"),
    [
        ({"type": "close"}, Close()),
        ({"type": "get_autocommit"}, GetAutocommit()),
        ({"type": "sequence", "sql": "SELECT 1"}, SequenceOf("SELECT 1")),
        ({"type": "describe", "sql": None, "sql_id": -3}, Describe(StoredSql(-3))),
        ({"type": "store_sql", "sql_id": 0, "sql": "x", "extra": [1]}, StoreSql(0, "x")),
        ({"type": "close_sql", "sql_id": 2147483647}, CloseSql(2147483647)),
        (
            {"type": "execute", "stmt": {"sql": "x", "sql_id": None, "replication_index": None}},
            Execute(Statement("x"), None),
        ),
        (
            {
                "type": "execute",
                "stmt": {
                    "sql_id": 1,
                    "args": [{"type": "null"}],
                    "named_args": [{"name": ":a", "value": {"type": "integer", "value": "-1"}}],
                    "want_rows": False,
                },
            },
            Execute(Statement("", (None,), ((":a", -1),), want_rows=False), StoredSql(1)),
        ),
    ],
)
def test_requests(request_: dict[str, object], read: object) -> None:
    assert read_request(request_, 3) == read


@pytest.mark.parametrize(
    "request_",
    [
        {},
        {"type": "execute"},
        {"type": "execute", "stmt": {}},
        {"type": "execute", "stmt": {"sql": "x", "sql_id": 1}},
        {"type": "execute", "stmt": {"sql": 1}},
        {"type": "execute", "stmt": {"sql_id": 2**31}},
        {"type": "execute", "stmt": {"sql_id": True}},
        {"type": "execute", "stmt": {"sql": "x", "args": {"a": 1}}},
        {"type": "execute", "stmt": {"sql": "x", "named_args": [{"name": 1, "value": {"type": "null"}}]}},
        {"type": "execute", "stmt": {"sql": "x", "want_rows": "no"}},
        {"type": "store_sql", "sql_id": 1},
        {"type": "dance"},
    ],
)
def test_malformed_requests_are_refused(request_: dict[str, object]) -> None:
    with pytest.raises(ProtocolError):
        read_request(request_, 3)


def test_hrana_3_is_not_in_hrana_2() -> None:
    with pytest.raises(ProtocolError):
        read_request({"type": "get_autocommit"}, 2)
    step = {"stmt": {"sql": "x"}, "condition": {"type": "is_autocommit"}}
    read_batch({"steps": [step]}, 3)
    with pytest.raises(ProtocolError):
        read_batch({"steps": [step]}, 2)


def test_the_baton_may_be_absent() -> None:
    assert read_pipeline(b'{"requests": []}', 2).baton is None
    assert read_pipeline(b'{"requests": [], "baton": null}', 2).baton is None
    assert read_pipeline(b'{"requests": [], "baton": "b"}', 2).baton == "b"
    with pytest.raises(ProtocolError):
        read_pipeline(b'{"requests": [], "baton": 5}', 2)


def test_batches() -> None:
    batch = read_batch(
        {
            "steps": [
                {"stmt": {"sql": "a"}, "condition": None},
                {"stmt": {"sql_id": 7}, "condition": {"type": "not", "cond": {"type": "ok", "step": 0}}},
                {"stmt": {"sql": "c"}, "condition": {"type": "and", "conds": [{"type": "ok", "step": 1}]}},
            ]
        },
        2,
    )
    assert batch == Batch(
        (
            Step(Statement("a")),
            Step(Statement(""), Not(Ok(0))),
            Step(Statement("c"), All((Ok(1),))),
        ),
        (None, StoredSql(7), None),
    )


@pytest.mark.parametrize(
    "condition",
    [
        {"type": "ok", "step": 0},
        {"type": "error", "step": 1},
        {"type": "ok", "step": -1},
        {"type": "ok"},
        {"type": "not"},
        {"type": "and", "conds": {}},
        {"type": "xor"},
        [],
    ],
)
def test_conditions_on_the_step_itself_or_later_ones_are_refused(condition: object) -> None:
    with pytest.raises(ProtocolError):
        read_batch({"steps": [{"stmt": {"sql": "x"}, "condition": condition}]}, 3)


def test_deeply_nested_conditions_are_refused_not_fatal() -> None:
    condition: dict[str, object] = {"type": "ok", "step": 0}
    for _ in range(400):
        condition = {"type": "not", "cond": condition}
    steps = [{"stmt": {"sql": "x"}}, {"stmt": {"sql": "x"}, "condition": condition}]
    with pytest.raises(ProtocolError, match="nested"):
        read_batch({"steps": steps}, 3)


def test_stored_texts_are_looked_up() -> None:
    assert resolved(Statement("", (1,)), StoredSql(3), {3: "SELECT ?"}) == Statement("SELECT ?", (1,))
    assert look_up("x", {}) == "x"
    with pytest.raises(ProtocolError, match="3"):
        look_up(StoredSql(3), {})


def test_results_have_every_field_that_clients_demand() -> None:
    assert write_result(StatementResult()) == {
        "cols": [],
        "rows": [],
        "affected_row_count": 0,
        "last_insert_rowid": None,
    }
    full = write_result(StatementResult([ResultColumn("a", "INTEGER")], [(2**62,), (2.0,)], 3, 2**62))
    assert full["cols"] == [{"name": "a", "decltype": "INTEGER"}]
    assert full["rows"] == [[{"type": "integer", "value": str(2**62)}], [{"type": "float", "value": 2.0}]]
    assert full["last_insert_rowid"] == str(2**62)


@given(
    st.lists(
        st.tuples(st.none(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), st.binary(), st.text('aß"')),
        max_size=3,
    ),
    st.sampled_from([[], [ResultColumn("a", "INTEGER"), ResultColumn('"ß', None)]]),
    st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1)),
)
def test_a_result_is_written_alike_in_either_way(
    rows: list[Row], columns: list[ResultColumn], rowid: int | None
) -> None:
    for given_as in (columns, Columns(columns), Columns(columns)):
        result = StatementResult(given_as, rows, len(rows), rowid)
        for _ in range(2):
            assert written_result(result) == write_json(write_result(result))


def test_a_skipped_step_has_neither_result_nor_error() -> None:
    error = StatementError("UNIQUE constraint failed: t.a", "SQLITE_CONSTRAINT")
    written = write_batch(BatchResult([StatementResult(), None, None], [None, error, None]))
    assert [item is None for item in written["step_results"]] == [False, True, True]
    assert written["step_errors"] == [
        None,
        {"message": "UNIQUE constraint failed: t.a", "code": "SQLITE_CONSTRAINT"},
        None,
    ]


async def test_cursor_entries() -> None:
    error = StatementError("no", "SQLITE_BUSY")
    outcome = BatchResult([StatementResult([ResultColumn("a")], [(1,), (2,)]), None, None], [None, error, None])
    cursor = Cursor(WholePieces(outcome))
    lines = [json.loads(line) for line in await cursor.take(size=10_000)]
    assert [line["type"] for line in lines] == ["step_begin", "row", "row", "step_end", "step_error"]
    assert lines[0] == {"type": "step_begin", "step": 0, "cols": [{"name": "a", "decltype": None}]}
    assert lines[4] == {"type": "step_error", "step": 1, "error": write_error(error)}
    assert (cursor.done, await cursor.take(size=10_000)) == (True, [])
    assert error_entry(error)["type"] == "error"


async def test_big_cursors_come_in_pieces() -> None:
    cursor = Cursor(WholePieces(BatchResult([StatementResult([ResultColumn("a")], [("x" * 1000,)] * 300)], [None])))
    chunks = []
    while lines := await cursor.take(size=64 * 1024):
        chunks.append(sum(map(len, lines)))
    assert len(chunks) > 3
    assert max(chunks) < 70_000
