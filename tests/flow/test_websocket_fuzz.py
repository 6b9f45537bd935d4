"""Whatever a client says, in any order: a socket answers or closes, nothing fails, and no stream is left over."""

import asyncio
import json
import sqlite3
import tempfile
from collections.abc import Container, Iterable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, WSMsgType
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from cutover.hrana.door import FrontDoor
from tests.support.front import DEADLINE, eventually, listening, opened

KINDS = [
    *("open_stream", "close_stream", "execute", "batch", "sequence", "describe", "get_autocommit"),
    *("store_sql", "close_sql", "open_cursor", "fetch_cursor", "close_cursor", "close", "dance"),
]
TEXTS = [
    *("SELECT 1", "SELECT ?", "INSERT INTO t(a) VALUES (?) RETURNING id", "BEGIN IMMEDIATE", "BEGIN", "COMMIT"),
    *("ROLLBACK", "SELEC", "", "SELECT 1; SELECT 2", "PRAGMA foreign_keys = OFF", "DELETE FROM t", "SELECT * FROM t"),
    *("SAVEPOINT s", "RELEASE s", "SELECT last_insert_rowid()", "CREATE TABLE IF NOT EXISTS u (x)"),
]

ids = st.sampled_from([1, 1, 1, 2, 2, 0, -(2**31)])
odd_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
values = st.one_of(
    st.just({"type": "null"}),
    st.integers(-5, 5).map(lambda number: {"type": "integer", "value": str(number)}),
    st.just({"type": "blob", "base64": "AA"}),
    odd_json,
)
texts = st.sampled_from(TEXTS)
statements = st.one_of(
    st.fixed_dictionaries({"sql": texts}, optional={"args": st.lists(values, max_size=1), "want_rows": st.booleans()}),
    st.fixed_dictionaries({"sql_id": ids}),
    odd_json,
)
conditions = st.recursive(
    st.sampled_from(["ok", "error"]).flatmap(
        lambda kind: st.integers(-1, 2).map(lambda step: {"type": kind, "step": step})
    )
    | st.just({"type": "is_autocommit"})
    | odd_json,
    lambda inner: st.one_of(
        inner.map(lambda cond: {"type": "not", "cond": cond}),
        st.lists(inner, max_size=2).map(lambda conds: {"type": "and", "conds": conds}),
    ),
    max_leaves=3,
)
steps = st.fixed_dictionaries({"stmt": statements}, optional={"condition": conditions})
batches = st.lists(steps, max_size=3).map(lambda found: {"steps": found}) | odd_json
requests = st.fixed_dictionaries(
    {"type": st.sampled_from(KINDS)},
    optional={
        "stream_id": ids,
        "cursor_id": ids,
        "sql_id": ids,
        "sql": texts,
        "stmt": statements,
        "batch": batches,
        "max_count": st.integers(-1, 3),
    },
)


class Client:
    """What a client keeps in mind, so that all that it asks for means something when it is asked."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.told: list[dict[str, Any]] = []
        self.cursors: dict[int, int | None] = {}
        """The cursor of each open stream."""
        self.stored: set[int] = set()

    def ask(self, kind: str) -> None:
        free = [stream for stream, cursor in self.cursors.items() if cursor is None]
        held = {cursor: stream for stream, cursor in self.cursors.items() if cursor is not None}
        if kind in ("store_sql", "close_sql"):
            self.keep(kind)
        elif kind in ("fetch_cursor", "close_cursor") and held:
            self.use_cursor(kind, held)
        elif kind == "close_stream" and self.cursors:
            self.tell(kind, stream_id=(gone := self.one_of(self.cursors)))
            del self.cursors[gone]
        elif kind == "open_cursor" and free:
            self.cursors[stream := self.one_of(free)] = cursor = unused(held)
            self.tell(kind, stream_id=stream, cursor_id=cursor, batch=self.batch())
        elif kind in ("execute", "batch", "sequence", "describe", "get_autocommit") and free:
            more = {"execute": {"stmt": self.sql()}, "batch": {"batch": self.batch()}}.get(kind) or self.sql()
            self.tell(kind, stream_id=self.one_of(free), **more)
        elif len(self.cursors) < 3:
            self.tell("open_stream", stream_id=(fresh := unused(self.cursors)))
            self.cursors[fresh] = None

    def keep(self, kind: str) -> None:
        if kind == "store_sql":
            self.tell(kind, sql_id=(fresh := unused(self.stored)), sql=self.draw(texts))
            self.stored.add(fresh)
        else:
            self.tell(kind, sql_id=(gone := self.draw(st.integers(-2, 3))))
            self.stored.discard(gone)

    def use_cursor(self, kind: str, held: dict[int, int]) -> None:
        cursor = self.one_of(held)
        if kind == "close_cursor":
            self.tell(kind, cursor_id=cursor)
            self.cursors[held[cursor]] = None
        else:
            self.tell(kind, cursor_id=cursor, max_count=self.draw(st.integers(0, 3)))

    def tell(self, kind: str, **fields: Any) -> None:
        self.told.append({"type": kind, **fields})

    def one_of(self, found: Iterable[int]) -> int:
        return self.draw(st.sampled_from(sorted(found)))

    def sql(self) -> dict[str, Any]:
        known = self.stored and self.draw(st.booleans())
        return {"sql_id": self.one_of(self.stored)} if known else {"sql": self.draw(texts)}

    def batch(self) -> dict[str, Any]:
        return {"steps": [{"stmt": self.sql()} for _ in range(self.draw(st.integers(0, 3)))]}


def unused(taken: Container[int]) -> int:
    return next(number for number in range(-2, 99) if number not in taken)


@st.composite
def stories(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Requests of one client, up to the end of its streams."""
    client = Client(draw)
    for kind in draw(st.lists(st.sampled_from(KINDS[:12]), max_size=30)):
        client.ask(kind)
    while client.cursors:
        client.ask("close_stream")
    return client.told


