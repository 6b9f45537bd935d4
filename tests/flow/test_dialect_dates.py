"""Dates and times: one parser, every modifier, and every code of strftime, as SQLite has them."""

from __future__ import annotations

import random
import time

import pytest

from cutover.errors import StatementError
from tests.flow.dialect_world import World, world

POINTS: tuple[str | float | None, ...] = (
    "2024-02-29", "2024-02-30", "2023-02-31", "2024-01-31 23:59:59.999", "2000-01-01T12:34",
    "1999-12-31 00:00:00.0005",
    "0000-01-01", "9999-12-31 23:59:59", "-0001-01-01", "2024-13-01", "2024-00-10", "2024-1-1", "20240101",
    "12:34", "24:00",
    "23:59:59.9996", "12:60", "2024-05-05 10:20+02:00", "2024-05-05 10:20:30 -11:30", "2024-05-05 10:20Z",
    "2024-05-05 10:20+15:00", "2460000.5", "0", "-1", "1e3", "5373484.49", "5373485", "1700000000",
    "1700000000.25", "", "x",
    " 2024-01-01", "2024-01-01 ", "2024-01-01  10:00", "2024-01-01 10:00 ", "2024-05-05 z",
    "2024-01-01 10:00:0",
    "2024-01-01 10", "NOW x", "2024-06-15 24:30", "2024-06-15T10:00:00.123456Z",
    *(None, 0, 2460000, 2460000.75, 1700000000, -1, 1e20, 1.5),
)  # fmt: skip
MODIFIERS: tuple[str | int | None, ...] = (
    "+1 day", "-1 days", "1 month", "+13 months", "-25 month", "+1 year", "-4800 years", "+1.5 days",
    "1.5 months", "-0.5 year",
    "+90 seconds", "-1.25 second", "2 hours", "+61 minutes", "start of month", "start of year",
    "start of day", "weekday 0",
    "weekday 3", "weekday 7", "weekday 2.0", "unixepoch", "auto", "julianday", "+02:30",
    "-00:00:01.5", "+24:00", "10:30",
    "+1 fortnight", "", "START OF DAY", "+1  day", "+1day", "1e2 days", "+99999999999 days", "weekday",
    "+ 1 day", "days",
    *(None, 5, "start of week", "utc", "localtime"),
)  # fmt: skip
QUESTION = (
    "SELECT {0} IS NULL, datetime({0}), date({0}), time({0}), julianday({0}), unixepoch({0}), "
    "strftime('%d|%f|%H|%j|%J|%m|%M|%s|%S|%w|%W|%Y|%%|x', {0}), strftime('%q', {0})"
).replace("{0} IS NULL", "1")


async def _ask(both: World, *given: str | float | None) -> None:
    await both.same(QUESTION.replace("{0}", ", ".join(f"?{at + 1}" for at in range(len(given)))), *given)


@pytest.fixture(autouse=True)
def local_time_is_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


async def test_points_and_modifiers(postgres_url: str) -> None:
    chance = random.Random(7)
    async with world(postgres_url, "CREATE TABLE t (id INTEGER PRIMARY KEY)") as both:
        failures = []
        cases = [(point,) for point in POINTS]
        cases += [(point, modifier) for modifier in MODIFIERS for point in chance.sample(POINTS, 6)]
        cases += [(chance.choice(POINTS), *chance.choices(MODIFIERS, k=chance.randint(2, 3))) for _ in range(150)]
        for case in cases:
            try:
                await _ask(both, *case)
            except (AssertionError, StatementError) as error:
                failures.append(f"{case}: {str(error)[:400]}")
        assert not failures, f"{len(failures)} of {len(cases)}\n" + "\n".join(failures[:12])
