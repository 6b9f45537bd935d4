"""The short way in, byte by byte: what is ordinary is answered there, anything else by aiohttp, and both alike."""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cutover.hrana.door import FrontDoor
from cutover.hrana.heads import read_head
from cutover.metrics import Metrics
from cutover.settings import FrontSettings
from cutover.write_through import WriteThrough
from tests.support.front import eventually, opened

LARGEST = 1 << 17


@pytest.fixture
async def way(sqlite_path: str) -> AsyncIterator[WriteThrough]:
    async with opened(sqlite_path, hold_timeout=60) as way:
        yield way


@pytest.fixture
async def front(way: WriteThrough) -> AsyncIterator[tuple[FrontDoor, int]]:
    front = FrontDoor(way, FrontSettings(), Metrics("test"))
    port = await front.listen("127.0.0.1", 0, shutdown_timeout=30)
    yield front, port
    await front.close()


def body(sql: str) -> bytes:
    return json.dumps({"requests": [{"type": "execute", "stmt": {"sql": sql}}, {"type": "close"}]}).encode()


def head(length: int, *headers: str, path: str = "/v2/pipeline", host: bool = True) -> bytes:
    lines = [f"POST {path} HTTP/1.1", *(["host: x"] if host else []), f"content-length: {length}", *headers]
    return "\r\n".join([*lines, "", ""]).encode()


def request(sql: str, *headers: str) -> bytes:
    return head(len(body(sql)), *headers) + body(sql)


async def read_answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    raw = (await reader.readuntil(b"\r\n\r\n")).decode()
    first, *lines = raw.rstrip().split("\r\n")
    headers = {line.partition(":")[0].lower(): line.partition(":")[2].strip() for line in lines}
    if headers.get("transfer-encoding") == "chunked":
        found = b""
        while size := int((await reader.readline()).strip(), 16):
            found += (await reader.readexactly(size + 2))[:-2]
        await reader.readexactly(2)
    else:
        found = await reader.readexactly(int(headers["content-length"]))
    return int(first.split()[1]), headers, found


def value(found: bytes) -> object:
    return json.loads(found)["results"][0]["response"]["result"]["rows"][0][0]["value"]


@pytest.mark.parametrize(
    "raw",
    [
        head(5, path="/v3/cursor"),
        head(5, path="/v2/pipeline?x=1"),
        head(5, "transfer-encoding: chunked"),
        head(5, "content-length: 5"),
        head(5, "Expect: 100-continue"),
        head(5, "connection: close"),
        head(5, "connection: upgrade"),
        head(5, host=False),
        head(LARGEST + 1),
        head(5).replace(b"content-length: 5", b"content-length: +5"),
        head(5).replace(b"content-length: 5", b"content-length : 5"),
        head(5).replace(b"content-length: 5", b"content-length: 5, 5"),
        head(5).replace(b"HTTP/1.1", b"HTTP/1.0"),
        head(5, "x: a\x00b"),
        head(5, " folded: line"),
        head(5).replace(b"\r\n", b"\n"),
    ],
)
def test_what_is_not_ordinary(raw: bytes) -> None:
    assert read_head(raw, LARGEST) is None


def test_what_is_ordinary() -> None:
    found = read_head(head(17, "Authorization: Bearer  x ", "X-Request-ID: 7", "connection: Keep-Alive"), LARGEST)
    assert found is not None
    assert (found.endpoint, found.version, found.length) == ("/v2/pipeline", 2, 17)
    assert found.headers["authorization"] == "Bearer  x"
    assert found.headers["x-request-id"] == "7"


def test_a_head_that_differs_in_its_length_alone_is_known() -> None:
    known = read_head(head(17, "content-type: application/json"), LARGEST)
    assert known is not None
    for length in (0, 7, 99, LARGEST):
        assert known.length_in(head(length, "content-type: application/json"), LARGEST) == length


