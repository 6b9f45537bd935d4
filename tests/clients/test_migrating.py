"""An application that runs its migrations at each start goes on doing so, on either store and after each switch."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.clients.conftest import ENVIRONMENT
from tests.clients.door import Door
from tests.support.checks import settled
from tests.support.service import Service, create, until


def started(service: Service, primary: str, migrations: int) -> list[str]:
    """Start the application; the names that it reads."""
    told = Door(service, "", "", primary).node("migrating", MIGRATIONS=str(migrations))
    return [str(name) for name in told["names"]]


async def statements_ready(service: Service) -> None:
    """The gate is passed for what the application says at its start, and each copy is equal."""
    await settled(service)

    async def ready() -> object:
        _, answer = await service.switch("promote", dry_run=True)
        return answer["would_proceed"]

    await service.verified()
    await until(ready, "the application's statements to be ready")


@pytest.mark.parametrize("known", [True, False], ids=["tables there", "new file"])
async def test_an_application_that_migrates_at_each_start(tmp_path: Path, postgres_url: str, known: bool) -> None:
    create(str(tmp_path / "app.db"), "PRAGMA journal_mode = WAL")
    service = Service(tmp_path, str(tmp_path / "app.db"), postgres_url)
    await service.start(environment={**ENVIRONMENT, "CUTOVER_FRONT_TOKENS": ""})
    try:
        await service.up()
        names = []
        if known:
            for _ in range(2):
                names.append("of version 1")
                assert started(service, "sqlite", 1) == names
            await statements_ready(service)
        await service.verified()
        await service.switched("promote")
        for version in (1, 2, 2):
            names.append(f"of version {version}")
            assert started(service, "postgres", version) == names
        await settled(service)
        await service.verified()
        await service.switched("demote")
        for version in (2, 3):
            names.append(f"of version {version}")
            assert started(service, "sqlite", version) == names
        await statements_ready(service)
        await service.switched("promote")
        assert started(service, "postgres", 3) == [*names, "of version 3"]
    finally:
        await service.kill()
