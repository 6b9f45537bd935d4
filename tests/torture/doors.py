"""The three ways in which an application writes, each with its own way to learn what became of a transaction."""

from __future__ import annotations

import asyncio
import random
import re
import sqlite3
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import asyncpg

from tests.support.service import hrana_value, plain
from tests.torture.ledger import Outcome

Rows = list[tuple[Any, ...]]
Expected = tuple[int | None, ...]

_CLIENT_TIMEOUT = 40.0
"""Seconds. Longer than the front door holds a write, so that whoever waits so long waits for a frozen service."""
_NATIVE_TIMEOUT = 6.0
_LEVELS = ("READ COMMITTED", "READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE")


@dataclass(frozen=True)
class Statement:
    """One statement in SQLite's SQL; `native` where Postgres wants another text. Parameters are `?` in both."""

    sql: str
    args: tuple[Any, ...] = ()
    native: str = ""
    compute: Callable[[list[Rows]], tuple[Any, ...]] | None = None
    """Parameters from the rows of the statements before, where the door is interactive."""

    def values(self, rows: list[Rows]) -> tuple[Any, ...]:
        """The parameters."""
        return self.compute(rows) if self.compute is not None else self.args


@dataclass
class Told:
    """What a client knows afterwards. `affected` and `rows` have one entry for each statement."""

    outcome: Outcome
    code: str = ""
    message: str = ""
    affected: list[int] = field(default_factory=list)
    rows: list[Rows] = field(default_factory=list)

    def missed(self, expect: Expected) -> list[str]:
        """Statements that touched another number of rows than they must."""
        pairs = enumerate(zip(self.affected, expect, strict=False), 1)
        return [
            f"statement {at} touched {now} rows, not {must}" for at, (now, must) in pairs if must not in (None, now)
        ]


class Door(ABC):
    """One client's way to the data. Used by one task."""

    name = ""

    @abstractmethod
    async def run(self, statements: tuple[Statement, ...], expect: Expected = ()) -> Told:
        """Run the statements as one transaction. Never raises. `expect`: rows that each must touch, None for any."""

    @abstractmethod
    async def close(self) -> None:
        """Let go of what is open."""


class FrontDoor(Door):
    """Hrana over HTTP: one self-contained batch."""

    name = "front"

    def __init__(self, url: str, rng: random.Random) -> None:
        self.url = url
        self.session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_CLIENT_TIMEOUT))

    async def run(self, statements: tuple[Statement, ...], expect: Expected = ()) -> Told:
        plain_ones = [(each.sql, each.args) for each in statements]
        steps = [("BEGIN IMMEDIATE", ()), *plain_ones, ("COMMIT", ())] if len(plain_ones) > 1 else plain_ones
        body = {"requests": [{"type": "batch", "batch": _batch(steps)}, {"type": "close"}]}
        status, answer = await self.post(body)
        if not isinstance(answer, dict) or "results" not in answer:
            return answer if isinstance(answer, Told) else told_of_status(status, answer)
        return _read_batch(answer["results"][0], len(steps))

    async def post(self, body: dict[str, Any]) -> tuple[int, Any]:
        """Status and JSON; status 0 and a `Told` where there was no answer."""
        try:
            async with self.session.post(self.url + "/v3/pipeline", json=body) as answer:
                return answer.status, await answer.json(content_type=None)
        except aiohttp.ClientConnectorError as error:
            return 0, Told("refused", "NOT_CONNECTED", str(error))
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            return 0, Told("unknown", "CONNECTION_LOST", repr(error))

    async def close(self) -> None:
        await self.session.close()


def told_of_status(status: int, answer: Any) -> Told:
    """An answer that refuses a request as a whole."""
    error = answer if isinstance(answer, dict) else {"code": f"HTTP_{status}", "message": str(answer)}
    code = str(error.get("code") or f"HTTP_{status}")
    certain = status in (400, 503) and code != "OUTCOME_UNKNOWN"
    return Told("refused" if certain else "unknown", code, str(error.get("message")))


def told_of_error(error: dict[str, Any]) -> Told:
    """An error of a statement: docs/errors.md says that only one code leaves the outcome open."""
    code = str(error.get("code"))
    return Told("unknown" if code == "OUTCOME_UNKNOWN" else "refused", code, str(error.get("message")))


