"""Looking on: snapshots of either store, the service's own word, and a probe that tries to write into each store."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import aiohttp
import asyncpg

from tests.torture.account import Account
from tests.torture.doors import DirectDoor, Door, FrontDoor, NativeDoor, Rows, Statement
from tests.torture.ledger import Entry
from tests.torture.place import Place
from tests.torture.workloads.base import Workload

MARKERS = "CREATE TABLE markers(id TEXT PRIMARY KEY, store TEXT NOT NULL, epoch INTEGER NOT NULL);"

_CONTROL = {
    "sqlite": "SELECT primary_store, epoch, state FROM _cutover_control",
    "postgres": "SELECT primary_store, epoch, state FROM cutover.control",
}
_COPIED = {
    "sqlite": "SELECT table_name FROM _cutover_backfill WHERE state = 'done'",
    "postgres": "SELECT table_name FROM cutover.backfill WHERE state = 'done'",
}
_AWAY = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError)
"""What a driver says of a server that is gone. The internal error: the server said farewell to a connection just as it
was about to ask."""


class Watch:
    """Runs beside the traffic until `stop` is set."""

    def __init__(self, place: Place, account: Account, workloads: Sequence[Workload], stop: asyncio.Event) -> None:
        self.place, self.account, self.workloads, self.stop = place, account, workloads, stop
        self.tables = ["markers", *(table for workload in workloads for table in workload.tables)]
        self.markers: list[Entry] = []
        self._last: dict[str, Entry] = {}
        self._epoch = (0, "")

    async def run(self) -> None:
        """Everything."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._sample("sqlite"))
            group.create_task(self._sample("postgres"))
            group.create_task(self._status())
            group.create_task(self._probe("sqlite"))
            group.create_task(self._probe("postgres"))
            group.create_task(self._old_snapshots())
            group.create_task(self._read())

    async def _rest(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self.stop.wait(), seconds)
        except TimeoutError:
            return

    # -- snapshots ---------------------------------------------------------------------------------------------------

    async def _sample(self, store: str) -> None:
        queries = {f"{w.name} {name}": sql for w in self.workloads for name, sql in w.samples.items()}
        everything = {"control": _CONTROL[store], "copied": _COPIED[store], **queries}
        while not self.stop.is_set():
            try:
                if store == "sqlite":
                    rows = await asyncio.to_thread(_sqlite_snapshot, self.place.sqlite, everything)
                else:
                    async with asyncio.timeout(8):
                        rows = await _postgres_snapshot(self.place.native, everything)
            except (sqlite3.Error, *_AWAY) as error:
                self.account.counts[f"snapshots of {store} not to be had"] += 1
                if isinstance(error, sqlite3.DatabaseError) and "malformed" in str(error):
                    self.account.problem("a damaged file", str(error))
            else:
                self._judge(store, rows)
            await self._rest(0.3)

    def _judge(self, store: str, rows: Mapping[str, Rows]) -> None:
        if not rows["control"]:
            return
        primary, epoch, state = rows["control"][0]
        copied = {row[0] for row in rows["copied"]}
        if primary != store and not copied.issuperset(self.tables):
            self.account.counts[f"snapshots of {store} catching up"] += 1
            return
        self.account.counts[f"snapshots of {store} as {'primary' if primary == store else 'shadow'}"] += 1
        for workload in self.workloads:
            mine = {name: rows[f"{workload.name} {name}"] for name in workload.samples}
            for text in workload.check_sample(store, mine):
                where = f"in a snapshot of {store} (primary {primary}, epoch {epoch}, {state})"
                self.account.problem(f"{workload.name}, in a snapshot of {store}", f"{where}: {text}")

    # -- what the service says ---------------------------------------------------------------------------------------

    async def _status(self) -> None:
        while not self.stop.is_set():
            try:
                status = await asyncio.wait_for(self.place.service.status(), 5)
            except (aiohttp.ClientError, OSError, TimeoutError, AssertionError):
                await self._rest(0.5)
                continue
            self._judge_status(status)
            await self._rest(0.5)

    def _judge_status(self, status: Mapping[str, Any]) -> None:
        drift, full = status["compare"]["drift_rows"], status["compare"]["last_full"]
        if drift or (full and full["drift_rows"]):
            self.account.problem("drift is reported, and nobody tampered", f"{drift} rows; last full: {full}")
        if status["mirror"]["quarantined_rows"]:
            self.account.problem("rows in quarantine", str(status["mirror"]))
        epoch, primary = status["epoch"], status["primary"]
        if epoch < self._epoch[0]:
            self.account.problem("the epoch went back", f"from {self._epoch} to {(epoch, primary)}")
        if epoch == self._epoch[0] and primary != self._epoch[1]:
            self.account.problem("two primaries of one epoch are told", f"{self._epoch}, then {(epoch, primary)}")
        self._epoch = (epoch, primary)

    # -- one primary -------------------------------------------------------------------------------------------------

    async def _probe(self, store: str) -> None:
        """Write the epoch that stands in the store's control row into the store itself, past the service."""
        door: Door
        rng = random.Random(f"probe {store}")
        if store == "sqlite":
            door = DirectDoor(self.place.sqlite, rng)
        else:  # a snapshot older than the write may be older than the epoch, too
            door = NativeDoor(self.place.native, rng, ["READ COMMITTED"])
        control = "_cutover_control" if store == "sqlite" else "cutover.control"
        number = 0
        while not self.stop.is_set():
            number += 1
            key = f"{store}-{number}"
            sql = f"INSERT INTO markers(id, store, epoch) SELECT ?, '{store}', epoch FROM {control}"
            native = f"INSERT INTO markers(id, store, epoch) SELECT ?::text, '{store}', epoch FROM {control}"
            entry = self.account.ledger.begin("markers", f"probe-{store}", door.name, f"marker {key}", key)
            told = await door.run((Statement(sql, (key,), native),))
            self.account.ledger.end(entry, told.outcome, told.code, told.message)
            self.markers.append(entry)
            if told.outcome == "acknowledged":
                self._last[store] = entry
            await self._between_probes(told.outcome == "acknowledged")
        await door.close()

    async def _between_probes(self, acknowledged: bool) -> None:
        """Often where primaries change, and else now and then: this is an application beside the traffic, too."""
        rest = 0.05 if acknowledged else 0.01
        deadline = asyncio.get_running_loop().time() + 5 * rest
        while not self.stop.is_set():
            await self._rest(rest)
            if self.place.switching or asyncio.get_running_loop().time() >= deadline:
                return

    async def _old_snapshots(self) -> None:
        """Native transactions whose snapshot is from before a switch, and whose write comes after it."""
        rng = random.Random("old snapshots")
        door = NativeDoor(self.place.native, rng, ["REPEATABLE READ", "SERIALIZABLE"])
        number = 0
        while not self.stop.is_set():
            number += 1
            key = f"old-{number}"
            entry = self.account.ledger.begin("markers", "old-snapshots", door.name, f"marker {key}", key)
            sleep = Statement(f"SELECT pg_sleep({rng.uniform(0, 1.5):.3f})")
            write = Statement("INSERT INTO markers(id, store, epoch) VALUES (?, ?, 0)", (key, "nobody"))
            told = await door.run((Statement("SELECT count(*) FROM markers"), sleep, write))
            self.account.ledger.end(entry, told.outcome, told.code, told.message)
            self.markers.append(entry)
            await self._rest(0.1)
        await door.close()

    async def _read(self) -> None:
        """A read by the front door sees every marker that was acknowledged before it was sent, in whichever store."""
        door = FrontDoor(self.place.service.front, random.Random("reads"))
        while not self.stop.is_set():
            last = list(self._last.values())
            marks = ", ".join("?" * len(last)) or "NULL"
            read = Statement(f"SELECT id FROM markers WHERE id IN ({marks})", tuple(entry.data for entry in last))
            told = await door.run((read,))
            if told.outcome == "acknowledged":
                self.account.counts["reads of markers"] += 1
                seen = {row[0] for row in told.rows[0]}
                for entry in last:
                    if entry.data not in seen:
                        self.account.problem("a read was stale", f"it does not see what was told before; {entry}")
            await self._rest(0.01)
        await door.close()

    def check_markers(self, rows: Rows) -> Iterable[str]:
        """No epoch with writes in both stores; every accepted marker there, no refused one."""
        stores: dict[int, set[str]] = {}
        there = {}
        for key, store, epoch in rows:
            if epoch:
                stores.setdefault(epoch, set()).add(store)
            there[key] = epoch
        for epoch, both in stores.items():
            if len(both) > 1:
                some = [key for key, at in there.items() if at == epoch]
                yield f"epoch {epoch} has writes that were accepted by both stores: {some[:3]} ... {some[-3:]}"
        for entry in self.markers:
            if entry.outcome == "acknowledged" and entry.data not in there:
                yield f"marker {entry.data} is lost; {entry}"
            if entry.outcome == "refused" and entry.data in there:
                yield f"marker {entry.data} is there, though it was refused; {entry}"


