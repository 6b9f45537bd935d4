"""A WebSocket that stays open through a switch and until the service ends."""

from __future__ import annotations

import asyncio

import aiohttp

from tests.support.checks import postgres_rows
from tests.support.front import Json, Socket
from tests.support.service import Service


def text(value: str) -> Json:
    return {"type": "text", "value": value}


async def test_a_socket_lives_through_a_switch_and_is_told_of_the_end(service: Service, postgres_url: str) -> None:
    await service.start()
    await service.up()
    async with aiohttp.ClientSession() as session, session.ws_connect(service.front, protocols=("hrana2",)) as raw:
        socket = Socket(raw)
        await socket.say({"type": "hello"})
        assert await socket.hear() == {"type": "hello_ok"}
        for stream_id in (1, 2, 3):
            await socket.ask("open_stream", stream_id=stream_id)
        await socket.execute(2, "BEGIN")
        old = {"rows": [[text("body 1")]]}
        assert (await socket.execute(2, "SELECT body FROM items WHERE id = 'old-1'"))["rows"] == old["rows"]

        await service.verified()
        await service.switched("promote")
        insert = "INSERT INTO items(id, n, body) VALUES (?, 1, 'new')"
        assert (await socket.execute(1, insert, text("after")))["affected_row_count"] == 1
        # A snapshot from before the switch may be read to its end, and not be written from.
        assert (await socket.execute(2, "SELECT body FROM items WHERE id = 'old-1'"))["rows"] == old["rows"]
        assert (await socket.execute(2, insert, text("never")))["code"] == "SQLITE_BUSY"
        assert (await socket.execute(2, insert, text("again")))["affected_row_count"] == 1

        asked = [
            await socket.send("execute", stream_id=3, stmt={"sql": insert, "args": [text(f"last-{number:02}")]})
            for number in range(50)
        ]
        answers = [await socket.hear()]
        stopping = asyncio.create_task(service.stop())
        answers += [message.json() async for message in raw]
        assert raw.close_code == 1001
        assert await stopping == 0
    assert [answer["request_id"] for answer in answers] == asked[: len(answers)]
    done = [f"last-{number:02}" for number, answer in enumerate(answers) if answer["type"] == "response_ok"]
    kept = [row[0] for row in await postgres_rows(postgres_url, "SELECT id FROM items WHERE body = 'new' ORDER BY id")]
    assert kept[:2] == ["after", "again"]
    assert kept[2 : 2 + len(done)] == done
    assert len(kept) == 2 + len(done)
