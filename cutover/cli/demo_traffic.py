"""The HumanOnly application's traffic, in the ways that go around the front door.

    DirectWriter      opens the SQLite file itself and saves by rewriting; knows nothing of cutover
    NativeWriter      its own pool on Postgres, after the promotion

(`demo_front.FrontDoorWriter` is the third way, through Hrana.) Each keeps
a ledger of what it was told, so that afterwards a store can be checked against it.
"""

from __future__ import annotations

import asyncio
import sqlite3
from typing import Any

import asyncpg

from cutover.cli.demo_data import TABLES, Maker, insert_sql, postgres_columns
from cutover.cli.demo_ledger import Change, Ledger, Outcome, RowId, plain_row
from cutover.model.values import Row

Changes = dict[RowId, Row | None]
"""Rows as they are after a step; None is deleted."""


async def pause(stop: asyncio.Event, seconds: float) -> None:
    """Wait `seconds`, or less when `stop` is set."""
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return


class Memory:
    """What the application keeps in memory: every row it knows. `think` decides on one small change."""

    def __init__(self, maker: Maker) -> None:
        self.maker = maker
        self.rows: dict[str, dict[Any, Row]] = {table: {} for table in TABLES}

    def think(self) -> Changes:
        """One thing a person does: join, post, edit, report, or delete a post that nobody reported."""
        random, maker = self.maker.random, self.maker
        users, posts = self.rows["users"], self.rows["posts"]
        if not users or random.random() < 0.1:
            user = maker.user()
            return {("users", user[0]): user}
        author = str(random.choice(list(users)))
        if len(posts) < 3 or random.random() < 0.4:
            post = maker.post(author)
            return {("posts", post[0]): post}
        key = random.choice(list(posts))
        reported = {report[1] for report in self.rows["reports"].values()}
        if key not in reported and random.random() < 0.2:
            return {("posts", key): None}
        if random.random() < 0.3:
            report = maker.report(str(key), author)
            return {("reports", report[0]): report}
        post = posts[key]
        return {("posts", key): (*post[:2], f"{str(post[2])[:2000]} (edited)", *post[3:])}

    def adopt(self, changes: Changes) -> dict[str, dict[Any, Row]]:
        """Make the changes; returns the rows as they were."""
        before = {table: dict(rows) for table, rows in self.rows.items()}
        for (table, key), row in changes.items():
            if row is None:
                del self.rows[table][key]
            else:
                self.rows[table][key] = row
        return before


def becomes(changes: Changes) -> dict[RowId, Change]:
    """The same as a ledger wants it."""

    def to(row: Row | None) -> Change:
        return lambda _before: row

    return {row_id: to(row) for row_id, row in changes.items()}


