"""The test's side of a service that lives in a process of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

_PATIENCE = 60.0
_ROOT = Path(__file__).parents[3]


class Died(Exception):
    """The process ended without an answer."""


@contextmanager
def hosting() -> Iterator[str]:
    """Socket at which services can be had."""
    with tempfile.TemporaryDirectory(prefix="cutover-host-") as folder:
        path = str(Path(folder) / "socket")
        command = [sys.executable, "-m", "tests.support.stateful.host", path]
        with subprocess.Popen(command, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as host:
            assert host.stdin is not None
            assert host.stdout is not None
            assert host.stdout.readline() == b"ready\n"
            yield path
            host.stdin.close()


class Service:
    """One life after the other of a service on one pair of stores."""

    def __init__(self, host: str, settings: dict[str, Any], log: Path) -> None:
        self._host, self._settings, self._log = host, settings, log
        self._connection: Connection | None = None
        self._pid = 0
        self._asked = 0
        self._answers: dict[int, tuple[bool, Any]] = {}

    # -- life and death ----------------------------------------------------------------------------------------------

    def start(self, point: str = "") -> None:
        """Start it, to die at a crash point. Raises `Died`."""
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(self._host)
            self._connection = Connection(client.detach())
        self._answers.clear()
        self._connection.send((self._settings, str(self._log), point))
        self._pid = self._connection.recv()
        self.answer(0)

    def stop(self) -> None:
        """End it in order."""
        self.call("stop")
        with suppress(Died):
            while True:
                self._receive(time.monotonic() + _PATIENCE)
        self.bury()

    def kill(self) -> None:
        """End it by SIGKILL, if it lives."""
        if self._connection is not None:
            with suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
            self.bury()

    def bury(self) -> None:
        """It ended, or is about to: return when nothing of it is left, locks and connections included."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        deadline = time.monotonic() + _PATIENCE
        while self._pid and Path(f"/proc/{self._pid}").exists():
            assert time.monotonic() < deadline
            time.sleep(0.001)
        self._pid = 0

    # -- questions ---------------------------------------------------------------------------------------------------

    def call(self, name: str, *arguments: Any) -> Any:
        """Ask, and wait for the answer. Raises `Died`."""
        return self.answer(self.ask(name, *arguments))

    def ask(self, name: str, *arguments: Any) -> int:
        """Ask; the answer comes by this number."""
        assert self._connection is not None
        self._asked += 1
        try:
            self._connection.send((self._asked, name, arguments))
        except OSError:
            raise Died from None
        return self._asked

    def stands_still(self, number: int) -> bool:
        """Wait until it stands still, or has answered all the same. Raises `Died`."""
        deadline = time.monotonic() + _PATIENCE
        while not {0, number} & self._answers.keys():
            self._receive(deadline)
        return self._answers.pop(0, None) is not None

    def go_on(self) -> None:
        """After it stood still."""
        assert self._connection is not None
        self._connection.send(None)

    def answer(self, number: int) -> Any:
        """The answer to a question. Raises `Died`."""
        deadline = time.monotonic() + _PATIENCE
        while number not in self._answers:
            self._receive(deadline)
        well, value = self._answers.pop(number)
        assert well, f"{value}\n{self.told()}"
        return value

    def _receive(self, deadline: float) -> None:
        assert self._connection is not None
        assert self._connection.poll(max(deadline - time.monotonic(), 0)), f"No answer.\n{self.told()}"
        try:
            number, well, value = self._connection.recv()
        except (EOFError, OSError):
            raise Died from None
        assert number or well, f"The service ended: {value}\n{self.told()}"
        self._answers[number] = well, value

    def told(self) -> str:
        """The end of its log."""
        lines = self._log.read_text().splitlines() if self._log.exists() else []
        return "\n".join(["--- log ---", *lines[-30:]])
