"""The way back: what SQLite cannot hold gates it, and a service that slept through a switch does no harm."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sqlite3
from pathlib import Path

import aiohttp
import pytest

from cutover.stores.sqlite.owner import owner_lock_path
from tests.support.checks import check_promises, postgres_rows, settled
from tests.support.service import Service, create, until

ADD = "INSERT INTO items VALUES (?, 1, NULL)"


def gate(body: dict[str, list[dict[str, object]]], name: str) -> dict[str, object]:
    """One gate of an answer."""
    return next(each for each in body["gates"] if each["name"] == name)


async def test_what_sqlite_cannot_hold_gates_the_demotion_and_heals(service: Service, postgres_url: str) -> None:
    await service.start()
    await service.up()
    await service.verified()
    await service.switched("promote")
    await postgres_rows(postgres_url, "INSERT INTO pairs VALUES ('a', 1, 'NaN', NULL) RETURNING 1")

    async def quarantined() -> bool:
        return bool((await service.status())["mirror"]["quarantined_rows"])

    await until(quarantined, "the row in quarantine")
    _, found = await service.request("GET", service.admin + "/v1/quarantine")
    assert [(row["table"], row["key"]) for row in found["rows"]] == [("pairs", ["a", 1])]
    assert found["rows"][0]["reason"]
    assert (await service.verified())["drift_rows"] == 0, "it is counted apart"
    code, body = await service.switch("demote")
    assert (code, body["error"]["code"]) == (409, "gates_failed")
    assert not gate(body, "no_quarantine")["ok"]
    await postgres_rows(postgres_url, "UPDATE pairs SET v = 1.5 WHERE a = 'a' RETURNING 1")

    async def healed() -> bool:
        return not (await service.status())["mirror"]["quarantined_rows"]

    await until(healed, "the row out of quarantine")
    await service.rows("CREATE TABLE brief (id INTEGER PRIMARY KEY, v REAL)")
    await postgres_rows(postgres_url, "INSERT INTO brief VALUES (1, 'NaN') RETURNING 1")
    await until(quarantined, "the row of the new table in quarantine")
    await service.rows("DROP TABLE brief")
    await until(healed, "what was in quarantine of the table that is gone")
    await settled(service)
    await service.verified()
    body = await service.switched("demote")
    assert await service.rows("SELECT v FROM pairs WHERE a = 'a'") == [[1.5]]
    await check_promises(service, postgres_url, [])


async def test_a_service_that_slept_through_a_switch_wakes_up_harmless(
    service: Service, postgres_url: str, tmp_path: Path
) -> None:
    """Its lock was removed by hand, which nobody should do; only the stores are left to keep it from doing harm."""
    await service.start()
    await service.up()
    await service.verified()
    sleeper = service.process
    assert sleeper is not None
    sleeper.send_signal(signal.SIGSTOP)
    try:
        second = Service(_folder(tmp_path), service.sqlite, postgres_url)
        second.config.write_text(
            second.config.read_text().replace(str(second.folder / "state"), str(tmp_path / "state"))
        )
        await second.start()
        assert await second.died() == 2, "a frozen owner is never taken over"
        os.unlink(owner_lock_path(service.sqlite))
        await second.start()
        await second.up()
        await second.verified()
        await second.switched("promote")
        assert (await second.sql(ADD, "by-the-second"))["type"] == "ok"
        await settled(second)
    finally:
        sleeper.send_signal(signal.SIGCONT)
    for number in range(5):  # whether it still answers or not, nothing of it may arrive
        with contextlib.suppress(aiohttp.ClientError, OSError, asyncio.TimeoutError):
            answer = await service.sql(ADD, f"stale-{number}")
            assert answer["type"] == "error", answer
    assert await service.died() == 1
    assert "newer owner" in service.log.read_text()
    assert (await second.up("promoted"))["epoch"] == 2
    with pytest.raises(sqlite3.IntegrityError, match="cutover"):
        create(second.sqlite, "INSERT INTO items VALUES ('direct', 1, NULL)")
    await check_promises(second, postgres_url, ["by-the-second"])
    assert await second.stop() == 0


def _folder(tmp_path: Path) -> Path:
    folder = tmp_path / "second"
    folder.mkdir()
    (folder / "state").symlink_to(tmp_path / "state")
    return folder
