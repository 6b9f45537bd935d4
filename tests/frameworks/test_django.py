"""Django's own tables, and one with a field of every type, there and back under Django's own writes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.support.applications import Journey, Traveller, plain_database, there_and_back

pytestmark = pytest.mark.usefixtures("forking")

DJANGO = (sys.executable, "-m", "tests.frameworks.django_site")


async def test_django_goes_to_its_own_postgres_schema_and_back(tmp_path: Path, postgres_server: str) -> None:
    async with plain_database(postgres_server) as postgres:
        journey = await there_and_back(
            Traveller(Journey("django"), tmp_path, DJANGO, str(tmp_path / "app.db"), postgres)
        )
    assert journey.failed == []
    assert journey.rows > 300


async def test_django_goes_to_a_schema_that_cutover_made_and_back(tmp_path: Path, postgres_url: str) -> None:
    traveller = Traveller(
        Journey("django, generated"), tmp_path, DJANGO, str(tmp_path / "app.db"), postgres_url, adopt=False
    )
    assert (await there_and_back(traveller)).failed == []
