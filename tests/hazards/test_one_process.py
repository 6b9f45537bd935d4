"""Section B on SQLite: what one process does to its own locks (28), and one client to the others (29)."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cutover.metrics import Metrics
from cutover.model.statement import BatchResult, Statement, Step
from cutover.stores.sqlite.executor import SqliteExecutor
from tests.support.service import Service
from tests.support.sqlite_world import PRIMARY, direct, make, one, served

# -- 28: locks that go with a descriptor -----------------------------------------------------------------------------

OWNER = """
import sqlite3, sys
path, careless = sys.argv[1], sys.argv[2]
owner = sqlite3.connect(path, isolation_level=None)
owner.execute("INSERT INTO t (v) VALUES ('first')")
if careless == "database":
    open(path, "rb").close()  # to hash it, to copy it, to lock it
print("ready", flush=True)
sys.stdin.readline()
owner.execute("INSERT INTO t (v) VALUES ('acknowledged')")
print("done", flush=True)
sys.stdin.readline()
"""
SHM_OWNER = """
import sqlite3, sys
path = sys.argv[1]
owner = sqlite3.connect(path, isolation_level=None)
owner.execute("INSERT INTO t (v) VALUES ('first')")
owner.execute("BEGIN IMMEDIATE")
owner.execute("INSERT INTO t (v) VALUES ('owner')")
open(path + "-shm", "rb").close()
print("ready", flush=True)
sys.stdin.readline()
owner.execute("COMMIT")
print("done", flush=True)
sys.stdin.readline()
"""
WRITER = """
import sqlite3, sys
application = sqlite3.connect(sys.argv[1], timeout=0.2)
if len(sys.argv) > 2:
    application.execute("SELECT count(*) FROM t").fetchall()
    print("open", flush=True)
    sys.stdin.readline()
application.execute("INSERT INTO t (v) VALUES ('application')")
application.commit()
if len(sys.argv) > 2:
    print("written", flush=True)
    sys.stdin.readline()