class DirectWriter:
    """The application as it is today: one connection on the file, everything in memory, each save rewrites all.

    With `whole_store` it owns every row, as the application does: a row that another writer made since `open` is
    deleted by its next save. Without, it keeps to the rows of its own tag. One thread at a time.
    """

    def __init__(self, path: str, *, seed: int = 1, tag: str = "direct", whole_store: bool = False) -> None:
        self.ledger = Ledger()
        self.tag = tag
        self.last_error = ""
        self._memory = Memory(Maker(seed, tag))
        self._path = path
        self._scope = "" if whole_store else f"{tag}-"
        self._connection: sqlite3.Connection | None = None

    def open(self) -> None:
        """Connect with the application's pragmas and load every row, in the order it does. Raises `sqlite3.Error`."""
        connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False, timeout=5.0)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA synchronous = NORMAL")
        for table, columns in TABLES.items():
            query = f"SELECT {', '.join(columns)} FROM {table} WHERE substr(id, 1, ?) = ? ORDER BY created_at"
            rows = connection.execute(query, (len(self._scope), self._scope))
            self._memory.rows[table] = {row[0]: row for row in rows}
        self._connection = connection

    def step(self) -> Outcome:
        """Change something and save everything. A refused save is forgotten, its reason kept in `last_error`."""
        changes = self._memory.think()
        before = self._memory.adopt(changes)
        outcome: Outcome = "acknowledged"
        try:
            self.save()
        except sqlite3.Error as error:
            self._memory.rows = before
            self.last_error = str(error)
            outcome = "refused"
        self.ledger.record(outcome, becomes(changes))
        return outcome

    def save(self) -> None:
        """One transaction: delete what is not in memory, then put in what is. Raises `sqlite3.Error`, all undone."""
        connection = self._connection
        assert connection is not None, "open() comes first"
        connection.execute("BEGIN")
        try:
            for table, rows in self._memory.rows.items():
                kept = f"id NOT IN ({', '.join('?' * len(rows))})"
                scope = (len(self._scope), self._scope)
                connection.execute(f"DELETE FROM {table} WHERE {kept} AND substr(id, 1, ?) = ?", (*rows, *scope))
            for table, rows in self._memory.rows.items():
                connection.executemany(insert_sql(table, "INSERT OR REPLACE"), rows.values())
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

    def close(self) -> None:
        """Let go of the file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    async def run(self, stop: asyncio.Event, every: float = 0.2) -> None:
        """Open, then a step every `every` seconds until `stop`."""
        await asyncio.to_thread(self.open)
        try:
            while not stop.is_set():
                await asyncio.to_thread(self.step)
                await pause(stop, every)
        finally:
            self.close()


class NativeWriter:
    """The application with its Postgres backend: a pool of its own, saves by upserting all and deleting the rest.

    It keeps to the rows of its own tag, so that several instances can write.
    """

    def __init__(self, url: str, *, seed: int = 1, tag: str = "native", schema: str = "public") -> None:
        self.ledger = Ledger()
        self.tag = tag
        self.last_error = ""
        self._memory = Memory(Maker(seed, tag))
        self._url, self._schema = url, schema
        self._scope = f"{tag}-"
        self._doubtful: set[RowId] = set()
        self._pool: asyncpg.Pool | None = None

    async def open(self) -> None:
        """Connect and load. Raises asyncpg's errors and `OSError`."""
        self._pool = await asyncpg.create_pool(
            self._url, min_size=1, max_size=4, server_settings={"search_path": self._schema}, command_timeout=30
        )
        for table in TABLES:
            query = f"SELECT {', '.join(postgres_columns(table))} FROM {table} WHERE starts_with(id, $1)"
            rows = await self._pool.fetch(f"{query} ORDER BY created_at", self._scope)
            self._memory.rows[table] = {row[0]: plain_row(table, row) for row in rows}

    async def step(self) -> Outcome:
        """Change something and save everything. A refused save is forgotten, its reason kept in `last_error`."""
        changes = self._memory.think()
        before = self._memory.adopt(changes)
        outcome: Outcome = "acknowledged"
        try:
            await self.save()
        except (asyncpg.PostgresConnectionError, asyncpg.OperatorInterventionError) as error:
            outcome, self.last_error = "unknown", str(error)
        except asyncpg.PostgresError as error:
            outcome, self.last_error = "refused", str(error)
        except (OSError, TimeoutError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
            outcome, self.last_error = "unknown", repr(error)
        if outcome != "acknowledged":
            self._memory.rows = before
        if outcome == "unknown":
            self._doubtful |= changes.keys()
        if outcome == "acknowledged":  # a save writes everything, so it settles what was in doubt
            changes |= {row_id: self._memory.rows[row_id[0]].get(row_id[1]) for row_id in self._doubtful}
            self._doubtful.clear()
        self.ledger.record(outcome, becomes(changes))
        return outcome

    async def save(self) -> None:
        """One transaction: upsert what is in memory, delete the rest. Raises asyncpg's errors, all undone."""
        assert self._pool is not None, "open() comes first"
        async with self._pool.acquire() as connection, connection.transaction():
            for table, rows in self._memory.rows.items():
                await connection.executemany(_upsert(table), rows.values())
            for table, rows in reversed(self._memory.rows.items()):
                delete = f"DELETE FROM {table} WHERE id != ALL($1) AND starts_with(id, $2)"
                await connection.execute(delete, list(rows), self._scope)

    async def close(self) -> None:
        """Close the pool."""
        if self._pool is not None:
            await self._pool.close()

    async def run(self, stop: asyncio.Event, every: float = 0.1) -> None:
        """Open, then a step every `every` seconds until `stop`."""
        await self.open()
        try:
            while not stop.is_set():
                await self.step()
                await pause(stop, every)
        finally:
            await self.close()


def _upsert(table: str) -> str:
    columns = postgres_columns(table)
    marks = ", ".join(f"${n}" for n in range(1, len(columns) + 1))
    sets = ", ".join(f"{column} = excluded.{column}" for column in columns[1:])
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks}) ON CONFLICT (id) DO UPDATE SET {sets}"
