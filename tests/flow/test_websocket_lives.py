"""How sockets end, and what they may not do to others: clients that vanish, wait, flood, or do not listen."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import ClientSession as Client
from aiohttp import WSMsgType

from cutover.hrana.door import FrontDoor
from cutover.stores.sqlite.executor import SqliteExecutor
from cutover.write_through import WriteThrough
from tests.support.front import Socket, connect, eventually, listening, opened

ENDLESS = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT max(x) FROM n"
Door = tuple[FrontDoor, Client]


@pytest.fixture
async def way(sqlite_path: str) -> AsyncIterator[WriteThrough]:
    async with opened(sqlite_path) as way:
        yield way


@pytest.fixture
async def door(way: WriteThrough) -> AsyncIterator[Door]:
    async with listening(way) as found:
        yield found


@asynccontextmanager
async def dropped(client: Client) -> AsyncIterator[Socket]:
    """A socket whose TCP connection ends with the block, without a word."""
    async with Client(client._base_url) as own:  # no other way to end a connection so
        yield await connect(own)


async def begin(socket: Socket, stream_id: int, text: str = "x") -> None:
    await socket.ask("open_stream", stream_id=stream_id)
    assert "code" not in await socket.execute(stream_id, "BEGIN IMMEDIATE")
    assert "code" not in await socket.execute(stream_id, f"INSERT INTO t(a) VALUES ('{text}')")


def count_commits(way: WriteThrough) -> int:
    executor = way.member.executor
    assert isinstance(executor, SqliteExecutor)
    samples = executor._metrics.write_commit_seconds.collect()[0].samples
    return int(next(sample.value for sample in samples if sample.name.endswith("_count")))


def streams_of(door: Door) -> int:
    return len(door[0].front.streams)


@pytest.mark.parametrize("clean", [True, False])
async def test_a_client_that_goes_is_rolled_back_at_once(door: Door, clean: bool) -> None:
    if clean:
        socket = await connect(door[1])
        await begin(socket, 1)
        await socket.raw.close()
    else:
        async with dropped(door[1]) as socket:
            await begin(socket, 1)
    other = await connect(door[1])
    await other.ask("open_stream", stream_id=1)
    # Well within transaction_timeout, or this would be how the lock came free.
    async with asyncio.timeout(30):
        assert (await other.execute(1, "INSERT INTO t(a) VALUES ('x')"))["affected_row_count"] == 1
    await eventually("the stream is gone", lambda: streams_of(door) == 1)


@pytest.mark.parametrize("before", ["BEGIN IMMEDIATE", "BEGIN", "SELECT 1"])
async def test_what_runs_for_a_client_that_goes_is_cut_off(door: Door, before: str) -> None:
    async with dropped(door[1]) as socket:
        await socket.ask("open_stream", stream_id=1)
        await socket.execute(1, before)
        await socket.send("execute", stream_id=1, stmt={"sql": ENDLESS})
        await socket.send("execute", stream_id=1, stmt={"sql": "INSERT INTO t(a) VALUES ('never')"})
        assert (await socket.ask("store_sql", sql_id=1, sql="x"))["type"] == "store_sql"
    async with asyncio.timeout(60):
        await eventually("the stream is gone", lambda: streams_of(door) == 0)
    other = await connect(door[1])
    await other.ask("open_stream", stream_id=1)
    assert (await other.execute(1, "SELECT * FROM t"))["rows"] == []


async def test_who_waits_for_the_lock_and_goes_writes_nothing(door: Door) -> None:
    holder = await connect(door[1])
    await begin(holder, 1)
    async with dropped(door[1]) as socket:
        for stream_id, sql in enumerate(("BEGIN IMMEDIATE", "INSERT INTO t(a) VALUES ('y')")):
            await socket.ask("open_stream", stream_id=stream_id)
            await socket.send("execute", stream_id=stream_id, stmt={"sql": sql})
        assert (await socket.ask("store_sql", sql_id=1, sql="x"))["type"] == "store_sql"
    assert "code" not in await holder.execute(1, "COMMIT")
    await eventually("the streams are gone", lambda: streams_of(door) == 1)
    assert "code" not in await holder.execute(1, "BEGIN IMMEDIATE")
    assert "code" not in await holder.execute(1, "ROLLBACK")


async def test_a_stream_that_waits_for_a_lock_does_not_stop_its_holder_on_the_same_socket(door: Door) -> None:
    socket = await connect(door[1])
    await begin(socket, 1)
    await socket.ask("open_stream", stream_id=2)
    waiting = await socket.send("execute", stream_id=2, stmt={"sql": "INSERT INTO t(a) VALUES ('y')"})
    await socket.ask("open_stream", stream_id=3)
    assert (await socket.execute(3, "SELECT count(*) FROM t"))["rows"] == [[{"type": "integer", "value": "0"}]]
    commit = await socket.send("execute", stream_id=1, stmt={"sql": "COMMIT"})
    assert {(await socket.hear())["request_id"] for _ in range(2)} == {waiting, commit}


async def test_many_requests_of_a_stream_are_answered_in_order(door: Door) -> None:
    socket = await connect(door[1])
    await socket.ask("open_stream", stream_id=1)
    numbers = [await socket.send("execute", stream_id=1, stmt={"sql": f"SELECT {at}"}) for at in range(500)]
    answers = [await socket.hear() for _ in numbers]
    assert [answer["request_id"] for answer in answers] == numbers
    values = [int(answer["response"]["result"]["rows"][0][0]["value"]) for answer in answers]
    assert values == list(range(500))


async def test_writes_that_are_sent_ahead_share_commits(way: WriteThrough) -> None:
    async with listening(way) as (_, client):
        socket = await connect(client)
        await socket.ask("open_stream", stream_id=1)
        commits = count_commits(way)
        async with way.member.store.writer_turn:
            numbers = [
                await socket.send("execute", stream_id=1, stmt={"sql": f"INSERT INTO t(a) VALUES ('{at % 90}')"})
                for at in range(100)
            ]
            assert (await socket.ask("store_sql", sql_id=1, sql="x"))["type"] == "store_sql"  # all of them are read
        answers = [await socket.hear() for _ in numbers]
    assert count_commits(way) - commits < 50
    assert [answer["request_id"] for answer in answers] == numbers
    assert [answer.get("error", {}).get("code") for answer in answers] == [None] * 90 + ["SQLITE_CONSTRAINT"] * 10


async def test_streams_of_sockets_count_and_failed_ones_are_told_so(way: WriteThrough) -> None:
    async with listening(way, max_streams=2) as (door, client):
        socket = await connect(client)
        for stream_id in (1, 2):
            await socket.ask("open_stream", stream_id=stream_id)
        assert (await socket.ask("open_stream", stream_id=3))["code"] == "SQLITE_BUSY"
        assert (await socket.execute(3, "SELECT 1"))["code"] == "STREAM_NOT_OPEN"
        assert (await socket.ask("open_cursor", stream_id=3, cursor_id=3, batch={"steps": []}))[
            "code"
        ] == "STREAM_NOT_OPEN"
        assert (await socket.ask("fetch_cursor", cursor_id=3, max_count=1))["code"] == "CURSOR_NOT_OPEN"
        assert await socket.ask("close_cursor", cursor_id=3) == {"type": "close_cursor"}
        assert (await socket.ask("close_stream", stream_id=3)) == {"type": "close_stream"}
        assert (await socket.ask("close_stream", stream_id=2)) == {"type": "close_stream"}
        assert (await socket.ask("open_stream", stream_id=3)) == {"type": "open_stream"}
        await socket.raw.close()
        await eventually("the streams are gone", lambda: len(door.front.streams) == 0)


async def test_streams_that_fail_are_not_remembered_without_end(way: WriteThrough) -> None:
    async with listening(way, max_streams=1) as (_, client):
        socket = await connect(client)
        await socket.ask("open_stream", stream_id=-1)
        await socket.ask("open_stream", stream_id=-2)
        await socket.ask("close_stream", stream_id=-2)
        numbers = [await socket.send("open_stream", stream_id=stream_id) for stream_id in range(1001)]
        answers = [await socket.hear() for _ in numbers[1:]]
        assert {answer["error"]["code"] for answer in answers} == {"SQLITE_BUSY"}
        assert await socket.closed() == 1008


async def test_streams_of_sockets_do_not_expire(way: WriteThrough) -> None:
    async with listening(way, stream_idle_timeout=0.02) as (_, client):
        socket = await connect(client)
        await begin(socket, 1)
        posted = await client.post(
            "/v2/pipeline", data=json.dumps({"requests": [{"type": "execute", "stmt": {"sql": "SELECT 1"}}]})
        )
        baton = (await posted.json())["baton"]
        expired = await eventually_refused(client, baton)
        assert "STREAM_EXPIRED" in expired  # and the socket's stream has been idle for longer
        assert "code" not in await socket.execute(1, "COMMIT")


async def eventually_refused(client: Client, baton: str) -> str:
    """What a stream over HTTP is told once it has expired."""
    await asyncio.sleep(0.1)  # longer than it may be idle; any request would make it busy again
    posted = await client.post("/v2/pipeline", data=json.dumps({"baton": baton, "requests": []}))
    return await posted.text()


async def test_messages_up_to_the_limit_and_not_beyond(way: WriteThrough) -> None:
    async with listening(way, max_request_bytes=6_000_000) as (_, client):
        socket = await connect(client)
        await socket.ask("open_stream", stream_id=1)
        value = {"type": "text", "value": "x" * 5_500_000}
        assert (await socket.execute(1, "SELECT ?", value))["rows"] == [[value]]
    async with listening(way, max_request_bytes=50_000) as (_, client):
        socket = await connect(client)
        await socket.say({"type": "hello", "padding": "x" * 50_000})
        assert await socket.closed() == 1009


async def test_a_ping_is_answered(door: Door) -> None:
    socket = Socket(await door[1].ws_connect("/", protocols=("hrana2",), autoping=False))
    await socket.raw.ping(b"there?")
    pong = await socket.raw.receive()
    assert (pong.type, bytes(pong.data)) == (WSMsgType.PONG, b"there?")


async def test_a_client_that_does_not_listen_is_not_listened_to(door: Door) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", door[1]._base_url.port, limit=1024)  # type: ignore[union-attr]  # known above
    handshake = (
        "GET / HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13\r\n"
    )
    writer.write(f"{handshake}sec-websocket-key: {'A' * 22}==\r\n\r\n".encode())
    await reader.readuntil(b"\r\n\r\n")
    writer.transport.pause_reading()

    def frame(message: object) -> bytes:
        text = json.dumps(message).encode()
        return b"\x81\xfe" + len(text).to_bytes(2, "big") + b"\0\0\0\0" + text

    def request(kind: str, **fields: object) -> bytes:
        return frame({"type": "request", "request_id": 1, "request": {"type": kind, **fields}, "pad": "x" * 4000})

    writer.write(frame({"type": "hello", "pad": "x" * 4000}))
    writer.write(request("open_stream", stream_id=1))
    query = request("execute", stream_id=1, stmt={"sql": "SELECT hex(zeroblob(50000))"})
    writer.write(query * 5_000)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await writer.drain()
    (socket,) = door[0].front.sockets._open
    assert socket._answered < 500
    writer.transport.abort()
    await eventually("the stream is gone", lambda: streams_of(door) == 0)


async def test_shutting_down_answers_what_was_read_and_says_goodbye(way: WriteThrough) -> None:
    async with listening(way) as (door, client):
        socket = await connect(client)
        await socket.ask("open_stream", stream_id=1)
        await way.hold(0)
        held = await socket.send("execute", stream_id=1, stmt={"sql": "INSERT INTO t(a) VALUES ('x')"})
        await eventually("the write is held", lambda: way.held == 1)
        closing = asyncio.ensure_future(door.close())
        await way.drain(1)
        answer = await socket.hear()
        assert (answer["request_id"], answer["error"]["code"]) == (held, "SQLITE_BUSY")
        assert await socket.closed() == 1001
        await closing
        assert len(door.front.streams) == 0


async def test_what_was_sent_ahead_in_a_transaction_that_was_taken_away_does_not_run(sqlite_path: str) -> None:
    async with opened(sqlite_path, transaction_timeout=0.05) as way, listening(way) as (_, client):
        socket = await connect(client)
        for stream_id in (1, 2):
            await socket.ask("open_stream", stream_id=stream_id)
        await socket.execute(1, "BEGIN IMMEDIATE")
        await socket.execute(1, "INSERT INTO t(a) VALUES ('x')")
        await socket.execute(2, "INSERT INTO t(a) VALUES ('of another')")  # waits until the first is taken away
        for sql in ("INSERT INTO t(a) VALUES ('y')", "INSERT INTO t(a) VALUES ('z')", "COMMIT"):
            await socket.send("execute", stream_id=1, stmt={"sql": sql})
        codes = [(await socket.hear())["error"]["code"] for _ in range(3)]
        assert codes == ["TRANSACTION_TIMEOUT"] * 3
        await socket.execute(1, "INSERT INTO t(a) VALUES ('again')")
        found = await socket.execute(1, "SELECT group_concat(a) FROM t")
        assert found["rows"] == [[{"type": "text", "value": "of another,again"}]]
