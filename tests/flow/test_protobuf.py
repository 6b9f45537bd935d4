"""Hrana 3 in Protocol Buffers, written by hand as a client's library would: over HTTP, on sockets, and broken."""

import json
import math
import struct
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
from aiohttp import ClientSession, WSMsgType
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cutover.hrana.fields import NotJson, ProtocolError, read_json
from cutover.hrana.protobuf import from_json, to_json
from cutover.hrana.wire import BYTES, FIXED64, VARINT, field, read_fields, read_varint, signed, unzigzag, varint, zigzag
from tests.support.front import listening, opened

Fields = dict[int, list[Any]]


@pytest.fixture
async def client(sqlite_path: str) -> AsyncIterator[ClientSession]:
    async with opened(sqlite_path) as way, listening(way) as (_, client):
        yield client


def message(*fields: tuple[int, int | float | str | bytes]) -> bytes:
    """A message of these fields; floats are doubles, integers plain varints."""
    written = b""
    for number, value in fields:
        if isinstance(value, float):
            written += field(number, FIXED64, struct.pack("<d", value))
        elif isinstance(value, int):
            written += field(number, VARINT, value)
        else:
            written += field(number, BYTES, value.encode() if isinstance(value, str) else value)
    return written


def parsed(data: bytes) -> Fields:
    found: Fields = {}
    for number, _, value in read_fields(data):
        found.setdefault(number, []).append(value)
    return found


def value(number: int, content: float | str | bytes) -> bytes:
    return message((number, content))


def execute(sql: str, *args: bytes) -> bytes:
    """A StreamRequest."""
    return message((2, message((1, message((1, sql), *((3, arg) for arg in args))))))


CLOSE = message((1, b""))


async def pipeline(client: ClientSession, *requests: bytes) -> list[Fields]:
    """The StreamResults."""
    body = message(*((2, request) for request in requests))
    async with client.post("/v3-protobuf/pipeline", data=body) as answer:
        assert (answer.status, answer.headers["content-type"]) == (200, "application/x-protobuf")
        found = parsed(await answer.read())
    assert 1 not in found  # closed: no baton
    return [parsed(result) for result in found[3]]


async def test_a_pipeline(client: ClientSession) -> None:
    insert = execute("INSERT INTO t(id, a) VALUES (?, ?)", value(2, zigzag(-5)), value(4, "é\0"))
    broken, query = execute("SELEC"), execute("SELECT id, a FROM t")
    inserted, failed, queried, closed = await pipeline(client, insert, broken, query, CLOSE)
    result = parsed(parsed(parsed(inserted[1][0])[2][0])[1][0])
    assert (result[3], [unzigzag(found) for found in result[4]]) == ([1], [-5])
    error = parsed(failed[2][0])
    assert error == {1: [b'near "SELEC": syntax error (at offset 0)'], 2: [b"SQL_PARSE_ERROR"]}
    result = parsed(parsed(parsed(queried[1][0])[2][0])[1][0])
    assert [parsed(column) for column in result[1]] == [{1: [b"id"], 2: [b"INTEGER"]}, {1: [b"a"], 2: [b"TEXT"]}]
    ((row,),) = ([parsed(row)[1] for row in result[2]],)
    assert [parsed(found) for found in row] == [{2: [zigzag(-5)]}, {4: ["é\0".encode()]}]
    assert parsed(closed[1][0]) == {1: [b""]}


@pytest.mark.parametrize(
    "found",
    [
        value(1, b""),
        value(2, zigzag(2**63 - 1)),
        value(2, zigzag(-(2**63))),
        value(2, 0),
        value(3, 0.0),
        value(3, -math.inf),
        value(3, math.inf),
        value(3, 5e-324),
        value(4, ""),
        value(4, "\U0001f600"),
        value(5, b""),
        value(5, bytes(range(256))),
    ],
)
async def test_values_come_back_as_they_went(client: ClientSession, found: bytes) -> None:
    answered, _ = await pipeline(client, execute("SELECT ?", found), CLOSE)
    result = parsed(parsed(parsed(answered[1][0])[2][0])[1][0])
    assert parsed(result[2][0])[1] == [found]


