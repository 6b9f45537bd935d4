"""The real service as a process of its own: started, asked, killed, started again."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import signal
import socket
import sqlite3
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import aiohttp

from tests.support.forked import ForkedProcess, Forker

DEADLINE = 120.0
"""Seconds for anything that should happen soon; generous because test machines are slow, not because we are."""


_REST, _LONGEST_REST = 0.01, 0.06
"""Seconds between two looks at what is awaited: at first, and after a quarter of a second. A look is a request to the
service more often than not, and takes it as much of the processor as what it is to get done."""

_PATIENT = {"CUTOVER_PROMOTION_MAX_LAG_SECONDS": "30s"}
"""On a busy machine the mirror can be more than a second behind just when a switch is asked for."""

_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 8
_PORTS = range(12_000 + _WORKER * 2_500, 14_500 + _WORKER * 2_500)
"""Below the ports that the system gives to outgoing connections, any of which could take one of ours meanwhile. Each
worker of a test run has its own: one that is faster would else come to where another is."""
_places = itertools.count(os.getpid() * 37)


def free_ports(count: int) -> list[int]:
    """Port numbers that nobody listens on now, and that this process has not been given in a long time."""
    found: list[int] = []
    while len(found) < count:
        port = _PORTS[next(_places) % len(_PORTS)]
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            found.append(port)
    return found


async def until(condition: Callable[[], Any], what: str, deadline: float = DEADLINE) -> Any:
    """Await a condition (may be async; its first true value is returned). Fails with `what` after the deadline."""
    end = time.monotonic() + deadline
    last: Any = None
    rest = _REST
    while time.monotonic() < end:
        try:
            last = condition()
            if asyncio.iscoroutine(last):
                last = await last
        except (TimeoutError, aiohttp.ClientError, ConnectionError, OSError) as error:
            last = None
            trouble: Any = error
        else:
            trouble = last
        if last:
            return last
        await asyncio.sleep(rest)
        rest = min(rest * 1.25, _LONGEST_REST)
    raise AssertionError(f"{what} did not happen within {deadline:.0f} s; last seen: {trouble!r}")


class Service:
    """`cutover serve` on one SQLite file and one Postgres database."""

    forker: ClassVar[Forker | None] = None
    """Starts every service of this test process by a fork instead of a new interpreter, if there is one."""

    def __init__(self, folder: Path, sqlite: str, postgres: str, extra: str = "") -> None:
        self.folder = folder
        self.sqlite = sqlite
        self.front_port, self.admin_port = free_ports(2)
        self.front = f"http://127.0.0.1:{self.front_port}"
        self.admin = f"http://127.0.0.1:{self.admin_port}"
        self.config = folder / "cutover.toml"
        self.log = folder / "service.log"
        self.process: asyncio.subprocess.Process | ForkedProcess | None = None
        self.config.write_text(
            f"""
