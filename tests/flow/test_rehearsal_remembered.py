"""What was rehearsed before the service was started again still counts, and says no value of an application."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Never

import pytest

from cutover.dialect.looks import Look
from cutover.dialect.readiness import StatementRegistry
from cutover.dialect.remembered import Kept, Remembered
from cutover.dialect.replay import Found, Verdict
from cutover.dialect.schema_trials import SchemaTrials
from cutover.dialect.shadow_reads import ShadowReads
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


def nothing() -> Never:
    raise AssertionError("nothing is replayed here")


async def started(both: World, path: Path, *sql: str, reads: float = 0.0) -> StatementRegistry:
    """A registry after a start, with everything rehearsed that came since. `reads`: share that would be replayed."""
    await both.on_postgres("SELECT 1")  # with which the schema is read
    metrics = Metrics("test")
    registry = StatementRegistry(
        metrics,
        remembered=Remembered(path),
        reads=ShadowReads(metrics, nothing, reads),
        changes=SchemaTrials(lambda: both.executor.dialect.ddl),
    )
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


async def test_what_was_not_ready_about_tables_that_are_gone_keeps_no_gate_shut(both: World, tmp_path: Path) -> None:
    gone = (
        "INSERT INTO users (handle, n) VALUES ('a', 1), ('b', 2) RETURNING (SELECT count(*) FROM users)",
        "SELECT handle FROM users WHERE n IN (1, 2, 3) AND load_extension('x')",
        "WITH few AS (SELECT 1 AS n) SELECT * FROM few JOIN users USING (n) WHERE load_extension('y') IS NULL",
    )
    kept = "SELECT load_extension('z') IN (1, 2), 'users'"
    path = tmp_path / "rehearsal.json"
    assert (await started(both, path, *gone, kept)).summary()["failing"] == 4
    remembered = Remembered(path)
    remembered.settle(both.executor.dialect.ddl)
    assert len(remembered) == 4
    remembered.settle(["CREATE TABLE more (id INTEGER PRIMARY KEY)"])
    assert [one.sql for one in remembered] == ["SELECT load_extension(?) IN (?, ...), ?"]


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


async def test_counts_of_replays_go_on(both: World, tmp_path: Path) -> None:
    path = tmp_path / "rehearsal.json"
    first = await started(both, path, READY, reads=1.0)
    assert first.reads is not None
    for found in (Found("match"), Found("mismatch", "Row 1, column n: differs."), Found("inconclusive")):
        first.reads.verdicts.note(Statement(READY), found)
    await first.keep()
    assert "whispered" not in path.read_text()
    expected = {"match": 1, "mismatch": 1, "inconclusive": 1, "differing": 1}
    for sent in ((), (READY,)):  # before the statement comes again, and behind that
        again = await started(both, path, *sent, reads=1.0)
        assert again.shadow_reads() == expected
        (row,) = again.rows()
        assert row["count"] == 1 + len(sent)
        assert (row["shadow_reads"]["match"], row["shadow_reads"]["differs"]) == (1, "Row 1, column n: differs.")
    assert again.reads is not None
    again.reads.verdicts.note(Statement(READY), Found("match"))
    assert again.shadow_reads() == expected | {"match": 2, "differing": 0}


async def test_a_match_behind_a_restart_says_nothing_of_rows_that_differed_before(both: World, tmp_path: Path) -> None:
    path, dialect = tmp_path / "rehearsal.json", both.executor.dialect
    first = await started(both, path, READY, reads=1.0)

    def note(registry: StatementRegistry, verdict: Verdict, *more: str) -> dict[str, Any]:
        look = Look(1, {"users": 1}, (*dialect.ddl, *more), dialect.tables, any_of_ties=False)
        assert registry.reads is not None
        registry.reads.verdicts.note(Statement(READY), Found(verdict, "It differs.", look=look))
        return registry.reads.verdicts.of(READY) or {}

    note(first, "mismatch")
    await first.keep()
    again = await started(both, path, READY, reads=1.0)
    found = note(again, "match")
    assert found["differs"] == "It differs."
    assert "other rows" in found["reason"]
    await again.keep()
    again = await started(both, path, READY, reads=1.0)
    assert note(again, "match")["differs"], "nor does another restart"
    assert again.let_go() == 1
    assert note(again, "match")["differs"] is None
    again = await started(both, path, READY, reads=1.0)
    assert note(again, "match", "CREATE TABLE other (a TEXT)")["differs"]
    assert note(again, "match", "CREATE INDEX by_n ON users (n)")["differs"] is None, "it is translated anew"


async def test_schema_changes_that_were_seen_are_kept(both: World, tmp_path: Path) -> None:
    path = tmp_path / "rehearsal.json"
    refused = "CREATE TRIGGER IF NOT EXISTS t AFTER INSERT ON users BEGIN SELECT 'whispered'; END"
    before = await started(both, path, refused, "CREATE TABLE more (a TEXT DEFAULT 'whispered')")
    assert before.summary()["changes_refused"] == 1
    assert "whispered" not in path.read_text()
    again = await started(both, path)
    assert again.summary()["changes_refused"] == 1
    assert [(row["status"], row["count"]) for row in again.schema_changes()] == [("refused", 1), ("ready", 1)]
    assert "TRIGGER" in again.schema_changes()[0]["reason"]
    assert len((await started(both, path, refused)).schema_changes()) == 2, "not twice"
    assert await again.forget() == 2
    assert again.summary()["changes_refused"] == 0


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
