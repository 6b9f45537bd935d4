"""Hostile clients at real sockets: whatever they send, or do not, others are answered and nothing of them stays."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator

import psutil
import pytest
from aiohttp import ClientSession, ClientTimeout, WSMsgType

from cutover.hrana.door import FrontDoor
from cutover.metrics import Metrics
from cutover.settings import FrontSettings
from cutover.write_through import WriteThrough
from tests.flow.test_front_door import CLOSE, execute, metrics, way
from tests.support.service import until

__all__ = ["metrics", "way"]

LIMITS = {
    "request_timeout": 0.6,
    "max_connections": 60,
    "max_request_bytes": 1_000_000,
    "max_waiting_bytes": 1_500_000,
    "max_streams": 40,
    "max_streams_per_client": 30,
    "stream_idle_timeout": 0.4,
}
SLACK = 16
"""Threads and descriptors that pools keep."""


class Hall:
    """A front door with low limits, and an honest client."""

    def __init__(self, door: FrontDoor, port: int, honest: ClientSession) -> None:
        self.door, self.port, self.honest = door, port, honest

    async def knock(self, data: bytes = b"") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(data)
        return reader, writer

    async def leave(self, *writers: asyncio.StreamWriter) -> None:
        for writer in writers:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def others_are_answered(self) -> None:
        """Reads and writes of somebody else, on a connection of before."""
        for sql in ("INSERT INTO t(a) VALUES (hex(randomblob(8)))", "SELECT count(*) FROM t"):
            async with self.honest.post("/v2/pipeline", json={"requests": [execute(sql), CLOSE]}) as response:
                assert response.status == 200
                assert (await response.json())["results"][0]["type"] == "ok"

    @property
    def connections(self) -> int:
        return len(self.door.front.watch)


@pytest.fixture
async def hall(way: WriteThrough, request: pytest.FixtureRequest) -> AsyncIterator[Hall]:
    """Fails if anything is left of the guests. A parameter changes limits."""
    limits = FrontSettings.model_validate(LIMITS | getattr(request, "param", {}))
    door = FrontDoor(way, limits, Metrics("test"))
    port = await door.listen("127.0.0.1", 0, shutdown_timeout=30)
    process = psutil.Process()
    async with ClientSession(f"http://127.0.0.1:{port}", timeout=ClientTimeout(total=20)) as honest:
        made = Hall(door, port, honest)
        await made.others_are_answered()
        before = process.num_fds(), process.num_threads()
        yield made
        await made.others_are_answered()
        await until(lambda: made.connections <= 1, "the end of all other connections")
        await until(lambda: len(door.front.streams) == 0, "the end of all streams")
        assert door.front.waiting.held == 0
        await until(
            lambda: process.num_fds() <= before[0] + SLACK and process.num_threads() <= before[1] + SLACK,
            "as many descriptors and threads as before",
        )
    await door.close()


async def rest(reader: asyncio.StreamReader, patience: float = 20) -> bytes:
    """What comes until the connection ends, however it does, or its client loses patience."""
    found = b""
    with contextlib.suppress(ConnectionError, TimeoutError):
        async with asyncio.timeout(patience):
            while piece := await reader.read(65536):
                found += piece
    return found


def head(length: int, path: str = "/v2/pipeline", *more: str) -> bytes:
    return "\r\n".join([f"POST {path} HTTP/1.1", "host: x", f"content-length: {length}", *more, "", ""]).encode()


def pipeline(*requests: dict[str, object], baton: str | None = None) -> bytes:
    body = json.dumps({"baton": baton, "requests": requests}).encode()
    return head(len(body)) + body


SELECT = pipeline(execute("SELECT 1"), CLOSE)
UNFINISHED = [
    b"",
    b"P",
    SELECT[:20],
    SELECT[:-1],
    b"GET /version HTT",
    b"GET /version HTTP/1.1\r\nhost: x\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS
    head(1000, "/v3/cursor") + b"{",
    head(500_000) + b"{",
    b"POST /v2/pipeline HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{    \r\n",
    b"GET / HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\n",
]


async def test_those_who_never_finish_are_let_go(hall: Hall) -> None:
    opened = [await hall.knock(data) for data in UNFINISHED]
    await hall.others_are_answered()
    answers = await asyncio.gather(*(rest(reader) for reader, _ in opened))
    for data, found in zip(UNFINISHED, answers, strict=True):
        assert found == b"" or found.split()[1] in (b"408", b"400", b"503"), (data, found)
    assert b"REQUEST_TIMEOUT" in answers[3]
    await hall.leave(*(writer for _, writer in opened))


async def test_half_a_request_behind_a_whole_one_is_let_go_as_well(hall: Hall) -> None:
    reader, writer = await hall.knock(SELECT + SELECT[:-1])
    found = await rest(reader)
    assert found.startswith(b"HTTP/1.1 200 ")
    assert b"REQUEST_TIMEOUT" in found
    await hall.leave(writer)


async def dribble(hall: Hall, data: bytes, pause: float) -> bytes:
    """What is answered to a request that comes byte by byte."""
    reader, writer = await hall.knock()
    with contextlib.suppress(ConnectionError):
        for at in range(len(data)):
            writer.write(data[at : at + 1])
            await writer.drain()
            await asyncio.sleep(pause)
    found = await rest(reader) if pause else await reader.read(65536)
    await hall.leave(writer)
    return found


async def test_a_byte_at_a_time_that_is_late_is_not_waited_for(hall: Hall) -> None:
    found = await asyncio.gather(dribble(hall, SELECT, 0.01), dribble(hall, head(300, "/v3/cursor") + b" " * 300, 0.01))
    assert b"200 OK" not in b"".join(found)


@pytest.mark.parametrize("hall", [{"request_timeout": 60}], indirect=True, ids=["patient"])
async def test_a_byte_at_a_time_that_is_in_time_is_answered(hall: Hall) -> None:
    assert b"200 OK" in await dribble(hall, SELECT, 0)


BIG = (
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 30000) "
    "SELECT i, 'some text that makes it long, so that no kernel has room for several answers' FROM n"
)


def deaf(port: int, data: bytes) -> socket.socket:
    """A client that sends and never reads."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect(("127.0.0.1", port))
    client.sendall(data)
    client.setblocking(False)
    return client


