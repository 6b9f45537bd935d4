"""SIGTERM in the middle of everything: who has asked is answered, or his write was provably not made."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager, closing
from datetime import datetime
from pathlib import Path

import aiohttp
import pytest

from tests.stories.test_held_writes import holding, in_the_way, phase
from tests.support.checks import postgres_rows, sqlite_rows
from tests.support.service import Service, create, until
from tests.support.streams import INSERT, Stream, execute, transaction

ENDLESS = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT count(*) FROM c"
SCHEMA = "CREATE TABLE items(id TEXT PRIMARY KEY, n INTEGER NOT NULL, body TEXT);"
SHAPE = "WITH RECURSIVE c(n) AS (SELECT ? UNION ALL SELECT n + ? FROM c)"
STOPPING = "Stopping: the front door closes first."
AWAY = "postgresql://nobody@127.0.0.1:1/away"


@asynccontextmanager
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as session:
        yield session


@pytest.fixture
async def alone(tmp_path: Path, sqlite_path: str) -> AsyncIterator[Service]:
    """A service whose Postgres is away, which the front door does not mind."""
    create(sqlite_path, SCHEMA)
    made = Service(tmp_path, sqlite_path, AWAY)
    patient = {"CUTOVER_SERVICE_SHUTDOWN_TIMEOUT": "1500ms", "CUTOVER_FRONT_TRANSACTION_TIMEOUT": "60s"}
    await made.start(environment=patient)
    await made.answering()
    yield made
    if made.process is not None:
        await made.kill()


class Told:
    """What writers were told of their keys."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.refused: list[str] = []
        self.unanswered: list[str] = []

    async def write(self, key: str, asking: Awaitable[str]) -> bool:
        """Whether the write was acknowledged."""
        try:
            outcome = await asking
        except (aiohttp.ClientError, ConnectionError):
            self.unanswered.append(key)
            return False
        (self.refused if outcome else self.done).append(key)
        return not outcome

    async def insert(self, service: Service, session: aiohttp.ClientSession, key: str) -> bool:
        """One insert on a stream of its own."""
        return await self.write(key, Stream(service, session).execute(INSERT, key, 1, None))

    def check(self, service: Service) -> None:
        """Each write that was acknowledged is there once, none that was refused is."""
        with closing(sqlite3.connect(service.sqlite)) as db:
            counts = Counter(key for (key,) in db.execute("SELECT id FROM items"))
        assert not set(self.done) - set(counts), "acknowledged and lost"
        assert not set(self.refused) & set(counts), "refused and made"
        assert set(counts) <= {*self.done, *self.unanswered}


async def batch(stream: Stream, key: str) -> str:
    status, body = await stream.send(transaction((INSERT, (key, 1, None))))
    if status != 200:
        return str(status)
    result = body["results"][0]["response"]["result"] if body["results"][0]["type"] == "ok" else None
    return "" if result and result["step_results"][2] is not None else str(body)


async def one_of_many(service: Service, session: aiohttp.ClientSession, key: str, way: int) -> str:
    """One insert, by one of three ways: alone, in a batch, by the protocol's first version. "" if it succeeded."""
    if way == 0:
        return await Stream(service, session).execute(INSERT, key, 1, None)
    if way == 1:
        return await batch(Stream(service, session), key)
    body = {"stmt": execute(INSERT, key, 1, None)["stmt"]}
    async with session.post(service.front + "/v1/execute", json=body) as answer:
        return "" if answer.status == 200 else str(answer.status)


