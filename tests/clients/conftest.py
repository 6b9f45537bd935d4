"""One front door and primary for all clients of a test process: the real service, with capture and mirror on."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.clients.door import Door
from tests.support.servers import fresh_database
from tests.support.service import Service, create

TOKEN = "a-token-of-the-tests"
"""The door asks for one, so every scenario shows that its client sends it."""
ENVIRONMENT = {
    "CUTOVER_FRONT_TOKENS": TOKEN,
    "CUTOVER_SERVICE_LOG_LEVEL": "warning",
    # On a busy machine a client comes late to its own transaction; the limits have tests of their own.
    "CUTOVER_FRONT_TRANSACTION_TIMEOUT": "60s",
    "CUTOVER_FRONT_STREAM_IDLE_TIMEOUT": "60s",
    "CUTOVER_SQLITE_BUSY_TIMEOUT": "60s",
}
CHOSEN = os.environ.get("CUTOVER_TEST_PRIMARY", "")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every client with SQLite as primary and with Postgres, or with the one that CUTOVER_TEST_PRIMARY names."""
    if "door" in metafunc.fixturenames:
        metafunc.parametrize("door", [CHOSEN] if CHOSEN else ["sqlite", "postgres"], indirect=True, scope="session")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what CUTOVER_TEST_PRIMARY has to ask for (DESIGN.md)."""
    left_out = [] if CHOSEN else [item for item in items if _of(item, "door") == "sqlite" and _is_dear(item)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def _is_dear(item: pytest.Item) -> bool:
    return _of(item, "kind") == "ws" and not item.name.startswith("test_hrana_client")


def _of(item: pytest.Item, name: str) -> object:
    return item.callspec.params.get(name) if hasattr(item, "callspec") else None


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def door(
    request: pytest.FixtureRequest, forking: None, postgres_server: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Door]:
    """A door that is open."""
    folder: Path = tmp_path_factory.mktemp("door")
    create(str(folder / "app.db"), "PRAGMA journal_mode = WAL")
    async with fresh_database(postgres_server) as postgres:
        service = Service(folder, str(folder / "app.db"), postgres)
        await service.start(environment=ENVIRONMENT)
        try:
            await service.up()
            if request.param == "postgres":
                await service.verified()
                await service.switched("promote")
            yield Door(service, TOKEN, postgres, request.param)
        finally:
            await service.kill()
