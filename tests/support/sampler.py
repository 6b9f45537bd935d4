"""Looks at both stores while everything runs, each time in one snapshot, and finds halves of transactions."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import asyncpg

from tests.support.ledger import ACCOUNTS, balances_after

_EVERY = 0.1
TABLES = ("items", "accounts", "pairs")

_SQL = """
SELECT 0, CAST(n % 10 AS TEXT), count(*) FROM items WHERE body = 'moved' GROUP BY 2
UNION ALL SELECT 1, CAST(id AS TEXT), balance FROM accounts
UNION ALL SELECT 2, a, b FROM pairs
UNION ALL SELECT 3, {prefix}, max(n) FROM items WHERE body = 'moved' GROUP BY 2
UNION ALL SELECT 4, primary_store, applied_batch FROM {control}
UNION ALL SELECT 5, '', count(*) FROM {backfill} WHERE state = 'done'
"""
"""The same on both stores but for some names, and one statement, since that is one snapshot and one way there and back:
samples are taken all the time."""
_SQLITE = _SQL.format(
    prefix="substr(id, 1, instr(id, '-') - 1)", control="_cutover_control", backfill="_cutover_backfill"
)
_POSTGRES = _SQL.format(prefix="split_part(id, '-', 1)", control="cutover.control", backfill="cutover.backfill")


@dataclass(frozen=True)
class Sight:
    """One snapshot of one store."""

    store: str
    digits: dict[int, int]
    """How many transactions ended in which digit."""
    balances: dict[int, int]
    lanes: dict[str, int]
    highest: dict[str, int]
    """Highest transaction of each writer."""
    primary: str
    batch: int
    copied: bool
    """Whether the backfill of every table is done; says something of a shadow only."""

    def halves(self) -> list[str]:
        """What shows that some transaction is here in part only."""
        wanted = balances_after(self.digits)
        found = [
            f"account {account} holds {self.balances.get(account)}, its items say {wanted[account]}"
            for account in range(1, ACCOUNTS + 1)
            if self.balances.get(account) != wanted[account]
        ]
        return found + [
            f"lane {lane} stands at {self.lanes[lane]}, its items at {self.highest.get(lane, 0)}"
            for lane in self.lanes
            if self.lanes[lane] != self.highest.get(lane, 0)
        ]


def _sight(store: str, rows: Iterable[tuple[int, str, int]]) -> Sight | None:
    """None where no control row is."""
    parts: list[dict[str, int]] = [{} for _ in range(6)]
    for part, name, value in rows:
        parts[part][name] = value
    digits, balances, lanes, highest, control, done = parts
    if not control:
        return None
    ((primary, batch),) = control.items()
    return Sight(
        store,
        {int(digit): count for digit, count in digits.items()},
        {int(account): balance for account, balance in balances.items()},
        lanes,
        highest,
        primary,
        batch,
        done[""] >= len(TABLES),
    )


def look_sqlite(path: str) -> Sight | None:
    """One snapshot of the SQLite file; None where cutover is not installed."""
    with closing(sqlite3.connect(path, timeout=60, isolation_level=None)) as connection:
        try:
            return _sight("sqlite", connection.execute(_SQLITE))
        except sqlite3.OperationalError:
            return None


async def look_postgres(connection: asyncpg.Connection) -> Sight | None:
    """One snapshot of the Postgres database; None where cutover is not installed."""
    try:
        return _sight("postgres", map(tuple, await connection.fetch(_POSTGRES)))
    except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError):
        return None


@dataclass
class Sampler:
    """Samples until its context ends. `torn` is what it found, `counts` how often it looked at which role."""

    path: str
    url: str
    torn: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=lambda: {"primary": 0, "shadow": 0, "catching up": 0})
    _level: dict[str, int] = field(default_factory=dict)
    """By store: the batch at which its backfill was first seen done."""
    _stop: bool = False
    _tasks: tuple[asyncio.Task[None], ...] = ()

    async def __aenter__(self) -> Self:
        self._tasks = (asyncio.create_task(self._run_sqlite()), asyncio.create_task(self._run_postgres()))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._stop = True
        await asyncio.gather(*self._tasks)

    async def _run_sqlite(self) -> None:
        while not self._stop:
            self.judge(await asyncio.to_thread(look_sqlite, self.path))
            await asyncio.sleep(_EVERY)

    async def _run_postgres(self) -> None:
        while not self._stop:
            with suppress(OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
                connection = await asyncpg.connect(self.url, timeout=10, command_timeout=30)
                try:
                    while not self._stop:
                        self.judge(await look_postgres(connection))
                        await asyncio.sleep(_EVERY)
                finally:
                    connection.terminate()

    def judge(self, sight: Sight | None) -> None:
        """Hold one snapshot against what it must be."""
        if sight is None:
            return
        role = self._role(sight)
        self.counts[role] += 1
        if role != "catching up":
            self.torn.extend(f"{sight.store} as {role}, batch {sight.batch}: {half}" for half in sight.halves())

    def _role(self, sight: Sight) -> str:
        """A shadow shows a state of the primary once a batch came after the last range of its backfill."""
        if sight.primary == sight.store:
            self._level.pop(sight.store, None)
            return "primary"
        if not sight.copied:
            self._level.pop(sight.store, None)
            return "catching up"
        level = self._level.setdefault(sight.store, sight.batch)
        return "shadow" if sight.batch > level else "catching up"


def summary(sampler: Sampler) -> str:
    """What a failing test prints of it."""
    lines: Iterable[str] = sampler.torn[:5]
    return f"{sampler.counts}; " + "; ".join(lines)
