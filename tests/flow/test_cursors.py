"""Cursors, over HTTP and on sockets: entries as the protocol has them, and results of any size in little memory."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import ClientSession

from cutover.hrana.cursor import Cursor
from cutover.hrana.door import FrontDoor
from cutover.stores.sqlite.executor import SqliteExecutor
from cutover.stores.sqlite.pieces import Patience, SqlitePieces
from cutover.write_through import WriteThrough
from tests.support.front import Json, connect, eventually, listening, opened

SCHEMA = """
CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT UNIQUE);
CREATE TABLE big (id INTEGER PRIMARY KEY, pad VARCHAR(500));
WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 8000)
INSERT INTO big SELECT x, printf('%.500c', 'x') FROM n;
"""
ALL = "SELECT id, pad FROM big ORDER BY id"
Door = tuple[FrontDoor, ClientSession]


@pytest.fixture
async def way(sqlite_path: str) -> AsyncIterator[WriteThrough]:
    async with opened(sqlite_path, SCHEMA) as way:
        yield way


@pytest.fixture
async def door(way: WriteThrough) -> AsyncIterator[Door]:
    async with listening(way) as found:
        yield found


def executor_of(way: WriteThrough) -> SqliteExecutor:
    executor = way.member.executor
    assert isinstance(executor, SqliteExecutor)
    return executor


def impatient(way: WriteThrough, rest: int) -> None:
    executor_of(way).patience = Patience(0.02, rest)


def body_of(*sql: str, baton: str | None = None) -> str:
    return json.dumps({"baton": baton, "batch": {"steps": [{"stmt": {"sql": text}} for text in sql]}})


async def ask(client: ClientSession, *sql: str, baton: str | None = None) -> tuple[Json, list[Json]]:
    """The first line and the entries."""
    async with client.post("/v3/cursor", data=body_of(*sql, baton=baton)) as answer:
        assert answer.status == 200, await answer.text()
        first, *entries = [json.loads(line) for line in (await answer.text()).splitlines()]
    return first, entries


async def run(client: ClientSession, baton: str, *requests: Json) -> Json:
    body = json.dumps({"baton": baton, "requests": requests})
    async with client.post("/v3/pipeline", data=body) as answer:
        found: Json = await answer.json()
    return found


def keys(entries: list[Json]) -> list[int]:
    return [int(entry["row"][0]["value"]) for entry in entries if entry["type"] == "row"]


def running(way: WriteThrough) -> list[SqlitePieces]:
    return [pieces for pieces in executor_of(way)._pieces if not pieces._task.done()]


async def test_a_large_result_is_all_there(door: Door) -> None:
    first, entries = await ask(door[1], ALL, "SELEC", "SELECT 'small'")
    assert keys(entries[:-4]) == list(range(1, 8001))
    assert entries[0] == {
        "type": "step_begin",
        "step": 0,
        "cols": [{"name": "id", "decltype": "INTEGER"}, {"name": "pad", "decltype": "VARCHAR(500)"}],
    }
    assert [entry["type"] for entry in entries[-5:]] == ["step_end", "step_error", "step_begin", "row", "step_end"]
    assert entries[-5] == {"type": "step_end", "affected_row_count": 0, "last_insert_rowid": None}
    assert (await run(door[1], first["baton"], {"type": "close"}))["baton"] is None


@pytest.mark.parametrize("sql", ["SELECT 'small'", ALL])
async def test_the_baton_is_good_once_the_last_entry_was_read(
    door: Door, sql: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client of Rust does not read the body to its end, and takes another connection."""
    at_once = Cursor.close

    async def slowly(cursor: Cursor) -> None:
        for _ in range(200):  # turns of the loop that the client has as well
            await asyncio.sleep(0)
        await at_once(cursor)

    monkeypatch.setattr(Cursor, "close", slowly)
    for _ in range(3):
        answer = await door[1].post("/v3/cursor", data=body_of(sql))
        baton = json.loads(await answer.content.readline())["baton"]
        while json.loads(await answer.content.readline())["type"] != "step_end":
            pass
        answer.close()
        found = await run(door[1], baton, {"type": "get_autocommit"}, {"type": "close"})
        assert [result["type"] for result in found["results"]] == ["ok", "ok"]


