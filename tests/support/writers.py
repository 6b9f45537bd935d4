"""Writers with known answers: each remembers what was acknowledged, what was refused and what nobody knows."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from types import TracebackType
from typing import Self

import aiohttp

from tests.support.service import Service, hrana_value

NOT_EXECUTED = {"SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_READONLY", "SQLITE_CONSTRAINT"}


class FrontWriter:
    """Inserts numbered items through the front door, one at a time, and moves money between accounts."""

    def __init__(self, service: Service, name: str) -> None:
        self.service, self.name = service, name
        self.acknowledged: set[str] = set()
        self.refused: set[str] = set()
        self.unknown: set[str] = set()
        self.errors: list[str] = []
        self._task: asyncio.Task[None] | None = None
        self._stop = False

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._stop = True
        assert self._task is not None
        await self._task

    async def _run(self) -> None:
        number = 0
        timeout = aiohttp.ClientTimeout(total=30)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            while not self._stop:
                number += 1
                await self._one(session, f"{self.name}-{number}", number)

    async def _one(self, session: aiohttp.ClientSession, key: str, number: int) -> None:
        debit, credit = number % 10 + 1, (number * 7 + 3) % 10 + 1
        steps = [
            ("BEGIN", ()),
            ("INSERT INTO items VALUES (?, ?, ?)", (key, number, "written")),
            ("UPDATE accounts SET balance = balance - 1 WHERE id = ?", (debit,)),
            ("UPDATE accounts SET balance = balance + 1 WHERE id = ?", (credit,)),
            ("COMMIT", ()),
        ]
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
            codes = [error["code"] for error in result["step_errors"] if error]
            messages = [error["message"] for error in result["step_errors"] if error]
        else:
            codes, messages = [entry["error"]["code"]], [entry["error"]["message"]]
        self.errors.extend(f"{code}: {message}" for code, message in zip(codes, messages, strict=True))
        (self.refused if codes and codes[0] in NOT_EXECUTED else self.unknown).add(key)


class DirectWriter:
    """Opens the SQLite file itself, as an application does that knows nothing of cutover. Runs in a thread."""

    def __init__(self, path: str, name: str) -> None:
        self.path, self.name = path, name
        self.acknowledged: set[str] = set()
        self.fenced: list[str] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        connection = sqlite3.connect(self.path, timeout=5, isolation_level=None)
        connection.execute("PRAGMA synchronous = NORMAL")
        number = 0
        while not self._stop.wait(0.002):
            number += 1
            key = f"{self.name}-{number}"
            try:
                connection.execute("INSERT INTO items VALUES (?, ?, 'direct')", (key, number))
            except sqlite3.OperationalError:
                continue  # locked for a while
            except sqlite3.Error as error:
                self.fenced.append(str(error))
                self._stop.wait(0.05)
                continue
            self.acknowledged.add(key)
        connection.close()
