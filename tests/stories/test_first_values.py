"""A column that was empty until Postgres was primary: its first value says how it is spelled, also on the way back."""

from __future__ import annotations

from pathlib import Path

from tests.support.checks import settled
from tests.support.postgres import run
from tests.support.service import Service, create

FIRST = "2024-01-02 03:04:05.000 +00:00"
UPPER = "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11"
LATER = "2024-01-02 03:04:06.120 +00:00"


async def test_what_the_front_door_wrote_comes_back_as_it_was(
    tmp_path: Path, sqlite_path: str, postgres_url: str
) -> None:
    create(
        sqlite_path,
        "CREATE TABLE visits (id INTEGER PRIMARY KEY, at DATETIME);"
        "CREATE TABLE one (id INTEGER PRIMARY KEY, v CHAR(36));"
        "CREATE TABLE two (id INTEGER PRIMARY KEY, v CHAR(36));",
    )
    await run(
        postgres_url,
        "CREATE TABLE visits (id bigint PRIMARY KEY, at timestamptz);"
        "CREATE TABLE one (id bigint PRIMARY KEY, v uuid);"
        "CREATE TABLE two (id bigint PRIMARY KEY, v uuid)",
    )
    service = Service(tmp_path, sqlite_path, postgres_url)
    await service.start()

    try:
        await service.up()
        await settled(service)
        await service.verified()
        await service.switched("promote")
        await service.up("promoted")
        await service.sql("INSERT INTO visits VALUES (1, ?)", FIRST)
        assert await service.rows("SELECT at FROM visits") == [[FIRST]]
        await service.sql("INSERT INTO one VALUES (1, ?)", UPPER)
        await settled(service)  # by then the other column that is declared alike is taken for such a one
        await service.sql("INSERT INTO two VALUES (1, ?)", UPPER.lower())
        await service.sql("INSERT INTO visits VALUES (2, ?)", LATER)
        await run(postgres_url, "INSERT INTO visits VALUES (3, '2024-01-02 03:04:07Z')")
        await settled(service)
        await service.verified()
        await service.switched("demote")
        await service.up("shadowing")
        rows = await service.rows("SELECT at FROM visits ORDER BY id")
        assert rows == [[FIRST], [LATER], ["2024-01-02 03:04:07.000 +00:00"]]
        assert await service.rows("SELECT one.v, two.v FROM one, two") == [[UPPER, UPPER.lower()]]
        assert await service.stop() == 0
    finally:
        await service.kill()