async def test_conditions_and_rows_that_are_not_wanted(door: Door) -> None:
    steps: list[Json] = [
        {"stmt": {"sql": ALL, "want_rows": False}},
        {"stmt": {"sql": "SELECT 1"}, "condition": {"type": "error", "step": 0}},
        {"stmt": {"sql": "SELECT ?", "args": []}},
        {"stmt": {"sql": "SELECT 2"}, "condition": {"type": "error", "step": 2}},
    ]
    async with door[1].post("/v3/cursor", data=json.dumps({"batch": {"steps": steps}})) as answer:
        entries = [json.loads(line) for line in (await answer.text()).splitlines()[1:]]
    found = [(entry["type"], entry.get("step")) for entry in entries]
    assert found == [
        *(("step_begin", 0), ("step_end", None), ("step_error", 2)),
        *(("step_begin", 3), ("row", None), ("step_end", None)),
    ]


async def test_rows_that_cannot_be_read_end_their_step_and_not_the_cursor(door: Door) -> None:
    poison = "SELECT CASE id WHEN 7000 THEN CAST(x'ff' AS TEXT) ELSE pad END, id FROM big ORDER BY id"
    _, entries = await ask(door[1], poison, "SELECT 1")
    kinds = [entry["type"] for entry in entries]
    assert kinds[-4:] == ["step_error", "step_begin", "row", "step_end"]
    assert "UTF-8" in entries[-4]["error"]["message"]


async def test_a_cursor_in_a_transaction_sees_it(door: Door) -> None:
    first, _ = await ask(door[1], "BEGIN", "INSERT INTO t(a) VALUES ('mine')")
    second, entries = await ask(door[1], "SELECT a FROM t", ALL, baton=first["baton"])
    assert entries[1] == {"type": "row", "row": [{"type": "text", "value": "mine"}]}
    assert len(entries) == 8000 + 5
    async with door[1].post("/v3/cursor", data=body_of("SELECT 1", baton=first["baton"])) as used:
        assert used.status == 400
    assert (await run(door[1], second["baton"], {"type": "get_autocommit"}, {"type": "close"}))["results"][0][
        "response"
    ] == {"type": "get_autocommit", "is_autocommit": False}


async def test_a_client_that_leaves_in_the_middle_ends_the_reading(door: Door, way: WriteThrough) -> None:
    answer = await door[1].post("/v3/cursor", data=body_of(ALL, "SELECT b.* FROM big, big AS b"))
    baton = json.loads(await answer.content.readline())["baton"]
    assert running(way)
    answer.close()
    await eventually("the reading ends", lambda: not running(way))
    async with door[1].post("/v3/pipeline", json={"baton": baton, "requests": [{"type": "close"}]}) as closed:
        assert closed.status == 200
    assert len(door[0].front.streams) == 0


async def test_a_snapshot_does_not_wait_for_a_slow_client(door: Door, way: WriteThrough) -> None:
    impatient(way, rest=100_000_000)
    async with door[1].post(
        "/v3/cursor", data=body_of("SELECT b.id, b.pad FROM (SELECT 1 FROM big LIMIT 3), big AS b")
    ) as answer:
        await answer.content.readline()
        await eventually("the reading ends", lambda: not running(way))
        rows = [line async for line in answer.content]
    assert len(rows) == 24_000 + 2


