"""What was rehearsed before the service was started again still counts, and says no value of an application."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cutover.dialect.readiness import StatementRegistry
from cutover.dialect.remembered import Kept, Remembered
from cutover.metrics import Metrics
from cutover.model.statement import Statement
from tests.flow.dialect_world import World, world

SCHEMA = "CREATE TABLE users (id INTEGER PRIMARY KEY, handle TEXT NOT NULL, n INTEGER)"
READY = "SELECT \"n\" FROM users WHERE handle = 'whispered'"
REFUSED = "INSERT INTO users (handle) VALUES ('whispered') RETURNING (SELECT count(*) FROM users)"


@pytest.fixture
async def both(postgres_url: str) -> AsyncIterator[World]:
    async with world(postgres_url, SCHEMA, store=True) as made:
        yield made


async def started(both: World, path: Path, *sql: str) -> StatementRegistry:
    """A registry after a start, with everything rehearsed that came since."""
    registry = StatementRegistry(Metrics("test"), remembered=Remembered(path))
    registry.known = {"n"}.__contains__
    registry._executor = lambda: both.executor
    for text in sql:
        registry.seen(Statement(text))
    assert await registry.rehearse()
    await registry.keep()
    return registry


async def test_what_was_found_counts_until_it_comes_again(both: World, tmp_path: Path) -> None:
    path = tmp_path / "state" / "rehearsal.json"
    before = await started(both, path, READY, READY, REFUSED)
    counts = before.summary()
    assert (counts["statements"], counts["ready"], counts["failing"]) == (2, 1, 1)
    text = path.read_text()
    assert "whispered" not in text
    assert path.stat().st_mode & 0o077 == 0
    for _ in range(2):
        again = await started(both, path)
        assert again.summary() == counts
        rows = [(row["status"], row["sql"], row["count"]) for row in again.rows()]
        assert rows[1] == ("ready", 'SELECT "n" FROM users WHERE handle = ?', 2)
        assert rows[0][0] == "refused"
    other = REFUSED.replace("whispered", "spoken")
    assert (await started(both, path, other, READY)).summary() == counts
    assert len(Remembered(path)) == 2, "nothing twice"


async def test_another_schema_leaves_what_was_not_ready(both: World, tmp_path: Path) -> None:
    path = tmp_path / "rehearsal.json"
    await started(both, path, READY, REFUSED)
    remembered = Remembered(path)
    remembered.settle([*both.executor.dialect.ddl, "CREATE TABLE more (id INTEGER PRIMARY KEY)"])
    assert [one.status for one in remembered] == ["refused"]
    assert remembered.forget() == 1
    assert len(remembered) == 0


async def test_a_difference_outlasts_a_restart(both: World, tmp_path: Path) -> None:
    path = tmp_path / "rehearsal.json"
    remembered = Remembered(path)
    text = remembered.text([Kept("id", "SELECT ?", False, "ready", None, 3, "Row 1, column a: differs.")])
    assert text is not None
    remembered.write(text)
    again = await started(both, path)
    assert (again.shadow_reads()["differing"], again.shadow_writes()["differing"]) == (1, 0)
    (row,) = again.rows()
    assert row["shadow_reads"]["differs"] == "Row 1, column a: differs."


@pytest.mark.parametrize(
    "text", ["", "[]", "{", json.dumps({"form": 0}), '{"form": 1, "schema": "", "statements": [{}]}']
)
def test_a_damaged_file_opens_no_gate(tmp_path: Path, text: str) -> None:
    path = tmp_path / "rehearsal.json"
    path.write_text(text)
    remembered = Remembered(path)
    assert [(one.status, "damaged" in str(one.reason)) for one in remembered] == [("failing", True)]
    kept = remembered.text(())
    assert kept is not None
    remembered.write(kept)
    assert len(Remembered(path)) == 1
    assert remembered.forget() == 1
