"""Parity for a switch: what is proved before the pause, what in it, and that nothing in it grows with the tables."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import count
from typing import Any, cast

import pytest

from cutover.compare.states import Ground, States
from cutover.model.control import StoreName
from cutover.model.table import Table
from cutover.settings import CompareSettings
from cutover.stores.postgres.snapshot import PostgresSnapshot
from cutover.stores.sqlite.snapshot import SqliteSnapshot
from tests.flow.compare_world import World, world

SETTINGS = CompareSettings(scan_interval=0, range_rows=20, settle_timeout=0.3)


def fill(connection: sqlite3.Connection) -> None:
    connection.executemany(
        "INSERT INTO users VALUES (?, ?, ?, NULL)", [(number, f"user {number}", 0.0) for number in range(1, 301)]
    )
    connection.executemany("INSERT INTO posts VALUES ('a', ?, 'x', 1)", [(number,) for number in range(20)])


@pytest.fixture(params=["sqlite", "postgres"])
async def here(request: pytest.FixtureRequest, sqlite_path: str, postgres_url: str) -> AsyncIterator[World]:
    primary = cast("StoreName", request.param)
    async with world(sqlite_path, postgres_url, fill, primary=primary, compare=SETTINGS) as made:
        yield made


@pytest.fixture
def whole_tables(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is asked of snapshots that reads a whole table, as it is asked."""
    asked: list[str] = []

    def heard(kind: type, name: str) -> None:
        original = getattr(kind, name)

        async def ask(self: object, table: Table, *rest: Any, **named: Any) -> Any:
            asked.append(f"{name} {table.name}")
            return await original(self, table, *rest, **named)

        monkeypatch.setattr(kind, name, ask)

    for kind in (SqliteSnapshot, PostgresSnapshot):
        for name in ("count", "scan", "digests", "orphans"):
            heard(kind, name)
    return asked


@asynccontextmanager
async def writing(here: World) -> AsyncIterator[None]:
    """Inserts, updates and deletes one after the other, for as long as the block lasts."""
    stop = asyncio.Event()

    async def write() -> None:
        for number in count(1000):
            if stop.is_set():
                return
            await here.write("INSERT INTO users (id, handle) VALUES (?1, 'new')", [(number,), (number + 100_000,)])
            await here.write("UPDATE users SET score = ?1 WHERE id = ?2", [(float(number), number % 300)])
            await here.write("DELETE FROM users WHERE id = ?1", [(number,)])

    task = asyncio.create_task(write())
    try:
        yield
    finally:
        stop.set()
        await task


async def test_nothing_in_the_pause_reads_a_whole_table(here: World, whole_tables: list[str]) -> None:
    async with writing(here):
        for _ in range(3):
            whole_tables.clear()
            assert await here.comparator.prepare_quick() == [], "no row in flight is taken for a missing one"
            assert sorted(whole_tables) == ["count posts"] * 2 + ["count users"] * 2
    await here.write("INSERT INTO users (id, handle) VALUES (900, 'the last')")
    await here.settled()
    whole_tables.clear()
    assert await here.comparator.quick_check(60.0) == []
    assert whole_tables == []

    assert await here.comparator.quick_check(60.0) == []
    assert sorted(whole_tables) == ["count posts"] * 2 + ["count users"] * 2, "a preparation is good for one check"


async def test_what_nobody_captured_is_found_before_the_pause(here: World) -> None:
    await here.spoil("users", upserts=[(600000, "nobody wrote me", None, None)])
    async with writing(here):
        (problem,) = await here.comparator.prepare_quick()
    assert "rows on the primary and" in problem
    assert "-1 of the difference" in problem


async def test_rows_mirrored_after_the_count_are_read_back_in_the_pause(here: World) -> None:
    comparator, users = here.comparator, here.table("users")
    assert await comparator.prepare_quick() == []
    await here.spoil("users", upserts=[(9, "spoiled", None, None)], deletes=[(10,)])
    comparator.applied(users, [(9,), (10,), (11,)])
    assert await comparator.quick_check(60.0) == ["2 rows of users drifted"]
    assert await comparator.prepare_quick() == ["2 rows of users drifted"], "and the next switch does not begin"


async def test_what_came_since_the_count_is_read_back_before_the_pause(here: World) -> None:
    comparator, users = here.comparator, here.table("users")
    assert await comparator.prepare_quick() == []
    await here.write("INSERT INTO users (id, handle) VALUES (?1, 'new')", [(number,) for number in range(1000, 1600)])
    assert await comparator.catch_up() == []
    assert comparator.status()["read_back_waiting"] <= 250, "so many are no matter"
    await here.spoil("users", upserts=[(9, "spoiled", None, None)])
    comparator.applied(users, [(9,)])
    assert await comparator.catch_up() == ["1 row of users drifted"], "and the writes are not held for it"


