"""The stage of every benchmark: a scratch directory on a real disk, one Postgres for both sides, the real service."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
import signal
import socket
import sqlite3
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import asyncpg

from benchmarks.load import Load, drive, host_of, inserts
from benchmarks.report import Report
from cutover.stores.postgres.embedded import EmbeddedPostgres

_CONFIG = """
[sqlite]
path = "{sqlite}"
[postgres]
url = "{postgres}"
[service]
state_dir = "{state}"
log_level = "warning"
[front]
listen = "127.0.0.1:{front}"
[admin]
listen = "127.0.0.1:{admin}"
[compare]
scan_interval = 0
max_rows_per_second = 100000000
{compare}
[promotion]
max_lag_seconds = 10
"""


class Missing(Exception):
    """A peer that is not on this machine; the message says what to install."""


@dataclass
class Stage:
    """What a benchmark needs. `quick` shortens everything, to see that it runs rather than what comes out."""

    folder: Path
    server: EmbeddedPostgres
    rounds: int
    seconds: float
    quick: bool
    address: str
    """Of the server, on the loopback network."""
    _names: int = field(default=0)

    def path(self, name: str) -> Path:
        """A fresh place in the scratch directory."""
        self._names += 1
        return self.folder / f"{self._names:03d}-{name}"

    async def database(self, *, by_network: bool = False) -> str:
        """URL of a fresh empty database, the same server for every side: through its Unix socket, or over TCP."""
        self._names += 1
        name = f"bench_{self._names:03d}"
        connection = await asyncpg.connect(self.server.url)
        try:
            await connection.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        finally:
            await connection.close()
        if by_network:
            return f"postgresql://postgres@{self.address}:5432/{name}"
        return f"postgresql://postgres@/{name}?host={quote(str(self.server.socket_dir), safe='')}&port=5432"

    async def postgres_version(self) -> str:
        """As it calls itself."""
        connection = await asyncpg.connect(self.server.url)
        try:
            return str(await connection.fetchval("SHOW server_version"))
        finally:
            await connection.close()

    def fsync_milliseconds(self) -> str:
        """What one durable 4 KiB write costs on this disk, as a median of 50; it decides most of what is measured."""
        took = []
        path = self.path("fsync")
        with path.open("wb", buffering=0) as file:
            for _ in range(50):
                began = time.perf_counter()
                file.write(b"x" * 4096)
                os.fdatasync(file.fileno())
                took.append(time.perf_counter() - began)
        return f"{sorted(took)[25] * 1000:.2f} ms"


@asynccontextmanager
async def stage(rounds: int, seconds: float, *, quick: bool, folder: Path | None) -> AsyncIterator[Stage]:
    """Start the Postgres of all benchmarks (defaults, fsync on); everything is gone afterwards."""
    scratch = Path(tempfile.mkdtemp(prefix="cutover-bench-", dir=folder))
    address = "127." + ".".join(str(1 + secrets.randbelow(254)) for _ in range(3))  # the port may be another server's
    server = EmbeddedPostgres(scratch / "postgres", {"listen_addresses": address})
    try:
        await server.start()
        yield Stage(scratch, server, rounds, seconds, quick, address)
    finally:
        await server.stop()
        shutil.rmtree(scratch, ignore_errors=True)


def free_port() -> int:
    """A port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@asynccontextmanager