def _batch(steps: list[tuple[str, tuple[Any, ...]]]) -> dict[str, Any]:
    last = len(steps) - 1
    made = [
        {
            "stmt": {"sql": sql, "args": [hrana_value(arg) for arg in args]},
            "condition": {"type": "ok", "step": at - 1} if at else None,
        }
        for at, (sql, args) in enumerate(steps)
    ]
    if last:  # the shape in which libSQL's clients send a transaction
        made.append({"stmt": {"sql": "ROLLBACK"}, "condition": {"type": "not", "cond": {"type": "ok", "step": last}}})
    return {"steps": made}


def _read_batch(entry: dict[str, Any], count: int) -> Told:
    if entry["type"] != "ok":
        return told_of_error(entry["error"])
    result = entry["response"]["result"]
    if result["step_results"][count - 1] is None:
        errors = [error for error in result["step_errors"] if error]
        if not errors:
            return Told("unknown", "NO_REASON", str(result))
        doubtful = [error for error in errors if error["code"] == "OUTCOME_UNKNOWN"]
        return told_of_error((doubtful or errors)[0])
    inner = result["step_results"][1 : count - 1] if count > 1 else result["step_results"][:1]
    told = Told("acknowledged")
    for each in inner:
        told.affected.append(each["affected_row_count"])
        told.rows.append([tuple(plain(value) for value in row) for row in each["rows"]])
    return told


class InteractiveDoor(FrontDoor):
    """Hrana over HTTP: a transaction of several requests on one stream."""

    name = "interactive"

    def __init__(self, url: str, rng: random.Random) -> None:
        super().__init__(url, rng)
        self.rng = rng

    async def run(self, statements: tuple[Statement, ...], expect: Expected = ()) -> Told:
        told = Told("acknowledged")
        baton: str | None = None
        begin = self.rng.choice(["BEGIN", "BEGIN IMMEDIATE"])
        pauses = [self.rng.choice([0.0, 0.0, self.rng.uniform(0, 0.05)]) for _ in statements]
        steps = [Statement(begin), *statements, Statement("COMMIT")]
        for at, statement in enumerate(steps):
            last = at == len(steps) - 1
            args = [hrana_value(arg) for arg in statement.values(told.rows)]
            requests: list[dict[str, Any]] = [{"type": "execute", "stmt": {"sql": statement.sql, "args": args}}]
            status, answer = await self.post({"baton": baton, "requests": requests + [{"type": "close"}] * last})
            failure = _no_result(status, answer)
            if failure is not None:
                if not last and failure.outcome == "unknown":
                    failure.outcome = "refused"  # COMMIT was not sent
                if baton is not None and not last:
                    await self._give_up(baton, answer)
                return failure
            baton = answer["baton"]
            if 0 < at < len(steps) - 1:
                result = answer["results"][0]["response"]["result"]
                told.affected.append(result["affected_row_count"])
                told.rows.append([tuple(plain(value) for value in row) for row in result["rows"]])
                await asyncio.sleep(pauses[at - 1])
        return told

    async def _give_up(self, baton: str, answer: Any) -> None:
        """Close the stream, as clients do when a statement fails."""
        baton = answer.get("baton") or baton if isinstance(answer, dict) else baton
        with suppress(aiohttp.ClientError, OSError, TimeoutError):
            await self.post({"baton": baton, "requests": [{"type": "close"}]})


def _no_result(status: int, answer: Any) -> Told | None:
    """What a pipeline of one statement says when that was not executed."""
    if isinstance(answer, Told):
        return answer
    if not isinstance(answer, dict) or "results" not in answer:
        return told_of_status(status, answer)
    entry = answer["results"][0]
    return told_of_error(entry["error"]) if entry["type"] != "ok" else None