anything = st.one_of(
    requests.map(lambda request: {"type": "request", "request_id": 7, "request": request}),
    st.fixed_dictionaries({"type": st.sampled_from(["hello", "request", "x"])}, optional={"jwt": odd_json}),
    odd_json,
)


class World:
    """One front door for all examples, on a loop that only runs while something is asked of it."""

    def __init__(self, path: str) -> None:
        self.runner = asyncio.Runner()
        self.stack = AsyncExitStack()
        self.door, self.client = self.runner.run(self._open(path))

    async def _open(self, path: str) -> tuple[FrontDoor, ClientSession]:
        way = await self.stack.enter_async_context(opened(path, transaction_timeout=0.05))
        return await self.stack.enter_async_context(listening(way))

    def close(self) -> None:
        self.runner.run(self.stack.aclose())
        self.runner.close()

    def play(self, messages: list[Any]) -> tuple[list[dict[str, Any]], int | None]:
        """Say hello and then all of this; returns the answers, and the code if the socket was closed."""
        return self.runner.run(self._play(messages))

    async def _play(self, messages: list[Any]) -> tuple[list[dict[str, Any]], int | None]:
        raw = await self.client.ws_connect("/", protocols=("hrana3",), max_msg_size=0)
        for message in [{"type": "hello"}, *messages, {"type": "hello"}]:
            if isinstance(message, bytes):
                await raw.send_frame(message, WSMsgType.TEXT)
            else:
                await raw.send_str(json.dumps(message))
        answers: list[dict[str, Any]] = []
        while len(answers) < len(messages) + 2:
            message = await raw.receive(DEADLINE)
            if message.type is not WSMsgType.TEXT:
                break
            answers.append(json.loads(message.data))
        code = raw.close_code
        await raw.close()
        await eventually("no stream is left", lambda: len(self.door.front.streams) == 0)
        return answers, code


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "app.db")
        db = sqlite3.connect(path)
        db.execute("PRAGMA journal_mode = WAL")
        db.close()
        world = World(path)
        yield world
        world.close()


def check(answers: list[dict[str, Any]], code: int | None) -> None:
    assert code in (None, 1007, 1008)
    for answer in answers:
        assert answer["type"] in ("hello_ok", "response_ok", "response_error")
        if answer["type"] == "response_error":
            assert answer["error"]["code"] != "OUTCOME_UNKNOWN", answer


ordinary = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


@given(st.lists(anything | st.binary(max_size=8), max_size=6))
@example([b"[" * 100_000])
@example([b'{"type": "hello", "jwt": 1e999}'])
@ordinary
def test_anything_is_answered_or_closes(world: World, messages: list[Any]) -> None:
    check(*world.play(messages))


@given(stories())
@ordinary
def test_any_order_of_what_means_something(world: World, asked: list[dict[str, Any]]) -> None:
    messages = [{"type": "request", "request_id": at, "request": request} for at, request in enumerate(asked)]
    answers, code = world.play(messages)
    assert code is None
    check(answers, code)
    answered = {answer["request_id"]: answer for answer in answers if "request_id" in answer}
    assert sorted(answered) == list(range(len(asked)))
    assert len(answers) == len(asked) + 2
    for number, answer in answered.items():
        assert answer["type"] == "response_error" or answer["response"]["type"] == asked[number]["type"]
