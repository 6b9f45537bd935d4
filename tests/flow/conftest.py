"""Databases for the tests of the dialect begin with its helper functions: installing them takes as long as a test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.support.servers import database_of, equip, fresh_database

_WITHOUT = ("test_dialect_helpers.py", "test_dialect_unchecked.py")
"""One looks at the installing itself, the other is of a role that owns what it installs."""


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def equipped(postgres_server: str) -> AsyncIterator[str]:
    """Name of a database with the helper functions and nothing else, one for each test process."""
    async with fresh_database(postgres_server) as url:
        await equip(url)
        yield database_of(url)


@pytest.fixture
def template(request: pytest.FixtureRequest) -> str:
    """What the database of a test is a copy of."""
    name = request.path.name
    if name.startswith("test_dialect_") and name not in _WITHOUT:
        return str(request.getfixturevalue("equipped"))
    return "template0"


@pytest.fixture
async def postgres_url(postgres_server: str, template: str) -> AsyncIterator[str]:
    """URL of a fresh database without any table."""
    async with fresh_database(postgres_server, template) as url:
        yield url
