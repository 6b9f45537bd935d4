"""A load generator that costs less than what it measures: raw sockets, kept alive, requests encoded beforehand."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import cast
from urllib.parse import urlsplit

INSERT = "INSERT INTO items (id, author, body, created_at) VALUES (?, ?, ?, ?)"
SELECT = "SELECT body FROM items WHERE id = ?"
TABLE = "CREATE TABLE items (id TEXT PRIMARY KEY, author TEXT NOT NULL, body TEXT NOT NULL, created_at TEXT NOT NULL)"
BODY = "x" * 120
STAMP = "2025-01-31T12:00:00.123Z"


@dataclass
class Load:
    """What came of one run. Latencies in seconds, in the order they ended."""

    seconds: float = 0.0
    """From the first request to the last answer."""
    ended: float = 0.0
    latencies: list[float] = field(default_factory=list)
    errors: int = 0
    unanswered: int = 0
    first_error: str = ""

    @property
    def rate(self) -> float:
        """Good answers a second."""
        return len(self.latencies) / self.seconds

    def quantile(self, share: float) -> float:
        """Seconds; infinite when nothing was answered."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("inf")


def inserts(host: str, tag: str, token: str = "") -> Iterator[bytes]:
    """Endless one-shot Hrana pipelines, each inserting a row of its own of about 200 bytes."""
    number = 0
    while True:
        number += 1
        arguments = (f"{tag}-{secrets.token_hex(4)}-{number:08d}", f"author-{number % 997}", BODY, STAMP)
        yield pipeline(host, INSERT, arguments, token)


def reads(host: str, ids: list[str], token: str = "") -> Iterator[bytes]:
    """Endless reads by key, over and over the same ids."""
    requests = [pipeline(host, SELECT, (key,), token) for key in ids]
    while True:
        yield from requests


def pipeline(host: str, sql: str, arguments: tuple[str, ...], token: str = "") -> bytes:
    """One request on a stream of its own, as HTTP/1.1 with keep-alive."""
    stmt = {"sql": sql, "args": [{"type": "text", "value": value} for value in arguments]}
    body = json.dumps({"requests": [{"type": "execute", "stmt": stmt}, {"type": "close"}]}).encode()
    authorization = f"Authorization: Bearer {token}\r\n" if token else ""
    head = f"POST /v2/pipeline HTTP/1.1\r\nHost: {host}\r\n{authorization}Content-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


class _Client(asyncio.Protocol):
    """One connection: sends, waits for the whole answer, sends again, until the time is up."""

    def __init__(
        self, requests: Iterator[bytes], over: Callable[[], bool], load: Load, ended: asyncio.Future[None]
    ) -> None:
        self._requests, self._over, self._load = requests, over, load
        self.ended = ended
        self._buffer = bytearray()
        self._length = -1
        self._body_at = 0
        self._sent = 0.0
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is one in all but name
        self._send()

    def _send(self) -> None:
        assert self.transport is not None
        if self._over():
            self.transport.close()
            return
        request = next(self._requests)
        self._sent = time.perf_counter()
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._length < 0 and not self._head():
            return
        if self._length == 0:  # chunked
            if not self._buffer.endswith(b"0\r\n\r\n"):
                return
        elif len(self._buffer) < self._length:
            return
        self._answered()

    def _head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return False
        head = bytes(self._buffer[:end]).lower()
        at = head.find(b"content-length:")
        self._body_at = end + 4
        self._length = 0 if at < 0 else self._body_at + int(head[at + 15 :].split(b"\r\n", 1)[0])
        return True

    def _answered(self) -> None:
        if self._buffer.startswith(b"HTTP/1.1 200") and b'"type":"error"' not in self._buffer:
            now = time.perf_counter()
            self._load.latencies.append(now - self._sent)
            self._load.ended = max(self._load.ended, now)
        else:
            self._load.errors += 1
            self._load.first_error = self._load.first_error or bytes(self._buffer[:600]).decode(errors="replace")
        self._buffer.clear()
        self._length = -1
        self._send()

    def connection_lost(self, error: Exception | None) -> None:
        if self._sent and not self._over():
            self._load.errors += 1
            self._load.first_error = self._load.first_error or f"the connection broke: {error!r}"
        if not self.ended.done():
            self.ended.set_result(None)


def _same(client: _Client) -> _Client:
    return client


async def drive(
    url: str,
    requests: Iterator[bytes],
    connections: int,
    seconds: float,
    *,
    lenient: bool = False,
    stop: asyncio.Event | None = None,
) -> Load:
    """Keep `connections` busy for `seconds`, or until `stop` is set if that comes first.

    Raises `OSError` when nobody listens, and `RuntimeError` when a request fails, or is not answered within 20 s, or
    none was answered; with `lenient`, which is for peers, failures are counted instead, and no part of the rate.
    """
    place = urlsplit(url)
    assert place.hostname is not None
    assert place.port is not None
    load = Load()
    loop = asyncio.get_running_loop()
    began = time.perf_counter()

    def over() -> bool:
        return time.perf_counter() >= began + seconds or (stop is not None and stop.is_set())

    clients = []
    for _ in range(connections):
        client = _Client(requests, over, load, loop.create_future())
        await loop.create_connection(partial(_same, client), place.hostname, place.port)
        clients.append(client)
    await asyncio.wait([client.ended for client in clients], timeout=seconds + 20)
    for client in clients:
        if not client.ended.done():
            load.unanswered += 1
            if client.transport is not None:
                client.transport.abort()
    load.seconds = load.ended - began
    if not load.latencies or (not lenient and (load.errors or load.unanswered)):
        bad = f"{load.errors} requests failed and {load.unanswered} were not answered"
        raise RuntimeError(f"{bad}, of {load.errors + load.unanswered + len(load.latencies)}: {load.first_error}")
    return load


def host_of(url: str) -> str:
    """What the Host header says."""
    return urlsplit(url).netloc
