"""An application of another people's framework, moved to Postgres and back while it writes.

The application runs as a process of its own for each database, as it would in life: one that was configured for the
SQLite file, one for Postgres. Each obeys `migrate`, `seed`, `write` and `read`, so that what it reads is compared as
its own framework sees it, beside what `cutover verify` says.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.checks import settled
from tests.support.postgres import native
from tests.support.servers import database_of, fresh_database
from tests.support.service import DEADLINE, Service

REPOSITORY = Path(__file__).parents[2]
_LONGEST_LINE = 64 << 20


class ApplicationError(AssertionError):
    """The application failed at what it was asked, with its own words."""


class StageError(AssertionError):
    """A stage of the journey went wrong; the journey has the words."""


class Running:
    """One application process on one database."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self._process = process
        self._log = log

    async def ask(self, what: str, *arguments: Any) -> Any:
        """Have something done, and return the answer. Raises `ApplicationError`."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([what, *arguments]).encode() + b"\n")
        line = await asyncio.wait_for(self._process.stdout.readline(), 10 * DEADLINE)
        if not line:
            raise ApplicationError(f"{what}: the application ended\n{self._log.read_text()[-4000:]}")
        answer = json.loads(line)
        if "error" in answer:
            raise ApplicationError(f"{what}: {answer['error']}")
        return answer.get("result")


@asynccontextmanager
async def running(command: Sequence[str], database: str, log: Path) -> AsyncIterator[Running]:
    """The application on a database, until the context ends."""
    environment = os.environ | {"APPLICATION_DATABASE": database, "PYTHONPATH": str(REPOSITORY)}
    with log.open("ab") as errors:
        process = await asyncio.create_subprocess_exec(
            *command, env=environment, cwd=log.parent, limit=_LONGEST_LINE,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=errors,
        )  # fmt: skip
    try:
        yield Running(process, log)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), 10)
        except TimeoutError:
            process.kill()
            await process.wait()


@asynccontextmanager
async def plain_database(server: str) -> AsyncIterator[str]:
    """URL of a fresh database that a role without special rights owns: what most hosted servers give."""
    async with fresh_database(server) as url:
        name = database_of(url)
        role = "plain_" + name.removeprefix("test_")
        async with native(server) as connection:
            await connection.execute(f"CREATE ROLE {role} LOGIN; ALTER DATABASE {name} OWNER TO {role}")
        async with native(url) as connection:
            await connection.execute(f"ALTER SCHEMA public OWNER TO {role}")
        try:
            yield as_role(url, role)
        finally:
            async with native(url) as connection:
                await connection.execute(f"DROP OWNED BY {role} CASCADE; ALTER DATABASE {name} OWNER TO CURRENT_USER")
                await connection.execute(f"DROP ROLE {role}")


def as_role(url: str, role: str) -> str:
    """The same database for another role, who needs no password."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{role}@{rest.rpartition('@')[2]}"


@dataclass
class Journey:
    """What became of an application on its way there and back."""

    name: str
    stages: dict[str, str] = field(default_factory=dict)
    """What was done, in order, and `ok` or what went wrong."""
    findings: list[dict[str, Any]] = field(default_factory=list)
    tables: int = 0
    rows: int = 0
    seconds: float = 0.0

    @property
    def failed(self) -> list[str]:
        """The stages that went wrong."""
        return [f"{stage}: {outcome}" for stage, outcome in self.stages.items() if outcome != "ok"]

    @property
    def blocking(self) -> list[str]:
        """What `cutover plan` says would keep it from moving."""
        return [f"{f['table']}.{f['column']} {f['code']}: {f['message']}" for f in self.findings
                if f["severity"] == "blocks"]  # fmt: skip


