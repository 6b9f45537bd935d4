"""Cursors over HTTP whose reader does not wait for the end of the answer, as libSQL's Rust clients do."""

from __future__ import annotations

import asyncio
import json

import pytest

from cutover.hrana.cursor import Cursor
from tests.support.front import listening, opened


async def entries_until_the_last(host: str, port: int, baton: str | None) -> str:
    """Read a cursor up to its last entry, and hang up before the answer has ended; returns the next baton."""
    reader, writer = await asyncio.open_connection(host, port)
    body = json.dumps({"baton": baton, "batch": {"steps": [{"stmt": {"sql": "SELECT 1"}}]}}).encode()
    writer.write(b"POST /v3/cursor HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
    answer = await reader.readuntil(b'"step_end"')
    writer.transport.abort()
    first = next(line for line in answer.split(b"\r\n") if line.startswith(b'{"baton"'))
    return str(json.loads(first)["baton"])


async def test_the_stream_can_be_used_as_soon_as_the_last_entry_is_there(
    sqlite_path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    close = Cursor.close

    async def slowly(cursor: Cursor) -> None:
        await asyncio.sleep(0.02)  # as on a busy machine
        await close(cursor)

    monkeypatch.setattr(Cursor, "close", slowly)
    async with opened(sqlite_path) as way, listening(way) as (_, client):
        url = client._base_url
        assert url is not None
        assert url.host is not None
        assert url.port is not None
        baton: str | None = None
        for _ in range(3):
            baton = await entries_until_the_last(url.host, url.port, baton)
            body = {"baton": baton, "requests": [{"type": "get_autocommit"}]}
            async with client.post("/v3/pipeline", json=body) as answer:
                assert answer.status == 200, await answer.text()
                baton = (await answer.json())["baton"]


LONG = "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 100000) SELECT i, 'row ' || i FROM n"


@pytest.mark.parametrize("hangs_up", [False, True])
@pytest.mark.parametrize("before", ["SELECT 1", "BEGIN IMMEDIATE"])
async def test_a_cursor_that_is_not_read_on_is_given_up_for_the_next_request(
    sqlite_path: str, before: str, hangs_up: bool
) -> None:
    async with opened(sqlite_path) as way, listening(way) as (_, client):
        begun = [{"type": "execute", "stmt": {"sql": before}}]
        async with client.post("/v3/pipeline", json={"requests": begun}) as answer:
            baton = (await answer.json())["baton"]
        body = {"baton": baton, "batch": {"steps": [{"stmt": {"sql": LONG}}]}}
        cursor = await client.post("/v3/cursor", json=body)
        old, baton = baton, json.loads(await cursor.content.readline())["baton"]
        await cursor.content.readuntil(b'"row 10"')
        if hangs_up:
            cursor.close()
        async with client.post("/v3/pipeline", json={"baton": old, "requests": []}) as answer:
            assert answer.status == 400
        write = [{"type": "execute", "stmt": {"sql": "INSERT INTO t(a) VALUES ('x')"}}, {"type": "get_autocommit"}]
        async with client.post("/v3/pipeline", json={"baton": baton, "requests": write}) as answer:
            assert answer.status == 200, await answer.text()
            results = (await answer.json())["results"]
        assert [result["type"] for result in results] == ["ok", "ok"]
        assert results[1]["response"]["is_autocommit"] == (before == "SELECT 1")
        cursor.close()


async def test_a_transaction_that_was_taken_away_is_the_lone_steps_error(sqlite_path: str) -> None:
    """The Rust clients cannot read an entry of type `error`."""
    async with opened(sqlite_path, transaction_timeout=0.01) as way, listening(way) as (_, client):
        begun = [{"type": "execute", "stmt": {"sql": "BEGIN IMMEDIATE"}}]
        async with client.post("/v3/pipeline", json={"requests": begun}) as answer:
            baton = (await answer.json())["baton"]
        other = [{"type": "execute", "stmt": {"sql": "INSERT INTO t(a) VALUES ('x')"}}, {"type": "close"}]
        async with client.post("/v3/pipeline", json={"requests": other}) as answer:
            assert (await answer.json())["results"][0]["type"] == "ok"
        body = {"baton": baton, "batch": {"steps": [{"stmt": {"sql": "SELECT 1"}}]}}
        async with client.post("/v3/cursor", json=body) as answer:
            _, entry = (await answer.text()).splitlines()
        assert json.loads(entry)["type"] == "step_error"
        assert json.loads(entry)["error"]["code"] == "TRANSACTION_TIMEOUT"
