"""The place where the demonstration happens: a folder, the database, Postgres, and the real service as a process.

Whatever is opened here is closed here, in the opposite order, also when the story ends half way.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import secrets
import shutil
import signal
import socket
import sys
import tempfile
import tomllib
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import asyncpg

from cutover.cli.client import LONG, AdminClient
from cutover.cli.demo_data import configuration, postgres_schema
from cutover.cli.exits import Unreachable
from cutover.clock import monotonic
from cutover.errors import ConfigurationError, CutoverError
from cutover.settings import load_settings
from cutover.stores.postgres.embedded import EmbeddedPostgres

T = TypeVar("T")

_PORTS = range(10_000, 12_000)
PATIENCE = 120.0
"""Seconds for something that takes a few on any machine that is not broken."""

_STOP_SECONDS = 45.0
_TUNABLE = ("mirror", "compare", "promotion")


async def to_its_end(work: Coroutine[Any, Any, T]) -> T:
    """Await `work`; if cancelled meanwhile, only when it has ended. Half of it could not be cleaned up."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise


@dataclass
class Folder:
    """Where the files are. A scratch folder that nobody asked to keep is removed at the end."""

    path: Path
    keep: bool

    @property
    def database(self) -> str:
        """The application's SQLite file."""
        return str(self.path / "humanonly.db")

    @property
    def config(self) -> Path:
        """The service's configuration, for the other commands too."""
        return self.path / "cutover.toml"

    @property
    def log(self) -> Path:
        """What the service said."""
        return self.path / "service.log"

    @property
    def state(self) -> Path:
        """The service's `state_dir`."""
        return self.path / "state"


@asynccontextmanager
async def folder(wanted: Path | None, *, keep: bool) -> AsyncIterator[Folder]:
    """The folder at `wanted`, which must be new or empty and is always kept, or a scratch folder."""
    path = Path(tempfile.mkdtemp(prefix="cutover-demo-")) if wanted is None else _new_folder(wanted)
    made = Folder(path, keep or wanted is not None)
    try:
        yield made
    finally:
        if not made.keep:
            await to_its_end(asyncio.to_thread(shutil.rmtree, made.path, ignore_errors=True))


def _new_folder(wanted: Path) -> Path:
    path = wanted.absolute()
    try:
        path.mkdir(parents=True, exist_ok=True)
        empty = not any(path.iterdir())
    except OSError as error:
        raise ConfigurationError(f"{wanted} cannot be used: {error.strerror}.") from None
    if not empty:
        raise ConfigurationError(f"{wanted} is not empty.", hint="Name a new folder; the demo overwrites nothing.")
    return path


@asynccontextmanager
async def embedded(where: Folder) -> AsyncIterator[str]:
    """URL of a server in the place where the service looks for its own, and so adopts it."""
    postgres = EmbeddedPostgres(where.state / "postgres")
    try:
        yield await to_its_end(postgres.start())
    finally:
        await to_its_end(postgres.stop())
        if postgres.socket_dir != postgres.data_dir:  # the path was too long for a socket; it made one elsewhere
            with suppress(OSError):
                postgres.socket_dir.rmdir()


