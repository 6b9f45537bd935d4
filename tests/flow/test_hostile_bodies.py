"""Bodies that nobody should send, in every number: each has an answer, and none is a failure of ours."""

import asyncio
import gzip
import json
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.front import listening, opened

PATHS = ("/v2/pipeline", "/v3/pipeline", "/v3/cursor", "/v1/execute", "/v1/batch")
Post = Callable[[str, bytes], tuple[int, str]]


@asynccontextmanager
async def answering(path: str) -> AsyncIterator[ClientSession]:
    async with opened(path) as way, listening(way, stream_idle_timeout=0.2) as (_, client):
        yield client


@pytest.fixture(scope="module")
def post(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Post]:
    """One door for all examples, and a loop that each of them can use."""
    path = str(tmp_path_factory.mktemp("bodies") / "app.db")
    with asyncio.Runner() as runner:
        door = answering(path)
        client = runner.run(door.__aenter__())

        async def ask(path: str, body: bytes) -> tuple[int, str]:
            async with client.post(path, data=body) as response:
                return response.status, (await response.read()).decode()

        def post(path: str, body: bytes) -> tuple[int, str]:
            return runner.run(ask(path, body))

        yield post
        runner.run(door.__aexit__(None, None, None))


def answered(post: Post, path: str, body: bytes) -> None:
    """With a status of the protocol, and text that is its own."""
    status, text = post(path, body)
    assert status in (200, 400, 413), (body, text)
    assert "OUTCOME_UNKNOWN" not in text, (body, text)
    if status == 200 and path != "/v3/cursor":
        json.loads(text)


scalars = st.none() | st.booleans() | st.integers(-(1 << 70), 1 << 70) | st.floats() | st.text(max_size=8)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=8,
)
words = st.sampled_from(
    (
        *("SELECT 1", "SELECT ?", "SELECT :a", "BEGIN", "COMMIT", "ROLLBACK", "DELETE FROM t", "", ";", "\ufeff"),
        *("INSERT INTO t(a) VALUES (?)", "SELECT 'a' UNION", "SELECT \0", "SELECT x'0'", 'SELECT "a'),
        "PRAGMA foreign_keys=off",
    )
)


def roughly(right: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Mostly what belongs there."""
    return st.one_of(right, right, right, right, anything)


def some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return roughly(st.fixed_dictionaries({}, optional=fields))


values = roughly(
    st.fixed_dictionaries(
        {"type": roughly(st.sampled_from(["null", "integer", "float", "text", "blob"]))},
        optional={"value": roughly(st.sampled_from(["1", "-9223372036854775808", 1.5, "x", "٣"])), "base64": anything},
    )
)
statements = some(
    sql=roughly(words),
    sql_id=roughly(st.integers(0, 2)),
    args=roughly(st.lists(values, max_size=3)),
    named_args=roughly(st.lists(some(name=words, value=values), max_size=2)),
    want_rows=roughly(st.booleans()),
)
conditions = st.recursive(
    some(type=st.sampled_from(["ok", "error", "is_autocommit"]), step=roughly(st.integers(-1, 3))),
    lambda inner: some(type=st.sampled_from(["not", "and", "or"]), cond=inner, conds=st.lists(inner, max_size=2)),
    max_leaves=4,
)
batches = some(steps=roughly(st.lists(some(stmt=statements, condition=conditions), max_size=4)))
kinds = ["execute", "batch", "sequence", "describe", "store_sql", "close_sql", "get_autocommit", "close"]
requests = some(
    type=roughly(st.sampled_from(kinds)),
    stmt=statements,
    batch=batches,
    sql=roughly(words),
    sql_id=roughly(st.integers(-1, 2)),
)
bodies = some(
    baton=st.none() | anything, requests=roughly(st.lists(requests, max_size=4)), batch=batches, stmt=statements
)


def encoded(body: Any) -> bytes:
    return json.dumps(body, ensure_ascii=False).encode("utf-8", "surrogatepass")


@settings(max_examples=150)
@given(path=st.sampled_from(PATHS), body=bodies)
def test_messages_that_are_nearly_right(post: Post, path: str, body: Any) -> None:
    answered(post, path, encoded(body))


RIGHT = encoded(
    {
        "baton": None,
        "requests": [
            {"type": "execute", "stmt": {"sql": "SELECT ?, :a", "args": [{"type": "integer", "value": "7"}]}},
            {"type": "batch", "batch": {"steps": [{"stmt": {"sql": "SELECT 1"}}, {"stmt": {"sql": "DELETE FROM t"}}]}},
            {"type": "sequence", "sql": "INSERT INTO t(a) VALUES ('ä'); DELETE FROM t"},
            {"type": "close"},
        ],
    }
)


@settings(max_examples=150)
@given(at=st.integers(0, len(RIGHT) * 8 - 1), cut=st.integers(0, len(RIGHT)), path=st.sampled_from(PATHS[:2]))
def test_messages_with_a_bit_turned_or_an_end_missing(post: Post, at: int, cut: int, path: str) -> None:
    turned = bytearray(RIGHT)
    turned[at // 8] ^= 1 << at % 8
    answered(post, path, bytes(turned))
    answered(post, path, RIGHT[:cut])


@settings(max_examples=60)
@given(body=st.binary(max_size=200), path=st.sampled_from(PATHS))
def test_bytes(post: Post, body: bytes, path: str) -> None:
    answered(post, path, body)


ENCODED = {
    "no gzip": ("gzip", b"not compressed"),
    "a gzip that breaks": ("gzip", gzip.compress(bytes(range(256)) * 40)[:-200] + b"x" * 200),
    "no deflate": ("deflate", b"not compressed"),
    "a deflate that ends early": ("deflate", zlib.compress(bytes(range(256)) * 40)[:40]),
    "nothing we know": ("br", b"not compressed"),
}


@pytest.mark.parametrize("path", [*PATHS, "/v3-protobuf/pipeline", "/v3-protobuf/cursor"])
@pytest.mark.parametrize("kind", ENCODED)
async def test_bodies_that_are_not_encoded_as_they_say(tmp_path: Path, path: str, kind: str) -> None:
    encoding, body = ENCODED[kind]
    async with answering(str(tmp_path / "app.db")) as client:
        async with client.post(path, data=body, headers={"content-encoding": encoding}) as response:
            assert response.status == 400, await response.read()
        right = gzip.compress(json.dumps({"requests": []}).encode())
        async with client.post("/v3/pipeline", data=right, headers={"content-encoding": "gzip"}) as response:
            assert response.status == 200, await response.read()


def test_the_door_is_as_it_was(post: Post) -> None:
    status, text = post("/v2/pipeline", encoded({"requests": [{"type": "execute", "stmt": {"sql": "SELECT 42"}}]}))
    assert status == 200
    assert '"42"' in text