async def test_in_the_pause_no_row_is_looked_for_in_a_log_that_is_empty(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each question of that kind is paid by every writer that is held."""
    asked = list[str]()
    for kind in (SqliteSnapshot, PostgresSnapshot):
        original = kind.pending_keys

        async def heard(self: Any, table: Table, keys: Any, original: Any = original) -> Any:
            asked.append(table.name)
            return await original(self, table, keys)

        monkeypatch.setattr(kind, "pending_keys", heard)
    await here.settled()
    await here.comparator.catch_up()
    await here.spoil("users", upserts=[(9, "spoiled", None, None)])
    here.comparator.applied(here.table("users"), [(9,), (10,)])
    asked.clear()
    assert await here.comparator.quick_check(60.0) == ["1 row of users drifted"]
    assert asked == []


async def test_a_change_that_is_not_applied_is_no_parity(here: World) -> None:
    assert await here.comparator.prepare_quick() == []
    here.mirror.pause()
    await here.write("UPDATE users SET handle = 'in flight' WHERE id = 3")
    assert "1 changes are not applied" in await here.comparator.quick_check(60.0)


async def test_a_table_copied_again_after_the_count_ends_the_switch(here: World) -> None:
    """What it held was verified; what it holds now was not."""
    here.mirror.on_copy_again = here.comparator.forget
    assert await here.comparator.prepare_quick() == []
    await here.mirror.copy_again(["posts"])
    await here.settled()
    problem = "a table was copied again, or mapped anew, after its rows were counted"
    assert await here.comparator.quick_check(60.0) == [problem]


async def test_without_read_back_a_switch_still_needs_no_scan_in_its_pause(
    sqlite_path: str, postgres_url: str, whole_tables: list[str]
) -> None:
    """Rows mirrored before are scanned with writes going on; from then on each is remembered and read back."""
    settings = CompareSettings(scan_interval=0, range_rows=20, read_back=False)
    async with world(sqlite_path, postgres_url, fill, compare=settings) as here:
        await here.write("UPDATE users SET score = 1 WHERE id = 7")
        await here.settled()
        assert here.comparator.status()["not_read_back"] == ["users"]
        assert await here.comparator.prepare_quick() == []
        assert "scan users" in whole_tables
        await here.write("UPDATE users SET score = 2 WHERE id = 7")
        await here.settled()
        whole_tables.clear()
        assert await here.comparator.quick_check(60.0) == []
        assert whole_tables == []
        await here.spoil("users", upserts=[(8, "spoiled", None, None)])
        here.comparator.applied(here.table("users"), [(8,)])
        assert await here.comparator.quick_check(60.0) == ["1 row of users drifted"]


async def test_a_row_in_quarantine_would_be_left_behind(sqlite_path: str, postgres_url: str) -> None:
    """It came after the gates were looked at: nobody said that it may be lost."""
    async with world(sqlite_path, postgres_url, fill, compare=SETTINGS) as here:
        assert await here.comparator.prepare_quick() == []
        await here.write("UPDATE users SET handle = 'no' || char(0) || 'text' WHERE id = 5")
        await here.settled()
        assert await here.comparator.quick_check(60.0) == ["1 row of users in quarantine would be left behind"]
        assert await here.comparator.quick_check(60.0, accept_quarantine=True) == []


async def test_scheduled_work_stays_away_from_a_switch(sqlite_path: str, postgres_url: str) -> None:
    settings = CompareSettings(scan_interval=0.01, range_rows=20)
    async with world(sqlite_path, postgres_url, fill, compare=settings) as here:
        comparator = here.comparator
        assert comparator._due()
        running = comparator.start_verify()
        assert await comparator.prepare_quick() == []
        assert (running.state, running.error) == ("failed", "A switch began.")
        assert not comparator._due()
        comparator.forget()
        assert comparator._due()


# -- the read-back under load ------------------------------------------------------------------------------------------


def opened(here: World, monkeypatch: pytest.MonkeyPatch, then: Callable[[], Awaitable[object]]) -> None:
    """Have `then` happen each time after matching states were opened."""
    original = Ground.matched

    @asynccontextmanager
    async def matched(self: Ground, *rest: Any, **named: Any) -> AsyncIterator[States]:
        async with original(self, *rest, **named) as states:
            await then()
            yield states

    monkeypatch.setattr(Ground, "matched", matched)


async def test_nothing_is_compared_while_tables_are_mapped_anew(here: World) -> None:
    """They may have no change log yet, or a column whose values are still to be copied: that would be told as drift."""
    comparator, users = here.comparator, here.table("users")
    await here.settled()
    await comparator._read_back.drain()
    pair, tables = here.mirror.pair, here.mirror.tables
    await here.mirror.stop(mapping=True)
    comparator.applied(users, [(9,)])
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await comparator._read_back.drain()
    verifying = asyncio.create_task(comparator.verify())
    reading = asyncio.create_task(comparator._read_back.drain())
    while comparator.status()["read_back_waiting"]:
        await asyncio.sleep(0)
    comparator.forget()
    await here.mirror.start(pair, tables)
    assert await reading == 0, "what was taken by the mapping of before"
    assert (await verifying).state == "failed", "its tables were those of before"
    assert (await comparator.verify()).drift_rows == 0
    await here.mirror.drain(60.0)
    assert await comparator.quick_check(60.0) == [], "a mirror that has drained is no reason to wait"


async def test_a_row_applied_while_it_is_read_back_is_read_back_again(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """States that were opened before say nothing about it."""
    comparator, users = here.comparator, here.table("users")
    spoiled = False

    async def spoil() -> None:
        nonlocal spoiled
        if not spoiled:
            spoiled = True
            await here.spoil("users", upserts=[(9, "applied wrongly", None, None)])
            comparator.applied(users, [(9,)])

    opened(here, monkeypatch, spoil)
    comparator.applied(users, [(8,), (9,)])
    await comparator._read_back.drain()
    assert comparator.drift_rows == 0
    await comparator._read_back.drain()
    assert comparator.drift_rows == 1


async def test_reading_back_ends_though_rows_keep_coming(here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    comparator, users = here.comparator, here.table("users")
    fresh = count(1)

    async def more() -> None:
        comparator.applied(users, [(next(fresh),) for _ in range(10)])

    opened(here, monkeypatch, more)
    comparator.applied(users, [(number,) for number in range(100, 200)])
    async with asyncio.timeout(60):
        assert await comparator._read_back.drain() == 100
    assert comparator.status()["read_back_waiting"] == 10