class DirectDoor(Door):
    """Python's sqlite3 on the file, as an application has it that knows nothing of cutover."""

    name = "direct"

    def __init__(self, path: str, rng: random.Random) -> None:
        self.path, self.rng = path, rng
        self._connection: sqlite3.Connection | None = None
        self._begin, self._pause = "BEGIN IMMEDIATE", 0.0

    async def run(self, statements: tuple[Statement, ...], expect: Expected = ()) -> Told:
        # What is random is drawn here: threads would draw in any order.
        self._begin = self.rng.choice(["BEGIN", "BEGIN IMMEDIATE", "BEGIN IMMEDIATE"])
        self._pause = self.rng.choice([0.0, 0.0, 0.0, self.rng.uniform(0, 0.03)])
        if self.rng.random() < 0.02:
            await self.close()
        return await asyncio.to_thread(self._run, statements, expect)

    def _run(self, statements: tuple[Statement, ...], expect: Expected) -> Told:
        told = Told("acknowledged")
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
                if self._pause and len(statements) > 1:
                    time.sleep(self._pause)
            at = "COMMIT"
            if len(statements) > 1:
                connection.execute("COMMIT")
            if told.missed(expect) and not self._is_primary(connection):
                # SQLite's fence is made of row triggers: a statement that finds no row does nothing, unrefused.
                return Told("refused", "FOUND_NOTHING", "SQLite is not the primary, and has not this row")
        except sqlite3.Error as error:
            return self._failed(error, at)
        return told

    def _is_primary(self, connection: sqlite3.Connection) -> bool:
        found: tuple[str] = connection.execute("SELECT primary_store FROM _cutover_control").fetchone()
        return found == ("sqlite",)

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

    async def close(self) -> None:
        if self._connection is not None:
            connection, self._connection = self._connection, None
            await asyncio.to_thread(connection.close)


class NativeDoor(Door):
    """asyncpg on Postgres, past the service, at any isolation level, its snapshot sometimes older than its write."""

    name = "native"

    def __init__(self, url: str, rng: random.Random, levels: Sequence[str] = _LEVELS) -> None:
        self.url, self.rng, self.levels = url, rng, levels
        self._connection: asyncpg.Connection | None = None

    async def run(self, statements: tuple[Statement, ...], expect: Expected = ()) -> Told:
        level = self.rng.choice(self.levels)
        pause = self.rng.choice([0.0, 0.0, 0.0, self.rng.uniform(0, 0.03)])
        explicit = len(statements) > 1 or self.rng.random() < 0.3
        sent = not explicit
        try:
            async with asyncio.timeout(_NATIVE_TIMEOUT):
                sent = False
                connection = self._connection or await self._open()
                told = Told("acknowledged")
                if explicit:
                    await connection.execute(f"BEGIN ISOLATION LEVEL {level}")
                    await connection.execute("SELECT 1 FROM pg_class LIMIT 1")  # the snapshot stands from here
                for statement in statements:
                    if pause:
                        await asyncio.sleep(pause)
                    sent = not explicit
                    await self._one(connection, statement, told)
                if explicit:
                    sent = True
                    status = await connection.execute("COMMIT")
                    if status != "COMMIT":
                        return Told("refused", "ROLLED_BACK", status)
                return told
        except asyncpg.PostgresError as error:
            return await self._failed(error, sent)
        except (OSError, TimeoutError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
            self._drop()
            return Told("unknown" if sent else "refused", "CONNECTION", repr(error))

    async def _one(self, connection: asyncpg.Connection, statement: Statement, told: Told) -> None:
        sql = numbered(statement.native or statement.sql)
        prepared = await connection.prepare(sql)
        rows = await prepared.fetch(*statement.values(told.rows))
        told.rows.append([tuple(row) for row in rows])
        count = re.search(r"(\d+)$", prepared.get_statusmsg())
        told.affected.append(int(count.group(1)) if count else 0)

    async def _failed(self, error: asyncpg.PostgresError, sent: bool) -> Told:
        state = error.sqlstate or "?"
        # Ended from outside: the session's last words do not say what became of a commit.
        doubtful = sent and (state.startswith(("08", "57P", "XX")) or isinstance(error, asyncpg.InternalServerError))
        if state.startswith(("08", "57P", "53", "XX")) or self._connection is None or self._connection.is_closed():
            self._drop()
        elif self._connection.is_in_transaction():
            try:
                await self._connection.execute("ROLLBACK", timeout=2)
            except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError):
                self._drop()
        return Told("unknown" if doubtful else "refused", state, str(error))

    async def _open(self) -> asyncpg.Connection:
        self._connection = await asyncpg.connect(self.url, timeout=3, statement_cache_size=0)
        return self._connection

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None and not connection.is_closed():
            connection.terminate()

    async def close(self) -> None:
        self._drop()


def numbered(sql: str) -> str:
    """`?` as `$1`, `$2`, ..."""
    parts = sql.split("?")
    return parts[0] + "".join(f"${at}{part}" for at, part in enumerate(parts[1:], 1))
