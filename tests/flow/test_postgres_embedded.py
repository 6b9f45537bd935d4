"""The embedded server: kept, adopted, recovered after a kill, stopped without a trace."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from cutover.errors import ConfigurationError
from cutover.stores.postgres.embedded import EmbeddedPostgres
from tests.support.postgres import native, run
from tests.support.servers import own_server, signal_all


async def test_data_stay_between_runs_and_a_running_server_is_adopted() -> None:
    with own_server() as first:
        url = await first.start()
        await run(url, "CREATE TABLE kept (n int)", "INSERT INTO kept VALUES (1)")
        pid = first.pid
        second = EmbeddedPostgres(first.data_dir)
        assert await second.start() == url
        assert second.pid == pid
        await second.stop()
        await first.stop()
        assert first.pid is None
        assert await first.start() == url
        async with native(url) as app:
            assert await app.fetchval("SELECT n FROM kept") == 1
            assert await app.fetchval("SHOW fsync") == "on"
            assert await app.fetchval("SHOW listen_addresses") == ""
            assert await app.fetchval("SELECT datcollate FROM pg_database WHERE datname = current_database()") == "C"


async def test_a_killed_server_recovers() -> None:
    with own_server() as postgres:
        url = await postgres.start()
        await run(url, "CREATE TABLE kept (n int)")
        signal_all(postgres, signal.SIGKILL)
        assert postgres.pid is None
        await postgres.start()
        assert await _count(url) == 0
        # Only the first process dies; its children hold the shared memory for a moment.
        await run(url, "INSERT INTO kept VALUES (1)")
        assert postgres.pid is not None
        os.kill(postgres.pid, signal.SIGKILL)
        await postgres.start()
        assert await _count(url) == 1


async def _count(url: str) -> int:
    async with native(url) as app:
        return await app.fetchval("SELECT count(*) FROM kept")


async def test_a_recorded_number_that_is_somebody_elses_is_not_believed() -> None:
    with own_server() as postgres:
        await postgres.start()
        signal_all(postgres, signal.SIGKILL)
        stranger = subprocess.Popen(["sleep", "60"])
        try:
            record = postgres.data_dir / "postmaster.pid"
            lines = record.read_text().split("\n", 1)
            record.write_text(f"{stranger.pid}\n{lines[1]}")
            assert postgres.pid is None
            await postgres.start()
            assert postgres.pid not in {None, stranger.pid}
        finally:
            stranger.kill()
            stranger.wait()


async def test_a_long_path_gets_a_socket_elsewhere(tmp_path: Path) -> None:
    with own_server() as postgres:
        long = EmbeddedPostgres(postgres.data_dir.parent / ("long" * 30) / "postgres")
        try:
            url = await long.start()
            async with native(url) as app:
                assert await app.fetchval("SELECT 1") == 1
            assert (long.socket_dir.stat().st_mode & 0o777) == 0o700
        finally:
            await long.stop()
            long.socket_dir.rmdir()


async def test_data_of_another_version_are_left_alone() -> None:
    with own_server() as postgres:
        await postgres.start()
        await postgres.stop()
        (postgres.data_dir / "PG_VERSION").write_text("9.6\n")
        with pytest.raises(ConfigurationError, match=r"9\.6"):
            await postgres.start()
