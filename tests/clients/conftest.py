"""One front door for all clients of a test process: the real service, with capture and mirror on."""

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


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def door(postgres_server: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Door]:
    """A door that is open. CUTOVER_TEST_PRIMARY=postgres promotes it first."""
    folder: Path = tmp_path_factory.mktemp("door")
    create(str(folder / "app.db"), "PRAGMA journal_mode = WAL")
    async with fresh_database(postgres_server) as postgres:
        service = Service(folder, str(folder / "app.db"), postgres)
        await service.start(environment={"CUTOVER_FRONT_TOKENS": TOKEN, "CUTOVER_SERVICE_LOG_LEVEL": "warning"})
        try:
            await service.up()
            if os.environ.get("CUTOVER_TEST_PRIMARY") == "postgres":
                await service.verified()
                code, body = await service.switch("promote")
                assert code == 200, body
            yield Door(service, TOKEN, postgres)
        finally:
            await service.kill()