async def test_those_who_do_not_take_their_answers_hold_up_nobody(hall: Hall) -> None:
    batch = {"steps": [{"stmt": {"sql": sql}} for sql in ("BEGIN IMMEDIATE", "DELETE FROM t", *[BIG] * 4)]}
    body = json.dumps({"batch": batch}).encode()
    guests = [
        deaf(hall.port, pipeline(execute(BIG), CLOSE) * 5),
        deaf(hall.port, pipeline(execute("BEGIN IMMEDIATE"), *[execute(BIG)] * 3)),
        deaf(hall.port, head(len(body), "/v3/cursor") + body),
    ]
    await until(lambda: hall.connections >= 4, "their connections")
    await hall.others_are_answered()
    await until(lambda: hall.connections <= 1, "their end")
    for guest in guests:
        guest.close()


async def test_a_socket_that_is_not_read(hall: Hall) -> None:
    async with ClientSession() as session:
        socket = await session.ws_connect(f"http://127.0.0.1:{hall.port}/", protocols=("hrana2",))
        await socket.send_json({"type": "hello"})
        await socket.send_json({"type": "request", "request_id": 0, "request": {"type": "open_stream", "stream_id": 0}})
        assert socket._reader is not None
        transport = socket._reader._protocol.transport  # type: ignore[union-attr]  # aiohttp reads ahead
        transport.pause_reading()
        for number in range(1, 9):
            request = {"type": "execute", "stream_id": 0, "stmt": {"sql": BIG}}
            await socket.send_json({"type": "request", "request_id": number, "request": request})
        await hall.others_are_answered()
        await until(lambda: hall.connections <= 1, "its end")


