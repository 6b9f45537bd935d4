"""The front door in this process, on a real SQLite file, and a client of its WebSocket."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType

from cutover.hrana.door import FrontDoor
from cutover.metrics import Metrics
from cutover.settings import FrontSettings
from cutover.stores.base import Member
from cutover.stores.sqlite.executor import SqliteExecutor
from cutover.stores.sqlite.store import SqliteStore
from cutover.write_through import WriteThrough

Json = dict[str, Any]
SCHEMA = "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT UNIQUE);"
DEADLINE = 60.0


@asynccontextmanager
async def opened(
    sqlite_path: str,
    schema: str = SCHEMA,
    *,
    metrics: Metrics | None = None,
    transaction_timeout: float = 60,
    hold_timeout: float = 0.05,
    max_response_bytes: int = 10 * 1024 * 1024,
    max_batch_steps: int = 20_000,
) -> AsyncIterator[WriteThrough]:
    """The way to a SQLite primary with this schema."""
    db = sqlite3.connect(sqlite_path)
    db.executescript(schema)
    db.close()
    store = SqliteStore(sqlite_path, busy_timeout=60)
    await store.open()
    metrics = metrics or Metrics("test")
    executor = SqliteExecutor(
        store, metrics, transaction_timeout=transaction_timeout, max_response_bytes=max_response_bytes
    )
    member = Member(store, executor)
    way = WriteThrough(
        member,
        epoch=1,
        metrics=metrics,
        hold_timeout=hold_timeout,
        max_response_bytes=max_response_bytes,
        max_batch_steps=max_batch_steps,
    )
    await way.resume(member, 1)
    try:
        yield way
    finally:
        await executor.close()
        await store.close()


@asynccontextmanager
async def listening(way: WriteThrough, **settings: object) -> AsyncIterator[tuple[FrontDoor, ClientSession]]:
    """The front door, listening, and a client of it."""
    door = FrontDoor(way, FrontSettings.model_validate(settings), Metrics("test"))
    try:
        port = await door.listen("127.0.0.1", 0, shutdown_timeout=30)
        async with ClientSession(f"http://127.0.0.1:{port}") as client:
            yield door, client
    finally:
        await door.close()


class Socket:
    """A WebSocket as a client has it. Requests may be sent without waiting; answers are told apart by their number."""

    def __init__(self, raw: ClientWebSocketResponse) -> None:
        self.raw = raw
        self._next = 0

    async def say(self, message: Json) -> None:
        """Send a message as it is."""
        await self.raw.send_str(json.dumps(message))

    async def send(self, kind: str, **request: Any) -> int:
        """Send a request; returns its number."""
        self._next += 1
        await self.say({"type": "request", "request_id": self._next, "request": {"type": kind, **request}})
        return self._next

    async def hear(self) -> Json:
        """The next message. Fails if the socket is closed instead."""
        message = await self.raw.receive(DEADLINE)
        assert message.type is WSMsgType.TEXT, message
        found: Json = json.loads(message.data)
        return found

    async def ask(self, kind: str, **request: Any) -> Json:
        """A request and its answer: the response, or the error with its `code`."""
        number = await self.send(kind, **request)
        answer = await self.hear()
        assert answer["request_id"] == number, answer
        found: Json = answer["response"] if answer["type"] == "response_ok" else answer["error"]
        return found

    async def execute(self, stream_id: int, sql: str, *args: Json) -> Json:
        """One statement: its result or its error."""
        found = await self.ask("execute", stream_id=stream_id, stmt={"sql": sql, "args": list(args)})
        result: Json = found.get("result", found)
        return result

    async def closed(self) -> int:
        """The code with which the server closes. Fails if it says anything before."""
        message = await self.raw.receive(DEADLINE)
        assert message.type in (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED), message
        return self.raw.close_code or 0


async def connect(client: ClientSession, *protocols: str, jwt: str | None = None, hello: bool = True) -> Socket:
    """A socket on which hello was said, unless told otherwise."""
    socket = Socket(await client.ws_connect("/", protocols=protocols or ("hrana3",), max_msg_size=0))
    if hello:
        await socket.say({"type": "hello", "jwt": jwt})
        assert await socket.hear() == {"type": "hello_ok"}
    return socket


async def eventually(what: str, condition: Any) -> None:
    """Wait until a condition holds; it may be a coroutine function."""
    async with asyncio.timeout(DEADLINE):
        while True:
            found = condition()
            if await found if asyncio.iscoroutine(found) else found:
                return
            await asyncio.sleep(0.005)
    raise AssertionError(what)