def _sqlite_snapshot(path: str, queries: Mapping[str, str]) -> dict[str, Rows]:
    connection = sqlite3.connect(path, timeout=5.0, isolation_level=None)
    try:
        connection.execute("BEGIN")
        return {name: connection.execute(sql).fetchall() for name, sql in queries.items()}
    finally:
        connection.close()


async def _postgres_snapshot(url: str, queries: Mapping[str, str]) -> dict[str, Rows]:
    connection = await asyncpg.connect(url, timeout=3, statement_cache_size=0)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            return {name: [tuple(row) for row in await connection.fetch(sql)] for name, sql in queries.items()}
    finally:
        connection.terminate()


async def dump(place: Place, tables: Sequence[str]) -> tuple[dict[str, Rows], dict[str, Rows]]:
    """All rows of all tables, from both stores, in one order."""
    names = {table: f"SELECT name FROM pragma_table_info('{table}')" for table in tables}
    columns = await asyncio.to_thread(_sqlite_snapshot, place.sqlite, names)  # Postgres has a rowid more
    queries = {table: f"SELECT {', '.join(str(row[0]) for row in columns[table])} FROM {table}" for table in tables}
    local = await asyncio.to_thread(_sqlite_snapshot, place.sqlite, queries)
    remote = await _postgres_snapshot(place.native, queries)
    for rows in (*local.values(), *remote.values()):
        rows.sort(key=repr)
    return local, remote