async def test_a_cursor_and_conditions(client: ClientSession) -> None:
    def step(sql: str, condition: bytes | None = None) -> bytes:
        return message(*([(1, condition)] if condition is not None else []), (2, message((1, sql))))

    both = message((4, message((1, message((1, 0))), (1, message((3, message((2, 0))))))))  # and [ok 0, not error 0]
    steps = [
        step("SELECT 1"),
        step("SELEC", both),
        step("SELECT 2", message((1, 1))),
        step("SELECT 3", message((2, 1))),
    ]
    body = message((2, message(*((1, each) for each in steps))))
    async with client.post("/v3-protobuf/cursor", data=body) as answer:
        assert answer.headers["content-type"] == "application/x-protobuf"
        data = await answer.read()
    found, at = [], 0
    while at < len(data):
        length, at = read_varint(data, at)
        found.append(parsed(data[at : at + length]))
        at += length
    assert set(found[0]) == {1}
    # step_begin, row, step_end of the first step; step_error of the second; the third is skipped
    assert [next(iter(entry)) for entry in found[1:]] == [1, 4, 2, 3, 1, 4, 2]
    assert parsed(found[4][3][0])[1] == [1]
    assert parsed(parsed(found[6][4][0])[1][0]) == {2: [zigzag(3)]}


async def test_a_socket(client: ClientSession) -> None:
    async with client.ws_connect("/", protocols=("hrana3-protobuf", "hrana2")) as raw:
        assert raw.protocol == "hrana3-protobuf"
        opening = message((1, -7), (2, message((1, -1))))
        batch = message((1, message((2, message((1, "SELECT 'x'"))))), (1, message((2, message((1, "SELEC"))))))
        asked = message((1, 2), (5, message((1, -1), (2, batch))))
        unknown = message((1, 3), (12, message((1, 9))))
        for sent in (message((1, b"")), message((2, opening)), message((2, asked)), message((2, unknown))):
            await raw.send_bytes(sent)
        answers = []
        for _ in range(4):
            received = await raw.receive(20)
            assert received.type is WSMsgType.BINARY
            answers.append(parsed(received.data))
        assert answers[0] == {1: [b""]}
        by_number = {signed(parsed(answer[3][0])[1][0]): parsed(answer[3][0]) for answer in answers[1:]}
        assert by_number[-7] == {1: [(1 << 64) - 7], 2: [b""]}
        result = parsed(parsed(by_number[2][5][0])[1][0])
        assert [parsed(entry)[1] for entry in result[1]] == [[0]]
        assert [parsed(entry)[1] for entry in result[2]] == [[1]]
        assert 12 in by_number[3]
        await raw.send_str("{}")
        assert (await raw.receive(20)).data == 1003


async def test_json_is_preferred(client: ClientSession) -> None:
    async with client.ws_connect("/", protocols=("hrana3-protobuf", "hrana3")) as raw:
        assert raw.protocol == "hrana3"
    async with client.get("/v3-protobuf") as answer:
        assert answer.status == 200


@pytest.mark.parametrize(
    "request_",
    [
        b"\x08",
        b"\x0b",
        b"\x0a\xff",
        b"\xff" * 11,
        message((2, 1)),
        message((2, b"")),
        message((2, execute("SELECT ?", b""))),
        message((2, execute("SELECT ?", value(3, math.nan)))),
        message((2, message((2, message((1, message((1, b"\xff")))))))),
        message((2, message((2, message((1, message((1, "SELECT 1"), (2, 1)))))))),
    ],
)
async def test_what_is_no_message_is_refused(client: ClientSession, request_: bytes) -> None:
    async with client.post("/v3-protobuf/pipeline", data=request_) as answer:
        assert answer.status == 400


def test_conditions_cannot_be_nested_without_end() -> None:
    nested = message((1, 0))
    for _ in range(5000):
        nested = message((3, nested))
    with pytest.raises(ProtocolError):
        to_json("BatchCond", nested)


@given(st.sampled_from(["ClientMsg", "PipelineReqBody", "CursorReqBody"]), st.binary(max_size=40))
@example("ClientMsg", b"")
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_a_message_or_refused(kind: str, data: bytes) -> None:
    try:
        text = to_json(kind, data)
    except (ProtocolError, NotJson):
        return
    assert isinstance(read_json(text), dict)


@given(st.integers(0, (1 << 64) - 1), st.integers(-(1 << 63), (1 << 63) - 1))
def test_numbers(plain: int, other: int) -> None:
    assert read_varint(varint(plain), 0) == (plain, len(varint(plain)))
    assert unzigzag(zigzag(other)) == other
    assert signed(read_varint(varint(other), 0)[0]) == other


def test_unknown_fields_are_ignored() -> None:
    known = message((1, "sql"))
    assert json.loads(to_json("Stmt", known + message((99, "x"), (98, 1), (97, 1.5)))) == json.loads(
        to_json("Stmt", known)
    )


def test_our_own_messages() -> None:
    answer = {"type": "response_error", "request_id": -1, "error": {"message": "m", "code": "c"}}
    written = parsed(from_json("ServerMsg", orjson.dumps(answer)))
    inner = parsed(written[4][0])
    assert (inner[1], parsed(inner[2][0])) == ([(1 << 64) - 1], {1: [b"m"], 2: [b"c"]})
