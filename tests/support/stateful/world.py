"""Both stores under a service, and the ways in that go past it."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg

from tests.support.scratch import memory
from tests.support.servers import fresh_database
from tests.support.stateful.schema import Row, Schema, Value
from tests.support.stateful.service import Service

_SETTINGS: dict[str, Any] = {
    "front": {"listen": "", "transaction_timeout": 60, "hold_timeout": 60},
    "admin": {"listen": "127.0.0.1:0"},
    "compare": {"scan_interval": 0},
    "mirror": {"poll_interval": 0.01, "min_interval": 0, "batch_rows": 2, "backfill_rows": 3},
    "promotion": {"grace": 0.02, "max_lag_seconds": 60, "pause_timeout": 30},
}


class World:
    """A file, a database and a service on them."""

    def __init__(self, host: str, postgres_url: str, folder: Path, schema: Schema, runner: asyncio.Runner) -> None:
        self.schema, self._url, self._runner = schema, postgres_url, runner
        self.path = str(folder / "app.db")
        settings = _SETTINGS | {
            "sqlite": {"path": self.path},
            "postgres": {"url": postgres_url, "pool_size": 2},
            "service": {"state_dir": str(folder / "state")},
        }
        self.file = sqlite3.connect(self.path, isolation_level=None, timeout=20)
        self.file.execute("PRAGMA journal_mode = WAL")
        self.file.execute("PRAGMA synchronous = NORMAL")
        self.file.execute("PRAGMA foreign_keys = ON")
        for sql in (*schema.ddl(), *schema.triggers().values()):
            self.file.execute(sql)
        self._native: asyncpg.Connection[Any] | None = None
        self.service = Service(host, settings, folder / "service.log")

    def close(self) -> None:
        self.service.kill()
        if self._native is not None:
            self._runner.run(self._native.close())
        self.file.close()

    # -- Postgres ----------------------------------------------------------------------------------------------------

    def fetch(self, sql: str, *arguments: Value) -> list[Row]:
        """A statement of a native client."""

        async def run() -> list[Row]:
            if self._native is None:
                self._native = await asyncpg.connect(self._url)
            return [tuple(record) for record in await self._native.fetch(sql, *arguments)]

        return self._runner.run(run())

    def native(self, sql: str, *arguments: Value) -> tuple[int, list[Row]]:
        """A statement of a native client: (rows affected, rows returned)."""

        async def run() -> tuple[int, list[Row]]:
            assert self._native is not None
            statement = await self._native.prepare(sql)
            rows = [tuple(record) for record in await statement.fetch(*arguments)]
            words = statement.get_statusmsg().split()
            return int(words[-1]) if words[-1].isdigit() else 0, rows

        self.fetch("SELECT 1")
        return self._runner.run(run())

    # -- contents ----------------------------------------------------------------------------------------------------

    def rows(self, store: str, table: str) -> list[Row]:
        """All rows of a table as a store has them, in no order."""
        names = ", ".join(column.name for column in self.schema.columns(table))
        sql = f"SELECT {names} FROM {table}"
        return self.file.execute(sql).fetchall() if store == "sqlite" else self.fetch(sql)

    def triggers(self) -> dict[str, str]:
        """The file's triggers, by name."""
        return dict(self.file.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"))

    @contextlib.contextmanager
    def past_the_fence(self, store: str) -> Iterator[None]:
        """A transaction on the shadow that its fence takes for an applier's."""
        begin, end = self.file.execute if store == "sqlite" else self.fetch, "COMMIT"
        if store == "sqlite":
            begin("PRAGMA foreign_keys = OFF")
            begin("BEGIN IMMEDIATE")
            begin("UPDATE _cutover_control SET applying = 1")
        else:
            begin("BEGIN")
            begin("SELECT set_config('cutover.applier', generation::text, true) FROM cutover.control")
            begin("SET LOCAL session_replication_role = replica")
        yield
        if store == "sqlite":
            begin("UPDATE _cutover_control SET applying = 0")
        begin(end)
        if store == "sqlite":
            begin("PRAGMA foreign_keys = ON")


@contextlib.contextmanager
def world(host: str, server: str, folder: Path, schema: Schema) -> Iterator[World]:
    """A fresh file and a fresh database; the service is not started yet."""
    with asyncio.Runner() as runner:
        database = fresh_database(server)
        url = runner.run(database.__aenter__())
        made = World(host, url, folder, schema, runner)
        try:
            yield made
        finally:
            made.close()
            runner.run(database.__aexit__(None, None, None))


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """A folder for one program; in memory where that is possible, since nothing here is about disks."""
    with tempfile.TemporaryDirectory(prefix="cutover-test-", dir=memory()) as folder:
        yield Path(folder)
