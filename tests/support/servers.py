"""A Postgres server for the tests, which never outlives them, and a fresh database for each test."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import asyncpg

from cutover.stores.postgres.embedded import EmbeddedPostgres

SERVER_URL = "CUTOVER_TEST_POSTGRES_URL"


@contextmanager
def server() -> Iterator[str]:
    """URL of a running server: the one in the environment, or an embedded one for as long as the context lasts."""
    given = os.environ.get(SERVER_URL)
    if given:
        yield given
        return
    # In memory where there is room: fsync stays on, as the product wants it, and costs nothing.
    memory = Path("/dev/shm")
    roomy = memory.is_dir() and shutil.disk_usage(memory).free > 2 << 30
    folder = Path(tempfile.mkdtemp(prefix="cutover-test-", dir=memory if roomy else None))
    postgres = EmbeddedPostgres(folder / "postgres", {"log_min_messages": "fatal", "max_wal_size": "256MB"})
    with undertaker(postgres, folder):
        yield postgres.start_blocking()


@contextmanager
def undertaker(postgres: EmbeddedPostgres, folder: Path) -> Iterator[None]:
    """Have `postgres` killed and `folder` removed when the context ends, also if this process is killed."""
    pid_file = shlex.quote(str(postgres.data_dir / "postmaster.pid"))
    script = (
        f"cat >/dev/null; pid=$(head -n 1 {pid_file} 2>/dev/null); "
        f'if [ -n "$pid" ]; then kill -QUIT "$pid" 2>/dev/null; '
        f'while kill -0 "$pid" 2>/dev/null; do sleep 0.05; done; fi; rm -rf {shlex.quote(str(folder))}'
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
        waiting.wait(30)


def with_database(url: str, database: str) -> str:
    """The same server, another database."""
    return re.sub(r"^(\w+://[^/?]*)(/[^?]*)?", rf"\1/{database}", url)


@asynccontextmanager
async def fresh_database(server_url: str) -> AsyncIterator[str]:
    """URL of an empty database that is dropped afterwards, whoever is still connected."""
    name = f"test_{uuid.uuid4().hex[:16]}"
    # Templates can be copied by one connection at a time; template0 is never connected to, so nobody is in the way.
    await _admin(server_url, f'CREATE DATABASE "{name}" TEMPLATE template0')
    try:
        yield with_database(server_url, name)
    finally:
        await _admin(server_url, f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


async def _admin(url: str, sql: str) -> None:
    connection = await asyncpg.connect(url, timeout=30)
    try:
        await connection.execute(sql)
    finally:
        await connection.close()
