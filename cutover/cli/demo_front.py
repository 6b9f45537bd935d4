"""Traffic through the front door: inserts, updates, deletes, transactions, reads, each outcome noted."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from cutover.cli.demo_data import Maker, insert_sql
from cutover.cli.demo_hrana import FrontDoor, FrontDoorError, rows_of, statement
from cutover.cli.demo_ledger import Change, Ledger, Outcome, RowId
from cutover.cli.demo_traffic import becomes, pause
from cutover.clock import monotonic
from cutover.model.values import Row

_ROUTES = ("insert", "append", "delete", "batch", "interactive")
_WEIGHTS = (50, 25, 8, 10, 7)


@dataclass
class Stats:
    """What a writer saw: seconds per request (the latest 10,000), errors by code, reads that were wrong."""

    latencies: deque[float] = field(default_factory=lambda: deque(maxlen=10_000))
    slowest: float = 0.0
    reads: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    stale_reads: list[str] = field(default_factory=list)

    def took(self, seconds: float) -> None:
        """Note one request's duration."""
        self.latencies.append(seconds)
        self.slowest = max(self.slowest, seconds)

    def quantile(self, share: float) -> float:
        """Seconds within which this share of the latest requests was answered; 0 before the first."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


class FrontDoorWriter:
    """Several clients of one front door. `ledger.check` afterwards proves what became of their writes.

    Retries nothing: a refused write is forgotten, and a row whose write has an unknown outcome is left alone.
    """

    def __init__(self, url: str, *, token: str = "", clients: int = 4, seed: int = 1, tag: str = "front") -> None:
        self.ledger = Ledger()
        self.stats = Stats()
        self.tag = tag
        self._url, self._token = url, token
        self._clients = [_Client(self, Maker(seed, f"{tag}-{n}")) for n in range(clients)]

    async def run(self, stop: asyncio.Event, every: float = 0.02) -> None:
        """All clients, each with a write every `every` seconds (0: as fast as answers come), until `stop`."""
        limits = aiohttp.TCPConnector(limit=len(self._clients))
        timeout = aiohttp.ClientTimeout(total=60)
        async with aiohttp.ClientSession(connector=limits, timeout=timeout) as session, asyncio.TaskGroup() as group:
            door = FrontDoor(session, self._url, self._token)
            for client in self._clients:
                group.create_task(client.run(door, stop, every))


class _Client:
    """One connection with rows of its own. Its author is made first; everything else hangs on that."""

    def __init__(self, writer: FrontDoorWriter, maker: Maker) -> None:
        self._ledger, self._stats = writer.ledger, writer.stats
        self._maker = maker
        self._author = ""
        self._posts: list[str] = []

    async def run(self, door: FrontDoor, stop: asyncio.Event, every: float) -> None:
        while not stop.is_set():
            await self._step(door)
            await pause(stop, every) if every else await asyncio.sleep(0)

    async def _step(self, door: FrontDoor) -> None:
        if not self._author:
            await self._join(door)
            return
        route = self._maker.random.choices(_ROUTES, _WEIGHTS)[0] if self._posts else "insert"
        row_id = await getattr(self, f"_{route}")(door)
        if row_id and self._maker.random.random() < 0.3:
            await self._read_back(door, row_id)

    async def _join(self, door: FrontDoor) -> None:
        user = self._maker.user()
        outcome = await self._write(becomes({("users", user[0]): user}), door.execute(insert_sql("users"), user))
        if outcome == "acknowledged":
            self._author = str(user[0])

    async def _insert(self, door: FrontDoor) -> RowId | None:
        post = self._maker.post(self._author)
        row_id = ("posts", post[0])
        outcome = await self._write(becomes({row_id: post}), door.execute(insert_sql("posts"), post))
        if outcome == "acknowledged":
            self._posts.append(str(post[0]))
        return row_id if outcome == "acknowledged" else None

    async def _append(self, door: FrontDoor) -> RowId | None:
        """An update that shows if it runs twice."""
        key, mark = self._maker.random.choice(self._posts), f" +{self._maker.random.randint(1, 10**6)}"
        work = door.execute("UPDATE posts SET body = body || ? WHERE id = ?", (mark, key))
        return await self._change_post(key, _appended(mark), work)

    async def _interactive(self, door: FrontDoor) -> RowId | None:
        """Read, then write what was read, in a transaction held open across requests."""
        key, mark = self._maker.random.choice(self._posts), f" ~{self._maker.random.randint(1, 10**6)}"
        return await self._change_post(key, _appended(mark), self._read_and_write(door, key, mark))

    async def _read_and_write(self, door: FrontDoor, key: str, mark: str) -> None:
        read = statement("SELECT body FROM posts WHERE id = ?", (key,))
        try:
            begun, baton = await door.pipeline([_execute(statement("BEGIN IMMEDIATE")), _execute(read)])
            rows = rows_of(begun[1])
            if not rows:
                self._stats.stale_reads.append(f"posts {key!r} was not there for the transaction that would change it")
                raise FrontDoorError("the row is gone", "NO_ROW", executed=False)
            body = rows[0][0]
            write = statement("UPDATE posts SET body = ? WHERE id = ?", (f"{body!s}{mark}", key))
            _, baton = await door.pipeline([_execute(write)], baton)
        except FrontDoorError as error:  # no commit was sent, so nothing was done, whatever else is unknown
            raise FrontDoorError(str(error), error.code, executed=False) from None
        await door.pipeline([_execute(statement("COMMIT")), {"type": "close"}], baton)

    async def _delete(self, door: FrontDoor) -> RowId | None:
        key = self._maker.random.choice(self._posts)
        row_id = await self._change_post(key, lambda _row: None, door.execute("DELETE FROM posts WHERE id = ?", (key,)))
        if row_id is not None:
            self._posts.remove(key)
        return row_id

    async def _batch(self, door: FrontDoor) -> RowId | None:
        """A report with its appeal, both or neither. The post stays for good after that."""
        key = self._maker.random.choice(self._posts)
        report = self._maker.report(key, self._author)
        appeal = self._maker.appeal(str(report[0]), self._author, self._author)
        self._posts.remove(key)
        rows: dict[RowId, Row | None] = {("reports", report[0]): report, ("appeals", appeal[0]): appeal}
        inserts = [statement(insert_sql("reports"), report), statement(insert_sql("appeals"), appeal)]
        outcome = await self._write(becomes(rows), door.transact(inserts))
        return ("appeals", appeal[0]) if outcome == "acknowledged" else None

    async def _change_post(self, key: str, change: Change, work: Any) -> RowId | None:  # noqa: ANN401  # a coroutine
        row_id = ("posts", key)
        outcome = await self._write({row_id: change}, work)
        if outcome == "unknown":
            self._posts.remove(key)
        return row_id if outcome == "acknowledged" else None

    async def _write(self, changes: dict[RowId, Change], work: Any) -> Outcome:  # noqa: ANN401  # a coroutine
        began = monotonic()
        outcome: Outcome = "acknowledged"
        try:
            await work
        except FrontDoorError as error:
            outcome = "refused" if error.executed is False else "unknown"
            self._stats.errors[error.code] = self._stats.errors.get(error.code, 0) + 1
        self._stats.took(monotonic() - began)
        self._ledger.record(outcome, changes)
        if outcome != "acknowledged":
            await asyncio.sleep(0.05)  # a front door that is away is not helped by asking faster
        return outcome

    async def _read_back(self, door: FrontDoor, row_id: RowId) -> None:
        """A read sees every write acknowledged before it was sent."""
        table, key = row_id
        try:
            rows = await door.execute(f"SELECT * FROM {table} WHERE id = ?", (key,))
        except FrontDoorError as error:
            self._stats.errors[error.code] = self._stats.errors.get(error.code, 0) + 1
            return
        self._stats.reads += 1
        if (rows[0] if rows else None) not in self._ledger.states[row_id]:
            self._stats.stale_reads.append(f"{table} {key!r} was read as it was before an acknowledged write")


def _execute(stmt: dict[str, Any]) -> dict[str, Any]:
    return {"type": "execute", "stmt": stmt}


def _appended(mark: str) -> Change:
    def change(row: Row | None) -> Row | None:
        return None if row is None else (*row[:2], f"{row[2]!s}{mark}", *row[3:])

    return change
