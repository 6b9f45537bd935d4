"""Sentences that must hold on both sides."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, cast

import pytest

from cutover.compare.invariants import InvariantCheck, InvariantResult
from cutover.compare.states import Ground, States
from cutover.model.control import StoreName
from cutover.settings import CompareSettings
from tests.flow.compare_world import World, world


def check(name: str, sql: str, expect: str | None = None) -> InvariantCheck:
    return InvariantCheck(name, {"sqlite": sql, "postgres": sql}, expect)


def fill(connection: sqlite3.Connection) -> None:
    connection.executemany("INSERT INTO users VALUES (?, 'x', 2.0, NULL)", [(number,) for number in range(1, 11)])
    connection.executemany("INSERT INTO posts VALUES ('a', ?, 'x', ?)", [(number, number) for number in range(1, 11)])


@pytest.fixture(params=["sqlite", "postgres"])
async def here(request: pytest.FixtureRequest, sqlite_path: str, postgres_url: str) -> AsyncIterator[World]:
    primary = cast("StoreName", request.param)
    settings = CompareSettings(scan_interval=0, settle_timeout=0.2)
    async with world(sqlite_path, postgres_url, fill, primary=primary, compare=settings) as made:
        yield made


async def results(here: World, *checks: InvariantCheck) -> dict[str, InvariantResult]:
    here.invariants[:] = checks
    return {result.name: result for result in await here.comparator.check_invariants()}


async def test_what_holds_is_ok(here: World) -> None:
    found = await results(
        here,
        check("expected", "SELECT count(*) FROM users", "10"),
        check("same", "SELECT sum(score) FROM users"),
        check("null", "SELECT max(id) FROM users WHERE id < 0"),
        InvariantCheck("own words", {"sqlite": "SELECT 'a' || 1", "postgres": "SELECT concat('a', 1)"}),
    )
    assert [name for name, result in found.items() if not result.ok] == []
    assert list(found) == [
        "expected",
        "same",
        "null",
        "own words",
        "orphans of posts",
        "rows of posts",
        "rows of users",
    ]
    assert found["orphans of posts"].detail == "none in 1 foreign keys"


async def test_what_does_not_hold_names_both_answers(here: World) -> None:
    await here.spoil("users", deletes=[(10,)])
    found = await results(
        here,
        check("expected", "SELECT count(*) FROM users", "10"),
        check("same", "SELECT count(*) FROM users"),
        check("broken", "SELECT nothing FROM nowhere"),
    )
    assert (found["expected"].ok, found["expected"].detail) == (False, "expected 10; primary 10, shadow 9")
    assert (found["same"].ok, found["same"].detail) == (False, "primary 10, shadow 9")
    assert "could not be evaluated" in found["broken"].detail
    assert "0 rows without a parent on the primary, 1 on the shadow" in found["orphans of posts"].detail
    assert "users has 10 rows on the primary and 9 on the shadow" in found["rows of users"].detail
    assert found["rows of posts"].ok
    assert all(result.conclusive for result in found.values())


async def test_while_the_mirror_is_paused_the_two_states_do_not_correspond(here: World) -> None:
    here.mirror.pause()
    await here.write("DELETE FROM posts WHERE number = 1")
    found = await results(here, check("same", "SELECT count(*) FROM posts"))
    assert not found["same"].ok
    assert "paused" in found["same"].detail
    assert found["rows of posts"].ok, "row counts are exact also then"
    here.mirror.resume()
    await here.settled()
    assert (await results(here, check("same", "SELECT count(*) FROM posts")))["same"].ok


async def test_under_constant_writes_both_sides_answer_for_one_state(here: World) -> None:
    stop = asyncio.Event()

    async def write() -> None:
        number = 1000
        while not stop.is_set():
            number += 1
            await here.write(f"INSERT INTO users (id, handle) VALUES ({number}, 'n{number}')")

    writing = asyncio.create_task(write())
    try:
        for _ in range(10):
            found = await results(here, check("same", "SELECT count(*) FROM users"))
            assert found["same"].ok, found["same"].detail
    finally:
        stop.set()
        await writing


async def test_a_table_that_cannot_be_asked_does_not_silence_the_others(here: World) -> None:
    """They are asked in the same states, which an error may have made useless."""
    broken = replace(here.table("posts"), target="nowhere", name="nowhere")
    here.tables = (broken, *here.tables)
    found = await results(here)
    assert "could not be evaluated" in found["orphans of nowhere"].detail
    assert not found["rows of nowhere"].ok
    assert found["orphans of posts"].ok
    assert found["rows of posts"].ok
    assert found["rows of users"].ok


async def test_many_tables_do_not_wait_for_the_mirror_one_by_one(here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = 0
    original = Ground.matched

    @asynccontextmanager
    async def matched(self: Ground, *rest: Any, **named: Any) -> AsyncIterator[States]:
        nonlocal opened
        opened += 1
        async with original(self, *rest, **named) as states:
            yield states

    monkeypatch.setattr(Ground, "matched", matched)
    here.tables = here.tables * 10
    assert len(await here.comparator.check_invariants()) == 30
    assert opened <= 5


async def test_answers_given_while_a_table_was_copied_are_not_given_again(here: World) -> None:
    here.mirror.pause()
    await here.mirror.copy_again(["posts"])
    found = {result.name: result for result in await here.comparator.check_invariants(max_age=60)}
    assert not found["rows of posts"].conclusive
    here.mirror.resume()
    await here.settled()
    assert [result.detail for result in await here.comparator.check_invariants(max_age=60) if not result.ok] == []
