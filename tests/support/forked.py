"""Starts `cutover serve` by a fork of a process that has imported it already: a second of CPU less at each start.

What runs is the same command, in a process of its own that signals, crash points and exit codes reach as usual. A story
starts the service two or three times, and there are many.

    test ─ socket ─▶ the imported process ─ fork ─▶ a watcher, which waits for ─ fork ─▶ the service

The imported process ends with the test's, and each of the others with the one before it: a test process that is killed
leaves nothing behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_PR_SET_PDEATHSIG = 1


class ForkedProcess:
    """Like `asyncio.subprocess.Process`, as far as `Service` uses it."""

    def __init__(self, pid: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._writer = writer
        self._ending = asyncio.create_task(self._follow(reader))

    async def _follow(self, reader: asyncio.StreamReader) -> None:
        try:
            self.returncode = int(await reader.readline())
        finally:
            self._writer.close()

    async def wait(self) -> int:
        """Wait for its end; returns the exit code, or minus the signal."""
        await asyncio.shield(self._ending)
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Raises `ProcessLookupError` when it has ended."""
        if self.returncode is not None:
            raise ProcessLookupError
        os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)


class Forker:
    """The imported process, as tests see it."""

    def __init__(self, address: str) -> None:
        self.address = address

    async def launch(self, arguments: list[str], environment: dict[str, str], folder: Path, log: Path) -> ForkedProcess:
        """Start the command; returns when the process exists."""
        reader, writer = await asyncio.open_unix_connection(self.address)
        asked = {"arguments": arguments, "environment": environment, "folder": str(folder), "log": str(log)}
        writer.write(json.dumps(asked).encode() + b"\n")
        return ForkedProcess(int(await reader.readline()), reader, writer)


@contextmanager
def forker() -> Iterator[Forker]:
    """An imported process for as long as the context lasts, or its standard input."""
    folder = tempfile.mkdtemp(prefix="cutover-")  # a socket's name must be short
    address = f"{folder}/forker"
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.forked", address],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == b"ready\n", "could not import cutover"
        yield Forker(address)
    finally:
        process.stdin.close()
        process.stdout.close()
        process.wait(120)
        shutil.rmtree(folder)


# -- the imported process --------------------------------------------------------------------------------------------


def _serve(address: str) -> None:
    import select

    import uvloop  # noqa: F401  # imported for the children

    import cutover.cli.service
    import cutover.serve  # noqa: F401  # imported for the children

    gc.freeze()  # the children copy no page of what is imported for the collector's sake
    own = os.getpid()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(address)
        listening.listen()
        print("ready", flush=True)
        while True:
            readable, _, _ = select.select([listening, sys.stdin], [], [])
            if sys.stdin in readable:  # its end: the test process has ended
                return
            connection, _ = listening.accept()
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:  # watchers that are done
                    pass
            with connection:
                if os.fork() == 0:
                    listening.close()
                    _watch(connection, own)


def _end_with(parent: int) -> None:
    """Be killed when the process that made this one has ended, however it did."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it was quicker
            os._exit(1)


def _watch(connection: socket.socket, parent: int) -> None:
    """Be the service's parent, and tell how it ended."""
    _end_with(parent)
    asked = json.loads(connection.makefile("rb").readline())
    watcher = os.getpid()
    pid = os.fork()
    if pid == 0:
        _end_with(watcher)
        connection.close()
        _become(asked)
    connection.sendall(f"{pid}\n".encode())
    _, status = os.waitpid(pid, 0)
    connection.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
    os._exit(0)


def _become(asked: dict[str, Any]) -> None:
    """From here on, what `python -m cutover ...` would be."""
    import importlib

    from cutover import crashpoints
    from cutover.cli.main import main

    log = os.open(asked["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.environ.clear()
    os.environ.update(asked["environment"])
    os.chdir(asked["folder"])
    importlib.reload(crashpoints)  # the one module that reads the environment when it is imported
    sys.argv = ["cutover", *asked["arguments"]]
    code = 1
    try:
        main()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001  # as the interpreter does
        sys.excepthook(*sys.exc_info())
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    _serve(sys.argv[1])
