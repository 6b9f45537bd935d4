"""Under load: no drift that is none, and none missed."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from typing import cast

import pytest

from cutover.compare import readback as readback_module
from cutover.compare.counts import count_problem
from cutover.compare.states import Ground
from cutover.model.control import StoreName
from cutover.settings import CompareSettings
from tests.flow.compare_world import World, until, world

SETTINGS = CompareSettings(scan_interval=0.01, range_rows=20, settle_timeout=0.3, max_rows_per_second=1_000_000)


def fill(connection: sqlite3.Connection) -> None:
    connection.executemany(
        "INSERT INTO users VALUES (?, ?, ?, NULL)", [(number, f"user {number}", 0.0) for number in range(1, 301)]
    )


@pytest.fixture(params=["sqlite", "postgres"])
async def here(request: pytest.FixtureRequest, sqlite_path: str, postgres_url: str) -> AsyncIterator[World]:
    primary = cast("StoreName", request.param)
    async with world(sqlite_path, postgres_url, fill, primary=primary, compare=SETTINGS) as made:
        yield made


@asynccontextmanager
async def churn(here: World, seed: int) -> AsyncIterator[None]:
    """Updates of a few hot rows, inserts, deletes and key changes, all the time inside."""
    stop = asyncio.Event()
    task = asyncio.create_task(_churn(here, seed, stop))
    try:
        yield
    finally:
        stop.set()
        await task


async def _churn(here: World, seed: int, stop: asyncio.Event) -> None:
    dice = random.Random(seed)
    for number in count():
        if stop.is_set():
            return
        hot = dice.randint(1, 300)
        await here.write("UPDATE users SET score = ?1 WHERE id = ?2", [(float(number), hot), (float(number), 1)])
        await here.write("DELETE FROM users WHERE id = ?1", [(dice.randint(301, 400),)])
        await here.write(
            "INSERT INTO users (id, handle) VALUES (?1, ?2) ON CONFLICT (id) DO UPDATE SET handle = excluded.handle",
            [(dice.randint(301, 400), f"new {number}")],
        )
        await here.write("UPDATE users SET id = ?1 WHERE id = ?2", [(number + 1000, dice.randint(301, 400))])


async def test_no_row_in_flight_is_taken_for_drift(here: World) -> None:
    """Everything the service does, over and over, while rows change: not one drift at any moment."""
    comparator = here.comparator
    async with here.serving(comparator.run):
        finished = set()

        def at_ease() -> bool:
            assert comparator.drift_rows == 0, comparator.drifts()
            latest = comparator.verification
            if latest is not None and latest.state != "running":
                assert (latest.problems, latest.error) == ([], None)
                finished.add(latest.id)
            return len(finished) >= 4

        async with churn(here, 1):
            await until(at_ease)
        await here.settled()
        assert (await comparator.verify()).proves
    labels = {"table": "users", "detector": "read_back"}
    assert (here.metrics.registry.get_sample_value("cutover_compare_rows_total", labels) or 0) > 0


async def test_drift_is_found_under_load_and_only_that(here: World) -> None:
    await here.write("INSERT INTO users (id, handle) VALUES (500000, 'still'), (500001, 'still')")
    await here.settled()
    async with churn(here, 2):
        await here.spoil("users", upserts=[(500000, "spoiled", None, None)], deletes=[(500001,)])
        verification = await here.comparator.verify()
    assert verification.error is None
    found = {row["key"][0]: row["kind"] for row in here.comparator.drifts()["rows"]}
    assert found == {500000: "different", 500001: "missing"}


@pytest.mark.parametrize("primary", ["sqlite", "postgres"])
async def test_mirrored_rows_are_read_back_without_a_scan(
    sqlite_path: str, postgres_url: str, primary: StoreName
) -> None:
    """A fault of the applier on rows that it just wrote is seen with no scan."""
    async with world(sqlite_path, postgres_url, fill, primary=primary) as here:
        await read_back(here)


async def read_back(here: World) -> None:
    async with here.serving(here.comparator.run):
        await here.spoil("users", upserts=[(9, "spoiled", None, None)])
        here.comparator.applied(here.table("users"), [(9,), (10,)])
        await until(lambda: here.comparator.drift_rows == 1)
        await here.write("UPDATE users SET handle = 'written again' WHERE id = 9")
        await until(lambda: here.comparator.drift_rows == 0)


async def test_parity_inside_the_pause(here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    comparator = here.comparator
    await comparator.verify()
    assert await comparator.quick_check(60.0) == []

    await here.spoil("users", upserts=[(9, "spoiled", None, None)])
    comparator.applied(here.table("users"), [(9,)])
    (problem,) = await comparator.quick_check(60.0)
    assert problem == "1 row of users drifted"
    await comparator.repair()
    assert await comparator.quick_check(60.0) == []

    monkeypatch.setattr(readback_module, "QUEUE_MAX", 1)
    await here.spoil("users", deletes=[(9,), (10,)])
    comparator.applied(here.table("users"), [(9,), (10,)])
    assert comparator.status()["not_read_back"] == ["users"]
    assert await comparator.quick_check(60.0) == ["2 rows of users drifted"], "the table is scanned instead"
    assert comparator.status()["not_read_back"] == []
    await comparator.repair()

    await here.spoil("users", upserts=[(600000, "nobody wrote me", None, None)])
    (problem,) = await comparator.quick_check(60.0)
    assert "users has 300 rows on the primary and 301 on the shadow" in problem

    here.mirror.pause()
    await here.write("UPDATE users SET handle = 'in flight' WHERE id = 3")
    assert "1 changes are not applied" in await comparator.quick_check(60.0)
    assert "within" in (await comparator.quick_check(0.0))[0]


async def test_row_counts_are_exact_while_rows_are_in_flight(here: World) -> None:
    users = here.table("users")
    ground = Ground(here.mirror, lambda: here.pair)
    here.mirror.pause()
    await here.write("DELETE FROM users WHERE id <= 20")
    await here.write("INSERT INTO users (id, handle) VALUES (1001, 'a'), (1002, 'b'), (1003, 'c')")
    await here.write("UPDATE users SET handle = 'changed' WHERE id = 100")
    async with ground.matched([users], quarantine=True) as states:
        assert states.pending.count > 0
        assert await count_problem(states, users, 0) is None
        assert "5 of the difference" in (await count_problem(states, users, -5) or "")


async def test_states_are_fixed_when_they_are_opened(here: World) -> None:
    """What is written or mirrored after that is in neither snapshot."""
    users = here.table("users")
    async with Ground(here.mirror, lambda: here.pair).matched([users]) as states:
        await here.write("UPDATE users SET handle = 'later' WHERE id = 3")
        await here.write("DELETE FROM users WHERE id = 4")
        await here.settled()
        mine, theirs = [await side.rows(users, [(3,), (4,)]) for side in (states.primary, states.shadow)]
        assert mine == theirs
        assert mine[3,][1] == "user 3"
        assert await states.in_flight(users, [(3,), (4,)]) == set()
