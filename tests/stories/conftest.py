"""Stories: the real process, killed and started again, with writers on each door."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.support.crash_worlds import RECIPES
from tests.support.service import Service, create
from tests.support.worlds import Worlds

SCHEMA = """
CREATE TABLE items(id TEXT PRIMARY KEY, n INTEGER NOT NULL, body TEXT);
CREATE TABLE accounts(id INTEGER PRIMARY KEY, balance INTEGER NOT NULL);
CREATE TABLE pairs(a TEXT, b INTEGER, v REAL, x BLOB, PRIMARY KEY(a, b)) WITHOUT ROWID;
"""


@pytest.fixture(autouse=True)
def _forked(forking: None) -> None:
    """Every story starts its services so."""


@pytest.fixture(scope="session")
def worlds(postgres_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worlds]:
    """Starting points of crash stories, each made once in this process."""
    made = Worlds(postgres_server, tmp_path_factory.mktemp("worlds"), RECIPES)
    yield made
    asyncio.run(made.close())


@pytest.fixture
async def service(forking: None, tmp_path: Path, sqlite_path: str, postgres_url: str) -> AsyncIterator[Service]:
    """A service that is not started yet, on a database with a few rows."""
    rows = ",".join(f"('old-{number}', {number}, 'body {number}')" for number in range(500))
    accounts = ",".join(f"({number}, 100)" for number in range(1, 11))
    create(sqlite_path, SCHEMA + f"INSERT INTO items VALUES {rows}; INSERT INTO accounts VALUES {accounts};")
    made = Service(tmp_path, sqlite_path, postgres_url)
    yield made
    if made.process is not None:
        await made.kill()
