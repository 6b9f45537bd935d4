"""The front door over WebSocket: a real socket, a real SQLite file."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import ClientSession as Client
from aiohttp import WSMsgType, WSServerHandshakeError
from pydantic import SecretStr

from cutover.hrana.door import FrontDoor
from cutover.write_through import WriteThrough
from tests.support.front import Socket, connect, listening, opened


@pytest.fixture
async def way(sqlite_path: str) -> AsyncIterator[WriteThrough]:
    async with opened(sqlite_path) as way:
        yield way


@pytest.fixture
async def door(way: WriteThrough) -> AsyncIterator[tuple[FrontDoor, Client]]:
    async with listening(way) as found:
        yield found


@pytest.fixture
def client(door: tuple[FrontDoor, Client]) -> Client:
    return door[1]


@pytest.fixture
async def socket(client: Client) -> Socket:
    return await connect(client)


def integer(value: int) -> dict[str, str]:
    return {"type": "integer", "value": str(value)}


async def test_everything_may_be_sent_without_waiting(client: Client) -> None:
    socket = await connect(client, "hrana2", hello=False)
    await socket.say({"type": "hello"})
    await socket.send("open_stream", stream_id=0)
    await socket.send("store_sql", sql_id=5, sql="INSERT INTO t(a) VALUES ('x')")
    await socket.send("execute", stream_id=0, stmt={"sql_id": 5})
    await socket.send("close_sql", sql_id=5)
    await socket.send("store_sql", sql_id=5, sql="SELECT a FROM t")
    await socket.send("execute", stream_id=0, stmt={"sql_id": 5})
    await socket.send("close_stream", stream_id=0)
    assert await socket.hear() == {"type": "hello_ok"}
    answers = {answer["request_id"]: answer for answer in [await socket.hear() for _ in range(7)]}
    assert [answers[at]["response"]["type"] for at in range(1, 8)] == [
        *("open_stream", "store_sql", "execute", "close_sql", "store_sql", "execute", "close_stream"),
    ]
    assert answers[3]["response"]["result"]["affected_row_count"] == 1
    assert answers[6]["response"]["result"]["rows"] == [[{"type": "text", "value": "x"}]]


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        (("hrana2", "hrana1"), "hrana2"),
        (("hrana1", "hrana2"), "hrana2"),
        (("hrana3-protobuf", "hrana3", "hrana2", "hrana1"), "hrana3"),
        (("hrana1", "hrana9"), "hrana1"),
        ((), None),
    ],
)
async def test_the_best_subprotocol_is_chosen(client: Client, offered: tuple[str, ...], chosen: str | None) -> None:
    async with client.ws_connect("/", protocols=offered) as raw:
        assert raw.protocol == chosen
        await raw.send_str('{"type": "hello"}')
        assert json.loads((await raw.receive()).data) == {"type": "hello_ok"}


async def test_a_subprotocol_that_is_not_spoken_is_refused(client: Client) -> None:
    with pytest.raises(WSServerHandshakeError) as refused:
        await client.ws_connect("/", protocols=("hrana4",))
    assert refused.value.status == 400
    assert (await client.get("/")).status == 426


async def test_errors_of_sql_leave_the_connection_as_it_is(socket: Socket) -> None:
    await socket.ask("open_stream", stream_id=-1)
    assert (await socket.execute(-1, "SELEC"))["code"] == "SQL_PARSE_ERROR"
    assert (await socket.execute(-1, "SELECT 1"))["rows"] == [[integer(1)]]


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("{", 1007),
        ('"\ud800"', 1007),
        ("[]", 1008),
        ('{"type": "dance"}', 1008),
        (b"{}", 1003),
        ({"type": "request", "request_id": 1, "request": {"type": "open_stream", "stream_id": 1}}, 1008),
        ({"type": "execute", "stream_id": 2, "stmt": {"sql": "SELECT 1"}}, 1008),
        ({"type": "execute", "stream_id": 1, "stmt": {"sql_id": 3}}, 1008),
        ({"type": "close_stream", "stream_id": 2}, 1008),
        ({"type": "close", "stream_id": 1}, 1008),
        ({"type": "open_stream", "stream_id": 1 << 31}, 1008),
    ],
)
async def test_a_broken_protocol_closes(socket: Socket, message: Any, code: int) -> None:
    await socket.ask("open_stream", stream_id=1)
    if isinstance(message, bytes):
        await socket.raw.send_bytes(message)
    elif isinstance(message, str):
        await socket.raw.send_frame(message.encode("utf-8", "surrogatepass"), WSMsgType.TEXT)
    else:
        request = message.get("request", message)
        await socket.send(request.pop("type"), **request)
    assert await socket.closed() == code


async def test_hello_may_be_said_again(client: Client) -> None:
    socket = await connect(client, "hrana2")
    await socket.say({"type": "hello", "jwt": "whatever"})
    assert await socket.hear() == {"type": "hello_ok"}
    await socket.say({"type": "hello", "jwt": 1})
    assert await socket.closed() == 1008


@pytest.mark.parametrize("kind", ["hello", "sequence", "describe", "store_sql", "get_autocommit"])
async def test_what_is_not_of_the_first_version(client: Client, kind: str) -> None:
    socket = await connect(client, "hrana1")
    await socket.ask("open_stream", stream_id=1)
    assert (await socket.execute(1, "SELECT 1"))["rows"] == [[integer(1)]]
    if kind == "hello":
        await socket.say({"type": "hello"})
    else:
        await socket.send(kind, stream_id=1, sql_id=1, sql="SELECT 1")
    assert await socket.closed() == 1008


async def test_nothing_is_served_to_a_wrong_token(way: WriteThrough) -> None:
    async with listening(way, tokens=(SecretStr("secret"),)) as (_, client):
        for jwt in (None, "", "wrong"):
            socket = await connect(client, hello=False)
            await socket.say({"type": "hello", "jwt": jwt})
            await socket.send("open_stream", stream_id=1)
            await socket.send("execute", stream_id=1, stmt={"sql": "INSERT INTO t(a) VALUES ('x')"})
            refused = await socket.hear()
            assert (refused["type"], refused["error"]["code"][:5]) == ("hello_error", "AUTH_")
            assert await socket.closed() == 1008
        socket = await connect(client, jwt="secret")
        await socket.ask("open_stream", stream_id=1)
        assert (await socket.execute(1, "SELECT count(*) FROM t"))["rows"] == [[integer(0)]]


async def test_hello_comes_first_and_soon(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    socket = await connect(client, hello=False)
    await socket.send("open_stream", stream_id=1)
    assert await socket.closed() == 1008
    monkeypatch.setattr("cutover.hrana.websocket._HELLO_SECONDS", 0.02)
    assert await (await connect(client, hello=False)).closed() == 1008


async def test_ids_are_used_again_once_their_stream_is_closed(socket: Socket) -> None:
    for _ in range(3):
        for stream_id in (-(2**31), 2**31 - 1, 0):
            assert await socket.ask("open_stream", stream_id=stream_id) == {"type": "open_stream"}
        for stream_id in (0, -(2**31), 2**31 - 1):
            assert await socket.ask("close_stream", stream_id=stream_id) == {"type": "close_stream"}


async def test_a_transaction_gives_way_to_one_that_waits(sqlite_path: str) -> None:
    async with opened(sqlite_path, transaction_timeout=0.05) as way, listening(way) as (_, client):
        socket = await connect(client)
        for stream_id in (1, 2):
            await socket.ask("open_stream", stream_id=stream_id)
        await socket.execute(1, "BEGIN IMMEDIATE")
        assert (await socket.execute(2, "INSERT INTO t(a) VALUES ('x')"))["affected_row_count"] == 1
        assert (await socket.execute(1, "INSERT INTO t(a) VALUES ('y')"))["code"] == "TRANSACTION_TIMEOUT"
        assert await socket.ask("get_autocommit", stream_id=1) == {"type": "get_autocommit", "is_autocommit": True}


async def test_requests_are_tallied(way: WriteThrough, client: Client, door: tuple[FrontDoor, Client]) -> None:
    socket = await connect(client)
    await socket.ask("open_stream", stream_id=1)
    await socket.execute(1, "SELEC")
    (family,) = [found for found in door[0].front.sockets.metrics.requests.collect() if found.type == "counter"]
    told = {(sample.labels["endpoint"], sample.labels["code"]): sample.value for sample in family.samples}
    assert told == {("websocket", "ok"): 1, ("websocket", "error"): 1}