@pytest.mark.parametrize(
    "raw",
    [
        head(LARGEST + 1),
        head(17, "x: 17"),
        head(17, path="/v3/pipeline"),
        *(
            head(17).replace(b": 17", value)
            for value in (b": ", b": +5", b": 5, 5", b": 5\r\nexpect: x", b": 1234567890")
        ),
    ],
)
def test_a_head_that_differs_in_more_is_read(raw: bytes) -> None:
    known = read_head(head(17), LARGEST)
    assert known is not None
    assert known.length_in(raw, LARGEST) is None


async def test_bodies_of_many_lengths_on_one_connection(front: tuple[FrontDoor, int]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", front[1])
    for length in (1, 2, 2, 90, 1, 900, 901):
        writer.write(request(f"SELECT length('{'x' * length}')"))
        assert value((await read_answer(reader))[2]) == str(length)
    writer.close()


async def test_a_connection_is_let_in_anew_when_the_tokens_were_read_again(way: WriteThrough, tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text("shop ro read-secret\n")
    front = FrontDoor(way, FrontSettings(token_file=str(file)), Metrics("test"))
    port = await front.listen("127.0.0.1", 0, shutdown_timeout=30)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    async def ask(sql: str) -> tuple[int, bytes]:
        writer.write(request(sql, "authorization: Bearer read-secret"))
        status, _, found = await read_answer(reader)
        return status, found

    for _ in range(2):
        assert b"SQLITE_READONLY" in (await ask("DELETE FROM t"))[1]
    file.write_text("shop rw read-secret\n")
    front.front.reload()
    for _ in range(2):
        assert b"affected_row_count" in (await ask("DELETE FROM t"))[1]
    file.write_text("other rw other-secret\n")
    front.front.reload()
    for _ in range(2):
        assert (await ask("DELETE FROM t"))[0] == 401
    writer.close()
    await front.close()


async def test_every_way_of_cutting_a_request_gives_the_same_answer(front: tuple[FrontDoor, int]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", front[1])
    raw = request("SELECT 'cut'")
    for at in range(1, len(raw), 7):
        for part in (raw[:at], raw[at:]):
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0)
        status, _, found = await read_answer(reader)
        assert (status, value(found)) == (200, "cut")
    writer.close()


async def test_requests_sent_ahead_are_answered_in_order(front: tuple[FrontDoor, int]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", front[1])
    writer.write(b"".join(request(f"SELECT 'n{at}'") for at in range(2000)))
    for at in range(2000):
        assert value((await read_answer(reader))[2]) == f"n{at}"
    writer.close()


async def test_a_connection_goes_on_with_aiohttp_in_the_middle(front: tuple[FrontDoor, int]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", front[1])
    writer.write(request("SELECT 'short'") + b"GET /v3 HTTP/1.1\r\nhost: x\r\n\r\n" + request("SELECT 'long'"))
    assert value((await read_answer(reader))[2]) == "short"
    assert (await read_answer(reader))[0] == 200
    assert value((await read_answer(reader))[2]) == "long"
    chunk = body("SELECT 'chunk'")
    writer.write(b"POST /v2/pipeline HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
    writer.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(chunk), chunk))
    assert value((await read_answer(reader))[2]) == "chunk"
    writer.close()


async def test_a_large_body_is_served_as_well(front: tuple[FrontDoor, int]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", front[1])
    text = "x" * (2 * LARGEST)
    writer.write(request(f"SELECT length('{text}')"))
    assert value((await read_answer(reader))[2]) == str(2 * LARGEST)
    writer.close()


@pytest.mark.parametrize("raw", [b"\x16\x03\x01\x02\x00", b"NONSENSE\r\n\r\n", b"POST /v2/pipeline HTTP/9.9\r\n\r\n"])
async def test_nonsense_is_refused_and_closed(front: tuple[FrontDoor, int], raw: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", front[1])
    writer.write(raw + b"\r\n\r\n")
    assert b" 400 " in await asyncio.wait_for(reader.read(), 60)
    writer.close()


async def test_a_write_whose_client_left_while_it_was_held_is_not_made(
    front: tuple[FrontDoor, int], way: WriteThrough, sqlite_path: str
) -> None:
    await way.hold(0)
    _, writer = await asyncio.open_connection("127.0.0.1", front[1])
    writer.write(request("INSERT INTO t(a) VALUES ('nobody')"))
    await eventually("the write is held", lambda: way.held)
    writer.close()
    await eventually("the write is forgotten", lambda: not way.held)
    await way.resume(way.member, way.epoch)
    reader, writer = await asyncio.open_connection("127.0.0.1", front[1])
    writer.write(request("INSERT INTO t(a) VALUES ('somebody')"))
    assert (await read_answer(reader))[0] == 200
    writer.close()
    db = sqlite3.connect(sqlite_path)
    assert db.execute("SELECT a FROM t").fetchall() == [("somebody",)]
    db.close()


async def test_closing_answers_what_runs_and_ends_what_rests(front: tuple[FrontDoor, int], way: WriteThrough) -> None:
    idle, idle_writer = await asyncio.open_connection("127.0.0.1", front[1])
    await way.hold(0)
    reader, writer = await asyncio.open_connection("127.0.0.1", front[1])
    writer.write(request("INSERT INTO t(a) VALUES ('last')"))
    await eventually("the write is held", lambda: way.held)
    closing = asyncio.ensure_future(front[0].close())
    assert await idle.read() == b""
    await way.resume(way.member, way.epoch)
    status, headers, _ = await read_answer(reader)
    assert (status, headers["connection"]) == (200, "close")
    assert await reader.read() == b""
    await closing
    for end in (writer, idle_writer):
        end.close()


async def test_a_fenced_write_takes_the_long_way_and_is_told_so(front: tuple[FrontDoor, int], sqlite_path: str) -> None:
    db = sqlite3.connect(sqlite_path)
    db.execute("CREATE TRIGGER f BEFORE INSERT ON t BEGIN SELECT RAISE(ROLLBACK, 'cutover: elsewhere'); END")
    db.close()
    reader, writer = await asyncio.open_connection("127.0.0.1", front[1])
    writer.write(request("INSERT INTO t(a) VALUES ('x')") + request("SELECT count(*) FROM t"))
    error = json.loads((await read_answer(reader))[2])["results"][0]["error"]
    assert (error["code"], error["message"]) == ("SQLITE_BUSY", "cutover: elsewhere")
    assert value((await read_answer(reader))[2]) == "0"
    writer.close()


async def test_wrong_requests_sent_ahead_are_all_answered(front: tuple[FrontDoor, int]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", front[1])
    writer.write((head(2) + b"[]") * 3000 + request("SELECT 'still here'"))
    for _ in range(3000):
        assert (await read_answer(reader))[0] == 400
    assert value((await read_answer(reader))[2]) == "still here"
    writer.close()


@pytest.mark.parametrize("sql", ["INSERT INTO t (a) VALUES (1), (2)", "UPDATE t SET a = -1", "DELETE FROM t"])
async def test_a_write_is_answered_alike_by_the_lane_and_by_aiohttp(front: tuple[FrontDoor, int], sql: str) -> None:
    async def answer(sql: str, path: str) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", front[1])
        writer.write(head(len(body(sql)), path=path) + body(sql))
        _, _, found = await read_answer(reader)
        writer.close()
        return found

    alike = []
    for path in ("/v2/pipeline", "/v2/pipeline?handed=over"):
        await answer("DROP TABLE IF EXISTS t", "/v2/pipeline")
        await answer("CREATE TABLE t (id INTEGER PRIMARY KEY, a)", "/v2/pipeline")
        await answer("INSERT INTO t VALUES (-7, 1), (11, 1)", "/v2/pipeline")
        alike.append(await answer(sql, path))
    assert alike[0] == alike[1]
    assert b'"affected_row_count":2' in alike[0]
