"""The command as a process on a real terminal: the question of a switch, and Ctrl-C while watching."""

from __future__ import annotations

import asyncio
import os
import pty
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp.test_utils import TestServer

from cutover.admin.app import make_app
from cutover.cli.status import noticing_ctrl_c
from cutover.metrics import Metrics
from cutover.settings import AdminSettings
from tests.support.operations import ScriptedOperations


class Terminal:
    """A process on a pseudo terminal."""

    def __init__(self, process: asyncio.subprocess.Process, file: int) -> None:
        self.process = process
        self._file = file
        self._said = b""
        self._more = asyncio.Event()

    def readable(self) -> None:
        try:
            data = os.read(self._file, 65536)
        except OSError:  # the other end is closed
            data = b""
        self._said += data
        self._more.set()
        if not data:
            asyncio.get_running_loop().remove_reader(self._file)

    async def until(self, seen: Callable[[bytes], bool]) -> bytes:
        """Wait until what was printed is so."""
        async with asyncio.timeout(60):
            while not seen(self._said):
                self._more.clear()
                await self._more.wait()
        return self._said

    def type(self, text: bytes) -> None:
        os.write(self._file, text)

    async def ended(self) -> int:
        async with asyncio.timeout(60):
            return await self.process.wait()


@asynccontextmanager
async def on_terminal(url: str, folder: Path, *args: str) -> AsyncIterator[Terminal]:
    ours, theirs = pty.openpty()
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    environment = {**kept, "CUTOVER_ADMIN_URL": url, "TERM": "xterm"}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "cutover", *args, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, cwd=folder
    )
    os.close(theirs)
    terminal = Terminal(process, ours)
    loop = asyncio.get_running_loop()
    loop.add_reader(ours, terminal.readable)
    try:
        yield terminal
    finally:
        loop.remove_reader(ours)
        if process.returncode is None:
            process.kill()
            await process.wait()
        os.close(ours)


@pytest.fixture
async def service() -> AsyncIterator[tuple[str, ScriptedOperations]]:
    metrics = Metrics("0.1.0")
    operations = ScriptedOperations(metrics)
    async with TestServer(make_app(operations, AdminSettings(), metrics)) as server:
        yield str(server.make_url("/")), operations


async def test_the_question_is_asked_and_answered(service: tuple[str, ScriptedOperations], tmp_path: Path) -> None:
    url, operations = service
    async with on_terminal(url, tmp_path, "promote", "--approval", "C-1") as terminal:
        asked = await terminal.until(lambda said: b"Type promote to go on: " in said)
        assert b"verified" in asked
        assert operations.switches_done == 0
        terminal.type(b"promote\n")
        assert await terminal.ended() == 0
    assert operations.switches_done == 1


async def test_watching_redraws_and_ends_with_ctrl_c(service: tuple[str, ScriptedOperations], tmp_path: Path) -> None:
    url, operations = service
    async with on_terminal(url, tmp_path, "status", "--watch") as terminal:
        await terminal.until(lambda said: said.count(b"shadowing") >= 2)
        assert len(operations.calls) >= 2
        terminal.process.send_signal(signal.SIGINT)
        assert await terminal.ended() == 0


def test_ctrl_c_is_not_lost_in_a_finaliser(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python tells of an exception there, and goes on."""
    lost: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda told: lost.append(told.exc_type))

    class Held:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with noticing_ctrl_c() as over:
        held = Held()
        assert not over()
        del held
        assert over()
    assert lost == [KeyboardInterrupt]
    assert signal.getsignal(signal.SIGINT) is before
