"""The clients and ORM adapters of Python, each in a process of its own. What they were told is what the file holds."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.clients.door import Door

DJANGO_4 = Path(sys.prefix) / "django4"


def test_libsql(door: Door) -> None:
    told = door.python("libsql_remote")
    assert [n for (n,) in told.kept("SELECT n FROM {}items WHERE id < 200 ORDER BY id")] == told["integers"]
    names = told.kept("SELECT name FROM {}items WHERE name IS NOT NULL ORDER BY id")
    assert [name for (name,) in names] == told["names"]
    assert told.kept("SELECT n FROM {}counter") == [[told["counter"]]]


def test_sqlalchemy(door: Door) -> None:
    told = door.python("sqlalchemy_orm")
    assert [name for (name,) in told.kept("SELECT name FROM {}author ORDER BY id")] == told["names"]
    assert [score for (score,) in told.kept("SELECT score FROM {}author WHERE id <= 2 ORDER BY id")] == told["scores"]


@pytest.mark.parametrize("kind", ["http", "ws"])
def test_libsql_client(door: Door, kind: str) -> None:
    told = door.python("libsql_client_async", kind)
    assert [n for (n,) in told.kept("SELECT n FROM {}items WHERE id BETWEEN 100 AND 199 ORDER BY id")] == told[
        "integers"
    ]
    names = told.kept("SELECT name FROM {}items WHERE name IS NOT NULL ORDER BY id")
    assert [name for (name,) in names] == told["names"]
    assert told.kept("SELECT n FROM {}items WHERE id = 1000") == [[told["counter"]]]


def test_django(door: Door) -> None:
    assert DJANGO_4.is_dir(), "The clients are not installed: run `make setup`."
    told = door.python("django_orm", "ws", path=str(DJANGO_4))
    assert sorted(name for (name,) in told.kept("SELECT name FROM shop_shelf")) == told["shelves"]
    assert told.kept("SELECT count FROM shop_thing WHERE large < 0") == [[told["count"]]]
    assert told.kept("SELECT large FROM shop_thing WHERE large < 0") == [[told["large"]]]
