"""What is remembered of replays stays within its room, and what differs is not forgotten for it."""

from __future__ import annotations

from cutover.dialect.replay import Found
from cutover.dialect.tallies import Tallies


def test_the_oldest_that_does_not_differ_makes_room() -> None:
    tallies = Tallies(texts=2)
    tallies["SELECT 1"].differs = "row 1"
    for number in range(2, 6):
        tallies[f"SELECT {number}"].add(Found("match", None, 0.25, 0.5))
    assert len(tallies) == 2
    assert tallies.differing == 1
    assert tallies.get("SELECT 1") is not None
    assert tallies.get("SELECT 4") is None
    latest = tallies.get("SELECT 5")
    assert latest is not None
    assert latest.json()["match"] == 1
    assert latest.json()["postgres_seconds"] == 0.5


def test_where_all_differ_the_oldest_makes_room() -> None:
    tallies = Tallies(texts=2)
    for number in range(3):
        tallies[f"SELECT {number}"].differs = "rows"
    assert len(tallies) == 2
    assert tallies.get("SELECT 0") is None
