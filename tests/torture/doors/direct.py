"""Directly on the file, past everybody: in a thread of ours, or in a process that may be killed at any moment.

python -m tests.torture.doors.direct FILE      takes transactions as lines of JSON, and answers so
"""

from __future__ import annotations

import asyncio
import json
import random
import sqlite3
import sys
import time
from contextlib import suppress
from typing import ClassVar

from tests.torture.doors.base import Door, Expected, Statement, Told


class DirectDoor(Door):
    """Python's sqlite3 on the file, as an application has it that knows nothing of cutover."""

    name = "direct"

    def __init__(self, path: str, rng: random.Random) -> None:
        self.path, self.rng = path, rng
        self._connection: sqlite3.Connection | None = None
        self._begin, self._pause, self._afresh = "BEGIN IMMEDIATE", 0.0, False

    async def run(self, statements: tuple[Statement, ...], expect: Expected = ()) -> Told:
        self.draw()
        return await asyncio.to_thread(self.transact, statements, expect)

    def draw(self) -> None:
        """Everything random of one transaction: here, as threads would draw in any order."""
        self._begin = self.rng.choice(["BEGIN", "BEGIN IMMEDIATE", "BEGIN IMMEDIATE"])
        self._pause = self.rng.choice([0.0, 0.0, 0.0, self.rng.uniform(0, 0.03)])
        self._afresh = self.rng.random() < 0.02

    def transact(self, statements: tuple[Statement, ...], expect: Expected) -> Told:
        """`run`, on the thread that waits for it."""
        told = Told("acknowledged")
        if self._afresh:
            self._close()
        at = "open"
        try:
            connection = self._connection or self._open()
            if len(statements) > 1:
                at = self._begin
                connection.execute(self._begin)
            for statement in statements:
                at = statement.sql
                cursor = connection.execute(statement.sql, statement.values(told.rows))
                told.rows.append(cursor.fetchall())
                told.affected.append(cursor.rowcount)
                if self._pause and len(told.rows) == 1 < len(statements):
                    time.sleep(self._pause)
            at = "COMMIT"
            if len(statements) > 1:
                connection.execute("COMMIT")
        except sqlite3.Error as error:
            return self._failed(error, at)
        return self._missed(connection, told) if told.missed(expect) else told

    def _missed(self, connection: sqlite3.Connection, told: Told) -> Told:
        """SQLite's fence is made of row triggers: a statement that finds no row on a shadow does nothing, unrefused."""
        try:
            found = connection.execute("SELECT primary_store FROM _cutover_control").fetchone()
        except sqlite3.Error as error:
            return Told("unknown", "FOUND_NOTHING", str(error))
        if found == ("sqlite",):
            return told
        return Told("refused", "FOUND_NOTHING", "SQLite is not the primary, and has not this row")

    def _failed(self, error: sqlite3.Error, at: str) -> Told:
        name = getattr(error, "sqlite_errorname", None) or type(error).__name__
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                self._connection = connection
            except sqlite3.Error:
                connection.close()
        # A commit frame that was written and not indexed may come back with a crash.
        doubtful = name.startswith("SQLITE_IOERR")
        return Told("unknown" if doubtful else "refused", name, f"{error} at {at[:60]}")

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=5.0, isolation_level=None, check_same_thread=False)
        self._connection = connection
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA foreign_keys = ON")
        return connection

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    async def close(self) -> None:
        await asyncio.to_thread(self._close)


class OutsideDoor(Door):
    """The same in a process of its own, which faults kill: the log is then mended by whoever comes next."""

    name = "outside"
    processes: ClassVar[set[asyncio.subprocess.Process]] = set()
    """Those that run."""

    def __init__(self, path: str, rng: random.Random) -> None:
        self.path, self.rng = path, rng
        self._process: asyncio.subprocess.Process | None = None

    async def run(self, statements: tuple[Statement, ...], expect: Expected = ()) -> Told:
        process = self._process or await self._start()
        asked = {
            "seed": self.rng.random(),
            "statements": [(statement.sql, statement.args) for statement in statements],
            "expect": expect,
        }
        assert process.stdin is not None
        assert process.stdout is not None
        with suppress(OSError):
            process.stdin.write(json.dumps(asked).encode() + b"\n")
            await process.stdin.drain()
        line = await process.stdout.readline()
        if line.endswith(b"\n"):
            told = json.loads(line)
            told["rows"] = [[tuple(row) for row in rows] for rows in told["rows"]]
            return Told(**told)
        await self.close()
        return Told("unknown", "KILLED", "the application was killed")

    async def _start(self) -> asyncio.subprocess.Process:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.torture.application", self.path,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=1 << 24,
        )  # fmt: skip
        self.processes.add(self._process)
        return self._process

    async def close(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            self.processes.discard(process)
            assert process.stdin is not None
            process.stdin.close()
            await process.wait()