async def process(arguments: Sequence[object], log: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """A child that ends with the context: SIGTERM, and SIGKILL if it does not listen."""
    with log.open("ab") as output:
        child = await asyncio.create_subprocess_exec(*map(str, arguments), stdout=output, stderr=output)
    try:
        yield child
    finally:
        with contextlib.suppress(ProcessLookupError):
            child.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(child.wait(), 20)
        except TimeoutError:
            child.kill()
            await child.wait()


async def until(
    condition: Callable[[], Awaitable[Any]], what: str, log: Path, timeout: float = 120, every: float = 0.02
) -> float:
    """Wait for it; returns when it was seen (perf_counter). Raises `RuntimeError` with the end of the log."""
    end = time.perf_counter() + timeout
    while time.perf_counter() < end:
        with contextlib.suppress(aiohttp.ClientError, OSError):
            if await condition():
                return time.perf_counter()
        await asyncio.sleep(every)
    raise RuntimeError(f"{what} did not happen within {timeout:.0f} s:\n{log.read_text()[-3000:]}")


@dataclass
class Service:
    """`cutover serve`, running."""

    front: str
    admin: str
    sqlite: Path
    postgres: str
    log: Path
    pid: int
    session: aiohttp.ClientSession

    async def get(self, path: str) -> Any:
        """JSON from the operators' door."""
        async with self.session.get(self.admin + path) as answer:
            return await answer.json(content_type=None)

    async def post(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """JSON from the operators' door; raises `RuntimeError` when it refuses."""
        async with self.session.post(self.admin + path, json=body or {}) as answer:
            if answer.status >= 300:
                raise RuntimeError(f"{path} answered {answer.status}: {await answer.text()}")
            return await answer.json(content_type=None)

    async def phase(self, phase: str, timeout: float = 300) -> float:
        """Wait for a phase."""
        return await until(lambda: self._is(phase), f"phase {phase}", self.log, timeout)

    async def _is(self, phase: str) -> bool:
        return bool((await self.get("/v1/status"))["phase"] == phase)

    async def ready(self) -> float:
        """Wait until it takes writes."""

        async def look() -> bool:
            async with self.session.get(self.admin + "/readyz") as answer:
                return answer.status == 200

        return await until(look, "ready", self.log)

    async def caught_up(self, timeout: float = 300) -> float:
        """Wait until the shadow has everything."""

        async def look() -> bool:
            mirror = (await self.get("/v1/status"))["mirror"]
            return bool(mirror["lag_changes"] == 0 and mirror["state"] == "running")

        return await until(look, "a mirror without lag", self.log, timeout)

    async def verify(self) -> dict[str, Any]:
        """A full verification, to its end; raises `RuntimeError` when it finds drift."""
        await self.post("/v1/verify")
        result: dict[str, Any] = {}

        async def look() -> bool:
            result.update(await self.get("/v1/verify"))
            return result["state"] in ("done", "failed")

        await until(look, "the end of the verification", self.log, 600)
        if result["state"] != "done" or result["drift_rows"]:
            raise RuntimeError(f"The verification did not pass: {result}")
        return result

    def memory(self) -> int:
        """Resident bytes now."""
        return resident(self.pid)


def resident(pid: int) -> int:
    """Bytes of memory that a process has now."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def processor_seconds(pid: int) -> float:
    """Time of the processor that a process has had until now, with what the system did for it."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@asynccontextmanager
async def cutover(
    stage: Stage,
    database: Path,
    *,
    wait: bool = True,
    postgres: str = "",
    state: Path | None = None,
    compare: str = "",
) -> AsyncIterator[Service]:
    """Serve `database`. With `wait`, copied and mirrored before; `state` and `postgres` may be earlier ones.

    `compare`: further settings of that section."""
    url = postgres or await stage.database()
    front, admin = free_port(), free_port()
    log, config = stage.path("serve.log"), stage.path("cutover.toml")
    kept = state or stage.path("state")
    settings = {"sqlite": database, "postgres": url, "state": kept, "front": front, "admin": admin, "compare": compare}
    config.write_text(_CONFIG.format(**settings))
    command = [sys.executable, "-m", "cutover", "serve", "--config", config]
    async with process(command, log) as child, aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(600)) as session:
        places = (f"http://127.0.0.1:{front}", f"http://127.0.0.1:{admin}")
        service = Service(*places, database, url, log, child.pid, session)
        if wait:
            await service.phase("shadowing")
            await service.caught_up()
        yield service


def make_database(path: Path, schema: str, rows: int = 0) -> Path:
    """A SQLite file in WAL mode with an `items` table as `load.TABLE` or another of its columns, and so many rows."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(schema)
    add_rows(connection, 0, rows)
    connection.close()
    return path


def add_rows(connection: sqlite3.Connection, first: int, rows: int) -> None:
    """Rows of about 200 bytes, 10,000 to a transaction."""
    body = "x" * 120
    for begin in range(first, first + rows, 10_000):
        connection.execute("BEGIN IMMEDIATE")
        numbers = range(begin, min(begin + 10_000, first + rows))
        batch = ((f"seed-{n:016d}", f"author-{n % 997}", f"{n} {body}", "2025-01-31T12:00:00.123Z") for n in numbers)
        connection.executemany("INSERT INTO items VALUES (?, ?, ?, ?)", batch)
        connection.execute("COMMIT")


async def write_load(
    url: str, connections: int, seconds: float, *, lenient: bool = False, stop: asyncio.Event | None = None
) -> Load:
    """Inserts into `items` through a Hrana server; see `drive`."""
    requests = inserts(host_of(url), f"w{time.monotonic_ns():x}")
    return await drive(url, requests, connections, seconds, lenient=lenient, stop=stop)


Benchmark = Callable[[Stage], Awaitable[Report]]