async def test_what_is_too_large_to_keep_is_given_up_and_said(door: Door, way: WriteThrough) -> None:
    impatient(way, rest=500_000)
    socket = await connect(door[1])
    await socket.ask("open_stream", stream_id=1)
    batch = {"steps": [{"stmt": {"sql": ALL}}]}
    assert await socket.ask("open_cursor", stream_id=1, cursor_id=1, batch=batch) == {"type": "open_cursor"}
    await eventually("the reading ends", lambda: not running(way))
    found = await fetch_all(socket, 1, 1000)
    assert found[-1]["type"] == "error"
    assert found[-1]["error"]["code"] == "RESPONSE_TOO_LARGE"
    assert keys(found) == list(range(1, len(keys(found)) + 1))


async def fetch_all(socket: Any, cursor_id: int, count: int) -> list[Json]:
    found: list[Json] = []
    while True:
        fetched = await socket.ask("fetch_cursor", cursor_id=cursor_id, max_count=count)
        assert len(fetched["entries"]) <= count
        found += fetched["entries"]
        if fetched["done"]:
            return found


async def test_cursors_on_a_socket(door: Door, way: WriteThrough) -> None:
    socket = await connect(door[1])
    await socket.ask("open_stream", stream_id=1)
    batch = {"steps": [{"stmt": {"sql": ALL}}, {"stmt": {"sql": "INSERT INTO t(a) VALUES ('x') RETURNING a"}}]}
    for cursor_id in (-5, 0, -5):
        assert "code" not in await socket.ask("open_cursor", stream_id=1, cursor_id=cursor_id, batch=batch)
        assert await socket.ask("fetch_cursor", cursor_id=cursor_id, max_count=0) == {
            "type": "fetch_cursor",
            "entries": [],
            "done": False,
        }
        entries = await fetch_all(socket, cursor_id, 3000)
        assert keys(entries[:8002]) == list(range(1, 8001))
        assert (await socket.ask("fetch_cursor", cursor_id=cursor_id, max_count=1))["entries"] == []
        assert await socket.ask("close_cursor", cursor_id=cursor_id) == {"type": "close_cursor"}
    assert (await socket.execute(1, "SELECT count(*) FROM t"))["rows"] == [[{"type": "integer", "value": "1"}]]
    batch = {"steps": [{"stmt": {"sql": ALL}}]}
    await socket.ask("open_cursor", stream_id=1, cursor_id=9, batch=batch)
    assert running(way)
    assert await socket.ask("close_stream", stream_id=1) == {"type": "close_stream"}
    assert not running(way)
    assert await socket.ask("close_cursor", cursor_id=9) == {"type": "close_cursor"}  # it was closed with its stream


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("fetch_cursor", {"cursor_id": 2, "max_count": 1}),
        ("fetch_cursor", {"cursor_id": 1, "max_count": -1}),
        ("open_cursor", {"stream_id": 2, "cursor_id": 1, "batch": {"steps": []}}),
        ("open_cursor", {"stream_id": 1, "cursor_id": 2, "batch": {"steps": []}}),
        ("execute", {"stream_id": 1, "stmt": {"sql": "SELECT 1"}}),
    ],
)
async def test_what_may_not_be_asked_while_a_cursor_is_open(door: Door, kind: str, fields: Json) -> None:
    socket = await connect(door[1])
    for stream_id in (1, 2):
        await socket.ask("open_stream", stream_id=stream_id)
    await socket.ask("open_cursor", stream_id=1, cursor_id=1, batch={"steps": []})
    await socket.send(kind, **fields)
    assert await socket.closed() == 1008


async def test_cursors_are_of_the_third_version(door: Door) -> None:
    socket = await connect(door[1], "hrana2")
    await socket.ask("open_stream", stream_id=1)
    await socket.send("open_cursor", stream_id=1, cursor_id=1, batch={"steps": []})
    assert await socket.closed() == 1008


async def test_closing_the_executor_ends_its_cursors(sqlite_path: str) -> None:
    async with opened(sqlite_path, SCHEMA) as way, listening(way) as (_, client):
        async with asyncio.timeout(60):
            answer = await client.post("/v3/cursor", data=body_of("SELECT b.* FROM big, big AS b"))
            await answer.content.readline()
            await executor_of(way).close()
        assert not running(way)
        answer.close()