application.close()
"""


def spawn(script: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def told(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def tell(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def write_directly(path: str) -> int:
    """An application opens the file, writes, and closes it. Its exit code."""
    return subprocess.run([sys.executable, "-c", WRITER, path], check=False, stderr=subprocess.DEVNULL).returncode


@pytest.fixture
def with_table(sqlite_path: str) -> str:
    make(sqlite_path, "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)")
    return sqlite_path


@pytest.mark.parametrize("careless", ["database", "never"])
def test_hazard_28_naive_a_closed_descriptor_loses_acknowledged_writes(with_table: str, careless: str) -> None:
    with spawn(OWNER, with_table, careless) as owner:
        assert told(owner) == "ready"
        assert write_directly(with_table) == 0
        tell(owner)
        assert told(owner) == "done"
        seen = one(with_table, "SELECT group_concat(v) FROM t")
        tell(owner)
    whole = "first,application,acknowledged"
    assert seen == ("first,application" if careless == "database" else whole)


def test_hazard_28_naive_two_write_at_once(with_table: str) -> None:
    with spawn(WRITER, with_table, "in steps") as application:
        assert told(application) == "open"
        with spawn(SHM_OWNER, with_table) as owner:
            assert told(owner) == "ready"
            tell(application)
            assert told(application) == "written"  # though the owner holds the write lock
            tell(owner)
            assert told(owner) == "done"
            tell(owner)
        tell(application)
    assert one(with_table, "SELECT group_concat(v) FROM t") == "first,owner"  # the application was told that it wrote


async def test_hazard_28_the_running_service_keeps_its_locks(service: Service) -> None:
    make(service.sqlite, "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)")
    await service.start()
    await service.up()
    assert (await service.post("/v1/backup"))[0] == 200
    await service.verified()
    assert await service.status()
    assert await asyncio.to_thread(write_directly, service.sqlite) == 0
    assert Path(service.sqlite + "-wal").exists()
    await service.rows("INSERT INTO t (v) VALUES ('front door') RETURNING id")
    assert one(service.sqlite, "SELECT group_concat(v) FROM t") == "application,front door"


# -- 29: groups ------------------------------------------------------------------------------------------------------

SCHEMA = (
    "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT UNIQUE)",
    "CREATE TABLE parent (id INTEGER PRIMARY KEY)",
    "CREATE TABLE late (id INTEGER PRIMARY KEY, p INTEGER REFERENCES parent(id) DEFERRABLE INITIALLY DEFERRED)",
    "CREATE TABLE moody (id INTEGER PRIMARY KEY)",
    "CREATE TRIGGER rule BEFORE INSERT ON moody BEGIN SELECT RAISE(ROLLBACK, 'not today'); END",
    "INSERT INTO t VALUES (1, 'taken')",
)
SPOILERS = ("INSERT OR ROLLBACK INTO t (v) VALUES ('taken')", "INSERT INTO moody VALUES (1)")
DEFERRED = "INSERT INTO late (p) VALUES (99)"


@pytest.mark.parametrize("spoiler", SPOILERS)
def test_hazard_29_naive_one_client_undoes_the_others(sqlite_path: str, spoiler: str) -> None:
    make(sqlite_path, *SCHEMA)
    with direct(sqlite_path) as group:
        group.execute("BEGIN IMMEDIATE")
        group.execute("SAVEPOINT a")
        group.execute("INSERT INTO t (v) VALUES ('A')")
        group.execute("RELEASE a")
        group.execute("SAVEPOINT b")
        with pytest.raises(sqlite3.IntegrityError):
            group.execute(spoiler)
        with pytest.raises(sqlite3.OperationalError, match="no such savepoint"):
            group.execute("ROLLBACK TO b")
        group.execute("INSERT INTO t (v) VALUES ('C')")  # commits by itself
        with pytest.raises(sqlite3.OperationalError, match="no transaction is active"):
            group.execute("COMMIT")
    assert one(sqlite_path, "SELECT group_concat(v) FROM t") == "taken,C"


def test_hazard_29_naive_a_deferred_key_fails_the_groups_commit(sqlite_path: str) -> None:
    make(sqlite_path, *SCHEMA)
    with direct(sqlite_path) as group:
        group.execute("PRAGMA foreign_keys = ON")
        group.execute("BEGIN IMMEDIATE")
        group.execute("INSERT INTO t (v) VALUES ('A')")
        group.execute("SAVEPOINT b")
        group.execute(DEFERRED)
        group.execute("RELEASE b")
        with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
            group.execute("COMMIT")


@pytest.fixture
async def executor(sqlite_path: str) -> AsyncIterator[SqliteExecutor]:
    make(sqlite_path, *SCHEMA)
    async with served(sqlite_path, PRIMARY) as (store, _):
        executor = SqliteExecutor(store, Metrics("test"), transaction_timeout=1)
        yield executor
        await executor.close()


@pytest.mark.parametrize("spoiler", [*SPOILERS, DEFERRED])
async def test_hazard_29_one_clients_failure_is_its_own(
    executor: SqliteExecutor, sqlite_path: str, spoiler: str
) -> None:
    statements = ["INSERT INTO t (v) VALUES ('A')", spoiler, "INSERT INTO t (v) VALUES ('C')"]
    batches = [[Step(Statement(sql))] for sql in ("INSERT INTO t (v) VALUES ('first')", *statements)]
    results = await asyncio.gather(*(executor.run(batch) for batch in batches), return_exceptions=True)
    failed = [
        isinstance(result, BaseException) or (isinstance(result, BatchResult) and result.errors[0] is not None)
        for result in results
    ]
    assert failed == [False, False, True, False]
    assert one(sqlite_path, "SELECT group_concat(v) FROM t") == "taken,first,A,C"
    assert one(sqlite_path, "SELECT count(*) FROM late") == 0
