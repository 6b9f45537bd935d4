"""Fixtures for every test: real databases, fresh for each test, gone afterwards."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from xdist.remote import Producer

from tests.support import scheduling, scratch
from tests.support.forked import forker
from tests.support.servers import fresh_database, server
from tests.support.service import Service

# The same examples in every run, and no clock: a busy machine fails no test.
settings.register_profile(
    "suite", derandomize=True, database=None, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("suite")


@pytest.hookimpl(tryfirst=True)
def pytest_configure() -> None:
    """Before pytest chooses where `tmp_path` is."""
    scratch.settle()


def pytest_xdist_auto_num_workers() -> int | None:
    """For `-n auto`; None is xdist's own answer."""
    return None if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ else scheduling.workers()


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> scheduling.Scheduling | None:
    """Ours, unless the command line asks for another."""
    return scheduling.Scheduling(config, log) if config.getoption("dist") == "load" else None


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A process of a parallel run takes tests in this order; alone, pytest's own is kept."""
    if hasattr(config, "workerinput"):
        scheduling.order(items)


@pytest.fixture(scope="session")
def forking() -> Iterator[None]:
    """From the first test that asks for it, services of this process are started by a fork of one that is imported."""
    with forker() as Service.forker:
        yield
    Service.forker = None


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """URL of a Postgres server (database `postgres`), one for each test process."""
    with server() as url:
        yield url


@pytest.fixture
async def postgres_url(postgres_server: str) -> AsyncIterator[str]:
    """URL of a fresh, empty database. The role is a superuser unless CUTOVER_TEST_POSTGRES_URL says otherwise."""
    async with fresh_database(postgres_server) as url:
        yield url


@pytest.fixture
def sqlite_path(tmp_path: Path) -> str:
    """Path of a fresh, empty SQLite file in WAL mode."""
    path = tmp_path / "app.db"
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.close()
    return str(path)
