"""Clients of the front door that tell a switch by nothing but its latency: one statement, a batch, a conversation."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from types import TracebackType
from typing import Any, Self

import aiohttp

from tests.support.service import Service, hrana_value, plain

INSERT = "INSERT INTO items VALUES (?, ?, ?)"


class Stream:
    """A Hrana stream over HTTP, each statement in a request of its own."""

    def __init__(self, service: Service, session: aiohttp.ClientSession) -> None:
        self._url = service.front + "/v3/pipeline"
        self._session = session
        self._baton: str | None = None

    async def send(self, *requests: dict[str, Any]) -> tuple[int, Any]:
        """(HTTP status, body) of one pipeline; the stream goes on with the next."""
        async with self._session.post(self._url, json={"baton": self._baton, "requests": requests}) as answer:
            body = await answer.json(content_type=None)
            self._baton = body.get("baton") if answer.status == 200 else None
            return answer.status, body

    async def execute(self, sql: str, *args: Any) -> str:
        """Run a statement: "" if it succeeded, else its error's code; a refused request is `503 CODE`."""
        status, body = await self.send(execute(sql, *args))
        if status != 200:
            return f"{status} {body['code']}"
        entry = body["results"][0]
        return "" if entry["type"] == "ok" else str(entry["error"]["code"])

    async def rows(self, sql: str, *args: Any, last: bool = False) -> list[list[Any]]:
        """Rows of a statement that must succeed; with `last` the stream is closed after it."""
        status, body = await self.send(execute(sql, *args), *([{"type": "close"}] if last else []))
        assert status == 200, body
        assert body["results"][0]["type"] == "ok", body
        return [[plain(value) for value in row] for row in body["results"][0]["response"]["result"]["rows"]]


def execute(sql: str, *args: Any) -> dict[str, Any]:
    """A request to run one statement."""
    return {"type": "execute", "stmt": {"sql": sql, "args": [hrana_value(arg) for arg in args]}}


def transaction(*statements: tuple[str, Sequence[Any]]) -> dict[str, Any]:
    """A request to run a batch wholly or not at all."""
    texts = [("BEGIN", ()), *statements, ("COMMIT", ())]
    steps = [
        {"stmt": execute(sql, *args)["stmt"], "condition": {"type": "ok", "step": at - 1} if at else None}
        for at, (sql, args) in enumerate(texts)
    ]
    undo = {"type": "not", "cond": {"type": "ok", "step": len(texts) - 1}}
    return {"type": "batch", "batch": {"steps": [*steps, {"stmt": {"sql": "ROLLBACK"}, "condition": undo}]}}


async def _rest(stop: asyncio.Event) -> None:
    """Between two requests, so that dozens of clients leave some of the machine to the service."""
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), 0.02)


class Writer:
    """Inserts items of its own, and demands that each insert succeeds."""

    def __init__(self, service: Service, name: str, kind: str) -> None:
        """`kind`: statement, batch or conversation."""
        self.service, self.name = service, name
        self.acknowledged: list[str] = []
        self.failures: list[str] = []
        self._insert = {"statement": self._statement, "batch": self._batch, "conversation": self._conversation}[kind]

    async def run(self, stop: asyncio.Event) -> None:
        """Write until `stop`."""
        number = 0
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=90)) as session:
            while not stop.is_set():
                number += 1
                key = f"{self.name}-{number}"
                failure = await self._insert(session, key, number)
                if failure:
                    self.failures.append(f"{key}: {failure}")
                else:
                    self.acknowledged.append(key)
                await _rest(stop)

    async def _statement(self, session: aiohttp.ClientSession, key: str, number: int) -> str:
        status, body = await Stream(self.service, session).send(execute(INSERT, key, number, None), {"type": "close"})
        return "" if status == 200 and body["results"][0]["type"] == "ok" else f"{status} {body}"

    async def _batch(self, session: aiohttp.ClientSession, key: str, number: int) -> str:
        steps = transaction((INSERT, (key, number, None)), ("UPDATE items SET body = ? WHERE id = ?", ("done", key)))
        status, body = await Stream(self.service, session).send(steps, {"type": "close"})
        if status == 200 and body["results"][0]["type"] == "ok":
            result = body["results"][0]["response"]["result"]
            return "" if result["step_results"][3] is not None else str(result["step_errors"])
        return f"{status} {body}"

    async def _conversation(self, session: aiohttp.ClientSession, key: str, number: int) -> str:
        stream = Stream(self.service, session)
        for sql, args in (("BEGIN IMMEDIATE", ()), (INSERT, (key, number, None)), ("COMMIT", ())):
            if failure := await stream.execute(sql, *args):
                return f"{sql[:6]}: {failure}"
        await stream.send({"type": "close"})
        return ""


class Reader:
    """Reads, and demands to see every write that was acknowledged before the read was sent."""

    def __init__(self, service: Service, writers: Sequence[Writer], before: int) -> None:
        """`before`: items that were there already."""
        self.service, self.writers, self.before = service, writers, before
        self.slowest = 0.0
        self.reads = 0
        self.stale: list[str] = []

    async def run(self, stop: asyncio.Event) -> None:
        """Read until `stop`."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=90)) as session:
            while not stop.is_set():
                writer = self.writers[self.reads % len(self.writers)]
                key = writer.acknowledged[-1] if writer.acknowledged else "old-1"
                least = self.before + sum(len(each.acknowledged) for each in self.writers)
                sent = time.monotonic()
                found = await Stream(self.service, session).rows(
                    "SELECT count(*), count(*) FILTER (WHERE id = ?) FROM items", key, last=True
                )
                self.slowest = max(self.slowest, time.monotonic() - sent)
                self.reads += 1
                if found[0][0] < least or found[0][1] != 1:
                    self.stale.append(f"{found[0]} where {least} and {key} were acknowledged")
                await _rest(stop)


class Crowd:
    """Writers and readers, all at once, while the block lasts; then it waits for each to end its last request."""

    def __init__(self, *members: Writer | Reader) -> None:
        self._members = members
        self._stop = asyncio.Event()
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        group = await self._stack.enter_async_context(asyncio.TaskGroup())
        for member in self._members:
            group.create_task(member.run(self._stop))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._stop.set()
        await self._stack.__aexit__(kind, error, tb)
