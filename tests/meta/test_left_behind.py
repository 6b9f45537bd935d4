"""What tests start does not outlive them, however their process ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.support.service import until

_TEST = """
import asyncio, sys, time
from pathlib import Path
from tests.support.forked import forker
from tests.support.service import Service, create

async def main(folder, imported):
    Service.forker = imported
    create(str(folder / "app.db"), "PRAGMA journal_mode = WAL; CREATE TABLE t(id INTEGER PRIMARY KEY)")
    service = Service(folder, str(folder / "app.db"), "postgresql://nobody@127.0.0.1:1/nothing")
    await service.start()
    await service.answering()
    print(service.process.pid, flush=True)
    await asyncio.Event().wait()

with forker() as imported:
    asyncio.run(main(Path(sys.argv[1]), imported))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel is asked to end it")
async def test_a_service_ends_with_the_test_process_that_started_it(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _TEST, str(tmp_path)]
    with subprocess.Popen(command, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        service = psutil.Process(int(process.stdout.readline()))
        assert service.is_running()
        process.kill()
    await until(lambda: not _lives(service), "the end of the service")


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
