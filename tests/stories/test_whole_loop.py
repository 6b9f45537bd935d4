"""One person moves an application to Postgres and back, with writers on each door all the time."""

from __future__ import annotations

import asyncio
import os

from tests.support.checks import check_promises, postgres_rows, settled, sqlite_rows
from tests.support.service import Service, until
from tests.support.tamper import run_past_fence
from tests.support.writers import DirectWriter, FrontWriter


async def test_promote_and_demote_under_load_lose_nothing(service: Service, postgres_url: str) -> None:
    await service.start()
    await service.up()
    with DirectWriter(service.sqlite, "direct") as direct:
        async with FrontWriter(service, "one") as one, FrontWriter(service, "two") as two:
            await until(lambda: len(one.acknowledged) > 20, "writes")
            assert (await service.verified())["drift_rows"] == 0
            body = await service.switched("promote")
            assert body["result"] == "promoted"
            assert body["primary"] == "postgres"
            assert body["epoch"] == 2
            assert any(f"({os.getpid()})" in warning for warning in body["warnings"]), "who still holds the file"
            count = len(one.acknowledged)
            await until(lambda: len(one.acknowledged) > count + 20, "writes after the promotion")
            await until(lambda: direct.fenced, "a refusal of the direct writer")
            assert "cutover" in direct.fenced[-1]
            assert "postgres" in direct.fenced[-1]
            assert "2" in direct.fenced[-1]
            assert (await service.verified())["drift_rows"] == 0
            body = await service.switched("demote")
            assert body["primary"] == "sqlite"
            assert body["epoch"] == 3
            count = len(two.acknowledged)
            await until(lambda: len(two.acknowledged) > count + 20, "writes after the demotion")
        assert one.errors == []
        assert two.errors == []
        assert one.unknown == two.unknown == set()
    await check_promises(service, postgres_url, one.acknowledged | two.acknowledged | direct.acknowledged)
    assert await service.stop() == 0


async def test_a_native_writer_after_the_promotion_is_carried_back(service: Service, postgres_url: str) -> None:
    await service.start()
    await service.up()
    await service.verified()
    await service.switched("promote")
    await postgres_rows(postgres_url, "INSERT INTO items VALUES ('native', 7, 'ü') RETURNING id")
    await until(lambda: sqlite_rows(service.sqlite, "SELECT n FROM items WHERE id = 'native'") == [(7,)], "the row")
    await postgres_rows(postgres_url, "DELETE FROM items WHERE id = 'native' RETURNING id")
    await until(lambda: not sqlite_rows(service.sqlite, "SELECT 1 FROM items WHERE id = 'native'"), "the deletion")


async def test_tampering_on_either_side_is_reported_and_repaired(service: Service, postgres_url: str) -> None:
    await service.start()
    await service.up()
    for tampering in ("UPDATE items SET body = 'forged' WHERE id = 'old-7'", "DELETE FROM items WHERE id = 'old-8'"):
        await run_past_fence(service.sqlite, postgres_url, "postgres", tampering)
    verification = await service.verified()
    assert verification["drift_rows"] == 2, verification
    _, drift = await service.request("GET", service.admin + "/v1/drift")
    found = {(row["key"][0], row["kind"], tuple(row["columns"])) for row in drift["rows"]}
    assert found == {("old-7", "different", ("body",)), ("old-8", "missing", ())}
    code, refused = await service.switch("promote")
    assert code == 409
    assert refused["error"]["code"] == "gates_failed"
    code, repaired = await service.post("/v1/repair")
    assert code == 200, repaired
    assert repaired["repaired"] == 2
    assert (await service.verified())["drift_rows"] == 0
    await check_promises(service, postgres_url, [])


async def test_postgres_away_never_delays_a_write(service: Service, postgres_url: str) -> None:
    """The service starts and serves without Postgres; once it is there, everything is copied."""
    text = service.config.read_text()
    service.config.write_text(text.replace(postgres_url, "postgresql://nobody@127.0.0.1:1/nothing"))
    await service.start()
    await service.answering()
    async with FrontWriter(service, "alone") as alone:
        await until(lambda: len(alone.acknowledged) > 50, "writes without Postgres")
    assert not alone.errors
    status = await service.status()
    assert status["phase"] == "idle"
    assert status["attach_error"]
    assert await service.stop() == 0
    service.config.write_text(text)
    await service.start()
    await service.up()
    await check_promises(service, postgres_url, alone.acknowledged)


async def test_restart_keeps_roles_and_a_second_owner_is_refused(service: Service, postgres_url: str) -> None:
    await service.start()
    await service.up()
    await service.verified()
    await service.switched("promote")
    assert (await service.switch("promote"))[1]["result"] == "already_promoted"
    second = await asyncio.create_subprocess_exec(*_serve(service), stderr=asyncio.subprocess.PIPE, cwd=service.folder)
    _, stderr = await second.communicate()
    assert second.returncode == 2
    assert service.process is not None
    assert str(service.process.pid) in stderr.decode()
    assert await service.stop() == 0
    await service.start(environment={"HUMANONLY_STORAGE_BACKEND": "sqlite"})
    assert await service.died() == 2
    await service.start(environment={"HUMANONLY_STORAGE_BACKEND": "postgres"})
    status = await service.up("promoted")
    assert (status["primary"], status["epoch"]) == ("postgres", 2)
    assert (await service.sql("INSERT INTO items VALUES ('x', 1, NULL)"))["type"] == "ok"
    await settled(service)
    assert sqlite_rows(service.sqlite, "SELECT n FROM items WHERE id = 'x'") == [(1,)]


def _serve(service: Service) -> list[str]:
    import sys

    return [sys.executable, "-m", "cutover", "serve", "--config", str(service.config)]
