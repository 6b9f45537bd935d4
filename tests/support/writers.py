"""Writers with known answers: each remembers what was acknowledged, what was refused and what nobody knows.

`FrontWriter` speaks Hrana, `DirectWriter` opens the SQLite file; `native.py` has the one with a Postgres driver.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from contextlib import closing
from types import TracebackType
from typing import Self

import aiohttp

from tests.support.ledger import MOVED, Ledger, Writer, moves
from tests.support.service import Service, hrana_value

NOT_EXECUTED = {"SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_READONLY", "SQLITE_CONSTRAINT"}


class FrontWriter(Writer):
    """Inserts numbered items through the front door, one at a time, and moves money between accounts."""

    def __init__(self, service: Service, name: str, *, lane: bool = False, rest: float = 0.0) -> None:
        """With `lane` it moves its row in `pairs`, too; `rest` are seconds between two transactions."""
        super().__init__(name)
        self.service, self.lane, self.rest = service, lane, rest

    async def _run(self) -> None:
        number = 0
        timeout = aiohttp.ClientTimeout(total=30)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            while not self._stop.is_set():
                number += 1
                await self._one(session, f"{self.name}-{number}", number)
                if self.rest:
                    await _stopped_within(self._stop, self.rest)

    def _steps(self, key: str, number: int) -> list[tuple[str, tuple[object, ...]]]:
        return [
            ("BEGIN", ()),
            ("INSERT INTO items VALUES (?, ?, ?)", (key, number, MOVED)),
            *(("UPDATE accounts SET balance = balance + ? WHERE id = ?", (by, who)) for who, by in moves(number)),
            *([("UPDATE pairs SET b = ? WHERE a = ?", (number, self.name))] if self.lane else []),
            ("COMMIT", ()),
        ]

    async def _one(self, session: aiohttp.ClientSession, key: str, number: int) -> None:
        steps = self._steps(key, number)
        batch = {
            "steps": [
                {
                    "stmt": {"sql": sql, "args": [hrana_value(arg) for arg in args]},
                    "condition": {"type": "ok", "step": index - 1} if index else None,
                }
                for index, (sql, args) in enumerate(steps)
            ]
            + [
                {
                    "stmt": {"sql": "ROLLBACK"},
                    "condition": {"type": "not", "cond": {"type": "ok", "step": len(steps) - 1}},
                }
            ]
        }
        body = {"requests": [{"type": "batch", "batch": batch}, {"type": "close"}]}
        try:
            async with session.post(self.service.front + "/v3/pipeline", json=body) as answer:
                status, content = answer.status, await answer.json(content_type=None)
        except (aiohttp.ClientConnectorError, ConnectionRefusedError):
            self.refused.add(key)
            await asyncio.sleep(0.01)
            return
        except (aiohttp.ClientError, OSError, TimeoutError):
            self.unknown.add(key)
            return
        self._note(key, status, content, len(steps) - 1)

    def _note(self, key: str, status: int, content: dict[str, object], commit: int) -> None:
        if status == 503:
            self.refused.add(key)
            return
        assert status == 200, (status, content)
        entry = content["results"][0]  # type: ignore[index]
        if entry["type"] == "ok":
            result = entry["response"]["result"]
            if result["step_results"][commit] is not None:
                self.acknowledged.add(key)
                return
            error = next(error for error in result["step_errors"] if error)  # the rest follows from it
        else:
            error = entry["error"]
        self.errors.append(f"{error['code']}: {error['message']}")
        (self.refused if error["code"] in NOT_EXECUTED else self.unknown).add(key)


async def _stopped_within(stop: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return


class DirectWriter(Ledger):
    """Opens the SQLite file itself, as an application does that knows nothing of cutover. Runs in a thread.

    Its connection keeps its statements prepared, through switches and restarts of the service. Transactions begin by
    turns with the write lock and without it, so that some hold an older snapshot when they come to write.
    """

    def __init__(self, path: str, name: str, *, rest: float = 0.002) -> None:
        super().__init__(name)
        self.path, self.rest = path, rest
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        with closing(sqlite3.connect(self.path, timeout=5, isolation_level=None)) as connection:
            connection.execute("PRAGMA synchronous = NORMAL")
            number = 0
            while not self._stop.wait(self.rest):
                number += 1
                self.write(connection, number)

    def write(self, connection: sqlite3.Connection, number: int) -> None:
        """One transaction, and what became of it."""
        key = f"{self.name}-{number}"
        try:
            connection.execute("BEGIN IMMEDIATE" if number % 2 else "BEGIN")
            connection.execute("SELECT count(*) FROM accounts").fetchone()
            connection.execute("INSERT INTO items VALUES (?, ?, ?)", (key, number, MOVED))
            for account, by in moves(number):
                connection.execute("UPDATE accounts SET balance = balance + ? WHERE id = ?", (by, account))
            connection.execute("UPDATE pairs SET b = ? WHERE a = ?", (number, self.name))
            found = _control(connection)
        except sqlite3.Error as error:
            self._not_executed(connection, key, error)
            return
        try:
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            if connection.in_transaction:  # it could not be committed, and still is to be
                self._not_executed(connection, key, error)
            else:
                self.errors.append(_told(error))
                self.unknown.add(key)
            return
        self.acknowledged.add(key)
        self.note(*found, "sqlite")

    def _not_executed(self, connection: sqlite3.Connection, key: str, error: sqlite3.Error) -> None:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        self.refused.add(key)
        if isinstance(error, sqlite3.OperationalError):
            self.errors.append(_told(error))  # locked for a while
            return
        self.fenced.append(str(error))
        self._stop.wait(0.05)


def _control(connection: sqlite3.Connection) -> tuple[int, str]:
    """(epoch, primary) in the transaction's own view; epoch 0 where cutover never was."""
    try:
        row = connection.execute("SELECT epoch, primary_store FROM _cutover_control").fetchone()
    except sqlite3.OperationalError as error:
        if "no such table" not in str(error):
            raise
        return 0, "sqlite"
    return (row[0], row[1]) if row else (0, "sqlite")


def _told(error: sqlite3.Error) -> str:
    return f"{getattr(error, 'sqlite_errorname', type(error).__name__)}: {error}"