@asynccontextmanager
async def borrowed(url: str, where: Folder) -> AsyncIterator[str]:
    """URL of a database of our own on somebody's server; dropped at the end unless the files are kept."""
    name = f"cutover_demo_{secrets.token_hex(4)}"
    await _administer(url, f'CREATE DATABASE "{name}"')
    try:
        yield re.sub(r"^(\w+://[^/?]*)(/[^?]*)?", rf"\1/{name}", url)
    finally:
        if not where.keep:
            await to_its_end(_administer(url, f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'))


async def _administer(url: str, sql: str) -> None:
    try:
        connection = await asyncpg.connect(url, timeout=10)
        try:
            await connection.execute(sql)
        finally:
            await connection.close()
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError, ValueError) as error:
        raise ConfigurationError(
            f"The server of --postgres cannot be used: {error or type(error).__name__}",
            hint="Its role must be allowed to create databases; the demo makes one of its own and touches no other.",
        ) from None


async def create_tables(url: str) -> None:
    """What the application's own migration does: its tables, with its names and types."""
    connection = await asyncpg.connect(url, timeout=30)
    try:
        await connection.execute(postgres_schema())
    finally:
        await connection.close()


def write_configuration(where: Folder, url: str, base: Path | None) -> tuple[str, str]:
    """Write `cutover.toml`; returns the URLs of the front door and of the console.

    `url` is "" for the embedded server. The sections that tune the service come from `base`, if given.
    Raises `ConfigurationError` when `base` is no valid configuration.
    """
    example = configuration()
    tuned = tomllib.loads(example)
    if base is not None:
        load_settings(base, {})
        tuned = tomllib.loads(base.read_text(encoding="utf-8"))
    front, admin = _free_ports(2)
    sections: dict[str, dict[str, Any]] = {
        "sqlite": {"path": where.database},
        "postgres": {"url": url, "schema": "public"},
        "service": {"state_dir": str(where.state)},
        "front": {"listen": f"127.0.0.1:{front}"},
        "admin": {"listen": f"127.0.0.1:{admin}"},
        **{name: tuned.get(name, {}) for name in _TUNABLE},
    }
    lines = ["# The demonstration's configuration: HumanOnly's example, with places of its own.", ""]
    for name, section in sections.items():
        lines += [f"[{name}]", *(f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in section.items())]
        lines.append("")
    lines.append(example[example.index("# The application's Postgres schema names") :])
    where.config.touch(mode=0o600)
    where.config.write_text("\n".join(lines), encoding="utf-8")
    return f"http://127.0.0.1:{front}", f"http://127.0.0.1:{admin}"


def _free_ports(count: int) -> list[int]:
    """Below those that the system gives to outgoing connections: any of them could have taken one by the start."""
    found: list[int] = []
    for port in random.sample(_PORTS, len(_PORTS)):  # no secret
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            found.append(port)
        if len(found) == count:
            return found
    raise CutoverError("Of the ports that the demo may use none is free.")


def _level(mirror: dict[str, Any]) -> bool:
    return mirror["state"] == "running" and not mirror["lag_changes"] and not mirror["last_error"]


class Service:
    """`cutover serve` as a process of its own, and its admin API. All questions raise `CutoverError`."""

    def __init__(self, where: Folder, front: str, admin: str) -> None:
        self.front, self.admin = front, admin
        self._where = where
        self._client = AdminClient(admin)
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it; returns at once. The environment's own settings of cutover do not reach it."""
        names = [name for name in os.environ if not name.startswith(("CUTOVER_", "HUMANONLY_"))]
        with self._where.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "cutover", "serve", "--config", str(self._where.config)),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={name: os.environ[name] for name in names},
                start_new_session=True,  # Ctrl-C is for the demo, which ends things in order
            )

    async def stop(self) -> None:
        """SIGTERM, and SIGKILL for one that does not listen."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), _STOP_SECONDS)
        except TimeoutError:
            process.kill()
            await process.wait()

    async def get(self, path: str) -> dict[str, Any]:
        """`GET path`."""
        self._check_alive()
        return await asyncio.to_thread(self._client.get, path)

    async def post(self, path: str, **body: object) -> dict[str, Any]:
        """`POST path`, however long it takes."""
        self._check_alive()
        return await asyncio.to_thread(self._client.post, path, body, timeout=LONG)

    async def status(self) -> dict[str, Any]:
        """`GET /v1/status`."""
        return await self.get("/v1/status")

    async def phase(self, wanted: str, every: float = 0.05) -> dict[str, Any]:
        """Wait for this phase, with both stores there; returns the status."""
        end = monotonic() + PATIENCE
        status: dict[str, Any] = {}
        last = ""
        while monotonic() < end:
            try:
                status = await self.status()
            except Unreachable as error:  # it is still starting
                last = str(error)
            else:
                if status["phase"] == wanted and status["attached"]:
                    return status
                last = str(status.get("problem") or status.get("attach_error") or f"the phase is {status['phase']}")
            await asyncio.sleep(every)
        raise CutoverError(f"The service did not come to {wanted} within {PATIENCE:.0f} s: {last}.{self._said()}")

    async def settled(self) -> None:
        """Wait until every change has been applied on the other side."""
        end = monotonic() + PATIENCE
        while not _level(mirror := (await self.status())["mirror"]):
            if monotonic() > end:
                raise CutoverError(f"The mirror did not catch up: {mirror}.{self._said()}")
            await asyncio.sleep(0.05)

    async def verify(self) -> dict[str, Any]:
        """A full verification; its result."""
        started = await self.post("/v1/verify")
        while True:
            now = await self.get("/v1/verify")
            if now["id"] == started["id"] and now["state"] != "running":
                return now
            await asyncio.sleep(0.05)

    def _check_alive(self) -> None:
        if self._process is not None and self._process.returncode is not None:
            raise CutoverError(f"The service ended with code {self._process.returncode}.{self._said()}")

    def _said(self) -> str:
        lines = self._where.log.read_text(encoding="utf-8", errors="replace").splitlines()[-8:]
        return "".join(f"\n  {line}" for line in lines)