async def test_half_closed(hall: Hall) -> None:
    for data in (SELECT, SELECT[:-5], b"", b"GET /v", pipeline(execute("BEGIN IMMEDIATE"))):
        reader, writer = await hall.knock(data)
        writer.write_eof()
        await rest(reader)
        await hall.leave(writer)
    await hall.others_are_answered()


async def test_a_body_that_is_too_large_is_refused_before_it_comes(hall: Hall) -> None:
    reader, writer = await hall.knock(head(100 << 20) + b"{" * 1000)
    async with asyncio.timeout(60):
        answer = await reader.readuntil(b"}")
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"REQUEST_TOO_LARGE" in answer
    await hall.leave(writer)

    reader, writer = await hall.knock(b"POST /v2/pipeline HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
    sent = 0
    with contextlib.suppress(ConnectionError):
        while sent < 100 << 20:
            writer.write(b"10000\r\n" + b"{" * 0x10000 + b"\r\n")
            await writer.drain()
            sent += 0x10000
            if reader._buffer:  # type: ignore[attr-defined]  # an answer has come
                break
    assert sent < 50 << 20, "it is not read to its end"
    await hall.leave(writer)
    await hall.others_are_answered()


@pytest.mark.parametrize("hall", [{"request_timeout": 60}], indirect=True, ids=["patient"])
async def test_bodies_that_wait_have_a_sum(hall: Hall) -> None:
    modest = [await hall.knock(head(700_000) + b"{") for _ in range(10)]
    guests = [await hall.knock(head(700_000) + b" " * 699_999) for _ in range(2)]
    await until(lambda: hall.door.front.waiting.held > 1_390_000, "two bodies that have come, but for a byte")
    for path in ("/v2/pipeline", "/v3/cursor"):
        reader, writer = await hall.knock(head(120_000, path) + b"{")
        answer = await rest(reader)
        assert answer.startswith(b"HTTP/1.1 503")
        assert b"etry-" in answer
        assert b"no room for another request" in answer
        await hall.leave(writer)
    await hall.others_are_answered()
    await hall.leave(*(writer for _, writer in guests + modest))


async def test_too_many_connections(hall: Hall) -> None:
    guests = [await hall.knock(SELECT) for _ in range(59)]  # whoever has asked once may stay
    await until(lambda: hall.connections == 60, "all connections")
    for _ in range(3):
        reader, writer = await hall.knock(SELECT)
        answer = await rest(reader)
        assert answer == b"" or answer.startswith(b"HTTP/1.1 503"), answer
        await hall.leave(writer)
    await hall.others_are_answered()
    await hall.leave(*(writer for _, writer in guests))
    await until(lambda: hall.connections <= 1, "room")
    reader, writer = await hall.knock(SELECT)
    assert b"200 OK" in await reader.read(100)
    await hall.leave(writer)


@pytest.mark.parametrize("hall", [{"stream_idle_timeout": 600}], indirect=True, ids=["patient"])
async def test_tiny_streams_are_bounded(hall: Hall) -> None:
    async def open_one() -> int:
        async with hall.honest.post("/v2/pipeline", json={"requests": []}) as response:
            assert response.status == 200 or response.headers["retry-after"] == "1"
            return response.status

    found = [await open_one() for _ in range(45)]
    assert found == [200] * 30 + [429] * 15
    streams = hall.door.front.streams
    assert len(streams) <= 30
    streams._idle_timeout = 0.05
    streams._schedule()
    await until(lambda: len(streams) == 0, "their expiry")
    assert await open_one() == 200
    async with hall.honest.post("/v3/cursor", json={"batch": {"steps": []}}) as response:
        assert response.status == 200


async def test_streams_of_a_socket_are_bounded(hall: Hall) -> None:
    async with hall.honest.ws_connect("/", protocols=("hrana2",)) as socket:
        await socket.send_json({"type": "hello"})
        for number in range(50):
            request = {"type": "open_stream", "stream_id": number}
            await socket.send_json({"type": "request", "request_id": number, "request": request})
        answers = [json.loads((await socket.receive()).data) for _ in range(51)]
        codes = [answer["error"]["code"] if "error" in answer else None for answer in answers[1:]]
        assert codes == [None] * 30 + ["SQLITE_BUSY"] * 20
        request = {"type": "execute", "stream_id": 3, "stmt": {"sql": "SELECT 1"}}
        await socket.send_json({"type": "request", "request_id": 99, "request": request})
        assert json.loads((await socket.receive()).data)["type"] == "response_ok"


@pytest.mark.parametrize("hall", [{"stream_idle_timeout": 30}], indirect=True, ids=["patient"])
async def test_batons_that_are_forged_or_come_again(hall: Hall) -> None:
    async def ask(baton: object, *requests: dict[str, object]) -> tuple[int, object]:
        body = {"baton": baton, "requests": requests}
        async with hall.honest.post("/v2/pipeline", json=body) as response:
            return response.status, await response.json(content_type=None) if response.status == 200 else None

    _, first = await ask(None, execute("BEGIN IMMEDIATE"))
    baton = str(first["baton"])  # type: ignore[index]  # an answer
    for at in range(len(baton)):
        forged = baton[:at] + ("A" if baton[at] != "A" else "B") + baton[at + 1 :]
        status, answer = await ask(forged, execute("SELECT 1"))
        assert status == 400 or at == len(baton) - 1, "the last character may hold bits that mean nothing"
        baton = answer["baton"] if status == 200 else baton  # type: ignore[index]  # an answer
    for odd in ("", "=", baton[:-4], baton * 2, "\ud7ff" * 10, 5, [], {}):
        assert (await ask(odd))[0] == 400
    _, newest = await ask(baton, execute("SELECT 1"))
    assert (await ask(baton, execute("ROLLBACK")))[0] == 400, "it was used already, and its stream lives on"
    baton = str(newest["baton"])  # type: ignore[index]  # an answer
    status, last = await ask(baton, execute("INSERT INTO t(a) VALUES ('kept')"), execute("COMMIT"), CLOSE)
    assert [result["type"] for result in last["results"]] == ["ok"] * 3  # type: ignore[index]  # an answer
    assert (await ask(baton))[0] == 400


WRONG_HEADS = [
    b"\r\n" * 100,
    b"\x00" * 100 + b"\r\n\r\n",
    b"GET\r\n\r\n",
    b"POST /v2/pipeline HTTP/9.9\r\nhost: x\r\n\r\n",
    b"POST /v2/pipeline HTTP/1.1\r\nhost x\r\n\r\n",
    b"POST /v2/pipeline HTTP/1.1\r\nhost: x\r\ncontent-length: -5\r\n\r\n",
    b"POST /v2/pipeline HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n123456",
    b"POST /v2/pipeline HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999999999999\r\n\r\n{}",
    b"POST /v2/pipeline HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST /v2/pipeline HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nZZ\r\n{}\r\n",
    b"POST /v2/pipeline HTTP/1.1\r\n" + b"x: y\r\n" * 20_000 + b"\r\n",
    b"POST /v2/pipeline HTTP/1.1\r\nx: " + b"y" * 200_000 + b"\r\n\r\n",
    b"POST /" + b"x" * 100_000 + b" HTTP/1.1\r\nhost: x\r\n\r\n",
    b"POST /v2/pipeline HTTP/1.1\r\nhost: x\r\nauthorization: \xff\xfe\r\ncontent-length: 2\r\n\r\n{}",
    SELECT.replace(b"\r\n", b"\n"),
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
]


async def test_what_is_not_http(hall: Hall) -> None:
    async def send(data: bytes) -> bytes:
        reader, writer = await hall.knock(data)
        with contextlib.suppress(ConnectionError):
            await writer.drain()
        found = await rest(reader, 1)  # after some of these the connection stays open
        await hall.leave(writer)
        return found

    answers = await asyncio.gather(*(send(data) for data in WRONG_HEADS))
    for data, found in zip(WRONG_HEADS, answers, strict=True):
        status = found.split()[1] if found else b""
        assert status in (b"", b"400", b"404", b"405", b"408", b"413", b"505"), (data[:80], found[:200])
    await hall.others_are_answered()


async def test_many_requests_in_one_packet_are_answered_in_order(hall: Hall) -> None:
    requests = [pipeline(execute(f"SELECT {number}"), CLOSE) for number in range(200)]
    requests.insert(100, b"GET /version HTTP/1.1\r\nhost: x\r\n\r\n")
    reader, writer = await hall.knock(b"".join(requests))
    found = b""
    async with asyncio.timeout(60):
        while found.count(b"HTTP/1.1 200 OK") < 201 or b'"199"' not in found:
            found += await reader.read(1 << 20)
    places = [found.index(f'"value":"{number}"'.encode()) for number in range(200)]
    assert places == sorted(places)
    await hall.leave(writer)


DEEP: list[bytes] = [
    b"[" * 100_000,
    b'{"requests":' * 10_000,
    b'{"requests":[' + b"[" * 500 + b"]" * 500 + b"]}",
    b'{"requests":[{"type":"batch","batch":{"steps":[{"stmt":{"sql":"SELECT 1"},"condition":'
    + b'{"type":"not","cond":' * 300
    + b'{"type":"ok","step":0}'
    + b"}" * 300
    + b"}]}}]}",
    json.dumps({"requests": [execute("SELECT " + "(" * 5000 + "1" + ")" * 5000)]}).encode(),
    json.dumps({"requests": [execute("SELECT " + "-" * 20_000 + "1")]}).encode(),
    json.dumps({"requests": [execute("SELECT 1" + " UNION SELECT 1" * 2000)]}).encode(),
    json.dumps({"requests": [execute("SELECT ?", *[{"type": "null"}] * 40_000)]}).encode(),
    json.dumps({"requests": [{"type": "get_autocommit"}] * 10_001}).encode(),
]


@pytest.mark.parametrize("path", ["/v2/pipeline", "/v3/pipeline", "/v3/cursor", "/v1/execute", "/v1/batch"])
async def test_what_is_too_deep_or_too_much(hall: Hall, path: str) -> None:
    for body in DEEP:
        async with hall.honest.post(path, data=body) as response:
            text = await response.text()
            assert response.status in (200, 400, 413), text[:200]
            assert "OUTCOME_UNKNOWN" not in text


async def test_more_requests_than_a_pipeline_may_have(hall: Hall) -> None:
    async with hall.honest.post("/v3/pipeline", data=DEEP[-1]) as response:
        assert response.status == 413
        assert (await response.json())["code"] == "REQUEST_TOO_LARGE"


async def test_a_socket_that_says_nonsense(hall: Hall) -> None:
    async with ClientSession(f"http://127.0.0.1:{hall.port}") as session:
        for text in (
            b"\xff\xfe",
            b"",
            b"[" * 100_000,
            b'{"type":"hello"}' * 2,
            b'{"type":5}',
            b'{"type":"hello","jwt":[]}',
        ):
            async with session.ws_connect("/", protocols=("hrana2",)) as socket:
                await socket.send_str(text.decode("latin-1"))
                await socket.send_bytes(text)
                async with asyncio.timeout(60):
                    while (await socket.receive()).type not in (WSMsgType.CLOSE, WSMsgType.CLOSED, WSMsgType.ERROR):
                        await hall.others_are_answered()
