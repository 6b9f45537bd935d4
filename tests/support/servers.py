"""A Postgres server for the tests, which never outlives them, and a fresh database for each test."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import asyncpg
import psutil

from cutover.dialect.helpers import install_helpers
from cutover.stores.postgres.embedded import EmbeddedPostgres
from tests.support.scratch import memory

SERVER_URL = "CUTOVER_TEST_POSTGRES_URL"

_SETTINGS = {
    "log_min_messages": "fatal",
    "max_wal_size": "256MB",
    "dynamic_shared_memory_type": "mmap",  # a killed server leaves nothing outside its folder
}


@contextmanager
def server() -> Iterator[str]:
    """URL of a running server: the one in the environment, or an embedded one for as long as the context lasts."""
    given = os.environ.get(SERVER_URL)
    if given:
        yield given
        return
    with own_server() as postgres:
        yield postgres.start_blocking()


@contextmanager
def own_server() -> Iterator[EmbeddedPostgres]:
    """A server that is not started yet, for tests that stop, kill or freeze it; gone when the context ends."""
    with buried("cutover-test-", _SETTINGS) as postgres:
        yield postgres


@contextmanager
def buried(prefix: str, settings: Mapping[str, str]) -> Iterator[EmbeddedPostgres]:
    """A server with these settings, not started yet. Where it is in memory, fsync stays on and costs nothing."""
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=memory()))
    postgres = EmbeddedPostgres(folder / "postgres", settings)
    with undertaker(postgres, folder):
        yield postgres


def signal_all(postgres: EmbeddedPostgres, number: int) -> None:
    """Send a signal to every process of a server: SIGKILL, SIGSTOP (frozen), SIGCONT."""
    assert postgres.pid is not None
    parent = psutil.Process(postgres.pid)
    everyone = [parent, *parent.children(recursive=True)]
    for process in everyone:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)
    if number == signal.SIGKILL:
        while any(map(_alive, everyone)):
            time.sleep(0.005)


def _alive(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@contextmanager
def undertaker(postgres: EmbeddedPostgres, folder: Path) -> Iterator[None]:
    """Have `postgres` killed and `folder` removed when the context ends, also if this process is killed."""
    data_dir = shlex.quote(str(postgres.data_dir))
    script = (
        f"cat >/dev/null; cd /; pid=$(head -n 1 {data_dir}/postmaster.pid 2>/dev/null); "
        f'if [ -n "$pid" ] && [ "$(readlink /proc/$pid/cwd)" = {data_dir} ]; then '
        f'kill -QUIT "$pid"; kill -CONT "$pid"; n=0; '
        f"while [ -e {data_dir}/postmaster.pid ] && [ $n -lt 200 ]; do n=$((n + 1)); sleep 0.05; done; fi; "
        f"rm -rf {shlex.quote(str(folder))}"
    )
    waiting = subprocess.Popen(
        ["/bin/sh", "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield
    finally:
        assert waiting.stdin is not None
        waiting.stdin.close()
        waiting.wait(120)


def with_database(url: str, database: str) -> str:
    """The same server, another database."""
    return re.sub(r"^(\w+://[^/?]*)(/[^?]*)?", rf"\1/{database}", url)


def database_of(url: str) -> str:
    """Name of the database that a URL leads to."""
    found = re.match(r"^\w+://[^/?]*/([^?]*)", url)
    assert found is not None, url
    return found[1]


@asynccontextmanager
async def fresh_database(server_url: str, template: str = "template0") -> AsyncIterator[str]:
    """URL of an empty database, or a copy of `template`, that is dropped afterwards, whoever is still connected."""
    name = f"test_{uuid.uuid4().hex[:16]}"
    # Templates can be copied by one connection at a time; template0 is never connected to, so nobody is in the way.
    await make_database(server_url, name, template)
    try:
        yield with_database(server_url, name)
    finally:
        await drop_database(server_url, name)


async def equip(url: str) -> None:
    """Have the helper functions of the dialect in this database, as after its first translated statement."""
    connection = await asyncpg.connect(url, timeout=30)
    try:
        await install_helpers(connection)
    finally:
        await connection.close()


async def make_database(server_url: str, name: str, template: str) -> None:
    """A copy of `template`, file by file where the server can: through the WAL it takes twice as long."""
    async with _admin(server_url) as connection:
        how = "STRATEGY FILE_COPY" if connection.get_server_version().major >= 15 else ""
        await connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}" {how}')


async def drop_database(server_url: str, name: str) -> None:
    """Whoever is still connected."""
    async with _admin(server_url) as connection:
        await connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


@asynccontextmanager
async def _admin(url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(url, timeout=30)
    try:
        yield connection
    finally:
        await connection.close()
