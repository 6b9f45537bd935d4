"""Automatic keys all the way: through the front door, over switches in both directions."""

from __future__ import annotations

from pathlib import Path

from tests.support.checks import settled
from tests.support.service import Service, create

END = 2**63 - 1


async def insert(service: Service, table: str, key: int | None = None) -> int:
    """Insert a row; returns its key."""
    if key is None:
        answer = await service.sql(f"INSERT INTO {table}(v) VALUES (1)")
    else:
        answer = await service.sql(f"INSERT INTO {table}(id, v) VALUES (?, 1)", key)
    assert answer["type"] == "ok", answer
    return int(answer["response"]["result"]["last_insert_rowid"])


async def switched(service: Service, direction: str) -> None:
    await settled(service)
    await service.verified()
    code, body = await service.switch(direction)
    assert code == 200, body
    await service.up("promoted" if direction == "promote" else "shadowing")


async def test_no_key_is_given_twice(tmp_path: Path, sqlite_path: str, postgres_url: str) -> None:
    create(
        sqlite_path,
        "CREATE TABLE counted(id INTEGER PRIMARY KEY AUTOINCREMENT, v INTEGER);"
        "CREATE TABLE loose(id INTEGER PRIMARY KEY, v INTEGER);"
        "INSERT INTO counted(v) VALUES (1), (1);",
    )
    service = Service(tmp_path, sqlite_path, postgres_url)
    await service.start()
    try:
        await service.up()
        assert await insert(service, "counted", 100) == 100
        await service.sql("DELETE FROM counted WHERE id = 100")
        await switched(service, "promote")
        assert await insert(service, "counted") == 101
        assert await insert(service, "counted") == 102
        await service.sql("DELETE FROM counted WHERE id > 100")
        assert await insert(service, "loose", END) == END
        assert await insert(service, "loose") == 1
        await service.sql("DELETE FROM loose WHERE id = ?", END)
        assert await insert(service, "loose") == 2
        await switched(service, "demote")
        assert await insert(service, "counted") == 103
        assert await insert(service, "loose") == 3
        await switched(service, "promote")
        assert await insert(service, "counted") == 104
        assert await insert(service, "loose") == 4
        assert await service.stop() == 0
    finally:
        await service.kill()
