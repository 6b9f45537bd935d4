"""The torture's own checks find what they are for: each workload on a SQLite file, and then something is not right."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.torture.doors import DirectDoor
from tests.torture.ledger import Ledger
from tests.torture.watch import Watch
from tests.torture.workloads import WORKLOADS
from tests.torture.workloads.base import Client, Workload

_FIRST = "substr(elements, 1, instr(elements, ';'))"
_SPOILT = [
    ("bank", "DELETE FROM transfers WHERE id = (SELECT max(id) FROM transfers)", "is lost"),
    ("bank", "INSERT INTO transfers VALUES ('stranger', 1, 2, 3)", "nobody made it"),
    ("bank", "UPDATE accounts SET balance = balance + 1 WHERE id = 1", "total"),
    ("bank", "UPDATE accounts SET balance = balance + id - 1 - 3 * (id = 4) WHERE id IN (2, 3, 4)", "should be"),
    ("lists", f"UPDATE lists SET elements = replace(elements, {_FIRST}, '')", "is lost"),
    ("lists", f"UPDATE lists SET elements = elements || {_FIRST}", "twice"),
    ("lists", f"UPDATE lists SET elements = replace(elements, {_FIRST}, '') || {_FIRST}", "asked for later"),
    ("sets", "DELETE FROM members WHERE member = (SELECT max(member) FROM members)", "should be"),
    ("sets", "UPDATE groups SET size = size + 1", "size is not"),
    ("sets", "DELETE FROM groups WHERE id = (SELECT max(id) FROM groups)", "members of groups that are not there"),
    ("handles", "DELETE FROM handles WHERE id = (SELECT max(id) FROM handles)", "is lost"),
    ("handles", "UPDATE handles SET claim = 'stranger'", "never granted"),
    ("keys", "UPDATE tokens SET hops = hops + 1 WHERE token = 't1-1'", "t1-1 is at"),
    ("keys", "DELETE FROM tokens WHERE token = 't1-1'", "there are"),
    ("rewrites", "DELETE FROM documents WHERE id = (SELECT max(id) FROM documents)", "not those of its save"),
    ("rewrites", "UPDATE saves SET version = version - 1", "a later one was acknowledged"),
    ("journal", "INSERT INTO journal(mark) SELECT max(mark) FROM journal", "2 times"),
    ("journal", "DELETE FROM journal WHERE id = (SELECT max(id) FROM journal)", "0 times"),
]


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    made = Ledger(tmp_path / "ledger.jsonl")
    yield made
    made.close()


def _played(workload: Workload, path: str, ledger: Ledger) -> None:
    """Two clients at their work, one operation after the other."""
    with closing(sqlite3.connect(path)) as db:
        db.executescript("PRAGMA journal_mode = WAL;" + workload.schema)
    clients = [Client(f"{workload.name}-direct-{n}", n, "direct", random.Random(n)) for n in (1, 2)]
    door = DirectDoor(path, random.Random(0))
    for number in range(200):
        client = clients[number % 2]
        operation = workload.propose(client, "direct")
        entry = ledger.begin(workload.name, client.name, "direct", operation.what, operation.data)
        told = door.transact(operation.statements, operation.expect)
        assert told.outcome == "acknowledged", told
        assert not told.missed(operation.expect)
        ledger.end(entry, told.outcome)
        assert not list(workload.settle(client, operation, entry, told))
    door._close()


def _problems(workload: Workload, path: str, ledger: Ledger) -> Iterable[str]:
    with closing(sqlite3.connect(path)) as db:
        sample = {name: db.execute(sql).fetchall() for name, sql in workload.samples.items()}
        rows = {table: db.execute(f"SELECT * FROM {table}").fetchall() for table in workload.tables}
    return [*workload.check_sample("sqlite", sample), *workload.check_end(ledger.of(workload.name), rows)]


@pytest.mark.parametrize(("name", "spoil", "found"), _SPOILT, ids=lambda value: str(value)[:40])
def test_what_is_wrong_is_found(tmp_path: Path, ledger: Ledger, name: str, spoil: str, found: str) -> None:
    workload, path = WORKLOADS[name](), str(tmp_path / "app.db")
    _played(workload, path, ledger)
    assert not _problems(workload, path, ledger)
    with closing(sqlite3.connect(path)) as db:
        assert db.execute(spoil).rowcount > 0
        db.commit()
    problems = _problems(workload, path, ledger)
    assert any(found in problem for problem in problems), problems


def test_every_workload_is_spoilt_in_some_way() -> None:
    assert {name for name, _, _ in _SPOILT} == set(WORKLOADS)


def test_a_write_that_was_refused_and_is_there_is_found(tmp_path: Path, ledger: Ledger) -> None:
    workload, path = WORKLOADS["bank"](), str(tmp_path / "app.db")
    _played(workload, path, ledger)
    ledger.end(ledger.entries[7], "refused", "SQLITE_BUSY")
    assert any("though it was refused" in problem for problem in _problems(workload, path, ledger))


def test_two_primaries_of_one_epoch_are_found() -> None:
    watch = Watch.__new__(Watch)
    watch.markers = []
    assert not list(watch.check_markers([("a", "sqlite", 1), ("b", "postgres", 2), ("c", "sqlite", 3)]))
    (problem,) = watch.check_markers([("a", "sqlite", 1), ("b", "postgres", 2), ("c", "sqlite", 2)])
    assert "epoch 2" in problem