[sqlite]
path = "{sqlite}"
[postgres]
url = "{postgres}"
[service]
state_dir = "{folder / "state"}"
log_format = "json"
[front]
listen = "127.0.0.1:{self.front_port}"
[admin]
listen = "127.0.0.1:{self.admin_port}"
{extra}
"""
        )

    async def start(self, *, crash_point: str = "", environment: dict[str, str] | None = None) -> None:
        """Start the process; returns at once."""
        env = os.environ | {"CUTOVER_CRASH_POINT": crash_point} | _PATIENT | (environment or {})
        arguments = ["serve", "--config", str(self.config)]
        if self.forker is not None:
            self.process = await self.forker.launch(arguments, env, self.folder, self.log)
            return
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "cutover", *arguments,
                stdout=log, stderr=log, env=env, cwd=self.folder,
            )  # fmt: skip

    async def up(self, phase: str = "shadowing") -> dict[str, Any]:
        """Wait until it answers with this phase, attached and able to write; returns the status."""

        async def look() -> dict[str, Any] | None:
            self.check_alive()
            status = await self.status()
            good = status["phase"] == phase and status["attached"] and not status["problem"]
            return status if good else None

        return await self.explained(until(look, f"phase {phase}"))

    async def answering(self) -> None:
        """Wait until the front door takes requests."""

        async def look() -> bool:
            self.check_alive()
            return (await self.request("GET", self.front + "/health"))[0] == 200

        await self.explained(until(look, "the front door"))

    async def explained(self, waiting: Any) -> Any:
        try:
            return await waiting
        except AssertionError as error:
            told = [line for line in self.log.read_text().splitlines() if '"event":"request"' not in line]
            raise AssertionError("\n".join([str(error), "--- log ---", *told[-25:]])) from None

    def check_alive(self) -> None:
        """Fails if the process has ended."""
        assert self.process is not None
        if self.process.returncode is not None:
            raise AssertionError(f"The service ended with {self.process.returncode}:\n{self.log.read_text()[-6000:]}")

    async def request(self, method: str, url: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """(status, JSON or text) of one request on a connection of its own."""
        timeout = aiohttp.ClientTimeout(total=DEADLINE)
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.request(method, url, json=body, headers=headers) as answer,
        ):
            text = await answer.text()
            try:
                return answer.status, json.loads(text)
            except ValueError:
                return answer.status, text

    async def status(self) -> dict[str, Any]:
        """`GET /v1/status`."""
        code, body = await self.request("GET", self.admin + "/v1/status")
        assert code == 200, body
        assert isinstance(body, dict)
        return body

    async def post(self, path: str, **body: Any) -> tuple[int, Any]:
        """A POST to the admin listener."""
        return await self.request("POST", self.admin + path, body)

    async def sql(self, sql: str, *args: Any) -> dict[str, Any]:
        """One statement through the front door; returns Hrana's result entry (`type` ok or error)."""
        body = {
            "baton": None,
            "requests": [
                {"type": "execute", "stmt": {"sql": sql, "args": [hrana_value(arg) for arg in args]}},
                {"type": "close"},
            ],
        }
        code, answer = await self.request("POST", self.front + "/v3/pipeline", body)
        if code != 200:
            return {"type": "error", "error": {"message": str(answer), "code": f"HTTP_{code}"}}
        entry = answer["results"][0]
        assert isinstance(entry, dict)
        return entry

    async def rows(self, sql: str, *args: Any) -> list[list[Any]]:
        """Rows of one statement that must succeed, as plain values."""
        entry = await self.sql(sql, *args)
        assert entry["type"] == "ok", entry
        return [[plain(value) for value in row] for row in entry["response"]["result"]["rows"]]

    async def verified(self) -> dict[str, Any]:
        """Run a full verification, which must come to its end; returns `GET /v1/verify`.

        One that met a change of the mapping on its way, or tables that were still being copied, says nothing of the
        stores, and is run again.
        """

        async def run() -> dict[str, Any] | None:
            result = await self.verification()
            early = any("not copied to its end yet" in problem for problem in result.get("problems") or ())
            return None if early or "changed" in (result["error"] or "") else result

        result: dict[str, Any] = await self.explained(until(run, "a verification that nothing came across"))
        assert result["state"] == "done", result
        return result

    async def verification(self, *tables: str) -> dict[str, Any]:
        """Verify these tables (none: all) until that is done or has failed; returns `GET /v1/verify`."""
        code, body = await self.post("/v1/verify", **({"tables": tables} if tables else {}))
        assert code == 202, body

        async def look() -> Any:
            answer = (await self.request("GET", self.admin + "/v1/verify"))[1]
            return answer if answer["state"] in ("done", "failed") else None

        result = await self.explained(until(look, "verification"))
        assert isinstance(result, dict)
        return result

    async def switch(self, direction: str, **more: Any) -> tuple[int, Any]:
        """Promote or demote with an approval."""
        return await self.post(f"/v1/{direction}", approval="CHANGE-1", **more)

    async def switched(self, direction: str) -> dict[str, Any]:
        """A switch with nobody in its way, which must go through; returns what it says.

        Where the machine is so busy that a gate's look or the pause takes too long, it is asked for again; where the
        schema was followed to its end only behind the verification, that is asked for again, too.
        """

        told: list[Any] = []

        async def look() -> dict[str, Any] | None:
            code, body = await self.switch(direction)
            assert code == 200 or body["error"]["code"] in ("aborted", "gates_failed"), body
            told[:] = [body]
            if "a schema changed since the last full verification" in str(body):
                await self.verified()
            return body if code == 200 else None

        try:
            result = await self.explained(until(look, f"to {direction}"))
        except AssertionError as error:
            raise AssertionError(f"{told}\n{error}") from None
        assert isinstance(result, dict)
        return result

    async def stop(self) -> int:
        """SIGTERM; returns the exit code."""
        assert self.process is not None
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
        code = await self.explained(until(self._ended, "the end of the service after SIGTERM"))
        return int(code[0])

    def _ended(self) -> tuple[int] | None:
        """The exit code, if there is one."""
        code = None if self.process is None else self.process.returncode
        return None if code is None else (code,)

    async def kill(self) -> None:
        """SIGKILL."""
        assert self.process is not None
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()

    async def died(self) -> int:
        """Wait for the process to end by itself."""
        assert self.process is not None
        return await asyncio.wait_for(self.process.wait(), DEADLINE)


def hrana_value(value: Any) -> dict[str, Any]:
    """A Python value as Hrana sends it."""
    if value is None:
        return {"type": "null"}
    if isinstance(value, int):
        return {"type": "integer", "value": str(value)}
    if isinstance(value, float):
        return {"type": "float", "value": value}
    return {"type": "text", "value": value}


def plain(value: dict[str, Any]) -> Any:
    """A Hrana value as Python's."""
    if value["type"] == "null":
        return None
    return int(value["value"]) if value["type"] == "integer" else value.get("value", value.get("base64"))


def create(path: str, script: str) -> None:
    """Run a script on a SQLite file."""
    connection = sqlite3.connect(path)
    connection.executescript(script)
    connection.close()
