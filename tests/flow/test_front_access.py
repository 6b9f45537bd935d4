"""Tokens at the front door: what a reader may not do, and what no baton can do for another token."""

import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType

from cutover.hrana.door import FrontDoor
from cutover.metrics import Metrics
from cutover.settings import FrontSettings
from cutover.write_through import WriteThrough
from tests.flow.test_front_door import CLOSE, Client, Open, answer, code, door, execute, integer, metrics, way

__all__ = ["door", "metrics", "way"]

WRITES = (
    "INSERT INTO t(a) VALUES ('x')",
    "INSERT INTO t(a) VALUES ('x') RETURNING id",
    "WITH x AS (SELECT 1 AS a) INSERT INTO t(a) SELECT a FROM x",
    "REPLACE INTO t(a) VALUES ('x')",
    "UPDATE t SET a = 'x' WHERE 0",
    "DELETE FROM t",
    "CREATE TABLE x (a)",
    "DROP TABLE IF EXISTS x",
    "ALTER TABLE t ADD COLUMN x",
    "ANALYZE",
    "REINDEX t",
    "PRAGMA user_version = 3",
    "BEGIN IMMEDIATE",
    "BEGIN EXCLUSIVE",
    "/* SELECT */ DELETE FROM t",
)
READS = (
    "SELECT count(*) FROM t",
    "PRAGMA user_version",
    "EXPLAIN DELETE FROM t",
    "WITH x AS (SELECT 1) SELECT * FROM x",
    "PRAGMA table_info(t)",
)


@pytest.fixture
async def reader(door: Open, tmp_path: Path) -> Client:
    file = tmp_path / "tokens"
    file.write_text("shop rw write-secret\nreports ro read-secret\n")
    client = await door(token_file=str(file))
    client.headers["authorization"] = "Bearer read-secret"
    return client


def as_writer(client: Client) -> Client:
    client.headers["authorization"] = "Bearer write-secret"
    return client


async def test_a_reader_reads_and_writes_nothing(reader: Client) -> None:
    found = await answer(reader, *(execute(sql) for sql in (*WRITES, *READS)), CLOSE)
    for sql, result in zip(WRITES, found["results"], strict=False):
        assert code(result) == "SQLITE_READONLY", sql
        assert result["error"]["message"] == "The token reports may only read; nothing was executed."
    assert [result["type"] for result in found["results"][len(WRITES) :]] == ["ok"] * (len(READS) + 1)


async def test_a_reader_in_a_transaction(reader: Client) -> None:
    first = await answer(reader, execute("BEGIN"), *(execute(sql) for sql in WRITES), execute("SAVEPOINT x"))
    codes = [code(result) for result in first["results"][1:-1]]
    assert codes == ["SQLITE_READONLY"] * len(WRITES)
    last = await answer(reader, *(execute(sql) for sql in READS), execute("COMMIT"), CLOSE, baton=first["baton"])
    assert [result["type"] for result in last["results"]] == ["ok"] * (len(READS) + 2)
    written = await answer(as_writer(reader), execute("INSERT INTO t(a) VALUES ('x')"), CLOSE)
    assert written["results"][0]["type"] == "ok", "its connection is an ordinary one again"


def batch(*texts: str) -> dict[str, Any]:
    return {"steps": [{"stmt": {"sql": sql}} for sql in texts]}


async def test_nothing_of_a_readers_batch_or_script_runs_that_would_write(reader: Client) -> None:
    texts = ("BEGIN", "SELECT 1", "INSERT INTO t(a) VALUES ('x')", "COMMIT")
    found = await answer(
        reader,
        {"type": "batch", "batch": batch(*texts)},
        {"type": "sequence", "sql": "; ".join(texts)},
        {"type": "store_sql", "sql_id": 1, "sql": WRITES[0]},
        {"type": "execute", "stmt": {"sql_id": 1}},
        {"type": "describe", "sql": WRITES[0]},
        {"type": "get_autocommit"},
        version=3,
    )
    kinds = [result["type"] for result in found["results"]]
    assert kinds == ["error", "error", "ok", "error", "ok", "ok"]
    assert {code(result) for result in found["results"] if result["type"] == "error"} == {"SQLITE_READONLY"}
    assert found["results"][-1]["response"]["is_autocommit"]
    for path, body in (("/v1/execute", {"stmt": {"sql": WRITES[0]}}), ("/v1/batch", {"batch": batch(*texts)})):
        response = await reader.post(path, json=body)
        assert (response.status, (await response.json())["code"]) == (400, "SQLITE_READONLY")
    response = await reader.post("/v3/cursor", json={"batch": batch(*texts)})
    assert '"code":"SQLITE_READONLY"' in await response.text()
    counted = await answer(reader, execute("SELECT count(*) FROM t"), CLOSE)
    assert counted["results"][0]["response"]["result"]["rows"] == [[integer(0)]]