@dataclass
class Traveller:
    """One application on its way. `go` raises at the first stage that goes wrong; the journey keeps them all."""

    journey: Journey
    folder: Path
    command: Sequence[str]
    sqlite: str
    postgres: str
    adopt: bool = True
    """The framework makes the tables on Postgres; otherwise cutover does, and nothing is written natively."""
    settings: str = ""
    lenient: bool = False
    """Leave out the tables that block, and see how far the others come."""

    async def go(self) -> None:
        """There and back."""
        began = time.monotonic()
        service = Service(self.folder, self.sqlite, self.postgres, self.settings)
        logs = self.folder / "sqlite.log", self.folder / "postgres.log"
        async with (
            running(self.command, f"sqlite:///{self.sqlite}", logs[0]) as old,
            running(self.command, self.postgres, logs[1]) as new,
        ):
            try:
                await self._stages(service, old, new)
            finally:
                self.journey.seconds = round(time.monotonic() - began, 1)
                if service.process is not None:
                    await service.kill()

    async def _stages(self, service: Service, old: Running, new: Running) -> None:
        await self._stage("schemas", self._schemas(old, new))
        await self._stage("plan", self._plan(service))
        await self._stage("copy", self._copy(service))
        await self._stage("write", old.ask("write", 1))
        await self._stage("verify", self._same(service, old, new))
        await self._stage("promote", self._switch(service, "promote"))
        if self.adopt:
            await self._stage("write natively", new.ask("write", 2))
        await self._stage("verify promoted", self._same(service, old, new))
        await self._stage("demote", self._switch(service, "demote"))
        await self._stage("write again", old.ask("write", 3))
        await self._stage("verify again", self._same(service, old, new))

    async def _stage(self, name: str, work: Any) -> None:
        try:
            await work
        except Exception as error:
            self.journey.stages[name] = str(error) or repr(error)
            raise StageError(f"{self.journey.name}, {name}: {self.journey.stages[name]}") from error
        self.journey.stages[name] = "ok"

    async def _schemas(self, old: Running, new: Running) -> None:
        async def filled() -> None:
            await old.ask("migrate")
            await old.ask("seed")

        await asyncio.gather(filled(), *([new.ask("migrate")] if self.adopt else []))

    async def _plan(self, service: Service) -> None:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "cutover", "plan", "--json", "--config", str(service.config),
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, cwd=self.folder,
        )  # fmt: skip
        out, errors = await process.communicate()
        if not out:
            raise AssertionError(f"plan ended with {process.returncode}: {errors.decode()[-2000:]}")
        self.journey.findings = json.loads(out)["findings"]
        if self.journey.blocking and self.lenient:
            await self._leave_out(service)
        elif self.journey.blocking:
            raise AssertionError("\n".join(self.journey.blocking))
        else:
            assert process.returncode == 0, errors.decode()

    async def _leave_out(self, service: Service) -> None:
        tables = {finding["table"] for finding in self.journey.findings if finding["severity"] == "blocks"}
        self.journey.stages["left out"] = ", ".join(self.journey.blocking)
        with service.config.open("a") as config:
            config.writelines(f"[tables.{json.dumps(table)}]\nignore = true\n" for table in sorted(tables))

    async def _copy(self, service: Service) -> None:
        await service.start()
        status = await service.up()
        self.journey.tables = len(status["tables"])

    async def _same(self, service: Service, old: Running, new: Running) -> None:
        """No drift, nothing held back, and the framework reads the same on both sides."""
        await settled(service)
        verification = await service.verified()
        self.journey.rows = verification["rows"]
        status = await service.status()
        if verification["drift_rows"] or status["mirror"]["quarantined_rows"]:
            raise AssertionError("\n".join(await _what_differs(service)))
        if self.adopt:
            ours, theirs = await asyncio.gather(old.ask("read"), new.ask("read"))
            differences = list(_differences(ours, theirs))
            assert not differences, f"{len(differences)} things read differently:\n" + "\n".join(differences[:20])

    async def _switch(self, service: Service, direction: str) -> None:
        code, answer = await service.switch(direction)
        if code == 200:
            return
        gates = [f"{gate['name']}: {gate['detail']}" for gate in answer.get("gates", []) if not gate["ok"]]
        raise AssertionError("\n".join([str(answer.get("error", answer)), *gates]))


async def there_and_back(traveller: Traveller) -> Journey:
    """Take an application there and back, and tell what became of each stage."""
    with suppress(StageError):
        await traveller.go()
    return traveller.journey


async def _what_differs(service: Service) -> list[str]:
    drift = (await service.request("GET", service.admin + "/v1/drift"))[1]["rows"]
    held = (await service.request("GET", service.admin + "/v1/quarantine"))[1]["rows"]
    reasons = Counter((row["table"], row["reason"]) for row in held)
    return [
        *(f"drift {row}" for row in drift[:20]),
        *(f"{count} rows of {table} held back: {reason}" for (table, reason), count in reasons.items()),
    ]


def _differences(ours: dict[str, dict[str, str]], theirs: dict[str, dict[str, str]]) -> Any:
    for kind in sorted({*ours, *theirs}):
        here, there = ours.get(kind, {}), theirs.get(kind, {})
        for key in sorted({*here, *there}):
            if here.get(key) != there.get(key):
                yield f"{kind} {key}: SQLite {here.get(key)} Postgres {there.get(key)}"
