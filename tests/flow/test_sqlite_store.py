"""One owner, one writer, durable connections, and backups of a file in use."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from cutover.errors import (
    ConfigurationError,
    CutoverError,
    OwnedElsewhere,
    StoreError,
    StoreUnavailable,
)
from cutover.model.statement import Statement
from cutover.stores.sqlite.owner import owner_lock_path
from cutover.stores.sqlite.running import run_statement
from cutover.stores.sqlite.store import SqliteStore
from tests.support.sqlite_world import PRIMARY, direct, make, one, served

# -- opening and owning --------------------------------------------------------------------------------------


async def test_a_missing_file_is_not_created(tmp_path: Path) -> None:
    path = tmp_path / "nothing.db"
    with pytest.raises(ConfigurationError, match=r"nothing\.db"):
        await SqliteStore(str(path)).open()
    assert not path.exists()


async def test_a_file_that_is_no_database_is_said_to_be_none(tmp_path: Path) -> None:
    path = tmp_path / "text.db"
    path.write_text("this is not a database, however long it is made to be" * 20)
    with pytest.raises(StoreError, match="not a database"):
        await SqliteStore(str(path)).open()


async def test_a_store_that_is_not_open_says_so(sqlite_path: str) -> None:
    with pytest.raises(StoreUnavailable):
        await SqliteStore(sqlite_path).control()


async def test_a_second_owner_is_refused_by_name(sqlite_path: str) -> None:
    first = SqliteStore(sqlite_path, owner_lock=owner_lock_path(sqlite_path))
    second = SqliteStore(sqlite_path, owner_lock=owner_lock_path(sqlite_path))
    await first.open()
    with pytest.raises(OwnedElsewhere, match=f"pid {os.getpid()} on host .* since 2"):
        await second.open()
    await first.close()
    await second.open()
    await second.close()


def test_a_killed_owner_lets_go(sqlite_path: str) -> None:
    script = (
        "import sys, time; from pathlib import Path; from cutover.stores.sqlite.owner import OwnerLock\n"
        "lock = OwnerLock(Path(sys.argv[1])); lock.acquire(); print('mine', flush=True); time.sleep(60)"
    )
    path = owner_lock_path(sqlite_path)
    process = subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"mine\n"
        assert json.loads(path.read_text())["pid"] == process.pid
        process.send_signal(signal.SIGSTOP)  # frozen is not dead
        store = SqliteStore(sqlite_path, owner_lock=path)
        with pytest.raises(OwnedElsewhere, match=str(process.pid)):
            asyncio.run(store.open())
    finally:
        process.kill()
        process.communicate()
    asyncio.run(_open_and_close(store))


async def _open_and_close(store: SqliteStore) -> None:
    await store.open()
    await store.close()


# -- writing -------------------------------------------------------------------------------------------------


async def test_a_cancelled_write_is_settled_before_the_next_one(sqlite_path: str) -> None:
    make(sqlite_path, "CREATE TABLE t (k INTEGER PRIMARY KEY)")
    async with served(sqlite_path, PRIMARY) as (store, _):
        began = asyncio.Event()
        loop = asyncio.get_running_loop()

        def slow(connection: sqlite3.Connection) -> None:
            connection.execute("BEGIN IMMEDIATE")
            loop.call_soon_threadsafe(began.set)
            connection.execute(
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 300000) "
                "INSERT INTO t SELECT i FROM n"
            )
            connection.execute("COMMIT")

        task = asyncio.create_task(store.write(slow))
        await began.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await store.write(lambda c: (c.in_transaction, c.execute("SELECT count(*) FROM t").fetchone()[0])) == (
            False,
            300_000,
        )


async def test_what_a_write_leaves_open_is_rolled_back(sqlite_path: str) -> None:
    make(sqlite_path, "CREATE TABLE t (k INTEGER PRIMARY KEY)")

    def careless(connection: sqlite3.Connection) -> None:
        connection.execute("BEGIN")
        connection.execute("INSERT INTO t VALUES (1)")

    async with served(sqlite_path, PRIMARY) as (store, _):
        await store.write(careless)
        assert one(sqlite_path, "SELECT count(*) FROM t") == 0


async def test_a_cancelled_read_is_cut_off(sqlite_path: str) -> None:
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"
    async with served(sqlite_path, PRIMARY) as (store, _):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await store.read(lambda c: c.execute(endless).fetchone())
        with pytest.raises(TimeoutError):
            async with store.snapshot() as snapshot, asyncio.timeout(0.2):
                await snapshot.scalar(endless)
        assert await store.read(lambda c: c.execute("SELECT 1").fetchone()) == (1,)


async def test_readers_refuse_to_write(sqlite_path: str) -> None:
    async with served(sqlite_path, PRIMARY) as (store, _):
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            await store.read(lambda c: c.execute("CREATE TABLE x (y)"))


async def test_connections_are_durable_and_check_foreign_keys(sqlite_path: str) -> None:
    async with served(sqlite_path, PRIMARY) as (store, _):
        for pragma, value in (("journal_mode", "wal"), ("synchronous", 2), ("foreign_keys", 1)):
            assert await store.write(lambda c, p=pragma: c.execute(f"PRAGMA {p}").fetchone()[0]) == value


async def test_our_own_reading_leaves_sqlites_locks_alone(sqlite_path: str, tmp_path: Path) -> None:
    """Hazard 28: a descriptor of the database closed in this process would let a direct writer delete the WAL."""
    make(sqlite_path, "CREATE TABLE t (k INTEGER PRIMARY KEY, v)")
    writer = (
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('INSERT INTO t (v) VALUES (1)'); c.commit()"
    )
    async with served(sqlite_path, PRIMARY) as (store, _):
        await store.sync()
        await store.probe()
        await store.backup(str(tmp_path / "copy.db"))
        store.holders()
        subprocess.run([sys.executable, "-c", writer, sqlite_path], check=True)
        assert Path(sqlite_path + "-wal").exists()
        await store.write(lambda c: c.execute("INSERT INTO t (v) VALUES (2)"))
        seen = subprocess.run(
            [
                sys.executable,
                "-c",
                "import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute("
                "'SELECT count(*) FROM t').fetchone()[0])",
                sqlite_path,
            ],
            check=True,
            capture_output=True,
            text=True,
        )
        assert seen.stdout.strip() == "2"


# -- backup --------------------------------------------------------------------------------------------------


async def test_a_backup_is_whole_while_others_write(sqlite_path: str, tmp_path: Path) -> None:
    make(sqlite_path, "CREATE TABLE t (k INTEGER PRIMARY KEY, v)")
    with direct(sqlite_path) as application:
        application.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 50000) "
            "INSERT INTO t (v) SELECT hex(randomblob(200)) FROM n"
        )
    target = tmp_path / "deep.db"
    async with served(sqlite_path, PRIMARY) as (store, _):
        running = asyncio.create_task(store.backup(str(target)))
        written = 0
        while not running.done():
            await store.write(lambda c: c.execute("INSERT INTO t (v) VALUES ('late')"))
            written += 1
        checksum = await running
        assert written
        assert checksum == hashlib.sha256(target.read_bytes()).hexdigest()
        assert one(str(target), "PRAGMA integrity_check") == "ok"
        assert 50_000 <= one(str(target), "SELECT count(*) FROM t") <= 50_000 + written
        with pytest.raises(CutoverError, match="exists already") as refused:
            await store.backup(str(target))
        assert refused.value.code == "error", "it is the request that is wrong, not the store"
    assert [name for name in os.listdir(tmp_path) if "partial" in name] == []


@pytest.mark.parametrize("suffix", ["-journal", "-wal", "-shm", "-cutover-owner"])
async def test_a_backup_is_never_a_companion_of_its_database(sqlite_path: str, suffix: str) -> None:
    """As a journal it would be rolled back into the database, and keep every new connection out until then."""
    async with served(sqlite_path, PRIMARY) as (store, _):
        with pytest.raises(CutoverError, match="beside the database") as refused:
            await store.backup(sqlite_path + suffix)
        assert refused.value.code == "error"


async def test_a_failed_backup_leaves_no_file(sqlite_path: str, tmp_path: Path) -> None:
    async with served(sqlite_path, PRIMARY) as (store, _):
        with pytest.raises(StoreError):
            await store.backup(str(tmp_path / "missing" / "copy.db"))
        assert not (tmp_path / "missing").exists()


def test_a_pragma_sees_what_another_connection_has_made(sqlite_path: str) -> None:
    one, other = (sqlite3.connect(sqlite_path, isolation_level=None) for _ in range(2))
    try:
        other.execute("CREATE TABLE t (x)")
        assert run_statement(one, Statement("SELECT * FROM t")).rows == []
        other.execute("CREATE INDEX i ON t (x)")
        assert run_statement(one, Statement("PRAGMA index_info(i)")).rows == [(0, 0, "x")]
    finally:
        one.close()
        other.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of two megabytes."""
    place = tmp_path / "disk"
    place.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "cutover-test", str(place)], check=False)
    if done.returncode:
        pytest.skip("this user may mount nothing")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


async def _asked(store: SqliteStore) -> StoreError | None:
    try:
        await store.demand_room()
    except StoreError as error:
        return error
    return None


async def test_a_full_disk_is_told_before_a_write_meets_it_and_room_again(small_disk: Path) -> None:
    """Somebody who is writing is not waited for: he is told by his own write."""
    path = str(small_disk / "app.db")
    make(path, "CREATE TABLE t(id INTEGER PRIMARY KEY)")
    async with served(path, PRIMARY) as (store, _):
        with (small_disk / "filler").open("wb", buffering=0) as filler, suppress(OSError):
            while filler.write(bytes(4096)):
                pass
        found = [str(error) for _ in range(100) if (error := await _asked(store)) is not None]  # the WAL has room, too
        assert found
        assert all("full" in text for text in found)
        async with store.writer_turn:
            await store.demand_room()
        (small_disk / "filler").unlink()
        await store.demand_room()
        assert await store.control() is not None