async def test_a_baton_is_of_its_token(reader: Client) -> None:
    begun = await answer(as_writer(reader), execute("BEGIN IMMEDIATE"), execute("INSERT INTO t(a) VALUES ('x')"))
    reader.headers["authorization"] = "Bearer read-secret"
    stolen = await reader.post("/v2/pipeline", json={"baton": begun["baton"], "requests": [execute("SELECT 1")]})
    assert (stolen.status, await stolen.text()) == (400, "Received an invalid baton.")
    last = await answer(as_writer(reader), execute("COMMIT"), CLOSE, baton=begun["baton"])
    assert last["results"][0]["type"] == "ok"


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, "AUTH_HTTP_HEADER_MISSING"),
        ("Basic x", "AUTH_HTTP_HEADER_UNSUPPORTED_SCHEME"),
        ("Bearer", "AUTH_JWT_MISSING"),
        ("Bearer wrong-secret", "AUTH_INVALID"),
    ],
)
async def test_who_is_not_let_in(door: Open, tmp_path: Path, header: str | None, expected: str) -> None:
    file = tmp_path / "tokens"
    file.write_text("right-secret\n")
    client = await door(token_file=str(file))
    headers = {} if header is None else {"authorization": header}
    for path in ("/v2/pipeline", "/v3/pipeline", "/v3/cursor", "/v1/execute", "/v1/batch"):
        response = await client.post(path, data=b"not even JSON", headers=headers)
        assert (response.status, response.headers["www-authenticate"]) == (401, "Bearer")
        assert response.headers["content-type"] == "application/json"
        body = await response.json()
        assert set(body) == {"error", "message", "code"}
        assert body["code"] == expected
        assert "secret" not in str(body)


async def test_a_socket_is_let_in_by_its_hello_and_only_as_long_as_its_token_is_good(
    way: WriteThrough, tmp_path: Path
) -> None:
    file = tmp_path / "tokens"
    file.write_text("shop rw write-secret\nreports ro read-secret\n")
    front = FrontDoor(way, FrontSettings(token_file=str(file)), Metrics("test"))
    port = await front.listen("127.0.0.1", 0, shutdown_timeout=30)
    async with ClientSession(f"http://127.0.0.1:{port}") as client:

        async def hello(jwt: object) -> tuple[Any, ClientWebSocketResponse]:
            socket = await client.ws_connect("/", protocols=("hrana2",))
            await socket.send_json({"type": "hello", **({} if jwt is None else {"jwt": jwt})})
            return await socket.receive_json(), socket

        async def ask(socket: ClientWebSocketResponse, **request: object) -> Any:
            await socket.send_json({"type": "request", "request_id": 1, "request": {"stream_id": 1, **request}})
            return await socket.receive()

        for jwt, expected in ((None, "AUTH_JWT_MISSING"), ("", "AUTH_JWT_MISSING"), ("wrong-secret", "AUTH_INVALID")):
            said, socket = await hello(jwt)
            assert (said["type"], said["error"]["code"]) == ("hello_error", expected)
            assert "secret" not in str(said)
            assert (await socket.receive()).type is WSMsgType.CLOSE
        said, reading = await hello("read-secret")
        assert said == {"type": "hello_ok"}
        await ask(reading, type="open_stream")
        for sql, expected in (("SELECT 1", None), *((sql, "SQLITE_READONLY") for sql in WRITES)):
            answered = json.loads((await ask(reading, type="execute", stmt={"sql": sql})).data)
            assert answered.get("error", {}).get("code") == expected
        _, writing = await hello("write-secret")
        file.write_text("shop rw write-secret\n")
        front.front.reload()
        assert (await ask(writing, type="open_stream")).type is WSMsgType.TEXT
        closed = await reading.receive()
        assert (closed.type, closed.data, closed.extra) == (
            WSMsgType.CLOSE,
            1008,
            "The token of this socket is no longer valid.",
        )
    await front.close()


async def test_a_stream_whose_token_is_gone_holds_nothing(way: WriteThrough, tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text("shop rw write-secret\nother rw other-secret\nturned rw old-secret\n")
    front = FrontDoor(way, FrontSettings(token_file=str(file)), Metrics("test"))
    port = await front.listen("127.0.0.1", 0, shutdown_timeout=30)
    async with ClientSession(f"http://127.0.0.1:{port}") as client:

        async def ask(secret: str, sql: str, baton: str | None = None) -> tuple[int, Any]:
            body = {"baton": baton, "requests": [execute(sql)]}
            answered = await client.post("/v2/pipeline", json=body, headers={"authorization": f"Bearer {secret}"})
            return answered.status, json.loads(await answered.text()) if answered.status == 200 else None

        _, kept = await ask("old-secret", "BEGIN")
        _, begun = await ask("write-secret", "BEGIN IMMEDIATE")
        file.write_text("other rw other-secret\nturned rw new-secret\n")
        front.front.reload()
        assert (await ask("write-secret", "COMMIT", begun["baton"]))[0] == 401
        status, written = await ask("other-secret", "BEGIN IMMEDIATE")
        assert (status, written["results"][0]["type"]) == (200, "ok")
        status, gone_on = await ask("new-secret", "ROLLBACK", kept["baton"])
        assert (status, gone_on["results"][0]["type"]) == (200, "ok")
    await front.close()
