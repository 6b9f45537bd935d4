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
