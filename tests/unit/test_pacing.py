"""The speed of the backfill."""

from __future__ import annotations

import pytest

from cutover import clock
from cutover.shadow.pacing import CopyPace, CopyRate


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    time = [100.0]
    monkeypatch.setattr(clock, "monotonic", lambda: time[0])
    return time


def test_a_limit_is_kept_over_any_number_of_ranges(now: list[float]) -> None:
    pace, copied, began = CopyPace(1000, 400), 0, now[0]
    for _ in range(50):
        now[0] += pace.waits()
        rows = pace.rows()
        now[0] += 0.01
        pace.spent(rows, 0.01)
        copied += rows
    assert copied / (now[0] + pace.waits() - began) == pytest.approx(400, rel=0.02)


def test_without_a_limit_nothing_waits(now: list[float]) -> None:
    pace = CopyPace(1000, 0)
    pace.spent(1000, 0.01)
    assert pace.waits() == 0
    assert not pace.is_gentle(0.5)
    assert pace.is_gentle(1.5)


def test_ranges_shrink_until_one_takes_a_moment_and_grow_again(now: list[float]) -> None:
    pace = CopyPace(20_000, 0)
    pace.spent(20_000, 5.0)
    assert pace.rows() == 1000
    pace.spent(1000, 100.0)
    assert pace.rows() == 500
    pace.spent(500, 0.01)
    assert pace.rows() == 1000
    for _ in range(10):
        pace.spent(pace.rows(), 0.001)
    assert pace.rows() == 20_000


def test_the_rate_is_that_of_the_last_while(now: list[float]) -> None:
    rate = CopyRate()
    assert rate.now() == 0
    for _ in range(30):
        now[0] += 1
        rate.note(100, 1.0)
    assert rate.now() == pytest.approx(100)
    now[0] += 60
    assert rate.now() == 0
