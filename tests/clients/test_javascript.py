"""The clients and ORM adapters of JavaScript. What they were told is what the file holds."""

from __future__ import annotations

import pytest

from tests.clients.door import Door
from tests.support.node import FOLDER

KINDS = pytest.mark.parametrize("kind", ["http", "ws"])


@KINDS
def test_libsql_client_values(door: Door, kind: str) -> None:
    told = door.node("libsql_values", kind)
    integers = told.kept("SELECT i FROM {}values WHERE id < 100 ORDER BY id")
    assert [str(value) for (value,) in integers] == told["integers"]
    texts = told.kept("SELECT t FROM {}values WHERE id BETWEEN 100 AND 199 ORDER BY id")
    assert [text for (text,) in texts] == told["texts"]
    assert told.kept("SELECT length(b), typeof(b) FROM {}values WHERE id = 203") == [[told["blob"], "blob"]]
    assert told.kept("SELECT id, a, n FROM {}affected ORDER BY id") == told["affected"]


@KINDS
def test_libsql_client_writes(door: Door, kind: str) -> None:
    told = door.node("libsql_writes", kind)
    assert [n for (n,) in told.kept("SELECT n FROM {}counter ORDER BY id")] == told["counters"]
    assert told.kept("SELECT id, name, age FROM {}people ORDER BY id") == told["people"]


@KINDS
def test_hrana_client(door: Door, kind: str) -> None:
    told = door.node("hrana", kind)
    assert told.kept("SELECT id, name, size FROM {}things ORDER BY id") == [[1, "one", 3], [2, "two", 20]]


@KINDS
def test_drizzle(door: Door, kind: str) -> None:
    told = door.node("drizzle", kind)
    assert told.kept("SELECT post, tag FROM {}tags ORDER BY post, tag") == told["tags"]


@KINDS
def test_kysely(door: Door, kind: str) -> None:
    told = door.node("kysely", kind)
    names = told.kept("SELECT name FROM {}person WHERE id BETWEEN 2 AND 15 ORDER BY id")
    assert [name for (name,) in names] == told["names"]
    assert told.kept("SELECT score FROM {}person WHERE id = 3") == [[told["score"]]]


def test_serverless(door: Door) -> None:
    told = door.node("serverless")
    names = told.kept("SELECT name FROM {}items WHERE name IS NOT NULL ORDER BY id")
    assert [name for (name,) in names] == told["names"]
    assert told.kept("SELECT n FROM {}items WHERE id = 1000") == [[told["counter"]]]


def test_the_lock_file_has_hashes_and_no_places() -> None:
    lock = (FOLDER / "package-lock.json").read_text()
    assert lock.count('"integrity"') > 30
    assert '"resolved"' not in lock
