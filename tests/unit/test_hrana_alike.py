"""Bodies that are like one that was read mean what they would mean without it."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutover.hrana.alike import Alike
from cutover.hrana.fields import ProtocolError
from cutover.hrana.messages import Pipeline, pipeline_of, read_pipeline
from cutover.model.statement import Statement

SQL = "SELECT v FROM t WHERE k = ?"


def body(args: Any, *, sql: str = SQL, compact: bool = False, **more: Any) -> bytes:
    requests = [{"type": "execute", "stmt": {"sql": sql, "args": args, **more}}, {"type": "close"}]
    return json.dumps({"requests": requests}, separators=(",", ":") if compact else None).encode()


def text(value: str) -> dict[str, Any]:
    return {"type": "text", "value": value}


def outcome(read: Any, found: bytes, *, most: int = 100) -> Pipeline | tuple[str, int, str]:
    try:
        read_as = read(found, 3, most)
        return pipeline_of(read_as) if isinstance(read_as, Statement) else read_as
    except ProtocolError as error:
        return error.message, error.status, error.code


VALUES = st.one_of(
    st.just({"type": "null"}),
    st.integers(-(1 << 63), (1 << 63) - 1).map(lambda value: {"type": "integer", "value": str(value)}),
    st.floats(allow_nan=False).map(lambda value: {"type": "float", "value": value}),
    st.text(st.characters(codec="utf-8")).map(text),
    st.binary().map(lambda value: {"type": "blob", "base64": b64encode(value).decode()}),
    st.sampled_from([5, None, [], {}, {"type": 5}, {"type": []}, {"type": "text"}, {"type": "date", "value": "x"}]),
)
TEXTS = st.sampled_from([SQL, 'SELECT "args":[1]', "SELECT ']', ?", "SELECT '\\\"args\\\":[]'"])


@given(st.lists(st.tuples(st.lists(VALUES, max_size=4), TEXTS, st.booleans(), st.booleans()), min_size=2, max_size=6))
def test_a_body_means_the_same_whatever_came_before(bodies: list[tuple[list[Any], str, bool, bool]]) -> None:
    alike = Alike()
    for args, sql, compact, want_rows in bodies:
        for _ in range(2):
            found = body(args, sql=sql, compact=compact, want_rows=want_rows)
            assert outcome(alike.read, found) == outcome(read_pipeline, found)


@pytest.mark.parametrize(
    "found",
    [
        body([text("a")])[:-1] + b" }",
        body([text("a")]).replace(b"]}", b"], [1]}", 1),
        body([text("a")]).replace(b'"a"}', b'"a"}], "args": [{"type": "null"}', 1),
        body([text("a")]).replace(b'"a"}', b'"a"}, ', 1),
        body([text("a")]).replace(b'"a"', b'"\\ud800"', 1),
        body([text("a")]).replace(b'{"type": "text", "value": "a"}', b'{"type": "float", "value": 1e999}'),
        b'{"x": {"args": [{"type": "null"}]}, "requests": [{"type": "execute", "stmt": {"sql": "SELECT ?", '
        b'"\\u0061rgs": [{"type": "null"}]}}, {"type": "close"}]}',
        b'{"requests": [{"type": "execute", "stmt": {"sql": "SELECT ?", "args": [{"type": "null"}], '
        b'"\\u0061rgs": []}}, {"type": "close"}]}',
        b'{"baton": "b", ' + body([text("a")])[1:],
        body([text("a")], named_args=[{"name": "a", "value": {"type": "null"}}]),
        body([text("a")]).replace(b', {"type": "close"}', b""),
    ],
)
def test_what_only_looks_alike_is_read_as_it_is(found: bytes) -> None:
    alike = Alike()
    for _ in range(2):
        alike.read(body([text("b")]), 3, 100)
        for _ in range(2):
            assert outcome(alike.read, found) == outcome(read_pipeline, found)
    assert outcome(alike.read, body([text("c")])) == outcome(read_pipeline, body([text("c")]))


def test_a_limit_of_requests_holds() -> None:
    alike = Alike()
    for _ in range(3):
        alike.read(body([text("a")]), 3, 2)
    assert outcome(alike.read, body([text("a")]), most=1) == outcome(read_pipeline, body([text("a")]), most=1)