async def test_everybody_is_answered(alone: Service) -> None:
    assert (await alone.sql('SELECT "N" FROM "items" WHERE "body" = "secret"'))["type"] == "ok"
    shapes = (await alone.request("GET", alone.admin + "/v1/statements"))[1]["shapes"]
    assert [row["shape"] for row in shapes] == ['SELECT "N" FROM "items" WHERE "body" = ?'], "names are known"
    told = Told()
    wrote = Counter[int]()

    async def writer(number: int) -> None:
        async with http() as session:
            for turn in range(100_000):
                key = f"{number}-{turn}"
                if not await told.write(key, one_of_many(alone, session, key, number % 3)):
                    return
                wrote[number] += 1

    async with http() as session, asyncio.TaskGroup() as group:
        idle_reader, idle_writer = await asyncio.open_connection("127.0.0.1", alone.front_port)
        body = json.dumps({"requests": []})
        idle_writer.write(
            f"POST /v2/pipeline HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode()
        )
        await idle_reader.readuntil(b"}")
        socket = await session.ws_connect(alone.front, protocols=("hrana3",))
        await socket.send_json({"type": "hello"})
        await socket.receive(30)
        long = asyncio.create_task(Stream(alone, session).execute(ENDLESS))
        for number in range(32):
            group.create_task(writer(number))
        await until(lambda: all(wrote[number] for number in range(32)), "a write of each")
        talk = Stream(alone, session)
        assert await talk.execute("BEGIN IMMEDIATE") == ""
        assert await talk.execute(INSERT, "interactive", 1, None) == ""
        stopping = asyncio.create_task(alone.stop())
        assert await idle_reader.read() == b"", "an idle connection is closed"
        message = await socket.receive(30)
        assert (message.type, socket.close_code) == (aiohttp.WSMsgType.CLOSE, 1001)
        assert await long == "SQLITE_INTERRUPT"
        idle_writer.close()
    assert await stopping == 0
    told.check(alone)
    assert len(told.done) > 32
    log = alone.log.read_text()
    assert "Stopped." in log
    lines = [json.loads(line) for line in log.splitlines()]
    (slow,) = (line for line in lines if line["event"] == "slow statement" and line["shape"].startswith(SHAPE))
    assert slow["code"] == "SQLITE_INTERRUPT", "as any statement of more than a second"
    (stopping_at,) = (line for line in lines if line["event"] == STOPPING)
    begun, ended = (datetime.fromisoformat(line["timestamp"]) for line in (stopping_at, slow))
    assert (ended - begun).total_seconds() > 1.4, "what runs has its time"
    assert not [line for line in log.splitlines() if '"level":"error"' in line]


async def _open_streams(service: Service, wanted: int) -> bool:
    text = str((await service.request("GET", service.admin + "/metrics"))[1])
    return f"\ncutover_open_streams {wanted:.1f}\n" in text


async def test_a_transaction_does_not_keep_the_writers_behind_it_from_their_answers(alone: Service) -> None:
    told = Told()
    async with http() as session:
        talk = Stream(alone, session)
        assert await talk.execute("BEGIN IMMEDIATE") == ""
        assert await talk.execute(INSERT, "interactive", 1, None) == ""
        behind = [
            asyncio.create_task(
                told.write(f"behind-{at}", Stream(alone, session).execute(INSERT, f"behind-{at}", 1, None))
            )
            for at in range(8)
        ]
        began = [asyncio.create_task(Stream(alone, session).execute("BEGIN IMMEDIATE")) for _ in range(2)]
        await until(lambda: _open_streams(alone, 11), "all of them at the door")
        async with asyncio.timeout(30):
            assert await alone.stop() == 0
        await asyncio.gather(*behind)
        assert set(await asyncio.gather(*began)) <= {"", "SQLITE_BUSY", "503 SQLITE_BUSY"}
    assert told.unanswered == []
    told.check(alone)
    with closing(sqlite3.connect(alone.sqlite)) as db:
        assert db.execute("SELECT count(*) FROM items WHERE id = 'interactive'").fetchone() == (0,)


async def test_a_write_that_a_switch_holds_is_answered(service: Service, postgres_url: str) -> None:
    await service.start(environment={"CUTOVER_PROMOTION_PAUSE_TIMEOUT": "40s", "CUTOVER_FRONT_HOLD_TIMEOUT": "60s"})
    await service.up()
    await service.verified()
    told = Told()
    async with http() as session:
        async with in_the_way(service, postgres_url, "promote"):
            switching = asyncio.create_task(service.switch("promote"))
            await phase(service, "promoting")
            writes = [
                asyncio.create_task(
                    told.write(f"held-{at}", Stream(service, session).execute(INSERT, f"held-{at}", 1, None))
                )
                for at in range(4)
            ]
            await holding(service, 4)
            stopping = asyncio.create_task(service.stop())
        await asyncio.gather(*writes)
        code, _ = await switching
    assert await stopping == 0
    assert told.unanswered == []
    held = "SELECT id FROM items WHERE id LIKE 'held-%'"
    rows = await postgres_rows(postgres_url, held) if code == 200 else sqlite_rows(service.sqlite, held)
    assert sorted(key for (key,) in rows) == sorted(told.done)
